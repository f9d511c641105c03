"""How AUROC, recall and specificity hold when the same films are changed; no network is needed.

Nothing is chosen anew: the frozen threshold decides on the changed films as on the clean ones.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from pneumoscope.data.corruption import CLEAN, MARKER_ADDED, family
from pneumoscope.evaluation.delong import Difference, difference, estimate_aurocs, interval_of
from pneumoscope.evaluation.intervals import Interval, wilson_interval
from pneumoscope.evaluation.operating_point import summarize_at_threshold
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.evaluation.shift_table import ShiftTable


@dataclass(frozen=True)
class FlipRate:
    """How many decisions on the same films differ; a share in [0, 1] with its Wilson interval."""

    num_films: int
    num_flipped: int
    share: float
    interval: Interval


@dataclass(frozen=True)
class VariantResult:
    """One variant of the films, at the frozen threshold.

    Attributes:
        variant: its name, ``"clean"`` or ``"family: amount"``.
        auroc: in [0, 1]; None where a class is missing.
        auroc_interval: 95 %, DeLong's with films of one patient as alike; None where a class has
            films of fewer than two patients, or the AUROC is 0 or 1.
        auroc_change: against the clean films, paired; None where a class has films of fewer than
            two patients.
        recall: in [0, 1]; None without PNEUMONIA.
        recall_interval: Wilson's.
        specificity: in [0, 1]; None without NORMAL.
        specificity_interval: Wilson's.
        to_pneumonia: films called PNEUMONIA that were called NORMAL when clean.
        to_normal: films called NORMAL that were called PNEUMONIA when clean.
        flips: both together.
    """

    variant: str
    auroc: float | None
    auroc_interval: Interval
    auroc_change: Difference | None
    recall: float | None
    recall_interval: Interval
    specificity: float | None
    specificity_interval: Interval
    to_pneumonia: int
    to_normal: int
    flips: FlipRate


@dataclass(frozen=True)
class Robustness:
    """One model on clean and changed films.

    Attributes:
        num_films: films that were changed.
        num_test_films: films of the test set they are from.
        num_decided_otherwise: films that the clean score decides otherwise than the prediction.
            Films are changed at 224 px, so larger ones may be.
        variants: the clean films first.
        added_marker: films of which at least one added marker changes the decision; None where
            none was added.
    """

    num_films: int
    num_test_films: int
    num_decided_otherwise: int
    variants: tuple[VariantResult, ...]
    added_marker: FlipRate | None


def evaluate_shifts(table: ShiftTable, test: Predictions, threshold: float) -> Robustness:
    """Returns how a model does on each variant of its films.

    Args:
        table: its log-odds of clean and changed films.
        test: its test films, those of the table among them.
        threshold: the frozen recall-first threshold.

    Raises:
        EvaluationError: a film of the table is not among ``test``, or ``threshold`` is not finite.
    """
    rows = table.align(test)
    y, patients = test.y_true[rows], test.patient_id[rows]
    scores = {name: expit(values.astype(np.float64)) for name, values in table.log_odds.items()}
    aurocs = estimate_aurocs(y, list(scores.values()), patients)
    clean = scores[CLEAN] >= threshold
    variants = []
    for index, (name, p) in enumerate(scores.items()):
        summary = summarize_at_threshold(y, p, threshold)
        tp, fn, tn, fp = (summary[count] for count in ("tp", "fn", "tn", "fp"))
        called = p >= threshold
        variants.append(
            VariantResult(
                variant=name,
                auroc=summary["auroc"],
                auroc_interval=interval_of(aurocs, index) if aurocs else None,
                auroc_change=difference(aurocs, index, 0) if aurocs else None,
                recall=summary["recall"],
                recall_interval=wilson_interval(tp, tp + fn),
                specificity=summary["specificity"],
                specificity_interval=wilson_interval(tn, tn + fp),
                to_pneumonia=int(np.sum(called & ~clean)),
                to_normal=int(np.sum(clean & ~called)),
                flips=_flip_rate(called != clean),
            )
        )
    return Robustness(
        num_films=len(table),
        num_test_films=len(test),
        num_decided_otherwise=int(np.sum(clean != (test.p_pneumonia[rows] >= threshold))),
        variants=tuple(variants),
        added_marker=marker_flip_rate(table, threshold),
    )


def marker_flip_rate(table: ShiftTable, threshold: float) -> FlipRate | None:
    """Returns the films of which at least one added marker changes the decision.

    A film counts once, however many of the markers flip it, so that films are what the interval
    is over. ``None`` where the table holds no added marker.

    Args:
        table: log-odds of clean and changed films.
        threshold: the frozen recall-first threshold.
    """
    clean = _called(table, CLEAN, threshold)
    marked = [
        _called(table, name, threshold) for name in table.log_odds if family(name) == MARKER_ADDED
    ]
    return _flip_rate(np.any([called != clean for called in marked], axis=0)) if marked else None


def _called(table: ShiftTable, variant: str, threshold: float) -> npt.NDArray[np.bool_]:
    called: npt.NDArray[np.bool_] = expit(table.log_odds[variant].astype(np.float64)) >= threshold
    return called


def _flip_rate(flipped: npt.NDArray[np.bool_]) -> FlipRate:
    num_films, num_flipped = len(flipped), int(flipped.sum())
    return FlipRate(
        num_films, num_flipped, num_flipped / num_films, wilson_interval(num_flipped, num_films)
    )
