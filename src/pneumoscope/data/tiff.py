"""What a TIFF header declares, checked before anything is decoded.

Source: TIFF 6.0, sections 8 (baseline fields), 15 (tiles) and 19 (sample format).
"""

from typing import Any

from PIL import Image

from pneumoscope.data.decoding import MAX_PIXELS, check_num_pixels
from pneumoscope.errors import RadiographError

_TAGS = {
    "bits": 258,
    "photometric": 262,
    "rows_per_strip": 278,
    "tile_width": 322,
    "tile_length": 323,
    "sample_format": 339,
}

_MARGIN_PX = 1024
"""By how much a tile may stick out of its image."""

_ALL_ROWS = 2**32 - 1
_SIGNED = 2


def tiff_tag(image: Image.Image, name: str) -> Any:
    """Returns the value of a field, ``None`` where it is not there or the image is no TIFF."""
    tags: Any = getattr(image, "tag_v2", {})
    return tags.get(_TAGS[name])


def check_tiff(image: Image.Image) -> None:
    """Refuses what would be decoded into far more than the image, or wrongly.

    Raises:
        RadiographError: tiles or strips much larger than the image, or signed samples.
    """
    width, length = tiff_tag(image, "tile_width"), tiff_tag(image, "tile_length")
    if width is not None and length is not None:
        check_num_pixels(int(length), int(width))
        if width > image.width + _MARGIN_PX or length > image.height + _MARGIN_PX:
            raise RadiographError(
                f"declares tiles of {length} x {width} pixels in an image of {image.height} x "
                f"{image.width}; save it again"
            )
    rows = tiff_tag(image, "rows_per_strip")
    if rows is not None and rows != _ALL_ROWS and rows * image.width > 2 * MAX_PIXELS:
        raise RadiographError(
            f"declares strips of {rows:,} rows in an image of {image.height}; save it again"
        )
    formats = tiff_tag(image, "sample_format") or ()
    if _SIGNED in (formats if isinstance(formats, tuple) else (formats,)):
        raise RadiographError("has signed samples, expected unsigned ones; save it again")
