"""The mean of several networks' weights."""

import pytest
import torch

from pneumoscope.errors import ModelError
from pneumoscope.models.build import build_model
from pneumoscope.models.soup import average_weights


def cnn(seed: int, img_size: int = 32) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model("cnn", img_size=img_size, in_chans=1).eval()


def test_every_weight_is_the_mean() -> None:
    networks = [cnn(seed) for seed in range(3)]
    before = [value.clone() for value in networks[0].state_dict().values()]
    soup = average_weights(networks).state_dict()
    for name, value in soup.items():
        parts = [network.state_dict()[name] for network in networks]
        if value.is_floating_point():
            torch.testing.assert_close(value, sum(parts) / 3)
        else:
            assert torch.equal(value, parts[0])
    for value, kept in zip(networks[0].state_dict().values(), before, strict=True):
        assert torch.equal(value, kept)


def test_the_mean_of_equals_answers_as_they_do() -> None:
    network = cnn(0)
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(average_weights([network, network])(x), network(x))


def test_near_one_another_weights_average_as_answers_do() -> None:
    """The reason why soups work: in one basin the mean of weights is nearly that of answers."""
    others = []
    for seed in (1, 2):
        other = cnn(0).double()
        torch.manual_seed(seed)
        with torch.no_grad():
            for value in other.parameters():
                value.add_(1e-4 * torch.randn_like(value))
        others.append(other)
    x = torch.randn(4, 1, 32, 32, dtype=torch.float64)
    answers = torch.stack([other(x) for other in others])
    between = (answers[0] - answers[1]).abs().max()
    error = (average_weights(others)(x) - answers.mean(dim=0)).abs().max()
    assert between > 1e-6
    assert error < 0.1 * between


def test_what_has_no_mean() -> None:
    with pytest.raises(ModelError, match="two or more networks"):
        average_weights([cnn(0)])
    with pytest.raises(ModelError, match="of one architecture"):
        average_weights([cnn(0), build_model("cnn", img_size=32, in_chans=3)])
