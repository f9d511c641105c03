"""Copies of films, altered: as they might also have been taken, and as they must be refused.

The gate is fitted with both, see ``gate_fit``.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

View = NDArray[np.uint8]
"""One film, (S, S) uint8, 0 black."""

SIDES = ("top", "bottom", "left", "right")

_FILTER = Image.Resampling.BILINEAR


def part(view: View, top: float, bottom: float, left: float, right: float) -> View:
    """Returns a part of a film, given as shares of its sides, enlarged to the whole size."""
    height, width = view.shape
    box = (left * width, top * height, right * width, bottom * height)
    return np.array(Image.fromarray(view).resize(view.shape[::-1], _FILTER, box))


def cut(view: View, side: str, share: float) -> View:
    """Returns a film of which ``share`` is missing at one of ``SIDES``, the rest enlarged."""
    missing = [share if name == side else 0.0 for name in SIDES]
    return part(view, missing[0], 1 - missing[1], missing[2], 1 - missing[3])


def blacked_out(view: View, side: str, share: float, level: int = 0) -> View:
    """Returns a film of which ``share`` at one of ``SIDES`` is one shade."""
    width = round(share * len(view))
    covered = view.copy()
    rows, columns = slice(None), slice(None)
    span = slice(0, width) if side in ("top", "left") else slice(len(view) - width, None)
    if side in ("top", "bottom"):
        rows = span
    else:
        columns = span
    covered[rows, columns] = level
    return covered


def middle(view: View, share: float) -> View:
    """Returns the middle of a film, ``share`` of each side, enlarged."""
    edge = (1 - share) / 2
    return part(view, edge, 1 - edge, edge, 1 - edge)


def turned(view: View, degrees: float, level: int = 0) -> View:
    """Returns a film turned to the left about its middle, with corners of one shade."""
    return np.array(Image.fromarray(view).rotate(degrees, _FILTER, fillcolor=level))


def framed(
    view: View, top: float, bottom: float, left: float, right: float, level: int = 0
) -> View:
    """Returns a film shrunk into a frame of one shade, as wide as these shares of the sides."""
    size = len(view)
    first_row, last_row = round(top * size), round((1 - bottom) * size)
    first_column, last_column = round(left * size), round((1 - right) * size)
    small = Image.fromarray(view).resize(
        (last_column - first_column, last_row - first_row), _FILTER
    )
    frame = np.full_like(view, level)
    frame[first_row:last_row, first_column:last_column] = np.asarray(small)
    return frame


def varied(view: View, rng: np.random.Generator) -> View:
    """Returns a film as it might also have been taken: mirrored, moved, turned, framed, lighter."""
    if rng.random() < 0.5:
        view = np.ascontiguousarray(view[:, ::-1])
    edge = rng.uniform(0, 0.08, 4)
    view = part(view, edge[0], 1 - edge[1], edge[2], 1 - edge[3])
    if rng.random() < 0.6:
        view = turned(view, rng.uniform(-16, 16), 0 if rng.random() < 0.75 else 255)
    kind, width, level = rng.random(), rng.uniform(0.02, 0.2, 2), 255 * int(rng.integers(2))
    if kind < 0.15:
        view = framed(view, width[0], width[0], width[0], width[0], level)
    elif kind < 0.25:
        view = framed(view, 0, 0, width[0], width[1], level)
    elif kind < 0.32:
        view = framed(view, width[0], width[1], 0, 0, level)
    if rng.random() < 0.4:
        gamma = np.exp(rng.uniform(-0.6, 0.6))
        view = (255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)[view]
    return view


def _any_cut(side: str) -> Callable[[View, np.random.Generator], View]:
    def altered(view: View, rng: np.random.Generator) -> View:
        share = rng.uniform(0.2, 0.55)
        if rng.random() < 0.35:
            view = turned(view, rng.uniform(-10, 10))
        if rng.random() < 0.25:
            return blacked_out(view, side, share, int(rng.choice([0, 0, 255, 128])))
        view = cut(view, side, share)
        width = rng.uniform(0.02, 0.15)
        return framed(view, width, width, width, width) if rng.random() < 0.15 else view

    return altered


def _any_middle(view: View, rng: np.random.Generator) -> View:
    height = rng.uniform(0.4, 0.68)
    width = np.clip(height * rng.uniform(0.9, 1.1), 0.35, 0.7)
    top = np.clip((1 - height) / 2 + rng.normal(0, 0.08), 0, 1 - height)
    left = np.clip((1 - width) / 2 + rng.normal(0, 0.08), 0, 1 - width)
    return part(view, top, top + height, left, left + width)


def _covered(view: View, rng: np.random.Generator) -> View:
    """A rectangle or a belt across it, of one shade."""
    area = rng.uniform(0.15, 0.5)
    width = np.clip(np.exp(rng.uniform(-0.7, 0.7)) * area**0.5, area, 1)
    if rng.random() < 0.35:
        width = 1.0 if rng.random() < 0.5 else area
    height = area / width
    top, left = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width)
    first, last = (np.array([(top, left), (top + height, left + width)]) * len(view)).astype(int)
    view = view.copy()
    level = int(rng.choice([0, 0, 255, int(rng.integers(256))]))
    view[first[0] : last[0], first[1] : last[1]] = level
    return view


def _scrambled(view: View, rng: np.random.Generator) -> View:
    """Its tiles in another order, and turned."""
    count = int(rng.choice([2, 3, 4, 7]))
    side = len(view) // count
    starts = [(i * side, j * side) for i in range(count) for j in range(count)]
    tiles = [view[i : i + side, j : j + side] for i, j in starts]
    order = rng.permutation(len(tiles))
    while (order == np.arange(len(tiles))).mean() > 0.25:
        order = rng.permutation(len(tiles))
    tiles = [np.rot90(tiles[index], int(rng.integers(4)) if count > 2 else 0) for index in order]
    rows = [np.concatenate(tiles[i * count : (i + 1) * count], axis=1) for i in range(count)]
    mixed = Image.fromarray(np.concatenate(rows))
    return np.asarray(mixed.resize(view.shape[::-1], _FILTER))


WRONG: dict[str, Callable[[View, np.random.Generator], View]] = {
    "turned left": lambda view, _: np.rot90(view, 1),
    "upside down": lambda view, _: np.rot90(view, 2),
    "turned right": lambda view, _: np.rot90(view, 3),
    "negative": lambda view, _: 255 - view,
    **{f"{side} missing": _any_cut(side) for side in SIDES},
    "enlarged": _any_middle,
    "covered": _covered,
    "scrambled": _scrambled,
}
"""How a film in each wrong pose is made from one that is upright and whole."""


def spoilt(view: View, pose: str, rng: np.random.Generator) -> View:
    """Returns a film in one of the poses of ``WRONG``; turned ones and negatives vary as well."""
    if pose.startswith(("turned", "upside", "negative")):
        view = varied(view, rng) if rng.random() < 0.6 else view
    elif rng.random() < 0.5:
        view = view[:, ::-1]
    return np.ascontiguousarray(WRONG[pose](np.ascontiguousarray(view), rng))
