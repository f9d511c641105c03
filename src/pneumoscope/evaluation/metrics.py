"""Headline numbers with their 95 % intervals, for one set of films and for a bundle."""

from typing import TypedDict

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.operating_point import Summary, check_scores, summarize_at_threshold
from pneumoscope.evaluation.predictions import Predictions

CONFIDENCE = 0.95
NUM_RESAMPLES = 2000
DEFAULT_THRESHOLD = 0.5
_MAX_WEIGHTS = 4_000_000
"""Films times resamples held at once by the bootstrap: 32 MB a matrix."""

Interval = list[float] | None
"""[low, high], a list as in JSON; ``None`` where the data cannot give one."""


class ThresholdIntervals(TypedDict):
    """Wilson intervals [low, high] at one threshold; ``None`` where there is no such film."""

    recall: Interval
    specificity: Interval


Intervals = TypedDict(
    "Intervals",
    {
        "confidence": float,
        "auroc": Interval,
        "at_0.5": ThresholdIntervals,
        "at_threshold": ThresholdIntervals,
    },
)

SetMetrics = TypedDict(
    "SetMetrics",
    {
        "num_films": int,
        "num_patients": int,
        "at_0.5": Summary,
        "at_threshold": Summary,
        "intervals": Intervals,
    },
)


def bundle_metrics(predictions: Predictions, threshold: float) -> dict[str, SetMetrics]:
    """Returns what ``metrics.json`` of a bundle holds: ``{"val": {...}, "test": {...}}``.

    A split that has no films is left out.

    Args:
        predictions: the model's scores; films of other splits are passed over.
        threshold: the frozen recall-first threshold.

    Raises:
        EvaluationError: there are neither validation nor test films.
    """
    subsets = {split: predictions.subset(split) for split in ("val", "test")}
    metrics = {s: evaluate_predictions(p, threshold) for s, p in subsets.items() if len(p)}
    if not metrics:
        raise EvaluationError("the predictions hold neither val nor test films; expected both")
    return metrics


def evaluate_predictions(predictions: Predictions, threshold: float) -> SetMetrics:
    """Returns the summaries at 0.5 and at ``threshold``, with intervals, ready for JSON.

    Args:
        predictions: the films of one set; their ``split`` is not looked at.
        threshold: the frozen recall-first threshold.

    Raises:
        EvaluationError: there are no films, or ``threshold`` is not finite.
    """
    y, p = predictions.y_true, predictions.p_pneumonia
    at_default = summarize_at_threshold(y, p, DEFAULT_THRESHOLD)
    at_threshold = summarize_at_threshold(y, p, threshold)
    return {
        "num_films": len(predictions),
        "num_patients": len(np.unique(predictions.patient_id)),
        "at_0.5": at_default,
        "at_threshold": at_threshold,
        "intervals": {
            "confidence": CONFIDENCE,
            "auroc": auroc_interval(y, p, predictions.patient_id),
            "at_0.5": _threshold_intervals(at_default),
            "at_threshold": _threshold_intervals(at_threshold),
        },
    }


def wilson_interval(num_hits: int, num_cases: int) -> Interval:
    """Returns the 95 % Wilson score interval of a fraction; ``None`` where there is no case.

    It holds its level for small numbers and near 0 and 1, where recall lives, and it never
    leaves [0, 1]. Films count as independent.

    Args:
        num_hits: how many of the cases, 0 to ``num_cases``.
        num_cases: the number of cases.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212; computed by scipy.

    Example:
        >>> low, high = wilson_interval(81, 263)
        >>> round(low, 4), round(high, 4)
        (0.2553, 0.3662)
    """
    if num_cases == 0:
        return None
    interval = binomtest(num_hits, num_cases).proportion_ci(CONFIDENCE, method="wilson")
    return [float(interval.low), float(interval.high)]


def auroc_interval(
    y_true: npt.ArrayLike,
    p1: npt.ArrayLike,
    patient_id: npt.ArrayLike,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Returns the 95 % percentile bootstrap interval of the AUROC, resampling whole patients.

    Films of one patient resemble each other; drawing patients instead of films keeps them
    together, so the interval is not too narrow. Resamples without both classes are dropped.
    ``None`` where a class has films of fewer than two patients: the draw could not vary it.

    Args:
        y_true: labels, 0 or 1, of shape (N,).
        p1: scores of class 1 in [0, 1], of shape (N,).
        patient_id: the patient of each film, of shape (N,).
        num_resamples: how many times the patients are drawn with replacement.
        seed: of the random draw; the same seed gives the same interval.

    Raises:
        EvaluationError: ``patient_id`` has another length, or as for
            :func:`~pneumoscope.evaluation.operating_point.check_scores`.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3;
        whole clusters as in Field and Welsh, J. R. Stat. Soc. B 69 (2007) 369-390.
    """
    y, p = check_scores(y_true, p1)
    patients, patient_of_film = np.unique(np.asarray(patient_id), return_inverse=True)
    if patient_of_film.shape != y.shape:
        raise EvaluationError(f"there are {len(y)} films but {patient_of_film.size} patient ids")
    if any(len(np.unique(patient_of_film[y == label])) < 2 for label in (0, 1)):
        return None
    rng = np.random.default_rng(seed)
    equal_odds = np.full(len(patients), 1 / len(patients))
    chunk = max(1, _MAX_WEIGHTS // len(y))
    aurocs = []
    for start in range(0, num_resamples, chunk):
        size = min(chunk, num_resamples - start)
        draws = rng.multinomial(len(patients), equal_odds, size=size)
        aurocs.append(_weighted_auroc(y, p, draws[:, patient_of_film]))
    # NaN marks a resample without both classes.
    low, high = np.nanquantile(np.concatenate(aurocs), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return [float(low), float(high)]


def _weighted_auroc(
    y: npt.NDArray[np.int64], p: npt.NDArray[np.float64], weights: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Returns the AUROC under each row of film weights (B, N); NaN where a class weighs 0.

    The AUROC is the share of (positive, negative) pairs in which the positive scores higher,
    a tie counting one half; all integer sums here are exact.
    """
    order = np.argsort(p, kind="stable")
    tie_start = np.append(0, np.flatnonzero(np.diff(p[order])) + 1)
    sorted_weights, sorted_y = weights[:, order], y[order]  # (B, N), (N,)
    positive = np.add.reduceat(sorted_weights * sorted_y, tie_start, axis=1)  # (B, runs of ties)
    negative = np.add.reduceat(sorted_weights * (1 - sorted_y), tie_start, axis=1)
    twice_below = 2 * np.cumsum(negative, axis=1) - negative
    twice_won = np.sum(positive * twice_below, axis=1)
    num_pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore"):
        auroc: npt.NDArray[np.float64] = twice_won / (2 * num_pairs)
    return auroc


def _threshold_intervals(summary: Summary) -> ThresholdIntervals:
    return {
        "recall": wilson_interval(summary["tp"], summary["tp"] + summary["fn"]),
        "specificity": wilson_interval(summary["tn"], summary["tn"] + summary["fp"]),
    }
