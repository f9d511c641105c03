"""Bytes of a DICOM file to a data set, without ever unpacking more than a film may have."""

import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from pneumoscope.data.decoding import room_for
from pneumoscope.data.radiograph import MAX_FILE_BYTES
from pneumoscope.errors import RadiographError

_CHUNK_BYTES = 2**20


def parse_dicom(content: bytes, elements: list[str], room: ExitStack) -> Dataset:
    """Returns the named elements of a file, with or without the Part 10 preamble.

    Where it must be unpacked, ``room`` holds :func:`~pneumoscope.data.decoding.room_for` it
    from then on.

    Raises:
        RadiographError: it is deflated and unpacks to more than a film may have.
    """
    try:
        return dcmread(_Stream(content), force=True, specific_tags=elements)
    except _DeflatedError as deflated:
        packed = memoryview(content)[deflated.start :]
    # Counted first, so that a bomb costs no memory at all.
    num_bytes = sum(map(len, _inflated(packed)))
    if num_bytes > MAX_FILE_BYTES:
        raise RadiographError(
            f"unpacks to more than the {MAX_FILE_BYTES:,} bytes a film may have; is it a film?"
        )
    room.enter_context(room_for(num_bytes))
    stream = io.BytesIO()
    stream.write(_EXPLICIT_HEADER)
    for chunk in _inflated(packed):
        stream.write(chunk)
    stream.seek(0)
    return dcmread(stream, specific_tags=elements)


class _DeflatedError(Exception):
    def __init__(self, start: int) -> None:
        super().__init__()
        self.start = start


class _Stream(io.BytesIO):
    # dcmread inflates without a limit. It reads "all the rest" for that and for nothing else, so
    # whatever the header looks like, this is where inflating would begin.
    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            raise _DeflatedError(self.tell())
        return super().read(size)


def _inflated(packed: memoryview) -> Iterator[bytes]:
    """Yields what a deflated data set (PS3.5 A.5) unpacks to, until over the limit."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    num_bytes = 0
    for start in range(0, len(packed), 2**16):
        rest: bytes | memoryview = packed[start : start + 2**16]
        while rest and not inflater.eof:
            chunk = inflater.decompress(rest, _CHUNK_BYTES)
            num_bytes += len(chunk)
            yield chunk
            if num_bytes > MAX_FILE_BYTES:
                return
            rest = inflater.unconsumed_tail
    if not inflater.eof:
        raise RadiographError(
            "has truncated image data (Deflated Explicit VR Little Endian); copy or export it again"
        )


def _explicit_header() -> bytes:
    uid = ExplicitVRLittleEndian.encode()
    uid += b"\0" * (len(uid) % 2)
    syntax = b"\x02\x00\x10\x00UI" + len(uid).to_bytes(2, "little") + uid
    return bytes(128) + b"DICM" + syntax


_EXPLICIT_HEADER = _explicit_header()
