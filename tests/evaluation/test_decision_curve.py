"""Net benefit against its definition, film by film, and against treating all or no one."""

import numpy as np
import pytest

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.decision_curve import (
    THRESHOLD_PROBABILITIES,
    measure_decision_curve,
)


@pytest.fixture(scope="module")
def films():
    rng = np.random.default_rng(5)
    y = (rng.random(300) < 0.6).astype(int)
    p = np.clip(0.5 * y + 0.6 * rng.random(300) - 0.05, 0, 1)
    return y, p, np.arange(300) // 2


def by_definition(y, called, probability, prevalence=None):
    """Vickers and Elkin's formula, each class weighed to its share of the population."""
    share = y.mean() if prevalence is None else prevalence
    recall, false_alarms = called[y == 1].mean(), called[y == 0].mean()
    return share * recall - (1 - share) * false_alarms * probability / (1 - probability)


@pytest.mark.parametrize("prevalence", [None, 0.1, 0.6])
def test_it_is_the_definition(films, prevalence):
    y, p, patients = films
    curve = measure_decision_curve(y, p, patients, 0.4, prevalence=prevalence, num_resamples=10)
    for at, probability in enumerate(THRESHOLD_PROBABILITIES):
        expected = (
            by_definition(y, p >= 0.4, probability, prevalence),
            by_definition(y, p >= probability, probability, prevalence),
            by_definition(y, np.full(len(y), True), probability, prevalence),
        )
        assert (curve.rule[at], curve.scores[at], curve.treat_all[at]) == pytest.approx(expected)


def test_in_counts_it_is_the_textbooks_formula(films):
    y, p, patients = films
    curve = measure_decision_curve(y, p, patients, 0.4, num_resamples=10)
    tp, fp = np.sum((p >= 0.4) & (y == 1)), np.sum((p >= 0.4) & (y == 0))
    at = int(np.argmin(abs(THRESHOLD_PROBABILITIES - 0.2)))
    assert curve.rule[at] == pytest.approx(tp / 300 - fp / 300 * 0.25)


def test_treating_all_gains_nothing_at_the_prevalence(films):
    y, p, patients = films
    curve = measure_decision_curve(y, p, patients, 0.4, prevalence=0.3, num_resamples=10)
    assert curve.treat_all[29] == pytest.approx(0, abs=1e-12)
    assert (np.diff(curve.treat_all) < 0).all()


def test_the_useful_range_is_where_the_rule_beats_both(films):
    y, p, patients = films
    curve = measure_decision_curve(y, p, patients, 0.4, num_resamples=10)
    low, high = curve.useful_range()
    better = (curve.rule > curve.treat_all) & (curve.rule > 0)
    assert [low, high] == THRESHOLD_PROBABILITIES[better][[0, -1]].tolist()
    assert better[int(100 * low) - 1 : int(100 * high)].all()  # one range, without holes


def test_a_rule_that_calls_all_is_never_better_than_treating_all(films):
    y, p, patients = films
    assert measure_decision_curve(y, p, patients, 0.0, num_resamples=10).useful_range() is None
    assert measure_decision_curve(y, p, patients, 2.0, num_resamples=10).useful_range() is None


def test_a_perfect_rule_has_the_prevalence_as_its_benefit():
    y = np.array([0, 0, 1, 1, 1])
    curve = measure_decision_curve(y, y * 0.9, range(5), 0.5, num_resamples=10)
    assert curve.rule == pytest.approx(0.6)
    assert curve.useful_range() == (0.01, 0.99)


def test_the_band_is_that_of_a_loop_over_patients_and_covers(films):
    y, p, patients = films
    curve = measure_decision_curve(y, p, patients, 0.4, seed=3)
    low, high = curve.rule_band
    assert ((low <= curve.rule) & (curve.rule <= high)).all()
    again = measure_decision_curve(y, p, patients, 0.4, seed=3)
    assert (again.rule_band[0] == low).all()
    rng = np.random.default_rng(0)
    at, drawn = 19, []
    for _ in range(1500):
        chosen = rng.choice(150, 150)
        rows = np.concatenate([2 * chosen, 2 * chosen + 1])
        drawn.append(by_definition(y[rows], p[rows] >= 0.4, 0.2))
    assert [low[at], high[at]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.012)


def test_degenerate_films():
    assert measure_decision_curve([1, 1], [0.2, 0.8], ["a", "b"], 0.5) is None
    assert measure_decision_curve([0], [0.2], ["a"], 0.5) is None
    one_patient = measure_decision_curve([0, 1], [0.2, 0.8], ["a", "a"], 0.5, num_resamples=10)
    assert one_patient.rule_band is None
    with pytest.raises(EvaluationError, match="prevalence is 1"):
        measure_decision_curve([0, 1], [0.2, 0.8], ["a", "b"], 0.5, prevalence=1)
    with pytest.raises(EvaluationError, match=r"p1\[0\] is nan"):
        measure_decision_curve([0, 1], [np.nan, 0.8], ["a", "b"], 0.5)
