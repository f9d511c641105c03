"""What a film looks like in a few numbers: its size, exposure and sharpness.

Everything but the size is measured on the film as :func:`~pneumoscope.data.preprocessing.prepare`
gives it at 224 px, so that copies of one film at different resolutions compare.

Sharpness is how much of a film's variance is fine detail: the variance of its Laplacian, a classic
focus measure (Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000), over
the variance of the film: undivided it would read contrast too. It is taken of the film smoothed by
1 px, or it would read noise and JPEG compression. Mean change in standard deviations between films,
on 150 films of Kermany et al. and, in the last column, from the published 224 px copies of 30 films
to their originals:

=================== =========== ========= ========= ============ ========= =========
measure             blur 0.7 px blur 1 px blur 2 px contrast x.6 noise 1 % originals
=================== =========== ========= ========= ============ ========= =========
as it is here       -1.4        -2.4      -5.6      0.0          +0.2      -0.1
not smoothed        -3.1        -4.8      -8.2      +0.1         +2.0      +0.8
=================== =========== ========= ========= ============ ========= =========
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_laplace

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import Radiograph
from pneumoscope.errors import DataError

VIEW_PX = 224
"""Side of the square view on which films are measured."""

DARK_LEVEL, BRIGHT_LEVEL = 5, 250
"""Levels of 255 up to which a pixel counts as black, and from which as white: JPEG moves them."""

_LEAST_VARIANCE = 1 / 12 / 255**2
"""What rounding to levels adds to any variance."""

_LEAST_SHARPNESS = -4.0
"""That of a flat film; blurred by 2 px, films have about -3.2."""


@dataclass(frozen=True)
class Quality:
    """What was measured on one film.

    Attributes:
        height_px: rows of the film as decoded.
        width_px: its columns.
        brightness: mean of the view, 0 black to 1 white.
        contrast: standard deviation of the view, on the same scale.
        sharpness: log10 of the share of fine detail, at least -4; about -2.3 on films.
        dark_share: share of pixels that are black or nearly so, in [0, 1].
        bright_share: share of pixels that are white or nearly so, in [0, 1].
    """

    height_px: int
    width_px: int
    brightness: float
    contrast: float
    sharpness: float
    dark_share: float
    bright_share: float


QUALITY_ATTRIBUTES: tuple[str, ...] = tuple(field.name for field in fields(Quality))
"""Names of what is measured, in the order of :class:`Quality`."""

QUANTILE_LEVELS = (0.0, 0.005, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.995, 1.0)
"""Which quantiles a :class:`QualityRange` holds: from the smallest value to the largest."""


def measure_quality(radiograph: Radiograph) -> Quality:
    """Returns what a film looks like in numbers."""
    view = prepare(radiograph, VIEW_PX)
    return measure_view(view, height_px=radiograph.height_px, width_px=radiograph.width_px)


def measure_view(view: NDArray[np.uint8], *, height_px: int, width_px: int) -> Quality:
    """Returns the numbers of a film that is prepared already.

    Args:
        view: the film from ``prepare(radiograph, 224)``, (224, 224) uint8.
        height_px: rows of the film as decoded.
        width_px: its columns.

    Raises:
        DataError: the view has another shape.
    """
    if view.shape != (VIEW_PX, VIEW_PX):
        raise DataError(f"the view has shape {view.shape}; expected {(VIEW_PX, VIEW_PX)}")
    levels = view / 255
    variance = float(levels.var())
    detail = float(gaussian_laplace(levels, sigma=1).var()) / max(variance, _LEAST_VARIANCE)
    return Quality(
        height_px=height_px,
        width_px=width_px,
        brightness=float(levels.mean()),
        contrast=variance**0.5,
        sharpness=float(np.log10(max(detail, 10**_LEAST_SHARPNESS))),
        dark_share=float((view <= DARK_LEVEL).mean()),
        bright_share=float((view >= BRIGHT_LEVEL).mean()),
    )


@dataclass(frozen=True)
class QualityRange:
    """What a set of films looks like: quantiles of every attribute.

    Attributes:
        num_films: how many films were measured.
        quantiles: for each of ``QUALITY_ATTRIBUTES`` its values at ``QUANTILE_LEVELS``.
    """

    num_films: int
    quantiles: dict[str, tuple[float, ...]]

    def value(self, attribute: str, level: float) -> float:
        """Returns the quantile of one attribute at one of ``QUANTILE_LEVELS``."""
        return self.quantiles[attribute][QUANTILE_LEVELS.index(level)]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, ready for JSON; :meth:`from_dict` reads them back."""
        return {
            "num_films": self.num_films,
            "levels": list(QUANTILE_LEVELS),
            "quantiles": {name: list(values) for name, values in self.quantiles.items()},
        }

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """Returns the range that :meth:`to_dict` wrote.

        Raises:
            DataError: it is not one, or of other attributes or quantiles.
        """
        try:
            levels, num_films = tuple(value["levels"]), int(value["num_films"])
            values = np.array([value["quantiles"][name] for name in QUALITY_ATTRIBUTES], np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"this is no range of film quality ({error!r}); measure the films again"
            ) from error
        expected = (len(QUALITY_ATTRIBUTES), len(QUANTILE_LEVELS))
        rising = bool(np.isfinite(values).all() and np.all(np.diff(values) >= 0))
        if levels != QUANTILE_LEVELS or values.shape != expected or not rising:
            raise DataError(
                f"the range of film quality has the quantiles {levels}; expected "
                f"{QUANTILE_LEVELS} in rising order; measure the films again"
            )
        return cls(num_films, _by_attribute(values))


def quality_range(qualities: Iterable[Quality]) -> QualityRange:
    """Returns the quantiles of every attribute over a set of films, interpolated linearly.

    Raises:
        DataError: there are no films.
    """
    values = np.array([astuple(quality) for quality in qualities], dtype=np.float64)
    if not len(values):
        raise DataError("there are no films to measure; expected at least one")
    return QualityRange(len(values), _by_attribute(np.quantile(values, QUANTILE_LEVELS, axis=0).T))


def _by_attribute(values: NDArray[np.float64]) -> dict[str, tuple[float, ...]]:
    return dict(zip(QUALITY_ATTRIBUTES, map(tuple, values.tolist()), strict=True))
