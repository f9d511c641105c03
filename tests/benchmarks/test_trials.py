"""What was tried outside the package does what it says."""

import copy
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from pneumoscope.bundle import open_bundle
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import open_split
from pneumoscope.errors import UsageError
from pneumoscope.models.build import build_model, num_parameters
from pneumoscope.models.presets import CNN_PRESETS
from pneumoscope.study import run
from pneumoscope.training import step
from pneumoscope.training.batch import Batch
from pneumoscope.training.device import Device
from pneumoscope.training.distributed import Group
from pneumoscope.training.optimizer import make_optimizer
from pneumoscope.training.supervised import Supervised

CPU = Device(torch.device("cpu"), torch.float32, "the CPU")


@pytest.mark.parametrize(("trial", "millions"), [("wide", 3.0), ("deep", 2.63)])
def test_a_larger_cnn(
    trials: ModuleType, monkeypatch: pytest.MonkeyPatch, trial: str, millions: float
) -> None:
    monkeypatch.setitem(CNN_PRESETS, "cnn", CNN_PRESETS["cnn"])
    trials.WITHOUT_FILE[trial]()
    assert num_parameters(build_model("cnn")) == pytest.approx(millions * 1e6, rel=0.02)


def test_sharpness_takes_the_gradient_uphill(
    trials: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    objective = Supervised(network, torch.ones(2), 0.0)
    x, y = torch.randn(6, 1, 4, 4), torch.tensor([0, 1, 1, 0, 1, 0])
    uphill, flat = copy.deepcopy(objective), copy.deepcopy(objective)
    flat(Batch(x, y, y)).backward()
    norm = torch.stack([p.grad.norm() for p in flat.parameters() if p.grad is not None]).norm()
    for there, here in zip(uphill.parameters(), flat.parameters(), strict=True):
        assert here.grad is not None
        there.data += 0.05 * here.grad / norm
    uphill(Batch(x, y, y)).backward()

    monkeypatch.setattr(step, "kind_of_step", step.kind_of_step)
    trials.WITHOUT_FILE["sharpness"]()
    optimizer = make_optimizer(objective, 0.0, 1.0, name="adamw", dtype=torch.float32)
    take = step.make_step(objective, optimizer, 1e6, CPU, Group())
    assert isinstance(take, trials.SharpnessAwareStep)
    take.set_lr(0.0)
    before = {key: value.clone() for key, value in objective.named_parameters()}
    loss, _ = take(Batch(x, y, y))
    assert all(torch.equal(value, before[key]) for key, value in objective.named_parameters())
    torch.testing.assert_close(loss, flat(Batch(x, y, y)))
    for mine, there in zip(objective.parameters(), uphill.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, there.grad)
    norms = [module for module in objective.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [int(module.num_batches_tracked) for module in norms] == [2]
    once = [module for module in flat.modules() if isinstance(module, nn.BatchNorm2d)]
    mean = x.new_zeros(3).lerp(once[0].running_mean / (1 - 0.9**2), 0.1)  # of two equal batches
    torch.testing.assert_close(norms[0].running_mean, mean)

    found = take(Batch(x * torch.nan, y, y))
    assert not found.isfinite().any()
    assert all(torch.equal(value, before[key]) for key, value in objective.named_parameters())


def train(trials: ModuleType, monkeypatch: pytest.MonkeyPatch, trial: str, *line: object) -> int:
    arguments = ["trials.py", trial, "cnn", *map(str, line)]
    monkeypatch.setattr("sys.argv", arguments)
    status: int = trials.main()
    return status


def test_films_are_left_out_of_training(
    trials: ModuleType,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run, "open_films", run.open_films)
    out, listed = tmp_path / "run", tmp_path / "doubtful.json"
    line = ["--data", phantoms, "--out", out, "--val-only", "--set", "training.max_steps=2"]
    listed.write_text(json.dumps({"paths_left_out": ["train/NORMAL/none.jpeg"]}))
    assert train(trials, monkeypatch, f"without={listed}", *line) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: {listed} names train/NORMAL/none.jpeg, no training film of this split"
    )
    rows = (out / "split.csv").read_text().splitlines()
    trained_on = [row.split(",")[0] for row in rows if ",train," in row]
    listed.write_text(json.dumps({"paths_left_out": trained_on[:3]}))
    monkeypatch.undo()
    monkeypatch.setattr(run, "open_films", run.open_films)
    assert train(trials, monkeypatch, f"without={listed}", *line) == 0
    bundle = open_bundle(out / "bundle")
    used = (bundle.path / "training_films.csv").read_text().splitlines()[1:]
    assert len(used) == len(trained_on) - 3
    assert bundle.manifest["data"]["num_train"] == len(trained_on) - 3
    assert bundle.manifest["data"]["unreadable"] == []
    assert bundle.manifest["name"].startswith("cnn_without_")


def test_a_trial_is_not_taken_for_the_plain_run_nor_for_another(
    trials: ModuleType, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text('{"paths_left_out": []}')
    two.write_text('{"paths_left_out": ["a"]}')
    names = [trials.name_of("sharpness", "cnn"), trials.name_of("wide", "cnn")]
    names += [trials.name_of("without", "cnn", (), str(path)) for path in (one, two)]
    assert names[:2] == ["cnn_sharpness", "cnn_wide"]
    assert len({"cnn", *names}) == 5


def test_only_a_cnn_is_enlarged(trials: ModuleType) -> None:
    with pytest.raises(UsageError) as caught:
        trials.name_of("deep", "scratch")
    assert str(caught.value) == "deep is a size of the CNN; scratch trains a vit_scratch"
    with pytest.raises(UsageError, match="a size of the CNN; cnn trains a vit_scratch"):
        trials.name_of("deep", "cnn", ["--val-only", "--set", "model.name=vit_scratch"])
    assert trials.name_of("sharpness", "scratch") == "scratch_sharpness"


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_a_file_that_names_no_films_is_one_line(
    trials: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
) -> None:
    path = tmp_path / "films.json"
    if content is not None:
        path.write_text(content)
    assert train(trials, monkeypatch, f"without={path}", "--data", tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path} does not name films; make it with doubtful_labels.py")


@pytest.mark.parametrize("trial", [None, "deep"])
def test_a_trial_on_blocks_is_trained_by_the_trials_script(
    block_validation: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trial: str | None,
) -> None:
    commands: list[list[str]] = []

    class ToldError(Exception):
        pass

    def tell(command: list[str], **_: object) -> None:
        commands.append(command)
        raise ToldError

    monkeypatch.setattr(block_validation.subprocess, "run", tell)
    line = ["block_validation", "cnn", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", [*line, "--trial", trial] if trial else line)
    with pytest.raises(ToldError):
        block_validation.main()
    ((_, *program),) = commands
    expected = ["-m", "pneumoscope", "train"]
    if trial:
        expected = [str(Path(block_validation.__file__).with_name("trials.py")), "deep"]
    assert program[: len(expected) + 2] == [*expected, "cnn", "--val-only"]


@pytest.mark.parametrize("line", [[], ["narrow"], ["wide=3"], ["without"]])
def test_which_trials_there_are_is_one_line(
    trials: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: list[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["trials.py", *line])
    assert trials.main() == 2
    assert capsys.readouterr().err == "name a trial: wide, deep, sharpness, without=FILE\n"


def test_a_film_is_doubtful_if_it_looks_as_the_others_do(doubtful_labels: ModuleType) -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    p = np.array([0.1, 0.3, 0.95, 0.9, 0.8, 0.05])
    # Sick films have .583 on average, normal ones .55 of not being sick.
    assert doubtful_labels.is_doubtful(labels, p).tolist() == [False, False, True] * 2
    unsure = np.array([0.7, 0.6, 0.4, 0.45, 0.5, 0.3])  # means of .417 and .433
    found = doubtful_labels.is_doubtful(labels, unsure)
    assert found.tolist() == [True, True, False, True, False, True]  # an even chance is no doubt


def test_folds_divide_patients(doubtful_labels: ModuleType) -> None:
    patients = np.array([f"p{i // 3}" for i in range(60)])
    fold = doubtful_labels.fold_of(patients, 0)
    assert np.bincount(fold).tolist() == [30, 30]
    assert all(len(set(fold[patients == patient])) == 1 for patient in patients)
    assert (doubtful_labels.fold_of(patients, 1) != fold).any()


def test_each_half_is_answered_by_the_network_that_did_not_see_it(
    doubtful_labels: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.arange(10, dtype=np.uint8)[:, None, None]
    labels, fold = np.arange(10) % 2, np.array([0, 0, 1, 1, 0, 1, 0, 1, 1, 0])

    class Remembers:
        """A network is the list of films it saw."""

        def __init__(self, recipe: object, train: object, val: object, **_: object) -> None:
            self.seen = train.pixels[:, 0, 0].tolist()  # type: ignore[attr-defined]

        def fit(self) -> SimpleNamespace:
            return SimpleNamespace(network=self.seen)

    def score(network: list[int], shown: NDArray[np.uint8], **_: object) -> NDArray[np.float64]:
        films = shown[:, 0, 0].tolist()
        assert not set(network) & set(films)
        return np.array([[0.0, film - 5.0] for film in films])

    monkeypatch.setattr(doubtful_labels, "Trainer", Remembers)
    monkeypatch.setattr(doubtful_labels, "score_pixels", score)
    p = doubtful_labels.answer_out_of_fold(None, pixels, labels, fold, "")
    np.testing.assert_allclose(p, 1 / (1 + np.exp(5.0 - np.arange(10))))


@pytest.mark.slow
def test_doubtful_films_are_named_from_a_run(
    doubtful_labels: ModuleType,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    split = open_split(scan_folder(phantoms), tmp_path / "split.csv", "patient")
    line = ["doubtful", "--data", phantoms, "--split", tmp_path / "split.csv", "--epochs", "1"]
    monkeypatch.setattr("sys.argv", [str(part) for part in line])
    doubtful_labels.main()
    found = json.loads(capsys.readouterr().out)
    rows = split.subset("train")
    assert {row.path for row in rows} >= set(found["paths_left_out"])
    for label, (count, of) in found["left_out"].items():
        assert of == sum(row.label.name == label for row in rows)
        assert count == sum(f"/{label}/" in path for path in found["paths_left_out"])
