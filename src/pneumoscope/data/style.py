"""The style of a film: grey levels, sharpness and borders, without the shapes in it.

27 numbers: percentiles of its grey levels, how its power falls off from coarse to fine detail, and
how its four borders look. That is what machine, exposure and collimation give to a film, and also
what disease does to grey levels; but for the borders, none says where in the film anything is.
"""

import numpy as np
from numpy.typing import NDArray

NUM_BANDS = 12
"""Bands of equal width from 0 to half a cycle a pixel; the corners beyond make one more."""

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)

NUM_FIGURES = len(PERCENTILES) + NUM_BANDS + 6


def describe_style(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the style (N, :data:`NUM_FIGURES`) of films (N, S, S), S at least 32.

    In this order: the :data:`PERCENTILES` of the grey levels; the log of 1 + the mean power of
    each band of spatial frequencies, but for the corners; mean levels of the upper, lower, left
    and right border, S / 28 pixels wide; standard deviation and 5th percentile of all four.
    """
    size = pixels.shape[-1]
    frequency = np.abs(np.fft.fftfreq(size))
    radius = np.hypot(frequency[:, None], frequency[None])  # (S, S), cycles a pixel
    band = np.digitize(radius, np.linspace(0.0, 0.5, NUM_BANDS + 1)).ravel() - 1
    num_in_band = np.bincount(band)[:NUM_BANDS]
    width = max(1, size // 28)

    def describe(film: NDArray[np.uint8]) -> NDArray[np.float64]:
        x = np.asarray(film, dtype=np.float64)
        power = np.abs(np.fft.fft2(x - x.mean())) ** 2
        in_band = np.bincount(band, power.ravel())[:NUM_BANDS] / num_in_band
        sides = [x[:width], x[-width:], x[:, :width], x[:, -width:]]
        border = np.concatenate([side.ravel() for side in sides])
        return np.concatenate(
            [
                np.percentile(x, PERCENTILES),
                np.log1p(in_band),
                [side.mean() for side in sides],
                [border.std(), np.percentile(border, 5)],
            ]
        )

    return np.array([describe(film) for film in pixels]).reshape(len(pixels), NUM_FIGURES)
