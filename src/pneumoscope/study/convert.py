"""Weights from outside to a bundle: read safely, fitted exactly, scored, never trained."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from rich.console import Console
from torch import nn

from pneumoscope.bundle import Bundle, open_bundle
from pneumoscope.config import Recipe, parse_recipe
from pneumoscope.data.split import read_split
from pneumoscope.errors import UsageError
from pneumoscope.files import make_folder, sha256_of, storage_error
from pneumoscope.labels import CLASS_NAMES
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import load_weights
from pneumoscope.models.fitting import load_exactly, sizes_in
from pneumoscope.models.presets import VIT_PRESETS
from pneumoscope.models.state_dicts import read_state_dict
from pneumoscope.study.bundling import finish_bundle, start_bundle
from pneumoscope.study.films import open_films
from pneumoscope.study.run import Source
from pneumoscope.training.device import choose_device
from pneumoscope.training.distributed import Group, score_together

_RECORDED = {"name", "title", "model", "data", "operating_point", "bundle"}
"""The parts of a recipe that hold for a network trained elsewhere."""


@dataclass(frozen=True)
class Outsider:
    """What a file of weights does not say of its network.

    Attributes:
        model: a name that ``build_model`` knows.
        name: names the bundle; by default as the file, without what a name may not contain.
        title: how it is called in tables.
        img_size: side of the input in pixels; by default what the position embeddings of a ViT
            are for, and 224 for a CNN.
        gelu: which GELU a ViT was trained with; by default the model's own.
        standardize: whether a ViT gives every film one mean and one contrast first.
    """

    model: str
    name: str = ""
    title: str = ""
    img_size: int | None = None
    gelu: Literal["erf", "tanh"] | None = None
    standardize: bool = False


def convert(file: Path, outsider: Outsider, source: Source, out: Path, console: Console) -> Bundle:
    """Returns the bundle of a network whose weights were trained elsewhere.

    The weights stay as they are, in float32. Validation and test films are scored with them,
    and the threshold is chosen on validation, as after a training here.

    Args:
        file: a state dict, as :func:`~pneumoscope.models.state_dicts.read_state_dict` takes it.
        outsider: what the file does not say.
        source: the films; a split that is there already decides how they are divided.
        out: the bundle's folder, which must not be there yet.
        console: for progress and warnings.

    Raises:
        UsageError: ``out`` is there already, or ``file`` is not.
        WeightsError: the file cannot be read safely, or does not fit the network.
        PneumoscopeError: whatever else stands in the way; ``out`` is then not made.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists already; name a folder that is still to be made")
    make_folder(out.parent)
    recipe, network, origin = _open(file, outsider, source, console)
    draft = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        start_bundle(network, draft, recipe.bundle.dtype)
        del network
        bundle = _score(draft, recipe, origin, source, console)
        _warn(bundle, file, console)
        try:
            draft.rename(out)
        except OSError as error:
            raise storage_error(out, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return open_bundle(out)


def _open(
    file: Path, outsider: Outsider, source: Source, console: Console
) -> tuple[Recipe, nn.Module, dict[str, Any]]:
    """Returns the network with the file's weights, what describes it, and where it is from."""
    tensors = read_state_dict(file)
    recipe = _recipe(file, outsider, source, sizes_in(tensors))
    name = recipe.model.name
    network = build_model(**recipe.model.inference_options(), num_classes=len(CLASS_NAMES))
    load_exactly(network, tensors, name, file)
    if recipe.model.gelu is None and VIT_PRESETS.get(name, {}).get("gelu") == "tanh":
        console.print(
            f"taking the tanh GELU of Google's {name}, since the file does not say which it is; a "
            "network from timm has the exact one: --gelu erf",
            markup=False,
            soft_wrap=True,
        )
    return (
        recipe,
        network,
        {
            "seed": None,
            "recipe": recipe.model_dump(mode="json", include=_RECORDED),
            "recipe_sha256": None,
            "converted_from": {
                "file": file.name,
                "sha256": sha256_of(file),
                "num_bytes": file.stat().st_size,
                "trained_on": "not known",
            },
            "teacher": None,
            "cause_counts": None,
            "pretrained": None,
            "best_epoch": None,
            "train_time_s": None,
        },
    )


def _recipe(file: Path, outsider: Outsider, source: Source, sizes: dict[str, int]) -> Recipe:
    """Returns the recipe of which :data:`_RECORDED` holds, from the user and from the file."""
    if outsider.img_size is not None:
        sizes = {**sizes, "img_size": outsider.img_size}
    model: dict[str, Any] = {"name": outsider.model, **sizes}
    if outsider.gelu is not None:
        model["gelu"] = outsider.gelu
    if outsider.standardize:
        model["standardize"] = True
    values: dict[str, Any] = {
        "name": outsider.name or _name_from(file, outsider.model),
        "title": outsider.title,
        "model": model,
        "bundle": {"dtype": "float32"},
    }
    if source.split_path is not None and source.split_path.exists():
        split = read_split(source.split_path)
        values["data"] = {
            "split": split.kind,
            "split_seed": split.seed,
            "val_fraction": split.val_fraction,
        }
    return parse_recipe(values, f"{file} as {outsider.model}")


def _name_from(file: Path, model: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).strip("-._")[:64] or model


def _score(
    draft: Path, recipe: Recipe, origin: dict[str, Any], source: Source, console: Console
) -> Bundle:
    """Returns the bundle in ``draft`` after scoring the films with the weights stored there."""
    with TemporaryDirectory() as scratch:  # the default split can be made again at any time
        films = open_films(
            source.root,
            source.split_path or Path(scratch) / "split.csv",
            recipe.data,
            console,
            skip_unreadable=source.skip_unreadable,
        )
    device = choose_device(recipe.training.device, "float32")
    network = build_model(**recipe.model.inference_options(), num_classes=len(CLASS_NAMES))
    load_weights(network, draft / "model.safetensors")
    network.to(device.device)
    logits = {
        name: score_together(
            network, films.pixels(name, recipe.model.img_size, console), device, Group()
        )
        for name in ("val", "test")
    }
    origin = {**origin, "device": device.reason}
    return finish_bundle(draft, recipe, network, films, logits, history=(), origin=origin)


def _warn(bundle: Bundle, file: Path, console: Console) -> None:
    """Says what the figures do not show."""
    warnings = [
        f"It is not known which films {file.name} was trained on. If validation films were among "
        "them, the threshold and its figures are too good; if test films were, all figures are. "
        "The bundle says so in MODEL_CARD.md and manifest.json."
    ]
    auroc = bundle.metrics["val"]["at_0.5"]["auroc"]
    if auroc < 0.5:
        warnings.append(
            f"The validation AUROC is {auroc:.3f}, below chance. Expected was a network whose "
            f"outputs are {' and '.join(CLASS_NAMES)}, in this order, and whose input is the film "
            "scaled to [-1, 1]."
        )
    for text in warnings:
        console.print(text, style="yellow", markup=False, soft_wrap=True)
