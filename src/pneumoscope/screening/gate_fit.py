"""Learning the gate from training films; nothing that it refuses needs to be at hand.

::

    python -m pneumoscope.screening.gate_fit Data/chest_xray

Turned, negated and halved copies of the training films stand for what must be refused; mirrored,
slightly turned, moved and enlarged copies stand for what must not. The two limits are quantiles
over validation films. The films of the test folder are not opened.
"""

import hashlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import rotate
from sklearn.linear_model import LogisticRegression

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import VIEW_PX, measure_view, quality_range
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import make_split
from pneumoscope.screening.gate import GATE_PATH, MEASURED, POSES, Gate, thumbnails

NUM_COMPONENTS = 12
"""More describe training films better, and accept more of what is none."""

PENALTY_C = 0.01
"""Inverse strength of the ridge penalty of the pose scores."""

KEPT = 0.998
"""Share of validation films that each of the two limits lets through."""

_MAX_TURN_DEG, _MAX_CUT = 10.0, 0.1

View = NDArray[np.uint8]


def part(view: View, top: float, bottom: float, left: float, right: float) -> View:
    """Returns a part of a film, given as shares of its sides, enlarged to the whole size."""
    height, width = view.shape
    box = (left * width, top * height, right * width, bottom * height)
    return np.array(Image.fromarray(view).resize(view.shape[::-1], Image.Resampling.BILINEAR, box))


POSED: dict[str, Callable[[View], View]] = {
    "turned left": lambda view: np.rot90(view, 1),
    "upside down": lambda view: np.rot90(view, 2),
    "turned right": lambda view: np.rot90(view, 3),
    "negative": lambda view: 255 - view,
    "left half": lambda view: part(view, 0, 1, 0, 0.5),
    "right half": lambda view: part(view, 0, 1, 0.5, 1),
    "upper half": lambda view: part(view, 0, 0.5, 0, 1),
    "lower half": lambda view: part(view, 0.5, 1, 0, 1),
}
"""How a film in each wrong pose is made from one that is upright and whole."""


def varied(view: View, rng: np.random.Generator) -> View:
    """Returns a film as it might also have been taken: mirrored, turned, moved, nearer."""
    if rng.random() < 0.5:
        view = view[:, ::-1]
    degrees = rng.uniform(-_MAX_TURN_DEG, _MAX_TURN_DEG)
    view = rotate(view, degrees, reshape=False, order=1, mode="reflect")
    cut = rng.uniform(0, _MAX_CUT, 4)
    return part(view, cut[0], 1 - cut[1], cut[2], 1 - cut[3])


def fit_gate(train: NDArray[np.uint8], val: NDArray[np.uint8]) -> Gate:
    """Returns the gate learnt from films, each set (N, 224, 224) uint8."""
    rng = np.random.default_rng(0)
    right = thumbnails(np.concatenate([train, [varied(view, rng) for view in train]]))
    wrong = [thumbnails(np.stack([POSED[pose](view) for view in train])) for pose in POSES[1:]]
    labels = np.repeat(np.arange(len(POSES)), [len(right), *map(len, wrong)])
    poses = LogisticRegression(C=PENALTY_C, max_iter=1000)
    poses.fit(np.concatenate([right, *wrong]), labels)

    mean = right.mean(axis=0)
    _, scales, directions = np.linalg.svd(right - mean, full_matrices=False)
    variances = scales**2 / len(right)
    # Each thumbnail has mean 0 and deviation 1, so one direction is always empty.
    residual = variances[NUM_COMPONENTS:].sum() / (len(variances) - 1 - NUM_COMPONENTS)

    lowest, highest = exposure_limits(train)
    gate = Gate(
        mean=mean,
        components=directions[:NUM_COMPONENTS],
        variances=variances[:NUM_COMPONENTS],
        residual=np.array(residual),
        max_distance=np.array(np.inf),
        pose_weights=poses.coef_,
        pose_bias=poses.intercept_,
        max_surprise=np.array(np.inf),
        lowest=lowest,
        highest=highest,
    )
    limits = {
        "max_distance": np.quantile(gate.distance(val), KEPT),
        "max_surprise": np.quantile(-gate.log_poses(val)[:, 0], KEPT),
    }
    return Gate(**{**vars(gate), **{name: np.array(value) for name, value in limits.items()}})


def exposure_limits(train: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the least and the most of each of ``MEASURED`` that is judged, (3,) each.

    They lie beyond the extremes of the training films, by half of the distance from the middle
    to the extreme, so that other machines fit in between.
    """
    found = quality_range(measure_view(view, height_px=VIEW_PX, width_px=VIEW_PX) for view in train)
    low, middle, high = (
        np.array([found.value(name, level) for name in MEASURED]) for level in (0.0, 0.5, 1.0)
    )
    return low - 0.5 * (middle - low), high + 0.5 * (high - middle)


def main(data: Path, out: Path = GATE_PATH) -> Gate:
    """Returns the gate after writing it: split by patient as for every published row."""
    folder = scan_folder(data)
    split = make_split(folder, "patient")
    views = {}
    with ThreadPoolExecutor() as pool:
        for name in ("train", "val"):
            paths = [folder.root / row.path for row in split.subset(name)]
            films = pool.map(lambda path: prepare(read_radiograph(path), VIEW_PX), paths)
            views[name] = np.stack(list(films))
    gate = fit_gate(views["train"], views["val"])
    notes = {
        "split_sha256": split.sha256,
        "num_train": str(len(views["train"])),
        "num_val": str(len(views["val"])),
    }
    gate.save(out, notes)
    return gate


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    print(f"{GATE_PATH}: {hashlib.sha256(GATE_PATH.read_bytes()).hexdigest()}")
