"""What a network says of films that were blurred, darkened, turned, marked, ..."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pneumoscope.data.corruption import CLEAN, CORRUPTIONS, View
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import Radiograph
from pneumoscope.models.scoring import score_pixels

MAX_FILMS = 2000
"""Of more films than this a sample is scored: one decision weighs .05 % of it."""

_BATCH = 64
_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


def sample_films(
    y_true: NDArray[np.int64], max_films: int = MAX_FILMS, *, seed: int = 0
) -> NDArray[np.int64]:
    """Returns indices of at most ``max_films`` films, ascending, with the classes' shares kept.

    All of them where there are no more. Of each class, as many as its share asks for are drawn
    at random; a class that occurs keeps at least one film.

    Args:
        y_true: labels, 0 or 1, of shape (N,).
        max_films: at least 2.
        seed: of the draw; the same seed gives the same films.
    """
    if len(y_true) <= max_films:
        return np.arange(len(y_true))
    rng = np.random.default_rng(seed)
    positives, negatives = np.flatnonzero(y_true == 1), np.flatnonzero(y_true == 0)
    wanted = round(max_films * len(positives) / len(y_true))
    num_positives = int(np.clip(wanted, len(positives) > 0, max_films - (len(negatives) > 0)))
    drawn = (
        rng.choice(positives, num_positives, replace=False),
        rng.choice(negatives, max_films - num_positives, replace=False),
    )
    return np.sort(np.concatenate(drawn))


def score_under_shifts(
    network: nn.Module,
    img_size: int,
    pixels_224: NDArray[np.uint8],
    *,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Returns the log-odds of PNEUMONIA (N,) by variant: ``"clean"``, then all ``CORRUPTIONS``.

    Films are changed at 224 px and only then resized to what the network takes, so that every
    network sees the same changes. Of a film that is larger than 224 px the clean score therefore
    differs a little from that of :func:`~pneumoscope.data.preprocessing.prepare` alone. Threads
    change the next films while the network scores; a few batches are held at a time.

    Args:
        network: as :func:`~pneumoscope.models.scoring.score_pixels` takes it.
        img_size: side of the square that it takes, pixels.
        pixels_224: the films as ``prepare`` gives them at 224 px, (N, 224, 224); may be a memory
            map.
        device: where ``network`` lives.
        on_progress: called with (films scored, films in all), each film counted once a variant.
    """
    num_films = len(pixels_224)
    changes: dict[str, Callable[[View], View]] = {CLEAN: np.array, **CORRUPTIONS}
    batches = [(name, start) for name in changes for start in range(0, num_films, _BATCH)]

    def change(batch: tuple[str, int]) -> NDArray[np.uint8]:
        name, start = batch
        films = (changes[name](film) for film in pixels_224[start : start + _BATCH])
        return np.stack([prepare(Radiograph(film, "PNG", 8), img_size) for film in films])

    log_odds = {name: np.empty(num_films, np.float32) for name in changes}
    num_workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(num_workers) as pool:
        changed = _made_ahead(change, batches, pool, num_workers)
        num_done = 0
        for (name, start), pixels in zip(batches, changed, strict=True):
            logits = score_pixels(network, pixels, batch_size=_BATCH, device=device)
            log_odds[name][start : start + _BATCH] = logits[:, 1] - logits[:, 0]
            num_done += len(pixels)
            if on_progress:
                on_progress(num_done, len(changes) * num_films)
    return log_odds


def _made_ahead(
    make: Callable[[_Item], _Made], items: Iterable[_Item], pool: Executor, ahead: int
) -> Iterator[_Made]:
    """Yields ``make(item)`` in order, made by ``pool``, never more than ``ahead`` at a time."""
    pending: deque[Future[_Made]] = deque()
    for item in items:
        pending.append(pool.submit(make, item))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
