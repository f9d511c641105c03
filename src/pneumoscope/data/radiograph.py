"""From bytes to pixels: JPEG, PNG, TIFF and DICOM behind one function.

The kind of a file is decided by its content, never by its name. Whatever the bytes are, the
answer is a :class:`Radiograph` or one :class:`~pneumoscope.errors.RadiographError`.
"""

import io
import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pneumoscope.data.codestream import check_num_scans
from pneumoscope.data.decoding import (
    check_num_pixels,
    decoding,
    one_line,
    room_for,
    several_frames,
    unusual_samples,
)
from pneumoscope.data.grey import grey_of_rgb, looked_up
from pneumoscope.data.tiff import prepare_tiff
from pneumoscope.errors import RadiographError

MAX_FILE_BYTES = 256 * 2**20
"""Largest file that is opened, 256 MiB: 40 megapixels of uncompressed 16-bit RGB fit."""

FORMATS = ("JPEG", "PNG", "TIFF", "DICOM")
"""What :func:`read_radiograph` reads."""

COLOUR_WARNING = "is a colour image; its brightness was used"

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One film, upright, one grey channel.

    Attributes:
        pixels: (H, W), uint8 or uint16; 0 is black and the type's largest value is white,
            whatever depth or window the file declared.
        source_format: ``"JPEG"``, ``"PNG"``, ``"TIFF"`` or ``"DICOM"``.
        bits: depth that the file declares for a sample (DICOM: Bits Stored).
        warnings: what a reader of the result should know about the film; each a phrase whose
            subject is the film ("is a colour image; its brightness was used").
        objection: why the file itself says that this is no frontal chest film; a phrase like
            the warnings, or ``None``.
    """

    pixels: Pixels
    source_format: str
    bits: int
    warnings: tuple[str, ...] = ()
    objection: str | None = None

    @property
    def height_px(self) -> int:
        """Number of rows."""
        return int(self.pixels.shape[0])

    @property
    def width_px(self) -> int:
        """Number of columns."""
        return int(self.pixels.shape[1])


def read_radiograph(path_or_bytes: str | Path | bytes) -> Radiograph:
    """Returns the film in a file, or in the bytes of one.

    Colour becomes ITU-R 601 luma, transparency is laid on black, EXIF orientation is applied;
    16-bit grey keeps its depth and is scaled by the depth that the file declares, never by the
    image's own maximum.

    Raises:
        RadiographError: missing, unreadable, empty, too large, truncated, of another kind, or
            of several frames; one line that starts with the file's name.
    """
    if isinstance(path_or_bytes, bytes):
        name, content = "<bytes>", path_or_bytes
    else:
        name = one_line(os.fspath(path_or_bytes))
        content = _read_file(Path(path_or_bytes), name)
    try:
        return _decode(content)
    except RadiographError as error:
        raise RadiographError(f"{name}: {error}") from error


def _read_file(path: Path, name: str) -> bytes:
    try:
        # Asked before opening: a named pipe would block, and /dev/zero never ends.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise RadiographError(f"{name}: is a folder, expected one image file")
        if not stat.S_ISREG(mode):
            raise RadiographError(f"{name}: is not a regular file, expected an image file")
        with path.open("rb") as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise RadiographError(f"{name}: no such file; check the path") from None
    except PermissionError:
        raise RadiographError(f"{name}: not readable for this user; check permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = one_line(getattr(error, "strerror", None) or str(error))
        raise RadiographError(f"{name}: cannot be opened ({reason}); check the path") from error


def _decode(content: bytes) -> Radiograph:
    if len(content) > MAX_FILE_BYTES:
        raise RadiographError(
            f"has more than the {MAX_FILE_BYTES:,} bytes a film may have; export one film a file"
        )
    kind = sniff_format(content)
    with decoding(kind) as notes:
        if kind == "DICOM":
            # Here, because dicom builds on this module and costs a tenth of a second to import.
            from pneumoscope.data.dicom import decode_dicom

            film = decode_dicom(content)
        elif kind in FORMATS:
            film = _decode_image(content, kind)
        else:
            raise RadiographError(f"holds {kind}, expected a JPEG, PNG, TIFF or DICOM image")
    return replace(film, warnings=(*film.warnings, *notes))


_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"RIFF", "a WebP image or other RIFF data"),
)


def sniff_format(content: bytes) -> str:
    """Returns ``"JPEG"``, ``"PNG"``, ``"TIFF"``, ``"DICOM"``, or words for what else it is.

    DICOM is known by ``DICM`` after the 128-byte preamble (PS3.10 section 7.1), or without
    one, as old archives write it, by a first element of group 0002 or 0008.

    >>> sniff_format(b"%PDF-1.7")
    'a PDF document'
    """
    if not content:
        return "no bytes at all"
    if content[128:132] == b"DICM":
        return "DICOM"
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            return kind
    if re.match(rb"[\x02\x08]\x00[\x00-\x18]\x00", content):
        return "DICOM"
    if not re.search(rb"[\x00-\x08\x0e-\x1f\x7f-\xff]", content[:512]):
        return "text"
    return "data of an unknown kind"


def _decode_image(content: bytes, kind: str) -> Radiograph:
    white_is_zero = False
    if kind == "TIFF":
        content, white_is_zero = prepare_tiff(content)
    elif kind == "JPEG":
        check_num_scans(content)
    image = Image.open(io.BytesIO(content), formats=[kind])
    check_num_pixels(image.height, image.width)
    # A camera's JPEG may carry previews behind the picture (format MPO): no pages.
    if image.format != "MPO" and _has_second_page(image):
        raise several_frames()
    with room_for(image.height * image.width):
        return _load(image, kind, white_is_zero)


def _load(image: Image.Image, kind: str, white_is_zero: bool) -> Radiograph:
    bits = _declared_bits(image)
    notes: list[str] = []
    if image.info.get("comment") == b"PHANTOM":
        notes.append("PHANTOM: drawn by a program, not a film of a patient")
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # the picture is whole, and damaged EXIF raises anything
        notes.append("has damaged EXIF data; its orientation may be wrong")
    if image.mode.startswith("I;16"):
        pixels: Pixels = _widened(np.asarray(image, np.uint16), bits)
    else:
        pixels, colour_notes = _grey_of(image)
        notes += colour_notes
    if white_is_zero:
        np.subtract(np.iinfo(pixels.dtype).max, pixels, out=pixels)
    return Radiograph(pixels, kind, bits, tuple(notes))


def _has_second_page(image: Image.Image) -> bool:
    # Not n_frames: of a TIFF it walks the whole chain, in quadratic time.
    if image.format != "TIFF":
        return getattr(image, "n_frames", 1) > 1
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _declared_bits(image: Image.Image) -> int:
    if image.mode == "1":
        return 1
    if not image.mode.startswith("I;16"):
        return 8
    tags: Any = getattr(image, "tag_v2", {})
    return int((tags.get(258) or (16,))[0])  # BitsPerSample


def _widened(values: NDArray[np.uint16], bits: int) -> NDArray[np.uint16]:
    if bits == 16:
        return np.array(values)
    top = 2**bits - 1
    every = np.minimum(np.arange(2**16, dtype=np.uint32), top)
    return looked_up(((every * 65535 + top // 2) // top).astype(np.uint16), values)


_TRANSPARENT = ("LA", "La", "PA", "RGBA")


def _grey_of(image: Image.Image) -> tuple[NDArray[np.uint8], list[str]]:
    if image.mode in ("1", "L"):
        return np.array(image if image.mode == "L" else image.convert("L")), []
    if image.mode not in (*_TRANSPARENT, "P", "RGB", "RGBX", "CMYK", "YCbCr"):
        raise unusual_samples(f"Pillow mode {image.mode}")
    has_alpha = image.mode in _TRANSPARENT or (image.mode == "P" and "transparency" in image.info)
    seen_through = False

    def rgb_of(rows: slice) -> NDArray[np.uint8]:
        nonlocal seen_through
        band = image.crop((0, rows.start, image.width, rows.stop))
        if has_alpha:
            band = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
            seen_through |= band.getchannel("A").getextrema() != (255, 255)
            black = Image.new("RGBA", band.size, (0, 0, 0, 255))
            band = Image.alpha_composite(black, band)
        return np.asarray(band.convert("RGB"))

    grey, is_colour = grey_of_rgb(rgb_of, image.height, image.width)
    notes: list[str] = []
    if seen_through:
        notes.append("has transparent parts; they were laid on black")
    if is_colour:
        notes.append(COLOUR_WARNING)
    return grey, notes
