"""The one forward pass: its input, its batches, its answer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumoscope.models.build import build_model
from pneumoscope.models.scoring import network_input, score_pixels


def films(num_films: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (num_films, 32, 32), np.uint8)


class Extremes(nn.Module):
    """Answers with each film's least and greatest value, and notes the batches."""

    num_classes = 2

    def __init__(self, in_chans: int = 3) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.batches: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.batches.append(tuple(x.shape))
        return torch.stack([x.amin((1, 2, 3)), x.amax((1, 2, 3))], dim=1)


def test_the_input_is_grey_in_every_channel_from_minus_one_to_one() -> None:
    pixels = torch.tensor([[[0, 51], [204, 255]]], dtype=torch.uint8)
    x = network_input(pixels, 3)
    assert x.shape == (1, 3, 2, 2)
    assert x.dtype == torch.float32
    expected = torch.tensor([[-1.0, -0.6], [0.6, 1.0]]).expand(1, 3, 2, 2)
    torch.testing.assert_close(x, expected)
    assert x.stride()[1] == 0  # shown three times, held once


@pytest.mark.parametrize("num_films", [1, 3, 4, 5, 8])
def test_every_film_once_and_in_order(num_films: int) -> None:
    pixels, network, seen = films(num_films), Extremes(), []
    logits = score_pixels(network, pixels, batch_size=4, on_progress=seen.append)
    flat = pixels.reshape(num_films, -1) / 127.5 - 1
    np.testing.assert_allclose(logits, np.stack([flat.min(1), flat.max(1)], axis=1), atol=1e-6)
    assert logits.dtype == np.float64
    sizes = [min(4, num_films - start) for start in range(0, num_films, 4)]
    assert network.batches == [(size, 3, 32, 32) for size in sizes]
    assert seen == np.cumsum(sizes).tolist()


def test_no_films() -> None:
    logits = score_pixels(Extremes(), films(0))
    assert logits.shape == (0, 2)
    assert logits.dtype == np.float64


def test_the_network_says_how_many_channels() -> None:
    network = Extremes(in_chans=1)
    score_pixels(network, films(2))
    assert network.batches == [(2, 1, 32, 32)]


def test_batches_do_not_change_scores() -> None:
    torch.manual_seed(0)
    network = build_model("cnn", img_size=32).train()
    nn.init.normal_(network.get_submodule("head").weight)
    pixels = films(7)
    together = score_pixels(network, pixels)
    assert not network.training
    alone = np.concatenate([score_pixels(network, pixels[i : i + 1]) for i in range(7)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(together, axis=0).min() > 1e-3


@pytest.mark.filterwarnings("error")
def test_a_read_only_memory_map_is_scored_and_stays(tmp_path: Path) -> None:
    np.save(tmp_path / "films.npy", films(5))
    pixels = np.load(tmp_path / "films.npy", mmap_mode="r")
    logits = score_pixels(Extremes(), pixels, batch_size=2)
    np.testing.assert_array_equal(logits, score_pixels(Extremes(), films(5)))
    np.testing.assert_array_equal(pixels, films(5))


def test_less_than_float32_only_where_it_is_asked_for() -> None:
    network = build_model("vit_scratch", img_size=32)
    pixels = films(3)
    exact = score_pixels(network, pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # as a training step around it might
        np.testing.assert_array_equal(score_pixels(network, pixels), exact)
    rounded = score_pixels(network, pixels, dtype=torch.bfloat16)
    assert not np.array_equal(rounded, exact)
    np.testing.assert_allclose(rounded, exact, atol=0.05)
