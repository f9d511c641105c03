"""Learning the gate from films; nothing that it refuses needs to be at hand.

::

    python -m pneumoscope.screening.gate_fit Data/chest_xray

What is fitted is fitted to training films: altered copies of them stand for what must be refused,
mirrored, turned, moved and framed ones for what must not (``altered``). The limits of exposure
come from training films too. The limits of distance and pose are quantiles over validation
films, on which also the kind and size of the networks were chosen. The films of the test folder
are not opened.
"""

import hashlib
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import VIEW_PX
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import make_split
from pneumoscope.screening.altered import spoilt, varied
from pneumoscope.screening.gate import GATE_PATH, PARTS, POSES, Floats, Gate, measure
from pneumoscope.screening.thumbnail import describe, inner_box, shrink, thumbnail

NUM_VARIED = 5
"""Varied copies of each training film, beside itself."""

NUM_COMPONENTS = 12
"""More describe training films better, and accept more of what is none."""

NUM_NETWORKS, HIDDEN_UNITS, EPOCHS, PENALTY = 2, 32, 12, 0.3
"""The networks that tell poses apart, and their training; chosen on validation films."""

KEPT_BY_POSE, KEPT_BY_DISTANCE, KEPT_PARTS = 0.9955, 1.0, 0.95
"""Shares of validation films within the limits, and of parts of them within theirs."""

View = NDArray[np.uint8]


def examples(films: View, rng: np.random.Generator) -> tuple[View, NDArray[np.intp]]:
    """Returns small copies of films in all poses, (M, 64, 64), and which of ``POSES`` each is."""
    small = []
    for film in films:
        right = [film, *(varied(film, rng) for _ in range(NUM_VARIED))]
        small += [thumbnail(view) for view in right]
        small += [thumbnail(spoilt(film, pose, rng)) for pose in POSES[1:]]
    labels = [0] * (1 + NUM_VARIED) + list(range(1, len(POSES)))
    return np.stack(small), np.tile(labels, len(films))


def fit_gate(train: View, val: View) -> Gate:
    """Returns the gate learnt from films, each set (N, 224, 224) uint8."""
    features, labels = described(train, seed=0)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    features = (features - mean) / scale
    networks = [_fit_network(features, labels, seed) for seed in range(NUM_NETWORKS)]

    right = features[labels == 0]
    middle = right.mean(axis=0)
    _, scales, directions = np.linalg.svd(right - middle, full_matrices=False)
    variances = scales**2 / len(right)
    lowest, highest = exposure_limits(train)
    # The networks see films standardised about the middle of the right ones.
    gate = Gate(
        mean=mean + middle * scale,
        scale=scale,
        components=directions[:NUM_COMPONENTS],
        variances=variances[:NUM_COMPONENTS],
        residual=variances[NUM_COMPONENTS:].sum() / (len(variances) - NUM_COMPONENTS),
        max_distance=np.array(np.inf),
        max_part_distance=np.array(np.inf),
        hidden_weights=np.stack([network.coefs_[0].T for network in networks]),
        hidden_bias=np.stack(
            [network.intercepts_[0] + middle @ network.coefs_[0] for network in networks]
        ),
        pose_weights=np.stack([network.coefs_[1].T for network in networks]),
        pose_bias=np.stack([network.intercepts_[1] for network in networks]),
        max_surprise=np.array(np.inf),
        lowest=lowest,
        highest=highest,
    )
    return Gate(**{**vars(gate), **_limits(gate, val)})


def described(films: View, seed: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Returns the descriptions of films in all poses, and which of ``POSES`` each is."""
    rng = np.random.default_rng(seed)
    blocks = [examples(block, rng) for block in np.array_split(films, -(-len(films) // 200))]
    labels = np.concatenate([block[1] for block in blocks])
    return np.concatenate([describe(block[0]) for block in blocks]), labels


def _fit_network(features: Floats, labels: NDArray[np.intp], seed: int) -> MLPClassifier:
    network = MLPClassifier(
        (HIDDEN_UNITS,), alpha=PENALTY, max_iter=EPOCHS, batch_size=256, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs are meant
        return network.fit(features, labels)


def _limits(gate: Gate, val: View) -> dict[str, Floats]:
    features = describe(np.stack([thumbnail(view) for view in val]))
    spoilt_features, labels = described(val, seed=1)
    parts = spoilt_features[np.isin(labels, [POSES.index(pose) for pose in PARTS])]
    limits = {
        "max_distance": np.quantile(gate.distance(features), KEPT_BY_DISTANCE),
        "max_part_distance": np.quantile(gate.distance(parts), KEPT_PARTS),
        "max_surprise": np.quantile(
            -gate.log_poses(features)[:, 0], KEPT_BY_POSE, method="midpoint"
        ),
    }
    return {name: np.array(value) for name, value in limits.items()}


def exposure_limits(train: View) -> tuple[Floats, Floats]:
    """Returns the least and the most of each of ``MEASURED`` that is judged, (4,) each.

    They lie half as far again beyond what all but .1 % of the training films have at each end as
    that is from the middle, so that other machines fit in between.
    """
    boxes = [inner_box(view) for view in train]
    found = np.stack(
        [measure(view, shrink(view, box), box) for view, box in zip(train, boxes, strict=True)]
    )
    low, middle, high = np.quantile(found, (0.001, 0.5, 0.999), axis=0)
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
