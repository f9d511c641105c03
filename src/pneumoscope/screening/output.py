"""Screenings as text: JSON lines, CSV rows, and a table for people."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from pneumoscope.data.decoding import one_line
from pneumoscope.labels import DISCLAIMER, Label
from pneumoscope.screening.screener import Screening

COLUMNS = (
    "path",
    "status",
    "p_pneumonia",
    "threshold",
    "decision",
    "warnings",
    "model_id",
    "error",
)
"""Keys of a JSON line and headings of the CSV, in this order."""


Extra = Mapping[str, float | None]
"""Facts that were asked for beside the contract's, by name; they come last."""


def json_line(screening: Screening, extra: Extra | None = None) -> str:
    """Returns one JSON object on one line, in plain ASCII, without a line end."""
    return json.dumps({**screening.to_dict(), **(extra or {})}, allow_nan=False)


def csv_header(extra: Sequence[str] = ()) -> str:
    """Returns the first line of the CSV."""
    return csv_record((*COLUMNS, *extra))


def csv_line(screening: Screening, extra: Extra | None = None) -> str:
    r"""Returns one CSV record (RFC 4180) without a line end; warnings are joined by ``"; "``.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.

    Source: OWASP, CSV Injection.
    """
    values = {**screening.to_dict(), "warnings": "; ".join(screening.warnings), **(extra or {})}
    return csv_record(["" if value is None else value for value in values.values()])


def csv_text(text: str) -> str:
    """Returns a text as it stands in the CSV, quotes apart."""
    return _no_formula(text).encode("utf-8", "backslashreplace").decode("utf-8")


def csv_record(cells: Sequence[object]) -> str:
    """Returns one record (RFC 4180) without a line end; formulas get an apostrophe in front."""
    line = io.StringIO()
    safe = [_no_formula(cell) if isinstance(cell, str) else cell for cell in cells]
    # With an empty terminator Python would not quote line ends inside a cell.
    csv.writer(line, lineterminator="\r\n").writerow(safe)
    record = line.getvalue().removesuffix("\r\n")
    # File names that are no UTF-8 come as lone surrogates, which no stream can write.
    return record.encode("utf-8", "backslashreplace").decode("utf-8")


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def screening_table(screenings: Sequence[Screening]) -> Table:
    """Returns a table for the terminal, with the model's name and the disclaimer under it.

    File names are shown with their control characters escaped.
    """
    models = ", ".join(sorted({screening.model_id for screening in screenings}))
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=Text(f"Model {models}. {DISCLAIMER}"),
        caption_justify="left",
    )
    table.add_column("File", overflow="fold")
    table.add_column("Decision")
    table.add_column("p(pneumonia)", justify="right")
    table.add_column("Threshold", justify="right")
    table.add_column("Remarks", overflow="fold")
    for screening in screenings:
        table.add_row(*_cells(screening))
    return table


def _cells(screening: Screening) -> list[Text]:
    file = Text(one_line(screening.path))
    if screening.p_pneumonia is None or screening.decision is None:
        remark = screening.error or "; ".join(screening.warnings)
        # The message starts with the name, which stands in the first column.
        remark = remark.removeprefix(f"{file.plain}: ")
        return [file, Text(screening.status, "yellow"), Text("-"), Text("-"), Text(remark)]
    style = "bold red" if screening.decision == Label.PNEUMONIA.name else "green"
    return [
        file,
        Text(screening.decision, style),
        Text(f"{screening.p_pneumonia:.3f}"),
        Text(f"{screening.threshold:.3f}"),
        Text("; ".join(screening.warnings)),
    ]
