"""The page of all messages, for ``generate.py``."""

import film_messages
from error_messages import error_classes, messages, parts
from message_advice import ADVICE
from source_text import GAP

_HEAD = f"""
By kind, as the code has them; `{GAP}` stands for what is only known when it happens: a path, a
number, another message, or for nothing at all. Errors come first, each after `error: ` on standard
error; then what is said of single films, and notices. What lies behind the errors, and what to do
first: [troubleshooting](../troubleshooting.md).

Not listed are the words of others: of the command line's parser about options (`Usage: ...`, exit
status 2), and of the operating system about a file (`[Errno 13] Permission denied: ...`: give
access to it, or name another).
"""


def messages_page(note: str) -> str:
    """Returns the page of all messages; ``note`` says that it is generated."""
    lines = ["# Every message\n", note, _HEAD]
    for kind in error_classes():
        name = kind.__name__
        more = f"More: [troubleshooting](../troubleshooting.md#{name.lower()})."
        lines += [f"## {name}\n", f"{(kind.__doc__ or '').strip()} {ADVICE[name]} {more}\n"]
        lines += shown(messages()[name]) or ["No message of its own."]
        if parts()[name]:
            lines += ["\nIn the gaps of some of them:\n", *shown(parts()[name])]
        lines += [""]
    for heading, (advice, texts) in film_messages.LISTS.items():
        lines += [f"## {heading}\n", f"{advice}\n", *shown(texts()), ""]
    return "\n".join(lines)


def shown(texts: list[str]) -> list[str]:
    """Returns a list in Markdown."""
    return [f"- ``{text} ``" if text.endswith("`") else f"- ``{text}``" for text in texts]
