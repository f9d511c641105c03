"""The evidence folder: written, read back the same, and refused where it is unsound."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from pneumoscope.bundle import default_bundle, open_bundle
from pneumoscope.data.corruption import CLEAN
from pneumoscope.data.quality import QUALITY_ATTRIBUTES
from pneumoscope.errors import BundleError, EvaluationError, UsageError
from pneumoscope.evaluation.comparison import compare
from pneumoscope.evaluation.evidence import (
    FOLDER,
    open_results,
    read_evidence,
    remove_evidence,
    write_evidence,
)
from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.operating_point import choose_threshold_by_min_recall
from pneumoscope.evaluation.predictions import write_predictions
from pneumoscope.evaluation.results import HISTORY_COLUMNS, ModelResult
from pneumoscope.evaluation.shift_table import ShiftTable


@pytest.fixture
def whole(make_result):
    """A result with everything that evidence can hold."""
    result = make_result()
    paths = result.films("test").path
    values = {name: np.arange(1.0, 61) for name in QUALITY_ATTRIBUTES}
    hashes = np.array([f"{i:064x}" for i in range(60)])
    log_odds = result.films("test").log_odds.astype(np.float32)
    return replace(
        result,
        external=True,
        film_table=FilmTable(paths, hashes, values),
        shift_table=ShiftTable(paths, {CLEAN: log_odds, "blur: 1 px": log_odds - 1}),
        audit={"num_films": 60, "verdict": []},
        manifest={"data": {"num_test": 60}},
    )


def assert_same(one: ModelResult, other: ModelResult):
    arrays = ("predictions", "history", "film_table", "shift_table")
    for field in fields(ModelResult):
        if field.name not in arrays:
            assert getattr(one, field.name) == getattr(other, field.name), field.name
    assert list(one.predictions.rows()) == list(other.predictions.rows())
    for name in HISTORY_COLUMNS:
        assert (getattr(one.history, name) == getattr(other.history, name)).all()
    if one.film_table is None:
        assert other.film_table is other.shift_table is None
        return
    assert list(one.film_table.rows()) == list(other.film_table.rows())
    assert (one.shift_table.path == other.shift_table.path).all()
    for name, values in one.shift_table.log_odds.items():
        assert (values == other.shift_table.log_odds[name]).all()


def test_it_comes_back_as_it_went(tmp_path, whole):
    write_evidence(tmp_path, whole)
    assert_same(read_evidence(tmp_path), whole)


def test_what_is_not_there_comes_back_as_not_there(tmp_path, whole, make_result):
    write_evidence(tmp_path, whole)
    little = make_result()
    write_evidence(tmp_path, little)  # what the first left is gone
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.json", "predictions.csv", "history.csv",
    }  # fmt: skip
    assert_same(read_evidence(tmp_path), little)


def test_another_version_or_a_damaged_file_is_named(tmp_path, whole):
    write_evidence(tmp_path, whole)
    path = tmp_path / "model.json"
    sound = json.loads(path.read_text())
    for broken, message in (
        ({**sound, "format_version": 99}, "has evidence format 99; this version reads 1"),
        ({**sound, "recipe": 3}, "recipe: Input should be a valid string"),
        ({**sound, "threshold": None}, "threshold: Input should be a valid number"),
        ({**sound, "threshold": "0.5"}, "threshold: Input should be a valid number"),
        ({**sound, "manifest": "x"}, "manifest: Input should be a valid dictionary"),
        ({**sound, "surprise": 1}, "does not fit this version"),
        ({k: v for k, v in sound.items() if k != "threshold"}, "does not fit this version"),
        ([], "holds no JSON object"),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(EvaluationError, match=message):
            read_evidence(tmp_path)
    path.write_text("{")
    with pytest.raises(EvaluationError, match="cannot be read as JSON"):
        read_evidence(tmp_path)
    path.write_text(json.dumps(sound))
    (tmp_path / "audit.json").write_text('{"num_films": 3}')
    with pytest.raises(EvaluationError, match=r"audit\.json does not fit .*verdict"):
        read_evidence(tmp_path)
    (tmp_path / "audit.json").unlink()
    (tmp_path / "shifts.csv").write_text("path,clean\n")
    with pytest.raises(EvaluationError, match=r"shifts\.csv"):
        read_evidence(tmp_path)


def test_a_path_is_opened_whatever_kind_it_is_of(tmp_path, whole):
    write_evidence(tmp_path / "out" / FOLDER, whole)
    assert open_results(tmp_path / "out")[0].model_id == whole.model_id
    assert open_results(tmp_path / "out" / FOLDER)[0].model_id == whole.model_id
    shipped = default_bundle()
    assert open_results(shipped.name)[0].model_id == shipped.model_id
    assert open_results(str(shipped.path))[0].threshold == shipped.threshold
    with pytest.raises(BundleError, match="no bundle"):
        open_results(tmp_path / "nothing")


def test_scores_alone_get_their_threshold_from_their_validation_films(tmp_path, make_result):
    result = make_result(seed=3)
    path = tmp_path / "mine" / "predictions.csv"
    write_predictions(path, result.predictions)
    found = open_results(path, min_recall=0.8)[0]
    val = found.films("val")
    expected = choose_threshold_by_min_recall(val.y_true, val.p_pneumonia, 0.8)[0]
    assert (found.name, found.threshold, found.min_recall) == ("mine", expected, 0.8)
    assert (found.seed, found.num_parameters, found.manifest) == (None, None, None)
    assert found.model_id.startswith("mine-")
    other = tmp_path / "theirs.csv"
    other.write_bytes(path.read_bytes())
    assert open_results(other)[0].name == "theirs"


def test_scores_of_several_models_in_one_file_are_told_apart(tmp_path, make_result):
    one, two = make_result("one", seed=1), make_result("two", seed=2)
    compare([one, two], tmp_path)
    found = open_results(tmp_path / "predictions.csv")
    assert [result.name for result in found] == ["one", "two"]
    for result, original in zip(found, (one, two), strict=True):
        assert list(result.predictions.rows()) == list(original.predictions.rows())
        assert result.threshold == original.threshold  # chosen again by the same rule


def test_evidence_is_removed_without_touching_anything_else(tmp_path, whole):
    folder = tmp_path / FOLDER
    remove_evidence(folder)  # nothing there
    write_evidence(folder, whole)
    (folder / "notes.txt").write_text("mine")
    remove_evidence(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    write_evidence(folder, whole)
    remove_evidence(folder)
    assert not folder.exists()


def test_scores_without_validation_films_are_refused(tmp_path, make_result):
    path = tmp_path / "predictions.csv"
    write_predictions(path, make_result().films("test"))
    with pytest.raises(EvaluationError, match="has no PNEUMONIA film with split val"):
        open_results(path)
    with pytest.raises(UsageError, match=r"no file .*absent\.csv"):
        open_results(tmp_path / "absent.csv")


def test_shipped_bundles_record_what_their_training_films_look_like():
    result = ModelResult.from_bundle(open_bundle("cnn"))
    assert result.training_quality.num_films == result.manifest["data"]["num_train"]
