"""From what a user names - files, folders, a list on standard input - to a list of films."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pneumoscope.data.scan import looks_like_film

_NOT_FILMS = frozenset({"DICOMDIR", "Thumbs.db"})
_NOT_FOLDERS = frozenset({"__MACOSX"})


def list_films(
    paths: Iterable[str], stdin: Iterable[bytes] | None, *, recursive: bool
) -> list[str]:
    """Returns the files to screen, in the order named; those of a folder sorted by path.

    A file that is named is always in the list, whatever and wherever it is. Of a folder's
    files, those are that look like films by name or by content; hidden ones are left out.

    Args:
        paths: files, folders, or ``"-"`` for the paths in ``stdin``.
        stdin: lines, one path each; empty ones are skipped.
        recursive: look into folders inside folders.
    """
    films: list[str] = []
    for path in paths:
        named = _lines(stdin or ()) if path == "-" else [path]
        for name in named:
            films += sorted(_films_in(name, recursive)) if Path(name).is_dir() else [name]
    return films


def _lines(stdin: Iterable[bytes]) -> Iterator[str]:
    # Bytes, because a file name need not be text in the terminal's encoding.
    names = (os.fsdecode(line.rstrip(b"\r\n")) for line in stdin)
    return (name for name in names if name)


def _films_in(folder: str, recursive: bool) -> Iterator[str]:
    # A folder that cannot be listed goes into the list, so that it gets its line.
    unlisted: list[str] = []
    for parent, folders, files in os.walk(folder, onerror=lambda e: unlisted.append(e.filename)):
        visible = [name for name in folders if name[0] != "." and name not in _NOT_FOLDERS]
        folders[:] = visible if recursive else []
        for name in files:
            path = Path(parent, name)
            if name[0] != "." and name not in _NOT_FILMS and looks_like_film(path):
                yield str(path)
    yield from unlisted
