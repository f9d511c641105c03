"""Training from files on disk to one validation AUROC: here, in transformers and in vit-pytorch.

The same size of network (``vit_scratch``), films, split, batch size, number of epochs and
precision in all, one after the other on the same machine:

- ``pneumoscope``: the trainer with ``configs/scratch.toml``, but no teacher, no augmentation and no
  dropped branches, like the two others, and with what a short schedule wants (``SHORT``, in all
  rows called pneumoscope); the cache is built from nothing, and that counts.
- ``pneumoscope, adamw``: the same with the optimizer, rate and warm-up of the two others.
- ``pneumoscope, augmented``: with the recipe's augmentation, smoothed labels and dropped branches.
  It learns more slowly and holds better elsewhere.
- ``transformers``: ViTForImageClassification, a dataset that opens each file and gives it to
  ViTImageProcessor, a DataLoader with a worker a core, the usual loop.
- ``vit-pytorch``: its ViT, files opened and scaled by numpy in the same kind of DataLoader.

None of them smooths labels, but the augmented one. The rows called pneumoscope leave out patches,
standardise films, start positions from sines and cosines, keep decay off norms and biases, and
validate a moving average of the weights; the two others have a plain loop with AdamW at ``--rate``,
warmed up for ``--warmup`` epochs (at most a sixth of all). Each is validated after every epoch and
stops at the target. Printed are seconds to the target (or that it was not reached), seconds and
AUROC of every epoch, films a second in the first, and what share of the machine's matrix-multiply
rate, in the precision of training, forward and backward amount to. Usage, with the two others
installed (``pip install transformers vit-pytorch``; they are no dependency of the project):

    python benchmarks/train.py --data DIR [--target 0.98] [--epochs 3] [--seed 0] [--only NAME]
        [--rate 3.5e-4] [--set KEY=VALUE]

``--rate`` is that of the two others, ``--set`` changes the recipe of the rows called pneumoscope.
``--epochs`` is the length of the schedule, which ends at a hundredth of the rate: a short one is
done sooner, and what it reaches in its last epoch a long one may reach later or never.

``--films N`` takes N training and N validation films, to see that it runs.
"""

import argparse
import importlib.util
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from pneumoscope.config import AugmentationConfig, DataConfig, Recipe, load_recipe
from pneumoscope.data.cache import open_cache
from pneumoscope.data.split import SplitRow
from pneumoscope.models.build import build_model
from pneumoscope.study.films import SplitFilms, open_films
from pneumoscope.training.device import Device, choose_device
from pneumoscope.training.distributed import Group
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.recorder import Recorder
from pneumoscope.training.schedule import lr_at
from pneumoscope.training.supervised import class_weights
from pneumoscope.training.trainer import Trainer

LARGE_BATCH = 1024
"""Of bare steps on a GPU, beside the recipe's, which leaves it waiting for the next launch."""
SHORT = (
    "training.warmup_epochs=0.25",
    "training.lr=2e-3",
    "model.patch_drop_rate=0.75",
    "training.last_patch_drop_rate=0.4",
)
"""What differs from the recipe, found for three epochs (docs/training-speed.md): a short warm-up, a
lower rate, and few patches in the first epoch, which makes it cheap."""
SIZES = {"dim": 256, "depth": 6, "heads": 8, "mlp_dim": 1024}


class TargetReachedError(Exception):
    """The target is reached: the trainer need not go on."""


class Watch(Recorder):
    """Notes when each epoch's training and validation ended, and stops at the target."""

    def __init__(self, started: float, target: float) -> None:
        self.started, self.target = started, target
        self.rows: list[dict[str, float]] = []

    def epoch(self, record: dict[str, Any]) -> None:
        seconds = time.monotonic() - self.started
        self.rows.append({"auroc": record["val_auroc"], "seconds": seconds})
        print(f"  epoch {len(self.rows)}: {record['val_auroc']:.4f}, {seconds:.0f} s", flush=True)
        if record["val_auroc"] >= self.target:
            raise TargetReachedError


class Files(Dataset[tuple[Tensor, int]]):
    """Films opened one by one, as both libraries' examples do."""

    def __init__(
        self, root: Path, rows: list[SplitRow], prepare: Callable[[Image.Image], Tensor]
    ) -> None:
        self.root, self.rows, self.prepare = root, rows, prepare

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        row = self.rows[index]
        with Image.open(self.root / row.path) as image:
            return self.prepare(image.convert("RGB")), int(row.label)


def train_here(
    films: SplitFilms, parts: dict[str, list[SplitRow]], recipe: Recipe, target: float
) -> dict[str, Any]:
    watch = Watch(time.monotonic(), target)
    device = choose_device()
    with tempfile.TemporaryDirectory() as folder:
        labelled = {
            name: LabelledFilms(
                np.asarray(open_cache(films.root, rows, 224, Path(folder) / "cache")),
                np.array([int(row.label) for row in rows]),
            )
            for name, rows in parts.items()
        }
        trainer = Trainer(
            recipe,
            labelled["train"],
            labelled["val"],
            folder=Path(folder),
            split_sha256=films.split.sha256,
            device=device,
            group=Group(),
            recorder=watch,
        )
        with suppress(TargetReachedError):
            trainer.fit()
    return summary(watch, len(parts["train"]), target)


