"""One recipe, one run folder: train, choose the threshold, test once, write the bundle.

::

    RUN/
      recipe.json   what this folder is a run of
      split.csv     which films it was given (or the study's, one folder up)
      log.jsonl     one line a step and a validation
      state.pt      the trainer's state, for going on after a stop; gone when finished
      mae.pt        that of masked autoencoding, where the recipe begins with it; likewise
      curves.png    loss and AUROC by epoch
      bundle/       the result
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from rich.console import Console

from pneumoscope.bundle import Bundle, open_bundle
from pneumoscope.config import Recipe, parse_recipe
from pneumoscope.errors import ConfigError, RunFolderError
from pneumoscope.evaluation.figure_style import to_png
from pneumoscope.evaluation.figures import draw_training_curves
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.files import make_folder, write_bytes, write_json
from pneumoscope.labels import CLASS_NAMES
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import load_weights
from pneumoscope.models.npz import load_npz
from pneumoscope.models.weights import find_weights
from pneumoscope.study.bundling import finish_bundle, start_bundle
from pneumoscope.study.films import SplitFilms, open_films, stated_causes
from pneumoscope.study.provenance import code
from pneumoscope.training.device import choose_device
from pneumoscope.training.distributed import (
    Group,
    barrier,
    process_group,
    score_together,
)
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.masked_pretraining import STATE
from pneumoscope.training.recorder import Recorder, RunRecorder
from pneumoscope.training.trainer import Trainer

DRAFT = "bundle.partial"
"""The bundle while it is written; it takes its name when it is whole."""


@dataclass(frozen=True)
class Source:
    """Where a run's films come from."""

    root: Path
    split_path: Path | None = None
    skip_unreadable: bool = False


def run(recipe: Recipe, source: Source, folder: Path, console: Console) -> Bundle:
    """Returns the bundle of a recipe, trained in ``folder``.

    A folder that holds the finished run returns its bundle at once; one that holds the same run
    unfinished goes on with it. Under torchrun every process calls this; one writes.

    Args:
        recipe: what to train.
        source: the films.
        folder: the run folder.
        console: for progress.

    Raises:
        RunFolderError: the folder is in use, or holds another run.
        PneumoscopeError: whatever stands in the way of reading, training or writing.
    """
    code()  # noted now: files may be edited before the last epoch ends
    with process_group(recipe.training.device) as group:
        lock = _lock(folder) if group.is_main else None
        try:
            return _run(recipe, source, folder, console if group.is_main else _quiet(), group)
        finally:
            if lock:
                _remove_half_written(folder)
                lock.release()


