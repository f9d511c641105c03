"""Other ways to a threshold than the frozen rule, to be measured against it.

None of them decides anything in the project; ``docs/thresholds.md`` says how they did on validation
films and why the rule of :mod:`~pneumoscope.evaluation.operating_point` stays.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import beta

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.operating_point import check_scores, choose_threshold_by_min_recall

_EDGE = 1e-12
"""Scores are kept this far from 0 and 1 where their log odds are taken."""


def threshold_by_recall_bound(
    y_true: npt.ArrayLike, p1: npt.ArrayLike, min_recall: float = 0.95, confidence: float = 0.95
) -> float:
    """Returns the highest threshold at which one is sure that recall reaches ``min_recall``.

    Sure means that the one-sided Clopper-Pearson lower bound of recall does. Films count as
    independent.

    Args:
        y_true: labels, 0 or 1, of shape (N,).
        p1: scores of class 1 in [0, 1], of shape (N,).
        min_recall: in (0, 1).
        confidence: of the bound, in (0, 1).

    Raises:
        EvaluationError: even with every positive called the bound stays below ``min_recall``.
    """
    y, p = check_scores(y_true, p1)
    ranked = np.sort(p[y == 1])[::-1]
    num_found = np.arange(1, len(ranked) + 1)
    bound = beta.ppf(1 - confidence, num_found, len(ranked) - num_found + 1)
    reaching = np.flatnonzero(bound >= min_recall)
    if len(reaching) == 0:
        raise EvaluationError(
            f"{len(ranked)} positives are too few to be sure of recall {min_recall}; give more "
            "films or a lower target"
        )
    return float(ranked[reaching[0]])


def out_of_fold_threshold(
    y_true: npt.ArrayLike,
    p1: npt.ArrayLike,
    patient_id: npt.ArrayLike,
    min_recall: float = 0.95,
    num_folds: int = 5,
    seed: int = 0,
) -> float:
    """Returns the median of the frozen rule's thresholds, each without one fold of patients.

    Args:
        y_true: labels, 0 or 1, of shape (N,).
        p1: scores of class 1 in [0, 1], of shape (N,).
        patient_id: the patient of each film, of shape (N,).
        min_recall: the recall to reach.
        num_folds: into how many the patients are dealt out.
        seed: of the dealing.

    Raises:
        EvaluationError: as for ``choose_threshold_by_min_recall``.
    """
    y, p = check_scores(y_true, p1)
    patients, patient_of_film = np.unique(np.asarray(patient_id), return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(patients))[patient_of_film] % num_folds
    thresholds = [
        choose_threshold_by_min_recall(y[fold != left_out], p[fold != left_out], min_recall)[0]
        for left_out in range(num_folds)
    ]
    return float(np.median(thresholds))


def scale_by_temperature(
    p1: npt.NDArray[np.float64], temperature: float
) -> npt.NDArray[np.float64]:
    """Returns the scores with their log odds divided by ``temperature``.

    The order of the films stays, so a threshold that moves along decides as before.
    """
    scaled: npt.NDArray[np.float64] = expit(_log_odds(p1) / temperature)
    return scaled


def estimate_prevalence(p1: npt.NDArray[np.float64], prevalence: float) -> float:
    """Returns the share of positives among unlabelled films, by expectation maximisation.

    Right where only that share changed since the scores were calibrated, and wrong where the
    films look otherwise.

    Args:
        p1: calibrated scores of the films, of shape (N,).
        prevalence: the share of positives for which they are calibrated, in (0, 1).

    Source: Saerens, Latinne & Decaestecker, Neural Computation 14 (2002) 21-41, equation 2.9.
    """
    estimate = prevalence
    for _ in range(1000):
        previous, estimate = estimate, float(np.mean(to_prevalence(p1, prevalence, estimate)))
        estimate = min(max(estimate, _EDGE), 1 - _EDGE)
        if abs(estimate - previous) < 1e-9:
            break
    return estimate


def to_prevalence(
    p1: npt.NDArray[np.float64], prevalence: float, other: float
) -> npt.NDArray[np.float64]:
    """Returns scores that are calibrated for ``prevalence`` as they are for the ``other`` one.

    Source: Saerens et al., equation 2.4.
    """
    moved: npt.NDArray[np.float64] = expit(_log_odds(p1) + logit(other) - logit(prevalence))
    return moved


def _log_odds(p1: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    odds: npt.NDArray[np.float64] = logit(np.clip(p1, _EDGE, 1 - _EDGE))
    return odds
