"""The mean of stored scores, against that of an ensemble's bundle in ``tests/study``."""

from pathlib import Path
from types import ModuleType

import pytest
from scipy.special import expit

from pneumoscope.bundle import shipped_bundles
from pneumoscope.evaluation.predictions import read_predictions


def test_the_log_odds_are_averaged_and_validation_chooses(average_scores: ModuleType) -> None:
    paths = [shipped_bundles()[name] / "predictions.csv" for name in ("cnn", "scratch")]
    found = average_scores.average(paths)
    odds = sum(read_predictions(path).subset("val").log_odds for path in paths) / 2
    sick = read_predictions(paths[0]).subset("val").y_true == 1
    threshold = found["val"]["at_threshold"]["thr"]
    called = expit(odds) >= threshold  # as it was computed, to the last bit
    assert found["val"]["at_threshold"]["recall"] == called[sick].mean() >= 0.95
    assert found["val"]["at_threshold"]["specificity"] == pytest.approx((~called[~sick]).mean())
    assert found["test"]["at_threshold"]["thr"] == threshold


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("none.csv",), "cannot read none.csv"),
        (("one.csv", "two.csv"), "the files are not of the same films in the same order"),
    ],
)
def test_what_is_wrong_is_one_line(
    average_scores: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    names: tuple[str, ...],
    expected: str,
) -> None:
    lines = (shipped_bundles()["cnn"] / "predictions.csv").read_text().splitlines(keepends=True)
    (tmp_path / "one.csv").write_text("".join(lines))
    (tmp_path / "two.csv").write_text("".join([lines[0], *lines[2:], lines[1]]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["average_scores", *names])
    with pytest.raises(SystemExit):
        average_scores.main()
    assert expected in capsys.readouterr().err.splitlines()[-1]
