"""Models in pairs: McNemar and Holm against statsmodels, differences against loops."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.delong import difference, estimate_aurocs
from pneumoscope.evaluation.pairwise import (
    compare_pairs,
    holm,
    mcnemar_p_value,
    seed_spread,
)


@pytest.fixture(scope="module")
def films():
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 120)
    common = rng.normal(2 * y - 1, 1.2)
    scores = [1 / (1 + np.exp(-(common + rng.normal(0, s, 120)))) for s in (0.3, 0.8, 1.5)]
    return y, rng.integers(0, 50, 120), scores


@pytest.mark.parametrize("discordant", [(0, 0), (1, 7), (5, 5), (30, 12), (0, 4)])
def test_mcnemar_is_that_of_statsmodels(discordant):
    first, second = discordant
    found = mcnemar_p_value(first, second)
    if first + second:
        assert found == pytest.approx(mcnemar([[9, first], [second, 9]], exact=True).pvalue)
    else:
        assert found == 1


def test_holm_is_that_of_statsmodels_and_leaves_out_what_is_not_there():
    p_values = [0.01, None, 0.2, 0.0004, 0.04, None, 0.9]
    found = holm(p_values)
    assert [p is None for p in found] == [p is None for p in p_values]
    there = [p for p in p_values if p is not None]
    expected = multipletests(there, method="holm")[1]
    assert [p for p in found if p is not None] == pytest.approx(expected)
    assert holm([]) == []
    assert holm([None]) == [None]


def test_a_pair_is_its_parts(films):
    y, patients, scores = films
    thresholds, pairs = [0.4, 0.5, 0.6], [(0, 1), (0, 2), (2, 1)]
    found = compare_pairs(y, patients, scores, thresholds, pairs)
    aurocs = estimate_aurocs(y, scores, patients)
    right = [(s >= t) == (y == 1) for s, t in zip(scores, thresholds, strict=True)]
    for pair, (i, j) in zip(found, pairs, strict=True):
        assert (pair.first, pair.second) == (i, j)
        assert pair.auroc.by_patient == difference(aurocs, i, j)
        assert pair.auroc.by_film == difference(estimate_aurocs(y, scores), i, j)
        low, high = pair.auroc.bootstrap
        assert low < pair.auroc.by_patient.value < high
        for figure, rows in (("recall", y == 1), ("specificity", y == 0), ("accuracy", y >= 0)):
            decided = getattr(pair, figure)
            assert decided.only_first == np.sum(rows & right[i] & ~right[j])
            assert decided.only_second == np.sum(rows & right[j] & ~right[i])
            expected = right[i][rows].mean() - right[j][rows].mean()
            assert decided.value == pytest.approx(expected)
            assert decided.p_value == mcnemar_p_value(decided.only_first, decided.only_second)
            assert decided.interval[0] <= decided.value <= decided.interval[1]
    corrected = multipletests([p.auroc.by_patient.p_value for p in found], method="holm")[1]
    assert [p.auroc.p_holm for p in found] == pytest.approx(corrected)


def test_the_interval_of_a_difference_is_paired():
    """Two models that err on the same films differ surely, though each is unsure."""
    rng = np.random.default_rng(5)
    y = np.repeat([0, 1], 100)
    log_odds = rng.normal(1.5 * y, 1)
    slightly_worse = log_odds - 0.3 * y + rng.normal(0, 0.1, 200)
    p, worse = (1 / (1 + np.exp(-x)) for x in (log_odds, slightly_worse))
    (pair,) = compare_pairs(y, np.arange(200), [p, worse], [0.5, 0.5], [(0, 1)])
    width = pair.auroc.bootstrap[1] - pair.auroc.bootstrap[0]
    alone = 2 * 1.96 * np.sqrt(estimate_aurocs(y, [p]).covariance[0, 0])
    assert width < 0.5 * alone
    assert pair.auroc.by_patient.p_value < 0.01


def test_a_model_beside_itself_does_not_differ(films):
    y, patients, scores = films
    (pair,) = compare_pairs(y, patients, [scores[0]] * 2, [0.5, 0.5], [(0, 1)])
    assert pair.auroc.by_patient.p_value == 1
    assert pair.auroc.bootstrap == [0, 0]
    for figure in (pair.recall, pair.specificity, pair.accuracy):
        assert (figure.value, figure.interval, figure.p_value) == (0, [0, 0], 1)


def test_films_of_one_class_or_patient_have_defined_answers():
    (pair,) = compare_pairs([1, 1], ["a", "b"], [[0.2, 0.8], [0.6, 0.7]], [0.5, 0.5], [(0, 1)])
    assert pair.auroc == type(pair.auroc)(None, None, None, None)
    assert pair.specificity.value is None
    assert pair.specificity.p_holm is None
    assert pair.recall.value == -0.5
    (one,) = compare_pairs([0, 1], ["a", "a"], [[0.2, 0.8], [0.6, 0.7]], [0.5, 0.5], [(0, 1)])
    assert one.recall.interval is None
    with pytest.raises(EvaluationError, match="patient ids"):
        compare_pairs([0, 0, 1, 1], ["a"], [[0.1, 0.2, 0.3, 0.4]] * 2, [0.5, 0.5], [(0, 1)])


def test_seeds_spread_apart_from_sampling():
    found = seed_spread([0.97, 0.98, 0.975], [0.005, 0.006, 0.004])
    assert found.mean == pytest.approx(0.975)
    assert found.sd == pytest.approx(0.005)
    # Chi-square on 2 degrees of freedom: 0.0506 and 7.378.
    expected = [0.005 * np.sqrt(2 / quantile) for quantile in (7.3778, 0.050636)]
    assert found.sd_interval == pytest.approx(expected, rel=1e-3)
    assert found.sampling_error == pytest.approx(np.sqrt(np.mean(np.square([5, 6, 4]))) / 1000)


def test_where_sampling_error_cannot_be_told_it_is_not():
    assert seed_spread([0.9, 0.91], None).sampling_error is None


def test_the_interval_of_the_sd_covers():
    rng = np.random.default_rng(6)
    hits = []
    for values in rng.normal(0.9, 0.01, (600, 3)):
        low, high = seed_spread(values.tolist(), [0.0] * 3).sd_interval
        hits.append(low <= 0.01 <= high)
    assert 0.93 <= np.mean(hits) <= 0.97
