"""Position embeddings of sines and cosines, and a network that starts from them."""

import pytest
import torch

from pneumoscope.errors import ModelError
from pneumoscope.models.build import build_model
from pneumoscope.models.positions import sine_cosine_positions


def test_positions_are_different_and_nearer_places_are_more_alike() -> None:
    positions = sine_cosine_positions(4, 24)
    assert positions.shape == (1, 17, 24)
    assert positions[0, 0].abs().sum() == 0  # the class token has no place
    places = positions[0, 1:]
    torch.testing.assert_close(places.square().sum(dim=1), torch.full((16,), 12.0))
    assert len(places.unique(dim=0)) == 16
    torch.testing.assert_close(places[0, :12], places[1, :12])  # the same row,
    torch.testing.assert_close(places[0, 12:], places[4, 12:])  # the same column
    alike = places @ places.T
    assert alike[0, 1] > alike[0, 2] > alike[0, 3]
    assert alike[0, 1] == pytest.approx(alike[0, 4].item())  # a row away as a column away


def test_a_width_that_is_no_multiple_of_4_is_told() -> None:
    with pytest.raises(ModelError, match="a width of 6 is not a multiple of 4"):
        sine_cosine_positions(4, 6)


def test_a_network_starts_from_them_and_is_else_the_same() -> None:
    networks = []
    for start in ("normal", "sine_cosine"):
        torch.manual_seed(0)
        networks.append(build_model("vit_scratch", img_size=32, pos_embed_init=start))
    normal, sines = (dict(network.named_parameters()) for network in networks)
    assert torch.equal(sines["pos_embed"], sine_cosine_positions(2, 256))
    assert sines["pos_embed"].requires_grad
    assert normal["pos_embed"].std() < 0.03
    for name in normal.keys() - {"pos_embed"}:
        assert torch.equal(normal[name], sines[name]), name
