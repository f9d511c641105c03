"""Headers of compressed image data: what a decoder would be asked to do, before it is asked."""

import re

from pneumoscope.errors import RadiographError

MAX_SCANS = 64
"""Most scans of a JPEG that are decoded. Progressive ones have about ten, and each goes over the
whole image, so that a kilobyte of empty scans costs a quarter of a second."""

_MAX_SEGMENTS = 2**16
"""Most segments; one holds up to 64 KiB, so a file at the limit has 4,096 full ones."""

_SOF_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""Start of frame in JPEG (ISO 10918-1 table B.1) and JPEG-LS (ISO 14495-1)."""


def codestream_size(stream: bytes) -> tuple[int, int] | None:
    """Returns (height, width) from the header of a JPEG, JPEG-LS or JPEG 2000 stream.

    ``None`` where there is no such header.

    Source: ISO 10918-1 B.2.2 (frame header), ISO 15444-1 A.5.1 (SIZ).
    """
    if (siz := stream.find(b"\xff\x4f\xff\x51", 0, 512)) >= 0:
        right, bottom, left, top = (
            int.from_bytes(stream[at : at + 4], "big") for at in range(siz + 8, siz + 24, 4)
        )
        return bottom - top, right - left
    if not stream.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        if stream[at + 1] == 0xFF:  # a fill byte
            at += 1
        elif stream[at + 1] in _SOF_MARKERS:
            height, width = stream[at + 5 : at + 7], stream[at + 7 : at + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
        else:
            at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


# Restart markers belong to a scan. JPEG-LS lets 0xFF stand before values below 0x80.
_NEXT_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA


def check_num_scans(stream: bytes) -> None:
    """Refuses JPEG and JPEG-LS streams of more scans than any film has.

    Raises:
        RadiographError: more than :data:`MAX_SCANS`.

    Source: ISO 10918-1 B.1.1 (markers and segments).
    """
    if not stream.startswith(b"\xff\xd8"):
        return
    num_scans, at = 0, 2
    for _ in range(_MAX_SEGMENTS):
        match = _NEXT_MARKER.search(stream, at)
        if match is None or stream[match.end() - 1] == _END:
            return
        at = match.end()
        marker = stream[at - 1]
        num_scans += marker == _SCAN
        if num_scans > MAX_SCANS:
            break
        if marker != _START:
            at += int.from_bytes(stream[at : at + 2], "big")
    raise RadiographError(
        f"has more than the {MAX_SCANS} JPEG scans a film may have; export it again"
    )
