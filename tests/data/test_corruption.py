"""Changed films: sound pixels, growing changes, and what each must leave alone."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pneumoscope.data.corruption import (
    CORRUPTIONS,
    add_marker,
    add_noise,
    apply_gamma,
    blur,
    compress,
    crop,
    family,
    frame,
    hide_markers,
    rotate,
    scale_contrast,
)


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    rng = np.random.default_rng(0)
    layers = [gaussian_filter(rng.normal(size=(224, 224)), s) for s in (1.5, 4, 12)]
    levels = 128 + sum(s * x / x.std() for s, x in zip((4, 10, 25), layers, strict=True))
    return levels.clip(0, 255).astype(np.uint8)


def distance(one, other) -> float:
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_change_gives_a_film_and_the_same_one_again(name, film):
    before = film.copy()
    changed = CORRUPTIONS[name](film)
    assert (changed.dtype, changed.shape) == (np.uint8, film.shape)
    assert not np.array_equal(changed, film)
    assert np.array_equal(changed, CORRUPTIONS[name](film))
    assert np.array_equal(film, before)
    for level in (0, 255):
        flat = CORRUPTIONS[name](np.full_like(film, level))
        assert (flat.dtype, flat.shape) == (np.uint8, film.shape)


def test_within_a_family_the_change_grows(film):
    families: dict[str, list[float]] = {}
    for name, change in CORRUPTIONS.items():
        families.setdefault(family(name), []).append(distance(change(film), film))
    for kind, distances in families.items():
        if kind not in ("marker added", "markers hidden"):
            assert len(distances) >= 3, kind
            assert distances == sorted(distances), kind


@pytest.mark.parametrize(
    "nothing",
    [
        lambda film: blur(film, 0),
        lambda film: add_noise(film, 0),
        lambda film: scale_contrast(film, 1),
        lambda film: apply_gamma(film, 1),
        lambda film: rotate(film, 0),
        lambda film: crop(film, 1),
        lambda film: frame(film, 1),
    ],
)
def test_no_amount_is_no_change(nothing, film):
    assert np.array_equal(nothing(film), film)


def test_amounts_are_what_they_say(film):
    wide = np.full((224, 224), 128, np.uint8)
    assert (add_noise(wide, 10).astype(float) - 128).std() == pytest.approx(10, rel=0.02)
    assert scale_contrast(film, 0.4).std() == pytest.approx(0.4 * film.std(), rel=0.01)
    assert scale_contrast(film, 0.4).mean() == pytest.approx(film.mean(), abs=0.2)
    gamma = apply_gamma(np.arange(256, dtype=np.uint8)[None], 2.0)[0]
    assert gamma.tolist() == np.rint(255 * (np.arange(256) / 255) ** 2).tolist()
    assert distance(compress(film, 95), film) < 2


def test_a_turn_to_the_left_moves_the_right_edge_up():
    film = np.zeros((225, 225), np.uint8)
    film[108:117, 190:210] = 255
    for degrees, sign in ((15, -1), (-15, 1)):
        rows = np.nonzero(rotate(film, degrees))[0]
        expected = sign * 88 * np.sin(np.radians(15))
        assert rows.mean() - 112 == pytest.approx(expected, abs=2)


def test_a_crop_enlarges_and_a_frame_shrinks():
    film = np.zeros((200, 200), np.uint8)
    film[80:120, 80:120] = 200
    assert (crop(film, 0.8) >= 100).sum() == pytest.approx(50 * 50, rel=0.05)
    assert (frame(film, 0.8) >= 100).sum() == pytest.approx(32 * 32, rel=0.05)
    framed = frame(np.full((200, 200), 200, np.uint8), 0.8)
    assert (framed[20:180, 20:180] == 200).all()
    assert (framed == 200).sum() == 160 * 160


@pytest.mark.parametrize(("x", "letter"), [(0.08, "R"), (0.92, "L")])
def test_a_marker_stands_where_it_should_and_is_hidden(x, letter, film):
    dark = np.full((224, 224), 60, np.uint8)
    marked = add_marker(dark, letter, x)
    rows, columns = np.nonzero(marked != dark)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(0.1 * 224, abs=4)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(x * 224, abs=4)
    assert marked.max() == 245
    assert abs(hide_markers(marked).astype(int) - 60).max() <= 2
    hidden = hide_markers(add_marker(film, letter, x))
    middle = np.s_[:, 34:190]
    assert np.array_equal(hidden[middle], film[middle])
    assert np.array_equal(hidden[101:], film[101:])
