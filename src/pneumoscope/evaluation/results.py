"""What is compared: one result a bundle, and the reference study beside them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from pneumoscope.bundle import Bundle
from pneumoscope.data.quality import QualityRange
from pneumoscope.errors import BundleError
from pneumoscope.evaluation.metrics import DEFAULT_THRESHOLD
from pneumoscope.evaluation.operating_point import (
    Summary,
    summarize_at_threshold,
    summarize_counts,
)
from pneumoscope.evaluation.predictions import Predictions, read_csv, read_predictions

if TYPE_CHECKING:
    from pneumoscope.evaluation.film_table import FilmTable
    from pneumoscope.evaluation.shift_table import ShiftTable

HISTORY_COLUMNS = ("epoch", "train_loss", "val_loss", "val_auroc", "lr", "time_s")

Metric = Literal["acc", "precision", "recall", "specificity", "f1", "auroc", "thr"]
METRICS: tuple[Metric, ...] = ("acc", "precision", "recall", "specificity", "f1", "auroc", "thr")
"""The headline figures: keys of ``Summary`` in the order of the table's columns."""

KAGGLE_TEST_SHA256 = "5aa508d5578695bc15f92d29b011041518888eeced202197dc97b6873018b84c"
"""Of the official test set of 624 films: see :func:`reference_results`."""


@dataclass(frozen=True, eq=False)
class History:
    """One training run, an entry an epoch; each array is float64 of shape (num_epochs,).

    There are none where the training was not recorded.

    Attributes:
        epoch: number of the epoch.
        train_loss: training loss, in nats.
        val_loss: validation loss, in nats.
        val_auroc: validation AUROC, in [0, 1].
        lr: learning rate.
        time_s: training time, in seconds.
    """

    epoch: npt.NDArray[np.float64]
    train_loss: npt.NDArray[np.float64]
    val_loss: npt.NDArray[np.float64]
    val_auroc: npt.NDArray[np.float64]
    lr: npt.NDArray[np.float64]
    time_s: npt.NDArray[np.float64]

    @classmethod
    def empty(cls) -> Self:
        """Returns the history of a training that was not recorded."""
        return cls(*(np.empty(0) for _ in HISTORY_COLUMNS))


def read_history(path: Path) -> History:
    """Returns the training history that ``history.csv`` holds.

    Raises:
        EvaluationError: the file cannot be read or a line does not fit; both are named.
    """
    return History(**read_csv(path, number_columns=HISTORY_COLUMNS, may_be_empty=True).numbers)


@dataclass(frozen=True, eq=False)
class ModelResult:
    """One trained model, as the tables and figures see it.

    Attributes:
        name: how it is called in tables and figures.
        recipe: the name its recipe gives it; several seeds of one recipe share it.
        model: the network, a name that ``build_model`` knows; empty where it is not known.
        model_id: names exactly these weights.
        seed: of the training run; None where it is not known.
        split_kind: ``"patient"``, ``"stratified"`` or ``"block"``; empty where it is not known.
        num_parameters: of the network; None where it is not known.
        train_time_s: seconds of training; None where they are not known.
        phantom: trained and tested on drawn phantoms, not on films of patients.
        threshold: the frozen recall-first threshold, chosen on validation.
        min_recall: the validation recall it had to reach.
        predictions: scores of the validation and the test films.
        history: the training run.
        external: whether the test films come from elsewhere than the training films.
        num_seen: test films that it was trained or tuned on; None where that is not known.
        film_table: what was measured on the films; None where they were not at hand.
        shift_table: scores of the altered test films; None where there are none.
        audit: what the audit of the films found; None where they were not at hand.
        manifest: of the bundle; None where there is none.
    """

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
    predictions: Predictions
    history: History
    external: bool = False
    num_seen: int | None = None
    film_table: "FilmTable | None" = None
    shift_table: "ShiftTable | None" = None
    audit: dict[str, Any] | None = None
    manifest: dict[str, Any] | None = None

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """Returns the result that a bundle holds, from its predictions, history and manifest.

        Raises:
            BundleError: the manifest or the operating point lacks an entry.
            EvaluationError: ``predictions.csv`` or ``history.csv`` is unsound.
        """
        manifest = bundle.manifest
        try:
            return cls(
                name=manifest.get("title") or bundle.name,
                recipe=bundle.name,
                model=manifest["model"],
                model_id=bundle.model_id,
                seed=manifest["seed"],
                split_kind=manifest["data"]["split_kind"],
                num_parameters=manifest["num_parameters"],
                train_time_s=manifest["train_time_s"],
                phantom=manifest["phantom"],
                threshold=bundle.threshold,
                min_recall=bundle.operating_point["min_recall"],
                predictions=read_predictions(bundle.path / "predictions.csv"),
                history=read_history(bundle.path / "history.csv"),
                manifest=manifest,
            )
        except KeyError as error:
            raise BundleError(
                f"{bundle.path} has no entry {error} in its manifest or operating point; "
                "write the bundle again with this version"
            ) from error

    @cached_property
    def training_quality(self) -> QualityRange | None:
        """What the training films look like; None where the manifest does not record it.

        Raises:
            DataError: it records something else.
        """
        recorded = (self.manifest or {}).get("data", {}).get("training_quality")
        return None if recorded is None else QualityRange.from_dict(recorded)

    def films(self, split: str) -> Predictions:
        """Returns the scores of the films of ``"val"`` or ``"test"``."""
        return self._films_by_split[split]

    def summaries(self, split: str) -> tuple[Summary, Summary]:
        """Returns the figures of one split at 0.5 and at the recall-first threshold."""
        y, p = self.films(split).y_true, self.films(split).p_pneumonia
        return (
            summarize_at_threshold(y, p, DEFAULT_THRESHOLD),
            summarize_at_threshold(y, p, self.threshold),
        )

    @cached_property
    def _films_by_split(self) -> dict[str, Predictions]:
        return {split: self.predictions.subset(split) for split in ("val", "test")}


