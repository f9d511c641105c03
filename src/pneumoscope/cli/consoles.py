"""The two consoles: answers on standard output, progress and notes on standard error."""

import sys

from rich.console import Console


def on_stdout() -> Console:
    """Returns the console for answers; in a pipe it is wide enough for every table."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def on_stderr() -> Console:
    """Returns the console for progress and notes."""
    return Console(stderr=True, highlight=False)
