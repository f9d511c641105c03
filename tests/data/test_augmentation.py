"""Each lever moves what it says, about as far as it says, and for each film apart."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pneumoscope.config import AugmentationConfig
from pneumoscope.data.augmentation import Augmenter, RandAugment

SIDE = 64
ALL = AugmentationConfig(
    hflip_prob=0.5, rotate_deg=10, translate=0.1, scale_min=0.8, scale_max=1.2, shear_deg=5,
    style_prob=0.5, brightness=0.2, contrast=0.3, gamma=0.3, blur_prob=0.5, noise_prob=0.5,
    erase_prob=0.5,
)  # fmt: skip


def augment(pixels: Tensor, seed: int = 0, **levers: Any) -> Tensor:
    augmenter = Augmenter(AugmentationConfig(**levers), SIDE)
    torch.manual_seed(seed)
    changed: Tensor = augmenter(pixels)
    return changed


def random_films(num_films: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (num_films, SIDE, SIDE)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def blobs(num_films: int, y: float = 0.0, x: float = 0.0, sigma: float = 5.0) -> Tensor:
    """Films with one bright spot (y, x) pixels from the centre."""
    place = torch.arange(SIDE) - (SIDE - 1) / 2
    down = torch.exp(-((place - y) ** 2) / (2 * sigma**2))
    right = torch.exp(-((place - x) ** 2) / (2 * sigma**2))
    film = (255 * down[:, None] * right[None, :]).round().to(torch.uint8)
    return film.expand(num_films, -1, -1).clone()


def moments(films: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre (y, x) from the middle and spread (y, x) of each film's light, pixels."""
    place = torch.arange(SIDE) - (SIDE - 1) / 2
    light = films / films.sum((1, 2), keepdim=True)
    rows, columns = light.sum(2), light.sum(1)
    y, x = rows @ place, columns @ place
    spread_y = (rows @ place**2 - y**2).sqrt()
    spread_x = (columns @ place**2 - x**2).sqrt()
    return y, x, spread_y, spread_x


def reaches(values: Tensor, low: float, high: float, slack: float) -> bool:
    """Whether values stay in [low, high] and come near both ends."""
    middle, half = (low + high) / 2, (high - low) / 2
    inside = values.min() >= low - slack and values.max() <= high + slack
    return bool(inside and values.min() < middle - half / 2 and values.max() > middle + half / 2)


def test_zeros_are_the_identity() -> None:
    pixels = random_films(3)
    changed = augment(pixels)
    assert changed.dtype == torch.float32
    assert torch.equal(changed, pixels.float())


def test_a_certain_flip_is_the_mirror_image() -> None:
    pixels = random_films(3)
    torch.testing.assert_close(
        augment(pixels, hflip_prob=1.0), pixels.flip(2).float(), rtol=0, atol=1e-3
    )


def test_a_flip_of_one_half_turns_about_half() -> None:
    pixels = random_films(100)
    flipped = (augment(pixels, hflip_prob=0.5) - pixels.float()).abs().amax((1, 2)) > 1
    assert 35 <= flipped.sum() <= 65


def test_a_crop_shows_a_share_of_the_film_between_the_bounds() -> None:
    # The spot's area on the film grows by as much as the shown area shrinks.
    plain = moments(blobs(1, sigma=4.0).float())
    y, x, spread_y, spread_x = moments(augment(blobs(200, sigma=4.0), crop_min=0.5))
    middle = torch.hypot(y, x) < 10  # of the others, the frame may cut the spot
    shown = (plain[2] * plain[3] / (spread_y * spread_x))[middle]
    assert middle.sum() > 100
    assert reaches(shown, 0.5, 1.0, slack=0.08)
    sides = (spread_y / spread_x)[middle]
    assert reaches(sides.log(), -0.288, 0.288, slack=0.06)  # 3:4 to 4:3


def test_a_crop_keeps_the_films_size_and_its_place_varies() -> None:
    changed = augment(blobs(64), crop_min=0.3)
    assert changed.shape == (64, SIDE, SIDE)
    y, x, *_ = moments(changed)
    assert y.std() > 3
    assert x.std() > 3


