"""The log of a run."""

import io
import json
import sys

import pytest
from rich.console import Console

from pneumoscope.errors import ConfigError
from pneumoscope.training.recorder import RunRecorder, keep_until

STEP = {"epoch": 1, "loss": 0.5, "lr": 0.1, "grad_norm": 1.0, "time_s": 0.1}
ROW = {"epoch": 1, "train_loss": 0.5, "val_loss": 0.4, "val_auroc": 0.9, "lr": 0.1, "time_s": 3.0}


def record(folder, first, last, console=None):
    with RunRecorder(
        folder, "demo", tensorboard=False, console=console or Console(file=io.StringIO())
    ) as recorder:
        recorder.start(first - 1, 10)
        for step in range(first, last + 1):
            recorder.step({"step": step, **STEP})
        recorder.epoch({"step": last, **ROW})


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_line_a_step_and_a_validation(tmp_path):
    console = Console(file=io.StringIO(), width=200)
    record(tmp_path, 1, 3, console)
    assert [(line["kind"], line["step"]) for line in lines(tmp_path)] == [
        ("step", 1), ("step", 2), ("step", 3), ("epoch", 3),
    ]  # fmt: skip
    assert "demo: epoch 1  train loss 0.5000  val loss 0.4000" in console.file.getvalue()


def test_going_on_removes_what_was_logged_after_the_checkpoint(tmp_path):
    record(tmp_path, 1, 6)
    record(tmp_path, 4, 7)
    steps = [line["step"] for line in lines(tmp_path) if line["kind"] == "step"]
    assert steps == [1, 2, 3, 4, 5, 6, 7]


def test_half_a_line_is_removed(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    keep_until(path, 5)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    path.write_text('{"step": 1}\n{"step": 2}')
    keep_until(path, 5)
    assert path.read_text() == '{"step": 1}\n'


def test_tensorboard_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'pneumoscope\[tensorboard\]'"):
        RunRecorder(tmp_path, "demo", tensorboard=True, console=Console(file=io.StringIO()))


def test_tensorboard_gets_every_step_once(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, last in ((1, 6), (4, 7)):  # killed after a checkpoint at 3, and started again
        with RunRecorder(
            tmp_path, "demo", tensorboard=True, console=Console(file=io.StringIO())
        ) as recorder:
            recorder.start(first - 1, 10)
            for step in range(first, last + 1):
                recorder.step({"step": step, **STEP})
            recorder.epoch({"step": last, **ROW})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6, 7]
    assert events.Scalars("val/auroc")[-1].value == pytest.approx(0.9)
