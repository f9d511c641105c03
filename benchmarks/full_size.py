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
from pneumoscope.data.augmentation import Augmenter
from pneumoscope.models.build import build_model, num_parameters
from pneumoscope.models.scoring import network_input, score_pixels
from pneumoscope.training.device import choose_device
from pneumoscope.training.objective import Supervised
from pneumoscope.training.optimizer import WeightAverage, make_optimizer

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

    objective = Supervised(network, torch.ones(2), recipe.training.label_smoothing)
    objective.to(device.device).train()
    optimizer = make_optimizer(objective, recipe.training.weight_decay, recipe.training.layer_decay)
    for group in optimizer.param_groups:
        group["lr"] = 1e-5 * group["lr_scale"]
    average = WeightAverage(network, recipe.training.ema_decay)
    augment = Augmenter(recipe.augmentation, img_size)
    labels = torch.arange(batch_size, device=device.device) % 2
    times = []
    for step in range(4):
        start = time.perf_counter()
        x = network_input(augment(torch.from_numpy(pixels).to(device.device)), 3)
        with device.autocast:
            loss = objective(x, labels, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), recipe.training.clip_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(network, step + 1)
        found["loss"] = float(loss.detach())  # also waits for a GPU
        times.append(time.perf_counter() - start)
    step_s = sorted(times[1:])[1]  # the first step allocates; of the others the median
    found |= {"step_s": step_s, "train_films_per_s": batch_size / step_s, "peak_mib": peak_mib()}
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