def test_rotation() -> None:
    y, x, *_ = moments(augment(blobs(64, x=15.0), rotate_deg=20.0))
    torch.testing.assert_close(torch.hypot(x, y), torch.full((64,), 15.0), rtol=0, atol=0.3)
    assert reaches(torch.rad2deg(torch.atan2(y, x)), -20, 20, slack=0.5)


def test_translation_is_apart_in_height_and_width() -> None:
    y, x, *_ = moments(augment(blobs(64), translate=0.2))
    for shift in (y, x):
        assert reaches(shift, -0.2 * SIDE, 0.2 * SIDE, slack=0.3)
    assert (y - x).abs().max() > 0.2 * SIDE


def test_zoom_is_apart_in_height_and_width() -> None:
    _, _, height, width = moments(augment(blobs(64), scale_min=0.7, scale_max=1.4))
    for spread in (height, width):
        assert reaches(spread / 5.0, 0.7, 1.4, slack=0.03)
    assert reaches(height / width, 0.7, 1.4, slack=1.0)


def test_shear() -> None:
    bar = torch.zeros(64, SIDE, SIDE, dtype=torch.uint8)
    bar[:, 12:52, 30:34] = 255
    changed = augment(bar, shear_deg=20.0)
    place = torch.arange(SIDE, dtype=torch.float32)
    upper, lower = changed[:, 16:20].sum(1), changed[:, 44:48].sum(1)
    slope = ((upper @ place) / upper.sum(1) - (lower @ place) / lower.sum(1)) / 28
    assert reaches(torch.rad2deg(torch.atan(slope)), -20, 20, slack=1.0)


def test_what_comes_into_view_is_no_black_corner() -> None:
    levels = torch.arange(16, dtype=torch.uint8) * 10 + 40
    flat = levels[:, None, None].expand(16, SIDE, SIDE).contiguous()
    changed = augment(
        flat, hflip_prob=0.5, rotate_deg=45, translate=0.2, scale_min=0.5, shear_deg=10, blur_prob=1
    )
    # Flat films stay flat, and each in its own place.
    torch.testing.assert_close(changed, flat.float(), rtol=0, atol=0.1)


def test_intensity_is_its_formula() -> None:
    pixels = random_films(5)
    changed = augment(pixels, seed=3, brightness=0.2, contrast=0.4)
    torch.manual_seed(3)
    draws = (2 * torch.rand(2, 5, 1, 1, 1) - 1).numpy().reshape(2, 5, 1, 1)
    films = pixels.numpy().astype(np.float64)
    mean = films.mean((1, 2), keepdims=True)
    expected = (films - mean) * (1 + 0.4 * draws[0]) + mean * (1 + 0.2 * draws[1])
    np.testing.assert_allclose(changed.numpy(), expected, atol=1e-3)


def test_brightness_and_contrast_keep_to_their_ranges() -> None:
    pixels = random_films(1).expand(100, -1, -1).contiguous()
    mean, std = pixels[0].float().mean(), pixels[0].float().std()
    brighter = augment(pixels, brightness=0.3)
    assert reaches(brighter.mean((1, 2)) / mean, 0.7, 1.3, slack=1e-4)
    torch.testing.assert_close(brighter.std((1, 2)), std.expand(100))
    harder = augment(pixels, contrast=0.3)
    assert reaches(harder.std((1, 2)) / std, 0.7, 1.3, slack=1e-4)
    torch.testing.assert_close(harder.mean((1, 2)), mean.expand(100))


def test_gamma() -> None:
    ramp = torch.arange(0, 256, dtype=torch.uint8).expand(64, 256, 256).contiguous()
    changed = augment(ramp, gamma=0.3)[:, 0]
    torch.testing.assert_close(changed[:, 0], torch.zeros(64))
    torch.testing.assert_close(changed[:, 255], torch.full((64,), 255.0))
    exponents = (changed / 255)[:, 50:250:50].log() / (ramp[0, 0, 50:250:50] / 255).log()
    assert torch.all(exponents.std(1) < 1e-3)
    assert reaches(exponents.mean(1), 0.7, 1.3, slack=1e-3)


