"""Going on where an earlier screening was cut off: what its output says is done."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pneumoscope.errors import UsageError
from pneumoscope.files import storage_error, write_json, write_text
from pneumoscope.screening.output import COLUMNS, csv_header, csv_text

_LONGEST_CELL = 2**31 - 1


def resume(
    output: Path, *, columns: Sequence[str], as_csv: bool, settings: Mapping[str, Any]
) -> set[str]:
    """Returns the paths that an earlier output has answers for, as that output writes them.

    What was cut off while it was written, and the lines of files that could not be screened, are
    removed from the output, so that those files are done again. An output that does not fit is
    left as it is.

    The settings lie beside the output, as ``.NAME.settings.json``, from the first time on.

    Args:
        output: JSON lines or CSV as ``screen`` writes them; it may be missing.
        columns: keys of a line, in order.
        as_csv: which of the two.
        settings: what must be the same for answers that stand in one file, ``model_id`` and
            ``threshold`` among it.

    Raises:
        UsageError: it is no such output, or one of other settings.
        StorageError: it cannot be read or written.
    """
    try:
        content = output.read_bytes() if output.exists() else b""
    except OSError as error:
        raise storage_error(output, error) from error
    form = "CSV" if as_csv else "JSON lines"
    try:
        rows = (_csv_rows if as_csv else _json_rows)(content, columns)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(
            f"{output} is no output of screen in the form {form} with these options "
            f"({str(error)[:80]}); name another"
        ) from error
    _check_settings(output, rows, settings, is_new=not content)
    kept = [row for row in rows if row["status"] != "error"]
    whole = _as_csv(kept, columns) if as_csv else "".join(row["line"] + "\n" for row in kept)
    if content and whole.encode() != content:
        write_text(output, whole)
    return {row["path"] for row in kept}


def is_done(path: str, done: set[str], *, as_csv: bool) -> bool:
    """Returns whether a path is among those that :func:`resume` gave."""
    return (csv_text(path) if as_csv else path) in done


def _json_rows(content: bytes, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the whole lines, each with its text as ``line``."""
    *lines, rest = content.decode("utf-8").split("\n")
    start = '{"path": '
    if not (rest.startswith(start) or start.startswith(rest)):
        raise ValueError("its last line")
    rows = []
    for line in lines:
        row = json.loads(line)
        if tuple(row) != tuple(columns):
            raise ValueError("other keys")
        rows.append({**row, "line": line})
    return rows


def _csv_rows(content: bytes, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the whole records, all values as texts."""
    csv.field_size_limit(_LONGEST_CELL)
    header = _csv_header(columns)
    text = content.decode("utf-8", "replace")  # a character may have been cut through
    if not text.startswith(header):
        if header.startswith(text):
            return []
        raise ValueError("other columns")
    whole = text[: text.rfind("\n") + 1]
    while whole.count('"') % 2:  # a line end inside quotes, in a file's name, ends no record
        whole = whole[: whole.rfind("\n", 0, -1) + 1]
    rows = list(csv.DictReader(io.StringIO(whole, newline=""), strict=True))
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("other columns")
    return rows


def _as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Returns rows that were read as the text they were read from."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\r\n")  # which quotes line ends in a cell
    records = []
    for row in rows:
        writer.writerow([row[column] for column in columns])
        records.append(stream.getvalue().removesuffix("\r\n") + "\n")
        stream.seek(0)
        stream.truncate()
    return _csv_header(columns) + "".join(records)


def _csv_header(columns: Sequence[str]) -> str:
    return csv_header(columns[len(COLUMNS) :]) + "\n"


def _check_settings(
    output: Path, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], *, is_new: bool
) -> None:
    for row in rows:
        for name in ("model_id", "threshold"):
            if str(row[name]) != str(settings[name]):
                raise _differs(output, name, row[name], settings[name])
    beside = output.with_name(f".{output.name}.settings.json")
    if is_new or not beside.is_file():
        write_json(beside, dict(settings))
        return
    try:
        stored = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{beside} cannot be read ({error}); remove it, or the output") from error
    for name, value in settings.items():
        if stored.get(name) != value:
            raise _differs(output, name, stored.get(name), value)


def _differs(output: Path, name: str, found: object, wanted: object) -> UsageError:
    return UsageError(
        f"{output} holds answers with {name} {found}, expected {wanted}; name another output, or "
        "screen as before"
    )
