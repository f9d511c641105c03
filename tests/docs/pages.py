"""The pages of the documentation, taken apart: code blocks, commands, what is not run, figures."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.name != "CHANGELOG.md"
)
ALL = "all"
SHELLS = ("", "bash", "sh", "console")
OTHERS = ("python", "toml", "text", "powershell")
PROGRAMS = r"pneumoscope|python3?|torchrun|pip|jupytext|properdocs|export|source|\.venv/bin/\w+"

_FENCE = re.compile(
    r"^(?:[ \t]*<!-- (?P<comment>[^>]*) -->\n)?(?P<indent>[ \t]*)```(?P<language>[^\n`]*)\n"
    r"(?P<text>.*?)^(?P=indent)```[ \t]*$",
    re.M | re.S,
)
_COMMAND = re.compile(rf"(^|[\s(|])({PROGRAMS}) ", re.M)
_NOT_RUN = re.compile(r"(?P<what>[^;()]+) \((?P<why>[^()]+)\)(?:; |$)")


@dataclass(frozen=True)
class Block:
    """A fenced block of code, with the comment on the line above it."""

    page: str
    line: int
    language: str
    comment: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_python(self) -> bool:
        return self.language == "python"

    @property
    def has_commands(self) -> bool:
        """Whether a reader is to type it: Python, or a shell block with one of our programs."""
        return self.is_python or (
            self.language in SHELLS and bool(_COMMAND.search("\n".join(self.typed)))
        )

    @property
    def typed(self) -> list[str]:
        """The lines that a reader types; of a transcript those after the prompt."""
        lines = self.text.replace("\\\n", " ").splitlines()
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return prompted or lines

    @property
    def answer(self) -> str:
        """What a transcript shows below its command; empty where the block is none."""
        lines = self.text.splitlines()
        if not lines or not lines[0].startswith("$ "):
            return ""
        return "\n".join(line for line in lines if not line.startswith("$ "))

    @property
    def not_run(self) -> dict[str, str]:
        """What the comment takes out, with its reason: ``not run: WHAT (WHY); WHAT (WHY)``."""
        if not self.comment.startswith("not run: "):
            return {}
        items = self.comment.removeprefix("not run: ")
        assert _NOT_RUN.sub("", items) == "", f"{self}: not WHAT (WHY); WHAT (WHY): {items}"
        return {found["what"]: found["why"] for found in _NOT_RUN.finditer(items)}

    @property
    def lines_left_out(self) -> list[str]:
        """The lines that the comment takes out."""
        return [
            line
            for line in self.typed
            if line.strip() and any(what == ALL or what in line for what in self.not_run)
        ]

    @property
    def lines_run(self) -> list[str]:
        """The lines that are run."""
        return [line for line in self.typed if line not in self.lines_left_out]


def blocks(path: Path) -> list[Block]:
    """Returns the fenced blocks of a page, in order."""
    return blocks_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())


def blocks_of(text: str, page: str) -> list[Block]:
    """Returns the fenced blocks of a text, in order; those in lists are brought to the margin."""
    return [
        Block(
            page=page,
            line=text[: found.start()].count("\n") + 1,
            language=found["language"].strip(),
            comment=found["comment"] or "",
            text=textwrap.dedent(found["text"]),
        )
        for found in _FENCE.finditer(text)
    ]


TYPED = [block for page in PAGES for block in blocks(page) if block.has_commands]
"""Every block of the documentation that a reader types."""


def table(page: str, header: str) -> list[list[str]]:
    """The rows of the table whose first line starts so, without emphasis."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("**", "")
    assert text.count(f"\n{header}") == 1, f"{page}: {header}"
    lines = text[text.index(f"\n{header}") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


def agrees(cell: str, *values: float | None) -> bool:
    """Whether the numbers in a cell are these, as far as they are written out."""
    shown = re.findall(r"(?<![\w.])-?[\d,]*\.?\d+", cell)
    assert len(shown) == len(values), (cell, values)
    for text, value in zip(shown, values, strict=True):
        digits = len(text.partition(".")[2])
        shown_as = float(text.replace(",", ""))
        if value is None or not abs(shown_as - value) <= 0.51 * 10**-digits:  # nor NaN
            return False
    return True
