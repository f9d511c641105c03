"""``compare`` and ``evaluate`` without films: from any kind of result, without torch."""

import json

import pytest

from pneumoscope.bundle import open_bundle, shipped_bundles
from pneumoscope.evaluation.operating_point import choose_threshold_by_min_recall
from pneumoscope.evaluation.predictions import read_predictions

pytestmark = pytest.mark.skipif(len(shipped_bundles()) < 2, reason="needs two shipped bundles")


@pytest.fixture
def scores(tmp_path):
    """Somebody's scores: those of a shipped bundle as a bare file."""
    path = tmp_path / "theirs.csv"
    path.write_bytes((open_bundle("cnn").path / "predictions.csv").read_bytes())
    return path


@pytest.fixture
def without_torch(tmp_path):
    """An environment in which importing torch fails."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "torch.py").write_text("raise ImportError('torch is not to be imported')")
    return {"PYTHONPATH": str(blocked), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}


def test_scores_alone_are_evaluated_without_torch(program, scores, tmp_path, without_torch):
    out = tmp_path / "out"
    answer = program("evaluate", scores, "--out", out, "--min-recall", "0.9", env=without_torch)
    assert answer.returncode == 0, answer.stderr
    assert f"report: {out / 'report.html'}" in answer.stdout
    val = read_predictions(scores).subset("val")
    expected = choose_threshold_by_min_recall(val.y_true, val.p_pneumonia, 0.9)[0]
    found = json.loads((out / "report.json").read_text())["sections"]["results"]["data"]
    assert found["theirs"]["threshold"] == expected
    assert found["theirs"]["min_recall"] == 0.9


@pytest.mark.parametrize("target", ["0", "1.01", "nan"])
def test_a_target_recall_is_above_0_and_at_most_1(program, tmp_path, target):
    answer = program("compare", "cnn", "--min-recall", target, "--out", tmp_path / "out")
    assert answer.returncode == 2
    assert "is not above 0 and at most 1" in answer.stderr
    assert not (tmp_path / "out").exists()


def test_bundles_and_scores_stand_in_one_comparison(program, scores, tmp_path):
    out = tmp_path / "out"
    answer = program("compare", "cnn", "scratch", scores, "--out", out)
    assert answer.returncode == 0, answer.stderr
    found = json.loads((out / "report.json").read_text())["sections"]["pairs"]["data"]["pairs"]
    pairs = {(pair["first"], pair["second"]): pair for pair in found}
    assert len(pairs) == 3
    same = next(pair for names, pair in pairs.items() if names == ("CNN", "theirs"))
    assert same["auroc"]["by_patient"] == {"value": 0, "interval": [0, 0], "p_value": 1}
    assert same["recall"]["only_first"] == same["recall"]["only_second"] == 0


def test_a_bundle_is_evaluated_from_its_stored_scores(program, tmp_path):
    answer = program("evaluate", "cnn", "--out", tmp_path / "out")
    assert answer.returncode == 0, answer.stderr
    found = json.loads((tmp_path / "out" / "report.json").read_text())["sections"]
    data = found["results"]["data"]["CNN"]
    assert data["threshold"] == open_bundle("cnn").threshold
    assert found["calibration"]["data"]["CNN"]["temperature"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "cnn", "--labels", "map.toml"), "concern films; give --data with them"),
        (("evaluate", "cnn", "--skip-unreadable"), "concern films; give --data with them"),
        (("evaluate", "absent.csv"), "no file absent.csv; expected a predictions.csv"),
        (("compare", "absent"), "no bundle absent: not a folder, and not a shipped name"),
        (
            ("evaluate", "cnn", "--data", "here", "--labels", "absent.toml"),
            "cannot read absent.toml",
        ),
    ],
)
def test_wrong_usage_is_one_line(program, tmp_path, arguments, message):
    answer = program(*arguments, cwd=tmp_path)
    assert answer.returncode in (1, 2)
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""