def train_there(
    network: nn.Module,
    logits_of: Callable[[nn.Module, Tensor], Tensor],
    prepare: Callable[[Image.Image], Tensor],
    root: Path,
    parts: dict[str, list[SplitRow]],
    recipe: Recipe,
    target: float,
    rate: float,
    warmup: float,
) -> dict[str, Any]:
    """The loop of a library's example: AdamW, warm-up and cosine, bf16, class weights, clipping."""
    watch, config, device = Watch(time.monotonic(), target), recipe.training, choose_device()
    loaders = {
        name: DataLoader(
            Files(root, rows, prepare),
            batch_size=config.batch_size,
            shuffle=name == "train",
            drop_last=name == "train",
            num_workers=os.cpu_count() or 1,
            persistent_workers=True,
        )
        for name, rows in parts.items()
    }
    network.to(device.device)
    labels = torch.tensor([int(row.label) for row in parts["train"]])
    weights = class_weights(labels, 2).to(device.device)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=config.weight_decay)
    num_steps, step = config.epochs * len(loaders["train"]), 0
    for epoch in range(1, config.epochs + 1):
        network.train()
        for x, y in loaders["train"]:
            now = lr_at(
                step,
                peak=rate,
                num_steps=num_steps,
                warmup_steps=round(warmup * len(loaders["train"])),
                min_ratio=config.min_lr_ratio,
            )
            for parameters in optimizer.param_groups:
                parameters["lr"] = now
            with device.autocast:
                logits = logits_of(network, x.to(device.device)).float()
            loss = F.cross_entropy(
                logits,
                y.to(device.device),
                weight=weights,
                label_smoothing=config.label_smoothing,
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_grad_norm)
            optimizer.step()
            step += 1
        scores, truth = zip(*predict(network, logits_of, loaders["val"], device), strict=True)
        auroc = roc_auc_score(np.concatenate(truth), np.concatenate(scores))
        try:
            watch.epoch({"epoch": epoch, "val_auroc": float(auroc)})
        except TargetReachedError:
            break
    return summary(watch, len(parts["train"]), target)


@torch.inference_mode()
def predict(
    network: nn.Module,
    logits_of: Callable[[nn.Module, Tensor], Tensor],
    loader: DataLoader[tuple[Tensor, int]],
    device: Device,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    network.eval()
    for x, y in loader:
        with device.autocast:
            logits = logits_of(network, x.to(device.device)).float().cpu()
        yield (logits[:, 1] - logits[:, 0]).numpy(), y.numpy()


def from_transformers() -> tuple[nn.Module, Any, Any]:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config = ViTConfig(
        hidden_size=SIZES["dim"],
        num_hidden_layers=SIZES["depth"],
        num_attention_heads=SIZES["heads"],
        intermediate_size=SIZES["mlp_dim"],
        num_labels=2,
    )
    processor = ViTImageProcessor()  # 224 px, scaled to [-1, 1]

    def prepare(image: Image.Image) -> Tensor:
        pixels: Tensor = processor(image, return_tensors="pt")["pixel_values"][0]
        return pixels

    network = ViTForImageClassification(config)
    return network, lambda model, x: model(pixel_values=x).logits, prepare


def from_vit_pytorch() -> tuple[nn.Module, Any, Any]:
    # By its file: the package as a whole wants torchvision, which the ViT does not.
    package = importlib.util.find_spec("vit_pytorch")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("vit-pytorch is not installed; pip install vit-pytorch")
    file = Path(package.submodule_search_locations[0]) / "vit.py"
    spec = importlib.util.spec_from_file_location("vit_pytorch_vit", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def prepare(image: Image.Image) -> Tensor:
        pixels = np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR), np.float32)
        return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)

    network = module.ViT(image_size=224, patch_size=16, num_classes=2, dim_head=32, **SIZES)
    return network, lambda model, x: model(x), prepare


def summary(watch: Watch, num_films: int, target: float) -> dict[str, Any]:
    last = watch.rows[-1]
    return {
        "reached": last["auroc"] >= target,
        "seconds": round(last["seconds"], 1),
        "epochs": len(watch.rows),
        "auroc": round(last["auroc"], 4),
        "curve": [[round(row["seconds"], 1), round(row["auroc"], 4)] for row in watch.rows],
        # Set-up, decoding and the first validation included.
        "films_per_s_first_epoch": round(num_films / watch.rows[0]["seconds"], 1),
    }


def finish(device: Device) -> None:
    """Waits until a GPU has done what it was given."""
    if device.device.type != "cpu":
        torch.accelerator.synchronize()


