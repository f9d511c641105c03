"""Calibration against statsmodels, scikit-learn, a grid, exact identities and simulation."""

from itertools import pairwise

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit
from sklearn.metrics import brier_score_loss, log_loss

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation import calibration
from pneumoscope.evaluation.calibration import (
    TEMPERATURES,
    fit_temperature,
    measure_calibration,
)


def draw(seed, num_films=400, temperature=1.0, shift=0.0, films_a_patient=1):
    """Films whose log-odds are too extreme by ``temperature`` and too high by ``shift``."""
    rng = np.random.default_rng(seed)
    num_patients = num_films // films_a_patient
    truth = np.repeat(rng.normal(0.5, 2, num_patients), films_a_patient)
    y = (rng.random(num_films) < expit(truth)).astype(int)
    patients = np.repeat([f"p{i}" for i in range(num_patients)], films_a_patient)
    return y, temperature * truth + shift, patients


@pytest.fixture(scope="module")
def films():
    return draw(1, temperature=1.7, shift=0.4)


def test_the_temperature_is_the_best_of_a_fine_grid(films):
    y, x, _ = films
    found = fit_temperature(y, x)
    grid = np.exp(np.linspace(np.log(0.5), np.log(5), 20_001))
    losses = [log_loss(y, expit(x / t)) for t in grid[::20]]
    assert found == pytest.approx(grid[::20][np.argmin(losses)], rel=2e-3)
    assert log_loss(y, expit(x / found)) <= min(losses) + 1e-12


def test_the_temperature_undoes_what_scaled_the_log_odds():
    y, x, _ = draw(2, num_films=20_000)
    assert fit_temperature(y, x) == pytest.approx(1, abs=0.05)
    assert fit_temperature(y, 3 * x) == pytest.approx(3 * fit_temperature(y, x), rel=1e-5)


def test_where_scores_separate_the_classes_the_temperature_is_the_lowest():
    assert fit_temperature([0, 0, 1, 1], [-2, -1, 1, 2]) == TEMPERATURES[0]
    assert fit_temperature([1, 1, 0, 0], [-2, -1, 1, 2]) == TEMPERATURES[1]


def test_few_patients_leave_nothing_to_vary():
    y, x = [0, 1, 0, 1, 1, 0], [-1.0, 0.5, 0.7, -0.2, 2.0, -2.0]
    one = measure_calibration(y, x, ["a"] * 6)
    assert (one.slope.interval, one.intercept.interval) == (None, None)
    two = measure_calibration(y, x, ["a", "b"] * 3)
    assert two.slope.interval is None
    assert two.intercept.interval is not None


@pytest.mark.parametrize("label", [0, 1])
def test_a_temperature_needs_both_classes(label):
    with pytest.raises(EvaluationError, match="of one class; a temperature needs both"):
        fit_temperature([label] * 3, [-1.0, 0.0, 1.0])


def test_log_odds_must_be_finite():
    with pytest.raises(EvaluationError, match=r"log_odds\[1\] is not finite"):
        fit_temperature([0, 1], [0.0, np.inf])
    with pytest.raises(EvaluationError, match=r"log_odds\[0\] is not finite"):
        measure_calibration([0, 1], [np.nan, 1.0], ["a", "b"])


def test_patients_must_fit():
    with pytest.raises(EvaluationError, match="there are 2 films but 3 patient ids"):
        measure_calibration([0, 1], [0.0, 1.0], ["a", "b", "c"])


@pytest.mark.parametrize("films_a_patient", [1, 4])
def test_slope_and_intercept_are_those_of_statsmodels(films_a_patient):
    y, x, patients = draw(3, temperature=1.5, shift=-0.7, films_a_patient=films_a_patient)
    found = measure_calibration(y, x, patients)
    groups = np.unique(patients, return_inverse=True)[1]
    clustered = {"groups": groups, "use_correction": False}
    logit = sm.GLM(y, sm.add_constant(x), family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds=clustered, tol=1e-12
    )
    assert found.slope.value == pytest.approx(logit.params[1], rel=1e-6)
    assert found.slope.interval == pytest.approx(logit.conf_int()[1], rel=1e-5)
    offset = sm.GLM(y, np.ones_like(x), family=sm.families.Binomial(), offset=x).fit(
        cov_type="cluster", cov_kwds=clustered, tol=1e-12
    )
    assert found.intercept.value == pytest.approx(offset.params[0], rel=1e-6)
    assert found.intercept.interval == pytest.approx(offset.conf_int()[0], rel=1e-5)


@pytest.mark.parametrize(("films_a_patient", "num_films"), [(1, 300), (5, 500)])
def test_the_slopes_interval_covers_the_truth(films_a_patient, num_films):
    hits = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        num_patients = num_films // films_a_patient
        truth = np.repeat(rng.normal(0.3, 1.5, num_patients), films_a_patient)
        # Films of one patient share their luck: without clusters the interval would be short.
        luck = np.repeat(rng.random(num_patients), films_a_patient)
        y = (luck < expit(truth)).astype(int)
        patients = np.repeat(np.arange(num_patients), films_a_patient)
        low, high = calibration._slope(y, truth, patients).interval  # without bins and bootstrap
        hits.append(low <= 1 <= high)
    assert 0.91 <= np.mean(hits) <= 0.98


