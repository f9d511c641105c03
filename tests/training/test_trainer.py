"""The loop: what it learns, when it stops, what it keeps."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from pneumoscope.bundle import CONTENT, Bundle, seal_bundle
from pneumoscope.config import Recipe, parse_recipe
from pneumoscope.errors import ConfigError, NonFiniteLossError, RunFolderError, TrainingError
from pneumoscope.files import write_json
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import save_weights
from pneumoscope.models.scoring import score_pixels
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training import sampler
from pneumoscope.training import trainer as module
from pneumoscope.training.batch import Batch
from pneumoscope.training.device import Device
from pneumoscope.training.distillation import Distilled, Guided
from pneumoscope.training.distributed import Group
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.muon import Muon
from pneumoscope.training.optimizer import Optimizers
from pneumoscope.training.randomness import weighted_order
from pneumoscope.training.recorder import Recorder
from pneumoscope.training.step import Step
from pneumoscope.training.supervised import Supervised
from pneumoscope.training.trainer import Fitted, Trainer

CPU = Device(torch.device("cpu"), torch.float32, "the CPU")
SPLIT = "5" * 64


def films(num_films: int, seed: int) -> LabelledFilms:
    """Noisy films, of which every third is NORMAL and the others have a bright patch."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(num_films) % 3 > 0).astype(np.int64)
    pixels = rng.normal(110, 25, (num_films, 32, 32))
    pixels[labels == 1, 8:20, 8:20] += 30
    return LabelledFilms(pixels.clip(0, 255).astype(np.uint8), labels)


TRAIN, VAL = films(48, 0), films(40, 1)
PAIR = [{"name": "cnn", "img_size": 32, "in_chans": 3}] * 2


class Notes(Recorder):
    """Keeps everything, and lets a test look on."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.epochs: list[dict[str, Any]] = []
        self.on_step = self.on_epoch = lambda: None

    def step(self, record: dict[str, Any]) -> None:
        self.steps.append(record)
        self.on_step()

    def epoch(self, record: dict[str, Any]) -> None:
        self.epochs.append(record)
        self.on_epoch()


class Linear(nn.Module):
    """A network that costs next to nothing."""

    num_classes = 2

    def __init__(self, in_chans: int = 3, **_: Any) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.head = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(F.avg_pool2d(x[:, 0], 4).flatten(1))
        return logits


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "build_model", lambda name, num_classes, **options: Linear())


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Validation AUROCs that a test dictates; the last one goes on for ever."""
    values: list[float] = []

    def auroc(y_true: object, score: object) -> float:
        return values.pop(0) if len(values) > 1 else values[0]

    monkeypatch.setattr(module, "roc_auc_score", auroc)
    return values


def recipe(
    name: str = "cnn", teacher: str = "", feature_weight: float = 1.0, **training: Any
) -> Recipe:
    settings = {"batch_size": 12, "lr": 2e-3, "warmup_epochs": 0.5, "precision": "float32"}
    model = {"name": name, "img_size": 32}
    values = {
        "name": "tiny",
        "model": model,
        "training": {**settings, **training},
        "distillation": {"teacher": teacher, "feature_weight": feature_weight},
    }
    return parse_recipe(values, "tiny")


def make(
    folder: Path,
    chosen: Recipe,
    *,
    group: Group | None = None,
    recorder: Notes | None = None,
    teacher: Bundle | None = None,
    split_sha256: str = SPLIT,
    device: Device = CPU,
) -> Trainer:
    return Trainer(
        chosen,
        TRAIN,
        VAL,
        folder=folder,
        split_sha256=split_sha256,
        device=device,
        group=group or Group(),
        recorder=recorder or Notes(),
        teacher=teacher,
    )


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(network.state_dict())


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[key], two[key]) for key in one)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Fitted]:
    trainer = make(tmp_path_factory.mktemp("run"), recipe(epochs=6, ema_decay=0.6))
    return trainer, trainer.fit()