def seed_groups(results: Sequence[ModelResult]) -> dict[str, list[ModelResult]]:
    """Returns the results of recipes that were run with two or more different seeds.

    Keys are names for the group. A recipe of which one seed occurs twice is left out, for its
    spread would come out too small.
    """
    groups: dict[tuple[str, str], list[ModelResult]] = {}
    for result in results:
        if result.seed is not None:
            groups.setdefault((result.recipe, result.split_kind), []).append(result)
    recipes = [recipe for recipe, _ in groups]
    return {
        recipe if recipes.count(recipe) == 1 else f"{recipe} ({split_kind})": members
        for (recipe, split_kind), members in groups.items()
        if len(members) == len({member.seed for member in members}) >= 2
    }


def mean_and_sd(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Returns mean and sample standard deviation (n - 1) of two or more values.

    ``None`` where one of them is undefined.
    """
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return None
    return float(np.mean(defined)), float(np.std(defined, ddof=1))


@dataclass(frozen=True)
class ReferenceResult:
    """A row of the reference study: its own figures, on the official test set of 624 films.

    The study prints accuracy, precision, recall, F1 and AUROC at both thresholds; the counts
    are the only ones that give those figures with 390 PNEUMONIA and 234 NORMAL films, and
    specificity follows from them.
    """

    name: str
    num_parameters: int
    summaries: tuple[Summary, Summary]


REFERENCE_STUDY = (
    ReferenceResult(
        name="Reference ViT from scratch",
        num_parameters=4_990_000,
        summaries=(
            summarize_counts(tp=360, fp=99, fn=30, tn=135, auroc=0.8892, thr=0.5),
            summarize_counts(tp=376, fp=124, fn=14, tn=110, auroc=0.8892, thr=0.289),
        ),
    ),
    ReferenceResult(
        name="Reference ViT-B/16",
        num_parameters=85_800_000,
        summaries=(
            summarize_counts(tp=386, fp=77, fn=4, tn=157, auroc=0.9007, thr=0.5),
            summarize_counts(tp=389, fp=98, fn=1, tn=136, auroc=0.9007, thr=0.216),
        ),
    ),
)


def reference_results(results: Sequence[ModelResult]) -> tuple[ReferenceResult, ...]:
    """Returns the reference study's rows where the models were tested on its 624 films.

    Elsewhere, and on phantoms always, there is nothing to stand beside and none is returned.
    """
    if any(result.phantom for result in results):
        return ()
    return (
        REFERENCE_STUDY if _test_set_sha256(results[0].films("test")) == KAGGLE_TEST_SHA256 else ()
    )


def _test_set_sha256(test: Predictions) -> str:
    """Returns a hash of the films' labels and names, whatever their folder and file format."""
    stems = [PurePosixPath(path).stem.lower() for path in test.path.tolist()]
    lines = sorted(f"{y} {s}" for y, s in zip(test.y_true.tolist(), stems, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
