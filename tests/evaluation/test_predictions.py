"""predictions.csv: exact round trips, and every unsound line named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from pneumoscope.errors import EvaluationError, StorageError
from pneumoscope.evaluation.predictions import (
    COLUMNS,
    Predictions,
    read_predictions,
    write_predictions,
)

HEADER = "path,patient_id,split,y_true,logit_normal,logit_pneumonia,p_pneumonia"
SOUND = "test/a.jpeg,person1,test,1,-1.0,1.0,0.8807970779778823"
TEXT = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=12
)
LOGITS = st.floats(-1e6, 1e6)


def make_predictions(**changes):
    columns = {
        "path": ["a", "b", "c"],
        "patient_id": ["p", "p", "q"],
        "split": ["val", "test", "test"],
        "y_true": [0, 1, 1],
        "logits": [[2.0, -1.0], [0.0, 0.0], [-3.0, 800.0]],
    }
    return Predictions.from_logits(**{**columns, **changes})


def columns_of(predictions):
    return [getattr(predictions, n).tolist() for n in predictions.__dataclass_fields__]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            TEXT, TEXT, st.sampled_from(["train", "val", "test"]), st.integers(0, 1), LOGITS, LOGITS
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda film: (film[0], film[2]),
    )
)
def test_what_is_written_is_read_bit_for_bit(tmp_path_factory, films):
    path, patient_id, split, y_true, *logits = zip(*films, strict=True)
    predictions = Predictions.from_logits(path, patient_id, split, y_true, np.transpose(logits))
    file = tmp_path_factory.getbasetemp() / "round_trip" / "predictions.csv"
    write_predictions(file, predictions)
    assert columns_of(read_predictions(file)) == columns_of(predictions)
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_probability_is_the_softmax_in_float64():
    logits = np.random.default_rng(0).normal(0, 5, (1000, 2)).astype(np.float32)
    names = [str(i) for i in range(1000)]
    predictions = Predictions.from_logits(names, names, ["val"] * 1000, [0, 1] * 500, logits)
    assert predictions.p_pneumonia.dtype == predictions.logits.dtype == np.float64
    assert predictions.y_true.dtype == np.int64
    expected = softmax(logits.astype(np.float64), axis=1)[:, 1]
    np.testing.assert_allclose(predictions.p_pneumonia, expected, rtol=1e-14, atol=0)


def test_probability_saturates_without_a_warning():
    predictions = make_predictions(logits=[[1e300, -1e300], [-1e300, 1e300], [0, -800]])
    assert predictions.p_pneumonia.tolist() == [0.0, 1.0, 0.0]


def test_logits_so_far_apart_that_nothing_can_be_drawn_are_refused():
    with pytest.raises(EvaluationError, match="expected numbers with a finite difference"):
        make_predictions(logits=[[0, 0], [-1e308, 1e308], [0, 0]])


def test_subset_keeps_films_in_order():
    predictions = make_predictions()
    assert predictions.subset("test").path.tolist() == ["b", "c"]
    assert predictions.subset("test").p_pneumonia.tolist() == [0.5, 1.0]
    assert (len(predictions), len(predictions.subset("val"))) == (3, 1)
    assert len(predictions.subset("train")) == 0


def test_file_has_the_agreed_columns(tmp_path):
    write_predictions(tmp_path / "p.csv", make_predictions())
    first, second, *_ = (tmp_path / "p.csv").read_text().splitlines()
    assert first == HEADER == ",".join(COLUMNS)
    assert second == "a,p,val,0,2.0,-1.0,0.04742587317756678"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_true": [0, 1]}, r"y_true has shape \(2,\); expected \(3,\)"),
        ({"logits": [[0, 0], [1, 1]]}, r"logits has shape \(2, 2\); expected \(3, 2\)"),
        ({"logits": [0, 1, 2]}, r"logits has shape \(3,\); expected \(N, 2\)"),
        ({"y_true": [0, 1, 0.5]}, "film 2: y_true is 0.5; expected 0 or 1"),
        ({"split": ["val", "tset", "test"]}, "film 1: split is 'tset'; expected one of train,"),
        ({"logits": [[0, 0], [np.nan, 0], [0, 0]]}, "film 1: logits is .*; expected finite"),
        ({"logits": [[0, 0], [0, 0], [0, np.inf]]}, "film 2: logits is .*; expected finite"),
        ({"path": ["a", "b", "b"]}, "film 2: 'b' occurs twice in test"),
        ({"patient_id": ["p", "", "q"]}, "film 1: patient_id is ''; expected a patient"),
    ],
)
def test_unsound_columns_are_refused(changes, message):
    with pytest.raises(EvaluationError, match=message):
        make_predictions(**changes)


def test_one_path_may_stand_in_two_splits():
    assert make_predictions(path=["b", "b", "c"]).path.tolist() == ["b", "b", "c"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "has the columns ''; expected 'path,patient_id"),
        (["path,y_true"], "has the columns 'path,y_true'; expected 'path,patient_id"),
        ([HEADER], "has a header but no lines below it"),
        ([HEADER, SOUND, "x,y"], "line 3: 2 cells; expected 7"),
        ([HEADER, SOUND, SOUND], "line 3: 'test/a.jpeg' occurs twice in test; expected once"),
        ([HEADER, SOUND.replace(",1,", ",2,")], "line 2: y_true is 2.0; expected 0 or 1"),
        ([HEADER, SOUND.replace(",1,", ",yes,")], "line 2: y_true is 'yes'; expected a number"),
        ([HEADER, SOUND.replace(",test,", ",exam,")], "line 2: split is 'exam'; expected one of"),
        ([HEADER, SOUND.replace("-1.0", "nan")], "line 2: logits is .nan, 1.0.; expected finite"),
        ([HEADER, SOUND.replace("-1.0", "")], "line 2: logit_normal is ''; expected a number"),
        ([HEADER, SOUND.replace("0.88", "1.88")], "line 2: p_pneumonia is 1.88.*probability in"),
        ([HEADER, SOUND[: SOUND.rindex(",")] + ",nan"], "line 2: p_pneumonia is nan; expected a"),
        ([HEADER, SOUND.replace("0.8807970", "0.8807990")], "line 2: p_pneumonia is .* softmax"),
        # A quoted path may hold a line break: the line is where the row ends.
        ([HEADER, '"a\nb"' + SOUND[11:], SOUND, "x"], "line 5: 1 cells; expected 7"),
    ],
)
def test_unsound_file_is_named_with_its_line(tmp_path, lines, message):
    file = tmp_path / "scores.csv"
    file.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(EvaluationError, match=message) as caught:
        read_predictions(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_probability_may_be_rounded_to_the_tolerance(tmp_path):
    (tmp_path / "p.csv").write_text(f"{HEADER}\n{SOUND.replace('0.8807970779778823', '0.8807975')}")
    assert read_predictions(tmp_path / "p.csv").p_pneumonia.tolist() == [0.8807975]


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    (tmp_path / "p.csv").write_bytes(f"\ufeff{HEADER}\r\n{SOUND}\r\n".encode())
    assert read_predictions(tmp_path / "p.csv").path.tolist() == ["test/a.jpeg"]


def test_unreadable_file_is_one_line(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.csv", "binary.csv"):
        with pytest.raises(EvaluationError, match=f"cannot read .*{name} as CSV"):
            read_predictions(tmp_path / name)


def test_failed_write_keeps_what_was_there(tmp_path):
    (tmp_path / "p.csv").mkdir()
    (tmp_path / "p.csv" / "kept").touch()
    with pytest.raises(StorageError, match=r"cannot write .*p\.csv"):
        write_predictions(tmp_path / "p.csv", make_predictions())
    assert [path.name for path in tmp_path.rglob("*")] == ["p.csv", "kept"]
