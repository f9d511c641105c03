"""The threshold on its way from validation to test: what was promised and what it became."""

from collections.abc import Sequence
from dataclasses import dataclass

from pneumoscope.evaluation.intervals import (
    Interval,
    clopper_pearson_interval,
    wilson_interval,
)
from pneumoscope.evaluation.operating_point import (
    Summary,
    choose_threshold_by_min_recall,
    summarize_at_threshold,
)
from pneumoscope.evaluation.predictions import Predictions

TARGETS = (0.90, 0.95, 0.975, 0.99)


@dataclass(frozen=True)
class Realised:
    """What a threshold does on one set of films, with intervals that take films as independent.

    Attributes:
        summary: counts and fractions.
        recall_wilson: 95 %.
        recall_exact: 95 %, Clopper and Pearson's.
        specificity_wilson: 95 %.
        specificity_exact: 95 %, Clopper and Pearson's.
    """

    summary: Summary
    recall_wilson: Interval
    recall_exact: Interval
    specificity_wilson: Interval
    specificity_exact: Interval


@dataclass(frozen=True)
class Target:
    """One recall to reach: its threshold, and what that does on validation and on test."""

    min_recall: float
    threshold: float
    val: Realised
    test: Realised


def realise(films: Predictions, threshold: float) -> Realised:
    """Returns what a threshold does on films."""
    summary = summarize_at_threshold(films.y_true, films.p_pneumonia, threshold)
    recall = summary["tp"], summary["tp"] + summary["fn"]
    specificity = summary["tn"], summary["tn"] + summary["fp"]
    return Realised(
        summary,
        wilson_interval(*recall),
        clopper_pearson_interval(*recall),
        wilson_interval(*specificity),
        clopper_pearson_interval(*specificity),
    )


def try_targets(
    val: Predictions, test: Predictions, targets: Sequence[float] = TARGETS
) -> list[Target]:
    """Returns, for each recall to reach, the threshold chosen on ``val`` and what it becomes.

    ``targets`` are what could have been asked for. To read the row one likes best off the test
    figures would be to choose on the test films.

    Raises:
        EvaluationError: ``val`` has no PNEUMONIA.
    """
    found = []
    for min_recall in targets:
        threshold, _, _ = choose_threshold_by_min_recall(val.y_true, val.p_pneumonia, min_recall)
        found.append(
            Target(min_recall, threshold, realise(val, threshold), realise(test, threshold))
        )
    return found
