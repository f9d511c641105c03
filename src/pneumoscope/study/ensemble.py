"""Bundles to one bundle: networks side by side, or the mean of their weights, with a threshold."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from rich.console import Console
from torch import nn

from pneumoscope.bundle import Bundle, open_bundle
from pneumoscope.config import Recipe, parse_recipe
from pneumoscope.errors import UsageError
from pneumoscope.files import make_folder, storage_error
from pneumoscope.labels import CLASS_NAMES
from pneumoscope.models.build import ENSEMBLE, build_model
from pneumoscope.models.bundles import load_network, load_weights
from pneumoscope.models.ensemble import Ensemble
from pneumoscope.models.soup import average_weights
from pneumoscope.study.bundling import finish_bundle, start_bundle
from pneumoscope.study.films import open_films
from pneumoscope.study.run import Source
from pneumoscope.training.device import choose_device
from pneumoscope.training.distributed import Group, score_together

Average = Literal["log-odds", "weights"]
"""What is averaged over the members of a bundle: answers of all, or weights, to one network."""


def join(
    members: Sequence[Bundle],
    source: Source,
    out: Path,
    console: Console,
    *,
    name: str = ENSEMBLE,
    title: str = "Ensemble",
    average: Average = "log-odds",
    zoom_average: bool = False,
) -> Bundle:
    """Returns a bundle that averages others, or views of the films; nothing is trained.

    Validation and test films are scored by what is stored, and its threshold is chosen on
    validation by the rule of the first member.

    Args:
        members: two or more bundles, all of the split that ``source`` has; one will do with
            ``zoom_average``.
        source: the films.
        out: the bundle's folder, which must not be there yet.
        console: for progress.
        name: names the bundle.
        title: how it is called in tables.
        average: log odds of any bundles; or weights, of one architecture that was fine-tuned from
            one checkpoint (:func:`~pneumoscope.models.soup.average_weights`).
        zoom_average: every network answers the mean over a film and four zooms of it
            (:data:`~pneumoscope.models.views.ZOOMS`), at five times the cost.

    Raises:
        UsageError: too few members, one twice, other splits, one that was trained elsewhere,
            weights that do not go together, an ensemble or a bundle with zooms that is to get
            zooms, or ``out`` is there already.
        PneumoscopeError: whatever else stands in the way; ``out`` is then not made.
    """
    _check_members(members, at_least=1 if zoom_average else 2)
    if average == "weights":
        _check_weights(members)
    options = [_options(member, zoom_average) for member in members]
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists already; name a folder that is still to be made")
    make_folder(out.parent)
    recipe = _recipe(members, name, title)
    draft = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        start_bundle(_join_networks(members, average), draft, recipe.bundle.dtype)
        model = _model(options, recipe.model.img_size, average)
        _score(draft, members, recipe, source, console, average, model)
        try:
            draft.rename(out)
        except OSError as error:
            raise storage_error(out, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return open_bundle(out)


def _check_members(members: Sequence[Bundle], *, at_least: int) -> None:
    if len(members) < at_least:
        raise UsageError(
            f"an ensemble of {len(members)} bundle; name two or more, or one with --zoom-average"
        )
    ids = [member.model_id for member in members]
    for index, member in enumerate(members):
        if ids[index] in ids[:index]:
            raise UsageError(f"{ids[index]} is named twice; name each bundle once")
        if member.manifest.get("converted_from"):
            raise UsageError(
                f"{member.path} was trained elsewhere, so it may have seen the validation films on "
                "which the ensemble's threshold is chosen; leave it out"
            )
        if member.manifest["data"]["split_sha256"] != members[0].manifest["data"]["split_sha256"]:
            raise UsageError(
                f"{member.path} and {members[0].path} were trained on different splits, so there "
                "are no films that neither has seen; join bundles of one split"
            )


def _check_weights(members: Sequence[Bundle]) -> None:
    first = members[0]
    for member in members[1:]:
        if member.config["model"] != first.config["model"]:
            raise UsageError(
                f"{member.path} and {first.path} are of different architectures or views, so "
                "their weights have no mean; average their log odds"
            )
        start = (member.manifest.get("pretrained") or {}).get("sha256")
        if not start or start != (first.manifest.get("pretrained") or {}).get("sha256"):
            raise UsageError(
                f"{member.path} and {first.path} were not fine-tuned from one checkpoint, so the "
                "mean of their weights is no network that has learnt; average their log odds"
            )


def _recipe(members: Sequence[Bundle], name: str, title: str) -> Recipe:
    """Returns the recipe of which name, title, data, operating point and precision hold."""
    first = members[0].manifest["recipe"]
    sizes = [int(member.config["model"]["img_size"]) for member in members]
    values = {
        "name": name,
        "title": title,
        "model": {"name": "cnn", "img_size": max(sizes)},  # for its size alone
        "data": first["data"],
        "operating_point": first["operating_point"],
        "bundle": {"dtype": _dtype(members)},
    }
    return parse_recipe(values, name)


def _dtype(members: Sequence[Bundle]) -> str:
    """Returns the precision in which every member's weights stay what they are."""
    # Ensembles once did not say; float32 holds everything.
    kept = {member.manifest["recipe"].get("bundle", {}).get("dtype") for member in members}
    return "float16" if kept == {"float16"} else "float32"


