"""What is measured on films: against closed forms, and against what each alteration must do."""

import json
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import (
    QUALITY_ATTRIBUTES,
    QUANTILE_LEVELS,
    VIEW_PX,
    Quality,
    QualityRange,
    measure_quality,
    measure_view,
    quality_range,
)
from pneumoscope.data.radiograph import Radiograph, read_radiograph
from pneumoscope.errors import DataError


def view_of(levels) -> np.ndarray:
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)


def measure(levels) -> Quality:
    return measure_view(view_of(levels), height_px=300, width_px=400)


@pytest.fixture
def film() -> np.ndarray:
    """A picture with about as much detail at every scale as films have; (224, 224) levels."""
    rng = np.random.default_rng(0)
    layers = [gaussian_filter(rng.normal(size=(VIEW_PX, VIEW_PX)), s) for s in (1.5, 4, 12)]
    return 128 + sum(s * x / x.std() for s, x in zip((4, 10, 25), layers, strict=True))


def test_a_film_of_two_halves():
    levels = np.zeros((VIEW_PX, VIEW_PX))
    levels[:, VIEW_PX // 2 :] = 255
    found = measure(levels)
    assert (found.height_px, found.width_px) == (300, 400)
    assert (found.brightness, found.contrast) == (0.5, 0.5)
    assert (found.dark_share, found.bright_share) == (0.5, 0.5)


@pytest.mark.parametrize("period_px", [8, 14, 28])
def test_sharpness_of_a_wave_is_what_theory_says(period_px):
    k = 2 * np.pi / period_px
    wave = 128 + 100 * np.cos(k * (np.arange(VIEW_PX) + 0.5))
    # A Gaussian of width 1 damps a wave by exp(-k^2 / 2), the Laplacian multiplies it by -k^2.
    expected = np.log10(k**4 * np.exp(-(k**2)))
    assert measure(np.tile(wave, (VIEW_PX, 1))).sharpness == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("level", "dark", "bright"), [(0, 1, 0), (5, 1, 0), (6, 0, 0), (249, 0, 0), (250, 0, 1)]
)
def test_a_flat_film_has_defined_numbers(level, dark, bright):
    found = measure(np.full((VIEW_PX, VIEW_PX), level))
    assert found.brightness == pytest.approx(level / 255)
    assert (found.contrast, found.sharpness) == (pytest.approx(0, abs=1e-12), -4)
    assert (found.dark_share, found.bright_share) == (dark, bright)


def test_exposure_is_not_read_as_sharpness(film):
    plain = measure(film)
    fainter = measure(128 + 0.5 * (film - 128))
    darker = measure(0.6 * film)
    assert fainter.contrast == pytest.approx(0.5 * plain.contrast, rel=0.01)
    assert darker.brightness == pytest.approx(0.6 * plain.brightness, rel=0.01)
    assert fainter.sharpness == pytest.approx(plain.sharpness, abs=0.05)
    assert darker.sharpness == pytest.approx(plain.sharpness, abs=0.05)


def test_blur_lowers_sharpness(film):
    blurred = [measure(gaussian_filter(film, s)).sharpness for s in (0.7, 1, 1.5, 2)]
    falling = [measure(film).sharpness, *blurred]
    assert falling == sorted(set(falling), reverse=True)


def test_faint_noise_moves_the_sharpness_of_films_less_than_blur(shared_dir: Path):
    folder = shared_dir / "data" / "chest_xray" / "train"
    paths = [p for kind in ("NORMAL", "PNEUMONIA") for p in sorted((folder / kind).glob("*"))[:10]]
    noise = np.random.default_rng(1).normal(size=(VIEW_PX, VIEW_PX))
    moved = []
    for path in paths:
        film = prepare(read_radiograph(path), VIEW_PX).astype(np.float64)
        plain = measure(film).sharpness
        blurred = measure(gaussian_filter(film, 0.7)).sharpness
        moved.append((measure(film + 2.5 * noise).sharpness - plain, plain - blurred))
    by_noise, by_blur = np.mean(moved, axis=0)
    assert abs(by_noise) < 0.25 * by_blur


