"""Mixup and CutMix against their equations."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pneumoscope.config import AugmentationConfig
from pneumoscope.training.mixing import Mix, mix_films

LABELS = torch.tensor([0, 1, 1, 0, 1, 0, 1, 1])
LEVELS = torch.arange(8.0) / 8
"""Each film has one grey level, so that a mixed film says what is in it."""


def mixed(seed: int, **levers: Any) -> tuple[Tensor, Mix | None]:
    films = LEVELS[:, None, None, None].expand(-1, 3, 20, 30)
    torch.manual_seed(seed)
    return mix_films(films, LABELS, AugmentationConfig(**levers))


def test_without_either_nothing_is_changed_or_drawn() -> None:
    torch.manual_seed(4)
    expected = torch.rand(1)
    x, mix = mixed(4)
    assert mix is None
    assert torch.equal(x, LEVELS[:, None, None, None].expand(-1, 3, 20, 30))
    assert torch.equal(torch.rand(1), expected)


def test_mixup_adds_two_films_and_tells_the_partners_label() -> None:
    for seed in range(20):
        x, mix = mixed(seed, mixup_alpha=0.8)
        assert mix is not None
        assert 0 <= mix.share <= 1
        level = x[:, 0, 0, 0]
        assert (x == level[:, None, None, None]).all()
        if mix.share < 0.95:
            partner = (level - mix.share * LEVELS) / (1 - mix.share)
            places = (8 * partner).round().long()
            torch.testing.assert_close(partner, LEVELS[places], atol=1e-4, rtol=0)
            assert torch.equal(mix.labels, LABELS[places])
            assert sorted(places.tolist()) == list(range(8))


def test_the_share_follows_beta() -> None:
    shares = torch.stack([mixed(seed, mixup_alpha=0.4)[1].share for seed in range(400)])  # type: ignore[union-attr]
    assert shares.mean().item() == pytest.approx(0.5, abs=0.05)
    # The variance of Beta(a, a) is 1 / (4 (2a + 1)).
    assert shares.var().item() == pytest.approx(1 / (4 * 1.8), rel=0.15)


def test_cutmix_puts_a_box_of_the_partner_in_place_and_counts_its_area() -> None:
    cut = 0
    for seed in range(30):
        x, mix = mixed(seed, cutmix_alpha=1.0)
        assert mix is not None
        film = x[3, 0]
        other = film != LEVELS[3]
        if not other.any():
            continue
        cut += 1
        rows, columns = other.any(1).nonzero()[:, 0], other.any(0).nonzero()[:, 0]
        assert other[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()  # a rectangle
        assert other.sum() == len(rows) * len(columns)
        assert mix.share.item() == pytest.approx(1 - other.float().mean().item())
        partner = (8 * film[other][0]).round().long()
        assert LABELS[partner] == mix.labels[3]
    assert cut > 15


def test_with_both_about_half_of_the_batches_are_cut() -> None:
    cut = sum(
        bool((x != x[:, :1, :1, :1]).any())
        for x, _ in (mixed(seed, mixup_alpha=1.0, cutmix_alpha=1.0) for seed in range(100))
    )
    assert 30 < cut < 65
