"""Test films that are one picture under several names, and what they do to the figures."""

from dataclasses import dataclass

import numpy as np

from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.operating_point import Summary, summarize_at_threshold
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.labels import Label


@dataclass(frozen=True)
class DuplicateGroup:
    """Films with one 224 px view: their paths, and the classes they are labelled with."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class DuplicateReport:
    """What pictures that occur more than once do to the figures.

    Attributes:
        groups: of two or more films.
        num_unique: pictures, each counted once.
        all_films: figures at the threshold on all films.
        unique_films: the same with the first film of each picture.
    """

    groups: tuple[DuplicateGroup, ...]
    num_unique: int
    all_films: Summary
    unique_films: Summary


def measure_duplicates(
    films: Predictions, film_table: FilmTable, threshold: float
) -> DuplicateReport:
    """Returns which test films are one picture, whatever their names.

    Raises:
        EvaluationError: the table lacks a film.
    """
    hashes = film_table.align(films.path.tolist()).sha256
    _, first, group_of_film = np.unique(hashes, return_index=True, return_inverse=True)
    sizes = np.bincount(group_of_film)
    groups = []
    for group in np.flatnonzero(sizes > 1):
        rows = np.flatnonzero(group_of_film == group)
        labels = sorted({Label(int(y)).name for y in films.y_true[rows]})
        groups.append(DuplicateGroup(tuple(sorted(films.path[rows].tolist())), tuple(labels)))
    kept = np.sort(first)
    y, p = films.y_true, films.p_pneumonia
    return DuplicateReport(
        groups=tuple(sorted(groups, key=lambda group: group.paths)),
        num_unique=len(kept),
        all_films=summarize_at_threshold(y, p, threshold),
        unique_films=summarize_at_threshold(y[kept], p[kept], threshold),
    )
