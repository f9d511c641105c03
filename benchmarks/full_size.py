"""ViT-B/16 at full size on this machine: load, score films, train steps; time and peak memory.

The steps are those of configs/pretrained_b16.toml, patch dropout included.

The checkpoint is drawn at random in the layout of Google's in21k file (pre_logits, 21,843
classes, 103 M values, 413 MB), so none has to be downloaded. Usage:

    python benchmarks/full_size.py [--img-size 224] [--batch-size 32] [--weights FILE]
"""

import argparse
import json
import multiprocessing
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import pneumoscope as ps
from pneumoscope.config import load_recipe
from pneumoscope.models.build import build_model, num_parameters
from pneumoscope.models.scoring import score_pixels
from pneumoscope.training.device import Device, choose_device
from pneumoscope.training.distributed import Group
from pneumoscope.training.feed import Feed
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.optimizer import WeightAverage, make_optimizer
from pneumoscope.training.step import make_step
from pneumoscope.training.supervised import Supervised

D, DEPTH, HEADS, MLP, CLASSES = 768, 12, 12, 3072, 21_843


def shapes() -> dict[str, tuple[int, ...]]:
    """Returns the arrays of Google's ``imagenet21k/ViT-B_16.npz``."""
    found: dict[str, tuple[int, ...]] = {
        "cls": (1, 1, D),
        "embedding/kernel": (16, 16, 3, D),
        "embedding/bias": (D,),
        "Transformer/posembed_input/pos_embedding": (1, 197, D),
        "Transformer/encoder_norm/scale": (D,),
        "Transformer/encoder_norm/bias": (D,),
        "pre_logits/kernel": (D, D),
        "pre_logits/bias": (D,),
        "head/kernel": (D, CLASSES),
        "head/bias": (CLASSES,),
    }
    for index in range(DEPTH):
        block = f"Transformer/encoderblock_{index}"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            found |= {f"{block}/{norm}/scale": (D,), f"{block}/{norm}/bias": (D,)}
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            found[f"{attention}/{part}/kernel"] = (D, HEADS, D // HEADS)
            found[f"{attention}/{part}/bias"] = (HEADS, D // HEADS)
        found |= {f"{attention}/out/kernel": (HEADS, D // HEADS, D), f"{attention}/out/bias": (D,)}
        mlp = f"{block}/MlpBlock_3"
        found |= {f"{mlp}/Dense_0/kernel": (D, MLP), f"{mlp}/Dense_0/bias": (MLP,)}
        found |= {f"{mlp}/Dense_1/kernel": (MLP, D), f"{mlp}/Dense_1/bias": (D,)}
    return found


def write_checkpoint(path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(
        path,
        **{
            name: np.ones(shape, np.float32)
            if name.endswith("/scale")
            else 0.02 * rng.standard_normal(shape, dtype=np.float32)
            for name, shape in shapes().items()
        },
    )


def peak_mib() -> float:
    """Returns the most memory this process has held so far, in MiB (Linux counts in KiB)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def finish(device: Device) -> None:
    """Waits until a GPU has done what it was given."""
    if device.device.type != "cpu":
        torch.accelerator.synchronize()


def measure(weights: Path, img_size: int, batch_size: int) -> dict[str, object]:
    recipe = load_recipe("pretrained_b16", [f"model.img_size={img_size}"])
    device = choose_device()
    found: dict[str, object] = {"start_mib": peak_mib()}
    start = time.perf_counter()
    network = build_model(**recipe.model.build_options(), num_classes=2)
    found |= {"parameters": num_parameters(network), "build_s": time.perf_counter() - start}
    start = time.perf_counter()
    ps.load_npz(network, weights, head=False)
    found |= {"load_s": time.perf_counter() - start, "loaded_mib": peak_mib()}

    network.to(device.device)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (batch_size, img_size, img_size), dtype=np.uint8)
    start = time.perf_counter()
    score_pixels(network, pixels[:16], batch_size=16, device=device.device)
    found |= {"score_films_per_s": 16 / (time.perf_counter() - start), "scored_mib": peak_mib()}

    num_steps, num_warmups = (72, 8) if device.device.type == "cuda" else (4, 1)
    films = LabelledFilms(
        rng.integers(0, 256, (num_steps * batch_size, img_size, img_size), dtype=np.uint8),
        np.arange(num_steps * batch_size) % 2,
    )
    feed = Feed(recipe, films, None, batch_size, device, Group())
    objective = Supervised(network, torch.ones(2), recipe.training.label_smoothing)
    objective.to(device.device).train()
    optimizer = make_optimizer(objective, recipe.training.weight_decay, recipe.training.layer_decay)
    average = WeightAverage(network, recipe.training.ema_decay)
    rest = (recipe.training.clip_grad_norm, device, Group())
    take_step = make_step(objective, optimizer, *rest)
    take_step.set_lr(1e-5)
    for step in range(num_steps):
        if step == num_warmups:  # the first steps allocate, and set libraries up
            finish(device)
            start = time.perf_counter()
        loss = take_step(feed.batch(step, step, np.arange(len(films.labels))))[0]
        average.update(step + 1)
    found["loss"] = float(loss)  # also waits for a GPU
    step_s = (time.perf_counter() - start) / (num_steps - num_warmups)
    found |= {"step_s": step_s, "train_films_per_s": batch_size / step_s, "peak_mib": peak_mib()}
    if device.device.type == "cuda":
        found |= {"gpu": torch.cuda.get_device_name()}
        found |= {"gpu_peak_mib": torch.cuda.max_memory_allocated() // 2**20}
    return {"device": device.reason, "img_size": img_size, "batch_size": batch_size, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--weights", type=Path, help="a real checkpoint instead of a random one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = arguments.weights or Path(folder) / "ViT-B_16.npz"
        if not weights.exists():
            # Apart, so that drawing the values does not count towards this process's peak.
            context = multiprocessing.get_context("spawn")
            child = context.Process(target=write_checkpoint, args=(weights,))
            child.start()
            child.join()
        found = measure(weights, arguments.img_size, arguments.batch_size)
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}
    print(json.dumps({"torch": torch.__version__, "python": platform.python_version(), **rounded}))


if __name__ == "__main__":
    main()
