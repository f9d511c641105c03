"""Decoded films, once and for all, in one memory-mapped array.

Decoding costs far more than training reads, so it happens once: the cache is a plain ``.npy``
of (N, S, S) uint8 that any number of processes map at the same time. Its name is a hash of the
films' content, their order, the size and the preprocessing, so it can never be stale: other
films make another name. A cache that was damaged on disk is noticed by its digest and rebuilt.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from pneumoscope.data.preprocessing import PREPROCESSING_VERSION, prepare
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.split import SplitRow
from pneumoscope.files import atomic_path, make_folder, sha256_of, write_text

_BATCH = 16
"""Films that a thread decodes in a row."""
_SMALL_BYTES = 2**15
"""A film's file of fewer is mostly Python's work to decode."""


def default_cache_dir() -> Path:
    """Returns ``$PNEUMOSCOPE_CACHE``, or the user's cache folder (``$XDG_CACHE_HOME``)."""
    if explicit := os.environ.get("PNEUMOSCOPE_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pneumoscope"


def open_cache(
    root: Path,
    rows: Sequence[SplitRow],
    img_size: int,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """Returns the films' pixels (N, S, S) uint8, memory-mapped, in the order of ``rows``.

    Builds the cache first where it is missing or damaged; other processes that want the same
    one wait for it.

    Args:
        root: the folder that ``rows`` are relative to.
        rows: the films, with the hashes of their files.
        img_size: S, pixels.
        cache_dir: where caches live; one file each, safe to delete.
        on_progress: called with (films done, films in all) while building.

    Raises:
        RadiographError: a film cannot be read; the message names it.
        StorageError: the cache cannot be written.
    """
    path = make_folder(cache_dir) / f"{_cache_key(rows, img_size)}-{img_size}.npy"
    digest_path = path.with_suffix(".sha256")
    with FileLock(path.with_suffix(".lock")):
        if not _is_intact(path, digest_path):
            _build(path, root, rows, img_size, on_progress)
            write_text(digest_path, sha256_of(path) + "\n")
    pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return pixels


def _cache_key(rows: Sequence[SplitRow], img_size: int) -> str:
    hashes = "\n".join(row.sha256 for row in rows)
    text = f"{PREPROCESSING_VERSION}\n{img_size}\n{hashes}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_intact(path: Path, digest_path: Path) -> bool:
    if not (path.is_file() and digest_path.is_file()):
        return False
    return sha256_of(path) == digest_path.read_text(errors="replace").strip()


def _build(
    path: Path,
    root: Path,
    rows: Sequence[SplitRow],
    img_size: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    paths = [root / row.path for row in rows]

    def decode(start: int) -> list[NDArray[np.uint8]]:
        batch = paths[start : start + _BATCH]
        return [prepare(read_radiograph(path), img_size) for path in batch]

    for left in path.parent.glob(f".{path.name}.*.partial"):  # by a process that was killed
        left.unlink()
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), img_size, img_size)}
    # Written film by film rather than into a map: on a full disk a write says so, a map kills.
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        with ThreadPoolExecutor(max_workers=_num_threads(paths)) as pool:
            films = chain.from_iterable(pool.map(decode, range(0, len(paths), _BATCH)))
            try:
                for index, film in enumerate(films, 1):
                    stream.write(film.tobytes())
                    if on_progress:
                        on_progress(index, len(rows))
            finally:
                pool.shutdown(cancel_futures=True)  # who is stopped need not decode the rest


def _num_threads(paths: Sequence[Path]) -> int:
    """Returns in how many threads to decode: one a core, up to 8, where files are large.

    The decoders release the interpreter lock, so threads are enough. But small films are mostly
    Python's work, and threads that wait for the lock in turn take longer than one alone
    (``benchmarks/decode.py``).
    """
    some = paths[:: max(1, len(paths) // 100)]
    sizes = [path.stat().st_size for path in some if path.is_file()]
    if sum(sizes) < _SMALL_BYTES * len(sizes):
        return 1
    return min(8, os.cpu_count() or 1)