def _run(recipe: Recipe, source: Source, folder: Path, console: Console, group: Group) -> Bundle:
    if group.is_main:
        _remove_half_written(folder)  # by a run that was killed
        _check_claim(recipe, folder)
    barrier(group)
    weights = find_weights(recipe.pretrained.weights) if recipe.pretrained.weights else None
    with torch.device("meta"):  # what cannot be built or loaded is told before any decoding
        network = build_model(**recipe.model.build_options(), num_classes=len(CLASS_NAMES))
    if weights:
        load_npz(network, weights, head=False)
    split_path = source.split_path or folder / "split.csv"

    def decode() -> tuple[SplitFilms, dict[str, NDArray[np.uint8]]]:
        films = open_films(
            source.root, split_path, recipe.data, console, skip_unreadable=source.skip_unreadable
        )
        names = ("train", "val", "test")
        return films, {n: films.pixels(n, recipe.model.img_size, console) for n in names}

    # The main process goes first, so that the others find split and cache made.
    decoded = decode() if group.is_main else None
    barrier(group)
    films, pixels = decoded or decode()
    done = _finished(folder, recipe, films)
    if done is not None:
        console.print(f"{recipe.name}: already finished in {folder}", markup=False, soft_wrap=True)
        return done

    kind = recipe.training.device
    if kind == "auto" and group.world_size > 1 and not torch.cuda.is_available():
        kind = "cpu"  # gloo, which then connects the processes, knows no other device
    device = choose_device(kind, recipe.training.precision, group.local_rank)
    console.print(f"{recipe.name}: {device.reason}", markup=False, soft_wrap=True)
    teacher = _teacher(recipe, folder)
    if group.is_main:
        write_json(folder / "recipe.json", recipe.model_dump(mode="json"))
    with _recorder(recipe, folder, console, group) as recorder:
        trainer = Trainer(
            recipe,
            LabelledFilms(
                pixels["train"], films.labels("train"), stated_causes(films.rows("train"))
            ),
            LabelledFilms(pixels["val"], films.labels("val")),
            folder=folder,
            split_sha256=films.split.sha256,
            device=device,
            group=group,
            recorder=recorder,
            teacher=teacher,
            weights=weights,
        )
        if recipe.training.cause_weight and trainer.cause_counts is None:
            console.print(
                f"{recipe.name}: no second task; file names of the training films do not state "
                "both causes of pneumonia",
                markup=False,
                soft_wrap=True,
            )
        fitted = trainer.fit()
    draft = folder / DRAFT
    if group.is_main:
        start_bundle(fitted.network, draft, recipe.bundle.dtype)
    barrier(group)
    # From here on only the stored weights count: what is reported is what is shipped.
    network = build_model(**recipe.model.inference_options(), num_classes=len(CLASS_NAMES))
    load_weights(network, draft / "model.safetensors")
    network.to(device.device)
    logits = {n: score_together(network, pixels[n], device, group) for n in ("val", "test")}
    if group.is_main:
        origin = {
            "teacher": teacher.model_id if teacher else None,
            "pretrained": asdict(trainer.pretrained) if trainer.pretrained else None,
            "pretraining": asdict(fitted.pretraining) if fitted.pretraining else None,
            "cause_counts": trainer.cause_counts,
            "best_epoch": fitted.best_epoch,
            "train_time_s": round(fitted.train_time_s, 1),
            "device": device.reason,
        }
        finish_bundle(draft, recipe, network, films, logits, history=fitted.history, origin=origin)
        curves = draw_training_curves([ModelResult.from_bundle(open_bundle(draft))])
        write_bytes(folder / "curves.png", to_png(curves))
        draft.rename(folder / "bundle")
        for name in ("state.pt", STATE):  # only an unfinished run needs them
            (folder / name).unlink(missing_ok=True)
    barrier(group)
    return open_bundle(folder / "bundle")


def is_main_process() -> bool:
    """Returns whether this process is the one that talks to the user (torchrun's rank 0)."""
    return os.environ.get("RANK", "0") == "0"


def _quiet() -> Console:
    return Console(quiet=True)


def _lock(folder: Path) -> FileLock:
    lock = FileLock(make_folder(folder) / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunFolderError(
            f"{folder} is in use by another run; wait for it, or choose another folder"
        ) from error
    return lock


def _remove_half_written(folder: Path) -> None:
    shutil.rmtree(folder / DRAFT, ignore_errors=True)
    for path in folder.glob(".*.partial"):
        path.unlink(missing_ok=True)


def _check_claim(recipe: Recipe, folder: Path) -> None:
    """Refuses a folder that holds the work of another recipe."""
    path = folder / "recipe.json"
    has_work = any((folder / name).exists() for name in ("state.pt", STATE, "bundle"))
    if not (has_work and path.exists()):
        return
    try:
        found = parse_recipe(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (ValueError, ConfigError) as error:
        raise RunFolderError(f"{path} is no recipe; choose another run folder") from error
    if found.sha256 != recipe.sha256:
        ours, theirs = (one.model_dump(mode="json") for one in (recipe, found))
        differing = [key for key in ours if theirs[key] != ours[key]]
        raise RunFolderError(
            f"{folder} holds a run of another recipe (it differs in {', '.join(differing)}); "
            "choose another folder, or remove this one"
        )


def _finished(folder: Path, recipe: Recipe, films: SplitFilms) -> Bundle | None:
    if not (folder / "bundle").exists():
        return None
    bundle = open_bundle(folder / "bundle")
    found = (bundle.manifest["recipe_sha256"], bundle.manifest["data"]["split_sha256"])
    if found != (recipe.sha256, films.split.sha256):
        raise RunFolderError(
            f"{folder} holds the finished run of another recipe or split; choose another folder"
        )
    return bundle


def _teacher(recipe: Recipe, folder: Path) -> Bundle | None:
    name = recipe.distillation.teacher
    if not name:
        return None
    beside = folder.parent / name
    # A run of this very recipe, or another seed of it, is a student itself.
    is_another = name != recipe.name and beside.is_dir()
    return open_bundle(beside if is_another else name)


def _recorder(recipe: Recipe, folder: Path, console: Console, group: Group) -> Recorder:
    if not group.is_main:
        return Recorder()
    return RunRecorder(
        folder, recipe.name, tensorboard=recipe.training.tensorboard, console=console
    )
