"""Headers of compressed image data, and scans that would be decoded for minutes."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from pneumoscope.data.codestream import MAX_SCANS, check_num_scans, codestream_size
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.errors import RadiographError


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc0\x00\x0b\x08\x00\x14\x00\x0a\x01", (20, 10)),
        (b"\xff\xd8\xff\xf7\x00\x0b\x10\x00\x32\x00\x0a\x01\x01", (50, 10)),
        (b"\xff\x4f\xff\x51\x00\x29\x00\x00" + bytes([0, 0, 0, 9, 0, 0, 0, 7]) + bytes(8), (7, 9)),
        (b"\xff\xd8\xff\xda", None),
        (b"\xff\xd8", None),
        (b"RLE", None),
    ],
)
def test_codestream_size(stream: bytes, size: tuple[int, int] | None) -> None:
    assert codestream_size(stream) == size


def progressive(num_more: int, before: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan stands there so many times more."""
    stream = io.BytesIO()
    Image.fromarray(np.full((512, 512), 100, np.uint8)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    scan = content[content.rfind(b"\xff\xda") : -2]
    return content[:2] + before + content[2:-2] + scan * num_more + b"\xff\xd9"


def segment(data: bytes) -> bytes:
    return b"\xff\xe5" + (len(data) + 2).to_bytes(2, "big") + data


def test_thousands_of_scans_are_not_decoded() -> None:
    content = progressive(5000)
    start = time.process_time()
    with pytest.raises(RadiographError, match="more than the 64 JPEG scans a film may have"):
        read_radiograph(content)
    assert time.process_time() - start < 1


def test_honest_scans_are_read() -> None:
    assert read_radiograph(progressive(0)).pixels.shape == (512, 512)
    assert (read_radiograph(progressive(20)).pixels == 100).all()


def test_markers_inside_of_segments_and_behind_the_end_are_no_scans() -> None:
    markers = b"\xff\xda" * (MAX_SCANS + 1)
    check_num_scans(progressive(0, segment(markers)) + markers)
    with pytest.raises(RadiographError):
        check_num_scans(progressive(MAX_SCANS, segment(b"x")))


def test_millions_of_empty_segments() -> None:
    with pytest.raises(RadiographError, match="scans"):
        check_num_scans(b"\xff\xd8" + segment(b"") * 100_000)
