"""What a decision means for one child: likelihood ratios, and predictive values by prevalence."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.intervals import CONFIDENCE, Interval
from pneumoscope.evaluation.operating_point import Summary

PREVALENCES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
_Z = float(norm.ppf((1 + CONFIDENCE) / 2))


@dataclass(frozen=True)
class LikelihoodRatios:
    """By what the odds of PNEUMONIA are multiplied when a film is called, or cleared.

    Attributes:
        positive: recall / (1 - specificity); None where nothing healthy is called, which makes it
            infinite, or nothing at all, which leaves it undefined.
        positive_interval: 95 %; None where nothing at all is called. Where the ratio is infinite
            only its lower end means something.
        negative: (1 - recall) / specificity; None in the same way where nothing healthy is cleared.
        negative_interval: 95 %; None where nothing at all is cleared.
    """

    positive: float | None
    positive_interval: Interval
    negative: float | None
    negative_interval: Interval


@dataclass(frozen=True)
class PredictiveValues:
    """What a decision is worth where a share ``prevalence`` of the children has PNEUMONIA.

    Attributes:
        prevalence: in (0, 1).
        ppv: share of PNEUMONIA among the called; None where nothing is called.
        ppv_interval: 95 %.
        npv: share of NORMAL among the cleared; None where everything is called.
        npv_interval: 95 %.
        alarms: films called of 1,000 screened.
        false_alarms: of these, NORMAL.
        missed: PNEUMONIA cleared of 1,000 screened.
    """

    prevalence: float
    ppv: float | None
    ppv_interval: Interval
    npv: float | None
    npv_interval: Interval
    alarms: float
    false_alarms: float
    missed: float


def likelihood_ratios(summary: Summary) -> LikelihoodRatios | None:
    """Returns the likelihood ratios of a confusion matrix; ``None`` where a class is missing.

    Intervals are symmetric for the logarithm. Where one of the four counts is 0, one half is added
    to each for the interval alone, which is then widened to hold the ratio itself.

    Source: Simel, Samsa and Matchar, J. Clin. Epidemiol. 44 (1991) 763-770.

    Example:
        >>> from pneumoscope.evaluation.operating_point import summarize_counts
        >>> counts = summarize_counts(tp=90, fp=20, fn=10, tn=80, auroc=0.9, thr=0.5)
        >>> found = likelihood_ratios(counts)
        >>> round(found.positive, 3), [round(bound, 2) for bound in found.positive_interval]
        (4.5, [3.02, 6.7])
    """
    tp, fn, fp, tn = (summary[count] for count in ("tp", "fn", "fp", "tn"))
    if not (tp + fn and fp + tn):
        return None
    return LikelihoodRatios(
        positive=_ratio(tp, tp + fn, fp, fp + tn),
        positive_interval=_ratio_interval(tp, fn, fp, tn),
        negative=_ratio(fn, tp + fn, tn, fp + tn),
        negative_interval=_ratio_interval(fn, tp, tn, fp),
    )


def predictive_values(summary: Summary, prevalence: float) -> PredictiveValues | None:
    """Returns what decisions mean at another prevalence; ``None`` where a class is missing.

    Recall and specificity are taken to stay what they are, which is the hope and not the rule:
    where disease is rarer it is often milder, and harder to see.

    Args:
        summary: counts at the threshold.
        prevalence: share of PNEUMONIA among those screened, in (0, 1).

    Raises:
        EvaluationError: ``prevalence`` is not in (0, 1).

    Source: Bayes' theorem in odds; the intervals are those of the likelihood ratios carried
        through it, as in Mercaldo, Lau and Zhou, Stat. Med. 26 (2007) 2170-2183.
    """
    if not 0 < prevalence < 1:
        raise EvaluationError(f"the prevalence is {prevalence}; expected a number in (0, 1)")
    ratios = likelihood_ratios(summary)
    recall, specificity = summary["recall"], summary["specificity"]
    if ratios is None or recall is None or specificity is None:
        return None
    odds = prevalence / (1 - prevalence)
    false_alarms = 1000 * (1 - prevalence) * (1 - specificity)
    # Counted in children rather than by the ratio, which is infinite without false alarms.
    found, cleared = prevalence * recall, (1 - prevalence) * specificity
    called, not_called = found + false_alarms / 1000, cleared + prevalence * (1 - recall)
    ppv = found / called if called else None
    npv = cleared / not_called if not_called else None
    return PredictiveValues(
        prevalence=prevalence,
        ppv=ppv,
        ppv_interval=_holding(ppv, _carried(ratios.positive_interval, odds)),
        npv=npv,
        npv_interval=_holding(npv, _complement(_carried(ratios.negative_interval, odds))),
        alarms=1000 * prevalence * recall + false_alarms,
        false_alarms=false_alarms,
        missed=1000 * prevalence * (1 - recall),
    )


def _ratio(hits: int, cases: int, other_hits: int, other_cases: int) -> float | None:
    return (hits / cases) / (other_hits / other_cases) if other_hits else None


def _ratio_interval(hits: int, misses: int, other_hits: int, other_misses: int) -> Interval:
    if not hits and not other_hits:
        return None
    counts = np.array([hits, misses, other_hits, other_misses], dtype=np.float64)
    if not counts.all():
        counts += 0.5
    a, b, c, d = counts.tolist()
    centre = math.log((a / (a + b)) / (c / (c + d)))
    spread = _Z * math.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))
    interval = [math.exp(centre - spread), math.exp(centre + spread)]
    ratio = _ratio(hits, hits + misses, other_hits, other_hits + other_misses)
    return interval if ratio is None else [min(interval[0], ratio), max(interval[1], ratio)]


def _holding(value: float | None, interval: Interval) -> Interval:
    """Returns the interval, widened to hold its value; ``None`` where there is no value."""
    if value is None or interval is None:
        return None
    return [min(interval[0], value), max(interval[1], value)]


def _share(odds: float) -> float:
    return odds / (1 + odds)


def _carried(interval: Interval, odds: float) -> Interval:
    return interval and [_share(odds * bound) for bound in interval]


def _complement(interval: Interval) -> Interval:
    return interval and [1 - interval[1], 1 - interval[0]]
