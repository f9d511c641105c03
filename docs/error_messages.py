"""Every message that the package can end with, read from its source; for ``generate.py``."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pneumoscope
from pneumoscope import errors

PACKAGE = Path(pneumoscope.__file__).parent
GAP = "…"


def error_classes() -> list[type[errors.PneumoscopeError]]:
    """Returns the errors in the order in which their tree is drawn, the root left out."""

    def below(parent: type[errors.PneumoscopeError]) -> Iterator[type[errors.PneumoscopeError]]:
        for child in parent.__subclasses__():
            if child.__module__ == errors.__name__:
                yield child
                yield from below(child)

    return list(below(errors.PneumoscopeError))


@cache
def messages() -> dict[str, list[str]]:
    """Returns the messages by the name of their class, each once, sorted.

    A part that is only known when it happens is a gap. A message that is only another error's
    text, or wholly made elsewhere, is left out.
    """
    found: dict[str, set[str]] = {kind.__name__: set() for kind in error_classes()}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                text = literal(node.args[0])
                if node.func.id in found and any(c.isalpha() for c in text):
                    found[node.func.id].add(text)
    return {
        name: sorted(texts, key=lambda text: text.strip(GAP + " ")) for name, texts in found.items()
    }


def literal(node: ast.expr) -> str:
    """Returns the text of a message as far as the source tells it."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            joined = "".join(literal(part) for part in parts)
            while GAP * 2 in joined:
                joined = joined.replace(GAP * 2, GAP)
            return joined
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return literal(left) + literal(right)
        case _:
            return GAP


def messages_page(note: str) -> str:
    """Returns the page of all messages; ``note`` says that it is generated."""
    lines = [
        "# Every message\n",
        note,
        f"\nBy kind of error, as the code has them; `{GAP}` stands for what is only known when it "
        "happens: a path, a number, another message. Each says what was found, what was expected "
        "and what to do. What lies behind them, and what to do first: "
        "[troubleshooting](../troubleshooting.md).\n",
    ]
    for kind in error_classes():
        texts = messages()[kind.__name__]
        lines += [f"## {kind.__name__}\n", (kind.__doc__ or "").strip() + "\n"]
        lines += [f"- ``{text}``" for text in texts] or ["No message of its own."]
        lines += [""]
    return "\n".join(lines)
