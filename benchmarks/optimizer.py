"""What a step of each optimizer costs: AdamW, Muon here in both precisions, and torch's Muon.

For the ViT from scratch, random gradients; medians of rounds that alternate. torch's Muon (which
multiplies in bfloat16 everywhere) takes the blocks' matrices alone, the others all parameters.
Usage; the second as on a processor of before AVX512, of which oneDNN's limit makes this one play:

    python benchmarks/optimizer.py [--rounds 20]
    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/optimizer.py --rounds 3

Prints a JSON line.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from statistics import median

import torch

from pneumoscope.models.build import build_model
from pneumoscope.training.optimizer import Optimizers, make_optimizer


def ways(network: torch.nn.Module) -> dict[str, Callable[[], object]]:
    """Returns a step of each kind."""
    found: dict[str, Callable[[], object]] = {"adamw": make_optimizer(network, 0.05).step}
    for dtype in (torch.float32, torch.bfloat16):
        optimizer = make_optimizer(network, 0.05, name="muon", dtype=dtype)
        found[f"muon, {str(dtype).removeprefix('torch.')}"] = optimizer.step
    assert isinstance(optimizer, Optimizers)
    matrices = [p for group in optimizer.parts[1].param_groups for p in group["params"]]
    muon = torch.optim.Muon(matrices, lr=0.0, adjust_lr_fn="match_rms_adamw")
    return {**found, "torch.optim.Muon": muon.step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    network = build_model("vit_scratch")
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    steps = ways(network)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(1 + rounds):  # the first is not counted
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    line = {name: round(median(found[1:]), 4) for name, found in times.items()}
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "all")
    machine = {"isa": isa, "cores": os.cpu_count(), "torch": torch.__version__}
    print(json.dumps({"seconds_a_step": line, **machine}))


if __name__ == "__main__":
    main()
