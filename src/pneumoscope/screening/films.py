"""From what a user names - files, folders, zip archives, a list on standard input - to films."""

import os
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pneumoscope.data.decoding import one_line
from pneumoscope.data.radiograph import MAX_FILE_BYTES
from pneumoscope.data.scan import EXTENSIONS, looks_like_film
from pneumoscope.errors import RadiographError, UsageError

MAX_MEMBERS = 100_000
"""Most entries that an archive may have; their list is held in memory."""

_NOT_FILMS = frozenset({"DICOMDIR", "Thumbs.db"})
_NOT_FOLDERS = frozenset({"__MACOSX"})


@dataclass(frozen=True, eq=False)
class ZippedFilm:
    """A film inside a zip archive; nothing is ever unpacked to disk.

    Attributes:
        archive: the open archive; several threads may read from it at once.
        member: the entry's name in it.
    """

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    def __str__(self) -> str:
        """Returns the archive's path and the entry's name, as a path."""
        return f"{self.archive.filename}/{self.member.filename}"

    def read(self) -> bytes:
        """Returns the film's bytes, at most one more than a film may have.

        Raises:
            RadiographError: the entry is encrypted, damaged or packed in an unknown way.
        """
        name = one_line(str(self))
        if self.member.flag_bits & 1:
            raise RadiographError(f"{name}: is encrypted in the archive; unpack it first")
        try:
            # What the entry says of its size may be a lie, so what comes out is counted.
            with self.archive.open(self.member) as stream:
                return stream.read(MAX_FILE_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
            reason = one_line(str(error))[:120]
            raise RadiographError(f"{name}: is damaged in the archive ({reason})") from error
        except (NotImplementedError, RuntimeError) as error:
            raise RadiographError(f"{name}: is packed in a way that is not read here") from error


FilmSource = str | Path | bytes | ZippedFilm
"""What can be screened."""


def list_films(
    paths: Iterable[str], stdin: Iterable[bytes] | None, *, recursive: bool
) -> list[str | ZippedFilm]:
    """Returns the files to screen, in the order named; those of a folder sorted by path.

    A file that is named is always in the list, whatever and wherever it is. Of a folder's
    files, those are that look like films by name or by content; hidden ones are left out. Of a
    zip archive that is named, those whose names end like films' or have no ending.

    Args:
        paths: files, folders, zip archives, or ``"-"`` for the paths in ``stdin``.
        stdin: lines, one path each; empty ones are skipped.
        recursive: look into folders inside folders.

    Raises:
        UsageError: an archive has more than :data:`MAX_MEMBERS` entries, or no readable list.
    """
    films: list[str | ZippedFilm] = []
    for path in paths:
        named = _lines(stdin or ()) if path == "-" else [path]
        for name in named:
            if os.path.isdir(name):  # noqa: PTH112  a null byte in the name is no error here
                films += sorted(_films_in(name, recursive))
            elif _is_zip(name):
                films += _films_in_zip(name, recursive)
            else:
                films.append(name)
    return films


def _is_zip(name: str) -> bool:
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116
            return False
        with open(name, "rb") as stream:  # noqa: PTH123
            return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except (OSError, ValueError):
        return False  # it gets its line like every file that cannot be opened


def _films_in_zip(name: str, recursive: bool) -> Iterator[ZippedFilm]:
    try:
        archive = zipfile.ZipFile(name)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UsageError(
            f"{one_line(name)} is a damaged zip archive ({one_line(str(error))}); copy it again"
        ) from error
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise UsageError(
            f"{one_line(name)} holds {len(members):,} entries, expected at most {MAX_MEMBERS:,}; "
            "unpack it and name the folder"
        )
    for member in sorted(members, key=lambda member: member.filename):
        path = PurePosixPath(member.filename)
        hidden = any(part[0] == "." or part in _NOT_FOLDERS for part in path.parts)
        nested = len(path.parts) > 1 and not recursive
        if member.is_dir() or hidden or nested or path.name in _NOT_FILMS:
            continue
        if path.suffix.lower() in ("", *EXTENSIONS):
            yield ZippedFilm(archive, member)


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
