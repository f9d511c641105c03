"""What a report is made of: sections of paragraphs, tables, figures and pictures.

Sections say what stands there; how it looks is for :mod:`pneumoscope.evaluation.report.html` and
:mod:`pneumoscope.evaluation.report.markdown`. Paragraphs and cells are Markdown of one line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True)
class Text:
    """A paragraph; ``level`` sets a warning apart from what is merely said."""

    markdown: str
    level: Literal["plain", "note", "warning"] = "plain"


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        caption: what it shows, on which films; stands above it.
        columns: headings; the first column is a name, the others are numbers.
        rows: cells, as many as there are columns.
        prose: whether the cells hold words to be read from the left rather than numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    prose: bool = False

    def __post_init__(self) -> None:
        """Checks that the rows fit the columns."""
        assert all(len(row) == len(self.columns) for row in self.rows), self.caption


@dataclass(frozen=True)
class Figure:
    """A drawing of one panel, made to be read at the width of a telephone.

    Attributes:
        name: its file's name without extension, unique in a report: letters, digits, hyphens.
        caption: what it shows and how to read it; stands below it.
        alt: the same for those who cannot see it: the message in a sentence.
        drawing: from :func:`~pneumoscope.evaluation.figure_style.new_panel`.
    """

    name: str
    caption: str
    alt: str
    drawing: Drawing


@dataclass(frozen=True)
class Picture:
    """A film with what is said of it; ``jpeg`` is the encoded image."""

    caption: str
    alt: str
    jpeg: bytes


@dataclass(frozen=True)
class Gallery:
    """Films side by side."""

    caption: str
    pictures: tuple[Picture, ...]


Block = Text | Table | Figure | Gallery


@dataclass(frozen=True)
class Section:
    """One question and its answer.

    Attributes:
        id: its anchor.
        title: its heading.
        blocks: in reading order.
        data: every number in it, unrounded, as JSON values; without NaN.
    """

    id: str
    title: str
    blocks: tuple[Block, ...]
    data: Any = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A whole report; ``phantom`` where drawn films are in play."""

    title: str
    phantom: bool
    sections: tuple[Section, ...]

    def figures(self) -> Sequence[Figure]:
        """Returns all figures in reading order."""
        return [
            block
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Figure)
        ]


def plain(text: str) -> str:
    """Returns Markdown that shows ``text`` as running text, whatever signs are in it.

    >>> plain("a_b <i> [c](d)")
    'a\\\\_b \\\\<i\\\\> \\\\[c\\\\](d)'
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return re.sub(r"([\\`*_\[\]<>&#|!~])", r"\\\1", shown)


def verbatim(text: str) -> str:
    """Returns Markdown that shows ``text`` as it is, such as the name of a file.

    Line ends and the like, which a name may hold, are shown as Python writes them.

    >>> verbatim("a_b*.jpeg"), verbatim("a`b")
    ('`a_b*.jpeg`', '`` a`b ``')
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {shown} {fence}" if longest else f"{fence}{shown}{fence}"
