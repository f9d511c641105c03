"""To one grey channel in bands of rows, so that a film of 67 million pixels is never there twice.

Each pixel depends on itself alone, so bands change no result.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BAND_PIXELS = 2**20
"""About how many pixels are transformed at once."""

_COLOUR_LEVELS, _COLOUR_SHARE = 16, 1e-3


def row_bands(height_px: int, width_px: int) -> Iterator[slice]:
    """Yields consecutive slices that cover all rows.

    >>> list(row_bands(3, 2**19))
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = max(1, BAND_PIXELS // max(width_px, 1))
    for top in range(0, height_px, step):
        yield slice(top, min(top + step, height_px))


def looked_up(table: NDArray[Any], indices: NDArray[Any]) -> NDArray[Any]:
    """Returns ``table[indices]`` for (H, W) indices."""
    result = np.empty(indices.shape, table.dtype)
    for rows in row_bands(*indices.shape):
        result[rows] = table[indices[rows]]
    return result


def grey_of_rgb(
    rgb_of: Callable[[slice], NDArray[np.uint8]], height_px: int, width_px: int
) -> tuple[NDArray[np.uint8], bool]:
    """Returns (H, W) brightness, .299 R + .587 G + .114 B, of (H, W, 3); whether it has colour.

    Colour is where channels differ by more than 16 of 255 levels in over 0.1 % of the pixels:
    lossy chroma moves neutral grey by a few levels; a small coloured marker is no colour film.

    Args:
        rgb_of: gives the pixels of a slice of rows.
        height_px: number of rows.
        width_px: number of columns.

    Source: ITU-R BT.601, section 2.5.1.
    """
    grey = np.empty((height_px, width_px), np.uint8)
    num_coloured = 0
    for rows in row_bands(height_px, width_px):
        rgb = np.ascontiguousarray(rgb_of(rows))
        grey[rows] = np.asarray(Image.fromarray(rgb).convert("L"))
        # Channel by channel: numpy takes twenty times as long along an axis of three.
        red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
        highest = np.maximum(np.maximum(red, green), blue)
        spread = highest - np.minimum(np.minimum(red, green), blue)
        num_coloured += int(np.count_nonzero(spread > _COLOUR_LEVELS))
    return grey, num_coloured / grey.size > _COLOUR_SHARE
