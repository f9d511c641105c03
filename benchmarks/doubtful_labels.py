"""Names the training films whose label networks contradict that did not learn it: no test film.

The recipe ``cnn``, of 20 epochs and with its last weights, is trained on either half of the
training patients and answers the other. A film is doubtful where the other class is the likelier,
and its probability at least the mean over the films of that class. Source: confident learning
(Northcutt et al., arXiv:1911.00068), equations 1 and 2. Usage:

    python benchmarks/doubtful_labels.py --data DIR --split RUN/split.csv > doubtful.json

``trials.py without=doubtful.json cnn`` trains without them.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pneumoscope.config import Recipe, load_recipe
from pneumoscope.data.cache import default_cache_dir, open_cache
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import read_split
from pneumoscope.errors import PneumoscopeError
from pneumoscope.labels import Label
from pneumoscope.models.scoring import score_pixels
from pneumoscope.training.device import choose_device
from pneumoscope.training.distributed import Group
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.recorder import Recorder
from pneumoscope.training.trainer import Trainer

FOLDS = 2


def fold_of(patients: NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """Returns the fold (N,) of each film, drawn patient by patient."""
    known = np.unique(patients)
    folds = np.empty(len(known), dtype=np.int64)
    folds[np.random.default_rng(seed).permutation(len(known))] = np.arange(len(known)) % FOLDS
    return folds[np.searchsorted(known, patients)]


def answer_out_of_fold(
    recipe: Recipe,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    fold: NDArray[np.int64],
    split_sha256: str,
) -> NDArray[np.float64]:
    """Returns the probability of pneumonia (N,) by a network that has not seen the film."""
    p = np.empty(len(labels))
    device = choose_device()
    for mine in range(FOLDS):
        others, own = fold != mine, fold == mine
        with TemporaryDirectory() as folder:
            fitted = Trainer(
                recipe,
                LabelledFilms(pixels[others], labels[others]),
                LabelledFilms(pixels[own], labels[own]),
                folder=Path(folder),
                split_sha256=split_sha256,
                device=device,
                group=Group(),
                recorder=Recorder(),
            ).fit()
        logits = score_pixels(fitted.network, pixels[own], device=device.device)
        p[own] = expit(logits[:, Label.PNEUMONIA] - logits[:, Label.NORMAL])
    return p


def is_doubtful(labels: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns which films (N,) are as surely of the other class as those that are named so."""
    sick = labels == Label.PNEUMONIA
    other = np.where(sick, 1.0 - p, p)
    surely = np.where(sick, (1.0 - p)[~sick].mean(), p[sick].mean())
    found: NDArray[np.bool_] = (other >= surely) & (other > 0.5)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True, help="of a run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    changes = [f"training.epochs={arguments.epochs}"]
    changes += [f"training.eval_every={arguments.epochs}", f"training.seed={arguments.seed}"]
    try:
        recipe = load_recipe("cnn", changes)
        split = read_split(arguments.split)
        folder = scan_folder(arguments.data)
        rows = split.subset("train")
        pixels = np.asarray(
            open_cache(folder.root, rows, recipe.model.img_size, default_cache_dir())
        )
        labels = np.array([int(row.label) for row in rows])
        fold = fold_of(np.array([row.patient_id for row in rows]), arguments.seed)
        p = answer_out_of_fold(recipe, pixels, labels, fold, split.sha256)
    except PneumoscopeError as error:
        parser.error(str(error))
    doubtful = is_doubtful(labels, p)
    found = {
        "left_out": {
            label.name: [int(doubtful[labels == label].sum()), int((labels == label).sum())]
            for label in Label
        },
        "paths_left_out": sorted(
            row.path for row, is_so in zip(rows, doubtful, strict=True) if is_so
        ),
    }
    json.dump(found, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