def fastest(work: Callable[[], object], device: Device, rounds: int) -> float:
    """Returns the seconds of the fastest of ``rounds`` calls, each to its very end."""
    times = []
    for _ in range(rounds):
        finish(device)
        start = time.perf_counter()
        work()
        finish(device)
        times.append(time.perf_counter() - start)
    return min(times)


def matmul_rate(device: Device) -> float:
    """Returns the rate of a large matrix product in the training precision, FLOP/s."""
    side = 8192 if device.device.type == "cuda" else 2048
    one = torch.randn(side, side, device=device.device, dtype=device.dtype)
    return 2 * side**3 / fastest(lambda: one @ one, device, 20)


def recorded(work: Callable[[], None], device: Device) -> Callable[[], object]:
    """Returns what does ``work`` again: on a CUDA device as one graph, as the trainer does."""
    if device.device.type != "cuda":
        return work
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()  # libraries set themselves up
    with torch.cuda.graph(graph, stream=stream):
        work()
    return graph.replay


def step_share(recipe: Recipe, batch_size: int) -> dict[str, float]:
    """Returns what forward and backward do, and what share of the matrix rate that is."""
    device = choose_device()
    network = build_model(**recipe.model.build_options()).to(device.device).train()
    x = torch.randn(batch_size, 3, 224, 224, device=device.device)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        with device.autocast:
            loss = network(x).float().square().mean()
        loss.backward()

    with FlopCounterMode(display=False) as counter:
        step()
    launched, peak = fastest(step, device, 10), matmul_rate(device)
    seconds = fastest(recorded(step, device), device, 10)
    rate = counter.get_total_flops() / seconds
    return {
        "batch_size": batch_size,
        "films_per_s_launched": round(batch_size / launched, 1),
        "films_per_s_bare_step": round(batch_size / seconds, 1),
        "gflop_per_s": round(rate / 1e9, 1),
        "matmul_gflop_per_s": round(peak / 1e9, 1),
        "share_of_matmul": round(rate / peak, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", type=float, default=0.98)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=3.5e-4)
    parser.add_argument("--warmup", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--films", type=int)
    names = (
        "pneumoscope",
        "pneumoscope, adamw",
        "pneumoscope, augmented",
        "transformers",
        "vit-pytorch",
    )
    parser.add_argument("--only", choices=names)
    arguments = parser.parse_args()
    epochs, rate = arguments.epochs, arguments.rate
    warmup = min(arguments.warmup, epochs / 6)
    overrides = ["distillation.teacher=", "training.eval_every=1", "training.patience=99"]
    overrides += [f"training.epochs={epochs}", f"training.seed={arguments.seed}"]
    plain = ["model.drop_path_rate=0", "training.label_smoothing=0"]
    adamw = ["training.optimizer=adamw", f"training.lr={rate}", f"training.warmup_epochs={warmup}"]
    augmented = load_recipe("scratch", [*overrides, *SHORT, *arguments.set])
    recipe = load_recipe("scratch", [*overrides, *plain, *SHORT, *arguments.set])
    with_adamw = load_recipe("scratch", [*overrides, *plain, *SHORT, *adamw, *arguments.set])
    with tempfile.TemporaryDirectory() as folder:
        films = open_films(arguments.data, Path(folder) / "split.csv", DataConfig(), Console())
    parts = {name: list(films.rows(name)) for name in ("train", "val")}
    if arguments.films:
        order = np.random.default_rng(0)
        parts = {
            name: [rows[i] for i in order.permutation(len(rows))[: arguments.films]]
            for name, rows in parts.items()
        }
    machine: dict[str, Any] = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "device": choose_device().reason,
        "cpu_units": torch.backends.cpu.get_cpu_capability(),
    }
    batches = [recipe.training.batch_size]
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
        batches.append(LARGE_BATCH)
    steps = [step_share(recipe, batch_size) for batch_size in batches]
    print(json.dumps({"steps": steps, "target": arguments.target, **machine}), flush=True)
    for name in names if arguments.only is None else (arguments.only,):
        print(name, flush=True)
        torch.manual_seed(arguments.seed)
        if name == "pneumoscope, augmented":
            found = train_here(films, parts, augmented, arguments.target)
        elif name.startswith("pneumoscope"):
            mine = with_adamw if name == "pneumoscope, adamw" else recipe
            mine = mine.model_copy(update={"augmentation": AugmentationConfig()})
            found = train_here(films, parts, mine, arguments.target)
        else:
            made = from_transformers() if name == "transformers" else from_vit_pytorch()
            found = train_there(*made, films.root, parts, recipe, arguments.target, rate, warmup)
        is_ours = name.startswith("pneumoscope")
        how = {"set": arguments.set} if is_ours else {"rate": rate, "warmup_epochs": warmup}
        about = {"name": name, "schedule": epochs, "seed": arguments.seed, **how}
        print(json.dumps({**about, **found}), flush=True)


if __name__ == "__main__":
    main()
