"""What a step is fed follows from its place in the run, however many batches are made at once."""

from typing import Any

import numpy as np
import pytest
import torch

from pneumoscope.config import parse_recipe
from pneumoscope.training.device import Device
from pneumoscope.training.distributed import Group
from pneumoscope.training.feed import Feed
from pneumoscope.training.films import LabelledFilms

CPU = Device(torch.device("cpu"), torch.float32, "the CPU")
NUM_FILMS, BATCH = 30, 4
LABELS = np.arange(NUM_FILMS) % 2
ORDER = np.random.default_rng(0).permutation(NUM_FILMS)


def feed(at_once: int = 1, rank: int = 0, world_size: int = 1, **augmentation: Any) -> Feed:
    """A feed of films that are grey all over, each as grey as its number."""
    pixels = np.arange(NUM_FILMS, dtype=np.uint8)[:, None, None] * np.ones((1, 32, 32), np.uint8)
    values = {"name": "tiny", "model": {"img_size": 32, "in_chans": 1}}
    recipe = parse_recipe({**values, "augmentation": augmentation}, "tiny")
    causes = np.where(LABELS == 1, np.arange(NUM_FILMS) % 4 // 2, -1)
    made = Feed(recipe, LabelledFilms(pixels, LABELS), causes, BATCH, CPU, Group(rank, world_size))
    made.batches_at_once = at_once
    return made


def numbers(x: torch.Tensor) -> list[int]:
    """Which films are in a batch that was not augmented."""
    return ((x[:, 0, 0, 0] + 1) * 127.5).round().long().tolist()


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_each_process_gets_its_films_in_order(at_once, world_size):
    for rank in range(world_size):
        made = feed(at_once, rank, world_size)
        for place in range(NUM_FILMS // BATCH):
            batch = made.batch(place, place, ORDER)
            whole = ORDER[place * BATCH : (place + 1) * BATCH]
            mine = whole[rank::world_size]
            assert numbers(batch.x) == mine.tolist()
            assert batch.labels.tolist() == LABELS[mine].tolist()
            assert batch.all_labels.tolist() == LABELS[whole].tolist()
            assert batch.causes is not None
            assert (batch.causes.mine >= 0).tolist() == (LABELS[mine] == 1).tolist()
            assert (batch.causes.whole >= 0).tolist() == (LABELS[whole] == 1).tolist()
            assert batch.mix is None


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_run_that_goes_on_in_the_middle_is_fed_the_same(at_once):
    levers = {"brightness": 0.4, "noise_prob": 0.5, "mixup_alpha": 0.4}
    straight = feed(at_once, **levers)
    # The second epoch, so that a step's number is not its place.
    steps = [(7 + place, place) for place in range(NUM_FILMS // BATCH)]
    batches = [straight.batch(step, place, ORDER) for step, place in steps]
    for start in range(len(steps)):
        resumed = feed(at_once, **levers)
        for (step, place), expected in list(zip(steps, batches, strict=True))[start:]:
            batch = resumed.batch(step, place, ORDER)
            assert torch.equal(batch.x, expected.x)
            assert batch.mix is not None
            assert expected.mix is not None
            assert torch.equal(batch.mix.share, expected.mix.share)


def test_epochs_are_augmented_differently_and_so_are_batches():
    made = feed(100, brightness=0.4)
    same = np.zeros(NUM_FILMS, dtype=np.int64) + 20
    first = [made.batch(step, step, same).x for step in range(7)]
    second = [made.batch(7 + step, step, same).x for step in range(7)]
    greys = torch.stack(first + second)[:, :, 0, 0, 0]
    assert len(greys.unique()) == greys.numel()


def test_dropout_does_not_repeat_the_draws_of_augmentation():
    made = feed(3, brightness=0.4)
    made.batch(0, 0, ORDER)
    after_a_block = torch.rand(3)
    made = feed(3, brightness=0.4)
    made.batch(0, 0, ORDER)
    made.batch(1, 1, ORDER)
    assert not torch.equal(torch.rand(3), after_a_block)
    fresh = feed(3)
    fresh.batch(0, 0, ORDER)
    assert torch.equal(torch.rand(3), after_a_block)  # that of the step alone
