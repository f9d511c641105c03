"""The bootstrap over patients: one seeded draw that every interval and band shares.

Whole patients are drawn with replacement, for films of one patient resemble each other. The draw
is not stratified by class: how many of the drawn patients are sick is chance too, on which
average precision depends, and a patient may have films of both classes.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.intervals import CONFIDENCE, Interval
from pneumoscope.evaluation.operating_point import check_scores
from pneumoscope.evaluation.ranking import Floats, Ints, Ranking, auroc

NUM_RESAMPLES = 2000
_TAILS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
_MAX_WEIGHTS = 2_000_000
"""Films times resamples held at once: 16 MB a matrix."""


def resample(
    patient_id: npt.ArrayLike,
    statistic: Callable[[Ints], Floats],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Floats:
    """Returns a statistic under every resample, shape (num_resamples, ...).

    Two calls with the same patients and seed see the same draws, in whatever order the films
    are: differences between models can be taken resample by resample.

    Args:
        patient_id: the patient of each film, of shape (N,).
        statistic: called with film weights of shape (B, N), how often each film was drawn in B
            resamples; returns B rows. NaN marks a resample for which it is not defined.
        num_resamples: how many times the patients are drawn.
        seed: of the random draw.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3;
        whole clusters as in Field and Welsh, J. R. Stat. Soc. B 69 (2007) 369-390.
    """
    patients, patient_of_film = np.unique(np.asarray(patient_id), return_inverse=True)
    rng = np.random.default_rng(seed)
    equal_odds = np.full(len(patients), 1 / len(patients))
    chunk = max(1, _MAX_WEIGHTS // len(patient_of_film))
    values = []
    for start in range(0, num_resamples, chunk):
        size = min(chunk, num_resamples - start)
        draws = rng.multinomial(len(patients), equal_odds, size=size)
        values.append(statistic(draws[:, patient_of_film]))
    return np.concatenate(values)


def resampled_means(
    values: npt.ArrayLike,
    patient_id: npt.ArrayLike,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Floats:
    """Returns the means of K values a film under every resample, shape (num_resamples, K).

    Recall is the mean, over PNEUMONIA films, of whether a film was called; a difference between
    two models is the difference of their columns.

    Args:
        values: numbers of shape (N, K).
        patient_id: the patient of each film, of shape (N,).
        num_resamples: how many times the patients are drawn.
        seed: of the random draw.
    """
    columns = np.asarray(values, dtype=np.float64)
    return resample(
        patient_id,
        lambda weights: weights @ columns / weights.sum(axis=1, keepdims=True),
        num_resamples=num_resamples,
        seed=seed,
    )


def mean_interval(
    values: npt.ArrayLike,
    patient_id: npt.ArrayLike,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Returns the 95 % percentile interval of the mean of one value a film, over patients.

    Beside Wilson's interval of a recall or specificity it shows what repeated films of a patient
    cost. Near 0 and 1 it is too narrow, and at 0 and 1 a point; ``None`` where the films are of
    fewer than two patients.

    Args:
        values: numbers of shape (N,), such as whether each PNEUMONIA film was called.
        patient_id: the patient of each film, of shape (N,).
        num_resamples: how many times the patients are drawn.
        seed: of the random draw.

    Example:
        >>> mean_interval([1, 1, 0, 1], ["a", "b", "c", "d"])
        [0.25, 1.0]
    """
    if len(np.unique(np.asarray(patient_id))) < 2:
        return None
    columns = np.asarray(values, dtype=np.float64)[:, np.newaxis]
    means = resampled_means(columns, patient_id, num_resamples=num_resamples, seed=seed)
    return percentile_interval(means[:, 0])


def percentile_interval(values: Floats) -> Interval:
    """Returns the 95 % percentile interval of resampled values (B,), NaN left out.

    ``None`` where no resample defines the statistic.
    """
    if np.isnan(values).all():
        return None
    return [float(bound) for bound in np.nanquantile(values, _TAILS)]


def percentile_band(curves: Floats) -> tuple[Floats, Floats] | None:
    """Returns the pointwise 95 % bounds (low, high) of resampled curves (B, G), each (G,).

    Rows with NaN are left out; ``None`` where no row is left. At each point 19 of 20 curves lie
    within; fewer do so everywhere at once.
    """
    defined = curves[~np.isnan(curves).any(axis=1)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, _TAILS, axis=0)
    return low, high


def varies(y_true: Ints, patient_id: npt.ArrayLike) -> bool:
    """Returns whether each class has films of two or more patients, so that a draw varies it.

    Raises:
        EvaluationError: there is not one patient a film.
    """
    patients = np.asarray(patient_id)
    if patients.shape != y_true.shape:
        raise EvaluationError(f"there are {len(y_true)} films but {patients.size} patient ids")
    return all(len(np.unique(patients[y_true == label])) >= 2 for label in (0, 1))


def auroc_interval(
    y_true: npt.ArrayLike,
    p1: npt.ArrayLike,
    patient_id: npt.ArrayLike,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Returns the 95 % percentile bootstrap interval of the AUROC, resampling whole patients.

    Resamples without both classes are dropped. ``None`` where a class has films of fewer than
    two patients: the draw could not vary it. Where the scores separate the classes perfectly
    every resample gives 1 and the interval is [1, 1], which shows the limit of the method and
    no certainty.

    Args:
        y_true: labels, 0 or 1, of shape (N,).
        p1: scores of class 1 in [0, 1], of shape (N,).
        patient_id: the patient of each film, of shape (N,).
        num_resamples: how many times the patients are drawn with replacement.
        seed: of the random draw; the same seed gives the same interval.

    Raises:
        EvaluationError: ``patient_id`` has another length, or as for
            :func:`~pneumoscope.evaluation.operating_point.check_scores`.

    Source: as for :func:`resample`.
    """
    y, p = check_scores(y_true, p1)
    if not varies(y, patient_id):
        return None
    ranking = Ranking.of(y, p)
    return percentile_interval(
        resample(
            patient_id,
            lambda weights: auroc(ranking.counts(weights)),
            num_resamples=num_resamples,
            seed=seed,
        )
    )