def test_scores_that_separate_the_classes_have_no_slope():
    found = measure_calibration([0, 0, 1, 1], [-3.0, -2.0, 1.0, 5.0], list("abcd"))
    assert found.slope is None
    assert found.intercept is not None


def test_equal_scores_have_no_slope_but_an_intercept():
    found = measure_calibration([0, 1, 1, 1], [0.0] * 4, list("abcd"))
    assert found.slope is None
    assert found.intercept.value == pytest.approx(np.log(3), abs=1e-6)  # 3 of 4, promised 1 of 2
    assert len(found.bins) == 1
    assert found.ece == pytest.approx(0.25)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_or_one_film_is_measured_as_far_as_it_goes(label):
    for num_films in (1, 5):
        found = measure_calibration([label] * num_films, [1.0] * num_films, range(num_films))
        assert (found.slope, found.intercept) == (None, None)
        assert found.ece == pytest.approx(abs(label - expit(1.0)))
        assert found.brier.score == pytest.approx((label - expit(1.0)) ** 2)
    assert measure_calibration([label], [1.0], ["a"]).brier.interval is None


def test_the_brier_score_is_that_of_scikit_learn_and_the_sum_of_its_parts(films):
    y, x, patients = films
    brier = measure_calibration(y, x, patients).brier
    assert brier.score == pytest.approx(brier_score_loss(y, expit(x)))
    parts = brier.reliability - brier.resolution + brier.uncertainty + brier.within_bins
    assert parts == pytest.approx(brier.score, abs=1e-15)
    assert brier.interval[0] < brier.score < brier.interval[1]


def test_murphys_decomposition_is_exact_where_a_bin_holds_one_score():
    rng = np.random.default_rng(4)
    x = rng.choice([-2.0, -0.5, 0.3, 1.8], 200)
    y = (rng.random(200) < expit(0.5 * x + 0.2)).astype(int)
    found = measure_calibration(y, x, range(200))
    values = np.unique(x)
    assert [b.mean_score for b in found.bins] == pytest.approx(expit(values).tolist())
    shares = [y[x == value].mean() for value in values]
    weights = [np.mean(x == value) for value in values]
    reliability = sum(
        w * (expit(v) - s) ** 2 for w, v, s in zip(weights, values, shares, strict=True)
    )
    resolution = sum(w * (s - y.mean()) ** 2 for w, s in zip(weights, shares, strict=True))
    assert found.brier.reliability == pytest.approx(reliability)
    assert found.brier.resolution == pytest.approx(resolution)
    assert found.brier.within_bins == pytest.approx(0, abs=1e-15)


def test_bins_are_of_equal_mass_in_order_and_hold_every_film(films):
    y, x, patients = films
    bins = measure_calibration(y, x, patients).bins
    assert [b.num_films for b in bins] == [40] * 10
    assert sum(b.num_pneumonia for b in bins) == y.sum()
    assert all(a.high < b.low for a, b in pairwise(bins))
    for b in bins:
        assert b.low <= b.mean_score <= b.high
        assert b.interval[0] <= b.share <= b.interval[1]


def test_the_error_is_that_of_a_plain_loop(films):
    y, x, patients = films
    p = expit(x)
    order = np.argsort(p)
    parts = zip(np.split(y[order], 10), np.split(p[order], 10), strict=True)
    expected = sum(abs(a.mean() - b.mean()) * len(a) / len(y) for a, b in parts)
    assert measure_calibration(y, x, patients).ece == pytest.approx(expected)


def test_films_of_one_score_share_a_bin():
    x = np.array([0.0] * 30 + [2.0] * 10)
    y = np.array([0, 1] * 15 + [1] * 10)
    bins = measure_calibration(y, x, range(40)).bins
    assert [(b.num_films, b.low == b.high) for b in bins] == [(30, True), (10, True)]


def test_the_error_by_chance_is_what_calibrated_scores_show():
    errors = []
    for seed in range(60):
        y, x, patients = draw(seed, num_films=200)
        errors.append(measure_calibration(y, x, patients))
    by_chance = np.mean([e.ece_by_chance for e in errors])
    assert np.mean([e.ece for e in errors]) == pytest.approx(by_chance, rel=0.08)
    y, x, patients = draw(9, num_films=200, temperature=4)
    off = measure_calibration(y, x, patients)
    assert off.ece > 2 * off.ece_by_chance


def test_the_order_of_the_films_does_not_matter(films):
    y, x, patients = films
    order = np.random.default_rng(0).permutation(len(y))
    one, other = (
        measure_calibration(y, x, patients),
        measure_calibration(y[order], x[order], patients[order]),
    )
    assert one.ece == pytest.approx(other.ece)
    assert one.brier.score == pytest.approx(other.brier.score)
    assert one.slope.value == pytest.approx(other.slope.value)
    assert one.ece_by_chance == other.ece_by_chance
