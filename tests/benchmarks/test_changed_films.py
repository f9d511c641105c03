"""The record of changed films, against the evidence that it is made of."""

import csv
import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pneumoscope.evaluation.predictions import read_predictions

EVALUATION = Path(__file__).parents[2] / "benchmarks" / "results" / "evaluation"


def test_every_change_is_recorded_at_the_frozen_threshold(changed_films: ModuleType) -> None:
    folder = EVALUATION / "cnn"
    found = changed_films.changed_films(folder)["changes"]
    with (folder / "shifts.csv").open(encoding="utf-8", newline="") as stream:
        films = list(csv.DictReader(stream))
    test = read_predictions(folder / "predictions.csv").subset("test")
    assert [film["path"] for film in films] == list(test.path)
    assert list(found) == [column for column in films[0] if column != "path"]
    odds = {name: np.array([float(film[name]) for film in films]) for name in found}
    threshold = json.loads((folder / "model.json").read_text(encoding="utf-8"))["threshold"]
    called = {name: 1 / (1 + np.exp(-values)) >= threshold for name, values in odds.items()}
    sick = test.y_true == 1
    for name, values in found.items():
        assert values == {
            "auroc": pytest.approx(roc_auc_score(sick, odds[name]), abs=6e-5),
            "recall": pytest.approx(called[name][sick].mean(), abs=6e-5),
            "specificity": pytest.approx((~called[name][~sick]).mean(), abs=6e-5),
            "flipped": (called[name] != called["clean"]).sum(),
        }, name


def test_what_is_wrong_is_one_line(
    changed_films: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = tmp_path / "predictions.csv"
    scores.write_bytes((EVALUATION / "cnn" / "predictions.csv").read_bytes())
    sick = shutil.copytree(EVALUATION / "cnn", tmp_path / "sick")
    lines = (sick / "shifts.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [lines[0], *(line for line in lines[1:] if "PNEUMONIA" in line)]
    (sick / "shifts.csv").write_text("".join(kept), encoding="utf-8")
    for path, expected in (
        (tmp_path / "none", "none"),
        (scores, "scores of no changed films"),
        (sick, "holds changed films of one class"),
    ):
        monkeypatch.setattr("sys.argv", ["changed_films.py", str(path)])
        with pytest.raises(SystemExit):
            changed_films.main()
        said = capsys.readouterr().err
        assert expected in said.splitlines()[-1]
        assert "Traceback" not in said
