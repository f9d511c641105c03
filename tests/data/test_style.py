import numpy as np
import pytest
from numpy.typing import NDArray

from pneumoscope.data.style import NUM_BANDS, NUM_FIGURES, PERCENTILES, describe_style

SIZE = 64
LEVELS = slice(0, len(PERCENTILES))
SPECTRUM = slice(len(PERCENTILES), len(PERCENTILES) + NUM_BANDS)
BORDERS = slice(len(PERCENTILES) + NUM_BANDS, NUM_FIGURES)


def style_of(film: NDArray[np.uint8]) -> NDArray[np.float64]:
    (row,) = describe_style(film[None])
    assert row.shape == (NUM_FIGURES,)
    return row


@pytest.fixture
def film() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)


def test_levels_are_those_of_the_film(film: NDArray[np.uint8]) -> None:
    assert np.array_equal(style_of(film)[LEVELS], np.percentile(film, PERCENTILES))


@pytest.mark.parametrize("cycles", [3, 10, 24])
def test_a_wave_lies_in_the_band_of_its_frequency(cycles: int) -> None:
    x = np.arange(SIZE)
    wave = np.rint(128 + 100 * np.sin(2 * np.pi * cycles * x / SIZE)).astype(np.uint8)
    for film in (np.tile(wave, (SIZE, 1)), np.tile(wave, (SIZE, 1)).T):
        spectrum = style_of(film)[SPECTRUM]
        assert int(spectrum.argmax()) == int(cycles / SIZE * 2 * NUM_BANDS)


def test_borders_are_told_apart() -> None:
    film = np.full((SIZE, SIZE), 100, dtype=np.uint8)
    film[:2], film[-2:], film[2:-2, :2] = 10, 20, 30
    upper, lower, left, right, deviation, darkest = style_of(film)[BORDERS]
    assert (upper, lower, right) == (10, 20, pytest.approx(100, abs=6))
    assert left == pytest.approx(30, abs=2)
    assert deviation > 30
    assert darkest == 10


def test_it_says_nothing_of_where_things_are(film: NDArray[np.uint8]) -> None:
    mirrored, turned = style_of(film[:, ::-1]), style_of(film[::-1, ::-1])
    assert mirrored[LEVELS] == pytest.approx(style_of(film)[LEVELS])
    assert turned[SPECTRUM] == pytest.approx(style_of(film)[SPECTRUM])


@pytest.mark.parametrize("size", [32, 33, 300])
def test_a_flat_film_of_any_size_has_a_style(size: int) -> None:
    row = describe_style(np.full((1, size, size), 7, np.uint8))[0]
    assert np.array_equal(row[LEVELS], np.full(len(PERCENTILES), 7))
    assert np.array_equal(row[SPECTRUM], np.zeros(NUM_BANDS))
    assert row[BORDERS].tolist() == [7, 7, 7, 7, 0, 7]


def test_no_films_have_no_styles() -> None:
    assert describe_style(np.empty((0, SIZE, SIZE), np.uint8)).shape == (0, NUM_FIGURES)
