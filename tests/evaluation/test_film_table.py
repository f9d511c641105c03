"""films.csv: the same again bit for bit, and each line that is unsound named."""

from dataclasses import astuple

import numpy as np
import pytest

from pneumoscope.data.quality import QUALITY_ATTRIBUTES, Quality
from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.film_table import (
    COLUMNS,
    FilmTable,
    read_film_table,
    write_film_table,
)


@pytest.fixture
def qualities():
    rng = np.random.default_rng(0)
    return [Quality(100 + i, 200 + i, *rng.random(5).tolist()) for i in range(4)]


@pytest.fixture
def table(qualities):
    return FilmTable.from_films(
        ["a.jpeg", 'b, "c".png', "d\ne.dcm", "ü.jpeg"], [f"{i:064x}" for i in range(4)], qualities
    )


def test_it_comes_back_bit_for_bit(tmp_path, table, qualities):
    path = tmp_path / "films.csv"
    write_film_table(path, table)
    found = read_film_table(path)
    assert list(found.rows()) == list(table.rows())
    assert [row[2:] for row in found.rows()] == [astuple(quality) for quality in qualities]
    assert path.read_text(encoding="utf-8").splitlines()[0] == ",".join(COLUMNS)


def test_it_is_put_in_the_order_asked_for(table):
    found = table.align(["ü.jpeg", "a.jpeg"])
    assert found.path.tolist() == ["ü.jpeg", "a.jpeg"]
    assert found.values["height_px"].tolist() == [103, 100]
    with pytest.raises(EvaluationError, match=r"lacks 5 of 6 films \(x, y, z, \.\.\.\)"):
        table.align(["a.jpeg", "x", "y", "z", "v", "w"])


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("path", "", "line 3: path is ''; expected a path"),
        ("path", "a.jpeg", "line 3: 'a.jpeg' occurs twice; expected once"),
        ("sha256", "", "line 3: sha256 is ''; expected a hash"),
        ("brightness", "nan", "line 3: brightness is nan; expected a finite number"),
        ("width_px", "0", "line 3: width_px is 0.0; expected a number of pixels"),
        ("height_px", "10.5", "line 3: height_px is 10.5; expected a number of pixels"),
        ("sharpness", "x", "line 3: sharpness is 'x'; expected a number"),
    ],
)
def test_a_line_that_is_unsound_is_named(tmp_path, column, cell, message):
    rows = [["a.jpeg", "00", "10", "10", *["0.5"] * 5], ["b.jpeg", "01", "10", "10", *["0.5"] * 5]]
    rows[1][COLUMNS.index(column)] = cell
    path = tmp_path / "films.csv"
    path.write_text("\n".join([",".join(COLUMNS), *map(",".join, rows)]) + "\n")
    with pytest.raises(EvaluationError) as caught:
        read_film_table(path)
    assert str(caught.value) == f"{path}, {message}"


def test_other_attributes_or_lengths_are_refused(table):
    with pytest.raises(EvaluationError, match="were measured by brightness; expected height_px"):
        FilmTable(table.path, table.sha256, {"brightness": np.ones(4)})
    short = {**table.values, QUALITY_ATTRIBUTES[-1]: np.ones(3)}
    with pytest.raises(EvaluationError, match=r"bright_share has shape \(3,\); expected \(4,\)"):
        FilmTable(table.path, table.sha256, short)
