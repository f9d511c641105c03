"""The preprocessing: one function that training, evaluation and screening share.

The filter was chosen on 30 films of which both the original and the published 224 px copy are
known. Mean absolute difference between our copy and the published one, in levels of 255; in
the second column after ours went through the JPEG compression of the published ones (quality
75), which by itself moves the pixels by 1.6 levels:

======== ===== ================
filter   plain compressed alike
======== ===== ================
BILINEAR 2.16  1.89
BICUBIC  2.44  1.93
HAMMING  2.40  2.01
BOX      2.51  2.13
LANCZOS  2.64  2.24
NEAREST  3.64  3.11
======== ===== ================

``reducing_gap`` and JPEG draft mode moved the figures by at most .07 for BILINEAR and save
milliseconds; they are not used.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.data.grey import row_bands
from pneumoscope.data.radiograph import Pixels, Radiograph

PREPROCESSING_VERSION = "1"
"""Changes whenever :func:`prepare` would give other pixels for the same film."""

_Scaled = TypeVar("_Scaled", NDArray[Any], Any)


def prepare(radiograph: Radiograph, img_size: int) -> NDArray[np.uint8]:
    """Returns the film as the networks see it: (img_size, img_size) uint8, 0 black.

    The whole film is squeezed to a square (the aspect ratio is not kept) with an antialiased
    triangle filter. A film that is already 8-bit and of that size comes back unchanged.
    """
    pixels = radiograph.pixels
    if pixels.dtype == np.uint8 and pixels.shape == (img_size, img_size):
        return np.array(pixels, np.uint8)
    if pixels.dtype == np.uint8:
        image = Image.fromarray(pixels)
    else:
        image = _squeezed_sideways(pixels, img_size)
    resized = image.resize((img_size, img_size), Image.Resampling.BILINEAR)
    return np.asarray(np.rint(np.asarray(resized)), np.uint8)


def _squeezed_sideways(pixels: Pixels, width_px: int) -> Image.Image:
    # 16-bit films are resampled in float and rounded once: Pillow has no 16-bit filters, and
    # rounding to 8 bits first would lose the steps that averaging many pixels recovers. Pillow
    # too resamples rows first; in bands, no copy of the whole film is needed.
    squeezed = Image.new("F", (width_px, pixels.shape[0]))
    for rows in row_bands(*pixels.shape):
        band = Image.fromarray(np.asarray(pixels[rows] * (255 / 65535), np.float32))
        size = width_px, band.height
        squeezed.paste(band.resize(size, Image.Resampling.BILINEAR), (0, rows.start))
    return squeezed


def scale_pixels(x: _Scaled) -> _Scaled:
    """Returns ``x / 127.5 - 1``: levels 0 to 255 as numbers in [-1, 1], the scale of Google's ViTs.

    Works alike for arrays (uint8 gives float64) and tensors (uint8 gives float32).

    >>> scale_pixels(np.array([0, 255], np.uint8)).tolist()
    [-1.0, 1.0]
    """
    return x / 127.5 - 1