def test_size_is_that_of_the_file_and_the_rest_that_of_the_view(film):
    view = view_of(film)
    doubled = np.kron(view, np.ones((2, 3), np.uint8))
    small = measure_quality(Radiograph(view, "PNG", 8))
    large = measure_quality(Radiograph(doubled, "PNG", 8))
    assert (large.height_px, large.width_px) == (2 * VIEW_PX, 3 * VIEW_PX)
    assert large.brightness == pytest.approx(small.brightness, abs=0.002)
    assert large.contrast == pytest.approx(small.contrast, abs=0.005)
    deep = measure_quality(Radiograph(view.astype(np.uint16) * 257, "TIFF", 16))
    assert deep == small


def test_a_view_of_another_size_is_refused():
    with pytest.raises(DataError, match=r"shape \(64, 64\); expected \(224, 224\)"):
        measure_view(np.zeros((64, 64), np.uint8), height_px=64, width_px=64)


def test_copies_of_one_film_at_two_resolutions_agree(shared_dir: Path):
    pairs = []
    for original in sorted((shared_dir / "data" / "original_resolution").glob("*/*.jpeg")):
        copies = shared_dir / "data" / "chest_xray" / "train" / original.parent.name
        pairs.append(
            [measure_quality(read_radiograph(p)) for p in (original, copies / original.name)]
        )
    for attribute, within in (("brightness", 0.002), ("contrast", 0.002), ("sharpness", 0.02)):
        values = np.array([[getattr(quality, attribute) for quality in pair] for pair in pairs])
        assert np.median(abs(values[:, 0] - values[:, 1])) < within, attribute
        assert np.corrcoef(values.T)[0, 1] > 0.9, attribute


@pytest.fixture
def qualities() -> list[Quality]:
    rng = np.random.default_rng(2)
    return [
        Quality(int(100 + i), 224, *rng.random(3).tolist(), 0.0, float(i % 2)) for i in range(201)
    ]


def test_a_range_holds_the_quantiles_of_every_attribute(qualities):
    found = quality_range(qualities)
    assert found.num_films == 201
    for index, attribute in enumerate(QUALITY_ATTRIBUTES):
        values = np.sort([astuple(quality)[index] for quality in qualities])
        # 201 films: each of these quantiles is one film's value.
        for level in (0.0, 0.005, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.995, 1.0):
            assert found.value(attribute, level) == pytest.approx(values[round(level * 200)])
    assert found.value("height_px", 0.5) == 200
    assert len(found.quantiles["height_px"]) == len(QUANTILE_LEVELS)


def test_the_range_of_one_film_is_that_film(qualities):
    found = quality_range(qualities[:1])
    assert {len(set(values)) for values in found.quantiles.values()} == {1}
    assert found.value("brightness", 0.0) == qualities[0].brightness


def test_a_range_of_no_films_is_refused():
    with pytest.raises(DataError, match="no films"):
        quality_range([])


def test_a_range_survives_json(qualities):
    found = quality_range(qualities)
    assert QualityRange.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.pop("levels"),
        lambda value: value.update(levels=[0.0, 1.0]),
        lambda value: value["quantiles"].pop("sharpness"),
        lambda value: value["quantiles"]["contrast"].pop(),
        lambda value: value["quantiles"]["contrast"].reverse(),
        lambda value: value["quantiles"].update(contrast=[float("nan")] * len(QUANTILE_LEVELS)),
        lambda value: value["quantiles"].update(contrast="wide"),
        lambda value: value.update(num_films="many"),
    ],
)
def test_what_is_no_range_is_refused(qualities, damage):
    value = quality_range([replace(q, brightness=0.5) for q in qualities]).to_dict()
    damage(value)
    with pytest.raises(DataError, match="measure the films again"):
        QualityRange.from_dict(value)


@pytest.mark.parametrize("value", [None, [], "range", {}])
def test_what_is_no_object_is_refused(value):
    with pytest.raises(DataError, match="no range of film quality"):
        QualityRange.from_dict(value)
