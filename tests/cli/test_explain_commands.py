"""``explain`` and ``export``."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from pneumoscope.cli import main
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.screening.screener import Screener


@pytest.fixture
def film(phantoms: Path) -> Path:
    return sorted((phantoms / "test/PNEUMONIA").iterdir())[0]


@pytest.mark.parametrize(("bundle", "num_files"), [("cnn", 3), ("scratch", 4)])
def test_explain(
    bundle: str, num_files: int, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["explain", str(film), "--bundle", bundle, "--no-gate", "--out", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "hottest fifth the film's log-odds fall by" in said
    assert len(list(out.iterdir())) == num_files
    assert Image.open(next(out.glob("*.png"))).mode == "RGB"


def test_explain_what_cannot_be_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((300, 300), np.uint8)).save(tmp_path / "blank.png")
    out = tmp_path / "out"
    assert main(["explain", str(tmp_path / "blank.png"), "--out", str(out)]) == 0
    assert "is too dark" in capsys.readouterr().out
    assert main(["explain", str(tmp_path / "nowhere.png"), "--out", str(out)]) == 1
    assert main(["explain", str(tmp_path / "nowhere.png"), "--bundle", "nowhere"]) == 2
    assert not out.exists()


def test_export(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cnn.onnx"
    assert main(["export", "cnn", "--to", "onnx", "--output", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    session = onnxruntime.InferenceSession(path)
    screener = Screener.load("cnn", gate=False)
    found = session.get_modelmeta().custom_metadata_map
    assert found["model_id"] == screener.bundle.model_id
    assert float(found["threshold"]) == screener.bundle.threshold
    pixels = prepare(read_radiograph(film), screener.img_size)[None]
    ((normal, pneumonia),) = session.run(["logits"], {"pixels": pixels})[0]
    p = 1 / (1 + np.exp(float(normal - pneumonia)))
    assert p == pytest.approx(screener.screen(film).p_pneumonia, abs=1e-5)


def test_export_in_int8(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of integers that scores as the bundle does in int8, and says where it is in doubt."""
    path = tmp_path / "scratch.onnx"
    assert main(["export", "scratch", "--precision", "int8", "--output", str(path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "from the bundle's in int8" in said
    screener = Screener.load("scratch", gate=False, precision="int8")
    weights = screener.bundle.path / "model.safetensors"
    # Against weights in float16; patch embedding and the standardising of films stay in float32.
    assert path.stat().st_size < 0.7 * weights.stat().st_size
    session = onnxruntime.InferenceSession(path)
    found = session.get_modelmeta().custom_metadata_map
    assert found["precision"] == "int8"
    record = json.loads((screener.bundle.path / "int8.json").read_text())
    assert float(found["float32_band"]) == 2 * record["max_log_odds_difference"]
    pixels = prepare(read_radiograph(film), screener.img_size)[None]
    ((normal, pneumonia),) = session.run(["logits"], {"pixels": pixels})[0]
    p = 1 / (1 + np.exp(float(normal - pneumonia)))
    assert p == pytest.approx(screener.screen(film).p_pneumonia, abs=5e-3)


@pytest.mark.parametrize(
    ("bundle", "reason"), [("cnn", "no record of int8"), ("pretrained_ti16", "int8 moves p_pneu")]
)
@pytest.mark.parametrize("command", [["export"], ["screen", "film.png", "--bundle"]])
def test_a_bundle_that_does_not_bear_int8(
    bundle: str, reason: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, bundle, "--precision", "int8"]) in (1, 2)
    said = " ".join(capsys.readouterr().err.split())
    assert reason in said
    assert "use float32" in said


def test_export_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "pneumoscope.screening.export.score_pixels", lambda network, films: np.ones((32, 2))
    )
    assert main(["export", "cnn", "--output", str(tmp_path / "cnn.onnx")]) == 1
    assert "nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_export_without_the_exporter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pneumoscope.models.onnx_export.find_spec", lambda name: None)
    assert main(["export", "cnn", "--output", "never.onnx"]) == 2
    assert "pip install 'pneumoscope[onnx]'" in capsys.readouterr().err
