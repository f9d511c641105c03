"""The evidence folder: everything a report is computed from, so that it can be computed again.

::

    model.json       what was tested: names, seed, split, threshold, manifest, whose films
    predictions.csv  scores of the validation and the test films
    history.csv      the training curves
    films.csv        what was measured on the films          (where films were at hand)
    shifts.csv       scores of the altered test films        (where they were scored)
    audit.json       duplicates and patients of the films    (where a whole data set was at hand)
"""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from pneumoscope.bundle import open_bundle
from pneumoscope.errors import EvaluationError, UsageError
from pneumoscope.evaluation.film_table import read_film_table, write_film_table
from pneumoscope.evaluation.operating_point import choose_threshold_by_min_recall
from pneumoscope.evaluation.predictions import (
    csv_text,
    read_predictions,
    write_predictions,
)
from pneumoscope.evaluation.results import (
    HISTORY_COLUMNS,
    History,
    ModelResult,
    read_history,
)
from pneumoscope.evaluation.shift_table import read_shift_table, write_shift_table
from pneumoscope.files import make_folder, write_json, write_text

FOLDER = "evidence"
"""Its name inside the folder that an evaluation writes."""

FORMAT_VERSION = 1
"""Changes when the folder's files change in a way that readers must know."""

_IN_FILES = ("predictions", "history", "film_table", "shift_table", "audit")
_TEXT_FIELDS = ("name", "recipe", "model", "model_id", "split_kind")


def open_result(source: str | Path, *, min_recall: float = 0.95) -> ModelResult:
    """Returns the result that a path stands for, whatever kind it is of.

    Args:
        source: a bundle or run folder or the name of a shipped bundle, a folder that
            ``evaluate`` wrote, or a ``predictions.csv`` of any model.
        min_recall: the validation recall at which the threshold is chosen where ``source`` is a
            CSV file; the others carry their frozen threshold.

    Raises:
        UsageError: a CSV file that is not there.
        BundleError: there is no sound bundle.
        EvaluationError: the files hold no sound result.
    """
    path = Path(source)
    if path.suffix.lower() == ".csv":
        return result_from_csv(path, min_recall)
    for folder in (path / FOLDER, path):
        if (folder / "model.json").is_file():
            return read_evidence(folder)
    return ModelResult.from_bundle(open_bundle(source))


def result_from_csv(path: Path, min_recall: float) -> ModelResult:
    """Returns the result of scores alone: the threshold is chosen on their validation films.

    Args:
        path: a ``predictions.csv`` with validation and test films, of any model.
        min_recall: the validation recall to reach.

    Raises:
        UsageError: the file is not there.
        EvaluationError: it is unsound, or has no validation films with PNEUMONIA.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}; expected a predictions.csv, a bundle or a run folder")
    predictions = read_predictions(path)
    val = predictions.subset("val")
    if not val.y_true.any():
        raise EvaluationError(
            f"{path} has no PNEUMONIA film with split val; the threshold is chosen there"
        )
    threshold, _, _ = choose_threshold_by_min_recall(val.y_true, val.p_pneumonia, min_recall)
    name = path.parent.name if path.stem == "predictions" and path.parent.name else path.stem
    return ModelResult(
        name=name,
        recipe=name,
        model="",
        model_id=f"{name}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}",
        seed=None,
        split_kind="",
        num_parameters=None,
        train_time_s=None,
        phantom=False,
        threshold=threshold,
        min_recall=min_recall,
        predictions=predictions,
        history=History.empty(),
    )


def write_evidence(folder: Path, result: ModelResult) -> None:
    """Writes everything that a result holds into ``folder``, ``model.json`` last.

    What an earlier evaluation left there and this result lacks is removed: half of one and half
    of the other would look like one.

    Raises:
        StorageError: a file cannot be written.
    """
    make_folder(folder)
    for name in ("model.json", "films.csv", "shifts.csv", "audit.json"):
        (folder / name).unlink(missing_ok=True)
    write_predictions(folder / "predictions.csv", result.predictions)
    columns = zip(*(getattr(result.history, c).tolist() for c in HISTORY_COLUMNS), strict=True)
    write_text(folder / "history.csv", csv_text(HISTORY_COLUMNS, columns))
    if result.film_table is not None:
        write_film_table(folder / "films.csv", result.film_table)
    if result.shift_table is not None:
        write_shift_table(folder / "shifts.csv", result.shift_table)
    if result.audit is not None:
        write_json(folder / "audit.json", result.audit)
    plain = {f.name: getattr(result, f.name) for f in fields(result) if f.name not in _IN_FILES}
    write_json(folder / "model.json", {"format_version": FORMAT_VERSION, **plain})


def read_evidence(folder: Path) -> ModelResult:
    """Returns the result that :func:`write_evidence` wrote.

    Raises:
        EvaluationError: a file is missing, unsound or of another version.
    """
    described = _read_json(folder / "model.json")
    version = described.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise EvaluationError(
            f"{folder} has evidence format {version}; this version reads {FORMAT_VERSION}; "
            "evaluate the bundle again"
        )
    try:
        for name in _TEXT_FIELDS:
            if not isinstance(described[name], str):
                raise TypeError(f"{name} is no text")
        return ModelResult(
            **described,
            predictions=read_predictions(folder / "predictions.csv"),
            history=read_history(folder / "history.csv"),
            film_table=_if_there(folder / "films.csv", read_film_table),
            shift_table=_if_there(folder / "shifts.csv", read_shift_table),
            audit=_if_there(folder / "audit.json", _read_json),
        )
    except (KeyError, TypeError) as error:
        raise EvaluationError(
            f"{folder / 'model.json'} does not fit this version ({error}); evaluate the bundle "
            "again"
        ) from error


def _if_there(path: Path, read: Any) -> Any:
    return read(path) if path.is_file() else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise EvaluationError(f"{path} holds no JSON object; evaluate the bundle again")
    return value
