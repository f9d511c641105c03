"""One picture under several names."""

import numpy as np

from pneumoscope.data.quality import QUALITY_ATTRIBUTES
from pneumoscope.evaluation.duplicates import measure_duplicates
from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.operating_point import summarize_at_threshold


def table_of(films, hashes):
    values = {name: np.ones(len(films)) for name in QUALITY_ATTRIBUTES}
    return FilmTable(films.path, np.array(hashes), values)


def test_they_are_named_and_counted_once(make_result):
    films = make_result().films("test")
    hashes = [f"{i:064x}" for i in range(60)]
    hashes[7] = hashes[3]  # PNEUMONIA twice
    hashes[10] = hashes[12] = hashes[0]  # NORMAL, and once PNEUMONIA
    found = measure_duplicates(films, table_of(films, hashes), 0.5)
    assert [(g.paths, g.labels) for g in found.groups] == [
        (("test/0.jpeg", "test/10.jpeg", "test/12.jpeg"), ("NORMAL", "PNEUMONIA")),
        (("test/3.jpeg", "test/7.jpeg"), ("PNEUMONIA",)),
    ]
    assert found.num_unique == 57
    kept = [i for i in range(60) if i not in (7, 10, 12)]
    y, p = films.y_true, films.p_pneumonia
    assert found.all_films == summarize_at_threshold(y, p, 0.5)
    assert found.unique_films == summarize_at_threshold(y[kept], p[kept], 0.5)


def test_where_all_are_unique_nothing_changes(make_result):
    films = make_result().films("test")
    found = measure_duplicates(films, table_of(films, [f"{i:064x}" for i in range(60)]), 0.5)
    assert found.groups == ()
    assert found.all_films == found.unique_films