def test_blur_takes_from_what_is_fine_only() -> None:
    pixels = random_films(32)
    changed = augment(pixels, blur_prob=1.0)
    before, after = (films.diff(dim=2).abs().mean((1, 2)) for films in (pixels.float(), changed))
    assert torch.all(after <= before * 1.0001)  # a blur of 0.1 pixels is none
    assert after.min() < 0.2 * before.mean()
    means = pixels.float().mean((1, 2))
    torch.testing.assert_close(changed.mean((1, 2)), means, rtol=0.01, atol=0)


def test_noise_is_three_percent_of_the_grey_range() -> None:
    pixels = torch.full((100, SIDE, SIDE), 128, dtype=torch.uint8)
    noise = augment(pixels, noise_prob=0.5) - 128.0
    noisy = noise.abs().amax((1, 2)) > 0.01
    assert 35 <= noisy.sum() <= 65
    assert noise[noisy].std().item() == pytest.approx(0.03 * 255, rel=0.02)
    assert abs(noise[noisy].mean().item()) < 0.1


def test_one_rectangle_of_up_to_a_fifth_is_erased() -> None:
    pixels = torch.full((64, SIDE, SIDE), 200, dtype=torch.uint8)
    changed = augment(pixels, erase_prob=1.0)
    for film in changed:
        gone = film == 0
        assert torch.all(film[~gone] > 199.9)
        rows, columns = gone.any(1).sum().item(), gone.any(0).sum().item()
        assert gone.sum() == rows * columns
        assert 0.015 < rows * columns / SIDE**2 < 0.21
    assert len(torch.unique((changed == 0).sum((1, 2)))) > 20


def test_all_together_keep_shape_kind_and_input() -> None:
    pixels = random_films(5)
    before = pixels.clone()
    torch.manual_seed(0)
    changed = Augmenter(ALL, SIDE)(pixels)
    assert changed.shape == pixels.shape
    assert changed.dtype == torch.float32
    assert torch.isfinite(changed).all()
    assert torch.equal(pixels, before)


def test_the_same_seed_draws_the_same_and_each_film_its_own() -> None:
    augmenter = Augmenter(ALL, SIDE)
    film = blobs(1, y=8, x=4, sigma=9).expand(8, -1, -1).contiguous()
    torch.manual_seed(5)
    first = augmenter(film)
    other = augmenter(film)
    torch.manual_seed(5)
    assert torch.equal(augmenter(film), first)
    assert not torch.equal(other, first)
    distances = torch.cdist(first.flatten(1), first.flatten(1)) / SIDE
    assert distances[~torch.eye(8, dtype=torch.bool)].min() > 1.0


class TestRandAugment:
    def test_none_of_its_changes_makes_what_no_film_is(self) -> None:
        names = {type(op).__name__ for op in RandAugment(1, 0.5).ops}
        assert not names & {"RandomPosterize", "RandomSolarize", "RandomEqualize", "RandomInvert"}
        assert len(RandAugment(1, 0.5).ops) == 10

    def test_each_film_has_its_own_changes(self) -> None:
        pixels = blobs(1, x=6.0, sigma=8.0).expand(200, -1, -1)
        changed = augment(pixels, randaugment_ops=1)
        moved = (changed - pixels).abs().amax((1, 2)) > 1
        assert 160 <= moved.sum() < 200  # one in ten stays as it is
        assert len(changed[moved].flatten(1).round(decimals=1).unique(dim=0)) > 150

    def test_more_ops_and_a_larger_magnitude_change_more(self) -> None:
        pixels = blobs(300, x=6.0, sigma=8.0)

        def mean_change(**levers: Any) -> float:
            return float((augment(pixels, **levers) - pixels).abs().mean())

        little = mean_change(randaugment_ops=1, randaugment_magnitude=0.1)
        middle = mean_change(randaugment_ops=1, randaugment_magnitude=0.5)
        assert little < 0.5 * middle
        assert mean_change(randaugment_ops=3, randaugment_magnitude=0.5) > 1.5 * middle

    def test_films_keep_their_kind(self) -> None:
        changed = augment(random_films(8), randaugment_ops=2)
        assert changed.shape == (8, SIDE, SIDE)
        assert changed.dtype == torch.float32
        assert torch.isfinite(changed).all()
