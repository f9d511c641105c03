"""The gate: which pictures no network here should be asked about.

It takes off a black or white frame and looks at a copy of 64 x 64 points. Three things say
whether that is a film to judge: its exposure and sharpness; how far its description lies from what
training films span; and two small networks of one hidden layer, which say whether it is upright
and whole or turned, negated, cut off or covered. It knows nothing of the weights that judge
films, so it stays as it is when those are trained again, and it needs numpy and Pillow alone.

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
from safetensors import safe_open
from safetensors.numpy import save

from pneumoscope.data.quality import VIEW_PX
from pneumoscope.files import write_bytes
from pneumoscope.screening.thumbnail import Box, describe, inner_box, mirrored, shrink

GATE_PATH = Path(__file__).parent / "gate.safetensors"
"""The gate that is shipped."""

MIN_SIDE_PX = 64
"""Shortest side that is judged: half of what the smallest shipped network sees, a choice."""

MIN_INSIDE = 0.6
"""Share of each side that the film within a frame must fill: what it was fitted to, a choice."""

FRAME_SHARE = 0.1
"""Share of a film that may be frame without a word; of the validation films .7 % have more."""

POSES: tuple[str, ...] = (
    "upright and whole",
    "turned left",
    "upside down",
    "turned right",
    "negative",
    "top missing",
    "bottom missing",
    "left missing",
    "right missing",
    "enlarged",
    "covered",
    "scrambled",
)
"""What a film may look like; only the first is judged."""

PARTS: tuple[str, ...] = POSES[5:11]
"""Those of which something is not to be seen."""

MEASURED = ("highlights", "brightness", "contrast", "sharpness")
"""What is measured of a film by itself, see :func:`measure`."""

_TOO_LITTLE = ("is too dark", "is too dark", "is nearly blank", "is blurred")
_TOO_MUCH = ("is too bright", "is too bright", "has too much contrast", "is noise or fine pattern")

_LEAST_VARIANCE, _LEAST_DETAIL = 1.0, 1e-4

View = NDArray[np.uint8]
Floats = NDArray[np.floating]


def measure(view: View, small: View, box: Box) -> Floats:
    """Returns the four of :data:`MEASURED` for a film, (4,).

    The level that 1 % of it exceeds, its mean and its standard deviation, 0 black to 1 white; and
    the log10 of the share of fine detail, of the film at its full 224 px: a Laplacian of the film
    smoothed by 1 px, as in :mod:`~pneumoscope.data.quality`.
    """
    left, top, right, bottom = box
    film = view[top:bottom, left:right].astype(np.float32)
    for _ in range(2):  # twice 1-2-1 has the variance of 1 px
        film = film[:-2] + 2 * film[1:-1] + film[2:]
        film = film[:, :-2] + 2 * film[:, 1:-1] + film[:, 2:]
    film /= 256
    middle = film[1:-1, 1:-1]
    fine = film[:-2, 1:-1] + film[2:, 1:-1] + film[1:-1, :-2] + film[1:-1, 2:] - 4 * middle
    detail = max(float(fine.var()) / max(float(middle.var()), _LEAST_VARIANCE), _LEAST_DETAIL)
    return np.array([_highlights(small), small.mean() / 255, small.std() / 255, np.log10(detail)])


@dataclass(frozen=True, eq=False)
class Gate:
    """What a frontal chest film looks like; see ``gate_fit`` for how it is learnt.

    F is the length of a film's description, H the hidden units of each of N networks.

    Attributes:
        mean: mean description of training films, (F,).
        scale: its deviation in each, (F,).
        components: directions in which standardised descriptions differ most, (K, F), orthonormal.
        variances: how much they differ in each, (K,).
        residual: variance in each of the other directions.
        max_distance: largest distance of a film that is judged.
        max_part_distance: up to which a refused film may be a part of a chest.
        hidden_weights: first layer of the networks, (N, H, F).
        hidden_bias: likewise, (N, H).
        pose_weights: second layer, one score for each of :data:`POSES`, (N, 12, H).
        pose_bias: likewise, (N, 12).
        max_surprise: largest ``-log p(upright and whole)`` of a film that is judged.
        lowest: limits of :data:`MEASURED`, (4,).
        highest: likewise.
    """

    mean: Floats
    scale: Floats
    components: Floats
    variances: Floats
    residual: Floats
    max_distance: Floats
    max_part_distance: Floats
    hidden_weights: Floats
    hidden_bias: Floats
    pose_weights: Floats
    pose_bias: Floats
    max_surprise: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def load(cls, path: Path = GATE_PATH) -> Self:
        """Returns the gate of a file; by default the shipped one."""
        with safe_open(path, "numpy") as tensors:
            stored = {name: tensors.get_tensor(name) for name in cls.__annotations__}
        return cls(**{name: np.asarray(value, np.float32) for name, value in stored.items()})

    def save(self, path: Path, notes: dict[str, str]) -> None:
        """Writes the gate to ``path`` as safetensors, with ``notes`` of its origin, atomically.

        The large matrices are written in half precision.
        """
        # safetensors writes the memory as it lies, whatever the strides say.
        tensors = {
            name: np.array(getattr(self, name), _stored_type(name), order="C")
            for name in self.__annotations__
        }
        write_bytes(path, save(tensors, notes))

    def distance(self, features: NDArray[np.float32]) -> Floats:
        """Returns how far descriptions (B, F) lie from what those of training films span, (B,)."""
        centred = (features - self.mean) / self.scale
        within = centred @ self.components.T  # (B, K)
        beyond = (centred**2).sum(axis=1) - (within**2).sum(axis=1)
        return np.asarray((within**2 / self.variances).sum(axis=1) + beyond / self.residual)

    def log_poses(self, features: NDArray[np.float32]) -> Floats:
        """Returns the log-probability of each of :data:`POSES` for descriptions (B, F), (B, 12).

        The mean over the networks, and over each film and its mirror image.
        """
        log_p = self._scores(features) + self._scores(mirrored(features))[:, _MIRRORED_POSES]
        return _log_softmax(log_p / 2)

    def _scores(self, features: NDArray[np.float32]) -> Floats:
        centred = (features - self.mean) / self.scale
        total = np.zeros((len(features), len(POSES)), np.float32)
        layers = zip(
            self.hidden_weights, self.hidden_bias, self.pose_weights, self.pose_bias, strict=True
        )
        for hidden_weights, hidden_bias, pose_weights, pose_bias in layers:
            hidden = np.maximum(centred @ hidden_weights.T + hidden_bias, 0)  # (B, H)
            total += _log_softmax(hidden @ pose_weights.T + pose_bias)
        return np.asarray(total / len(self.pose_bias))

    def objection(self, view: View, height_px: int, width_px: int) -> str | None:
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
        box = inner_box(view)
        small = shrink(view, box)
        if _highlights(small) < self.lowest[0]:
            return _TOO_LITTLE[0]
        left, top, right, bottom = box
        if min(right - left, bottom - top) < MIN_INSIDE * VIEW_PX:
            return self._pose(small) or "lies in a wide black or white frame; crop it"
        return self._exposure(measure(view, small, box)) or self._pose(small)

    def _exposure(self, measured: Floats) -> str | None:
        for index, value in enumerate(measured):
            if value < self.lowest[index]:
                return _TOO_LITTLE[index]
            if value > self.highest[index]:
                return _TOO_MUCH[index]
        return None

    def _pose(self, small: View) -> str | None:
        features = describe(small[None])
        log_poses, distance = self.log_poses(features)[0], self.distance(features)[0]
        if distance <= self.max_distance and -log_poses[0] <= self.max_surprise:
            return None
        likeliest = POSES[int(np.argmax(log_poses))]
        # A turned or negated film is a film again once that is undone; a photograph is none.
        if likeliest in _UNDONE:
            undo = _UNDONE[likeliest][0]
            if self.distance(describe(undo(small)[None]))[0] <= self.max_distance:
                return _UNDONE[likeliest][1]
        if likeliest in PARTS and distance <= self.max_part_distance:
            return "seems to show only a part of the chest"
        return "does not look like a frontal chest X-ray"


def _highlights(small: View) -> float:
    rank = small.size - small.size // 100
    return float(np.partition(small.ravel(), rank)[rank]) / 255


def _stored_type(name: str) -> type[np.floating]:
    return np.float16 if name in ("components", "hidden_weights") else np.float32


def _log_softmax(scores: Floats) -> Floats:
    scores = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


def _mirrored_pose(pose: str) -> str:
    swapped = {"left": "right", "right": "left"}
    return " ".join(swapped.get(word, word) for word in pose.split())


_MIRRORED_POSES = [POSES.index(_mirrored_pose(pose)) for pose in POSES]

_UNDONE: dict[str, tuple[Callable[[View], View], str]] = {
    "turned left": (lambda view: np.rot90(view, -1), "seems to lie on its side; turn it upright"),
    "turned right": (lambda view: np.rot90(view, 1), "seems to lie on its side; turn it upright"),
    "upside down": (lambda view: np.rot90(view, 2), "seems to be upside down; turn it upright"),
    "negative": (lambda view: 255 - view, "seems to be a negative, bone dark; invert it"),
}


def frame_warning(view: View) -> str | None:
    """Returns what to know of a film in a frame, which some networks read otherwise.

    Args:
        view: the film from ``prepare(radiograph, 224)``.
    """
    left, top, right, bottom = inner_box(view)
    share = 1 - (right - left) * (bottom - top) / VIEW_PX**2
    if share <= FRAME_SHARE:
        return None
    return f"lies in a black or white frame ({share:.0%} of it); crop it, or its score may be wrong"
