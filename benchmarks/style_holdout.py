"""Trains a recipe without any normal film of a sick style and scores those films: no test film.

Most normal films of the training folder look, by style (:mod:`pneumoscope.data.style`), as normal
films do; some 100 look as those of sick children do, by a logistic regression on the other half of
the blocks of patients, and so do far more of the test films. Here all of those are held out, with
every other film of their patients, and with them a third of the blocks of sick patients, drawn by
hash. No patient is on both sides; exact copies of films of other patients are not looked for
(Kermany's training folder has none). What is told apart is then sick children from healthy ones
who were filmed as no healthy child was in training. Usage:

    python benchmarks/style_holdout.py RECIPE --data DIR --out DIR [--by-epoch] [--set KEY=VALUE]

Prints a JSON line: AUROC, and specificity at a recall of .95 and of .98 on the very films. Weights
are those of the last epoch, so nothing is chosen by what is measured, but that fine-tuning may not
fall behind its linear probe, whose penalty is chosen there. With ``--by-epoch`` the AUROC is given
after every epoch instead, the last one's as the run's, and no specificity: the weights that such
a run stores are those that its recipe keeps.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pneumoscope.bundle import open_bundle
from pneumoscope.config import load_recipe
from pneumoscope.data.cache import default_cache_dir, open_cache
from pneumoscope.data.patients import patient_block
from pneumoscope.data.scan import FilmFolder, scan_folder
from pneumoscope.data.split import Split, make_split
from pneumoscope.data.style import describe_style
from pneumoscope.errors import PneumoscopeError
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.evaluation.results import read_history
from pneumoscope.files import make_folder, write_text
from pneumoscope.labels import Label
from pneumoscope.training.style_balance import foretell_class

RECALLS = (0.95, 0.98)
SICK_PARTS = 3
"""One in so many blocks of sick patients, on average, is held out."""
LONGER_THAN_ANY_RUN = 10_000
FIXED = ("data.", "training.eval_every", "training.patience")
"""Keys of a recipe that are this script's to set."""
PER_EPOCH = ("training.eval_every=1", f"training.patience={LONGER_THAN_ANY_RUN}")
AT_THE_END = (f"training.eval_every={LONGER_THAN_ANY_RUN}",)


def drawn(blocks: list[str], byte: int, parts: int) -> NDArray[np.int64]:
    """Returns a number from 0 to ``parts`` - 1 for each block: that ``byte`` of its name's hash."""
    return np.array([hashlib.sha256(b.encode()).digest()[byte] % parts for b in blocks])


def odd_normals(
    labels: NDArray[np.int64], styles: NDArray[np.float64], blocks: list[str]
) -> NDArray[np.bool_]:
    """Returns which films (N,) are normal, where style says sick.

    Style is read by what the other half of the blocks teaches.
    """
    half = drawn(blocks, 0, 2)
    p = np.empty(len(labels))
    for mine in (0, 1):
        other = half != mine
        p[~other] = foretell_class(styles[other], labels[other], styles[~other])
    odd: NDArray[np.bool_] = (labels == Label.NORMAL) & (p > 0.5)
    return odd


def hold_out(folder: FilmFolder) -> tuple[Split, int]:
    """Returns the split and how many films are odd; val has their patients and some of the sick.

    The settings that it states are those of the usual split, of which its val is none.
    """
    split = make_split(folder, "patient")
    films = [row for row in split.rows if row.split in ("train", "val")]
    labels = np.array([int(row.label) for row in films])
    styles = describe_style(open_cache(folder.root, films, 224, default_cache_dir()))
    blocks = [patient_block(row.patient_id) for row in films]
    is_odd = odd_normals(labels, styles, blocks)
    odd_patients = {row.patient_id for row, odd in zip(films, is_odd, strict=True) if odd}
    sick_part = drawn(blocks, 1, SICK_PARTS) == 0
    goes = {
        row.path: "val"
        if (part if row.label == Label.PNEUMONIA else row.patient_id in odd_patients)
        else "train"
        for row, part in zip(films, sick_part, strict=True)
    }
    rows = tuple(replace(row, split=goes.get(row.path, row.split)) for row in split.rows)
    return replace(split, rows=rows), int(is_odd.sum())


def figures(y: NDArray[np.int64], score: NDArray[np.float64]) -> dict[str, Any]:
    """Returns AUROC of films with classes (N,) and scores (N,), and specificity at each recall."""
    sick = y == Label.PNEUMONIA
    found = {"auroc": round(float(roc_auc_score(y, score)), 4)}
    for recall in RECALLS:
        threshold = np.quantile(score[sick], 1.0 - recall, method="lower")
        found[f"specificity_{recall:.2f}"] = round(float((score[~sick] < threshold).mean()), 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--by-epoch", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    if fixed := [change for change in arguments.set if change.startswith(FIXED)]:
        parser.error(f"{fixed[0]} is for this script to set")
    try:  # what is wrong is said before any work
        load_recipe(arguments.recipe, arguments.set)
        folder = scan_folder(arguments.data)
    except PneumoscopeError as error:
        parser.error(str(error))
    split_path = make_folder(arguments.out) / "held-out.csv"
    split, num_odd = hold_out(folder)
    write_text(split_path, split.csv_text)
    command = [sys.executable, "-m", "pneumoscope", "train", arguments.recipe, "--val-only"]
    command += ["--data", str(arguments.data), "--split", str(split_path)]
    command += ["--out", str(arguments.out)]
    changes = [*arguments.set, *(PER_EPOCH if arguments.by_epoch else AT_THE_END)]
    command += [part for change in changes for part in ("--set", change)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    bundle = open_bundle(arguments.out / "bundle")
    val = read_predictions(bundle.path / "predictions.csv").subset("val")
    if arguments.by_epoch:
        history = read_history(bundle.path / "history.csv")
        trained = history.val_auroc[history.epoch > 0]  # epoch 0 is a linear probe
        by_epoch = [round(float(auroc), 4) for auroc in trained]
        found = {"auroc": by_epoch[-1], "auroc_by_epoch": by_epoch}
    else:
        found = figures(val.y_true, val.log_odds)
    row = {
        "recipe": arguments.recipe,
        "set": arguments.set,
        "device": bundle.manifest["device"],
        "minutes": round(bundle.manifest["train_time_s"] / 60, 1),
        "num_odd": num_odd,
        "num_normal": int((val.y_true == Label.NORMAL).sum()),
        "num_sick": int((val.y_true == Label.PNEUMONIA).sum()),
        **found,
        "code": bundle.manifest["code"],
    }
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
