"""Validation AUROC of bundles on films that were stretched, blurred, darkened, ...: no test film.

Clean validation AUROC says little here (it saturates above .99), so recipes are compared on
validation films under shifts that another machine or another hospital brings. Usage:

    python benchmarks/validation_under_shift.py BUNDLE... --data DIR --split FILE [--quick]

``--quick`` takes eight of the changes, every second film, and bf16 where the machine has units for
it, for a large network on a CPU. ``--scores`` keeps every score, for ``threshold_transfer.py``.
``--flipped`` and ``--zoomed`` also give each bundle with its answer averaged over a film and its
mirror image, and over zooms (``model.flip_average``, ``model.zoom_average``).
``--together`` also gives every set of two or more of these, by the mean of their log odds.

Beside the AUROC stand, for each, recall and specificity under the shifts at the threshold that the
clean films choose (highest precision with recall >= .95): does a frozen threshold hold elsewhere?
"""

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import kornia.filters
import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from torch import Tensor

from pneumoscope.bundle import open_bundle
from pneumoscope.data.cache import default_cache_dir, open_cache
from pneumoscope.data.split import SplitRow, read_split
from pneumoscope.errors import PneumoscopeError
from pneumoscope.evaluation.operating_point import (
    choose_threshold_by_min_recall,
    summarize_at_threshold,
)
from pneumoscope.evaluation.predictions import Predictions, write_predictions
from pneumoscope.files import make_folder
from pneumoscope.models.bundles import load_network
from pneumoscope.models.scoring import network_input
from pneumoscope.training.device import Device, choose_device

Shift = Callable[[Tensor], Tensor]  # (B, 1, S, S) on the scale 0-255, to the same


def stretch(height: float, width: float) -> Shift:
    """Scales the film about its middle."""
    theta = torch.tensor([[1 / width, 0, 0], [0, 1 / height, 0]])

    def apply(x: Tensor) -> Tensor:
        grid = F.affine_grid(theta.expand(len(x), -1, -1), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)

    return apply


def blur(sigma_px: float) -> Shift:
    side = 2 * round(3 * sigma_px) + 1
    return lambda x: kornia.filters.gaussian_blur2d(x, (side, side), (sigma_px, sigma_px))


def contrast(factor: float) -> Shift:
    def apply(x: Tensor) -> Tensor:
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return (x - mean) * factor + mean

    return apply


def gamma(power: float) -> Shift:
    return lambda x: (x / 255).clamp(0, 1) ** power * 255


def both(first: Shift, second: Shift) -> Shift:
    return lambda x: second(first(x))


