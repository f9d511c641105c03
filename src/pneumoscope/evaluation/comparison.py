"""The comparison of models: one folder of tables, scores and figures, from scores alone."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.figure_style import to_png
from pneumoscope.evaluation.figures import (
    draw_confusion,
    draw_precision_recall,
    draw_roc,
    draw_scores,
    draw_training_curves,
)
from pneumoscope.evaluation.metrics import SetMetrics, bundle_metrics
from pneumoscope.evaluation.operating_point import Summary
from pneumoscope.evaluation.overview import draw_overview
from pneumoscope.evaluation.predictions import COLUMNS, csv_text
from pneumoscope.evaluation.report.build import build_report, report_files
from pneumoscope.evaluation.report.document import Block
from pneumoscope.evaluation.results import (
    METRICS,
    ModelResult,
    mean_and_sd,
    reference_results,
    seed_groups,
)
from pneumoscope.evaluation.tables import headline_table, interval_table, to_markdown
from pneumoscope.files import make_folder, storage_error, write_bytes
from pneumoscope.labels import DISCLAIMER, Label

PHANTOM_NOTE = (
    "PHANTOM: every film here was drawn by a program. "
    "The numbers show that the software runs and say nothing about patients."
)


@dataclass(frozen=True)
class Comparison:
    """A comparison that has been written.

    Attributes:
        results: the models under the names that the files use, for ``results_table``.
        report: the document to open first.
        overview: the picture of the table, ROC curves and scores.
        files: everything that was written.
        phantom: whether phantoms are in play.
    """

    results: tuple[ModelResult, ...]
    report: Path
    overview: Path
    files: tuple[Path, ...]
    phantom: bool


def compare(results: Sequence[ModelResult], out: Path, gallery: Sequence[Block] = ()) -> Comparison:
    """Writes the comparison of models on their common test set, and the report, into a folder.

    Everything is made first and written last, each file atomically: a failure leaves no half of
    a file, and a second run replaces the first.

    Args:
        results: one or more models, all scored on one test set.
        out: the folder, made where it is missing.
        gallery: films to look at, for the report.

    Raises:
        EvaluationError: as for :func:`prepare_results`.
        StorageError: a file cannot be written.
    """
    named = prepare_results(results)
    metrics = [bundle_metrics(result.predictions, result.threshold) for result in named]
    contents = {
        "results.md": _markdown(named, metrics).encode(),
        "results.json": _json(named, metrics).encode(),
        "predictions.csv": _csv(named).encode(),
        "overview.png": to_png(draw_overview(named)),
        "roc.png": to_png(draw_roc(named)),
        "pr.png": to_png(draw_precision_recall(named)),
        "confusion.png": to_png(draw_confusion(named)),
        "scores.png": to_png(draw_scores(named)),
        "training_curves.png": to_png(draw_training_curves(named)),
        **report_files(build_report(named, metrics, gallery)),
    }
    make_folder(out)
    for name, content in contents.items():
        make_folder((out / name).parent)
        write_bytes(out / name, content)
    _remove_others(out, contents)
    return Comparison(
        results=named,
        report=out / "report.html",
        overview=out / "overview.png",
        files=tuple(out / name for name in contents),
        phantom=any(result.phantom for result in named),
    )


def prepare_results(results: Sequence[ModelResult]) -> tuple[ModelResult, ...]:
    """Returns the results under different names and with films in one order, once comparable.

    Of several results with one name, those tell apart that do: the seed, else split and seed,
    else a running number.

    Raises:
        EvaluationError: there are none, one has no validation or no test films, the test films
            are of one class, or two models were tested on different films, labels or patients.
    """
    if not results:
        raise EvaluationError("there are no models to compare; expected at least one bundle")
    named = _with_distinct_names(results)
    for result in named:
        _check_sets(result)
        _check_same_test_set(named[0], result)
    return tuple(_in_order_of(named[0], result) for result in named)


def _check_sets(result: ModelResult) -> None:
    for split in ("val", "test"):
        if not len(result.films(split)):
            raise EvaluationError(f"{result.name} has no scores of {split} films; expected some")
    labels = set(result.films("test").y_true.tolist())
    if len(labels) == 1:
        only = Label(labels.pop()).name
        raise EvaluationError(f"all test films of {result.name} are {only}; expected both classes")


def _check_same_test_set(first: ModelResult, other: ModelResult) -> None:
    advice = "only models scored on one test set can be compared"
    if first.phantom != other.phantom:
        drawn, real = (first, other) if first.phantom else (other, first)
        raise EvaluationError(
            f"{drawn.name} was tested on phantoms and {real.name} on patients' films; {advice}"
        )
    labels, other_labels = (
        dict(zip(r.films("test").path.tolist(), r.films("test").y_true.tolist(), strict=True))
        for r in (first, other)
    )
    if labels.keys() != other_labels.keys():
        differing = sorted(labels.keys() ^ other_labels.keys())
        raise EvaluationError(
            f"{first.name} and {other.name} were tested on {len(labels)} and {len(other_labels)} "
            f"films, of which {len(differing)} are not in both (such as {differing[0]}); {advice}"
        )
    for path, label in labels.items():
        if label != other_labels[path]:
            raise EvaluationError(
                f"{path} is {Label(label).name} for {first.name} but "
                f"{Label(other_labels[path]).name} for {other.name}; {advice}"
            )
    aligned = _in_order_of(first, other).films("test")
    ours, theirs = first.films("test").patient_id, aligned.patient_id
    if (differs := ours != theirs).any():
        row = int(np.argmax(differs))
        raise EvaluationError(
            f"{aligned.path[row]} is of patient {ours[row]} for {first.name} but of {theirs[row]} "
            f"for {other.name}; {advice}"
        )


def _in_order_of(first: ModelResult, other: ModelResult) -> ModelResult:
    """Returns ``other`` with its test films in the order of ``first``: pairs are taken by place."""
    wanted, found = first.films("test").path.tolist(), other.films("test").path.tolist()
    if wanted == found:
        return other
    row_of = {path: row for row, path in enumerate(found)}
    rows = np.array([row_of[path] for path in wanted])
    test = other.films("test").take(rows)
    return replace(other, predictions=other.films("val").joined(test))


def _with_distinct_names(results: Sequence[ModelResult]) -> tuple[ModelResult, ...]:
    named: list[ModelResult] = []
    taken: set[str] = set()
    for index, result in enumerate(results):
        same = [other for other in results if other.name == result.name]
        seeds = {other.seed for other in same}
        splits_and_seeds = {(other.split_kind, other.seed) for other in same}
        if len(same) == 1:
            name = result.name
        elif None not in seeds and len(seeds) == len(same):
            name = f"{result.name} (seed {result.seed})"
        elif None not in seeds and len(splits_and_seeds) == len(same):
            name = f"{result.name} ({result.split_kind}, seed {result.seed})"
        else:
            number = 1 + sum(other.name == result.name for other in results[:index])
            name = f"{result.name} (#{number})"
        while name in taken:  # a name may look like one of ours
            name += "'"
        taken.add(name)
        named.append(replace(result, name=name))
    return tuple(named)


def _remove_others(out: Path, contents: Collection[str]) -> None:
    """Removes figures and pictures of an earlier report that this one does not have.

    Raises:
        StorageError: one cannot be removed.
    """
    for pattern in ("figures/*.svg", "gallery/*.jpg"):
        for path in out.glob(pattern):
            if path.relative_to(out).as_posix() not in contents:
                try:
                    path.unlink()
                except OSError as error:
                    raise storage_error(path, error) from error


def _markdown(results: Sequence[ModelResult], metrics: Sequence[dict[str, SetMetrics]]) -> str:
    phantom = any(result.phantom for result in results)
    tables = [
        headline_table(results, "test"),
        interval_table(results, [of_model["test"] for of_model in metrics]),
        headline_table(results, "val"),
    ]
    targets = " or ".join(f"{t:g}" for t in sorted({result.min_recall for result in results}))
    paragraphs = [
        "# PHANTOM: comparison of models" if phantom else "# Comparison of models",
        *([PHANTOM_NOTE] if phantom else []),
        "Each model stands twice: at the threshold 0.5, and recall-first, at the threshold with "
        f"the highest precision among those that reach recall {targets} on validation. That "
        "threshold is chosen on validation films alone. A film is called PNEUMONIA where "
        "its score is at or above the threshold.",
        "![Table, ROC curves and scores](overview.png)",
        *(to_markdown(table) for table in tables),
        "Intervals are 95 %: Wilson for recall and specificity, with films as independent; a "
        "bootstrap over patients for AUROC.",
        "Everything else that can be asked of these scores is answered in "
        "[report.html](report.html) ([Markdown](report.md), [JSON](report.json)).",
        "Figures: [ROC](roc.png), [precision and recall](pr.png), [confusion](confusion.png), "
        "[scores](scores.png), [training](training_curves.png). Every number can be computed "
        "again from [predictions.csv](predictions.csv); [results.json](results.json) holds them "
        "for programs.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def _json(results: Sequence[ModelResult], metrics: Sequence[dict[str, SetMetrics]]) -> str:
    value = {
        "phantom": any(result.phantom for result in results),
        "disclaimer": DISCLAIMER,
        "models": [
            {
                "name": result.name,
                "recipe": result.recipe,
                "model": result.model,
                "model_id": result.model_id,
                "seed": result.seed,
                "split_kind": result.split_kind,
                "num_parameters": result.num_parameters,
                "train_time_s": result.train_time_s,
                "phantom": result.phantom,
                "threshold": result.threshold,
                "min_recall": result.min_recall,
                "metrics": of_model,
            }
            for result, of_model in zip(results, metrics, strict=True)
        ],
        "seeds": [
            {
                "name": name,
                "seeds": [result.seed for result in group],
                "test": _by_threshold(
                    [
                        _spread(summaries)
                        for summaries in zip(*(r.summaries("test") for r in group), strict=True)
                    ]
                ),
            }
            for name, group in seed_groups(results).items()
        ],
        "reference_study": [
            {
                "name": reference.name,
                "num_parameters": reference.num_parameters,
                "test": _by_threshold(reference.summaries),
            }
            for reference in reference_results(results)
        ],
    }
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _by_threshold(both: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(("at_0.5", "at_threshold"), both, strict=True))


def _spread(summaries: Sequence[Summary]) -> dict[str, dict[str, float] | None]:
    spreads = {m: mean_and_sd([summary[m] for summary in summaries]) for m in METRICS}
    return {m: {"mean": s[0], "sd": s[1]} if s else None for m, s in spreads.items()}


def _csv(results: Sequence[ModelResult]) -> str:
    rows = ((result.name, *row) for result in results for row in result.predictions.rows())
    return csv_text(("model", *COLUMNS), rows)