class TestLearning:
    def test_the_loss_falls_and_the_films_are_told_apart(
        self, trained: tuple[Trainer, Fitted]
    ) -> None:
        _, fitted = trained
        losses = [row["train_loss"] for row in fitted.history]
        assert losses[-1] < 0.7 * losses[0]
        assert max(row["val_auroc"] for row in fitted.history) > 0.9
        assert [row["epoch"] for row in fitted.history] == [1, 2, 3, 4, 5, 6]

    def test_the_best_epoch_is_the_first_of_the_highest_auroc(
        self, trained: tuple[Trainer, Fitted]
    ) -> None:
        _, fitted = trained
        aurocs = [row["val_auroc"] for row in fitted.history]
        assert fitted.best_epoch == 1 + int(np.argmax(aurocs))

    def test_the_network_that_comes_back_is_the_one_that_scored_best(
        self, trained: tuple[Trainer, Fitted]
    ) -> None:
        _, fitted = trained
        best = fitted.history[fitted.best_epoch - 1]
        logits = score_pixels(fitted.network, VAL.pixels)
        assert roc_auc_score(VAL.labels, logits[:, 1] - logits[:, 0]) == best["val_auroc"]
        loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(VAL.labels))
        assert loss.item() == pytest.approx(best["val_loss"], rel=1e-6)
        assert not fitted.network.training

    def test_it_is_the_averaged_one(self, trained: tuple[Trainer, Fitted]) -> None:
        trainer, fitted = trained
        assert fitted.network is trainer.average.network
        raw = score_pixels(copy.deepcopy(trainer.network), VAL.pixels)
        assert np.abs(raw - score_pixels(fitted.network, VAL.pixels)).max() > 1e-3


@pytest.mark.usefixtures("linear")
class TestKeeping:
    def test_the_best_weights_are_a_copy(self, tmp_path: Path, scripted: list[float]) -> None:
        scripted[:] = [0.6, 0.9, 0.7, 0.9, 0.5]
        recorder = Notes()
        trainer = make(tmp_path, recipe(epochs=5), recorder=recorder)
        by_epoch: list[dict[str, Tensor]] = []
        recorder.on_epoch = lambda: by_epoch.append(state_of(trainer.average.network))
        fitted = trainer.fit()
        assert fitted.best_epoch == 2
        assert same(fitted.network.state_dict(), by_epoch[1])
        assert not any(same(by_epoch[1], by_epoch[epoch]) for epoch in (0, 2, 3, 4))

    def test_the_last_weights_are_kept_where_the_recipe_says_so(
        self, tmp_path: Path, scripted: list[float]
    ) -> None:
        scripted[:] = [0.9, 0.6, 0.7, 0.5]
        last = recipe(epochs=4, keep="last", patience=1)
        recorder = Notes()
        trainer = make(tmp_path, last, recorder=recorder)
        by_epoch: list[dict[str, Tensor]] = []
        recorder.on_epoch = lambda: by_epoch.append(state_of(trainer.average.network))
        fitted = trainer.fit()
        assert [row["val_auroc"] for row in fitted.history] == [0.9, 0.6, 0.7, 0.5]  # to the end
        assert fitted.best_epoch == 4
        assert same(fitted.network.state_dict(), by_epoch[3])
        assert not any(same(by_epoch[3], by_epoch[epoch]) for epoch in (0, 1, 2))
        # So are they when a finished run is taken up again.
        again = make(tmp_path, last).fit()
        assert again.best_epoch == 4
        assert same(again.network.state_dict(), by_epoch[3])

    def test_validation_scores_the_average(self, tmp_path: Path) -> None:
        recorder = Notes()
        trainer = make(tmp_path, recipe(epochs=2, ema_decay=0.9, lr=0.05), recorder=recorder)
        losses: list[list[float]] = []

        def note() -> None:
            pair = (trainer.average.network, trainer.network)
            logits = [torch.from_numpy(score_pixels(network, VAL.pixels)) for network in pair]
            losses.append([F.cross_entropy(x, torch.from_numpy(VAL.labels)).item() for x in logits])

        recorder.on_epoch = note
        fitted = trainer.fit()
        for row, (averaged, raw) in zip(fitted.history, losses, strict=True):
            assert row["val_loss"] == pytest.approx(averaged, rel=1e-9)
            assert abs(raw - averaged) > 1e-3

    def test_classes_are_weighed_by_the_training_films(self, tmp_path: Path) -> None:
        trainer = make(tmp_path, recipe())
        torch.testing.assert_close(trainer.objective.class_weights, torch.tensor([1.5, 0.75]))
        trainer = make(tmp_path, recipe(class_weights=False))
        torch.testing.assert_close(trainer.objective.class_weights, torch.ones(2))


