"""Films whose class goes with their exposure: drawn anew, the exposure says little any more."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pneumoscope.data.style import describe_style
from pneumoscope.training.randomness import weighted_order
from pneumoscope.training.style_balance import (
    LEAST_PROPENSITY,
    balancing_weights,
    foretell_class,
    style_weights,
)

NUM_FILMS = 600


@pytest.fixture(scope="module")
def labels() -> NDArray[np.int64]:
    return (np.arange(NUM_FILMS) % 3 > 0).astype(np.int64)  # a third is normal


@pytest.fixture(scope="module")
def is_bright(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Most sick children were filmed brightly, most healthy ones darkly; one in five not."""
    rng = np.random.default_rng(0)
    return (labels == 1) ^ (rng.random(NUM_FILMS) < 0.2)


@pytest.fixture(scope="module")
def films(is_bright: NDArray[np.bool_]) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    grey = np.where(is_bright, 150, 90)[:, None, None] + rng.normal(0, 20, (NUM_FILMS, 32, 32))
    return grey.clip(0, 255).astype(np.uint8)


def test_style_foretells_the_class_until_films_are_weighed(
    films: NDArray[np.uint8], labels: NDArray[np.int64], is_bright: NDArray[np.bool_]
) -> None:
    styles = describe_style(films)
    p = foretell_class(styles, labels, styles)
    weights = balancing_weights(labels, p)
    assert roc_auc_score(labels, is_bright) > 0.75
    assert abs(roc_auc_score(labels, is_bright, sample_weight=weights) - 0.5) < 0.05
    assert np.array_equal(style_weights(films, labels), weights)


def test_classes_that_hardly_overlap_are_balanced_in_part(labels: NDArray[np.int64]) -> None:
    rng = np.random.default_rng(5)
    style = np.where(labels == 1, 1.3, -1.3)[:, None] + rng.normal(size=(NUM_FILMS, 1))
    p = foretell_class(style, labels, style)
    weights = balancing_weights(labels, p)
    plain, weighed = roc_auc_score(labels, p), roc_auc_score(labels, p, sample_weight=weights)
    assert plain > 0.95
    assert 0.6 < weighed < plain - 0.1  # what the cap leaves
    for label in (0, 1):
        of_class = weights[labels == label]
        assert of_class.max() / of_class.min() <= 1 / LEAST_PROPENSITY


def test_each_class_weighs_the_same_and_no_film_too_much() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    weights = balancing_weights(labels, np.array([0.5, 0.75, 1.0, 0.25, 0.5]))
    assert weights[labels == 0].sum() == pytest.approx(1)
    assert weights[labels == 1].sum() == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(2)
    assert weights[2] / weights[0] == pytest.approx(0.5 / LEAST_PROPENSITY)
    assert weights[3] / weights[4] == pytest.approx(2)


def test_the_propensity_is_of_balanced_classes(labels: NDArray[np.int64]) -> None:
    nothing = np.random.default_rng(2).normal(size=(NUM_FILMS, 3))
    assert foretell_class(nothing, labels, nothing).mean() == pytest.approx(0.5, abs=0.03)


def test_an_epoch_draws_each_film_as_often_as_it_weighs() -> None:
    weights = np.random.default_rng(3).random(100) + 0.1
    share = 100 * weights / weights.sum()
    total = np.zeros(100)
    for epoch in range(200):
        order = weighted_order(7, epoch, weights)
        assert order.shape == (100,)
        times = np.bincount(order, minlength=100)
        assert np.all(np.floor(share) <= times)
        assert np.all(times <= np.ceil(share))
        total += times
    assert total / 200 == pytest.approx(share, abs=0.15)


def test_epochs_differ_and_repeat_exactly() -> None:
    weights = np.random.default_rng(3).random(100)
    first = weighted_order(7, 0, weights)
    assert np.array_equal(first, weighted_order(7, 0, weights))
    assert np.array_equal(first, weighted_order(7, 0, 5 * weights))
    assert not np.array_equal(first, weighted_order(7, 1, weights))
    assert not np.array_equal(first, weighted_order(8, 0, weights))
