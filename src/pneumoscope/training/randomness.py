"""Randomness as a function of (seed, step), so that there is no state to save or to lose.

Every draw of a run comes from a stream that its seed and its place name. A run that was killed
and resumed at any step therefore draws exactly what the uninterrupted run draws.
"""

import numpy as np
import torch
from numpy.typing import NDArray

_INIT, _ORDER, _STEP, _PROBE, _MASK, _AUGMENT = range(6)


def seed_init(seed: int) -> None:
    """Seeds torch for drawing the initial weights; the same on every process."""
    torch.manual_seed(_stream(seed, _INIT))


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seeds torch for all that one step draws on one process, but for blocks of augmentation."""
    torch.manual_seed(_stream(seed, _STEP, step, rank))


def seed_augmentation(seed: int, step: int, rank: int) -> None:
    """Seeds torch for augmenting at once the batches of several steps from ``step`` on."""
    torch.manual_seed(_stream(seed, _AUGMENT, step, rank))


def seed_probe(seed: int, view: int, start: int) -> None:
    """Seeds torch for one augmented view of the batch that starts at a film, for the probe."""
    torch.manual_seed(_stream(seed, _PROBE, view, start))


def seed_masking(seed: int, step: int, rank: int) -> None:
    """Seeds torch for one step of masked autoencoding on one process."""
    torch.manual_seed(_stream(seed, _MASK, step, rank))


def epoch_order(seed: int, epoch: int, num_films: int) -> NDArray[np.int64]:
    """Returns the order (num_films,) in which an epoch visits the films; the same everywhere."""
    return np.random.default_rng(_stream(seed, _ORDER, epoch)).permutation(num_films)


def _stream(*place: int) -> int:
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1)


def balanced_order(seed: int, epoch: int, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns as many places (num_films,) as there are films, each class equally often.

    Of each class all films come once before one comes again; the same on every process.

    Args:
        seed: of the run.
        epoch: from 0.
        labels: class indices (num_films,).
    """
    rng = np.random.default_rng(_stream(seed, _ORDER, epoch))
    classes = np.unique(labels)
    drawn = []
    for number, label in enumerate(classes):
        places = np.flatnonzero(labels == label)
        share = len(labels) * (number + 1) // len(classes) - len(labels) * number // len(classes)
        rounds = [rng.permutation(places) for _ in range(-(-share // len(places)))]
        drawn.append(np.concatenate(rounds)[:share])
    return rng.permutation(np.concatenate(drawn))


def weighted_order(seed: int, epoch: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns as many places (num_films,) as there are films, each as often as its weight asks.

    Systematic sampling: a film whose share is 2.3 comes twice or three times, never else; the same
    on every process.

    Args:
        seed: of the run.
        epoch: from 0.
        weights: (num_films,), positive.

    Source: Madow, "On the theory of systematic sampling, II", Ann. Math. Statist. 20 (1949).
    """
    rng = np.random.default_rng(_stream(seed, _ORDER, epoch))
    shuffled = rng.permutation(len(weights))
    ends = np.cumsum(weights[shuffled])
    marks = (np.arange(len(weights)) + rng.random()) * (ends[-1] / len(weights))
    drawn = np.searchsorted(ends, marks, side="right").clip(max=len(weights) - 1)
    return rng.permutation(shuffled[drawn])
