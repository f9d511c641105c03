"""Randomness is a function of seed and place."""

import numpy as np
import torch

from pneumoscope.training.randomness import epoch_order, seed_init, seed_step


def draw(seed, step, rank=0):
    seed_step(seed, step, rank)
    return torch.rand(3).tolist()


def test_the_same_place_draws_the_same_and_every_other_place_another():
    assert draw(0, 5) == draw(0, 5)
    others = [draw(0, 6), draw(1, 5), draw(0, 5, rank=1)]
    seed_init(0)
    others.append(torch.rand(3).tolist())
    assert len({tuple(values) for values in [draw(0, 5), *others]}) == 5


def test_an_epoch_visits_every_film_once_in_an_order_of_its_own():
    first, second = epoch_order(0, 0, 100), epoch_order(0, 1, 100)
    assert sorted(first) == sorted(second) == list(range(100))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, epoch_order(0, 0, 100))
