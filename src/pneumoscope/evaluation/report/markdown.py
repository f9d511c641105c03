"""A report as Markdown, its figures and pictures as files beside it."""

from collections.abc import Iterator
from itertools import count

from pneumoscope.evaluation.report.document import (
    Block,
    Figure,
    Gallery,
    Report,
    Table,
    Text,
    plain,
)
from pneumoscope.labels import DISCLAIMER

_LEAD = {"plain": "", "note": "> **Note.** ", "warning": "> **Warning.** "}


def to_markdown(report: Report) -> str:
    """Returns the report as Markdown; it refers to ``figures/NAME.svg`` and ``gallery/N.jpg``."""
    pictures = count(1)
    parts = [f"# {plain(report.title)}", f"*{DISCLAIMER}*"]
    for section in report.sections:
        parts.append(f'<a id="{section.id}"></a>\n\n## {section.title}')
        parts += [_block(block, pictures) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def table_to_markdown(table: Table) -> str:
    """Returns a table as Markdown, its caption in bold above it."""
    rule = ("---", *["---:"] * (len(table.columns) - 1))
    lines = (
        "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
        for row in (table.columns, rule, *table.rows)
    )
    return "\n".join([f"**{table.caption}**", "", *lines])


def _block(block: Block, pictures: Iterator[int]) -> str:
    match block:
        case Text():
            return _LEAD[block.level] + block.markdown
        case Table():
            return table_to_markdown(block)
        case Figure():
            return f"![{plain(block.alt)}](figures/{block.name}.svg)\n\n*{block.caption}*"
        case Gallery():
            shown = [
                f"![{plain(picture.alt)}](gallery/{next(pictures)}.jpg)\n\n{picture.caption}"
                for picture in block.pictures
            ]
            return "\n\n".join([f"**{block.caption}**", *shown])