@pytest.mark.usefixtures("linear")
class TestStopping:
    def test_when_patience_is_lost(self, tmp_path: Path, scripted: list[float]) -> None:
        scripted[:] = [0.7, 0.8, 0.8, 0.79, 0.81, 0.81, 0.5]
        fitted = make(tmp_path, recipe(epochs=20, patience=3)).fit()
        assert [row["val_auroc"] for row in fitted.history] == [
            0.7, 0.8, 0.8, 0.79, 0.81, 0.81, 0.5, 0.5,
        ]  # fmt: skip
        assert fitted.best_epoch == 5
        # It stays stopped when it is taken up again.
        again = make(tmp_path, recipe(epochs=20, patience=3)).fit()
        assert again.history == fitted.history
        assert same(again.network.state_dict(), fitted.network.state_dict())

    def test_after_max_steps_with_a_validation(self, tmp_path: Path) -> None:
        recorder = Notes()
        fitted = make(tmp_path, recipe(epochs=9, max_steps=6), recorder=recorder).fit()
        assert [row["step"] for row in recorder.steps] == [1, 2, 3, 4, 5, 6]
        assert [(row["step"], row["epoch"]) for row in recorder.epochs] == [(4, 1), (6, 2)]
        assert [row["epoch"] for row in fitted.history] == [1, 2]
        assert recorder.steps[-1]["lr"] == pytest.approx(0.01 * 2e-3)  # the schedule knows

    def test_validations_come_every_few_epochs_and_at_the_end(self, tmp_path: Path) -> None:
        fitted = make(tmp_path, recipe(epochs=5, eval_every=2)).fit()
        assert [row["epoch"] for row in fitted.history] == [2, 4, 5]

    def test_the_training_loss_is_the_mean_since_the_last_validation(self, tmp_path: Path) -> None:
        recorder = Notes()
        fitted = make(tmp_path, recipe(epochs=4, eval_every=2), recorder=recorder).fit()
        losses = [row["loss"] for row in recorder.steps]
        assert len(losses) == 16
        means = [np.mean(losses[:8]), np.mean(losses[8:])]
        assert [row["train_loss"] for row in fitted.history] == pytest.approx(means)


@pytest.mark.usefixtures("linear")
class TestNonFinite:
    @pytest.mark.parametrize(
        ("what", "value"), [("loss", torch.nan), ("loss", torch.inf), ("gradient", torch.nan)]
    )
    def test_it_stops_before_the_step(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, value: float
    ) -> None:
        recorder = Notes()
        trainer = make(tmp_path, recipe(checkpoint_every_s=0.0), recorder=recorder)
        right = Supervised.label_loss

        def wrong(self: Supervised, logits: Tensor, batch: Batch) -> Tensor:
            loss = right(self, logits, batch)
            if len(recorder.steps) < 5:
                return loss
            if what == "loss":
                return loss * value
            loss.register_hook(lambda gradient: gradient * value)
            return loss

        monkeypatch.setattr(Supervised, "label_loss", wrong)
        after: list[dict[str, Tensor]] = []
        recorder.on_step = lambda: after.append(state_of(trainer.network))
        with pytest.raises(NonFiniteLossError) as caught:
            trainer.fit()
        assert str(caught.value) == (
            f"the {what} of step 6 (epoch 2) is {value}; the last checkpoint is untouched; lower "
            "training.lr or raise training.warmup_epochs, in another run folder"
        )
        assert len(after) == 5
        assert same(trainer.network.state_dict(), after[-1])
        # The checkpoint of step 5 is there to go on from.
        monkeypatch.setattr(Supervised, "label_loss", right)
        resumed = make(tmp_path, recipe(checkpoint_every_s=0.0))
        assert resumed.progress.step == 5
        assert same(resumed.network.state_dict(), after[-1])

    def test_scores_that_are_no_numbers_stop_it_too(self, tmp_path: Path) -> None:
        recorder = Notes()
        trainer = make(tmp_path, recipe(), recorder=recorder)

        def spoil() -> None:
            if len(recorder.steps) == trainer.steps_per_epoch:
                trainer.average.network.state_dict()["head.bias"].fill_(torch.nan)

        recorder.on_step = spoil
        with pytest.raises(NonFiniteLossError, match=r"^the validation score .*epoch 1\) is nan; "):
            trainer.fit()
        assert not (tmp_path / "state.pt").exists()


