"""Test-time flips: the mean over a film and its mirror image, and nothing else."""

import pytest
import torch

from pneumoscope.config import parse_recipe
from pneumoscope.models.build import build_model


@pytest.mark.parametrize("name", ["cnn", "vit_ti32"])
def test_a_film_and_its_mirror_image_get_the_mean_of_their_logits(name: str) -> None:
    torch.manual_seed(0)
    plain, averaged = (
        build_model(name, img_size=64, flip_average=flip).eval() for flip in (False, True)
    )
    torch.nn.init.normal_(plain.head.weight)
    averaged.load_state_dict(plain.state_dict())  # the same weights under the same names
    x = torch.randn(2, 1, 64, 64).expand(-1, 3, -1, -1)
    with torch.no_grad():
        expected = (plain(x) + plain(x.flip(3))) / 2
        torch.testing.assert_close(averaged(x), expected)
        torch.testing.assert_close(averaged(x.flip(3)), expected)
        assert (plain(x) - plain(x.flip(3))).abs().max() > 1e-3
        torch.manual_seed(1)
        trained = averaged.train()(x)
        torch.manual_seed(1)
        torch.testing.assert_close(trained, plain.train()(x))


def test_it_travels_with_the_bundle() -> None:
    recipe = parse_recipe({"name": "a", "model": {"name": "cnn", "flip_average": True}}, "a")
    assert recipe.model.inference_options()["flip_average"] is True
    plain = parse_recipe({"name": "a", "model": {"name": "cnn"}}, "a")
    assert "flip_average" not in plain.model.inference_options()
