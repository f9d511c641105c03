"""Decision curves: is acting on the model better than treating everyone, or no one?

A net benefit weighs a false alarm by the odds of the probability at which one would just act: who
would treat at 1 in 10 counts nine false alarms as one child found.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.bootstrap import NUM_RESAMPLES, percentile_band, resample
from pneumoscope.evaluation.operating_point import check_scores
from pneumoscope.evaluation.ranking import Floats, Ints

THRESHOLD_PROBABILITIES = np.arange(1, 100) / 100


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit over threshold probabilities (G,), in found films a film screened.

    Attributes:
        threshold_probability: at which one would just act, in (0, 1).
        rule: of acting on the frozen decision, whatever the probability.
        rule_band: (low, high) of it, pointwise 95 %, by resampling patients; None where the
            films are of fewer than two patients.
        scores: of acting where the score reaches the threshold probability itself.
        treat_all: of acting on everyone; acting on no one gives 0.
    """

    threshold_probability: Floats
    rule: Floats
    rule_band: tuple[Floats, Floats] | None
    scores: Floats
    treat_all: Floats

    def useful_range(self) -> tuple[float, float] | None:
        """Returns where the frozen decision beats treating everyone and no one.

        The lowest and the highest threshold probability of the grid; the net benefits are
        straight lines over the odds, so there is one such range. ``None`` where there is none.
        """
        better = self.rule > np.maximum(self.treat_all, 0)
        at = self.threshold_probability[better]
        return (float(at[0]), float(at[-1])) if len(at) else None


def measure_decision_curve(
    y_true: npt.ArrayLike,
    p1: npt.ArrayLike,
    patient_id: npt.ArrayLike,
    threshold: float,
    *,
    prevalence: float | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> DecisionCurve | None:
    """Returns the decision curve of a model; ``None`` where a class is missing.

    Args:
        y_true: labels, 0 or 1, of shape (N,).
        p1: scores of class 1 in [0, 1], of shape (N,).
        patient_id: the patient of each film, of shape (N,).
        threshold: the frozen recall-first threshold.
        prevalence: the share of PNEUMONIA to weigh the classes to, in (0, 1); that of the films
            where it is not given. The scores themselves are not corrected for it.
        num_resamples: how many times the patients are drawn.
        seed: of the random draw.

    Raises:
        EvaluationError: ``prevalence`` is not in (0, 1), or as for
            :func:`~pneumoscope.evaluation.operating_point.check_scores`.

    Source: Vickers and Elkin, Med. Decis. Making 26 (2006) 565-574; other prevalences as in
        Vickers et al., BMC Med. Inform. Decis. Mak. 8 (2008) 53, where sampling is by outcome.
    """
    y, p = check_scores(y_true, p1)
    if prevalence is not None and not 0 < prevalence < 1:
        raise EvaluationError(f"the prevalence is {prevalence}; expected a number in (0, 1)")
    if y.min() == y.max():
        return None
    odds = THRESHOLD_PROBABILITIES / (1 - THRESHOLD_PROBABILITIES)
    called = p >= threshold

    def rule(weights: Ints) -> Floats:
        return _net_benefit(weights, y, called[:, np.newaxis], odds, prevalence)

    once = np.ones((1, len(y)), dtype=np.int64)
    at_score = p[:, np.newaxis] >= THRESHOLD_PROBABILITIES
    has_patients = len(np.unique(np.asarray(patient_id))) > 1
    return DecisionCurve(
        threshold_probability=THRESHOLD_PROBABILITIES,
        rule=rule(once)[0],
        rule_band=percentile_band(
            resample(patient_id, rule, num_resamples=num_resamples, seed=seed)
        )
        if has_patients
        else None,
        scores=_net_benefit(once, y, at_score, odds, prevalence)[0],
        treat_all=_net_benefit(once, y, np.full((len(y), 1), True), odds, prevalence)[0],
    )


def _net_benefit(
    weights: Ints, y: Ints, called: npt.NDArray[np.bool_], odds: Floats, prevalence: float | None
) -> Floats:
    """Returns the net benefit under rows of film weights (B, N) at every odds (G,), (B, G).

    Args:
        weights: how often each film counts, (B, N).
        y: labels (N,).
        called: whether a film is acted on, (N, G), or (N, 1) where that is the same everywhere.
        odds: of the threshold probabilities, (G,).
        prevalence: to weigh the classes to; the films' own where None.
    """
    positive, negative = weights * y, weights * (1 - y)
    with np.errstate(invalid="ignore"):  # a resample without a class has no net benefit
        recall = positive @ called / positive.sum(axis=1, keepdims=True)
        false_alarms = negative @ called / negative.sum(axis=1, keepdims=True)
    share = positive.sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    if prevalence is not None:
        share = np.full_like(share, prevalence)
    benefit: Floats = share * recall - (1 - share) * false_alarms * odds
    return benefit
