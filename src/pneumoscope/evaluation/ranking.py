"""Films ranked by score, and what follows from the ranking when each film has a weight.

A resample of the bootstrap is a row of weights: how often each film was drawn. Everything here
works on many rows at once.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Counts(NamedTuple):
    """Weight of the films called PNEUMONIA at each of R thresholds, for B rows of weights.

    The thresholds are the distinct scores from high to low, so the last column holds all films.

    Attributes:
        tp: of the PNEUMONIA films among them, shape (B, R).
        fp: of the NORMAL films among them, shape (B, R).
    """

    tp: Ints
    fp: Ints


@dataclass(frozen=True, eq=False)
class Ranking:
    """N films in order of falling score; films of one score stand or fall together.

    Attributes:
        order: indices of the films by falling score, shape (N,).
        positive: labels in that order, shape (N,).
        first: where in ``order`` each distinct score begins, shape (R,).
    """

    order: npt.NDArray[np.intp]
    positive: Ints
    first: npt.NDArray[np.intp]

    @classmethod
    def of(cls, y_true: Ints, p1: Floats) -> Self:
        """Returns the ranking of films with labels and scores of shape (N,)."""
        order = np.argsort(-p1, kind="stable")
        first = np.append(0, np.flatnonzero(np.diff(p1[order])) + 1)
        return cls(order, y_true[order], first)

    def counts(self, weights: Ints) -> Counts:
        """Returns the counts under rows of film weights of shape (B, N)."""
        ranked = weights[:, self.order]
        ranked_positive = ranked * self.positive
        tp = np.add.reduceat(ranked_positive, self.first, axis=1)
        fp = np.add.reduceat(ranked - ranked_positive, self.first, axis=1)
        return Counts(np.cumsum(tp, axis=1), np.cumsum(fp, axis=1))


def auroc(counts: Counts) -> Floats:
    """Returns the AUROC of each row, shape (B,); NaN where a class weighs 0.

    The AUROC is the share of (positive, negative) pairs in which the positive scores higher,
    a tie counting one half; all integer sums here are exact.
    """
    tp, fp = counts
    twice_won = np.sum(np.diff(fp, prepend=0, axis=1) * (tp + _shifted(tp)), axis=1)
    return _divide(twice_won, 2 * tp[:, -1] * fp[:, -1])


def average_precision(counts: Counts) -> Floats:
    """Returns the average precision of each row, shape (B,); NaN where no PNEUMONIA weighs.

    The precision at each threshold, weighted by the recall that the threshold adds, without
    interpolation: scikit-learn's ``average_precision_score``.
    """
    tp, fp = counts
    precision = tp / np.maximum(tp + fp, 1)
    return _divide(np.sum(np.diff(tp, prepend=0, axis=1) * precision, axis=1), tp[:, -1])


def roc_curve_at(counts: Counts, false_positive_rates: Floats) -> Floats:
    """Returns recall at false positive rates (G,) on each row's ROC curve, shape (B, G).

    Between thresholds the curve is straight; where it is upright its top counts. NaN where a
    class weighs 0.
    """
    rows = []
    for tp, fp in zip(*counts, strict=True):
        if tp[-1] and fp[-1]:
            rate, recall = np.append(0, fp / fp[-1]), np.append(0, tp / tp[-1])
            rows.append(np.interp(false_positive_rates, rate, recall))
        else:
            rows.append(np.full(len(false_positive_rates), np.nan))
    return np.array(rows)


def precision_recall_curve_at(counts: Counts, recalls: Floats) -> Floats:
    """Returns precision at recalls (G,) in (0, 1] on each row's curve, shape (B, G).

    The precision at the highest threshold that reaches the recall; there is no straight line
    between two thresholds of this curve. NaN where no PNEUMONIA film weighs.

    Source: Davis and Goadrich, Proc. 23rd ICML (2006) 233-240, on interpolation.
    """
    rows = []
    for tp, fp in zip(*counts, strict=True):
        if tp[-1]:
            # In films: as fractions, a recall just reached could seem missed by rounding.
            column = np.searchsorted(tp, np.ceil(recalls * tp[-1] - 1e-9))
            rows.append(tp[column] / (tp[column] + fp[column]))
        else:
            rows.append(np.full(len(recalls), np.nan))
    return np.array(rows)


def _shifted(cumulative: Ints) -> Ints:
    """Returns the sums before each column: one to the right, 0 in the first."""
    return np.pad(cumulative, ((0, 0), (1, 0)))[:, :-1]


def _divide(part: npt.NDArray[np.int64] | Floats, whole: Ints) -> Floats:
    """Returns the quotients, NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore"):
        quotient: Floats = part / whole
    return quotient
