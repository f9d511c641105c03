"""Trains with one thing changed that no recipe can name.

What was tried on the CNN, gave nothing, and has no place in the package:

    wide       one and a half times as wide (3.0 M parameters)
    deep       3, 4, 6 and 3 blocks instead of two a stage
    sharpness  sharpness-aware minimisation, rho .05 (Foret et al., arXiv:2010.01412)
    without    without the training films that are named in a file, as doubtful_labels.py writes it

Usage, with the options of ``pneumoscope train``:

    python benchmarks/trials.py wide cnn --data DIR --val-only --set training.epochs=20
    python benchmarks/trials.py without=doubtful.json cnn --data DIR --val-only

The trial is part of the recipe's name, so that no run is taken for another's: ``runs/cnn_wide``.
Of a larger network the bundle is for its scores: the package does not know its size. By blocks
held out: ``block_validation.py --trial wide``.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pneumoscope import cli
from pneumoscope.config import load_recipe
from pneumoscope.data.split import SplitRow
from pneumoscope.errors import PneumoscopeError, SplitError, UsageError
from pneumoscope.models.presets import CNN_PRESETS
from pneumoscope.study import run
from pneumoscope.study.films import SplitFilms, open_films
from pneumoscope.training import step
from pneumoscope.training.batch import Batch
from pneumoscope.training.step import Step

RHO = 0.05


class SharpnessAwareStep(Step):
    """Takes the gradient where the loss is highest near by, and goes twice through the network.

    Source: Foret et al. (arXiv:2010.01412), algorithm 1.
    """

    def _gradients(self, batch: Batch) -> Tensor:
        found = super()._gradients(batch)
        if not found.isfinite().all():
            return found
        moved = [parameter for parameter in self.parameters if parameter.grad is not None]
        here = [parameter.detach().clone() for parameter in moved]
        gradients = [parameter.grad for parameter in moved]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        # Batch statistics move once a step, by the films as the weights see them where they are.
        norms = [m for m in self.objective.modules() if isinstance(m, nn.BatchNorm2d)]
        momenta = [module.momentum for module in norms]
        with torch.no_grad():
            torch._foreach_add_(moved, [g * (RHO / (norm + 1e-12)) for g in gradients])
        for module in norms:
            module.momentum = 0.0
        uphill = super()._gradients(batch)
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum
        with torch.no_grad():
            torch._foreach_copy_(moved, here)
        return torch.stack([found[0], uphill[1]])


class SomeFilms(SplitFilms):
    """Films of which some are not trained on."""

    def __init__(self, films: SplitFilms, left_out: frozenset[str]) -> None:
        super().__init__(*(getattr(films, field.name) for field in fields(films)))
        object.__setattr__(self, "left_out", left_out)

    def rows(self, name: str) -> tuple[SplitRow, ...]:
        left_out = self.left_out if name == "train" else ()
        return tuple(row for row in super().rows(name) if row.path not in left_out)


def widen() -> None:
    CNN_PRESETS["cnn"] = {**CNN_PRESETS["cnn"], "widths": (48, 96, 144, 240)}


def deepen() -> None:
    CNN_PRESETS["cnn"] = {**CNN_PRESETS["cnn"], "depths": (3, 4, 6, 3)}


def look_around() -> None:
    step.kind_of_step = lambda device, group: SharpnessAwareStep


def leave_out(path: str) -> None:
    try:
        named = frozenset(json.loads(Path(path).read_text(encoding="utf-8"))["paths_left_out"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} does not name films; make it with doubtful_labels.py ({error})"
        ) from error

    def open_some(*arguments: Any, **options: Any) -> SplitFilms:
        films = open_films(*arguments, **options)
        trained_on = {row.path for row in films.split.subset("train")}
        if unknown := named - trained_on:
            raise SplitError(f"{path} names {min(unknown)}, no training film of this split")
        return SomeFilms(films, named)

    run.open_films = open_some


SIZES: dict[str, Callable[[], None]] = {"wide": widen, "deep": deepen}
WITHOUT_FILE: dict[str, Callable[[], None]] = {**SIZES, "sharpness": look_around}


def name_of(trial: str, recipe: str, options: Sequence[str] = (), file: str = "") -> str:
    """Returns what the run is called.

    Raises:
        PneumoscopeError: the recipe does not load, or is of no CNN where that is enlarged.
    """
    changes = [after for before, after in pairwise(options) if before == "--set"]
    loaded = load_recipe(recipe, changes)
    if trial in SIZES and loaded.model.name not in CNN_PRESETS:
        raise UsageError(f"{trial} is a size of the CNN; {recipe} trains a {loaded.model.name}")
    content = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8] if file else ""
    return "_".join(part for part in (loaded.name, trial, content) if part)


def main() -> int:
    trial, _, file = (sys.argv[1:2] or [""])[0].partition("=")
    if trial not in (*WITHOUT_FILE, "without") or bool(file) != (trial == "without"):
        print(f"name a trial: {', '.join(WITHOUT_FILE)}, without=FILE", file=sys.stderr)
        return 2
    recipe, *options = sys.argv[2:] or [""]
    if not recipe or recipe.startswith("-"):
        print("name the recipe right after the trial", file=sys.stderr)
        return 2
    try:
        if file:
            leave_out(file)
        else:
            WITHOUT_FILE[trial]()
        name = name_of(trial, recipe, options, file)
    except PneumoscopeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return cli.main(["train", recipe, *options, "--set", f"name={name}"])


if __name__ == "__main__":
    sys.exit(main())
