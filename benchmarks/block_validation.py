"""Trains a recipe without whole blocks of patients and scores those blocks: no test film.

A patient split leaves films with neighbouring numbers, which look alike, on both sides, and
validation AUROC saturates above .99. Here whole blocks of numbers are held out (split kind
``block``, folds of 1/2 by default), and the scores are also read where style tells less: films
are weighed inversely to what their style, by the training side, gives their own class
(``pneumoscope.training.style_balance``). Usage:

    python benchmarks/block_validation.py RECIPE --data DIR --out DIR [--fold 0] [--set KEY=VALUE]
        [--trial NAME]

Prints a JSON line. ``auroc`` and ``specificity`` (at recall .95 on the very films) are plain,
``style_*`` are weighed. ``odd_*`` are against those normal films alone whose style says
pneumonia. ``specificity_bound`` is its 5th percentile over draws of blocks, the threshold drawn
anew with them. ``log_loss`` is that of either half of the blocks, calibrated on the other by
slope and intercept. Weights are those of the last epoch, so nothing is chosen by what is measured,
but that fine-tuning may not fall behind its linear probe, whose penalty is chosen there.
``--trial`` is one of those of ``trials.py``.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from trials import WITHOUT_FILE

from pneumoscope.bundle import open_bundle
from pneumoscope.config import load_recipe
from pneumoscope.data.cache import default_cache_dir, open_cache
from pneumoscope.data.patients import patient_block
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import Split, open_split
from pneumoscope.data.style import describe_style
from pneumoscope.errors import PneumoscopeError
from pneumoscope.evaluation.predictions import Predictions, read_predictions
from pneumoscope.labels import Label
from pneumoscope.training.style_balance import balancing_weights, foretell_class

RECALL = 0.95


FIXED = ("data.", "training.eval_every")
"""Keys of a recipe that are this script's to set."""


def style_says(data: Path, split: Split) -> NDArray[np.float64]:
    """Returns the probability of pneumonia (N,) that style alone gives the validation films."""
    styles, labels = {}, {}
    for name in ("train", "val"):
        rows = split.subset(name)
        styles[name] = describe_style(open_cache(data, rows, 224, default_cache_dir()))
        labels[name] = np.array([int(row.label) for row in rows])
    return foretell_class(styles["train"], labels["train"], styles["val"])


def figures(
    y: NDArray[np.int64], score: NDArray[np.float64], style: NDArray[np.float64]
) -> dict[str, float | None]:
    """Returns the figures of one set of scores (N,) with classes and what style says.

    Where no normal film is odd, the figures of odd films are None.
    """
    sick = y == Label.PNEUMONIA
    weight = balancing_weights(y, style)
    odd = sick | (style > 0.5)
    num_odd = int((odd & ~sick).sum())
    threshold = np.quantile(score[sick], 1.0 - RECALL, method="lower")
    spared = score[~sick] < threshold
    return {
        "auroc": roc_auc_score(y, score),
        "specificity": spared.mean(),
        "style_auroc": roc_auc_score(y, score, sample_weight=weight),
        "style_specificity": np.average(spared, weights=weight[~sick]),
        "num_odd": num_odd,
        "odd_auroc": roc_auc_score(y[odd], score[odd]) if num_odd else None,
        "odd_specificity": spared[odd[~sick]].mean() if num_odd else None,
    }


def specificity_bound(val: Predictions, num_draws: int = 1000) -> float:
    """Returns what specificity at recall .95 reaches in 95 % of draws of as many blocks."""
    names, block = np.unique([patient_block(p) for p in val.patient_id], return_inverse=True)
    num_blocks = len(names)
    rng = np.random.default_rng(0)
    order = np.argsort(val.log_odds)
    sick = (val.y_true[order] == Label.PNEUMONIA).astype(int)
    found = []
    for _ in range(num_draws):
        drawn = rng.integers(num_blocks, size=num_blocks)
        times = np.bincount(drawn, minlength=num_blocks)[block[order]]
        missed = np.cumsum(times * sick)
        spared = np.cumsum(times * (1 - sick))
        last = np.searchsorted(missed, (1.0 - RECALL) * missed[-1], side="right")
        found.append(spared[last - 1] / spared[-1] if last else 0.0)
    return float(np.quantile(found, 0.05))


def calibrated_log_loss(val: Predictions) -> float:
    """Returns the log loss of halves of the blocks, each calibrated on the other (Platt)."""
    blocks = [patient_block(p) for p in val.patient_id]
    half = np.array([hashlib.sha256(block.encode()).digest()[0] % 2 for block in blocks])
    x = val.log_odds[:, None]
    p = np.empty(len(val))
    for mine in (0, 1):
        line = LogisticRegression(C=np.inf).fit(x[half != mine], val.y_true[half != mine])
        p[half == mine] = line.predict_proba(x[half == mine])[:, Label.PNEUMONIA]
    return float(log_loss(val.y_true, p))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--trial", choices=WITHOUT_FILE, help="see trials.py")
    arguments = parser.parse_args()
    if fixed := [change for change in arguments.set if change.startswith(FIXED)]:
        parser.error(f"{fixed[0]} is for this script to set; choose folds by --fold and --folds")
    try:
        epochs = load_recipe(arguments.recipe, arguments.set).training.epochs
    except PneumoscopeError as error:
        parser.error(str(error))
    changes = [
        *arguments.set,
        "data.split=block",
        f"data.val_fraction={1 / arguments.folds}",
        f"data.split_seed={arguments.fold}",
        f"training.eval_every={max(1, epochs)}",
    ]
    program = ["-m", "pneumoscope", "train"]
    if arguments.trial:
        program = [str(Path(__file__).with_name("trials.py")), arguments.trial]
    command = [sys.executable, *program, arguments.recipe, "--val-only"]
    command += ["--data", str(arguments.data), "--out", str(arguments.out)]
    command += [part for change in changes for part in ("--set", change)]
    if status := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        sys.exit(status)  # the command has said why
    folder = scan_folder(arguments.data)
    split = open_split(
        folder,
        arguments.out / "split.csv",
        "block",
        val_fraction=1 / arguments.folds,
        seed=arguments.fold,
    )
    bundle = open_bundle(arguments.out / "bundle")
    val = read_predictions(bundle.path / "predictions.csv").subset("val")
    assert list(val.path) == [row.path for row in split.subset("val")]
    found = figures(val.y_true, val.log_odds, style_says(folder.root, split))
    found |= {"specificity_bound": specificity_bound(val), "log_loss": calibrated_log_loss(val)}
    row: dict[str, Any] = {
        **({"trial": arguments.trial} if arguments.trial else {}),
        "recipe": arguments.recipe,
        "set": arguments.set,
        "fold": arguments.fold,
        "folds": arguments.folds,
        "device": bundle.manifest["device"],
        "minutes": round(bundle.manifest["train_time_s"] / 60, 1),
        "best_epoch": bundle.manifest["best_epoch"],
        **{k: None if v is None else round(float(v), 4) for k, v in found.items()},
        "code": bundle.manifest["code"],
    }
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
