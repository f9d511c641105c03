"""Unpacking archives that somebody else made.

An archive is a list of paths and contents chosen by its author, and nothing in it is believed:
every name and size is checked before the first byte is written; links and devices are refused
altogether (stricter than tarfile's ``data`` filter, which allows links within the target); and
all of it goes to a temporary folder that takes the target's name only at the end.
"""

import gzip
import lzma
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from pneumoscope.errors import FetchError
from pneumoscope.files import make_folder, storage_error

MAX_BYTES = 20 * 1024**3
"""Most that an archive may unpack to; the largest one in use here holds about 2.5 GB."""

MAX_RATIO = 100.0
"""Most bytes that may come out of one byte of archive; films, compressed already, give 1."""

_RATIO_FLOOR_BYTES = 16 * 1024**2  # what so little unpacks to harms nobody, whatever its ratio
_CHUNK_BYTES = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that zipfile cannot undo
)


@dataclass(frozen=True)
class _Member:
    """One entry of an archive, whatever its format."""

    name: str
    is_folder: bool
    num_bytes: int
    refusal: str | None
    open: Callable[[], IO[bytes] | None]


def unpack(
    archive: Path,
    target: Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_ratio: float = MAX_RATIO,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Returns ``target``, a new folder with the files of a zip, tar or tar.gz archive.

    It appears whole or not at all. What macOS adds to archives (``__MACOSX``, ``.DS_Store``,
    ``._*``) is left out.

    Args:
        archive: the file to unpack.
        target: the folder to make; it must not exist.
        max_bytes: most bytes that may come out.
        max_ratio: most bytes that may come out of one byte of archive.
        on_progress: called with the bytes written and the bytes in all.

    Raises:
        FetchError: it is no archive, is damaged, or holds something that is refused: a path
            out of the target, a link or device, names that collide (differ in case only), an
            encrypted file, more bytes than allowed.
        StorageError: the folder cannot be written (no space, no permission).
    """
    if target.exists():
        raise FetchError(f"{target} is there already; move it away, or unpack elsewhere")
    make_folder(target.parent)
    try:
        with (
            _opened(archive) as opened,
            tempfile.TemporaryDirectory(
                prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True
            ) as workplace,
        ):
            archive_bytes = archive.stat().st_size
            limit_bytes = min(max_bytes, max(archive_bytes * max_ratio, _RATIO_FLOOR_BYTES))
            plan = _plan(archive, _members(opened), limit_bytes)
            folder = Path(workplace, "unpacked")
            folder.mkdir()
            _write(archive, plan, folder, on_progress)
            folder.replace(target)
    except _DAMAGE as error:
        raise FetchError(f"{archive} is damaged ({error}); delete it and fetch it again") from error
    except OSError as error:
        raise storage_error(target, error) from error
    return target


def _opened(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    try:
        if zipfile.is_zipfile(archive):
            return zipfile.ZipFile(archive)
        return tarfile.open(archive)
    except _DAMAGE as error:
        raise FetchError(
            f"{archive} is no zip or tar archive, or is cut short; delete it and fetch it again"
        ) from error
    except OSError as error:
        raise FetchError(f"{archive} cannot be read: {error.strerror}") from error


def _members(opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[_Member]:
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the maker was not Unix
            refusal = None
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                refusal = "is a link or a device"
            elif info.flag_bits & 0x1:
                refusal = "is encrypted"
            yield _Member(
                info.filename, info.is_dir(), info.file_size, refusal, partial(opened.open, info)
            )
    else:
        for entry in opened:
            plain = entry.isdir() or (entry.isreg() and not entry.issparse())
            refusal = None if plain else "is a link, a device or a sparse file"
            yield _Member(
                entry.name,
                entry.isdir(),
                entry.size,
                refusal,
                partial(opened.extractfile, entry),
            )


def _plan(
    archive: Path, members: Iterable[_Member], limit_bytes: float
) -> list[tuple[_Member, tuple[str, ...]]]:
    """Returns the members to write with the parts of their paths, all checked."""
    plan = []
    total_bytes = 0
    taken: dict[str, tuple[str, bool]] = {}  # what a folder blind to case would take for equal

    def refuse(member: _Member, why: str) -> FetchError:
        return FetchError(f"{archive} is refused: {member.name!r} {why}; get it from its source")

    for member in members:
        parts = _parts(member.name)
        if parts is None:
            raise refuse(member, "would lie outside the folder it is unpacked to")
        if member.refusal:
            raise refuse(member, member.refusal)
        total_bytes += member.num_bytes
        if total_bytes > limit_bytes:
            raise refuse(member, f"brings it over {limit_bytes:,.0f} bytes, as a zip bomb would")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            is_folder = depth < len(parts) or member.is_folder
            key = unicodedata.normalize("NFC", path).casefold()
            other = taken.get(key)
            if other is not None and not (is_folder and other == (path, is_folder)):
                raise refuse(member, f"collides with {other[0]!r}")
            taken[key] = (path, is_folder)
        if parts and not _is_macos_extra(parts):
            plan.append((member, parts))
    return plan


def _parts(name: str) -> tuple[str, ...] | None:
    r"""Returns the parts of a member's path, or None where it could lead out of its folder.

    >>> _parts("chest_xray/./test/a.jpeg")
    ('chest_xray', 'test', 'a.jpeg')
    >>> [_parts(name) for name in ("../a", "/etc/a", r"C:\a", r"a\..\..\b", "a\0b")]
    [None, None, None, None, None]
    """
    # A backslash separates on Windows and a colon makes a drive there: refused everywhere, so
    # that an archive means the same on every machine.
    unified = name.replace("\\", "/")
    parts = unified.split("/")
    if unified.startswith("/") or ".." in parts or ":" in name or not name.isprintable():
        return None
    return tuple(part for part in parts if part not in ("", "."))


def _is_macos_extra(parts: tuple[str, ...]) -> bool:
    return "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


def _write(
    archive: Path,
    plan: list[tuple[_Member, tuple[str, ...]]],
    folder: Path,
    on_progress: Callable[[int, int | None], None] | None,
) -> None:
    total_bytes = sum(member.num_bytes for member, _ in plan)
    done_bytes = 0
    for member, parts in plan:
        path = folder.joinpath(*parts)
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        left_bytes = member.num_bytes
        try:
            content = member.open()
            assert content is not None  # tarfile gives None for folders and links only
            with content, path.open("xb") as stream:
                while chunk := content.read(_CHUNK_BYTES):
                    left_bytes -= len(chunk)
                    if left_bytes < 0:
                        break
                    stream.write(chunk)
                    done_bytes += len(chunk)
                    if on_progress:
                        on_progress(done_bytes, total_bytes)
            if left_bytes != 0:
                raise zipfile.BadZipFile("its size is not the declared one")
        except _DAMAGE as error:
            raise FetchError(
                f"{archive}: {member.name} is damaged ({error}); delete it and fetch it again"
            ) from error
