"""Films read once: as the network sees them, as they are measured, and whether two are one."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import VIEW_PX, Quality, measure_view
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.scan import Film
from pneumoscope.errors import RadiographError


@dataclass(frozen=True)
class MeasuredFilm:
    """What is known of a film once its pixels are gone.

    Attributes:
        film: which one.
        quality: what was measured.
        sha256: of its view; two films with one hash are one picture.
    """

    film: Film
    quality: Quality
    sha256: str


@dataclass(frozen=True, eq=False)
class ReadFilm:
    """A film that was read.

    Attributes:
        measured: what stays known of it.
        pixels: as the network sees it, (S, S) uint8.
        view: as it is measured and altered, (224, 224) uint8.
    """

    measured: MeasuredFilm
    pixels: NDArray[np.uint8]
    view: NDArray[np.uint8]


def read_films(
    root: Path, films: Sequence[Film], img_size: int, batch_size: int
) -> Iterator[list[ReadFilm | RadiographError]]:
    """Yields the films in their order, a batch at a time; an error stands for its film.

    Films are decoded by several threads and a batch is held at once, however many there are.
    """
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(films), batch_size):
            batch = films[start : start + batch_size]
            yield list(pool.map(lambda film: _read(root, film, img_size), batch))


def _read(root: Path, film: Film, img_size: int) -> ReadFilm | RadiographError:
    try:
        radiograph = read_radiograph(root / film.path)
    except RadiographError as error:
        return error
    view = prepare(radiograph, VIEW_PX)
    quality = measure_view(view, height_px=radiograph.height_px, width_px=radiograph.width_px)
    sha256 = hashlib.sha256(view.tobytes()).hexdigest()
    return ReadFilm(MeasuredFilm(film, quality, sha256), prepare(radiograph, img_size), view)
