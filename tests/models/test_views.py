"""Answers averaged over views: the mean over these views and nothing else."""

import pytest
import torch
from torch import Tensor

from pneumoscope.config import parse_recipe
from pneumoscope.models.build import build_model
from pneumoscope.models.views import ZOOMS, other_views, zoomed


@pytest.mark.parametrize("name", ["cnn", "vit_ti32"])
@pytest.mark.parametrize(("flip", "zoom"), [(True, False), (False, True), (True, True)])
def test_the_answer_is_the_mean_over_the_views(name: str, flip: bool, zoom: bool) -> None:
    torch.manual_seed(0)
    plain = build_model(name, img_size=64).eval()
    averaged = build_model(name, img_size=64, flip_average=flip, zoom_average=zoom).eval()
    torch.nn.init.normal_(plain.head.weight)
    averaged.load_state_dict(plain.state_dict())  # the same weights under the same names
    x = torch.randn(2, 1, 64, 64).expand(-1, 3, -1, -1)
    views = [x]
    if flip:
        views.append(x.flip(3))
    if zoom:
        views += [zoomed(x, height, width) for height, width in ZOOMS]
    with torch.no_grad():
        answers = torch.stack([plain(view) for view in views])
        torch.testing.assert_close(averaged(x), answers.mean(dim=0))
        assert answers.std(dim=0).min() > 1e-4
        torch.manual_seed(1)
        trained = averaged.train()(x)
        torch.manual_seed(1)
        torch.testing.assert_close(trained, plain.train()(x))


def test_no_other_views_unless_asked() -> None:
    assert not list(other_views(torch.zeros(1, 3, 32, 32), flip=False, zoom=False))


@pytest.mark.parametrize("side", [32, 128, 224, 225])
@pytest.mark.parametrize(("height", "width"), [*ZOOMS, (0.5, 2.0)])
def test_a_zoom_is_about_the_middle(side: int, height: float, width: float) -> None:
    across = torch.linspace(-1, 1, side).expand(side, side)
    ramps = torch.stack([across, across.T])[None]  # places sideways and upwards, 0 in the middle
    result = zoomed(ramps, height, width)[0]
    assert result.shape == (2, side, side)

    def inner(factor: float) -> Tensor:
        """Returns the pixels that show the image itself, not its mirror image."""
        places = torch.arange(side)
        return (places - (side - 1) / 2).abs() < factor * side / 2 - 2

    one_px = 2 / side / min(height, width)
    rows, columns = inner(height), inner(width)
    found = result[0][rows][:, columns], result[1][rows][:, columns]
    expected = across[:, columns] / width, across.T[rows] / height
    for values, places in zip(found, expected, strict=True):
        assert (values - places[: len(values), : values.shape[1]]).abs().max() < 1.1 * one_px


def test_beside_a_reduced_image_lies_its_mirror_image() -> None:
    x = torch.rand(1, 1, 64, 64)
    result = zoomed(x, 0.75, 0.75)  # 48 px amid two margins of 8
    torch.testing.assert_close(result[..., :8], result[..., 9:17].flip(3))
    torch.testing.assert_close(result[..., -8:, :], result[..., -17:-9, :].flip(2))


def test_views_travel_with_the_bundle() -> None:
    model = {"name": "cnn", "flip_average": True, "zoom_average": True}
    options = parse_recipe({"name": "a", "model": model}, "a").model.inference_options()
    assert options["flip_average"] is options["zoom_average"] is True
    for off in ({}, {"flip_average": False, "zoom_average": False}):
        plain = parse_recipe({"name": "a", "model": {"name": "cnn", **off}}, "a")
        assert not model.keys() - {"name"} & plain.model.inference_options().keys()
