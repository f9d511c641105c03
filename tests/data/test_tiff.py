"""Reading TIFF: layouts against a second decoder, and limits before anything is decoded."""

import io
import resource
import struct
import sys
import time

import numpy as np
import pytest
from PIL import Image

from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.errors import RadiographError

RAMP = (np.arange(48, dtype=np.uint16).reshape(6, 8) * 1365) | 1
BLACK_IS_ZERO, WHITE_IS_ZERO, RGB = 1, 0, 2


def tiff(
    data: bytes,
    width: int,
    height: int,
    bits: int,
    samples: int = 1,
    photometric: int = BLACK_IS_ZERO,
    order: str = "<",
    more: tuple[tuple[int, list[int]], ...] = (),
) -> bytes:
    """An uncompressed TIFF of one strip, or one a plane; ``more`` replaces or adds tags."""
    planar = dict(more).get(284) == [2]
    part = len(data) // samples if planar else len(data)
    parts = samples if planar else 1
    tags = {
        256: [width],
        257: [height],
        258: [bits] * samples,
        259: [1],
        262: [photometric],
        273: [8 + number * part for number in range(parts)],
        277: [samples],
        278: [height],
        279: [part] * parts,
    } | dict(more)
    data += b"\0" * (-len(data) % 2)
    return (
        header(order, 8 + len(data)) + data + directory(order, 8 + len(data), sorted(tags.items()))
    )


def header(order: str, start: int) -> bytes:
    return struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, start)


def directory(order: str, start: int, tags: list[tuple[int, list[int]]], then: int = 0) -> bytes:
    """All values as LONG, except those that decoders want as SHORT."""
    behind = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, numbers in tags:
        kind, form = (4, "I") if tag in (256, 257, 273, 278, 279, 322, 323, 324, 325) else (3, "H")
        packed = struct.pack(f"{order}{len(numbers)}{form}", *numbers)
        if len(packed) > 4:
            place = struct.pack(order + "I", behind + len(values))
            values += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + place
    return struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", then) + values


def packed_12_bits(values: np.ndarray) -> bytes:
    bits = (values.reshape(-1, 1) >> np.arange(11, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


class TestGrey:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
    def test_16_bits_in_both_orders_both_ways_up(self, order: str, photometric: int) -> None:
        stored = RAMP if photometric == BLACK_IS_ZERO else 65535 - RAMP
        film = read_radiograph(
            tiff(stored.astype(f"{order}u2").tobytes(), 8, 6, 16, 1, photometric, order)
        )
        np.testing.assert_array_equal(film.pixels, RAMP)
        assert (film.bits, film.warnings) == (16, ())

    @pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, WHITE_IS_ZERO])
    def test_12_bits(self, photometric: int) -> None:
        values = RAMP >> 4
        stored = values if photometric == BLACK_IS_ZERO else 4095 - values
        film = read_radiograph(tiff(packed_12_bits(stored), 8, 6, 12, 1, photometric))
        np.testing.assert_array_equal(film.pixels, np.rint(values * (65535 / 4095)))
        assert film.bits == 12

    def test_premultiplied_grey_is_laid_on_black(self) -> None:
        grey = np.array([[200, 50, 0]], np.uint8)
        alpha = np.array([[255, 100, 0]], np.uint8)
        data = np.stack([grey, alpha], -1).tobytes()
        film = read_radiograph(tiff(data, 3, 1, 8, 2, more=((338, [1]),)))
        assert np.abs(film.pixels.astype(int) - grey).max() <= 1
        assert film.warnings == ("has transparent parts; they were laid on black",)

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (tiff(bytes(48), 8, 6, 8, more=((339, [2]),)), "signed integers"),
            (tiff(bytes(96), 8, 6, 16, more=((339, [2]),)), "signed integers"),
            (tiff(bytes(192), 8, 6, 32, more=((339, [3]),)), "floating point"),
            (tiff(bytes(192), 8, 6, 16, 2, more=((338, [0]),)), "2 of 16 bits in a pixel of grey"),
            (tiff(bytes(72), 8, 6, 12, order=">"), "12 bits, big-endian"),
            (tiff(bytes(60), 8, 6, 10), "10 bits, little-endian"),
        ],
    )
    def test_what_is_not_read_is_named(self, content: bytes, kind: str) -> None:
        with pytest.raises(RadiographError) as caught:
            read_radiograph(content)
        assert f"has samples of an unusual kind ({kind}), expected grey" in str(caught.value)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("bits", [8, 16])
