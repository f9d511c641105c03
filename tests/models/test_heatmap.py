"""Heat maps: the rules of their papers on small networks, sanity checks on the shipped ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from torch import nn

from pneumoscope.bundle import open_bundle, shipped_bundles
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.errors import ModelError
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import load_network
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.heatmap import attention_rollout, class_heatmap, overlay
from pneumoscope.models.scoring import network_input, score_pixels
from pneumoscope.models.vit import VisionTransformer

S = 64


def small_vit(depth: int = 2) -> VisionTransformer:
    torch.manual_seed(0)
    network = VisionTransformer(
        img_size=S, patch_size=16, embed_dim=24, depth=depth, num_heads=3, norm_eps=1e-6
    )
    for parameter in network.parameters():  # the initial weights make nearly flat attention
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


def small_cnn() -> ResNet:
    torch.manual_seed(0)
    network = ResNet(img_size=S, in_chans=1, widths=(8, 16), depths=(1, 1))
    network(torch.randn(8, 1, S, S))  # BatchNorm sees some films
    return network.eval()


NETWORKS = [small_vit, small_cnn]


@pytest.fixture
def films() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, S, S), np.uint8)


def stretched(coarse: np.ndarray) -> np.ndarray:
    large = F.interpolate(torch.from_numpy(coarse)[:, None].float(), size=(S, S), mode="bilinear")
    large = large[:, 0].numpy()
    low, high = large.min((1, 2), keepdims=True), large.max((1, 2), keepdims=True)
    return (large - low) / np.where(high > low, high - low, 1)


@pytest.mark.parametrize("make", NETWORKS)
class TestClassHeatmap:
    def test_form(self, make: Callable[[], nn.Module], films: np.ndarray) -> None:
        heat = class_heatmap(make(), films)
        assert (heat.shape, heat.dtype) == ((3, S, S), np.float32)
        assert heat.min() == 0
        assert set(heat.max((1, 2))) <= {0.0, 1.0}

    def test_no_films(self, make: Callable[[], nn.Module]) -> None:
        assert class_heatmap(make(), np.empty((0, S, S), np.uint8)).shape == (0, S, S)

    def test_films_do_not_influence_one_another(
        self, make: Callable[[], nn.Module], films: np.ndarray
    ) -> None:
        network = make()
        many = np.concatenate([films] * 4)  # more than are taken at a time
        heat = class_heatmap(network, many)
        alone = np.concatenate([class_heatmap(network, film[None]) for film in films])
        np.testing.assert_allclose(heat, np.concatenate([alone] * 4), atol=1e-4)

    def test_the_network_stays_as_it_was(
        self, make: Callable[[], nn.Module], films: np.ndarray
    ) -> None:
        network = make()
        before = score_pixels(network, films)
        class_heatmap(network, films)
        assert np.array_equal(score_pixels(network, films), before)
        assert all(parameter.grad is None for parameter in network.parameters())
        assert not any(module._forward_hooks for module in network.modules())

    def test_frozen_weights_and_inference_mode(
        self, make: Callable[[], nn.Module], films: np.ndarray
    ) -> None:
        network = make()
        expected = class_heatmap(network, films)
        network.requires_grad_(False)
        with torch.inference_mode():
            np.testing.assert_array_equal(class_heatmap(network, films), expected)

    def test_nothing_that_speaks_for_pneumonia(
        self, make: Callable[[], nn.Module], films: np.ndarray
    ) -> None:
        network = make()
        nn.init.zeros_(network.head.weight)
        assert not class_heatmap(network, films).any()

    def test_views_over_which_the_answer_is_averaged_are_not_in_it(
        self, make: Callable[[], nn.Module], films: np.ndarray
    ) -> None:
        network = make()
        plain = class_heatmap(network, films)
        network.flip_average = network.zoom_average = True  # type: ignore[assignment]
        np.testing.assert_array_equal(class_heatmap(network, films), plain)

    def test_films_of_another_size(self, make: Callable[[], nn.Module]) -> None:
        for shape in [(1, S, S + 1), (S, S)]:
            with pytest.raises(ModelError, match="this network takes B x 64 x 64"):
                class_heatmap(make(), np.zeros(shape, np.uint8))


def test_grad_cam_of_a_pooled_linear_head_is_the_class_activation_map(films: np.ndarray) -> None:
    network = small_cnn()
    with torch.no_grad():
        maps = network.forward_features(network_input(torch.from_numpy(films), 1))
        direction = network.head.weight[1] - network.head.weight[0]
        cam = torch.einsum("bdhw,d->bhw", maps, direction).relu()
    np.testing.assert_allclose(class_heatmap(network, films), stretched(cam.numpy()), atol=1e-4)


def test_relevance_of_one_block_is_attention_times_its_gradient(films: np.ndarray) -> None:
    """The gradient is taken by differences, from a forward pass written out here."""
    network = small_vit(depth=1).double()
    x = network_input(torch.from_numpy(films[:1]), 3).double()
    block = network.blocks[0]

    def log_odds(weights: torch.Tensor) -> torch.Tensor:
        tokens = network._embed(x)[0]
        values = block.attn._heads(block.norm1(tokens))[2]
        tokens = tokens + block.attn.proj((weights @ values).transpose(1, 2).flatten(2))
        tokens = tokens + block.mlp(block.norm2(tokens))
        normal, pneumonia = network.classify(network.norm(tokens))[0]
        return pneumonia - normal

    with torch.no_grad():
        weights = network.attention_maps(x)[0]  # (1, A, N, N)
        torch.testing.assert_close(
            log_odds(weights), network(x)[0, 1] - network(x)[0, 0], atol=1e-9, rtol=1e-9
        )
        gradient = torch.zeros_like(weights)
        for head in range(3):
            for token in range(1, 17):
                step = torch.zeros_like(weights)
                step[0, head, 0, token] = 1e-5
                gradient[0, head, 0, token] = (
                    log_odds(weights + step) - log_odds(weights - step)
                ) / 2e-5
        relevance = (weights * gradient).relu().mean(1)[:, 0, 1:].reshape(1, 4, 4)
    expected = stretched(relevance.numpy())
    np.testing.assert_allclose(class_heatmap(network.float(), films[:1]), expected, atol=1e-3)


def test_rollout_multiplies_mixed_attention(films: np.ndarray) -> None:
    network = small_vit()
    with torch.no_grad():
        first, second = network.attention_maps(network_input(torch.from_numpy(films), 3))
    identity = np.eye(17)
    mixed = [0.5 * weights.mean(1).numpy() + 0.5 * identity for weights in (first, second)]
    flow = (mixed[1] @ mixed[0])[:, 0, 1:].reshape(3, 4, 4)
    np.testing.assert_allclose(attention_rollout(network, films), stretched(flow), atol=1e-4)


def test_rollout_is_for_vision_transformers(films: np.ndarray) -> None:
    with pytest.raises(ModelError, match="a ResNet has no attention"):
        attention_rollout(small_cnn(), films)


def test_networks_of_other_kinds(films: np.ndarray) -> None:
    with pytest.raises(ModelError, match="no heat map is known for a Linear"):
        class_heatmap(nn.Linear(2, 2), films)


class TestOverlay:
    def test_a_film_without_heat_is_as_it_was(self) -> None:
        view = np.arange(12, dtype=np.uint8).reshape(3, 4)
        painted = overlay(view, np.zeros((8, 8), np.float32))
        assert (painted.shape, painted.dtype) == ((3, 4, 3), np.uint8)
        assert (painted == view[..., None]).all()

    def test_only_hot_places_are_coloured(self) -> None:
        heat = np.zeros((8, 8), np.float32)
        heat[:, 4:] = 0.5
        painted = overlay(np.full((8, 8), 90, np.uint8), heat).astype(int)
        spread = painted.max(-1) - painted.min(-1)
        assert (spread[:, :4] == 0).all()
        assert (spread[:, 4:] > 20).all()


@pytest.fixture(scope="module")
def sick_children(shared_dir: Path) -> list[Path]:
    folder = shared_dir / "data/chest_xray/test/PNEUMONIA"
    return sorted(folder.iterdir())[::20]


@pytest.mark.parametrize("name", shipped_bundles())
class TestShippedNetworks:
    """Sanity checks that a mere edge detector would fail.

    Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018 (arXiv:1810.03292);
    Petsiuk et al., "RISE", BMVC 2018 (arXiv:1806.07421), deletion.
    """

    def films(self, network: nn.Module, paths: list[Path]) -> np.ndarray:
        size = int(network.img_size)
        return np.stack([prepare(read_radiograph(path), size) for path in paths])

    def test_randomised_weights_destroy_the_map(self, name: str, sick_children: list[Path]) -> None:
        bundle = open_bundle(name)
        network = load_network(bundle)
        films = self.films(network, sick_children)
        torch.manual_seed(0)
        randomised = build_model(**bundle.config["model"])
        maps = [class_heatmap]
        maps += [attention_rollout] if isinstance(network, VisionTransformer) else []
        for heat_of in maps:
            pairs = zip(heat_of(network, films), heat_of(randomised, films), strict=True)
            agreement = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs]
            assert np.nanmean(agreement) < 0.4

    def test_deleting_the_hot_region_lowers_the_score_more_than_others_of_its_shape(
        self, name: str, sick_children: list[Path]
    ) -> None:
        network = load_network(open_bundle(name))
        films = self.films(network, sick_children)
        heat = class_heatmap(network, films)
        rng = np.random.default_rng(0)
        before = self.log_odds(network, films)

        def drop(maps: np.ndarray) -> np.ndarray:
            return before - self.log_odds(network, self.blurred(films, maps))

        def moved() -> np.ndarray:
            return np.stack([np.roll(h, rng.integers(0, len(h), 2), (0, 1)) for h in heat])

        hot, other = drop(heat), np.mean([drop(moved()) for _ in range(5)], axis=0)
        assert np.mean(hot > other) >= 0.7
        if name == "cnn":  # minds a blurred region little, wherever it lies: docs/screening.md
            assert np.median(hot) > 0.0
            assert hot.mean() > other.mean()
        else:
            assert hot.mean() > 0.1
            assert hot.mean() > other.mean() + 0.2

    def log_odds(self, network: nn.Module, films: np.ndarray) -> np.ndarray:
        logits = score_pixels(network, films)
        return logits[:, 1] - logits[:, 0]

    def blurred(self, films: np.ndarray, heat: np.ndarray) -> np.ndarray:
        """Films whose hottest fifth has lost its structure but not its brightness.

        A flat grey patch would look like a consolidation to a network that knows them.
        """
        deleted = films.copy()
        for film, blank, h in zip(films, deleted, heat, strict=True):
            hot = h >= np.quantile(h, 0.8)
            blank[hot] = gaussian_filter(film, len(film) / 12)[hot]
        return deleted
