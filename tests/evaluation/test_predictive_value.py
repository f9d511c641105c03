"""Likelihood ratios against published examples, predictive values against counted children."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.operating_point import summarize_counts
from pneumoscope.evaluation.predictive_value import (
    PREVALENCES,
    likelihood_ratios,
    predictive_values,
)


def counts(tp, fn, fp, tn):
    return summarize_counts(tp=tp, fp=fp, fn=fn, tn=tn, auroc=None, thr=0.5)


def test_ratios_are_their_definition():
    found = likelihood_ratios(counts(tp=383, fn=7, fp=43, tn=191))
    assert found.positive == pytest.approx((383 / 390) / (43 / 234))
    assert found.negative == pytest.approx((7 / 390) / (191 / 234))


def test_the_interval_is_that_of_a_ratio_of_two_proportions():
    # Katz's interval of a relative risk, as statsmodels computes it.
    from statsmodels.stats.proportion import confint_proportions_2indep

    found = likelihood_ratios(counts(tp=90, fn=10, fp=20, tn=80))
    expected = confint_proportions_2indep(90, 100, 20, 100, compare="ratio", method="log")
    assert found.positive_interval == pytest.approx(expected, rel=1e-9)
    expected = confint_proportions_2indep(10, 100, 80, 100, compare="ratio", method="log")
    assert found.negative_interval == pytest.approx(expected, rel=1e-9)


def test_predictive_values_count_children():
    summary = counts(tp=90, fn=10, fp=20, tn=80)
    found = predictive_values(summary, 0.1)
    # Of 1,000: 100 sick, 90 found, 10 missed; 900 healthy, 180 called, 720 cleared.
    assert (found.alarms, found.false_alarms, found.missed) == pytest.approx((270, 180, 10))
    assert found.ppv == pytest.approx(90 / 270)
    assert found.npv == pytest.approx(720 / 730)


def test_at_the_sets_own_prevalence_they_are_precision_and_npv():
    summary = counts(tp=383, fn=7, fp=43, tn=191)
    found = predictive_values(summary, 390 / 624)
    assert found.ppv == pytest.approx(summary["precision"])
    assert found.npv == pytest.approx(summary["npv"])


def test_they_are_bayes_theorem_in_odds():
    summary = counts(tp=45, fn=5, fp=30, tn=120)
    ratios = likelihood_ratios(summary)
    for prevalence in PREVALENCES:
        found = predictive_values(summary, prevalence)
        odds = prevalence / (1 - prevalence)
        assert found.ppv / (1 - found.ppv) == pytest.approx(odds * ratios.positive)
        assert (1 - found.npv) / found.npv == pytest.approx(odds * ratios.negative)
        for value, interval in ((found.ppv, found.ppv_interval), (found.npv, found.npv_interval)):
            assert 0 < interval[0] < value < interval[1] < 1
        low = odds * ratios.positive_interval[0]
        assert found.ppv_interval[0] == pytest.approx(low / (1 + low))


def test_ppv_rises_and_npv_falls_with_prevalence():
    found = [predictive_values(counts(45, 5, 30, 120), p) for p in PREVALENCES]
    assert [f.ppv for f in found] == sorted(f.ppv for f in found)
    assert [f.npv for f in found] == sorted((f.npv for f in found), reverse=True)


@pytest.mark.parametrize(("recall", "specificity"), [(0.9, 0.8), (0.97, 0.85)])
def test_the_intervals_cover(recall, specificity):
    """Exact: over every pair of counts that 200 sick and 150 healthy films can give."""
    covered = {"ppv": 0.0, "npv": 0.0}
    truth = predictive_values(
        counts(round(1e6 * recall), round(1e6 * (1 - recall)), round(1e6 * (1 - specificity)),
               round(1e6 * specificity)), 0.1
    )  # fmt: skip
    for tp in range(150, 201):
        for tn in range(90, 151):
            odds = binom.pmf(tp, 200, recall) * binom.pmf(tn, 150, specificity)
            if odds < 1e-9:
                continue
            found = predictive_values(counts(tp, 200 - tp, 150 - tn, tn), 0.1)
            for name in covered:
                low, high = getattr(found, f"{name}_interval")
                covered[name] += odds * (low <= getattr(truth, name) <= high)
    assert 0.94 <= covered["ppv"] <= 0.97
    assert 0.93 <= covered["npv"] <= 0.98


def test_where_nothing_healthy_is_called_every_call_is_right():
    summary = counts(tp=9, fn=1, fp=0, tn=10)
    ratios = likelihood_ratios(summary)
    assert ratios.positive is None
    a, b, c, d = 9.5, 1.5, 0.5, 10.5
    spread = 1.959964 * math.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))
    centre = math.log((a / (a + b)) / (c / (c + d)))
    expected = np.exp([centre - spread, centre + spread]).tolist()
    assert ratios.positive_interval == pytest.approx(expected, rel=1e-5)
    found = predictive_values(summary, 0.1)
    assert found.ppv == 1
    assert found.ppv_interval[0] < found.ppv_interval[1] == 1  # it holds its value


def test_where_all_are_called_nothing_is_cleared():
    found = predictive_values(counts(tp=10, fn=0, fp=10, tn=0), 0.1)
    assert (found.ppv, found.npv) == (pytest.approx(0.1), None)
    assert found.npv_interval is None
    low, high = found.ppv_interval
    assert low < 0.1 < high
    assert likelihood_ratios(counts(tp=10, fn=0, fp=10, tn=0)).negative is None


def test_where_nothing_is_called_there_is_no_ppv():
    found = predictive_values(counts(tp=0, fn=10, fp=0, tn=10), 0.1)
    assert (found.ppv, found.npv) == (None, pytest.approx(0.9))
    assert found.ppv_interval is None
    ratios = likelihood_ratios(counts(tp=0, fn=10, fp=0, tn=10))
    assert (ratios.positive, ratios.positive_interval) == (None, None)
    assert ratios.negative == 1


def test_where_none_is_missed_the_interval_holds_the_value():
    found = predictive_values(counts(tp=10, fn=0, fp=3, tn=7), 0.1)
    assert found.npv == 1
    assert found.npv_interval[0] < found.npv_interval[1] == 1


@pytest.mark.parametrize("missing", [{"tp": 0, "fn": 0}, {"fp": 0, "tn": 0}])
def test_one_class_gives_nothing(missing):
    summary = counts(**{"tp": 3, "fn": 1, "fp": 1, "tn": 3, **missing})
    assert likelihood_ratios(summary) is None
    assert predictive_values(summary, 0.1) is None


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, float("nan")])
def test_a_prevalence_is_between_0_and_1(prevalence):
    with pytest.raises(EvaluationError, match="expected a number in"):
        predictive_values(counts(3, 1, 1, 3), prevalence)
