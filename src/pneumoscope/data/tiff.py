"""What must be known of a TIFF before its decoders see it.

They allocate what the directory asks for, and differ about a tag that stands there twice; so the
first directory is read here, by the letter of TIFF 6.0 section 2 (and its 64-bit form, BigTIFF).
"""

import struct
from dataclasses import dataclass

from pneumoscope.data.decoding import MAX_PIXELS, too_many_pixels, unusual_samples
from pneumoscope.errors import RadiographError

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES = 256, 257, 258, 262, 277
_PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _SAMPLE_FORMAT = 284, 322, 323, 339

_MAX_SMALL_TILE_PX = 1024
"""Side of a tile that any image may have, however small it is."""

_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, LONG8
_BITS_READ = (1, 2, 4, 8, 12, 16, 32)


@dataclass(frozen=True)
class _Directory:
    content: bytes
    order: str  # of bytes, as struct writes it
    entries: dict[int, tuple[int, int, int]]  # tag: type, count, where its values stand

    def values(self, tag: int) -> tuple[int, ...]:
        """The tag's first eight values; none where it is missing or holds no whole numbers."""
        kind, count, at = self.entries.get(tag, (0, 0, 0))
        if kind not in _FORMATS:
            return ()
        form = f"{self.order}{min(count, 8)}{_FORMATS[kind]}"
        return struct.unpack_from(form, self.content, at)

    def value(self, tag: int, default: int) -> int:
        return next(iter(self.values(tag)), default)


def prepare_tiff(content: bytes) -> tuple[bytes, bool]:
    """Returns bytes that Pillow can decode, and whether the levels it gives are to be inverted.

    Pillow inverts WhiteIsZero up to 8 bits; deeper it does not, or refuses. There the tag is set
    to BlackIsZero, in a copy.

    Raises:
        RadiographError: a tag stands twice, tiles are far larger than the image, or samples are
            of a kind that cannot be read.
    """
    directory = _read_directory(content)
    _check_tiles(directory)
    _check_samples(directory)
    deep = directory.value(_BITS, 1) in (12, 16)
    if not deep or directory.values(_PHOTOMETRIC) != (0,):
        return content, False
    kind, _, at = directory.entries[_PHOTOMETRIC]
    changed = bytearray(content)
    struct.pack_into(directory.order + _FORMATS[kind], changed, at, 1)
    return bytes(changed), True


def _read_directory(content: bytes) -> _Directory:
    order = "<" if content.startswith(b"II") else ">"
    (version,) = struct.unpack_from(order + "H", content, 2)
    big = version == 43
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), content, start)
    inline_bytes = 8 if big else 4
    word = "Q" if big else "I"
    entry = struct.Struct(order + "HH" + word)
    entries: dict[int, tuple[int, int, int]] = {}
    at = start + (8 if big else 2)
    for _ in range(min(count, 2**16)):  # no more tags exist
        tag, kind, num_values = entry.unpack_from(content, at)
        if tag in entries:
            raise RadiographError(f"declares TIFF tag {tag} twice; export it again")
        place = at + entry.size
        if kind in _FORMATS and num_values * struct.calcsize(_FORMATS[kind]) > inline_bytes:
            (place,) = struct.unpack_from(order + word, content, place)
        entries[tag] = (kind, num_values, place)
        at += entry.size + inline_bytes
    return _Directory(content, order, entries)


def _check_tiles(directory: _Directory) -> None:
    tile = directory.value(_TILE_WIDTH, 0), directory.value(_TILE_HEIGHT, 0)
    image = directory.value(_WIDTH, 0), directory.value(_HEIGHT, 0)
    if tile[0] * tile[1] > MAX_PIXELS:
        raise too_many_pixels()
    if any(t > max(2 * i, _MAX_SMALL_TILE_PX) for t, i in zip(tile, image, strict=True)):
        raise RadiographError(
            f"has tiles of {tile[1]} x {tile[0]} pixels for an image of "
            f"{image[1]} x {image[0]}; export it again"
        )


def _check_samples(directory: _Directory) -> None:
    kinds = {2: "signed integers", 3: "floating point", 5: "complex integers", 6: "complex"}
    if found := kinds.keys() & set(directory.values(_SAMPLE_FORMAT)):
        raise unusual_samples(kinds[min(found)])
    bits, samples = directory.value(_BITS, 1), directory.value(_SAMPLES, 1)
    if bits > 8 and directory.value(_PLANAR, 1) == 2 and samples > 1:
        # Pillow takes such planes for 8-bit ones, without a word.
        raise unusual_samples(f"planes of {bits} bits")
    if directory.value(_PHOTOMETRIC, 0) not in (0, 1):
        return  # colour: Pillow knows which it reads
    if bits > 8 and samples > 1:
        raise unusual_samples(f"{samples} of {bits} bits in a pixel of grey")
    if bits not in _BITS_READ or (bits == 12 and directory.order == ">"):
        raise unusual_samples(
            f"{bits} bits, {'big' if directory.order == '>' else 'little'}-endian"
        )
