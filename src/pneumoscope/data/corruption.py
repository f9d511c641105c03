"""Films as another machine, another exposure or a careless export would give them.

Each change is made alone, by a fixed amount, to the square grey view of a film at 224 px. What
comes into view beside a turned film is its mirror image, as in training; what a frame adds is
black.
"""

import io
import zlib
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

View = NDArray[np.uint8]
"""One film, (S, S) uint8, 0 black."""

CLEAN = "clean"
"""The name of the unchanged film beside those of ``CORRUPTIONS``."""

MARKER_ADDED, MARKERS_HIDDEN = "marker added", "markers hidden"
"""The families of the changes that draw side letters, and that hide them."""

# Where side letters and burnt-in text lay in a sample of 1,200 training films.
_CORNER_HEIGHT, _CORNER_WIDTH = 0.45, 0.15
_COARSE, _MEDIAN_PX = 4, 9  # a window of 36 px is filled by no letter
_LETTER_HEIGHT, _LETTER_LEVEL = 0.1, 245


def blur(film: View, sigma_px: float) -> View:
    """Returns the film under a Gaussian of ``sigma_px``.

    Source: ``gaussian_blur`` of ImageNet-C, Hendrycks and Dietterich (ICLR 2019).
    """
    return _levels(ndimage.gaussian_filter(film.astype(np.float32), sigma_px))


def add_noise(film: View, sd: float) -> View:
    """Returns the film with Gaussian noise of ``sd`` levels, drawn from a seed of its pixels.

    So a film has the same grain wherever it stands in a list, and more of it at a larger ``sd``.

    Source: ``gaussian_noise`` of ImageNet-C, Hendrycks and Dietterich (ICLR 2019).
    """
    rng = np.random.default_rng(zlib.crc32(film.tobytes()))
    return _levels(film + sd * rng.standard_normal(film.shape, np.float32))


def scale_contrast(film: View, factor: float) -> View:
    """Returns the film with its distance from its own mean times ``factor``.

    Source: ``contrast`` of ImageNet-C, Hendrycks and Dietterich (ICLR 2019).
    """
    mean = film.mean(dtype=np.float32)
    return _levels((film - mean) * factor + mean)


def apply_gamma(film: View, power: float) -> View:
    """Returns the film with levels, as shares of 255, to the ``power``: above 1 is darker."""
    return _levels(255 * (np.arange(256, dtype=np.float32) / 255) ** power)[film]


def compress(film: View, quality: int) -> View:
    """Returns the film after JPEG of ``quality``, 1 to 95.

    Source: ``jpeg_compression`` of ImageNet-C, Hendrycks and Dietterich (ICLR 2019).
    """
    stream = io.BytesIO()
    Image.fromarray(film).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))


def rotate(film: View, degrees: float) -> View:
    """Returns the film turned about its middle, to the left for ``degrees`` above 0."""
    return np.asarray(
        ndimage.rotate(film, degrees, reshape=False, order=1, mode="reflect"), np.uint8
    )


def crop(film: View, share: float) -> View:
    """Returns the middle of the film, ``share`` of each side, enlarged to its whole size."""
    height, width = film.shape
    top, left = (1 - share) / 2 * height, (1 - share) / 2 * width
    box = (left, top, width - left, height - top)
    return np.array(Image.fromarray(film).resize((width, height), _FILTER, box=box))


def frame(film: View, share: float) -> View:
    """Returns the film shrunk to ``share`` of each side, in a black frame."""
    height, width = round(share * film.shape[0]), round(share * film.shape[1])
    top, left = (film.shape[0] - height) // 2, (film.shape[1] - width) // 2
    framed = np.zeros_like(film)
    small = Image.fromarray(film).resize((width, height), _FILTER)
    framed[top : top + height, left : left + width] = np.asarray(small)
    return framed


def hide_markers(film: View) -> View:
    """Returns the film with both upper corners replaced by what is behind letters there.

    That is a local median over windows that no letter fills. Fine structure of shoulders and
    outer lungs goes with the letters, and letters elsewhere stay: a rough measure of what they do.
    """
    height, width = film.shape
    coarse = Image.fromarray(film).resize((width // _COARSE, height // _COARSE), _FILTER)
    median = coarse.filter(ImageFilter.MedianFilter(_MEDIAN_PX))
    behind = np.asarray(median.resize((width, height), _FILTER))
    rows, columns = round(_CORNER_HEIGHT * height), round(_CORNER_WIDTH * width)
    hidden = film.copy()
    for corner in (np.s_[:rows, :columns], np.s_[:rows, -columns:]):
        hidden[corner] = behind[corner]
    return hidden


def add_marker(film: View, letter: str, x: float) -> View:
    """Returns the film with a bright ``letter`` near its upper edge.

    Args:
        film: the film.
        letter: what to draw; ``"R"`` and ``"L"`` are what films carry.
        x: its middle as a share of the width; a letter on the film is drawn over.
    """
    height, width = film.shape
    image = Image.fromarray(film)
    font = ImageFont.load_default(_LETTER_HEIGHT * height)
    at = (x * width, _LETTER_HEIGHT * height)
    ImageDraw.Draw(image).text(at, letter, _LETTER_LEVEL, font, anchor="mm")
    return np.array(image)


def family(variant: str) -> str:
    """Returns the kind of change that a variant is of: its name up to the colon.

    >>> family("blur: 2 px"), family("clean")
    ('blur', 'clean')
    """
    return variant.partition(":")[0]


_FILTER = Image.Resampling.BILINEAR  # as in ``prepare``

CORRUPTIONS: Mapping[str, Callable[[View], View]] = {
    **{f"blur: {s} px": partial(blur, sigma_px=s) for s in (1, 2, 3)},
    **{f"noise: {sd} levels": partial(add_noise, sd=sd) for sd in (10, 20, 30)},
    **{f"less contrast: {f}": partial(scale_contrast, factor=f) for f in (0.6, 0.4, 0.2)},
    **{f"more contrast: {f}": partial(scale_contrast, factor=f) for f in (1.25, 1.5, 2.0)},
    **{f"darker: gamma {g}": partial(apply_gamma, power=g) for g in (1.25, 1.5, 2.0)},
    **{f"brighter: gamma {g}": partial(apply_gamma, power=g) for g in (0.8, 0.67, 0.5)},
    **{f"JPEG: quality {q}": partial(compress, quality=q) for q in (90, 50, 20, 10)},
    **{f"turned left: {d} degrees": partial(rotate, degrees=d) for d in (5, 10, 15)},
    **{f"turned right: {d} degrees": partial(rotate, degrees=-d) for d in (5, 10, 15)},
    **{f"cropped: {s} %": partial(crop, share=s / 100) for s in (95, 90, 80)},
    **{f"framed: {s} %": partial(frame, share=s / 100) for s in (95, 90, 80)},
    f"{MARKERS_HIDDEN}: upper corners": hide_markers,
    **{
        f"{MARKER_ADDED}: {letter} {side}": partial(add_marker, letter=letter, x=x)
        for letter in "RL"
        for side, x in (("left", 0.08), ("right", 0.92))
    },
}
"""Every change by name, ``family: amount``; within a family the amount grows."""


def _levels(values: NDArray[np.floating]) -> View:
    levels: View = np.rint(values).clip(0, 255).astype(np.uint8)
    return levels
