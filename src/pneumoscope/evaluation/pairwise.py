"""Models compared in pairs on the same films, and the spread of seeds beside sampling error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, chi2

from pneumoscope.evaluation.bootstrap import (
    percentile_interval,
    resample,
    resampled_means,
    varies,
)
from pneumoscope.evaluation.delong import Aurocs, Difference, difference, estimate_aurocs
from pneumoscope.evaluation.intervals import CONFIDENCE, Interval
from pneumoscope.evaluation.operating_point import check_scores
from pneumoscope.evaluation.ranking import Floats, Ints, Ranking, auroc


@dataclass(frozen=True)
class AurocComparison:
    """The AUROC of the first model less that of the second.

    Attributes:
        by_film: DeLong's test with films as independent; None where a class has one film.
        by_patient: the same with films of one patient as alike; None where a class has films of
            one patient only.
        bootstrap: 95 % interval of the difference by resampling patients.
        p_holm: the p value of ``by_patient``, corrected for the number of pairs.
    """

    by_film: Difference | None
    by_patient: Difference | None
    bootstrap: Interval
    p_holm: float | None


@dataclass(frozen=True)
class DecisionComparison:
    """A share of right decisions, each model at its own threshold: first less second.

    Attributes:
        value: the difference, in [-1, 1]; None where there is no such film.
        interval: 95 %, by resampling patients; None where there are fewer than two.
        only_first: films that only the first model decides rightly.
        only_second: films that only the second decides rightly.
        p_value: McNemar's exact test, films as independent.
        p_holm: the same, corrected for the number of pairs.
    """

    value: float | None
    interval: Interval
    only_first: int
    only_second: int
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True)
class Pair:
    """Two models on the same films; ``first`` and ``second`` are their places in the list."""

    first: int
    second: int
    auroc: AurocComparison
    recall: DecisionComparison
    specificity: DecisionComparison
    accuracy: DecisionComparison


@dataclass(frozen=True)
class SeedSpread:
    """How a figure varies from seed to seed, apart from the choice of test films.

    Attributes:
        mean: over the seeds.
        sd: between the seeds (n - 1), on the same films.
        sd_interval: 95 % interval of the sd if seeds spread normally; wide for few seeds.
        sampling_error: standard error of one seed's figure over the choice of patients, root
            mean square over the seeds; None where there are fewer than two patients.
    """

    mean: float
    sd: float
    sd_interval: Interval
    sampling_error: float | None


def compare_pairs(
    y_true: npt.ArrayLike,
    patient_id: npt.ArrayLike,
    scores: Sequence[npt.ArrayLike],
    thresholds: Sequence[float],
    pairs: Sequence[tuple[int, int]],
) -> list[Pair]:
    """Returns each pair of models compared by AUROC and at their thresholds.

    Holm's correction is made over the pairs, for each of the four figures on its own.

    Args:
        y_true: labels of the films, 0 or 1, of shape (N,).
        patient_id: their patients, of shape (N,).
        scores: scores in [0, 1] of shape (N,), one entry a model.
        thresholds: the models' thresholds; a film is called where its score reaches it.
        pairs: places of two models in ``scores``.

    Raises:
        EvaluationError: ``patient_id`` has another length, or as for
            :func:`~pneumoscope.evaluation.operating_point.check_scores`.
    """
    checked = [check_scores(y_true, p1) for p1 in scores]
    y, p = checked[0][0], np.stack([p1 for _, p1 in checked])
    patients = np.asarray(patient_id)
    right = ((p >= np.asarray(thresholds)[:, np.newaxis]) == (y == 1)).T
    aurocs = _compare_aurocs(y, p, patients, pairs)
    recalls, specificities, accuracies = (
        _compare_decisions(right[among], patients[among], pairs)
        for among in (y == 1, y == 0, np.full(len(y), True))
    )
    return [
        Pair(first, second, *figures)
        for (first, second), figures in zip(
            pairs, zip(aurocs, recalls, specificities, accuracies, strict=True), strict=True
        )
    ]


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Returns the two-sided p value of McNemar's exact test; 1 where the models never differ.

    Args:
        only_first: films that only the first model decides rightly.
        only_second: films that only the second decides rightly.

    Source: McNemar, Psychometrika 12 (1947) 153-157, with the binomial in place of chi-square.

    Example:
        >>> mcnemar_p_value(1, 7)
        0.0703125
    """
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Returns p values corrected for testing all of them; ``None`` is left out and stays.

    Source: Holm, Scand. J. Stat. 6 (1979) 65-70.

    Example:
        >>> holm([0.01, None, 0.04, 0.03])
        [0.03, None, 0.06, 0.06]
    """
    ranked = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - rank) * p))
        corrected[index] = largest
    return corrected


def seed_spread(values: Sequence[float], errors: Sequence[float] | None) -> SeedSpread:
    """Returns mean and spread of one figure over the seeds of a recipe.

    Args:
        values: the figure of each seed on the same films, two or more.
        errors: its standard error for each seed, over the choice of patients; None where that
            cannot be told.
    """
    num_degrees = len(values) - 1
    sd = float(np.std(values, ddof=1))
    tails = chi2.ppf([(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2], num_degrees)
    return SeedSpread(
        mean=float(np.mean(values)),
        sd=sd,
        sd_interval=[sd * math.sqrt(num_degrees / tail) for tail in tails],
        sampling_error=None if errors is None else float(np.sqrt(np.mean(np.square(errors)))),
    )


def _compare_aurocs(
    y: Ints, p: Floats, patients: npt.NDArray[Any], pairs: Sequence[tuple[int, int]]
) -> list[AurocComparison]:
    by_film, by_patient = (
        _differences(estimate_aurocs(y, list(p), ids), pairs) for ids in (None, patients)
    )
    corrected = holm([test.p_value if test else None for test in by_patient])
    bootstrap: list[Interval] = [None] * len(pairs)
    if varies(y, patients):
        rankings = [Ranking.of(y, p1) for p1 in p]
        resampled = resample(
            patients,
            lambda weights: np.column_stack([auroc(r.counts(weights)) for r in rankings]),
        )
        bootstrap = [percentile_interval(resampled[:, i] - resampled[:, j]) for i, j in pairs]
    return [
        AurocComparison(*figures)
        for figures in zip(by_film, by_patient, bootstrap, corrected, strict=True)
    ]


def _differences(
    aurocs: Aurocs | None, pairs: Sequence[tuple[int, int]]
) -> Sequence[Difference | None]:
    return [difference(aurocs, *pair) if aurocs else None for pair in pairs]


def _compare_decisions(
    right: npt.NDArray[np.bool_], patients: npt.NDArray[Any], pairs: Sequence[tuple[int, int]]
) -> list[DecisionComparison]:
    """Returns the pairs compared by ``right`` (N, M): whether a model decides a film rightly."""
    num_films = len(right)
    if not num_films:
        return [DecisionComparison(None, None, 0, 0, None, None) for _ in pairs]
    bootstrap: list[Interval] = [None] * len(pairs)
    if len(np.unique(patients)) > 1:
        resampled = resampled_means(right, patients)
        bootstrap = [percentile_interval(resampled[:, i] - resampled[:, j]) for i, j in pairs]
    only = [
        (int(np.sum(right[:, i] & ~right[:, j])), int(np.sum(right[:, j] & ~right[:, i])))
        for i, j in pairs
    ]
    p_values = [mcnemar_p_value(*discordant) for discordant in only]
    return [
        DecisionComparison((first - second) / num_films, interval, first, second, p_value, p_holm)
        for (first, second), interval, p_value, p_holm in zip(
            only, bootstrap, p_values, holm(p_values), strict=True
        )
    ]
