"""Going on where an earlier screening was cut off: what its output says is done."""

import csv
import io
import json
import os
from pathlib import Path

from pneumoscope.errors import UsageError
from pneumoscope.files import storage_error
from pneumoscope.screening.output import COLUMNS, csv_text


def done_paths(output: Path, *, as_csv: bool, model_id: str) -> set[str]:
    """Returns the paths that an earlier output has lines for, as that output writes them.

    A last line that was cut off while it was written is removed from the file.

    Args:
        output: JSON lines or CSV as ``screen`` writes them; it may be missing.
        as_csv: which of the two.
        model_id: whose answers they must be.

    Raises:
        UsageError: it is no such output, or of another model.
        StorageError: it cannot be read or shortened.
    """
    try:
        content = output.read_bytes()
        whole = _whole_lines(content, as_csv)
        if len(whole) < len(content):
            os.truncate(output, len(whole))
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise storage_error(output, error) from error
    done: set[str] = set()
    try:
        text = whole.decode("utf-8")
        if as_csv:
            reader = csv.DictReader(io.StringIO(text, newline=""))
            rows = list(reader)
            if text and tuple(reader.fieldnames or ())[: len(COLUMNS)] != COLUMNS:
                raise ValueError("other columns")
        else:
            rows = [json.loads(line) for line in text.splitlines()]
        for row in rows:
            if row["model_id"] != model_id:
                raise UsageError(
                    f"{output} holds answers of {row['model_id']}, expected {model_id}; name "
                    "another output, or that bundle"
                )
            done.add(row["path"])
    except (ValueError, KeyError, TypeError) as error:
        form = "CSV" if as_csv else "JSON lines"
        raise UsageError(
            f"{output} is no output of screen in the form {form} ({error}); name another"
        ) from error
    return done


def is_done(path: str, done: set[str], *, as_csv: bool) -> bool:
    """Returns whether a path is among those that :func:`done_paths` gave."""
    return (csv_text(path) if as_csv else path) in done


def _whole_lines(content: bytes, as_csv: bool) -> bytes:
    """Returns the content up to its last whole record."""
    end = content.rfind(b"\n") + 1
    # A line end inside quotes, in a file's name, ends no record.
    while as_csv and content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return content[:end]
