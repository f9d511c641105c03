"""What ``train`` and ``ensemble`` show, and what they refuse before any work."""

from pathlib import Path

import pytest

from pneumoscope.bundle import open_bundle
from pneumoscope.cli import main
from pneumoscope.cli.train import show_bundle


def test_the_test_row_is_left_unseen_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    bundle = open_bundle("cnn")
    val, test = (bundle.metrics[split]["at_threshold"]["specificity"] for split in ("val", "test"))
    show_bundle(bundle, val_only=True)
    shown = capsys.readouterr().out
    assert f"{val:.4f}" in shown
    assert f"{test:.4f}" not in shown
    assert "Validation set" in shown
    show_bundle(bundle, val_only=False)
    shown = capsys.readouterr().out
    assert f"{test:.4f}" in shown
    assert f"{val:.4f}" not in shown


def test_an_ensemble_of_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["ensemble", "cnn", "--data", str(tmp_path), "--out", str(out)]) == 2
    assert "an ensemble of 1 bundle; name two or more" in capsys.readouterr().err
    assert not out.exists()
