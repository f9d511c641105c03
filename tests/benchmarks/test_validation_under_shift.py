"""Bundles on changed validation films, also with other views averaged."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pneumoscope.bundle import open_bundle, shipped_bundles
from pneumoscope.data.cache import default_cache_dir, open_cache
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import open_split, read_split
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.models.bundles import load_network
from pneumoscope.models.scoring import score_pixels
from pneumoscope.training.device import Device, choose_device


@pytest.fixture
def run(
    validation_under_shift: ModuleType,
    phantoms: Path,
    own_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., list[dict[str, Any]]]:
    """Runs the script on phantoms and returns its lines."""
    monkeypatch.chdir(tmp_path)
    open_split(scan_folder(phantoms), Path("split.csv"), "patient")
    asked: list[tuple[str, ...]] = []

    def in_float32(*how: str) -> Device:
        asked.append(how)
        return choose_device("cpu", "float32")

    monkeypatch.setattr(validation_under_shift, "choose_device", in_float32)

    def main(*arguments: str) -> list[dict[str, Any]]:
        where = ("--data", str(phantoms), "--split", "split.csv")
        monkeypatch.setattr("sys.argv", ["validation_under_shift.py", *arguments, *where])
        validation_under_shift.main()
        assert asked == [("cpu", "auto" if "--quick" in arguments else "float32")]
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return main


def test_each_view_is_a_line_and_no_set_holds_a_bundle_twice(run, phantoms) -> None:
    found = run("cnn", "scratch", "--quick", "--flipped", "--together", "--scores", "scores")
    plain, flipped = ("cnn", "scratch"), ("cnn flipped", "scratch flipped")
    pairs = [f"{one} + {two}" for one in ("cnn", "cnn flipped") for two in ("scratch", flipped[1])]
    alone = [name for pair in zip(plain, flipped, strict=True) for name in pair]
    assert [line["bundle"] for line in found] == [*alone, *pairs]
    assert {line["precision"] for line in found} == {"float32"}

    rows = read_split(Path("split.csv")).subset("val")[::2]
    pixels = np.array(open_cache(phantoms, rows, 224, default_cache_dir()))
    network = load_network(open_bundle("scratch"))
    # A film turned round stands in for a view: the mean does not mind which of the two is which.
    for view, films in (("", pixels), (" flipped", pixels[:, :, ::-1].copy())):
        network.flip_average = bool(view)
        logits = score_pixels(network, films)
        scores = read_predictions(Path("scores") / f"scratch{view}" / "clean.csv")
        assert scores.log_odds == pytest.approx(logits[:, 1] - logits[:, 0], abs=1e-3), view


def test_every_change_is_tried_without_quick(run, validation_under_shift) -> None:
    (line,) = run("cnn")
    assert set(validation_under_shift.SHIFTS) <= set(line)
    assert line["precision"] == "float32"


@pytest.mark.parametrize(
    "model",
    [{"flip_average": True}, {"members": []}],
    ids=["answers so already", "an ensemble"],
)
def test_what_cannot_be_flipped_is_refused(
    run, capsys, validation_under_shift, monkeypatch, model
) -> None:
    bundle = SimpleNamespace(config={"model": model})
    monkeypatch.setattr(validation_under_shift, "open_bundle", lambda _: bundle)
    with pytest.raises(SystemExit):
        run("cnn", "--flipped")
    said = capsys.readouterr().err.splitlines()[-1]
    assert "cnn is an ensemble or answers so already; leave out --flipped" in said


@pytest.mark.parametrize(
    ("bundle", "kept", "expected"),
    [("none", r".", "no bundle none"), ("cnn", r"path|PNEUMONIA", "validation films of one class")],
)
def test_what_is_wrong_is_one_line(run, capsys, bundle, kept, expected) -> None:
    path = Path("split.csv")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if re.search(kept, line)), encoding="utf-8")
    with pytest.raises(SystemExit):
        run(bundle)
    said = capsys.readouterr().err
    assert expected in said.splitlines()[-1]
    assert "Traceback" not in said


def test_two_bundles_of_one_name_would_share_their_scores(run, capsys, tmp_path) -> None:
    copy = shutil.copytree(shipped_bundles()["cnn"], tmp_path / "other" / "cnn")
    with pytest.raises(SystemExit):
        run("cnn", str(copy), "--scores", "scores")
    said = capsys.readouterr().err.splitlines()[-1]
    assert "two bundles would share a folder of scores (cnn, cnn)" in said
    assert not Path("scores").exists()
