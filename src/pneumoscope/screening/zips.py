"""Films in zip archives, read where they lie; nothing is ever unpacked to disk."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from pneumoscope.data.decoding import one_line
from pneumoscope.data.radiograph import FORMATS, MAX_FILE_BYTES, sniff_format
from pneumoscope.data.scan import EXTENSIONS
from pneumoscope.errors import RadiographError

MAX_MEMBERS = 100_000
"""Most entries that an archive may have; their list is held in memory."""

MAX_DIRECTORY_BYTES = 16 * 2**20
"""Largest list of entries that is read."""

NOT_FILMS = frozenset({"DICOMDIR", "Thumbs.db"})
"""Files that belong to films and are none."""

NOT_FOLDERS = frozenset({"__MACOSX"})
"""Folders of which nothing is a film."""

_MAX_OPEN = 4
_HEADER_BYTES = 512
_END = struct.Struct("<4s4H2LH")  # APPNOTE.TXT 4.3.16, end of central directory record


@dataclass(frozen=True)
class RefusedFilm:
    """Something that was named and cannot be screened; it gets its line in the answer.

    Attributes:
        name: as it was named.
        reason: what is wrong and what to do, after the name.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        """Returns the name."""
        return self.name

    @property
    def source(self) -> str:
        """The file that was named."""
        return self.name

    def read(self) -> bytes:
        """Raises RadiographError with the reason."""
        raise RadiographError(f"{one_line(self.name)}: {self.reason}")


@dataclass(frozen=True, eq=False)
class ZippedFilm:
    """A film inside a zip archive.

    Attributes:
        archive: the archive's path.
        member: the entry.
        number: which of the entries of that name, from 1.
    """

    archive: str
    member: zipfile.ZipInfo
    number: int = 1

    def __str__(self) -> str:
        """Returns the archive's path and the entry's name, as a path."""
        again = f"#{self.number}" if self.number > 1 else ""
        return f"{self.archive}/{self.member.filename}{again}"

    @property
    def source(self) -> str:
        """The file that was named."""
        return self.archive

    def read(self, num_bytes: int = MAX_FILE_BYTES + 1) -> bytes:
        """Returns the film's first bytes; by default at most one more than a film may have.

        Raises:
            RadiographError: the entry is encrypted, damaged or packed in an unknown way, or the
                archive is gone.
        """
        name = one_line(str(self))
        if self.member.flag_bits & 1:
            raise RadiographError(f"{name}: is encrypted in the archive; unpack it first")
        # Of these two Python reads no more than it is asked for, whatever the entry claims.
        if self.member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RadiographError(
                f"{name}: is packed in a way that is not read here, expected deflate; unpack it "
                "and name the folder"
            )
        try:
            with _opened(self.archive).open(self.member) as stream:
                return stream.read(num_bytes)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
            reason = one_line(str(error))[:120]
            raise RadiographError(f"{name}: is damaged in the archive ({reason})") from error
        except (NotImplementedError, RuntimeError) as error:
            raise RadiographError(f"{name}: is packed in a way that is not read here") from error


@lru_cache(maxsize=_MAX_OPEN)
def _opened(archive: str) -> zipfile.ZipFile:
    """Returns an archive that several threads may read; it is closed once nobody holds it."""
    return zipfile.ZipFile(archive)


def is_zip(name: str) -> bool:
    """Returns whether a regular file is a zip archive; a DICOM file that starts like one is not."""
    try:
        with open(name, "rb") as stream:  # noqa: PTH123  a null byte in the name is no error here
            head = stream.read(_HEADER_BYTES)
    except (OSError, ValueError):
        return False  # it gets its line like every file that cannot be opened
    return sniff_format(head) == "a ZIP archive" or head.startswith(b"PK\x05\x06")


def films_in_zip(name: str, *, recursive: bool) -> Iterator[ZippedFilm | RefusedFilm]:
    """Yields the films of an archive, sorted by name; entries that are no films are left out.

    An entry is a film by its name's ending or by its content. Archives in it are refused, and so
    is the whole where it is damaged or too large a list.

    Args:
        name: the archive's path.
        recursive: look into its folders.
    """
    try:
        if refusal := _too_large(name):
            yield RefusedFilm(name, refusal)
            return
        members = zipfile.ZipFile(name).infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        yield RefusedFilm(name, f"is a damaged zip archive ({one_line(str(error))}); copy it again")
        return
    if len(members) > MAX_MEMBERS:
        yield RefusedFilm(
            name,
            f"is an archive of {len(members):,} entries, expected at most {MAX_MEMBERS:,}; "
            "unpack it and name the folder",
        )
        return
    numbers: dict[str, int] = {}
    for member in sorted(members, key=lambda member: member.filename):
        numbers[member.filename] = numbers.get(member.filename, 0) + 1
        film = ZippedFilm(name, member, numbers[member.filename])
        path = PurePosixPath(member.filename)
        nested = len(path.parts) > 1 and not recursive
        if member.is_dir() or nested or _is_hidden(path) or path.name in NOT_FILMS:
            continue
        if path.suffix.lower() in EXTENSIONS:
            yield film
        else:
            yield from _by_content(film)


def _is_hidden(path: PurePosixPath) -> bool:
    names = [part for part in path.parts if part not in (".", "..")]
    return any(part[0] == "." or part in NOT_FOLDERS for part in names)


def _by_content(film: ZippedFilm) -> Iterator[ZippedFilm | RefusedFilm]:
    try:
        kind = sniff_format(film.read(_HEADER_BYTES))
    except RadiographError:
        yield film  # it gets its line when it is read
        return
    if kind in FORMATS:
        yield film
    elif kind == "a ZIP archive":
        yield RefusedFilm(str(film), "is an archive inside an archive; unpack the outer one")


def _too_large(name: str) -> str | None:
    """Returns why the list of entries is not read at all, judged by the archive's last record."""
    with open(name, "rb") as stream:  # noqa: PTH123
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 2**16 - _END.size))
        tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        return None  # no archive, which opening it will tell
    num_bytes = _END.unpack_from(tail, at)[5]
    if num_bytes > MAX_DIRECTORY_BYTES:
        return (
            f"is an archive whose list of entries has {num_bytes:,} bytes, expected at most "
            f"{MAX_DIRECTORY_BYTES:,}; unpack it and name the folder"
        )
    return None
