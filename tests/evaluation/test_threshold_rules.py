"""Other rules for a threshold: each does what its source says."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binom

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.operating_point import choose_threshold_by_min_recall
from pneumoscope.evaluation.threshold_rules import (
    estimate_prevalence,
    out_of_fold_threshold,
    scale_by_temperature,
    threshold_by_recall_bound,
    to_prevalence,
)


def calibrated(num_films: int, prevalence: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores that are the films' true probabilities at that prevalence."""
    rng = np.random.default_rng(seed)
    y = (rng.random(num_films) < prevalence).astype(int)
    # Log odds of classes that are normal with means -1 and 1 and variance 1: 2x + the prior's.
    x = rng.normal(2 * y - 1, 1.0)
    return y, expit(2 * x + logit(prevalence))


class TestRecallBound:
    def test_it_is_the_last_threshold_whose_bound_reaches_the_target(self) -> None:
        p = np.linspace(0.01, 0.99, 100)
        threshold = threshold_by_recall_bound(np.ones(100, int), p, 0.9)
        num_found = int((p >= threshold).sum())
        # The bound is the recall at which so many or more are found in 5 of 100 cases.
        assert binom.sf(num_found - 1, 100, 0.9) <= 0.05 < binom.sf(num_found - 2, 100, 0.9)

    def test_it_keeps_its_promise_on_new_films(self) -> None:
        kept = {"bound": 0, "frozen": 0}
        for seed in range(200):
            y, p = calibrated(400, 0.6, seed)
            new_y, new_p = calibrated(20_000, 0.6, 1000 + seed % 5)
            thresholds = {
                "bound": threshold_by_recall_bound(y, p, 0.9),
                "frozen": choose_threshold_by_min_recall(y, p, 0.9)[0],
            }
            for name, threshold in thresholds.items():
                kept[name] += int((new_p[new_y == 1] >= threshold).mean() >= 0.9)
        assert kept["bound"] >= 180  # 95 % of 200, less chance
        assert kept["frozen"] < 150

    def test_too_few_positives_are_refused(self) -> None:
        with pytest.raises(EvaluationError) as caught:
            threshold_by_recall_bound([1] * 20 + [0], np.linspace(0.1, 0.9, 21))
        assert str(caught.value) == (
            "20 positives are too few to be sure of recall 0.95; give more films or a lower target"
        )


def test_out_of_fold_thresholds_leave_whole_patients_out() -> None:
    y, p = calibrated(600, 0.6)
    patients = np.arange(600) // 3
    found = out_of_fold_threshold(y, p, patients, 0.9)
    assert found == pytest.approx(choose_threshold_by_min_recall(y, p, 0.9)[0], rel=0.2)
    assert out_of_fold_threshold(y[::-1], p[::-1], patients[::-1], 0.9) == found
    # One patient has all low-scored positives; the median of the folds does not follow it.
    odd = np.concatenate([p, np.full(60, 0.001)])
    labels, ids = np.concatenate([y, np.ones(60, int)]), np.append(patients, np.full(60, 999))
    assert out_of_fold_threshold(labels, odd, ids, 0.9) == 0.001
    assert out_of_fold_threshold(labels, odd, ids, 0.8) > 0.001


def test_the_temperature_undoes_overconfidence_and_keeps_the_order() -> None:
    y, p = calibrated(20_000, 0.6)
    bold = expit(3.0 * logit(p))
    cooled = scale_by_temperature(bold, 3.0)
    np.testing.assert_allclose(cooled, p, atol=1e-3)  # the surest scores are clipped
    threshold = choose_threshold_by_min_recall(y, bold, 0.9)[0]
    moved = float(scale_by_temperature(np.array([threshold]), 3.0)[0])
    assert ((cooled >= moved) == (bold >= threshold)).all()


def test_a_change_of_prevalence_alone_is_found_and_undone() -> None:
    _, p = calibrated(20_000, 0.75)
    assert estimate_prevalence(p, 0.75) == pytest.approx(0.75, abs=0.01)
    _, other = calibrated(20_000, 0.3)
    seen = to_prevalence(other, 0.3, 0.75)  # as a model calibrated at .75 would score them
    assert estimate_prevalence(seen, 0.75) == pytest.approx(0.3, abs=0.015)
    assert seen.mean() > 0.4
    np.testing.assert_allclose(to_prevalence(seen, 0.75, 0.3), other, atol=1e-9)


def test_films_that_look_otherwise_deceive_the_estimate() -> None:
    _, p = calibrated(20_000, 0.6)
    assert estimate_prevalence(expit(logit(p) + 1.5), 0.6) > 0.75  # it is still .6