def _join_networks(members: Sequence[Bundle], average: Average) -> nn.Module:
    """Returns a network whose weights are those of the joined bundle."""
    networks = [load_network(member) for member in members]
    if len(networks) == 1:
        return networks[0]
    return average_weights(networks) if average == "weights" else Ensemble(networks)


def _options(member: Bundle, zoom_average: bool) -> dict[str, Any]:
    """Returns the arguments of ``build_model`` for a member."""
    options = dict(member.config["model"])
    if zoom_average and options["name"] == ENSEMBLE:
        raise UsageError(
            f"{member.path} is an ensemble already; join its members anew with --zoom-average"
        )
    if zoom_average and options.get("zoom_average"):
        raise UsageError(
            f"{member.path} answers over zooms already; join it with others without --zoom-average"
        )
    return {**options, "zoom_average": True} if zoom_average else options


def _model(options: Sequence[dict[str, Any]], img_size: int, average: Average) -> dict[str, Any]:
    """Returns the arguments of ``build_model`` for the whole, from those for the members."""
    if average == "weights" or len(options) == 1:
        return options[0]
    return {
        "name": ENSEMBLE,
        "img_size": img_size,
        "in_chans": options[0]["in_chans"],
        "members": list(options),
    }


def _score(
    draft: Path,
    members: Sequence[Bundle],
    recipe: Recipe,
    source: Source,
    console: Console,
    average: Average,
    model: dict[str, Any],
) -> None:
    """Scores the films with the weights in ``draft`` and makes a bundle of it."""
    network = build_model(**model, num_classes=len(CLASS_NAMES))
    load_weights(network, draft / "model.safetensors")
    device = choose_device()
    network.to(device.device)
    manifest = members[0].manifest
    with TemporaryDirectory() as folder:
        split_path = source.split_path or Path(folder) / "split.csv"
        films = open_films(
            source.root, split_path, recipe.data, console, skip_unreadable=source.skip_unreadable
        )
    if films.split.sha256 != manifest["data"]["split_sha256"]:
        raise UsageError(
            f"the films of {source.root} are divided otherwise than those that the members were "
            "trained on; name the folder they were trained on, or their split with --split"
        )
    logits = {
        part: score_together(
            network, films.pixels(part, recipe.model.img_size, console), device, Group()
        )
        for part in ("val", "test")
    }
    origin = {
        "model": model["name"],
        "average": average,
        "members": [member.model_id for member in members],
        "seed": None,
        "recipe": recipe.model_dump(
            mode="json", include={"name", "title", "data", "operating_point", "bundle"}
        ),
        "recipe_sha256": None,
        "teacher": None,
        "cause_counts": None,
        "pretrained": None if model["name"] == ENSEMBLE else manifest.get("pretrained"),
        "best_epoch": None,
        "train_time_s": sum(member.manifest["train_time_s"] for member in members),
        "device": "scored on " + device.reason,
    }
    finish_bundle(draft, recipe, network, films, logits, history=(), origin=origin, model=model)
