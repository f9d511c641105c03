"""Films take up one another's style, and nothing else: histogram and power, not shapes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from pneumoscope.config import AugmentationConfig
from pneumoscope.data.augmentation import Augmenter
from pneumoscope.data.random_style import (
    COARSEST,
    NUM_DETAIL_BANDS,
    RandomStyle,
    detail_bands,
    match_detail,
    match_levels,
)
from pneumoscope.data.style import describe_style

SIDE = 64
WHOLE = torch.ones(2, 1)
SWAP = torch.tensor([1, 0])


def textures(num_films: int, *, slope: float, mean: float = 0.5, seed: int = 0) -> Tensor:
    """Random films whose amplitudes fall off by ``slope``, (B, 1, S, S), multiples of 1/255."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(num_films, SIDE, SIDE, generator=generator)
    radius = torch.hypot(torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE)[None])
    filtered = torch.fft.rfft2(noise) * radius.clamp(min=1 / SIDE) ** -slope
    films = torch.fft.irfft2(filtered)
    films = (films - films.mean((1, 2), keepdim=True)) / films.std((1, 2), keepdim=True)
    return ((films * 0.12 + mean).clamp(0, 1) * 255).round()[:, None] / 255


def band_power(films: Tensor) -> Tensor:
    """Mean power of each of the bands (B, NUM_DETAIL_BANDS), by a whole spectrum."""
    columns = torch.fft.fft2(films[:, 0]).abs().square()
    half = detail_bands(SIDE).reshape(NUM_DETAIL_BANDS, SIDE, SIDE // 2 + 1)
    mirrored = half[:, :, 1:-1].flip(2)  # radii are those of the left half, column by column
    bands = torch.cat([half, mirrored], dim=2).flatten(1)
    return columns.flatten(1) @ bands.T / bands.sum(1)


@pytest.mark.parametrize("side", [32, 65, 128, 224])
def test_bands_share_out_all_fine_detail(side: int) -> None:
    bands = detail_bands(side)
    assert bands.shape == (NUM_DETAIL_BANDS, side * (side // 2 + 1))
    assert bands.min() >= 0.0
    assert torch.all(bands.sum(1) > 0)
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
    cycles = frequency.flatten() * side
    total = bands.sum(0)
    torch.testing.assert_close(total[cycles >= COARSEST], torch.ones(int((cycles >= 4).sum())))
    assert torch.all(total[cycles < 2.4] == 0.0)


def test_levels_become_those_of_the_partner_and_keep_their_order() -> None:
    # Levels of their own for every pixel, so that a histogram can be met exactly.
    order = torch.stack([torch.randperm(256), torch.randperm(256)])
    dark, bright = order[0].reshape(16, 16), 128 + order[1].reshape(16, 16) // 2
    films = torch.stack([dark, bright])[:, None] / 255.0
    changed = match_levels(films, films[SWAP], WHOLE)
    torch.testing.assert_close(changed[0].flatten().sort()[0], films[1].flatten().sort()[0])
    assert torch.all(changed[0].flatten()[order[0].argsort()].diff() >= 0)
    # Its two pixels a level cannot be told apart again, so the other comes within one level.
    found, expected = (film.flatten().sort()[0] for film in (changed[1], films[0]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1.01 / 255)


def test_half_of_the_way_is_half_of_the_way() -> None:
    films = torch.cat([textures(1, slope=1.0, mean=0.3), textures(1, slope=1.0, mean=0.6, seed=1)])
    whole = match_levels(films, films[SWAP], WHOLE)
    half = match_levels(films, films[SWAP], WHOLE / 2)
    torch.testing.assert_close(half, (films + whole) / 2, rtol=0, atol=1e-5)
    assert torch.equal(match_levels(films, films[SWAP], WHOLE * 0), films)


def test_detail_becomes_that_of_the_partner_band_by_band() -> None:
    films = torch.cat([textures(1, slope=1.0), textures(1, slope=1.3, seed=1)])
    before = band_power(films)
    changed = match_detail(films, films[SWAP], WHOLE, detail_bands(SIDE))
    distance = (band_power(changed) / before[SWAP]).log().abs()
    assert (before / before[SWAP]).log().abs().max() > 1.0
    assert distance.mean() < 0.1  # not 0: bands overlap, and their gains with them
    assert distance.max() < 0.4
    half = match_detail(films, films[SWAP], WHOLE / 2, detail_bands(SIDE))
    middle = (before * before[SWAP]).sqrt()
    assert (band_power(half) / middle).log().abs().mean() < 0.05


def test_gains_have_a_limit_and_the_coarse_stays() -> None:
    strong, weak = textures(1, slope=0.0), 0.5 + (textures(1, slope=2.0, seed=1) - 0.5) * 0.05
    films = torch.cat([strong, weak])
    changed = match_detail(films, films[SWAP], WHOLE, detail_bands(SIDE))
    ratio = (band_power(changed) / band_power(films)).log() / 2
    assert ratio.min() == pytest.approx(-1.5, abs=0.01)
    assert ratio.max() == pytest.approx(1.5, abs=0.01)
    coarse = torch.fft.rfft2(changed)[:, 0, :2, :2] / torch.fft.rfft2(films)[:, 0, :2, :2]
    torch.testing.assert_close(coarse.abs(), torch.ones(2, 2, 2))


def test_a_flat_film_has_no_detail_to_amplify() -> None:
    films = torch.cat([torch.full((1, 1, SIDE, SIDE), 0.5), textures(1, slope=0.0)])
    changed = match_detail(films, films[SWAP], WHOLE, detail_bands(SIDE))
    torch.testing.assert_close(changed[0], films[0])


def test_shapes_stay_where_they_are() -> None:
    films = torch.cat([textures(4, slope=1.0), textures(4, slope=1.4, mean=0.6, seed=1)])
    torch.manual_seed(0)
    changed = RandomStyle(1.0, SIDE)(films)
    assert (changed - films).abs().mean() > 2 / 255
    for film, other in zip(films.flatten(1), changed.flatten(1), strict=True):
        assert np.corrcoef(film, other)[0, 1] > 0.9


def test_no_frequency_is_shifted() -> None:
    films = textures(4, slope=1.2)
    changed = match_detail(films, films.roll(1, dims=0), torch.ones(4, 1), detail_bands(SIDE))
    ratio = torch.fft.rfft2(changed)[:, 0, 1:, 1:-1] / torch.fft.rfft2(films)[:, 0, 1:, 1:-1]
    torch.testing.assert_close(ratio.angle(), torch.zeros_like(ratio.real), rtol=0, atol=0.01)


def test_probability_and_seed() -> None:
    films = textures(200, slope=1.0)
    style = RandomStyle(0.5, SIDE)
    torch.manual_seed(3)
    changed = style(films)
    moved = (changed - films).abs().amax((1, 2, 3)) > 0.5 / 255
    assert 75 <= moved.sum() <= 125
    torch.testing.assert_close(changed[~moved], films[~moved], rtol=0, atol=0.51 / 255)
    torch.manual_seed(3)
    assert torch.equal(style(films), changed)


def test_a_film_alone_stays_as_it_is() -> None:
    film = textures(1, slope=1.0)
    torch.testing.assert_close(RandomStyle(1.0, SIDE)(film), film, rtol=0, atol=1e-5)


def test_style_foretells_the_class_less() -> None:
    normal, sick = textures(96, slope=1.0, mean=0.45), textures(288, slope=1.15, mean=0.5, seed=1)
    films = (torch.cat([normal, sick])[:, 0] * 255).round().to(torch.uint8)
    labels = np.repeat([0, 1], [96, 288])
    torch.manual_seed(0)
    augmenter = Augmenter(AugmentationConfig(style_prob=1.0), SIDE)
    changed = torch.empty(films.shape)
    for batch in torch.randperm(len(films)).split(32):  # as in training: one in four is normal
        changed[batch] = augmenter(films[batch])

    def foretold(films: Tensor) -> float:
        figures = describe_style(films.round().to(torch.uint8).numpy())
        half = np.arange(len(films)) % 2 == 0
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
        model.fit(figures[half], labels[half])
        return float(roc_auc_score(labels[~half], model.decision_function(figures[~half])))

    assert foretold(films) > 0.99
    assert foretold(changed) < 0.97  # of three in four the partner is sick too