def grain(levels: float) -> Shift:
    """Adds noise of this deviation, the same at every call."""

    def apply(x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        return (x + levels * noise).clamp(0, 255)

    return apply


SHIFTS: dict[str, Shift] = {
    "clean": lambda x: x,
    "tall": stretch(1.25, 0.8),
    "wide": stretch(0.8, 1.25),
    "near": stretch(1.4, 1.4),
    "far": stretch(0.7, 0.7),
    "blurred": blur(3.0),
    "flat": contrast(0.4),
    "hard": contrast(1.8),
    "dark": lambda x: x * 0.5,
    "gamma 0.5": gamma(0.5),
    "gamma 2": gamma(2.0),
    "tall and flat": both(stretch(1.2, 0.85), contrast(0.5)),
    "tall and blurred": both(stretch(1.2, 0.85), blur(2.0)),
    "near and gamma": both(stretch(1.3, 1.2), gamma(1.6)),
    "grainy": grain(10.0),
}


VIEWS = {"flipped": "flip_average", "zoomed": "zoom_average"}
"""Ways to answer, by what turns them on in a network."""

QUICK = (
    "clean", "wide", "far", "blurred", "gamma 0.5", "tall and blurred", "near and gamma", "grainy",
)  # fmt: skip


def log_odds(
    network: torch.nn.Module, pixels: np.ndarray, *, quick: bool, device: Device
) -> dict[str, np.ndarray]:
    """Returns the log odds (N,) under each shift; ``pixels`` (N, 224, 224) uint8."""
    shifts = {name: shift for name, shift in SHIFTS.items() if not quick or name in QUICK}
    size, in_chans = int(network.img_size), int(network.in_chans)
    result = {}
    for name, shift in shifts.items():
        margins = []
        for start in range(0, len(pixels), 64):
            x = shift(torch.from_numpy(pixels[start : start + 64]).float()[:, None])
            if size != x.shape[-1]:
                x = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
            with torch.inference_mode(), device.autocast:
                logits = network(network_input(x[:, 0], in_chans))
            margins.append((logits[:, 1] - logits[:, 0]).float().numpy())
        result[name] = np.concatenate(margins)
    return result


def figures(labels: np.ndarray, by_shift: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns mean and worst AUROC, what the clean threshold does elsewhere, then each AUROC."""
    aurocs = {name: float(roc_auc_score(labels, score)) for name, score in by_shift.items()}
    threshold, _, _ = choose_threshold_by_min_recall(labels, expit(by_shift["clean"]))
    at_clean = [summarize_at_threshold(labels, expit(s), threshold) for s in by_shift.values()]
    recalls = [summary["recall"] for summary in at_clean]
    specificities = [summary["specificity"] for summary in at_clean]
    found = {
        "mean": np.mean(list(aurocs.values())),
        "worst": min(aurocs.values()),
        "recall_mean": np.mean(recalls),
        "recall_worst": min(recalls),
        "specificity_mean": np.mean(specificities),
        "specificity_worst": min(specificities),
        **aurocs,
    }
    return {key: round(float(value), 4) for key, value in found.items()}


def folder_name(bundle: str) -> str:
    """Returns what the folder of a bundle's scores is called: as its own, or as it is shipped."""
    return Path(bundle).resolve().name


def write_scores(folder: Path, rows: Sequence[SplitRow], by_shift: dict[str, np.ndarray]) -> None:
    """Writes ``predictions.csv`` files, one a shift, that `threshold_transfer.py` reads."""
    make_folder(folder)
    for shift, odds in by_shift.items():
        predictions = Predictions.from_logits(
            path=[row.path for row in rows],
            patient_id=[row.patient_id for row in rows],
            split=[row.split for row in rows],
            y_true=[int(row.label) for row in rows],
            logits=np.stack([-odds / 2, odds / 2], axis=1),
        )
        write_predictions(folder / f"{shift.replace(' ', '-')}.csv", predictions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument(
        "--quick", action="store_true", help="fewer changes and films; bf16 where it gains"
    )
    for view in VIEWS:
        parser.add_argument(
            f"--{view}", action="store_true", help=f"also each, its film {view} too"
        )
    parser.add_argument("--together", action="store_true", help="also every set of the bundles")
    parser.add_argument("--scores", type=Path, help="folder for every score, a CSV each")
    arguments = parser.parse_args()
    try:
        compare(parser, arguments)
    except PneumoscopeError as error:
        parser.error(str(error))


def compare(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Prints a line a bundle, a view and a set.

    Raises:
        PneumoscopeError: split, films, a bundle or the folder of scores cannot be used.
    """
    rows = read_split(arguments.split).subset("val")
    labels = np.array([int(row.label) for row in rows])
    pixels = np.array(open_cache(arguments.data, rows, 224, default_cache_dir()))
    if arguments.quick:
        rows, pixels, labels = rows[::2], pixels[::2], labels[::2]
    if len(set(labels.tolist())) < 2:
        parser.error(f"{arguments.split} has validation films of one class; both are needed")
    views = [view for view in VIEWS if vars(arguments)[view]]
    for name, view in itertools.product(arguments.bundles, views):
        model = open_bundle(name).config["model"]
        if "members" in model or model.get(VIEWS[view]):
            parser.error(f"{name} is an ensemble or answers so already; leave out --{view}")
    folders = [folder_name(name) for name in arguments.bundles]
    if arguments.scores and len(set(folders)) < len(folders):
        parser.error(
            f"two bundles would share a folder of scores ({', '.join(folders)}); rename one"
        )
    device = choose_device("cpu", "auto" if arguments.quick else "float32")
    computed = {"precision": str(device.dtype).removeprefix("torch."), "torch": torch.__version__}
    scores, origin = {}, {}
    for name in arguments.bundles:
        bundle = open_bundle(name)
        for view in ("", *views):
            called = f"{name} {view}".strip()
            network = load_network(bundle)
            if view:
                setattr(network, VIEWS[view], True)
            origin[called] = name
            scores[called] = log_odds(network, pixels, quick=arguments.quick, device=device)
            found = {"bundle": called, "model_id": bundle.model_id, **computed}
            print(json.dumps({**found, **figures(labels, scores[called])}), flush=True)
            if arguments.scores:
                folder = arguments.scores / f"{folder_name(name)} {view}".strip()
                write_scores(folder, rows, scores[called])
    if arguments.together:
        for size in range(2, len(arguments.bundles) + 1):
            for members in itertools.combinations(scores, size):
                if len({origin[name] for name in members}) < size:
                    continue  # one bundle, twice
                mean = {
                    shift: np.mean([scores[name][shift] for name in members], axis=0)
                    for shift in scores[members[0]]
                }
                found = {"bundle": " + ".join(members), **computed, **figures(labels, mean)}
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
