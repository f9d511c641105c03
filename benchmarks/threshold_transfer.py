"""Rules for the decision threshold, compared on validation films they have not seen: no test film.

Half of the patients choose the threshold on clean films; the other half are decided with it, as
they are and under shifts. 20 divisions, both ways. Needs no torch, only the scores that

    python benchmarks/validation_under_shift.py BUNDLE --data DIR --split FILE --quick --scores OUT

keeps, a ``predictions.csv`` a shift in ``OUT/BUNDLE``. Usage:

    python benchmarks/threshold_transfer.py OUT/BUNDLE...

One rule chooses on changed films: the choosing half in every version but the one that is decided.
Some versions are alike (``blurred``, ``tall and blurred``), so what is decided is not wholly new.

Prints a JSON line a model and rule: recall and specificity on each shift (means over the 40
halves), and the share of halves in which recall on clean films stays below the target.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.errors import EvaluationError, PneumoscopeError
from pneumoscope.evaluation.calibration import fit_temperature
from pneumoscope.evaluation.operating_point import choose_threshold_by_min_recall
from pneumoscope.evaluation.predictions import Predictions, read_predictions
from pneumoscope.evaluation.threshold_rules import (
    estimate_prevalence,
    out_of_fold_threshold,
    scale_by_temperature,
    threshold_by_recall_bound,
    to_prevalence,
)

MIN_RECALL = 0.95
Scores = NDArray[np.float64]
Choice = tuple[float, Callable[[Scores], Scores]]
"""A threshold, and what becomes of the scores that it is to decide."""
Rule = Callable[[Predictions], Choice]
"""From the clean films of the choosing half."""


def as_they_are(p: Scores) -> Scores:
    return p


def frozen(chosen_on: Predictions) -> Choice:
    return choose_threshold_by_min_recall(chosen_on.y_true, chosen_on.p_pneumonia)[0], as_they_are


def out_of_fold(chosen_on: Predictions) -> Choice:
    films = chosen_on.y_true, chosen_on.p_pneumonia, chosen_on.patient_id
    return out_of_fold_threshold(*films), as_they_are


def recall_bound(chosen_on: Predictions) -> Choice:
    return threshold_by_recall_bound(chosen_on.y_true, chosen_on.p_pneumonia), as_they_are


def temperature(chosen_on: Predictions) -> Choice:
    """Calibrates both halves; the threshold is chosen on calibrated scores."""
    t = fit_temperature(chosen_on.y_true, chosen_on.log_odds)
    calibrate = partial(scale_by_temperature, temperature=t)
    calibrated = calibrate(chosen_on.p_pneumonia)
    return choose_threshold_by_min_recall(chosen_on.y_true, calibrated)[0], calibrate


def prior_shift(chosen_on: Predictions) -> Choice:
    """Calibrates, then moves the scores to the prevalence that the films seem to have."""
    threshold, calibrate = temperature(chosen_on)
    prevalence = float(np.mean(calibrate(chosen_on.p_pneumonia)))

    def move(p: Scores) -> Scores:
        p = calibrate(p)
        return to_prevalence(p, prevalence, estimate_prevalence(p, prevalence))

    return threshold, move


RULES: dict[str, Rule] = {
    "frozen": frozen,
    "out of fold": out_of_fold,
    "recall bound": recall_bound,
    "temperature": temperature,
    "prior shift": prior_shift,
}
CHANGED = "changed films"
"""The frozen rule, chosen on changed films."""


def part(films: Predictions, rows: NDArray[np.bool_]) -> Predictions:
    return Predictions.from_logits(
        path=films.path[rows].tolist(),
        patient_id=films.patient_id[rows].tolist(),
        split=films.split[rows].tolist(),
        y_true=films.y_true[rows],
        logits=films.logits[rows],
    )


def pool(by_shift: dict[str, Predictions]) -> Predictions:
    """Returns the films under all shifts as one table; a shift stands before each path."""
    everything = by_shift.values()
    return Predictions.from_logits(
        path=[f"{shift}/{path}" for shift, films in by_shift.items() for path in films.path],
        patient_id=np.concatenate([films.patient_id for films in everything]).tolist(),
        split=np.concatenate([films.split for films in everything]).tolist(),
        y_true=np.concatenate([films.y_true for films in everything]),
        logits=np.concatenate([films.logits for films in everything]),
    )


def measure(by_shift: dict[str, Predictions], name: str) -> dict[str, object]:
    rule = RULES.get(name)
    clean = by_shift["clean"]
    patients, patient_of_film = np.unique(clean.patient_id, return_inverse=True)
    found: dict[str, list[tuple[float, float]]] = {shift: [] for shift in by_shift}
    for division in range(20):
        order = np.random.default_rng(division).permutation(len(patients))
        is_first = (order < len(patients) // 2)[patient_of_film]
        for choosing in (is_first, ~is_first):
            if len(set(clean.y_true[choosing])) < 2:
                raise EvaluationError("half of the patients are of one class; give more films")
            halves = {shift: part(films, choosing) for shift, films in by_shift.items()}
            choice = rule(halves["clean"]) if rule else None
            for shift, films in by_shift.items():
                others = {other: half for other, half in halves.items() if other != shift}
                threshold, change = choice or frozen(pool(others))
                decided = part(films, ~choosing)
                called, is_sick = change(decided.p_pneumonia) >= threshold, decided.y_true == 1
                found[shift].append((called[is_sick].mean(), (~called[~is_sick]).mean()))
    means = {shift: np.mean(pairs, axis=0).round(3).tolist() for shift, pairs in found.items()}
    shifted = [pair for shift, pair in means.items() if shift != "clean"]
    return {
        "missed_target": float(np.mean([recall < MIN_RECALL for recall, _ in found["clean"]])),
        "clean": means["clean"],
        "shifted_mean": np.mean(shifted, axis=0).round(3).tolist(),
        "lowest_recall": min(recall for recall, _ in means.values()),
        "by_shift": means,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        try:
            by_shift = {path.stem: read_predictions(path) for path in sorted(folder.glob("*.csv"))}
            if "clean" not in by_shift:
                parser.error(
                    f"{folder} has no clean.csv; name what validation_under_shift.py wrote"
                )
            for name in (*RULES, CHANGED):
                print(json.dumps({"model": folder.name, "rule": name, **measure(by_shift, name)}))
        except PneumoscopeError as error:
            parser.error(f"{folder}: {error}")


if __name__ == "__main__":
    main()
