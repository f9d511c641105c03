"""The evidence folder: all that a report is computed from but the films themselves.

From it the same report can be made again, without its gallery.

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
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from pneumoscope.bundle import open_bundle
from pneumoscope.config import Section
from pneumoscope.errors import EvaluationError, UsageError
from pneumoscope.evaluation.film_table import read_film_table, write_film_table
from pneumoscope.evaluation.operating_point import choose_threshold_by_min_recall
from pneumoscope.evaluation.predictions import (
    Predictions,
    csv_text,
    read_named_predictions,
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
from pneumoscope.files import make_folder, storage_error, write_json, write_text

FOLDER = "evidence"
"""Its name inside the folder that an evaluation writes."""

FORMAT_VERSION = 1
"""Changes when the folder's files change in a way that readers must know."""

_FILES = ("predictions.csv", "history.csv", "films.csv", "shifts.csv", "audit.json")
_IN_FILES = ("predictions", "history", "film_table", "shift_table", "audit")


class _Model(Section):
    """``model.json``: the plain fields of a :class:`ModelResult`."""

    format_version: Literal[1]
    name: str
    recipe: str
    model: str
    model_id: str
    seed: int | None
    split_kind: str
    num_parameters: int | None
    train_time_s: float | None
    phantom: bool
    threshold: float
    min_recall: float
    external: bool
    num_seen: int | None
    manifest: dict[str, Any] | None


class _Finding(BaseModel):
    level: str
    text: str


class _Leak(BaseModel):
    kind: str
    num_train: int
    num_val: Annotated[int, Field(ge=1)]
    num_val_same_patient: int
    num_val_same_number: int
    num_val_copies: int


class _Audit(BaseModel):
    """What the report reads of ``audit.json``; the rest is for people."""

    num_films: int
    verdict: list[_Finding]
    splits: list[_Leak] = []


def open_results(source: str | Path, *, min_recall: float = 0.95) -> list[ModelResult]:
    """Returns the results that a path stands for, whatever kind it is of.

    Args:
        source: a bundle or run folder or the name of a shipped bundle, a folder that
            ``evaluate`` wrote, or a ``predictions.csv`` of any model, or of several with their
            names in a first column ``model``.
        min_recall: the validation recall at which the threshold is chosen where ``source`` is a
            CSV file; the others carry their frozen threshold.

    Raises:
        UsageError: a CSV file that is not there.
        BundleError: there is no sound bundle.
        EvaluationError: the files hold no sound result.
    """
    path = Path(source)
    if path.suffix.lower() == ".csv":
        return results_from_csv(path, min_recall)
    for folder in (path / FOLDER, path):
        if (folder / "model.json").is_file():
            return [read_evidence(folder)]
    return [ModelResult.from_bundle(open_bundle(source))]


def results_from_csv(path: Path, min_recall: float) -> list[ModelResult]:
    """Returns the results of scores alone: thresholds are chosen on their validation films.

    Args:
        path: a ``predictions.csv`` with validation and test films, of one model or of several.
        min_recall: the validation recall to reach.

    Raises:
        UsageError: the file is not there.
        EvaluationError: it is unsound, or has no validation films with PNEUMONIA.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}; expected a predictions.csv, a bundle or a run folder")
    alone = path.parent.name if path.stem == "predictions" and path.parent.name else path.stem
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return [
        _from_scores(name or alone, predictions, digest, path, min_recall)
        for name, predictions in read_named_predictions(path).items()
    ]


def _from_scores(
    name: str, predictions: Predictions, digest: str, path: Path, min_recall: float
) -> ModelResult:
    val = predictions.subset("val")
    if not val.y_true.any():
        raise EvaluationError(
            f"{path} has no PNEUMONIA film with split val; the threshold is chosen there"
        )
    threshold, _, _ = choose_threshold_by_min_recall(val.y_true, val.p_pneumonia, min_recall)
    return ModelResult(
        name=name,
        recipe=name,
        model="",
        model_id=f"{name}-{digest}",
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
    _remove_files(folder)
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


def remove_evidence(folder: Path) -> None:
    """Removes what :func:`write_evidence` wrote; nothing else, and nothing where there is nothing.

    Raises:
        StorageError: a file cannot be removed.
    """
    if folder.is_dir():
        _remove_files(folder)
        if not any(folder.iterdir()):
            folder.rmdir()


def _remove_files(folder: Path) -> None:
    for name in ("model.json", *_FILES):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(folder / name, error) from error


def read_evidence(folder: Path) -> ModelResult:
    """Returns the result that :func:`write_evidence` wrote.

    Raises:
        EvaluationError: a file is missing, unsound or of another version.
    """
    value = _read_json(folder / "model.json")
    if (found := value.get("format_version")) != FORMAT_VERSION:
        raise EvaluationError(
            f"{folder} has evidence format {found}; this version reads {FORMAT_VERSION}; "
            "evaluate the bundle again"
        )
    described = _validated(_Model, value, folder / "model.json").model_dump()
    del described["format_version"]
    audit = _if_there(folder / "audit.json", _read_json)
    if audit is not None:
        _validated(_Audit, audit, folder / "audit.json")
    return ModelResult(
        **described,
        predictions=read_predictions(folder / "predictions.csv"),
        history=read_history(folder / "history.csv"),
        film_table=_if_there(folder / "films.csv", read_film_table),
        shift_table=_if_there(folder / "shifts.csv", read_shift_table),
        audit=audit,
    )


_M = TypeVar("_M", bound=BaseModel)


def _validated(model: type[_M], value: dict[str, Any], path: Path) -> _M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise EvaluationError(
            f"{path} does not fit this version ({where}: {first['msg']}); evaluate the bundle again"
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
