"""shifts.csv: the same again bit for bit, and what is unsound named."""

import numpy as np
import pytest

from pneumoscope.data.corruption import CLEAN
from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.shift_table import ShiftTable, read_shift_table, write_shift_table


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    names = (CLEAN, "blur: 1 px", "marker added: R left")
    log_odds = {name: rng.normal(0, 5, 3).astype(np.float32) for name in names}
    return ShiftTable(np.array(["a.jpeg", 'b, "c".png', "ü\nd.dcm"]), log_odds)


def test_it_comes_back_bit_for_bit(tmp_path, table):
    write_shift_table(tmp_path / "shifts.csv", table)
    found = read_shift_table(tmp_path / "shifts.csv")
    assert found.path.tolist() == table.path.tolist()
    assert list(found.log_odds) == list(table.log_odds)
    for name, values in table.log_odds.items():
        assert found.log_odds[name].dtype == np.float32
        assert (found.log_odds[name] == values).all()


def test_films_are_found_among_more_predictions(make_result):
    films = make_result().films("test")
    some = [7, 3, 40]
    values = films.log_odds[some].astype(np.float32)
    table = ShiftTable(films.path[some], {CLEAN: values, "blur: 1 px": values})
    assert table.align(films).tolist() == some
    strange = ShiftTable(np.array(["x.jpeg"]), {CLEAN: values[:1], "blur: 1 px": values[:1]})
    with pytest.raises(EvaluationError, match=r"1 of 1 films under changes have no prediction"):
        strange.align(films)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,blur: 1 px\na,1\n", "expected 'path,clean', then one column a variant"),
        ("path,clean,x,x\na,1,2,3\n", "expected 'path,clean', then one column a variant"),
        ("", "has the columns ''"),
        ("path,clean\na,1\n", "the variants are clean; expected 'clean', then changes"),
        ("path,clean,x\n", "has a header but no lines below it"),
        ("path,clean,x\na,1,nan\n", "'x' of 'a' is nan; expected a finite number"),
        ("path,clean,x\na,1,1e60\n", "'x' of 'a' is inf; expected a finite number"),
        ("path,clean,x\na,1,2\na,1,2\n", "'a' occurs twice; expected once"),
        ('path,clean,x\n"",1,2\n', "a path is empty; expected a film"),
        ("path,clean,x\na,1\n", "line 2: 2 cells; expected 3"),
    ],
)
def test_what_is_unsound_is_named_with_the_file(tmp_path, text, message):
    path = tmp_path / "shifts.csv"
    path.write_text(text)
    with pytest.raises(EvaluationError) as caught:
        read_shift_table(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(EvaluationError, match="cannot read"):
        read_shift_table(tmp_path / "absent.csv")
