"""Runs the command line with one thing changed that no recipe can name.

What was tried on the CNN, gave nothing, and has no place in the package:

    wide       one and a half times as wide (3.0 M parameters)
    deep       3, 4, 6 and 3 blocks instead of two a stage
    sharpness  sharpness-aware minimisation, rho .05 (Foret et al., arXiv:2010.01412)
    without    without the training films that are named in a file, as doubtful_labels.py writes it

Usage:

    python benchmarks/trials.py wide train cnn --data DIR --set training.epochs=20
    python benchmarks/trials.py without=doubtful.json train cnn --data DIR --set training.epochs=40

A finished bundle names the recipe and not the trial, and its network is that of the trial: it is
for its scores. By blocks held out: ``block_validation.py --trial wide``.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pneumoscope import cli
from pneumoscope.errors import SplitError
from pneumoscope.models.presets import CNN_PRESETS
from pneumoscope.study import run
from pneumoscope.study.films import SplitFilms, open_films
from pneumoscope.training import step
from pneumoscope.training.step import Batch, Step

RHO = 0.05


class SharpnessAwareStep(Step):
    """Takes the gradient where the loss is highest near by, and goes twice through the network.

    Source: Foret et al. (arXiv:2010.01412), algorithm 1.
    """

    def _gradients(self, batch: Batch) -> Tensor:
        found = super()._gradients(batch)
        moved = [parameter for parameter in self.parameters if parameter.grad is not None]
        gradients = [parameter.grad for parameter in moved]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        uphill = [gradient * (RHO / (norm + 1e-12)) for gradient in gradients]
        with torch.no_grad():
            torch._foreach_add_(moved, uphill)
        # Batch statistics move once a step, by the films as the weights see them where they are.
        norms = [m for m in self.objective.modules() if isinstance(m, nn.BatchNorm2d)]
        momenta = [module.momentum for module in norms]
        for module in norms:
            module.momentum = 0.0
        super()._gradients(batch)
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum
        with torch.no_grad():
            torch._foreach_sub_(moved, uphill)
        return found


def widen() -> None:
    CNN_PRESETS["cnn"] = {**CNN_PRESETS["cnn"], "widths": (48, 96, 144, 240)}


def deepen() -> None:
    CNN_PRESETS["cnn"] = {**CNN_PRESETS["cnn"], "depths": (3, 4, 6, 3)}


def look_around() -> None:
    step.kind_of_step = lambda device, group: SharpnessAwareStep


def leave_out(path: str) -> None:
    named = frozenset(json.loads(Path(path).read_text(encoding="utf-8"))["paths_left_out"])

    def open_some(*arguments: Any, **options: Any) -> SplitFilms:
        films = open_films(*arguments, **options)
        trained_on = {row.path for row in films.split.subset("train")}
        if unknown := named - trained_on:
            raise SplitError(f"{path} names {min(unknown)}, no training film of this split")
        return replace(films, unreadable=films.unreadable | named)

    run.open_films = open_some


TRIALS: dict[str, Callable[..., None]] = {
    "wide": widen,
    "deep": deepen,
    "sharpness": look_around,
    "without": leave_out,
}


def main() -> int:
    name, *file = (sys.argv[1:2] or [""])[0].split("=", 1)
    if name not in TRIALS or bool(file) != (name == "without"):
        print(f"name a trial: {', '.join(TRIALS)}=FILE", file=sys.stderr)
        return 2
    TRIALS[name](*file)
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
