"""DeLong's variance of the AUROC, for one model or several on the same films.

With patient ids it is Obuchowski's extension, which allows the films of one patient to resemble
each other; where every film is a patient of its own, the two are the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import chi2, norm, rankdata

from pneumoscope.evaluation.bootstrap import varies
from pneumoscope.evaluation.intervals import CONFIDENCE, Interval
from pneumoscope.evaluation.operating_point import check_scores

Floats = npt.NDArray[np.float64]
_Z = float(norm.ppf((1 + CONFIDENCE) / 2))
_NO_VARIANCE = 1e-12
"""Share of the variances of its parts below which a variance is 0 but for rounding."""


@dataclass(frozen=True, eq=False)
class Aurocs:
    """AUROCs of M models on the same films, and how they vary together.

    Attributes:
        values: in [0, 1], shape (M,).
        covariance: of ``values``, over the choice of films or patients, shape (M, M).
    """

    values: Floats
    covariance: Floats


@dataclass(frozen=True)
class Difference:
    """The first AUROC less the second.

    Attributes:
        value: in [-1, 1].
        interval: 95 %, symmetric about ``value``.
        p_value: two-sided, of no difference. 1 where both models rank all films alike; this and
            the interval are ``None`` where they differ but nothing varies.
    """

    value: float
    interval: Interval
    p_value: float | None


@dataclass(frozen=True)
class Equality:
    """The test that all of several AUROCs are equal: chi-square on ``num_degrees`` of freedom."""

    statistic: float
    num_degrees: int
    p_value: float


def estimate_aurocs(
    y_true: npt.ArrayLike,
    scores: Sequence[npt.ArrayLike],
    patient_id: npt.ArrayLike | None = None,
) -> Aurocs | None:
    """Returns the models' AUROCs with their covariance; O(M N log N).

    ``None`` where a class has fewer than two films, or films of fewer than two patients.

    Args:
        y_true: labels, 0 or 1, of shape (N,).
        scores: scores in [0, 1] of shape (N,), one entry a model.
        patient_id: the patient of each film, of shape (N,); without it films are independent.

    Raises:
        EvaluationError: ``patient_id`` has another length, or as for
            :func:`~pneumoscope.evaluation.operating_point.check_scores`.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845, equations 4 and 5;
        by midranks as in Sun and Xu, IEEE Signal Process. Lett. 21 (2014) 1389-1393; patients as
        in Obuchowski, Biometrics 53 (1997) 567-578.

    Example:
        >>> found = estimate_aurocs([0, 0, 1, 1], [[0.1, 0.6, 0.4, 0.9]])
        >>> found.values.tolist(), found.covariance.tolist()
        ([0.75], [[0.125]])
    """
    checked = [check_scores(y_true, p1) for p1 in scores]
    y, p = checked[0][0], np.stack([p1 for _, p1 in checked])
    patients = np.arange(len(y)) if patient_id is None else np.asarray(patient_id)
    if not varies(y, patients):
        return None
    _, cluster = np.unique(patients, return_inverse=True)
    positive = y == 1
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(p, axis=1)
    # Of each film of one class: the share of films of the other class on its right side.
    won = (ranks[:, positive] - rankdata(p[:, positive], axis=1)) / num_negative
    lost = (ranks[:, ~positive] - rankdata(p[:, ~positive], axis=1)) / num_positive
    values = won.mean(axis=1, keepdims=True)
    of_positive = _sums(won - values, cluster[positive], cluster.max() + 1) / num_positive
    of_negative = _sums(1 - lost - values, cluster[~positive], cluster.max() + 1) / num_negative
    between = of_positive @ of_negative.T
    covariance = (
        _unbiased(len(np.unique(cluster[positive]))) * of_positive @ of_positive.T
        + _unbiased(len(np.unique(cluster[~positive]))) * of_negative @ of_negative.T
        + _unbiased(len(np.unique(cluster))) * (between + between.T)
    )
    return Aurocs(values[:, 0], covariance)


def interval_of(aurocs: Aurocs, model: int = 0) -> Interval:
    """Returns the 95 % interval of one AUROC, made on the logit scale so that it stays in [0, 1].

    ``None`` where the AUROC is 0 or 1: there the estimated variance is 0, the logit is infinite,
    and DeLong's method has nothing to say. Where all scores are equal it is [0.5, 0.5].

    Source: Pepe, The Statistical Evaluation of Medical Tests (2003), section 5.2.4, on the logit.
    """
    value = float(aurocs.values[model])
    if value in (0, 1):
        return None
    spread = _Z * math.sqrt(max(0.0, aurocs.covariance[model, model])) / (value * (1 - value))
    return [float(expit(logit(value) + side * spread)) for side in (-1, 1)]


def standard_error(aurocs: Aurocs, model: int = 0) -> float:
    """Returns the standard error of one AUROC."""
    return math.sqrt(max(0.0, aurocs.covariance[model, model]))


def difference(aurocs: Aurocs, first: int = 0, second: int = 1) -> Difference:
    """Returns how far the first model's AUROC lies above the second's, with DeLong's test.

    Source: DeLong et al. (1988), equation 6, for a contrast of two.
    """
    value = float(aurocs.values[first] - aurocs.values[second])
    pair = aurocs.covariance[np.ix_([first, second], [first, second])]
    variance = float(pair[0, 0] + pair[1, 1] - 2 * pair[0, 1])
    if variance <= _NO_VARIANCE * float(pair.trace()):
        return Difference(0.0, [0.0, 0.0], 1.0) if value == 0 else Difference(value, None, None)
    error = math.sqrt(variance)
    return Difference(
        value,
        [value - _Z * error, value + _Z * error],
        float(2 * norm.sf(abs(value) / error)),
    )


def equality(aurocs: Aurocs) -> Equality | None:
    """Returns the test that all models have one AUROC; ``None`` for fewer than two models.

    Also ``None`` where the differences do not vary freely, as when two models rank alike.

    Source: DeLong et al. (1988), equation 6.
    """
    num_degrees = len(aurocs.values) - 1
    if num_degrees < 1:
        return None
    contrast = np.hstack([np.ones((num_degrees, 1)), -np.eye(num_degrees)])
    covariance = contrast @ aurocs.covariance @ contrast.T
    spread = np.linalg.eigvalsh(covariance)
    if spread[0] <= _NO_VARIANCE * np.trace(aurocs.covariance):
        return None
    differences = contrast @ aurocs.values
    statistic = float(differences @ np.linalg.solve(covariance, differences))
    return Equality(statistic, num_degrees, float(chi2.sf(statistic, num_degrees)))


def _sums(components: Floats, cluster: npt.NDArray[np.intp], num_clusters: int) -> Floats:
    """Returns the sums of components (M, n) over each cluster, shape (M, num_clusters)."""
    sums = np.zeros((num_clusters, len(components)))
    np.add.at(sums, cluster, components.T)
    return sums.T


def _unbiased(num_clusters: int) -> float:
    return num_clusters / (num_clusters - 1)
