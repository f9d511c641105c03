"""What the gate sees of a film: a small copy without its frame, and numbers that describe it.

Source: Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005, for
the description by directions of slopes; theirs counts opposite directions as one, here bright
and dark change places in a negative.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.data.quality import VIEW_PX

THUMBNAIL_PX = 64
"""Side of the small copy."""

CELLS = 8
"""Cells on each side of the small copy, in which slopes are added up."""

DIRECTIONS = 8
"""In which directions it may become brighter."""

NUM_FEATURES = (DIRECTIONS + 1) * CELLS**2
"""For each cell how steep it is in each direction, and how bright."""

_EDGE_LEVELS = 16
"""A frame is this near to black or white: JPEG moves levels."""

_FRAME_SHARE = 0.98
"""Of a row or column of a frame so much is that black or white."""

_LEAST_SLOPE, _LEAST_DEVIATION = 0.1, 0.02

View = NDArray[np.uint8]
Box = tuple[int, int, int, int]


def inner_box(view: View) -> Box:
    """Returns left, top, right and bottom of a film (224, 224) within a black or white frame.

    All of it where nothing but frame is found.
    """
    dark, light = view <= _EDGE_LEVELS, view >= 255 - _EDGE_LEVELS
    ends = []
    for axis in (0, 1):
        alike = np.maximum(dark.sum(axis=axis), light.sum(axis=axis))
        inside = np.flatnonzero(alike < _FRAME_SHARE * VIEW_PX)
        if not len(inside):
            return 0, 0, VIEW_PX, VIEW_PX
        ends.append((int(inside[0]), int(inside[-1]) + 1))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def shrink(view: View, box: Box) -> View:
    """Returns what lies within a box of a film as (64, 64)."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return np.asarray(Image.fromarray(view).resize(size, Image.Resampling.BILINEAR, box))


def thumbnail(view: View) -> View:
    """Returns a film (224, 224) without its frame as (64, 64)."""
    return shrink(view, inner_box(view))


def describe(thumbnails: View) -> NDArray[np.float32]:
    """Returns what describes small copies (B, 64, 64): (B, 576), alike at any contrast."""
    levels = thumbnails.astype(np.float32)
    cells = _cell_means(levels) / 255
    cells = cells - cells.mean(axis=1, keepdims=True)
    cells = cells / np.maximum(cells.std(axis=1, keepdims=True), _LEAST_DEVIATION)

    x, y = np.zeros_like(levels), np.zeros_like(levels)
    x[:, :, 1:-1] = levels[:, :, 2:] - levels[:, :, :-2]
    y[:, 1:-1] = levels[:, 2:] - levels[:, :-2]
    angles = np.arange(DIRECTIONS, dtype=np.float32) * (2 * np.pi / DIRECTIONS)
    slopes = [_cell_means(np.maximum(x * np.cos(angle) + y * np.sin(angle), 0)) for angle in angles]
    steep = np.sqrt(np.concatenate(slopes, axis=1))
    overall = np.sqrt((steep**2).mean(axis=1, keepdims=True))
    steep = steep / np.maximum(overall, _LEAST_SLOPE)
    return np.concatenate([steep, cells], axis=1, dtype=np.float32)


def mirrored(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns what :func:`describe` would of the films' mirror images."""
    return features[:, _MIRROR]


def _cell_means(values: NDArray[np.float32]) -> NDArray[np.float32]:
    side = THUMBNAIL_PX // CELLS
    blocks = values.reshape(len(values), CELLS, side, CELLS, side)
    return np.asarray(blocks.mean(axis=(2, 4)).reshape(len(values), CELLS**2))


def _mirror_order() -> NDArray[np.intp]:
    order = np.arange(NUM_FEATURES).reshape(DIRECTIONS + 1, CELLS, CELLS)[:, :, ::-1]
    across = (DIRECTIONS // 2 - np.arange(DIRECTIONS)) % DIRECTIONS
    return np.concatenate([order[across], order[-1:]]).ravel()


_MIRROR = _mirror_order()
