"""The learning rate and the share of patches left out, over a training."""

import itertools
import math

import pytest

from pneumoscope.training.schedule import lr_at, patch_drop_rate_at


def test_the_schedule_warms_up_and_ends_low():
    rates = [
        lr_at(step, peak=2.0, num_steps=100, warmup_steps=10, min_ratio=0.01) for step in range(100)
    ]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == max(rates) == 2.0
    assert rates[-1] == pytest.approx(0.02)
    middle = 10 + 89 // 2
    cosine = 0.5 * (1 + math.cos(math.pi * (middle - 10) / 89))
    assert rates[middle] == pytest.approx(2.0 * (0.01 + 0.99 * cosine))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_the_schedule_of_a_very_short_run_is_positive(num_steps):
    for step in range(num_steps):
        assert lr_at(step, peak=1.0, num_steps=num_steps, warmup_steps=2, min_ratio=0.01) > 0


@pytest.mark.parametrize(("first", "last"), [(0.75, 0.25), (0.0, 0.5), (0.5, 0.5)])
def test_patches_are_left_out_in_equal_steps_from_the_first_epoch_to_the_last(first, last):
    rates = [
        patch_drop_rate_at(epoch, first=first, last=last, num_epochs=5) for epoch in range(1, 6)
    ]
    assert (rates[0], rates[-1]) == (first, last)
    steps = [after - before for before, after in itertools.pairwise(rates)]
    assert steps == pytest.approx([(last - first) / 4] * 4)


def test_a_single_epoch_leaves_out_what_the_first_does():
    assert patch_drop_rate_at(1, first=0.75, last=0.25, num_epochs=1) == 0.75
