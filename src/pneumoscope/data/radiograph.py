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

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pneumoscope.data.decoding import (
    MAX_FILE_BYTES,
    check_num_pixels,
    check_num_scans,
    decoding,
    one_line,
    room_for,
    several_frames,
)
from pneumoscope.data.tiff import check_tiff, tiff_tag
from pneumoscope.errors import RadiographError

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
    image = Image.open(io.BytesIO(content), formats=[kind])
    check_num_pixels(image.height, image.width)
    if kind == "JPEG":
        check_num_scans(content)
    elif kind == "TIFF":
        check_tiff(image)
    # A camera's JPEG may carry previews behind the picture (format MPO): no pages.
    if image.format != "MPO" and _has_second_frame(image):
        raise several_frames()
    with room_for(image.height, image.width):
        return _load_image(image, kind)


def _has_second_frame(image: Image.Image) -> bool:
    # Asked for one step only: counting them follows a chain of any length.
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _load_image(image: Image.Image, kind: str) -> Radiograph:
    # Pillow inverts WhiteIsZero up to 8 bits, but hands 16-bit samples over as they are.
    white_is_zero = image.mode.startswith("I;16") and tiff_tag(image, "photometric") == 0
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
        pixels = np.iinfo(pixels.dtype).max - pixels
    return Radiograph(pixels, kind, bits, tuple(notes))


def _declared_bits(image: Image.Image) -> int:
    if image.mode == "1":
        return 1
    if not image.mode.startswith("I;16"):
        return 8
    return int((tiff_tag(image, "bits") or (16,))[0])


def _widened(values: NDArray[np.uint16], bits: int) -> NDArray[np.uint16]:
    top = 2**bits - 1
    stretched = np.minimum(values, top).astype(np.uint32) * 65535 + top // 2
    return np.asarray(stretched // top, np.uint16)


def _grey_of(image: Image.Image) -> tuple[NDArray[np.uint8], list[str]]:
    notes: list[str] = []
    if image.mode in ("1", "L"):
        return np.array(image.convert("L")), notes
    if image.mode in ("La", "RGBa"):  # brightness already multiplied by opacity
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.mode in ("LA", "PA", "RGBA") or (image.mode == "P" and "transparency" in image.info):
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            notes.append("has transparent parts; they were laid on black")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    elif image.mode not in ("P", "RGB", "RGBX", "CMYK", "YCbCr"):
        raise RadiographError(
            f"has samples of an unusual kind (Pillow mode {image.mode}), "
            "expected grey of 1 to 16 bits, or colour; export it as 8- or 16-bit grey"
        )
    rgb = np.asarray(image.convert("RGB"))
    if has_colour(rgb):
        notes.append(COLOUR_WARNING)
    return luma(rgb), notes


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the brightness (H, W) of (H, W, 3): .299 R + .587 G + .114 B.

    Source: ITU-R BT.601, section 2.5.1.
    """
    return np.array(Image.fromarray(rgb).convert("L"))


def has_colour(rgb: NDArray[np.uint8]) -> bool:
    """Returns whether channels differ by more than 16 of 255 levels in over 0.1 % of (H, W, 3).

    Lossy chroma moves neutral grey by a few levels; a small coloured marker is no colour film.
    """
    spread = rgb.max(axis=2) - rgb.min(axis=2)
    return bool(np.mean(spread > 16) > 1e-3)
