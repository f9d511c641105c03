"""The recall-first operating point, and what a threshold does.

Everywhere in the project a film is called PNEUMONIA if and only if ``p >= threshold``.
"""

import math
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from pneumoscope.errors import EvaluationError


class Summary(TypedDict):
    """What one threshold does on one set of films; fractions in [0, 1], counts of films.

    A fraction whose denominator is 0 is ``None``, which JSON can hold and NaN cannot.
    """

    acc: float
    precision: float | None
    recall: float | None
    f1: float | None
    auroc: float | None
    thr: float
    specificity: float | None
    npv: float | None
    tp: int
    fp: int
    fn: int
    tn: int


def choose_threshold_by_min_recall(
    y_true: npt.ArrayLike, p1: npt.ArrayLike, min_recall: float = 0.95
) -> tuple[float, float, float]:
    """Returns ``(threshold, recall, precision)`` of the recall-first operating point.

    The candidates are the values that occur in ``p1``. Of those that reach ``min_recall`` the
    one with the highest precision is taken; of equal precision, the one with the higher recall.
    Equal precision and equal recall mean the same films called, hence the same value: the
    answer is unique and does not depend on the order of the films. Takes O(n log n).

    Films with equal scores are called together. In particular, where all scores are equal that
    value is the threshold, recall is 1 and precision is the prevalence. With ``min_recall=1``
    the threshold is the lowest score of a positive. Without negatives every precision is 1, so
    the lowest score is returned with recall 1.

    Args:
        y_true: labels, 0 or 1 (or bool), of shape (N,).
        p1: scores of class 1 in [0, 1], of shape (N,).
        min_recall: the recall to reach, in (0, 1]. It is reached by ``tp`` of ``P`` positives
            when ``tp / P >= min_recall``: 19 of 20 reach 0.95, 7 of 100 reach 0.07.

    Raises:
        EvaluationError: there is no positive, ``min_recall`` is not in (0, 1], or labels and
            scores are not as :func:`check_scores` wants them.

    Example:
        >>> choose_threshold_by_min_recall([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], min_recall=1.0)
        (0.4, 1.0, 0.6666666666666666)
        >>> choose_threshold_by_min_recall([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], min_recall=0.5)
        (0.9, 0.5, 1.0)
    """
    y, p = check_scores(y_true, p1)
    if not 0 < min_recall <= 1:
        raise EvaluationError(f"min_recall is {min_recall}; expected a number in (0, 1]")
    num_positives = int(y.sum())
    if num_positives == 0:
        raise EvaluationError(
            f"none of the {len(y)} labels is positive; recall needs at least one, "
            "choose the threshold on films of both classes"
        )
    order = np.argsort(-p, kind="stable")
    candidates = p[order]
    # A threshold takes whole runs of equal scores, so only the end of each run counts.
    run_end = np.append(np.flatnonzero(np.diff(candidates)), len(p) - 1)
    num_called = run_end + 1
    tp = np.cumsum(y[order])[run_end]
    # Quotients of integers are rounded correctly, as is the decimal the caller wrote, so equal
    # fractions compare as equal here; min_recall * num_positives would not keep that.
    recall = tp / num_positives
    precision = tp / num_called
    reaching = np.flatnonzero(recall >= min_recall)
    # Scores fall along the runs, so recall rises: the last of equal precisions recalls most.
    best = reaching[precision[reaching] == precision[reaching].max()][-1]
    return float(candidates[run_end[best]]), float(recall[best]), float(precision[best])


def summarize_at_threshold(y_true: npt.ArrayLike, p1: npt.ArrayLike, thr: float) -> Summary:
    """Returns what the decision ``p1 >= thr`` does on these films, ready for JSON.

    The keys are those of :class:`Summary`. ``recall`` is ``None`` without positives,
    ``specificity`` without negatives, ``auroc`` without either; ``precision`` is ``None`` where
    no film is called positive, ``npv`` where all are. ``f1`` is 2 tp / (2 tp + fp + fn), hence
    0 where positives exist and none is found, and ``None`` only where that is 0 / 0.

    Args:
        y_true: labels, 0 or 1 (or bool), of shape (N,).
        p1: scores of class 1 in [0, 1], of shape (N,).
        thr: the threshold, any finite number (above 1 nothing is called positive).

    Raises:
        EvaluationError: ``thr`` is not finite, or labels and scores are not as
            :func:`check_scores` wants them.

    Example:
        >>> summary = summarize_at_threshold([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], 0.5)
        >>> summary["tp"], summary["fp"], summary["recall"], summary["auroc"]
        (1, 1, 0.5, 0.75)
    """
    y, p = check_scores(y_true, p1)
    if not math.isfinite(thr):
        raise EvaluationError(f"the threshold is {thr}; expected a finite number")
    called, positive = p >= thr, y == 1
    tp, fp = int(np.sum(called & positive)), int(np.sum(called & ~positive))
    fn, tn = int(np.sum(~called & positive)), int(np.sum(~called & ~positive))
    both_classes = 0 < tp + fn < len(y)
    auroc = float(roc_auc_score(y, p)) if both_classes else None
    return summarize_counts(tp=tp, fp=fp, fn=fn, tn=tn, auroc=auroc, thr=float(thr))


def summarize_counts(
    *, tp: int, fp: int, fn: int, tn: int, auroc: float | None, thr: float
) -> Summary:
    """Returns the :class:`Summary` of a confusion matrix; ``auroc`` and ``thr`` pass through."""
    return {
        "acc": (tp + tn) / (tp + fp + fn + tn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "auroc": auroc,
        "thr": thr,
        "specificity": _ratio(tn, tn + fp),
        "npv": _ratio(tn, tn + fn),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
    }


def check_scores(
    y_true: npt.ArrayLike, p1: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Returns labels (N,) as int64 and scores (N,) as float64, once they are found sound.

    Raises:
        EvaluationError: they are empty, not one-dimensional, not numbers or of two lengths; a
            label is not 0 or 1; a score is NaN, infinite or outside [0, 1].
    """
    y, p = _numbers("y_true", y_true), _numbers("p1", p1)
    if len(y) != len(p):
        raise EvaluationError(f"y_true has {len(y)} labels but p1 has {len(p)} scores")
    if len(y) == 0:
        raise EvaluationError("there are no films: y_true and p1 are empty")
    for name, values, sound, expected in (
        ("y_true", y, (y == 0) | (y == 1), "0 or 1"),
        ("p1", p, (p >= 0) & (p <= 1), "a probability in [0, 1]"),
    ):
        if not sound.all():
            index = int(np.argmin(sound))
            raise EvaluationError(f"{name}[{index}] is {values[index]}; expected {expected}")
    return y.astype(np.int64), p


def _numbers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of unequal length
        raise EvaluationError(f"{name} is ragged; expected one number a film") from error
    if array.ndim != 1:
        raise EvaluationError(f"{name} has shape {array.shape}; expected one number a film")
    if array.dtype.kind not in "biuf":
        raise EvaluationError(f"{name} holds {array.dtype}; expected numbers")
    return array.astype(np.float64)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
