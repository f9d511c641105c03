"""A training step of the shipped ViTs on a CPU, with attention fused and written out.

    python benchmarks/attention.py

Prints a JSON line a network: median seconds of a step of 32 films (forward and backward, in the
precision that training takes) and how much of the fused one is the kernel's backward pass.
"""

import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from pneumoscope.config import load_recipe
from pneumoscope.models.build import build_model
from pneumoscope.models.vit import Attention
from pneumoscope.training.device import choose_device

ROUNDS = 9


class Fused(Attention):
    """The same layer through the fused kernel, in training too."""

    def forward(self, x: Tensor, *, class_only: bool = False) -> Tensor:  # (B, N, D)
        q, k, v = self._heads(x)
        if class_only:
            q = q[:, :, :1]
        attended = F.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return projected


def step(network: nn.Module, x: Tensor) -> float:
    start = time.perf_counter()
    with choose_device("cpu").autocast:
        loss = network(x).float().square().mean()
    loss.backward()
    return time.perf_counter() - start


def main() -> None:
    x = torch.randn(32, 3, 224, 224)
    for name in ("scratch", "pretrained_ti16"):
        written_out = build_model(**load_recipe(name).model.build_options()).train()
        fused = build_model(**load_recipe(name).model.build_options()).train()
        for module in fused.modules():
            if isinstance(module, Attention):
                module.__class__ = Fused
        times: dict[str, list[float]] = {"fused": [], "written_out": []}
        for _ in range(ROUNDS):  # in turn, so that a noisy machine troubles both
            times["fused"].append(step(fused, x))
            times["written_out"].append(step(written_out, x))
        with profile(activities=[ProfilerActivity.CPU]) as found:
            step(fused, x)
        events = found.key_averages()
        backward = sum(
            e.self_cpu_time_total
            for e in events
            if "scaled_dot_product" in e.key and e.key.endswith("backward")
        )
        row = {key: round(statistics.median(values), 3) for key, values in times.items()}
        share = backward / sum(e.self_cpu_time_total for e in events)
        print(json.dumps({"recipe": name, **row, "kernel_backward": round(share, 2)}), flush=True)


if __name__ == "__main__":
    main()
