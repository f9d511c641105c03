"""A step of the optimizer, launched and, where there is a GPU, recorded and replayed."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor

from pneumoscope.config import Recipe, parse_recipe
from pneumoscope.errors import NonFiniteLossError, RecordingError
from pneumoscope.models.build import build_model
from pneumoscope.training.batch import Batch, Causes
from pneumoscope.training.device import Device, choose_device
from pneumoscope.training.distributed import Group
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.mixing import Mix
from pneumoscope.training.optimizer import make_optimizer
from pneumoscope.training.recorder import Recorder
from pneumoscope.training.step import GraphedStep, Step, kind_of_step
from pneumoscope.training.supervised import CauseTask, Supervised
from pneumoscope.training.trainer import Trainer

CPU = Device(torch.device("cpu"), torch.float32, "the CPU")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")


def gpu(dtype: torch.dtype = torch.float32) -> Device:
    return Device(torch.device("cuda"), dtype, "the GPU")


def make(
    kind: Callable[..., Step],
    device: Device,
    *,
    model: str = "cnn",
    causes: bool = False,
    optimizer: Any = "adamw",
    layer_decay: float = 1.0,
    **options: Any,
) -> Step:
    """A step of a small network whose weights are the same every time."""
    torch.manual_seed(0)
    network = build_model(name=model, img_size=32, in_chans=3, num_classes=2, **options)
    task = None
    if causes:
        task = CauseTask(network.head.in_features, torch.tensor([0, 1, 1, -1]), 0.5, 0.0)
    objective = Supervised(network, torch.ones(2), 0.1, cause_task=task).to(device.device).train()
    chosen = make_optimizer(objective, 0.05, layer_decay, name=optimizer, dtype=device.dtype)
    return kind(objective, chosen, 1.0, device, Group())


def batch(seed: int, device: Device, *, mixed: bool = False, causes: bool = False) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (8,), generator=rng).to(device.device)
    grey = torch.randn(8, 1, 32, 32, generator=rng) + labels.cpu()[:, None, None, None]
    x = grey.to(device.device).expand(-1, 3, -1, -1)
    mix = Mix(labels.flip(0), torch.tensor(0.8, device=device.device)) if mixed else None
    cause = torch.where(labels == 1, torch.arange(8, device=device.device) % 2, -1)
    return Batch(x, labels, labels, mix, Causes(cause, cause) if causes else None)


def weights(step: Step) -> dict[str, Tensor]:
    return {key: value.cpu() for key, value in copy.deepcopy(step.objective.state_dict()).items()}


def lengths(step: Step, before: dict[str, Tensor]) -> list[float]:
    """How far the weights of each parameter group have moved."""
    names = {id(parameter): key for key, parameter in step.objective.named_parameters()}
    found = []
    for group in step.optimizer.param_groups:
        moves = [p.detach().cpu() - before[names[id(p)]] for p in group["params"]]
        found.append(float(torch.cat([move.flatten() for move in moves]).norm()))
    return found


def test_a_step_moves_weights_against_the_gradient_and_says_how_it_stands():
    step = make(Step, CPU)
    before = weights(step)
    step.set_lr(1e-3)
    given = batch(0, CPU)
    expected = copy.deepcopy(step.objective)(given)
    loss, norm = step(given)
    assert loss == expected
    gradients = [p.grad for p in step.parameters if p.grad is not None]
    assert torch.stack([g.norm() for g in gradients]).norm() <= 1.0 + 1e-5  # clipped
    assert norm > 1.0
    moved = {key for key, value in weights(step).items() if not torch.equal(value, before[key])}
    assert {"network.head.weight", "network.stem.0.0.weight"} <= moved or len(moved) > 10


def test_each_group_has_the_rate_by_its_scale():
    step = make(Step, CPU)
    for scale, group in enumerate(step.optimizer.param_groups, 1):
        group["lr_scale"] = scale
    step.set_lr(0.5)
    assert [group["lr"] for group in step.optimizer.param_groups] == [0.5, 1.0]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_stay_where_a_value_is_not_finite(value):
    step = make(Step, CPU)
    before = {key: v for key, v in weights(step).items() if "running" not in key}
    step.set_lr(1e-3)
    given = batch(0, CPU)
    found = step(given._replace(x=given.x * value))
    assert not found.isfinite().all()
    after = weights(step)
    trained = [key for key, _ in step.objective.named_parameters()]
    assert all(torch.equal(after[key], before[key]) for key in trained)


def test_one_process_with_a_gpu_records_and_all_others_launch(monkeypatch):
    monkeypatch.delenv("PNEUMOSCOPE_NO_CUDA_GRAPHS", raising=False)
    assert kind_of_step(gpu(), Group()) is GraphedStep
    assert kind_of_step(gpu(), Group(rank=0, world_size=2)) is Step
    assert kind_of_step(CPU, Group()) is Step
    monkeypatch.setenv("PNEUMOSCOPE_NO_CUDA_GRAPHS", "1")
    assert kind_of_step(gpu(), Group()) is Step


def test_gradients_do_not_go_through_cudnns_attention_on_a_gpu(monkeypatch):
    """Without a GPU: the layers of a step see that it is switched off, and only they."""
    device = Device(torch.device("cpu"), torch.float32, "")
    seen = []
    for attention in (device.attention, gpu().attention):
        monkeypatch.setattr(Device, "attention", property(lambda _, it=attention: it))
        step = make(Step, device, model="vit_scratch")
        step.objective.register_forward_pre_hook(
            lambda *_: seen.append(torch.backends.cuda.cudnn_sdp_enabled())
        )
        step.set_lr(1e-3)
        step(batch(0, device))
    assert seen == [True, False]
    assert torch.backends.cuda.cudnn_sdp_enabled()


def test_what_cannot_be_recorded_is_said_and_leaves_no_recording(monkeypatch):
    """Without a GPU: what torch raises where an operation cannot be captured."""

    @contextmanager
    def graph(*_: Any, **__: Any) -> Iterator[None]:
        try:
            yield
        finally:
            raise RuntimeError("failed due to a previous error")

    def forward(_: Batch) -> Tensor:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    for name in ("Stream", "CUDAGraph", "current_stream", "set_stream"):
        monkeypatch.setattr(torch.cuda, name, Mock())
    monkeypatch.setattr(torch.cuda, "graph", graph)
    step = make(GraphedStep, CPU, model="vit_scratch", optimizer="muon")
    monkeypatch.setattr(step.objective, "forward", forward)
    step._num_launched = 3
    step.set_lr(1e-3)
    with pytest.raises(RecordingError) as caught:
        step(batch(0, CPU))
    assert str(caught.value) == (
        "a training step cannot be recorded as a CUDA graph (operation not permitted); set "
        "PNEUMOSCOPE_NO_CUDA_GRAPHS=1 in the environment to launch each step piece by piece"
    )
    assert step._recording is None
    torch.cuda.set_stream.assert_called_once_with(torch.cuda.current_stream.return_value)
    for group in step.optimizer.param_groups:
        assert group["lr"] == 1e-3
        assert not group.get("capturable")


def recipe(**training: Any) -> Recipe:
    settings = {"batch_size": 12, "lr": 2e-3, "warmup_epochs": 0.5, "ema_decay": 0.9}
    values: dict[str, Any] = {
        "name": "tiny",
        "model": {"name": "vit_scratch", "img_size": 32, "patch_drop_rate": 0.75},
        "augmentation": {"hflip_prob": 0.5, "rotate_deg": 10.0, "mixup_alpha": 0.2},
        "training": {**settings, "last_patch_drop_rate": 0.25, "optimizer": "muon", **training},
    }
    return parse_recipe(values, "tiny")


def films(num_films: int, seed: int) -> LabelledFilms:
    rng = np.random.default_rng(seed)
    labels = (np.arange(num_films) % 3 > 0).astype(np.int64)
    pixels = rng.normal(110, 25, (num_films, 32, 32))
    pixels[labels == 1, 8:20, 8:20] += 30
    return LabelledFilms(pixels.clip(0, 255).astype(np.uint8), labels)


def trainer(folder: Path, chosen: Recipe, recorder: Recorder | None = None) -> Trainer:
    return Trainer(
        chosen,
        films(96, 0),
        films(40, 1),
        folder=folder,
        split_sha256="5" * 64,
        device=choose_device("cuda"),
        group=Group(),
        recorder=recorder or Recorder(),
    )


@needs_gpu
class TestOnAGpu:
    @pytest.fixture(autouse=True)
    def graphs(self, monkeypatch):
        monkeypatch.delenv("PNEUMOSCOPE_NO_CUDA_GRAPHS", raising=False)

    CASES = (
        {"model": "cnn"},
        {"model": "cnn", "causes": True},
        {"model": "vit_scratch", "optimizer": "muon"},
        {"model": "vit_scratch", "mixed": True},
        {"model": "vit_ti16", "layer_decay": 0.5},
    )

    @pytest.mark.parametrize("case", CASES)
    def test_a_replayed_step_does_what_a_launched_one_does(self, case):
        given = {"mixed": case.get("mixed", False), "causes": case.get("causes", False)}
        options = {key: value for key, value in case.items() if key != "mixed"}
        device = gpu()
        launched, replayed = make(Step, device, **options), make(GraphedStep, device, **options)
        before = weights(launched)
        for number in range(12):
            found = []
            for step in (launched, replayed):
                step.set_lr(1e-4 * (1 + number % 3))  # a recording must not keep the first
                found.append(step(batch(number, device, **given)).tolist())
            assert found[1] == pytest.approx(found[0], rel=0.02)
        assert replayed._recording is not None
        trained = [key for key, _ in launched.objective.named_parameters()]
        moved = [
            torch.cat([(weights(step)[key] - before[key]).flatten() for key in trained])
            for step in (launched, replayed)
        ]
        assert torch.cosine_similarity(*moved, dim=0) > 0.95
        assert moved[1].norm() == pytest.approx(moved[0].norm(), rel=0.02)
        # A wrong rate of one group would be lost in the whole.
        for one, other in zip(
            *(lengths(step, before) for step in (launched, replayed)), strict=True
        ):
            assert other == pytest.approx(one, rel=0.25)

    def test_a_rate_of_zero_moves_nothing_in_a_replay(self):
        step = make(GraphedStep, gpu(), model="vit_scratch", optimizer="muon")
        for number in range(5):
            step.set_lr(1e-3)
            step(batch(number, gpu()))
        before = weights(step)
        step.set_lr(0.0)
        step(batch(9, gpu()))
        after = weights(step)
        assert all(torch.equal(after[key], before[key]) for key in before)
        step.set_lr(1e-3)
        step(batch(9, gpu()))
        assert not torch.equal(weights(step)["network.head.weight"], before["network.head.weight"])

    def test_random_numbers_follow_the_seed_of_each_replay(self):
        step = make(GraphedStep, gpu(), model="vit_scratch", patch_drop_rate=0.5, drop_rate=0.2)
        found = []
        for seed in (0, 0, 0, 1, 2, 1):
            step.set_lr(0.0)
            torch.manual_seed(seed)
            found.append(step(batch(0, gpu()))[0].item())
        assert found[3] == found[5] != found[4]
        assert found[0] == pytest.approx(found[2], rel=1e-3)

    def test_it_is_recorded_anew_where_the_network_changes(self):
        step = make(GraphedStep, gpu(), model="vit_scratch", patch_drop_rate=0.75)
        for number in range(5):
            step.set_lr(1e-3)
            step(batch(number, gpu()))
        first = step._recording
        step.objective.network.patch_drop_rate = 0.0
        seen: list[int] = []
        step.objective.network.blocks[0].register_forward_hook(
            lambda layer, inputs, output: seen.append(output.shape[1])
        )
        step.forget()
        for number in range(4):
            step(batch(number, gpu()))
        assert seen == [1 + 4, 1 + 4]  # launched once, recorded once
        assert step._recording is not None
        assert step._recording is not first

    def test_what_is_saved_is_what_a_cpu_takes_up(self):
        step = make(GraphedStep, gpu(torch.bfloat16), model="vit_scratch", optimizer="muon")
        for number in range(5):
            step.set_lr(1e-3)
            step(batch(number, gpu()))
        for group in step.optimizer.param_groups:
            assert group["lr"] == 1e-3
            assert not group.get("capturable")
        state = copy.deepcopy(step.optimizer.state_dict())
        other = make(Step, CPU, model="vit_scratch", optimizer="muon")
        other.optimizer.load_state_dict(state)
        other.set_lr(1e-3)
        assert other(batch(0, CPU)).isfinite().all()

    def test_a_training_on_it_learns_and_tells_of_every_step(self, tmp_path):
        class Notes(Recorder):
            def __init__(self):
                self.steps = []

            def step(self, record):
                self.steps.append(record)

        notes = Notes()
        made = trainer(tmp_path, recipe(epochs=12, patience=12), notes)
        fitted = made.fit()
        assert type(made.take_step) is GraphedStep
        assert [record["step"] for record in notes.steps] == list(range(1, 97))
        assert all(np.isfinite(record["loss"]) for record in notes.steps)
        assert max(row["val_auroc"] for row in fitted.history) > 0.9

    def test_a_stopped_one_goes_on_from_its_checkpoint(self, tmp_path):
        straight = trainer(tmp_path / "straight", recipe(epochs=4)).fit()
        stopped = trainer(tmp_path / "stopped", recipe(epochs=4, checkpoint_every_s=0.0))
        take, times = stopped._train_step, 0

        def stop(*arguments):
            nonlocal times
            if times == 13:
                raise KeyboardInterrupt
            times += 1
            take(*arguments)

        stopped._train_step = stop
        with pytest.raises(KeyboardInterrupt):
            stopped.fit()
        resumed = trainer(tmp_path / "stopped", recipe(epochs=4))
        assert resumed.progress.step == 13
        for row, expected in zip(resumed.fit().history, straight.history, strict=True):
            assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=0.05)

    def test_values_that_are_not_finite_end_it_before_they_are_saved(self, tmp_path):
        made = trainer(tmp_path, recipe(epochs=4))
        take = made._train_step

        def spoil(*arguments):
            if made.progress.step == 20:
                with torch.no_grad():
                    made.network.head.weight.fill_(torch.nan)
            take(*arguments)

        made._train_step = spoil
        with pytest.raises(NonFiniteLossError, match=r"^the loss of step 21 \(epoch 3\) is nan"):
            made.fit()
        resumed = trainer(tmp_path, recipe(epochs=4))
        assert resumed.progress.step == 16  # the end of the second epoch
        assert all(value.isfinite().all() for value in resumed.network.state_dict().values())
