"""The gate: which pictures no network here should be asked about.

It looks at a film as 16 x 16 points, brought to mean 0 and deviation 1, where a frontal chest
film is recognised like a face in a thumbnail. Two linear models say whether it is one: how far
it lies from what training films span, and whether it looks upright and whole or turned, negated
or cut. Exposure and sharpness are judged by themselves. It knows nothing of any network's
weights, so it stays as it is when those are trained again, and it needs no torch.

Source: Jackson and Mudholkar, "Control procedures for residuals associated with principal
component analysis", Technometrics 1979, for the two parts of the distance; Tipping and Bishop,
"Probabilistic principal component analysis", JRSS B 1999, for their sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save

from pneumoscope.data.quality import Quality, measure_view
from pneumoscope.files import write_bytes

GATE_PATH = Path(__file__).parent / "gate.safetensors"
"""The gate that is shipped."""

MIN_SIDE_PX = 64
"""Shortest side that is judged: half of what the smallest shipped network sees, a choice."""

GRID = 16
"""Points on each side of a film's thumbnail."""

_LEAST_DEVIATION = 0.02

POSES: tuple[str, ...] = (
    "upright and whole",
    "turned left",
    "upside down",
    "turned right",
    "negative",
    "left half",
    "right half",
    "upper half",
    "lower half",
)
"""What a film may look like; only the first is judged."""

MEASURED = ("brightness", "contrast", "sharpness")
"""Which attributes of :class:`~pneumoscope.data.quality.Quality` have limits."""

_TOO_LITTLE = ("is too dark", "is nearly blank", "is blurred")
_TOO_MUCH = ("is too bright", "has too much contrast", "is noise or fine pattern")


def thumbnails(views: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns films (B, 224, 224) uint8 as (B, 256) of mean 0 and deviation 1 each."""
    small = [
        np.asarray(Image.fromarray(view).resize((GRID, GRID), Image.Resampling.BILINEAR))
        for view in views
    ]
    points = np.stack(small).reshape(len(views), -1) / 255
    points = points - points.mean(axis=1, keepdims=True)
    return np.asarray(points / np.maximum(points.std(axis=1, keepdims=True), _LEAST_DEVIATION))


@dataclass(frozen=True, eq=False)
class Gate:
    """What a frontal chest film looks like; see ``gate_fit`` for how it is learnt.

    Attributes:
        mean: mean thumbnail, (256,).
        components: directions in which films differ most, (K, 256), orthonormal.
        variances: how much they differ in each, (K,).
        residual: variance in each of the other directions.
        max_distance: largest distance of a film that is judged.
        pose_weights: one linear score for each of :data:`POSES`, (9, 256).
        pose_bias: their offsets, (9,).
        max_surprise: largest ``-log p(upright and whole)`` of a film that is judged.
        lowest: limits of :data:`MEASURED`, (3,).
        highest: likewise.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    variances: NDArray[np.float64]
    residual: NDArray[np.float64]
    max_distance: NDArray[np.float64]
    pose_weights: NDArray[np.float64]
    pose_bias: NDArray[np.float64]
    max_surprise: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]

    @classmethod
    def load(cls, path: Path = GATE_PATH) -> Self:
        """Returns the gate of a file; by default the shipped one."""
        with safe_open(path, "numpy") as tensors:
            return cls(**{name: tensors.get_tensor(name) for name in cls.__annotations__})

    def save(self, path: Path, notes: dict[str, str]) -> None:
        """Writes the gate to ``path`` as safetensors, with ``notes`` of its origin, atomically."""
        # safetensors writes the memory as it lies, whatever the strides say.
        tensors = {name: np.array(getattr(self, name), order="C") for name in self.__annotations__}
        write_bytes(path, save(tensors, notes))

    def distance(self, views: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Returns how far films (B, 224, 224) lie from what training films span, (B,)."""
        centred = thumbnails(views) - self.mean
        within = centred @ self.components.T  # (B, K)
        beyond = (centred**2).sum(axis=1) - (within**2).sum(axis=1)
        return np.asarray((within**2 / self.variances).sum(axis=1) + beyond / self.residual)

    def log_poses(self, views: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Returns the log-probability of each of :data:`POSES` for films, (B, 9)."""
        scores = thumbnails(views) @ self.pose_weights.T + self.pose_bias
        scores = scores - scores.max(axis=1, keepdims=True)
        return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))

    def objection(self, view: NDArray[np.uint8], height_px: int, width_px: int) -> str | None:
        """Returns why a film should not be judged, a phrase about the film; else ``None``.

        Args:
            view: the film from ``prepare(radiograph, 224)``.
            height_px: rows of the film as decoded.
            width_px: its columns.
        """
        if min(height_px, width_px) < MIN_SIDE_PX:
            return (
                f"is too small, {height_px} x {width_px} pixels; {MIN_SIDE_PX} on the shorter "
                "side are needed"
            )
        quality = measure_view(view, height_px=height_px, width_px=width_px)
        return self._exposure(quality) or self._pose(view)

    def _exposure(self, quality: Quality) -> str | None:
        for index, name in enumerate(MEASURED):
            value = getattr(quality, name)
            if value < self.lowest[index]:
                return _TOO_LITTLE[index]
            if value > self.highest[index]:
                return _TOO_MUCH[index]
        return None

    def _pose(self, view: NDArray[np.uint8]) -> str | None:
        log_poses = self.log_poses(view[None])[0]
        far = self._is_far(view)
        if not far and -log_poses[0] <= self.max_surprise:
            return None
        likeliest = POSES[int(np.argmax(log_poses))]
        # A turned or negated film is a film again once that is undone; a photograph is none.
        if likeliest in _UNDONE and not self._is_far(_UNDONE[likeliest][0](view)):
            return _UNDONE[likeliest][1]
        if likeliest.endswith("half") and not far:
            return "seems to show only a part of the chest"
        return "does not look like a frontal chest X-ray"

    def _is_far(self, view: NDArray[np.uint8]) -> bool:
        return bool(self.distance(view[None])[0] > self.max_distance)


_UNDONE: dict[str, tuple[Callable[[NDArray[np.uint8]], NDArray[np.uint8]], str]] = {
    "turned left": (lambda view: np.rot90(view, -1), "seems to lie on its side; turn it upright"),
    "turned right": (lambda view: np.rot90(view, 1), "seems to lie on its side; turn it upright"),
    "upside down": (lambda view: np.rot90(view, 2), "seems to be upside down; turn it upright"),
    "negative": (lambda view: 255 - view, "seems to be a negative, bone dark; invert it"),
}
