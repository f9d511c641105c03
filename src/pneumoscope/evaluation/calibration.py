"""Whether a score of 0.8 means 80 in 100: reliability, Brier score, recalibration.

Everything works on log-odds (the difference of the two logits), because probabilities near 1 lose
their last digits and log-odds do not.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit
from scipy.stats import norm

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.bootstrap import mean_interval
from pneumoscope.evaluation.intervals import CONFIDENCE, Interval, wilson_interval
from pneumoscope.evaluation.operating_point import check_scores
from pneumoscope.evaluation.ranking import Floats, Ints

NUM_BINS = 10
NUM_DRAWS = 1000
"""How many times labels are drawn from the scores to see what ECE chance alone gives."""

TEMPERATURES = (0.05, 20.0)
"""Between these a temperature is looked for; at either end the fit says only "extreme"."""

_Z = float(norm.ppf((1 + CONFIDENCE) / 2))


@dataclass(frozen=True)
class Bin:
    """Films of neighbouring scores.

    Attributes:
        low: the lowest score among them.
        high: the highest.
        mean_score: what the scores promise.
        share: share of PNEUMONIA, what came true.
        interval: Wilson's, of ``share``.
        num_films: how many they are.
        num_pneumonia: how many of them are PNEUMONIA.
    """

    low: float
    high: float
    mean_score: float
    share: float
    interval: Interval
    num_films: int
    num_pneumonia: int


@dataclass(frozen=True)
class Brier:
    """The Brier score and what it is made of; ``score = reliability - resolution + uncertainty``.

    The identity holds up to ``within_bins``, what scores differ inside their bins.

    Attributes:
        score: mean squared difference of score and label, in [0, 1]; lower is better.
        interval: 95 %, by resampling patients.
        reliability: mean squared distance of promise and truth over the bins; 0 is calibrated.
        resolution: how far the bins' shares lie from the overall share; more is better.
        uncertainty: share x (1 - share), what a model without knowledge would score.
        within_bins: the rest.
    """

    score: float
    interval: Interval
    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float


@dataclass(frozen=True)
class Coefficient:
    """An estimate with its 95 % interval, films of one patient taken as alike."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Calibration:
    """How well scores are calibrated on one set of films.

    Attributes:
        bins: of equal mass, from low scores to high.
        ece: expected calibration error over the bins, in [0, 1].
        ece_by_chance: what perfectly calibrated scores would show here on average: with few films
            in a bin no model reaches 0.
        brier: the Brier score.
        slope: of the logistic recalibration, 1 where calibrated; below 1 scores are too extreme.
            None where a class is missing or the scores separate the classes.
        intercept: of the recalibration with slope 1, 0 where calibrated; below 0 scores are too
            high on the whole. None where a class is missing.
    """

    bins: tuple[Bin, ...]
    ece: float
    ece_by_chance: float
    brier: Brier
    slope: Coefficient | None
    intercept: Coefficient | None


