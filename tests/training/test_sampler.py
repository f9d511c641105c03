"""Which films an epoch draws: each once, the classes alike, or by weights, also resumed."""

import numpy as np
import pytest
import torch

from pneumoscope.config import TrainingConfig
from pneumoscope.training import sampler as module
from pneumoscope.training.distributed import Group
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.sampler import Sampler, make_sampler

LABELS = np.array([0] * 3 + [1] * 9)
FILMS = LabelledFilms(np.zeros((12, 8, 8), dtype=np.uint8), LABELS)
BY_STYLE = TrainingConfig(style_sampler=True, class_weights=False)


def test_each_film_comes_once_in_another_order_each_epoch() -> None:
    sampler = make_sampler(TrainingConfig(seed=4), FILMS, Group())
    first, second = sampler.order(0), sampler.order(1)
    assert sorted(first) == sorted(second) == list(range(12))
    assert first.tolist() != second.tolist()
    assert sampler.order(0).tolist() == first.tolist()
    assert sampler.state() is None


def test_the_classes_come_equally_often() -> None:
    config = TrainingConfig(balanced_sampler=True, class_weights=False)
    order = make_sampler(config, FILMS, Group()).order(0)
    assert np.bincount(LABELS[order]).tolist() == [6, 6]


def test_weights_decide_whatever_else_is_asked() -> None:
    weights = np.where(np.arange(12) == 5, 11.0, 1.0)
    order = Sampler(0, LABELS, is_balanced=True, film_weights=weights).order(0)
    assert np.bincount(order, minlength=12)[5] == 6  # 11 of 22 shares of 12 places


def test_weights_are_fitted_once_and_taken_up_by_a_resumed_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted = np.linspace(1.0, 2.0, 12)
    monkeypatch.setattr(module, "style_weights", lambda pixels, labels: fitted)
    begun = make_sampler(BY_STYLE, FILMS, Group())
    state = begun.state()
    assert isinstance(state, torch.Tensor)
    monkeypatch.setattr(module, "style_weights", lambda pixels, labels: fitted[::-1].copy())
    resumed = make_sampler(BY_STYLE, FILMS, Group(), state)
    assert resumed.order(3).tolist() == begun.order(3).tolist()


@pytest.mark.parametrize(
    ("causes", "known"), [(None, False), ([-1, 0, 0], False), ([0, 1, -1], True)]
)
def test_causes_can_be_told_apart_where_each_occurs(causes: list[int] | None, known: bool) -> None:
    stated = None if causes is None else np.array(causes)
    films = LabelledFilms(FILMS.pixels[:3], LABELS[:3], stated)
    found = films.causes_to_tell_apart()
    assert (found is not None) == known
    if known:
        assert found is stated
