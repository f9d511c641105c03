"""Two processes under torchrun give what one process gives."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from pneumoscope.cli import main
from pneumoscope.evaluation.predictions import read_predictions


@pytest.fixture(autouse=True)
def one_thread():
    """A process alone computes in this one, and adds up as those under torchrun do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train(out, recipe, phantoms, *, num_processes):
    arguments = [
        "train", str(recipe), "--data", str(phantoms), "--out", str(out),
        "--set", "augmentation.hflip_prob=0.0", "--set", "augmentation.rotate_deg=0.0",
        "--set", "augmentation.contrast=0.0", "--set", "bundle.dtype=float32",
    ]  # fmt: skip
    if num_processes == 1:
        assert main(arguments) == 0
        return read_predictions(out / "bundle" / "predictions.csv"), ""
    launcher = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(num_processes),
        "--master-addr", "127.0.0.1", "--master-port", str(free_port()), "-m", "pneumoscope",
    ]  # fmt: skip
    answer = subprocess.run(
        [*launcher, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert answer.returncode == 0, answer.stderr
    return read_predictions(out / "bundle" / "predictions.csv"), answer.stdout


@pytest.fixture
def plain_recipe(tmp_path):
    """A ViT without dropout, so that nothing random depends on the process."""
    path = tmp_path / "plain.toml"
    path.write_text(
        'name = "plain"\n[model]\nname = "vit_scratch"\nimg_size = 32\n'
        "[training]\nepochs = 2\nbatch_size = 15\nprecision = 'float32'\ndevice = 'cpu'\n"
    )
    return path


def test_two_processes_give_the_table_of_one(plain_recipe, phantoms, tmp_path):
    one, _ = train(tmp_path / "one", plain_recipe, phantoms, num_processes=1)
    two, stdout = train(tmp_path / "two", plain_recipe, phantoms, num_processes=2)
    assert two.path.tolist() == one.path.tolist()  # each film once, in the same order
    assert len(set(zip(two.split, two.path, strict=True))) == len(two)
    np.testing.assert_allclose(two.logits, one.logits, atol=2e-3)
    assert np.abs(one.logits).max() > 0.01
    assert stdout.count("bundle:") == 1  # one process talks


def test_the_second_task_is_shared_too(plain_recipe, phantoms, tmp_path):
    with plain_recipe.open("a") as stream:
        stream.write("cause_weight = 2.0\n")
    one, _ = train(tmp_path / "one", plain_recipe, phantoms, num_processes=1)
    two, _ = train(tmp_path / "two", plain_recipe, phantoms, num_processes=2)
    np.testing.assert_allclose(two.logits, one.logits, atol=2e-3)
    manifest = json.loads((tmp_path / "two" / "bundle" / "manifest.json").read_text())
    assert min(manifest["cause_counts"].values()) > 0


def test_muon_moves_all_processes_alike(plain_recipe, phantoms, tmp_path):
    adamw, _ = train(tmp_path / "adamw", plain_recipe, phantoms, num_processes=1)
    with plain_recipe.open("a") as stream:
        stream.write("optimizer = 'muon'\n")
    one, _ = train(tmp_path / "one", plain_recipe, phantoms, num_processes=1)
    two, _ = train(tmp_path / "two", plain_recipe, phantoms, num_processes=2)
    np.testing.assert_allclose(two.logits, one.logits, atol=2e-3)
    assert np.abs(one.logits - adamw.logits).max() > 0.01


def test_a_pretrained_network_starts_alike_on_all_processes(ti32_checkpoint, phantoms, tmp_path):
    path = tmp_path / "tuned.toml"
    path.write_text(
        'name = "tuned"\n[model]\nname = "vit_ti32"\nimg_size = 32\n'
        f"[pretrained]\nweights = '{ti32_checkpoint}'\n"
        "[training]\nepochs = 1\nbatch_size = 15\nprecision = 'float32'\ndevice = 'cpu'\n"
        "layer_decay = 0.75\n"
    )
    one, _ = train(tmp_path / "one", path, phantoms, num_processes=1)
    two, _ = train(tmp_path / "two", path, phantoms, num_processes=2)
    np.testing.assert_allclose(two.logits, one.logits, atol=2e-3)
    manifest = json.loads((tmp_path / "two" / "bundle" / "manifest.json").read_text())
    assert manifest["pretrained"]["model_name"] == "vit_ti32"
    assert manifest["pretrained"]["resolution"] == 64
    history = (tmp_path / "two" / "bundle" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "0", "1"]