@pytest.mark.usefixtures("linear")
class TestLookingLate:
    """A GPU is asked for figures every so many steps: nothing may be lost or wrong by that."""

    @pytest.fixture(autouse=True)
    def late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Step, "wait_every", 3)  # of four steps an epoch

    def test_all_steps_are_told_and_the_course_is_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late = Notes()
        fitted = make(tmp_path / "late", recipe(epochs=3), recorder=late).fit()
        monkeypatch.setattr(Step, "wait_every", 1)
        straight = Notes()
        expected = make(tmp_path / "straight", recipe(epochs=3), recorder=straight).fit()
        assert [{**row, "time_s": 0} for row in late.steps] == [
            {**row, "time_s": 0} for row in straight.steps
        ]
        assert same(fitted.network.state_dict(), expected.network.state_dict())
        for row, other in zip(fitted.history, expected.history, strict=True):
            assert {**row, "time_s": 0} == {**other, "time_s": 0}

    def test_a_stopped_run_goes_on_as_if_it_had_not_been(self, tmp_path: Path) -> None:
        chosen = recipe(epochs=3, ema_decay=0.9, checkpoint_every_s=0.0)
        straight = make(tmp_path / "straight", chosen).fit()
        stop_after(6, tmp_path / "stopped", chosen)
        resumed = make(tmp_path / "stopped", chosen)
        assert resumed.progress.step == 6
        fitted = resumed.fit()
        assert same(fitted.network.state_dict(), straight.network.state_dict())
        for row, expected in zip(fitted.history, straight.history, strict=True):
            assert {**row, "time_s": 0} == {**expected, "time_s": 0}

    def test_the_step_that_was_not_finite_is_named_and_nothing_of_it_is_saved(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trainer = make(tmp_path, recipe(epochs=3))
        right = Supervised.label_loss

        def wrong(self: Supervised, logits: Tensor, batch: Batch) -> Tensor:
            return right(self, logits, batch) * (torch.nan if trainer.progress.step == 4 else 1.0)

        def unasked(self: Step, batch: Batch) -> Tensor:
            found = self._gradients(batch)
            self.optimizer.step()
            return found

        monkeypatch.setattr(Supervised, "label_loss", wrong)
        monkeypatch.setattr(Step, "__call__", unasked)
        monkeypatch.setattr(trainer, "_is_checkpoint_due", lambda: trainer.progress.step == 6)
        with pytest.raises(NonFiniteLossError, match=r"^the loss of step 5 \(epoch 2\) is nan; "):
            trainer.fit()
        assert trainer.progress.step == 6  # looked at before it was to be saved
        assert not any(value.isfinite().all() for value in trainer.network.state_dict().values())
        resumed = make(tmp_path, recipe(epochs=3))
        assert resumed.progress.step == 4
        assert all(value.isfinite().all() for value in resumed.network.state_dict().values())


def stop_after(step: int, folder: Path, chosen: Recipe) -> None:
    """Trains until the next step is done but not saved, as a kill does."""
    recorder = Notes()
    trainer = make(folder, chosen, recorder=recorder)

    def stop() -> None:
        if len(recorder.steps) == step + 1:
            raise KeyboardInterrupt

    recorder.on_step = stop
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()


@pytest.mark.usefixtures("linear")
class TestGoingOn:
    @pytest.mark.parametrize("stop_at", [1, 4, 7])
    def test_a_stopped_run_ends_like_one_that_was_not(self, tmp_path: Path, stop_at: int) -> None:
        chosen = recipe(epochs=3, ema_decay=0.9, checkpoint_every_s=0.0)
        straight = make(tmp_path / "straight", chosen).fit()
        stop_after(stop_at, tmp_path / "stopped", chosen)
        resumed = make(tmp_path / "stopped", chosen)
        assert resumed.progress.step == stop_at
        fitted = resumed.fit()
        assert same(fitted.network.state_dict(), straight.network.state_dict())
        for row, expected in zip(fitted.history, straight.history, strict=True):
            assert {**row, "time_s": 0} == {**expected, "time_s": 0}

    def test_a_state_of_another_recipe_or_split_is_refused(self, tmp_path: Path) -> None:
        make(tmp_path, recipe(epochs=1)).fit()
        with pytest.raises(RunFolderError, match="belongs to a run with another recipe; choose"):
            make(tmp_path, recipe(epochs=2))
        with pytest.raises(RunFolderError, match="belongs to a run with another split; choose"):
            make(tmp_path, recipe(epochs=1), split_sha256="6" * 64)


@pytest.mark.usefixtures("linear")
class TestBatches:
    def test_fewer_films_than_a_batch(self, tmp_path: Path) -> None:
        recorder = Notes()
        make(tmp_path, recipe(epochs=2, batch_size=1000), recorder=recorder).fit()
        assert [(row["step"], row["epoch"]) for row in recorder.steps] == [(1, 1), (2, 2)]

    def test_fewer_films_a_batch_than_processes(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            make(tmp_path, recipe(batch_size=3), group=Group(rank=0, world_size=4))
        assert str(caught.value) == (
            "3 films a batch cannot be shared by 4 processes; raise training.batch_size or start "
            "fewer processes"
        )


class TestTeacher:
    @pytest.fixture
    def write_teacher(self, tmp_path: Path) -> Any:
        def write(
            name: str = "cnn", split_sha256: str = SPLIT, members: Any = None, **manifest: Any
        ) -> Bundle:
            folder = tmp_path / "teacher"
            folder.mkdir()
            for content in CONTENT:
                (folder / content).write_text("{}")
            model: dict[str, Any] = {"name": name, "img_size": 32, "in_chans": 3}
            if members:
                model["members"] = members
            torch.manual_seed(0)
            save_weights(build_model(**model), folder / "model.safetensors", torch.float16)
            write_json(folder / "config.json", {"model": model})
            data = {"split_sha256": split_sha256}
            said = {"name": "t", "seed": 0, "model": name, "data": data, **manifest}
            return seal_bundle(folder, said)

        return write

    def test_a_cnn_of_the_same_split_teaches(self, tmp_path: Path, write_teacher: Any) -> None:
        chosen = recipe("vit_scratch", "t", epochs=1, max_steps=2)
        trainer = make(tmp_path, chosen, teacher=write_teacher())
        assert isinstance(trainer.objective, Guided)
        fitted = trainer.fit()
        assert np.isfinite(fitted.history[0]["train_loss"])
        with pytest.raises(RunFolderError, match="a run with another teacher; choose"):
            make(tmp_path, chosen)

    def test_one_of_another_split_is_refused(self, tmp_path: Path, write_teacher: Any) -> None:
        teacher = write_teacher(split_sha256="6" * 64)
        with pytest.raises(TrainingError) as caught:
            make(tmp_path, recipe("vit_scratch", "t"), teacher=teacher)
        assert str(caught.value) == (
            f"the teacher {teacher.path} was trained on another split, so it may have seen this "
            "run's validation films; train the teacher on this split first"
        )

    def test_one_from_outside_is_refused(self, tmp_path: Path, write_teacher: Any) -> None:
        teacher = write_teacher(converted_from={"file": "old.pth"})
        with pytest.raises(TrainingError) as caught:
            make(tmp_path, recipe("vit_scratch", "t"), teacher=teacher)
        assert str(caught.value) == (
            f"the teacher {teacher.path} was trained elsewhere, so it may have seen this run's "
            "validation films; train a teacher on this split"
        )

    def test_a_vit_teaches_too(self, tmp_path: Path, write_teacher: Any) -> None:
        chosen = recipe("vit_scratch", "t", epochs=1, max_steps=2)
        trainer = make(tmp_path, chosen, teacher=write_teacher("vit_scratch"))
        fitted = trainer.fit()
        assert isinstance(trainer.objective, Guided)
        assert trainer.objective.project.weight.shape == (256, 256)
        assert np.isfinite(fitted.history[0]["train_loss"])

    def test_an_ensemble_has_no_maps(self, tmp_path: Path, write_teacher: Any) -> None:
        teacher = write_teacher("ensemble", members=PAIR)
        with pytest.raises(TrainingError) as caught:
            make(tmp_path, recipe("vit_scratch", "t"), teacher=teacher)
        assert str(caught.value) == (
            f"the teacher {teacher.path} is an ensemble, which has no map to learn from; learn "
            "from its answers alone (distillation.feature_weight = 0), or name another teacher"
        )

    @pytest.mark.parametrize("student", ["cnn", "vit_scratch"])
    def test_an_ensembles_answers_teach(
        self, student: str, tmp_path: Path, write_teacher: Any
    ) -> None:
        chosen = recipe(student, "t", feature_weight=0.0, epochs=1, max_steps=2)
        trainer = make(tmp_path, chosen, teacher=write_teacher("ensemble", members=PAIR))
        assert type(trainer.objective) is Distilled
        before = state_of(trainer.network)
        assert np.isfinite(trainer.fit().history[0]["train_loss"])
        assert not same(before, state_of(trainer.network))

    def test_a_state_with_other_weights_is_not_taken_up(
        self, tmp_path: Path, write_teacher: Any
    ) -> None:
        """As runs of the answers alone once had a projection for maps."""
        chosen = recipe("vit_scratch", "t", feature_weight=0.0, epochs=1, max_steps=2)
        teacher = write_teacher()
        trainer = make(tmp_path, chosen, teacher=teacher)
        trainer.objective.project = nn.Linear(4, 2)
        trainer.fit()
        with pytest.raises(RunFolderError) as caught:
            make(tmp_path, chosen, teacher=teacher)
        assert str(caught.value) == (
            f"{trainer.path} was written by another version, whose state has another form; go on "
            "with that version, or choose another run folder"
        )

    @pytest.mark.parametrize("part", ["optimizer", "average", "history"])
    def test_a_state_of_another_form_is_not_taken_up(self, tmp_path: Path, part: str) -> None:
        chosen = recipe(epochs=1, max_steps=2)
        trainer = make(tmp_path, chosen)
        trainer.fit()
        state = torch.load(trainer.path, weights_only=True)
        if part == "optimizer":
            state["optimizer"]["param_groups"].pop()
        elif part == "average":
            state["average"]["head.bias"] = torch.zeros(3)
        else:
            del state["history"]
        torch.save(state, trainer.path)
        with pytest.raises(RunFolderError) as caught:
            make(tmp_path, chosen)
        assert str(caught.value) == (
            f"{trainer.path} was written by another version, whose state has another form; go on "
            "with that version, or choose another run folder"
        )


def with_causes(folder: Path, *, causes: list[int], **training: Any) -> Trainer:
    """A trainer whose sick films have ``causes`` in turn; without any it is not told of them."""
    stated = np.full(len(TRAIN.labels), -1)
    sick = np.flatnonzero(TRAIN.labels == 1)
    stated[sick] = np.resize(causes or [-1], len(sick))
    films = LabelledFilms(TRAIN.pixels, TRAIN.labels, stated if causes else None)
    return Trainer(
        recipe(epochs=2, **training),
        films,
        VAL,
        folder=folder,
        split_sha256=SPLIT,
        device=CPU,
        group=Group(),
        recorder=Notes(),
    )


class TestSecondTask:
    def test_films_come_with_their_own_causes_and_the_head_learns(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trainer = with_causes(tmp_path, causes=[0, 1, -1], cause_weight=0.5)
        assert trainer.cause_counts == {"bacterial": 11, "viral": 11}
        task = trainer.objective.cause_task
        assert task is not None
        assert trainer.causes is not None
        before = task.head.weight.detach().clone()
        forward, pairs = trainer.objective.forward, []

        def note(batch: Batch) -> Tensor:
            assert batch.causes is not None
            mine, whole = batch.causes
            pairs.extend(zip(batch.labels.tolist(), mine.tolist(), strict=True))
            assert torch.equal(mine, whole)  # one process
            return forward(batch)

        monkeypatch.setattr(trainer.objective, "forward", note)
        fitted = trainer.fit()
        stated = list(zip(TRAIN.labels.tolist(), trainer.causes.tolist(), strict=True))
        assert sorted(pairs) == sorted(2 * stated)
        assert not torch.equal(task.head.weight, before)
        assert not any("cause" in key for key in fitted.network.state_dict())

    def test_a_stopped_run_goes_on_to_the_same_weights(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = with_causes(tmp_path / "whole", causes=[0, 1], cause_weight=0.5).fit()
        stopped = with_causes(
            tmp_path / "parts", causes=[0, 1], cause_weight=0.5, checkpoint_every_s=0.0
        )
        step = stopped._train_step

        def stop_at_six(*arguments: Any) -> None:
            if stopped.progress.step == 6:
                raise KeyboardInterrupt
            step(*arguments)

        monkeypatch.setattr(stopped, "_train_step", stop_at_six)
        with pytest.raises(KeyboardInterrupt):
            stopped.fit()
        resumed = with_causes(tmp_path / "parts", causes=[0, 1], cause_weight=0.5)
        assert resumed.progress.step == 6
        assert same(whole.network.state_dict(), resumed.fit().network.state_dict())

    @pytest.mark.parametrize("causes", [[], [-1], [0], [1, -1]])
    def test_it_falls_away_where_both_causes_are_not_stated(
        self, tmp_path: Path, causes: list[int]
    ) -> None:
        trainer = with_causes(tmp_path, causes=causes, cause_weight=0.5)
        assert trainer.cause_counts is None
        plain = make(tmp_path / "plain", recipe(epochs=2))
        assert same(trainer.fit().network.state_dict(), plain.fit().network.state_dict())


@pytest.mark.usefixtures("linear")
class TestLevers:
    def test_a_balanced_epoch_shows_both_classes_equally_often(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[int] = []
        chosen = recipe(epochs=1, balanced_sampler=True, class_weights=False)
        trainer = make(tmp_path, chosen)
        augmented = trainer.feed.augmented

        def note(index: Any) -> Tensor:
            seen.extend(index.tolist())
            return augmented(index)

        monkeypatch.setattr(trainer.feed, "augmented", note)
        trainer.fit()
        assert np.bincount(TRAIN.labels[seen]).tolist() == [24, 24]
        # Each of the 16 NORMAL films comes once or twice, and no PNEUMONIA film twice.
        times = np.bincount(seen, minlength=48)
        assert set(times[TRAIN.labels == 0].tolist()) == {1, 2}
        assert times[TRAIN.labels == 1].max() == 1

    def test_films_are_drawn_by_their_style(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        weights = np.where(np.arange(48) == 5, 3.0, 1.0)
        monkeypatch.setattr(sampler, "style_weights", lambda *films: weights)
        trainer = make(tmp_path, recipe(epochs=1, style_sampler=True, class_weights=False))
        for epoch in range(3):
            expected = weighted_order(trainer.config.seed, epoch, weights)
            assert np.array_equal(trainer.sampler.order(epoch), expected)
        assert np.bincount(trainer.sampler.order(0))[5] in {2, 3}
        trainer.fit()

    def test_a_resumed_run_draws_by_the_weights_it_began_with(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chosen = recipe(epochs=2, style_sampler=True, class_weights=False)
        trainer = make(tmp_path, chosen)
        began_with = trainer.sampler.film_weights
        trainer._started = trainer._saved = 0.0
        trainer._save()

        def elsewhere(*films: Any) -> Any:
            raise AssertionError("weights are fitted anew")

        monkeypatch.setattr(sampler, "style_weights", elsewhere)
        assert np.array_equal(make(tmp_path, chosen).sampler.film_weights, began_with)

    @pytest.mark.parametrize("lever", ["mixup_alpha", "cutmix_alpha"])
    def test_films_are_mixed_before_the_step(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lever: str
    ) -> None:
        mixes: list[Any] = []
        forward = Supervised.forward

        def note(self: Supervised, batch: Batch) -> Tensor:
            mixes.append(batch.mix)
            return forward(self, batch)

        monkeypatch.setattr(Supervised, "forward", note)
        chosen = recipe(epochs=1)
        augmentation = chosen.augmentation.model_copy(update={lever: 1.0})
        make(tmp_path, chosen.model_copy(update={"augmentation": augmentation})).fit()
        assert len(mixes) == 4
        assert len({float(mix.share) for mix in mixes}) == 4
        assert all(len(mix.labels) == 12 for mix in mixes)


class TestPatchDropout:
    def chosen(self, **training: Any) -> Recipe:
        plain = recipe("vit_scratch", **{"epochs": 3, "checkpoint_every_s": 0.0, **training})
        values = plain.model_dump()
        values["model"]["patch_drop_rate"] = 0.75  # of 4 patches
        values["training"]["last_patch_drop_rate"] = 0.25
        return parse_recipe(values, "tiny")

    @pytest.mark.parametrize(
        ("cut", "steps"), [({}, (4, 4, 4)), ({"epochs": 30, "max_steps": 10}, (4, 4, 2))]
    )
    def test_later_epochs_see_more_patches_and_answers_all(
        self, tmp_path: Path, cut: dict[str, int], steps: tuple[int, ...]
    ) -> None:
        trainer = make(tmp_path, self.chosen(**cut))
        assert isinstance(trainer.network, VisionTransformer)
        seen: list[int] = []
        trainer.network.blocks[0].register_forward_hook(
            lambda layer, inputs, output: seen.append(output.shape[1])
        )
        network = trainer.fit().network
        assert seen == [1 + kept for kept, times in enumerate(steps, 1) for _ in range(times)]
        assert isinstance(network, VisionTransformer)
        assert network.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 1 + 4, 256)

    def test_a_step_is_told_to_forget_what_it_recorded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trainer = make(tmp_path, self.chosen())
        told: list[int] = []
        monkeypatch.setattr(Step, "forget", lambda step: told.append(trainer.progress.step))
        trainer.fit()
        assert told == [4, 8, 12]  # before the first steps of two epochs, and at the end

    def test_a_stopped_run_goes_on_with_the_patches_of_its_epoch(self, tmp_path: Path) -> None:
        straight = make(tmp_path / "straight", self.chosen()).fit()
        stop_after(6, tmp_path / "stopped", self.chosen())
        resumed = make(tmp_path / "stopped", self.chosen())
        assert resumed.progress.step == 6
        assert same(resumed.fit().network.state_dict(), straight.network.state_dict())


class TestPrecision:
    BFLOAT16 = Device(torch.device("cpu"), torch.bfloat16, "test")

    def test_muon_multiplies_in_the_precision_of_training(self, tmp_path: Path) -> None:
        chosen = recipe("vit_scratch", optimizer="muon")
        for device in (CPU, self.BFLOAT16):
            trainer = make(tmp_path / str(device.dtype), chosen, device=device)
            assert isinstance(trainer.optimizer, Optimizers)
            adamw, muon = trainer.optimizer.parts
            assert isinstance(adamw, torch.optim.AdamW)
            assert isinstance(muon, Muon)
            assert muon.dtype == device.dtype
        assert isinstance(make(tmp_path / "other", recipe()).optimizer, torch.optim.AdamW)

    def test_epochs_are_compared_in_the_precision_of_training(self, tmp_path: Path) -> None:
        trainer = make(tmp_path, recipe("vit_scratch", max_steps=1), device=self.BFLOAT16)
        fitted = trainer.fit()
        losses = [
            F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(VAL.labels)).item()
            for logits in (
                score_pixels(fitted.network, VAL.pixels, dtype=dtype)
                for dtype in (torch.bfloat16, torch.float32)
            )
        ]
        assert losses[0] != losses[1]
        assert fitted.history[-1]["val_loss"] == pytest.approx(losses[0], rel=1e-9)

    def test_muon_goes_on_from_where_it_was(self, tmp_path: Path) -> None:
        chosen = recipe("vit_scratch", epochs=2, optimizer="muon", checkpoint_every_s=0.0)
        straight = make(tmp_path / "straight", chosen).fit()
        stop_after(2, tmp_path / "stopped", chosen)
        resumed = make(tmp_path / "stopped", chosen)
        assert resumed.progress.step == 2
        assert same(resumed.fit().network.state_dict(), straight.network.state_dict())
