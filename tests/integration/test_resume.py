"""Killed at any moment and started again, a run ends as if nothing had happened."""

import signal
import subprocess
import sys
import time

import pytest

ARTEFACTS = ("model.safetensors", "predictions.csv", "operating_point.json", "metrics.json")
SETTINGS = ("--set", "training.checkpoint_every_s=0.0", "--set", "training.epochs=4")


def command(recipe, phantoms, out):
    return [
        sys.executable, "-m", "pneumoscope", "train", str(recipe),
        "--data", str(phantoms), "--out", str(out), *SETTINGS,
    ]  # fmt: skip


def num_logged_steps(out):
    log = out / "log.jsonl"
    return log.read_text().count('"kind": "step"') if log.exists() else 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, phantoms, recipes):
    out = tmp_path_factory.mktemp("straight") / "run"
    subprocess.run(
        command(recipes / "tiny_cnn.toml", phantoms, out), check=True, capture_output=True
    )
    return out


def test_kill_and_resume_is_bit_for_bit(uninterrupted, phantoms, recipes, tmp_path):
    out = tmp_path / "run"
    start = command(recipes / "tiny_cnn.toml", phantoms, out)
    num_kills = 0
    for target in (1, 4, 7):  # in the first epoch, in the middle of the second, in the third
        process = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while num_logged_steps(out) < target and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            num_kills += 1
        process.communicate()
    assert num_kills >= 2
    assert not (out / "bundle").exists()
    subprocess.run(start, check=True, capture_output=True)
    for name in ARTEFACTS:
        ours, theirs = ((run / "bundle" / name).read_bytes() for run in (out, uninterrupted))
        assert ours == theirs, name
    assert num_logged_steps(out) == num_logged_steps(uninterrupted) == 12


def test_another_seed_gives_another_model(uninterrupted, phantoms, recipes, tmp_path):
    start = command(recipes / "tiny_cnn.toml", phantoms, tmp_path / "run")
    subprocess.run([*start, "--set", "training.seed=1"], check=True, capture_output=True)
    name = "bundle/predictions.csv"
    assert (tmp_path / "run" / name).read_bytes() != (uninterrupted / name).read_bytes()
