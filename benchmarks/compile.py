"""Whether ``torch.compile`` pays in training: a step compiled, a step as it is, side by side.

For the CNN and both ViTs, at the batch, side, patch dropout and precision of their recipes:
seconds a step (forward, backward; medians of rounds that alternate), seconds that compiling
takes, and after how many steps it would have paid. Wants a C++ compiler, as ``torch.compile``
does on CPUs. Usage:

    python benchmarks/compile.py [--rounds 20]

Prints a JSON line a network.
"""

import argparse
import json
import os
import time
from statistics import median

os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # compiling is timed; read when imported

import torch
from torch import nn

from pneumoscope.config import load_recipe
from pneumoscope.models.build import build_model
from pneumoscope.study.provenance import provenance
from pneumoscope.training.device import choose_device


def measure(recipe_name: str, rounds: int) -> dict[str, object]:
    recipe = load_recipe(recipe_name)
    device = choose_device(recipe.training.device, recipe.training.precision)
    torch.manual_seed(0)
    network = build_model(**recipe.model.build_options()).train()
    network.to(device.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    side = recipe.model.img_size
    x = torch.randn(
        recipe.training.batch_size, recipe.model.in_chans, side, side, device=device.device
    )
    x = x.contiguous(memory_format=torch.channels_last)

    def step(module: nn.Module) -> float:
        start = time.perf_counter()
        with device.autocast:
            loss = module(x).float().square().mean()
        loss.backward()
        float(loss.detach())  # waits until a GPU is done
        return time.perf_counter() - start

    compiled = torch.compile(network)
    compiling = step(compiled)
    for module in (network, compiled):
        step(module)
    times = [(step(network), step(compiled)) for _ in range(rounds)]
    plain, fast = (median(column) for column in zip(*times, strict=True))
    return {
        "network": recipe_name,
        "step_s": round(plain, 4),
        "compiled_step_s": round(fast, 4),
        "compiling_s": round(compiling, 1),
        "pays_after_steps": round(compiling / (plain - fast)) if fast < plain else None,
        "device": str(device.device),
        "dtype": str(device.dtype).removeprefix("torch."),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "code": provenance()["code"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    for name in ("cnn", "scratch", "pretrained_ti16"):
        print(json.dumps(measure(name, rounds)), flush=True)


if __name__ == "__main__":
    main()
