"""Weighted ranking statistics against scikit-learn, row by row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from pneumoscope.evaluation.ranking import (
    Ranking,
    auroc,
    average_precision,
    precision_recall_curve_at,
    roc_curve_at,
)

FILMS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])),
    min_size=2,
    max_size=30,
).filter(lambda films: len({y for y, _ in films}) == 2)


def arrays(films):
    y, p = (np.array(column) for column in zip(*films, strict=True))
    return y.astype(np.int64), p.astype(np.float64)


@settings(max_examples=200, deadline=None)
@given(FILMS, st.integers(0, 2**31))
def test_areas_are_those_of_scikit_learn_under_weights(films, seed):
    y, p = arrays(films)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(y)))
    counts = Ranking.of(y, p).counts(weights)
    areas, precisions = auroc(counts), average_precision(counts)
    for row, weight in enumerate(weights):
        kept = weight > 0
        if len(set(y[kept])) == 2:
            expected = roc_auc_score(y[kept], p[kept], sample_weight=weight[kept])
            assert areas[row] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(areas[row])
        if y[kept].any():
            expected = average_precision_score(y[kept], p[kept], sample_weight=weight[kept])
            assert precisions[row] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(precisions[row])


@settings(max_examples=100, deadline=None)
@given(FILMS, st.integers(0, 2**31))
def test_a_weight_is_a_film_written_down_again(films, seed):
    y, p = arrays(films)
    weight = np.random.default_rng(seed).integers(1, 4, len(y))
    once = np.ones((1, int(weight.sum())), dtype=np.int64)
    repeated = Ranking.of(np.repeat(y, weight), np.repeat(p, weight)).counts(once)
    weighted = Ranking.of(y, p).counts(weight[np.newaxis])
    assert (weighted.tp == repeated.tp).all()
    assert (weighted.fp == repeated.fp).all()


def test_the_roc_curve_is_straight_between_its_points():
    y, p = np.array([1, 1, 0, 1, 0, 0]), np.array([0.9, 0.8, 0.8, 0.4, 0.3, 0.1])
    counts = Ranking.of(y, p).counts(np.ones((1, 6), dtype=np.int64))
    rates = np.linspace(0, 1, 601)
    (curve,) = roc_curve_at(counts, rates)
    assert np.trapezoid(curve, rates) == pytest.approx(roc_auc_score(y, p), abs=2e-3)
    assert curve[0] == pytest.approx(1 / 3)  # upright at 0: its top
    assert curve[100] == pytest.approx(1 / 2)  # half way from (0, 1/3) to (1/3, 2/3)
    assert curve[-1] == 1


def test_precision_is_that_of_the_threshold_which_reaches_the_recall():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 50), np.round(rng.random(50), 1)
    recalls = np.linspace(0.01, 1, 100)
    counts = Ranking.of(y, p).counts(np.ones((1, 50), dtype=np.int64))
    (curve,) = precision_recall_curve_at(counts, recalls)
    precision, recall, _ = precision_recall_curve(y, p)  # recall falls
    for at, value in zip(recalls, curve, strict=True):
        reaching = np.flatnonzero(recall >= at - 1e-12)
        assert value == pytest.approx(precision[reaching[-1]])


def test_a_row_without_a_class_has_no_curve():
    counts = Ranking.of(np.array([0, 1]), np.array([0.2, 0.7])).counts(np.array([[0, 1], [1, 0]]))
    assert np.isnan(roc_curve_at(counts, np.array([0.5]))).all()
    found = precision_recall_curve_at(counts, np.array([0.5]))
    assert found[0, 0] == 1
    assert np.isnan(found[1, 0])


def test_a_recall_that_is_just_reached_counts():
    """Rounding must not ask for one film more: 7 of 100 reach .07, whatever the grid's digits."""
    y = np.array([1] * 7 + [0] * 50 + [1] * 93)
    p = np.linspace(1, 0, 150)
    counts = Ranking.of(y, p).counts(np.ones((1, 150), dtype=np.int64))
    recalls = np.linspace(0, 1, 101)[1:]
    (curve,) = precision_recall_curve_at(counts, recalls)
    assert curve[6] == 1  # the grid holds .07000000000000001
    assert curve[7] == pytest.approx(8 / 58)
