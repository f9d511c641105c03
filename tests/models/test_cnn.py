"""The baseline CNN."""

import torch

from pneumoscope.models.build import build_model
from pneumoscope.models.cnn import ResidualBlock


def test_shapes_at_any_size():
    model = build_model("cnn", in_chans=1).eval()
    for size, side in ((32, 1), (160, 5), (224, 7), (230, 8)):
        maps = model.forward_features(torch.randn(1, 1, size, size))
        assert maps.shape == (1, 160, side, side)
        assert model.classify(maps).shape == (1, 2)


def test_a_block_starts_as_the_identity():
    block = ResidualBlock(8, 8, stride=1).eval()
    x = torch.rand(2, 8, 6, 6)
    torch.testing.assert_close(block(x), x)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    model = build_model("cnn", drop_rate=0.5)
    x = torch.randn(4, 3, 64, 64)
    model.eval()
    torch.testing.assert_close(model(x), model(x))
    maps = model.forward_features(x)
    model.train()
    assert not torch.equal(model.classify(maps), model.classify(maps))
