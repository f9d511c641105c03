"""How well style alone foretells the class of films that it was not fitted on.

Style is 27 figures without a place (``pneumoscope.data.style``). Two halves of the training
folder, patients with neighbouring numbers on one side (split kind ``block``), each foretold by a
logistic regression on the other. With ``--test`` all training films foretell the test films, for
the report of what can be had without looking at a lung; nothing is chosen by it. Usage:

    python benchmarks/style.py --data DIR [--test | --causes]

With ``--causes`` the halves of the sick films of the training folder foretell which pneumonia is
viral and which bacterial, as their file names state; printed are the AUROC and the counts.

Prints a JSON line for all figures and for each group of them: the AUROC, the same with films
weighed as ``training.style_sampler`` does, how many NORMAL films then count (effective sample
size, of weights that sum to 1), and how many of them look like PNEUMONIA (p > .5) and the other
way round.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pneumoscope.data.cache import default_cache_dir, open_cache
from pneumoscope.data.patients import CAUSES, NO_CAUSE
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import SplitRow, make_split
from pneumoscope.data.style import NUM_BANDS, NUM_FIGURES, PERCENTILES, describe_style
from pneumoscope.labels import Label
from pneumoscope.study.films import stated_causes
from pneumoscope.training.style_balance import balancing_weights, foretell_class

LEVELS, SPECTRUM = len(PERCENTILES), len(PERCENTILES) + NUM_BANDS
GROUPS = {
    "all": slice(0, NUM_FIGURES),
    "grey levels": slice(0, LEVELS),
    "spectrum": slice(LEVELS, SPECTRUM),
    "borders": slice(SPECTRUM, NUM_FIGURES),
}


Films = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Styles (N, F) and class indices (N,)."""


def read(data: Path, rows: Sequence[SplitRow]) -> Films:
    styles = describe_style(open_cache(data, rows, 224, default_cache_dir()))
    return styles, np.array([int(row.label) for row in rows])


def figures(y: NDArray[np.int64], p: NDArray[np.float64]) -> dict[str, float]:
    normal, sick = y == Label.NORMAL, y == Label.PNEUMONIA
    weights = balancing_weights(y, p)
    return {
        "auroc": round(float(roc_auc_score(y, p)), 4),
        "auroc_weighed": round(float(roc_auc_score(y, p, sample_weight=weights)), 4),
        "effective_normal": round(float(1.0 / (weights[normal] ** 2).sum())),
        "normal_like_pneumonia": int((p[normal] > 0.5).sum()),
        "normal": int(normal.sum()),
        "pneumonia_like_normal": int((p[sick] < 0.5).sum()),
        "pneumonia": int(sick.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--test", action="store_true", help="foretell the test films")
    what.add_argument("--causes", action="store_true", help="foretell bacterial or viral")
    arguments = parser.parse_args()
    folder = scan_folder(arguments.data)
    split = make_split(folder, "block", val_fraction=0.5, seed=0)
    halves = [read(folder.root, split.subset(name)) for name in ("train", "val")]
    if arguments.causes:
        stated = [stated_causes(split.subset(name)) for name in ("train", "val")]
        halves = [
            (styles[known != NO_CAUSE], known[known != NO_CAUSE])
            for (styles, _), known in zip(halves, stated, strict=True)
        ]
    both = tuple(np.concatenate(parts) for parts in zip(*halves, strict=True))
    if arguments.test:
        turns = [(both, read(folder.root, split.subset("test")))]
    else:
        turns = [(halves[1], halves[0]), (halves[0], halves[1])]
    y = np.concatenate([labels for _, (_, labels) in turns])
    for group, part in GROUPS.items():
        p = np.concatenate(
            [
                foretell_class(known[:, part], labels, styles[:, part])
                for (known, labels), (styles, _) in turns
            ]
        )
        films = "test" if arguments.test else "training, by block"
        row: dict[str, Any] = {"films": films, "figures": group}
        if arguments.causes:
            row |= {"films": "causes, by block", "auroc": round(float(roc_auc_score(y, p)), 4)}
            row |= {cause: int((y == index).sum()) for index, cause in enumerate(CAUSES)}
        else:
            row |= figures(y, p)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