def test_colour_against_a_second_decoder(order: str, planar: int, bits: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    rgb = np.random.default_rng(0).integers(0, 2**bits, (6, 8, 3)).astype(f"{order}u{bits // 8}")
    stored = rgb if planar == 1 else np.moveaxis(rgb, 2, 0)
    content = tiff(stored.tobytes(), 8, 6, bits, 3, RGB, order, ((284, [planar]),))
    theirs = tifffile.imread(io.BytesIO(content))
    theirs = np.moveaxis(theirs, 0, 2) if theirs.shape[0] == 3 else theirs
    np.testing.assert_array_equal(theirs, rgb)
    if bits == 16 and planar == 2:
        with pytest.raises(RadiographError, match="planes of 16 bits"):
            read_radiograph(content)
        return
    expected = (theirs >> (bits - 8)) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_radiograph(content).pixels - expected).max() <= 1


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_8_bit_transparency(mode: str) -> None:
    stream = io.BytesIO()
    image = Image.new(mode, (3, 2), (*(200,) * (len(mode) - 1), 128))
    image.save(stream, "TIFF")
    assert (read_radiograph(stream.getvalue()).pixels == 100).all()


def peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


class TestLimits:
    @staticmethod
    def tiled(*sizes: tuple[int, int]) -> bytes:
        tags: list[tuple[int, list[int]]] = [(256, [100]), (257, [100]), (258, [8]), (259, [5])]
        tags += [(262, [1]), (277, [1])]
        tags += [(322, [width]) for width, _ in sizes] + [(323, [height]) for _, height in sizes]
        tags += [(324, [8]), (325, [64])]
        return header("<", 72) + bytes(64) + directory("<", 72, tags)

    @pytest.mark.parametrize(
        ("sizes", "words"),
        [
            ([(40_000, 40_000)], "more than the 67,108,864 pixels"),
            ([(8000, 8000)], "has tiles of 8000 x 8000 pixels for an image of 100 x 100"),
            ([(16, 60_000)], "has tiles of 60000 x 16 pixels"),
            ([(8000, 8000), (112, 112)], "declares TIFF tag 322 twice"),
        ],
    )
    def test_tiles_far_larger_than_the_image(
        self, sizes: list[tuple[int, int]], words: str
    ) -> None:
        before = peak_mib()
        with pytest.raises(RadiographError, match=words):
            read_radiograph(self.tiled(*sizes))
        assert peak_mib() - before < 40

    def test_honest_tiles_are_read(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
        data = np.zeros((256, 256), np.uint8)
        data[:40, :40] = pixels
        tags = [(256, [40]), (257, [40]), (258, [8]), (259, [1]), (262, [1]), (277, [1])]
        tags += [(322, [256]), (323, [256]), (324, [8]), (325, [data.size])]
        start = 8 + data.size
        content = header("<", start) + data.tobytes() + directory("<", start, tags)
        np.testing.assert_array_equal(read_radiograph(content).pixels, pixels)

    def test_a_chain_of_pages_is_not_walked(self) -> None:
        content = tiff(RAMP.tobytes(), 8, 6, 16)
        tags = sorted(
            {256: [8], 257: [6], 258: [16], 259: [1], 262: [1], 273: [8], 279: [96]}.items()
        )
        first = 8 + RAMP.nbytes
        size = len(directory("<", 0, tags))
        chain = b"".join(
            directory("<", 0, tags, first + size * (number + 1)) for number in range(20_000)
        )
        content = content[:first] + chain + directory("<", 0, tags)
        start = time.process_time()
        with pytest.raises(RadiographError, match="holds several frames or pages"):
            read_radiograph(content)
        assert time.process_time() - start < 1
