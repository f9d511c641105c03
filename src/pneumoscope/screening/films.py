"""From what a user names - files, folders, zip archives, a list on standard input - to films."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pneumoscope.data.scan import looks_like_film
from pneumoscope.screening.zips import (
    NOT_FILMS,
    NOT_FOLDERS,
    RefusedFilm,
    ZippedFilm,
    films_in_zip,
    is_zip,
)

NO_FILMS = "holds no films; name files, or a folder or zip archive that holds some"
"""Why a folder or archive is refused."""

Listed = str | ZippedFilm | RefusedFilm
"""A film in a list, or what was named instead of one."""

FilmSource = str | Path | bytes | ZippedFilm | RefusedFilm
"""What can be screened, or at least gets a line."""

_BOM = b"\xef\xbb\xbf"


def list_films(
    paths: Iterable[str],
    stdin: Iterable[bytes] | None = None,
    *,
    recursive: bool = True,
    end: bytes = b"\n",
) -> list[Listed]:
    """Returns the files to screen, in the order named; those of a folder sorted by path.

    A file that is named is always in the list, whatever and wherever it is. Of a folder's
    files, and of a zip archive's, those are that look like films by name or by content; hidden
    ones are left out. A folder or archive without any, and an archive that cannot be read, is in
    the list as a :class:`RefusedFilm`.

    Args:
        paths: files, folders, zip archives, or ``"-"`` for the paths in ``stdin``.
        stdin: lines, one path each; empty ones are skipped.
        recursive: look into folders inside folders.
        end: what ends a path in ``stdin``: a line end, or a null byte.
    """
    films: list[Listed] = []
    for path in paths:
        named = _lines(stdin or (), end) if path == "-" else [path]
        for name in named:
            films += films_of(name, recursive=recursive)
    return films


def films_of(name: str, *, recursive: bool = True) -> list[Listed]:
    """Returns what :func:`list_films` does for one path."""
    kind = _kind(name)
    if kind == "folder":
        found: list[Listed] = [*sorted(_films_in(name, recursive))]
    elif kind == "file" and is_zip(name):
        found = list(films_in_zip(name, recursive=recursive))
    else:
        return [name]
    return found or [RefusedFilm(name, NO_FILMS)]


def _kind(name: str) -> str:
    try:
        mode = os.stat(name).st_mode  # noqa: PTH116  a null byte in the name is no error here
    except (OSError, ValueError):
        return "nothing"
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def _lines(stdin: Iterable[bytes], end: bytes) -> Iterator[str]:
    # Bytes, because a file name need not be text in the terminal's encoding.
    content = b"".join(stdin).removeprefix(_BOM)  # which PowerShell puts in front
    for line in content.split(end):
        name = line.removesuffix(b"\r") if end == b"\n" else line
        if name:
            yield os.fsdecode(name)


def _films_in(folder: str, recursive: bool) -> Iterator[str]:
    # A folder that cannot be listed goes into the list, so that it gets its line.
    unlisted: list[str] = []
    for parent, folders, files in os.walk(folder, onerror=lambda e: unlisted.append(e.filename)):
        visible = [name for name in folders if name[0] != "." and name not in NOT_FOLDERS]
        folders[:] = visible if recursive else []
        for name in files:
            path = Path(parent, name)
            if name[0] != "." and name not in NOT_FILMS and looks_like_film(path):
                yield str(path)
    yield from unlisted
