"""The pages of the documentation, taken apart: code blocks, their commands, what is not run."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.name != "CHANGELOG.md"
)
ALL = "all"

_FENCE = re.compile(
    r"^(?:<!-- (?P<comment>[^>]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_COMMAND = re.compile(r"(^|[\s(|])(pneumoscope|python3?|torchrun|pip|\.venv/bin/\w+) ", re.M)
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
            self.language in ("", "bash") and bool(_COMMAND.search("\n".join(self.typed)))
        )

    @property
    def typed(self) -> list[str]:
        """The lines that a reader types; of a transcript those after the prompt."""
        lines = self.text.replace("\\\n", " ").splitlines()
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return prompted or lines

    @property
    def not_run(self) -> dict[str, str]:
        """What the comment takes out, with its reason: ``not run: WHAT (WHY); WHAT (WHY)``."""
        if not self.comment.startswith("not run: "):
            return {}
        items = self.comment.removeprefix("not run: ")
        assert _NOT_RUN.sub("", items) == "", f"{self}: not WHAT (WHY); WHAT (WHY): {items}"
        return {found["what"]: found["why"] for found in _NOT_RUN.finditer(items)}


def blocks(path: Path) -> list[Block]:
    """Returns the fenced blocks of a page, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            page=path.relative_to(ROOT).as_posix(),
            line=text[: found.start()].count("\n") + 1,
            language=found["language"],
            comment=found["comment"] or "",
            text=found["text"],
        )
        for found in _FENCE.finditer(text)
    ]
