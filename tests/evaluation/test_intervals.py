"""Intervals of fractions against statsmodels, published figures and exact coverage."""

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from pneumoscope.evaluation.intervals import (
    clopper_pearson_interval,
    newcombe_interval,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("interval", "method"), [(wilson_interval, "wilson"), (clopper_pearson_interval, "beta")]
)
def test_one_fraction_is_that_of_statsmodels(interval, method):
    for hits, cases in ((0, 5), (5, 5), (1, 1), (383, 390), (191, 234), (7, 19)):
        expected = proportion_confint(hits, cases, method=method)
        assert interval(hits, cases) == pytest.approx(expected, abs=1e-8)
    assert interval(0, 0) is None


@pytest.mark.parametrize(
    ("hits", "cases", "low", "high"),
    # Newcombe, Stat. Med. 17 (1998) 857-872, Table I, method 5 (Clopper-Pearson).
    [
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_clopper_pearson_is_the_published_one(hits, cases, low, high):
    assert clopper_pearson_interval(hits, cases) == pytest.approx([low, high], abs=5e-5)


@pytest.mark.parametrize(
    "counts", [(56, 70, 48, 80), (9, 10, 3, 10), (10, 10, 0, 20), (6, 7, 2, 7)]
)
def test_a_difference_is_that_of_statsmodels(counts):
    expected = confint_proportions_2indep(*counts, compare="diff", method="newcomb")
    assert newcombe_interval(*counts) == pytest.approx(expected, abs=1e-9)


def test_a_difference_is_the_published_one():
    # Newcombe, Stat. Med. 17 (1998) 873-890, Table II, method 10: 56/70 - 48/80.
    assert newcombe_interval(56, 70, 48, 80) == pytest.approx([0.0524, 0.3339], abs=5e-5)
    assert newcombe_interval(0, 0, 1, 2) is None
    assert newcombe_interval(1, 2, 0, 0) is None


@pytest.mark.parametrize("share", [0.5, 0.85, 0.95, 0.98])
def test_coverage_computed_exactly(share):
    """Over all counts of 234 films, each weighed by how likely it is."""
    hits = np.arange(235)
    likely = binom.pmf(hits, 234, share)

    def coverage(interval):
        bounds = np.array([interval(int(h), 234) for h in hits])
        return likely[(bounds[:, 0] <= share) & (share <= bounds[:, 1])].sum()

    assert 0.92 <= coverage(wilson_interval) <= 0.98
    assert coverage(clopper_pearson_interval) >= 0.95
