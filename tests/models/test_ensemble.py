"""The ensemble against the mean of its members' log odds."""

import pytest
import torch
import torch.nn.functional as F

from pneumoscope.errors import ModelError
from pneumoscope.models.build import build_model, num_parameters
from pneumoscope.models.ensemble import Ensemble

SMALL = {"name": "cnn", "img_size": 32}
LARGE = {"name": "vit_ti32", "img_size": 64}


@pytest.fixture(scope="module")
def pair() -> Ensemble:
    torch.manual_seed(0)
    made = build_model("ensemble", members=[SMALL, LARGE])
    assert isinstance(made, Ensemble)
    torch.nn.init.normal_(made.members[1].head.weight)
    return made.eval()


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, 1] - logits[:, 0]


def test_it_takes_the_size_of_the_largest(pair: Ensemble) -> None:
    assert (pair.img_size, pair.in_chans, pair.num_classes) == (64, 3, 2)
    assert num_parameters(pair) == sum(num_parameters(member) for member in pair.members)


def test_it_answers_the_mean_of_the_log_odds(pair: Ensemble) -> None:
    x = torch.rand(4, 1, 64, 64).expand(-1, 3, -1, -1) * 2 - 1
    small, large = pair.members
    reduced = F.interpolate(x, (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        logits = pair(x)
        expected = (log_odds(small(reduced)) + log_odds(large(x))) / 2
    torch.testing.assert_close(log_odds(logits), expected)
    torch.testing.assert_close(logits.sum(dim=1), torch.zeros(4))
    assert (log_odds(logits) - log_odds(large(x))).abs().max() > 1e-3


def test_what_makes_no_ensemble_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        build_model("ensemble", members=[SMALL])
    assert str(caught.value) == "an ensemble of 1 members; expected two or more"
    with pytest.raises(ModelError, match="two classes and equal in_chans"):
        build_model("ensemble", members=[SMALL, {**LARGE, "in_chans": 1}])
    with pytest.raises(ModelError, match="an ensemble takes members alone, not depth"):
        build_model("ensemble", members=[SMALL, LARGE], depth=3)
