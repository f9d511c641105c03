"""The films of a run: scanned, split, and decoded into the cache."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from pneumoscope.config import DataConfig
from pneumoscope.data.cache import default_cache_dir, open_cache
from pneumoscope.data.patients import CAUSES, NO_CAUSE, film_series
from pneumoscope.data.phantom import is_phantom
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.scan import Film, FilmFolder, scan_folder
from pneumoscope.data.split import Split, SplitRow, open_split
from pneumoscope.errors import RadiographError, SplitError
from pneumoscope.labels import Label


def stated_causes(rows: Sequence[SplitRow]) -> NDArray[np.int64]:
    """Returns what file names say caused the pneumonia of each film (N,).

    That is an index into ``CAUSES``, or ``NO_CAUSE``.
    """
    said = [
        film_series(PurePosixPath(row.path).name) if row.label == Label.PNEUMONIA else None
        for row in rows
    ]
    return np.array(
        [CAUSES.index(cause) if cause in CAUSES else NO_CAUSE for cause in said], dtype=np.int64
    )


@dataclass(frozen=True)
class SplitFilms:
    """A folder of films and its split, ready to be decoded at any size."""

    root: Path
    split: Split
    phantom: bool
    unreadable: frozenset[str] = frozenset()

    def rows(self, name: str) -> tuple[SplitRow, ...]:
        """Returns the films of one split but for the unreadable ones."""
        return tuple(row for row in self.split.subset(name) if row.path not in self.unreadable)

    def labels(self, name: str) -> NDArray[np.int64]:
        """Returns the class indices (N,) of one split."""
        return np.array([row.label for row in self.rows(name)], dtype=np.int64)

    def pixels(self, name: str, img_size: int, console: Console) -> NDArray[np.uint8]:
        """Returns the films (N, S, S) uint8 of one split from the cache, built if need be.

        Raises:
            RadiographError: a film cannot be read.
            StorageError: the cache cannot be written.
        """
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"decoding {name} films at {img_size} px", total=None)
            try:
                return open_cache(
                    self.root,
                    self.rows(name),
                    img_size,
                    default_cache_dir(),
                    lambda done, total: bar.update(task, completed=done, total=total),
                )
            except RadiographError as error:
                raise RadiographError(
                    f"{error}; --skip-unreadable leaves such films out"
                ) from error


def open_films(
    root: Path,
    split_path: Path,
    config: DataConfig,
    console: Console,
    *,
    skip_unreadable: bool = False,
) -> SplitFilms:
    """Returns the films below ``root``, divided as ``config`` says.

    Args:
        root: a folder of ``{train,test}/{NORMAL,PNEUMONIA}``.
        split_path: the split's file; written if new, reused and checked if not.
        config: kind, seed and share of the split.
        console: where skipped films are named.
        skip_unreadable: leave out films that cannot be decoded instead of stopping; the split
            is the same with and without.

    Raises:
        LayoutError: the folder is laid out otherwise.
        SplitError: the split cannot be made, no longer fits, or leaves a part without a class.
    """
    folder = scan_folder(root)
    split = open_split(
        folder,
        split_path,
        config.split,
        val_fraction=config.val_fraction,
        seed=config.split_seed,
    )
    unreadable = _find_unreadable(folder, console) if skip_unreadable else frozenset()
    films = SplitFilms(folder.root, split, is_phantom(folder.root), unreadable)
    for part in ("train", "val", "test"):
        labels = films.labels(part)
        for label in Label:
            if label not in labels:
                raise SplitError(
                    f"{part} holds no readable film with {label.name}; training and testing need "
                    "both classes; add films"
                )
    return films


def _find_unreadable(folder: FilmFolder, console: Console) -> frozenset[str]:
    """Returns the paths of the films that cannot be decoded, after naming each."""

    def complaint(film: Film) -> str | None:
        try:
            read_radiograph(folder.root / film.path)
        except RadiographError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        complaints = list(pool.map(complaint, folder.films))
    for text in filter(None, complaints):
        console.print(f"skipped: {text}", style="yellow", markup=False, soft_wrap=True)
    pairs = zip(folder.films, complaints, strict=True)
    return frozenset(film.path for film, text in pairs if text is not None)
