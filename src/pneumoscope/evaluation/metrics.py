"""Headline numbers with their 95 % intervals, for one set of films and for a bundle."""

from typing import TypedDict

import numpy as np

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.bootstrap import auroc_interval
from pneumoscope.evaluation.intervals import CONFIDENCE, Interval, wilson_interval
from pneumoscope.evaluation.operating_point import Summary, summarize_at_threshold
from pneumoscope.evaluation.predictions import Predictions

DEFAULT_THRESHOLD = 0.5


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


def _threshold_intervals(summary: Summary) -> ThresholdIntervals:
    return {
        "recall": wilson_interval(summary["tp"], summary["tp"] + summary["fn"]),
        "specificity": wilson_interval(summary["tn"], summary["tn"] + summary["fp"]),
    }
