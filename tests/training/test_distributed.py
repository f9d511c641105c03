"""Dealing films out to processes, without starting any."""

import numpy as np
import pytest
import torch
from torch import nn

from pneumoscope.training import distributed
from pneumoscope.training.device import Device
from pneumoscope.training.distributed import Group, score_together

CPU = Device(torch.device("cpu"), torch.float32, "")


class Mean(nn.Module):
    """Answers with each film's mean, so that its place in the table can be checked."""

    in_chans = 1
    num_classes = 2

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


def films(num_films):
    return np.arange(num_films, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)


@pytest.mark.parametrize("num_films", [0, 1, 2, 7, 8, 9, 21])
@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_each_film_is_scored_once_for_any_number(monkeypatch, num_films, world_size):
    monkeypatch.setattr(distributed, "SCORING_BATCH", 4)
    shares = []

    def gather(into, mine):
        shares.append(mine)
        into[:] = [dict(share) for share in shares] + [{}] * (len(into) - len(shares))

    monkeypatch.setattr(distributed.dist, "all_gather_object", gather)
    pixels = films(num_films)
    for rank in range(world_size):
        logits = score_together(Mean(), pixels, CPU, Group(rank, world_size))
    starts = [start for share in shares for start in share]
    if world_size > 1:
        assert sorted(starts) == list(range(0, num_films, 4))
    expected = pixels[:, 0, 0] / 127.5 - 1
    np.testing.assert_allclose(logits[:, 1], expected, atol=1e-6)
    assert logits.shape == (num_films, 2)
