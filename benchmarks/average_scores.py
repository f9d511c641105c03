"""Averages the stored log odds of runs, and chooses a threshold for the mean on validation.

    python benchmarks/average_scores.py PREDICTIONS_CSV PREDICTIONS_CSV ...

Prints JSON: figures on validation and test at the threshold with validation recall >= .95. No film
and no network is needed. ``pneumoscope ensemble`` makes a bundle that does the same; it reduces
films to each member's size without rounding, so its scores can differ a little.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from pneumoscope.errors import PneumoscopeError
from pneumoscope.evaluation.operating_point import (
    choose_threshold_by_min_recall,
    summarize_at_threshold,
)
from pneumoscope.evaluation.predictions import read_predictions

MIN_RECALL = 0.95


def average(paths: Sequence[Path]) -> dict[str, Any]:
    """Returns the figures of ``val`` and ``test`` at the threshold that ``val`` chooses.

    Raises:
        EvaluationError: a file cannot be read.
        ValueError: the files are not of the same films.
    """
    runs = [read_predictions(path) for path in paths]
    if any(list(run.path) != list(runs[0].path) for run in runs):
        raise ValueError("the files are not of the same films in the same order")
    parts = {}
    for part in ("val", "test"):
        films = [run.subset(part) for run in runs]
        p = expit(np.mean([one.log_odds for one in films], axis=0))
        parts[part] = (films[0].y_true, p)
    threshold, *_ = choose_threshold_by_min_recall(*parts["val"], MIN_RECALL)
    return {
        part: {"at_threshold": summarize_at_threshold(*parts[part], threshold)} for part in parts
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", type=Path, nargs="+", help="predictions.csv of a run")
    arguments = parser.parse_args()
    try:
        metrics = average(arguments.scores)
    except (PneumoscopeError, ValueError) as error:
        parser.error(str(error))
    print(
        json.dumps(
            {"scores": [p.as_posix() for p in arguments.scores], "metrics": metrics}, indent=1
        )
    )


if __name__ == "__main__":
    main()
