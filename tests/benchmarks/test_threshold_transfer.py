"""Rules for the threshold, on films whose scores rise all together under a change."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pneumoscope.evaluation.predictions import Predictions, write_predictions

NUM_FILMS = 400


def films(rise: float, share_sick: float = 0.75) -> Predictions:
    """Two films a patient, sick and healthy ones four apart in log odds and overlapping."""
    rng = np.random.default_rng(0)
    is_sick = np.repeat(rng.random(NUM_FILMS // 2) < share_sick, 2)
    z = np.where(is_sick, 2.0, -2.0) + rng.normal(0, 1.2, NUM_FILMS) + rise
    return Predictions.from_logits(
        path=[f"{number}.jpeg" for number in range(NUM_FILMS)],
        patient_id=[f"p{number // 2}" for number in range(NUM_FILMS)],
        split=["val"] * NUM_FILMS,
        y_true=is_sick.astype(int),
        logits=np.stack([np.zeros(NUM_FILMS), z], axis=1),
    )


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("sys.argv", ["threshold_transfer.py", str(folder)])
    script.main()


def test_what_each_rule_decides_where_scores_rise(
    threshold_transfer, monkeypatch, tmp_path, capsys
) -> None:
    folder = tmp_path / "tiny"
    for name, rise in {"clean": 0.0, "risen": 10.0}.items():
        write_predictions(folder / f"{name}.csv", films(rise))
    run(threshold_transfer, monkeypatch, folder)
    lines = {line["rule"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert set(lines) == {*threshold_transfer.RULES, threshold_transfer.CHANGED}
    for rule in ("frozen", "out of fold", "recall bound", "temperature"):
        recall, specificity = lines[rule]["clean"]
        assert 0.93 < recall < 1.0, rule  # chosen on other patients
        assert 0.8 < specificity < 1.0, rule
        assert lines[rule]["by_shift"]["risen"] == [1.0, 0.0], rule
    assert lines["frozen"]["clean"][0] < lines["recall bound"]["clean"][0]
    assert lines["frozen"]["clean"] == lines["temperature"]["clean"]
    changed = lines[threshold_transfer.CHANGED]["by_shift"]
    assert changed["clean"] == [0.0, 1.0]  # chosen on risen films
    assert changed["risen"] == [1.0, 0.0]  # chosen on clean ones


def test_a_folder_without_clean_films_is_refused(threshold_transfer, monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit):
        run(threshold_transfer, monkeypatch, Path("nowhere"))
    assert "nowhere has no clean.csv" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("share_sick", [0.0, 0.005, 0.995, 1.0])
def test_halves_of_one_class_are_told_in_one_line(
    share_sick, threshold_transfer, monkeypatch, tmp_path, capsys
) -> None:
    write_predictions(tmp_path / "clean.csv", films(0.0, share_sick))
    with pytest.raises(SystemExit):
        run(threshold_transfer, monkeypatch, tmp_path)
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"error: {tmp_path}: half of the patients are of one class" in said


def test_a_folder_with_too_few_sick_for_a_bound_is_told_too(
    threshold_transfer, monkeypatch, tmp_path, capsys
) -> None:
    write_predictions(tmp_path / "clean.csv", films(0.0, 0.2))
    with pytest.raises(SystemExit):
        run(threshold_transfer, monkeypatch, tmp_path)
    assert f"error: {tmp_path}: " in capsys.readouterr().err.splitlines()[-1]


def test_prior_shift_moves_scores_to_the_prevalence_of_the_films(threshold_transfer) -> None:
    chosen_on = films(0.0)
    threshold, move = threshold_transfer.prior_shift(chosen_on)
    expected, calibrate = threshold_transfer.temperature(chosen_on)
    assert threshold == expected
    for share, sign in {0.2: -1, 0.98: 1}.items():
        p = films(0.0, share).p_pneumonia
        assert (sign * (move(p) - calibrate(p)) > 0).all(), share
    p = chosen_on.p_pneumonia
    np.testing.assert_allclose(move(p), calibrate(p), atol=0.01)
