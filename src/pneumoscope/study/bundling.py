"""From a network and its scores to a bundle: weights first, then everything the scores say."""

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from pneumoscope.bundle import Bundle, seal_bundle
from pneumoscope.config import Recipe
from pneumoscope.data.preprocessing import PREPROCESSING_VERSION
from pneumoscope.evaluation.metrics import bundle_metrics
from pneumoscope.evaluation.operating_point import choose_threshold_by_min_recall
from pneumoscope.evaluation.predictions import Predictions, csv_text, write_predictions
from pneumoscope.evaluation.results import HISTORY_COLUMNS
from pneumoscope.files import make_folder, write_json, write_text
from pneumoscope.labels import CLASS_NAMES
from pneumoscope.models.build import num_parameters
from pneumoscope.models.bundles import save_weights
from pneumoscope.models.graphs import graph_path
from pneumoscope.study.card import model_card
from pneumoscope.study.data_card import data_card
from pneumoscope.study.data_facts import data_facts, training_quality
from pneumoscope.study.films import SplitFilms
from pneumoscope.study.provenance import provenance
from pneumoscope.study.seen import write_training_films

RULE = "highest precision with recall >= min_recall"


def start_bundle(network: nn.Module, draft: Path, dtype: str) -> None:
    """Makes a bundle folder that holds the weights alone, as ``float16`` or ``float32``.

    Scores are to be computed from what is stored here, not from ``network``, so that they are
    those of the bundle.

    Raises:
        StorageError: it cannot be written.
    """
    make_folder(draft)
    kept = {"float16": torch.float16, "float32": torch.float32}[dtype]
    save_weights(network, draft / "model.safetensors", kept)


def finish_bundle(
    draft: Path,
    recipe: Recipe,
    network: nn.Module,
    films: SplitFilms,
    logits: Mapping[str, NDArray[np.float64]],
    *,
    history: Sequence[Mapping[str, float]],
    origin: Mapping[str, Any],
    model: Mapping[str, Any] | None = None,
) -> Bundle:
    """Returns the bundle in ``draft``, whole and sealed, around the weights already there.

    Args:
        draft: what :func:`start_bundle` made.
        recipe: names the model and the operating point's rule.
        network: with the stored weights.
        films: the split whose ``val`` and ``test`` films were scored.
        logits: (N, K) of the films of ``val`` and of ``test``, in the order of the split.
        history: validations during training, if there were any.
        origin: what else the manifest says of how the weights came about, also instead of what
            the recipe says; ``train_time_s`` (None if not known) and ``device`` are needed.
        model: the arguments of ``build_model``, where the recipe does not say them.

    Raises:
        EvaluationError: the scores do not allow a threshold.
        StorageError: it cannot be written.
    """
    rows = [row for name in ("val", "test") for row in films.rows(name)]
    predictions = Predictions.from_logits(
        path=[row.path for row in rows],
        patient_id=[row.patient_id for row in rows],
        split=[row.split for row in rows],
        y_true=[int(row.label) for row in rows],
        logits=[pair for name in ("val", "test") for pair in logits[name].tolist()],
    )
    val = predictions.subset("val")
    threshold, recall, precision = choose_threshold_by_min_recall(
        val.y_true, val.p_pneumonia, recipe.operating_point.min_recall
    )
    operating_point = {
        "threshold": threshold,
        "min_recall": recipe.operating_point.min_recall,
        "rule": RULE,
        "chosen_on": "val",
        "num_cases": len(val),
        "recall": recall,
        "precision": precision,
    }
    metrics = bundle_metrics(predictions, threshold)
    manifest: dict[str, Any] = {
        "name": recipe.name,
        "title": recipe.title,
        "model": recipe.model.name,
        "num_parameters": num_parameters(network),
        "seed": recipe.training.seed,
        "phantom": films.phantom,
        "recipe": recipe.model_dump(mode="json"),
        "recipe_sha256": recipe.sha256,
        "data": data_facts(films),
        **origin,
        **provenance(),
    }
    if not origin.get("converted_from"):  # else it is not known what the training films were
        manifest["data"]["training_quality"] = training_quality(films).to_dict()
        write_training_films(draft, films.rows("train"))
    options = dict(model or recipe.model.inference_options())
    write_json(
        draft / "config.json",
        {
            "model": options,
            "preprocessing": {
                "version": PREPROCESSING_VERSION,
                "channels": "grey, repeated",
                "scale": "x / 127.5 - 1",
            },
            "labels": list(CLASS_NAMES),
        },
    )
    write_json(draft / "operating_point.json", operating_point)
    write_json(draft / "metrics.json", metrics)
    write_int8_check(draft, films, logits["val"])
    write_predictions(draft / "predictions.csv", predictions)
    lines = [[row[column] for column in HISTORY_COLUMNS] for row in history]
    write_text(draft / "history.csv", csv_text(HISTORY_COLUMNS, lines))
    card = model_card(recipe, options, operating_point, metrics, manifest)
    write_text(draft / "MODEL_CARD.md", card)
    write_text(draft / "DATA_CARD.md", data_card(manifest))
    return seal_bundle(draft, manifest)


def write_int8_check(folder: Path, films: SplitFilms, val_logits: NDArray[np.float64]) -> None:
    """Writes ``int8.json`` into a bundle's folder, if its network can run in 8 bits.

    Args:
        folder: holds weights and ``config.json``.
        films: the split whose validation films were scored.
        val_logits: what float32 gave for them, (N, K).
    """
    if find_spec("onnxruntime") is None:
        return
    from pneumoscope.models.int8 import INT8_FILE, Int8Check

    model = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model"]
    if not graph_path(model, "int8").is_file():
        return
    pixels = films.pixels("val", int(model["img_size"]), Console(quiet=True))
    check = Int8Check.measure(model, folder / "model.safetensors", pixels, val_logits)
    if check:
        write_json(folder / INT8_FILE, check.to_dict())