def fit_temperature(y_true: npt.ArrayLike, log_odds: npt.ArrayLike) -> float:
    """Returns the temperature T that makes ``expit(log_odds / T)`` likeliest.

    Dividing by one positive number changes no ranking, so neither AUROC nor what a threshold
    (divided alike) decides. The answer lies in ``TEMPERATURES``: where the scores separate the
    classes the likelihood grows without end as T falls, and the lower end is returned; where
    they say nothing or the contrary, the upper.

    Args:
        y_true: labels, 0 or 1, of shape (N,).
        log_odds: log-odds of class 1, finite, of shape (N,).

    Raises:
        EvaluationError: a class is missing, or labels and log-odds are not sound.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (arXiv:1706.04599).

    Example:
        >>> y, x = [0, 0, 0, 1, 0, 1, 1, 1], np.array([-4, -4, -4, -4, 4, 4, 4, 4])
        >>> round(float(expit(4 / fit_temperature(y, x))), 3)
        0.75
    """
    y, x = _check(y_true, log_odds)
    if y.min() == y.max():
        raise EvaluationError(
            f"all {len(y)} films are of one class; a temperature needs both, fit it on other films"
        )

    def loss(log_temperature: float) -> float:
        return _negative_log_likelihood(y, x * math.exp(-log_temperature))

    low, high = map(math.log, TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
    ends = (loss(low), loss(high))
    if min(ends) <= loss(float(found.x)):
        return TEMPERATURES[0] if ends[0] <= ends[1] else TEMPERATURES[1]
    return math.exp(float(found.x))


def measure_calibration(
    y_true: npt.ArrayLike,
    log_odds: npt.ArrayLike,
    patient_id: npt.ArrayLike,
    *,
    num_bins: int = NUM_BINS,
    seed: int = 0,
) -> Calibration:
    """Returns how well ``expit(log_odds)`` is calibrated.

    Args:
        y_true: labels, 0 or 1, of shape (N,).
        log_odds: log-odds of class 1, finite, of shape (N,).
        patient_id: the patient of each film, of shape (N,).
        num_bins: how many bins at most; films of one score stay together.
        seed: of the draw behind ``ece_by_chance``.

    Raises:
        EvaluationError: labels, log-odds and patients are not sound.

    Source: bins and ECE as in Nguyen and O'Connor, EMNLP 2015 (equal mass); the decomposition is
        Murphy's, J. Appl. Meteorol. 12 (1973) 595-600, its rest as in Stephenson et al., Weather
        Forecast. 23 (2008) 752-757; slope and intercept as in Van Calster et al., BMC Med. 17
        (2019) 230.
    """
    y, x = _check(y_true, log_odds)
    patients = np.asarray(patient_id)
    if patients.shape != y.shape:
        raise EvaluationError(f"there are {len(y)} films but {patients.size} patient ids")
    p = expit(x)
    starts = _bin_starts(p, num_bins)
    order = np.argsort(p, kind="stable")
    both = 0 < y.sum() < len(y)
    return Calibration(
        bins=_bins(y[order], p[order], starts),
        ece=float(_ece(y[order][np.newaxis], p[order], starts)[0]),
        ece_by_chance=_ece_by_chance(p[order], starts, seed),
        brier=_brier(y[order], p[order], starts, patients[order]),
        slope=_slope(y, x, patients) if both else None,
        intercept=_intercept(y, x, patients) if both else None,
    )


def _check(y_true: npt.ArrayLike, log_odds: npt.ArrayLike) -> tuple[Ints, Floats]:
    x = np.asarray(log_odds, dtype=np.float64)
    if not np.isfinite(x).all():
        raise EvaluationError(
            f"log_odds[{int(np.argmin(np.isfinite(x)))}] is not finite; expected finite numbers"
        )
    y, _ = check_scores(y_true, expit(x))
    return y, x


def _bin_starts(p: Floats, num_bins: int) -> npt.NDArray[np.intp]:
    """Returns where the bins of equal mass begin among sorted scores; equal scores stay together.

    A bin that ties leave empty is dropped.
    """
    ranked = np.sort(p)
    wanted = np.arange(num_bins) * len(p) // num_bins
    return np.unique(np.searchsorted(ranked, ranked[wanted], side="left"))


def _bins(y: Ints, p: Floats, starts: npt.NDArray[np.intp]) -> tuple[Bin, ...]:
    ends = np.append(starts[1:], len(p))
    return tuple(
        Bin(
            low=float(p[start]),
            high=float(p[end - 1]),
            mean_score=float(p[start:end].mean()),
            share=float(y[start:end].mean()),
            interval=wilson_interval(int(y[start:end].sum()), int(end - start)),
            num_films=int(end - start),
            num_pneumonia=int(y[start:end].sum()),
        )
        for start, end in zip(starts, ends, strict=True)
    )


def _ece(y: Ints, p: Floats, starts: npt.NDArray[np.intp]) -> Floats:
    """Returns the calibration error of each row of labels (B, N) under sorted scores (N,)."""
    gaps = np.add.reduceat(y - p, starts, axis=1)
    errors: Floats = np.abs(gaps).sum(axis=1) / len(p)
    return errors


def _ece_by_chance(p: Floats, starts: npt.NDArray[np.intp], seed: int) -> float:
    """Returns the mean error when labels are drawn from the scores; a block of draws at a time."""
    rng = np.random.default_rng(seed)
    block = max(1, 2_000_000 // len(p))
    errors = [
        _ece((rng.random((min(block, NUM_DRAWS - done), len(p))) < p).astype(np.int64), p, starts)
        for done in range(0, NUM_DRAWS, block)
    ]
    return float(np.concatenate(errors).mean())


def _brier(
    y: Ints, p: Floats, starts: npt.NDArray[np.intp], patients: npt.NDArray[np.str_]
) -> Brier:
    sizes = np.diff(np.append(starts, len(p)))
    promised = np.add.reduceat(p, starts) / sizes
    came_true = np.add.reduceat(y, starts) / sizes
    overall = y.mean()
    score = float(np.mean((p - y) ** 2))
    reliability = float(np.average((promised - came_true) ** 2, weights=sizes))
    resolution = float(np.average((came_true - overall) ** 2, weights=sizes))
    uncertainty = float(overall * (1 - overall))
    return Brier(
        score=score,
        interval=mean_interval((p - y) ** 2, patients),
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        within_bins=score - (reliability - resolution + uncertainty),
    )


def _slope(y: Ints, x: Floats, patients: npt.NDArray[np.str_]) -> Coefficient | None:
    separated = x[y == 1].min() >= x[y == 0].max() or x[y == 1].max() <= x[y == 0].min()
    if separated or x.min() == x.max():
        return None
    # In units of the standard deviation the fit is well scaled, however large the logits are.
    centre, scale = float(x.mean()), float(x.std())
    design = np.stack([np.ones_like(x), (x - centre) / scale], axis=1)
    fitted = _fit(y, design, np.zeros_like(x), patients)
    return Coefficient(
        fitted.value / scale, [bound / scale for bound in fitted.interval or []] or None
    )


def _intercept(y: Ints, x: Floats, patients: npt.NDArray[np.str_]) -> Coefficient:
    return _fit(y, np.ones((len(x), 1)), x, patients)


def _fit(y: Ints, design: Floats, offset: Floats, patients: npt.NDArray[np.str_]) -> Coefficient:
    """Returns the last coefficient of a logistic regression, its variance clustered by patient.

    Args:
        y: labels (N,).
        design: columns (N, K).
        offset: what is added to the linear predictor, (N,).
        patients: of each film, (N,).

    Source: the sandwich of Liang and Zeger, Biometrika 73 (1986) 13-22, without a small-sample
        factor.
    """

    def loss(beta: Floats) -> float:
        return _negative_log_likelihood(y, offset + design @ beta)

    def gradient(beta: Floats) -> Floats:
        slope: Floats = design.T @ (expit(offset + design @ beta) - y) / len(y)
        return slope

    def hessian(beta: Floats) -> Floats:
        p = expit(offset + design @ beta)
        curvature: Floats = (design.T * (p * (1 - p))) @ design / len(y)
        return curvature

    start = np.zeros(design.shape[1])
    found = minimize(
        loss, start, jac=gradient, hess=hessian, method="trust-exact", options={"gtol": 1e-10}
    )
    value = float(found.x[-1])
    residuals = design * (y - expit(offset + design @ found.x))[:, np.newaxis]
    _, cluster = np.unique(patients, return_inverse=True)
    if cluster.max() < design.shape[1]:  # as many patients as coefficients: nothing left to vary
        return Coefficient(value, None)
    sums = np.zeros((cluster.max() + 1, design.shape[1]))
    np.add.at(sums, cluster, residuals)
    try:
        bread = np.linalg.inv(hessian(found.x) * len(y))
    except np.linalg.LinAlgError:  # every score is 0 or 1: no curvature to measure anything by
        return Coefficient(value, None)
    error = math.sqrt(max(0.0, float((bread @ sums.T @ sums @ bread)[-1, -1])))
    return Coefficient(value, [value - _Z * error, value + _Z * error])


def _negative_log_likelihood(y: Ints, x: Floats) -> float:
    """Returns the mean cross-entropy of labels under log-odds ``x``, in nats."""
    return float(np.mean(np.logaddexp(0, np.where(y == 1, -x, x))))
