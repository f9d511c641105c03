"""Reads ``.npz`` archives that strangers made: headers first, one array at a time, no pickle.

``numpy.load`` believes what an archive declares about itself. Here every header is read and
compared with what the archive really holds before any data is, so that neither an absurd shape
nor a duplicate name nor a pickled object gets further than one line of refusal.
"""

import hashlib
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pneumoscope.errors import UsageError, WeightsError

_HEADER_BYTES = 16 * 1024  # numpy accepts headers up to 10,000 characters
_MAX_MEMBERS = 4096  # a network of 32 blocks, the deepest released, has about 520
_HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_DAMAGE = (
    ArithmeticError, EOFError, OSError, RuntimeError, ValueError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile, zlib and numpy raise on damaged input."""


@dataclass(frozen=True)
class ArrayHeader:
    """What an array declares about itself: its shape and its number format."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def quoted(name: str) -> str:
    """Returns a name from an archive, fit to stand in a one-line message."""
    return repr(name if len(name) <= 120 else f"{name[:117]}...")


class NpzArchive:
    """An open ``.npz`` whose headers were all checked; made by :func:`open_npz`.

    Attributes:
        path: where it lies.
        headers: name (without ``.npy``) to header, in the order of the file.
    """

    def __init__(self, path: Path, stream: io.BufferedReader) -> None:
        """Reads the table of contents and every header of ``stream``.

        Raises:
            WeightsError: it is not a whole ``.npz`` of plain arrays.
        """
        self.path = path
        self._stream = stream
        _check_first_bytes(path, stream.read(512))
        try:
            self._zip = zipfile.ZipFile(stream)
        except _DAMAGE as error:
            raise self._damaged(error) from error
        self._members = self._list_members()
        self.headers = {name: self._read_header(name) for name in self._members}

    def read(self, name: str) -> NDArray[Any]:
        """Returns one array, read whole and compared with its checksum.

        Raises:
            WeightsError: its bytes are damaged.
        """
        try:
            with self._zip.open(self._members[name]) as stream:
                array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        except _DAMAGE as error:
            raise self._damaged(error, name) from error
        return array

    def sha256(self) -> str:
        """Returns the SHA-256 of the file's bytes, in lower-case hex.

        Raises:
            WeightsError: the disk fails.
        """
        try:
            self._stream.seek(0)
            return hashlib.file_digest(self._stream, "sha256").hexdigest()
        except OSError as error:
            raise self._damaged(error) from error

    def _list_members(self) -> dict[str, zipfile.ZipInfo]:
        """Returns array name to zip member; refuses everything that is not one array a name."""
        infos = self._zip.infolist()
        if len(infos) > _MAX_MEMBERS:
            raise WeightsError(
                f"{self.path} holds {len(infos)} members; a checkpoint has at most {_MAX_MEMBERS}"
            )
        members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            name = info.filename.removesuffix(".npy")
            if name == info.filename:
                kind = "a pickle, which could run code" if name.endswith(".pkl") else "no array"
                raise WeightsError(
                    f"{self.path} holds {quoted(name)}, {kind}; expected .npy arrays alone"
                )
            if name in members:
                raise WeightsError(f"{self.path} holds {quoted(name)} twice; download it again")
            # Some other methods let a few bytes claim gigabytes; numpy writes these two alone.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise WeightsError(
                    f"{self.path}: {quoted(name)} is compressed by method {info.compress_type}; "
                    "expected stored or deflated, as numpy writes"
                )
            members[name] = info
        return members

    def _read_header(self, name: str) -> ArrayHeader:
        """Returns the header of one array, if the member holds just what it declares."""
        member = self._members[name]
        try:
            with self._zip.open(member) as stream:
                start = io.BytesIO(stream.read(_HEADER_BYTES))
        except _DAMAGE as error:
            raise self._damaged(error, name) from error
        try:
            shape, _, dtype = _HEADER_READERS[npy.read_magic(start)](start)
        # numpy lets through whatever its literal, token and dtype parsers raise.
        except Exception as error:
            raise WeightsError(
                f"{self.path}: the header of {quoted(name)} is not a .npy header; "
                "download the file again"
            ) from error
        if dtype.hasobject:
            raise WeightsError(
                f"{self.path}: {quoted(name)} holds pickled Python objects, which could run "
                "code; expected plain numbers"
            )
        num_bytes = math.prod(shape) * dtype.itemsize
        is_empty = dtype.itemsize == 0 or min(shape, default=1) < 1
        if is_empty or start.tell() + num_bytes != member.file_size:
            raise WeightsError(
                f"{self.path}: {quoted(name)} declares {shape!s:.80} of {dtype!s:.20}, which "
                f"does not fit its {member.file_size} bytes; download the file again"
            )
        return ArrayHeader(shape, dtype)

    def _damaged(self, error: Exception, name: str | None = None) -> WeightsError:
        """Returns the refusal of a file that breaks off or fails its checksum."""
        where = f" at {quoted(name)}" if name else ""
        reason = " ".join(str(error).split()) or type(error).__name__
        return WeightsError(
            f"{self.path} is truncated or damaged{where} ({reason[:120]}); download it again"
        )


@contextmanager
def open_npz(path: Path) -> Iterator[NpzArchive]:
    """Yields the archive at ``path``, its headers read and checked, its data not yet read.

    Raises:
        UsageError: there is no such file.
        WeightsError: it cannot be read, or is not a whole ``.npz`` of plain arrays.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no file {path}; expected a checkpoint in Google's .npz layout"
        ) from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    with stream:
        yield NpzArchive(path, stream)


def _check_first_bytes(path: Path, start: bytes) -> None:
    """Refuses files that are something else altogether, and says what they are."""
    if start.startswith(b"PK\x03\x04"):
        return
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        found = "is empty"
    elif text.startswith(b"<"):
        found = "is a web page (HTML or XML), so the download was answered with an error"
    elif text.startswith(b"{"):
        found = "is a JSON text, so the download was answered with an error"
    elif start.startswith(b"\x80"):
        found = "is a pickle, which could run code"
    elif start.startswith(b"\x93NUMPY"):
        found = "is a single array (.npy)"
    elif start.startswith(b"version https://git-lfs"):
        found = "is a Git LFS pointer, not the file itself"
    else:
        found = f"is no zip archive (it starts with {start[:8]!r})"
    raise WeightsError(f"{path} {found}; expected an .npz checkpoint: download it again")
