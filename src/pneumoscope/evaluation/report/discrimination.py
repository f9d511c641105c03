"""The section on how well the scores tell the classes apart, at all thresholds at once."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from sklearn.metrics import precision_recall_curve

from pneumoscope.evaluation.bootstrap import NUM_RESAMPLES, mean_interval
from pneumoscope.evaluation.discrimination import (
    Curve,
    Discrimination,
    measure_discrimination,
)
from pneumoscope.evaluation.figure_style import GREY, line_styles, new_panel, styled
from pneumoscope.evaluation.figures import marker_handles, model_handles, plot_roc
from pneumoscope.evaluation.intervals import Interval, wilson_interval
from pneumoscope.evaluation.operating_point import Summary
from pneumoscope.evaluation.report.document import Block, Figure, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.numbers import fraction, span, with_interval
from pneumoscope.evaluation.results import ModelResult, reference_results

_MAX_BANDS = 3
"""Bands of more models than this hide each other."""


def discrimination_section(results: Sequence[ModelResult]) -> Section | None:
    """Returns AUROC, average precision and both curves on the test films, each with intervals.

    ``None`` where the test films are of one class.

    Args:
        results: models under distinct names, tested on one set.
    """
    measured = []
    for result in results:
        films = result.films("test")
        found = measure_discrimination(films.y_true, films.p_pneumonia, films.patient_id)
        if found is None:
            return None
        measured.append(found)
    blocks: list[Block] = [
        Text(
            "AUROC is the share of pairs of one PNEUMONIA and one NORMAL film in which the "
            "PNEUMONIA film scores higher: 0.5 is chance, 1 is perfect. It says how well the "
            "scores could be cut, not how well they were: the threshold decides that. Average "
            "precision is the mean precision over all recalls; it depends on how common "
            "PNEUMONIA is, and scores without any knowledge reach "
            f"{fraction(float(results[0].films('test').y_true.mean()))} here."
        ),
        _table(results, measured),
        Text(
            "DeLong's interval takes films as independent. The two others do not: films of one "
            "patient resemble each other, and these intervals are the ones to quote. The "
            f"bootstrap draws whole patients {NUM_RESAMPLES:,} times with a fixed seed, not "
            "stratified by class, since the number of sick patients is chance too."
        ),
    ]
    if any(found.auroc == 1 or _is_point(found.bootstrap) for found in measured):
        blocks.append(
            Text(
                "Where scores separate the films perfectly, or are all the same, DeLong's method "
                "gives no interval or a point, and so does the bootstrap. Neither means certainty.",
                level="warning",
            )
        )
    clustered = [_clustered(result) for result in results]
    blocks += [
        *_figures(results, measured),
        _threshold_table(results, clustered),
        Text(
            "Where the two columns differ, repeated films of a patient matter. Near 1 the "
            "bootstrap is too narrow, and at 1 a point; Wilson's is not. Quote the wider one.",
            level="note",
        ),
    ]
    data = {
        result.name: _data(found) | {"by_patient_at_threshold": intervals}
        for result, found, intervals in zip(results, measured, clustered, strict=True)
    }
    return Section(
        "discrimination", "How well do the scores tell the classes apart?", tuple(blocks), data
    )


def _is_point(interval: Interval) -> bool:
    return interval is not None and interval[0] == interval[1]


def _table(results: Sequence[ModelResult], measured: Sequence[Discrimination]) -> Table:
    films = results[0].films("test")
    rows = tuple(
        (
            verbatim(result.name),
            fraction(found.auroc),
            span(found.delong),
            span(found.delong_by_patient),
            span(found.bootstrap),
            with_interval(found.average_precision, found.average_precision_interval),
        )
        for result, found in zip(results, measured, strict=True)
    )
    return Table(
        f"AUROC and average precision with 95 % intervals, test set: {len(films):,} films of "
        f"{len(np.unique(films.patient_id)):,} patients.",
        (
            "Model",
            "AUROC",
            "DeLong, films",
            "DeLong, patients",
            "Bootstrap, patients",
            "Average precision (bootstrap, patients)",
        ),
        rows,
    )


def _clustered(result: ModelResult) -> dict[str, Interval]:
    """Returns intervals of recall and specificity at the threshold, by resampling patients."""
    films = result.films("test")
    right = (films.p_pneumonia >= result.threshold) == (films.y_true == 1)
    return {
        name: mean_interval(right[films.y_true == label], films.patient_id[films.y_true == label])
        for name, label in (("recall", 1), ("specificity", 0))
    }


def _threshold_table(
    results: Sequence[ModelResult], clustered: Sequence[dict[str, Interval]]
) -> Table:
    rows = []
    for result, intervals in zip(results, clustered, strict=True):
        at = result.summaries("test")[1]
        rows.append(
            (
                verbatim(result.name),
                fraction(at["recall"]),
                span(wilson_interval(at["tp"], at["tp"] + at["fn"])),
                span(intervals["recall"]),
                fraction(at["specificity"]),
                span(wilson_interval(at["tn"], at["tn"] + at["fp"])),
                span(intervals["specificity"]),
            )
        )
    return Table(
        "What repeated films of a patient do to the 95 % intervals of recall and specificity at "
        "the frozen threshold, test set.",
        (
            "Model",
            "Recall",
            "Wilson, films",
            "Bootstrap, patients",
            "Specificity",
            "Wilson, films ",
            "Bootstrap, patients ",
        ),
        tuple(rows),
    )


def _figures(results: Sequence[ModelResult], measured: Sequence[Discrimination]) -> list[Figure]:
    has_bands = len(results) <= _MAX_BANDS
    bands = (
        " Bands are pointwise 95 % intervals by resampling patients; a whole curve leaves its "
        "band somewhere more often than that."
        if has_bands
        else ""
    )
    aurocs = ", ".join(f"{r.name} {m.auroc:.3f}" for r, m in zip(results, measured, strict=True))
    precisions = ", ".join(
        f"{r.name} {m.average_precision:.3f}" for r, m in zip(results, measured, strict=True)
    )
    points = ", ".join(
        f"{result.name} recall {at['recall']:.3f}, specificity {at['specificity']:.3f}"
        for result in results
        for at in result.summaries("test")[1:]
    )
    return [
        Figure(
            "roc",
            "ROC curve on the test set: recall bought with false alarms, as the threshold "
            f"falls.{bands}",
            f"ROC curves on the test set; AUROC: {aurocs}.",
            _draw_roc(results, measured, enlarged=False),
        ),
        Figure(
            "roc-enlarged",
            "The same, enlarged where the operating points lie. A diamond far from where one "
            "would put it is a threshold that moved between validation and test.",
            f"ROC curves enlarged at the operating points: {points}.",
            _draw_roc(results, measured, enlarged=True),
        ),
        Figure(
            "precision-recall",
            "Precision over recall on the test set. Precision holds for this share of PNEUMONIA "
            f"(dotted line: calling every film) and falls where it is rarer.{bands}",
            f"Precision over recall on the test set; average precision: {precisions}.",
            _draw_precision_recall(results, measured),
        ),
    ]


@styled
def _draw_roc(
    results: Sequence[ModelResult], measured: Sequence[Discrimination], *, enlarged: bool
) -> Drawing:
    figure = new_panel(results)
    axes = figure.subplots()
    _fill_bands(axes, results, [found.roc for found in measured])
    plot_roc(axes, results)
    axes.set(xlabel="False positive rate (1 - specificity)", ylabel="Recall", xlim=(-0.01, 1.01))
    axes.set_ylim(-0.01, 1.01)
    if enlarged:
        summaries = [summary for result in results for summary in result.summaries("test")]
        rates = [at["fp"] / (at["fp"] + at["tn"]) for at in summaries]
        recalls = [_recall(at) for at in summaries]
        axes.set_xlim(-0.005, min(1.01, max(0.2, 1.25 * max(rates))))
        axes.set_ylim(min(0.9, math.floor(20 * (min(recalls) - 0.02)) / 20), 1.004)
    else:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    _add_legend(axes, results)
    return figure


@styled
def _draw_precision_recall(
    results: Sequence[ModelResult], measured: Sequence[Discrimination]
) -> Drawing:
    figure = new_panel(results)
    axes = figure.subplots()
    _fill_bands(axes, results, [found.precision_recall for found in measured])
    for result, line in zip(results, line_styles(results), strict=True):
        films = result.films("test")
        precision, recall, _ = precision_recall_curve(films.y_true, films.p_pneumonia)
        # The last point, precision 1 at recall 0, is a convention and no threshold's.
        axes.plot(recall[:-1], precision[:-1], drawstyle="steps-post", **line)
        for marker, at in zip("oD", result.summaries("test"), strict=True):
            style = {"color": line["color"], "markeredgecolor": "white", "markersize": 8}
            axes.plot(*_point(at), marker=marker, zorder=3, **style)
    for reference in reference_results(results):
        for at in reference.summaries:
            axes.plot(*_point(at), marker="x", color=GREY)
    prevalence = float(results[0].films("test").y_true.mean())
    axes.axhline(prevalence, color=GREY, linewidth=0.8, linestyle=":")
    axes.set(
        xlabel="Recall",
        ylabel="Precision",
        xlim=(-0.01, 1.01),
        ylim=(max(0.0, prevalence - 0.05), 1.01),
    )
    _add_legend(axes, results)
    return figure


def _fill_bands(axes: Axes, results: Sequence[ModelResult], curves: Sequence[Curve]) -> None:
    if len(curves) > _MAX_BANDS:
        return
    for curve, line in zip(curves, line_styles(results), strict=True):
        if curve.band:
            axes.fill_between(curve.x, *curve.band, color=line["color"], alpha=0.18, linewidth=0)


def _add_legend(axes: Axes, results: Sequence[ModelResult]) -> None:
    handles = model_handles(results, [result.name for result in results])
    axes.legend(handles=[*handles, *marker_handles(results)], loc="lower right")


def _point(summary: Summary) -> tuple[float, float]:
    """Returns recall and precision; NaN, which is not drawn, where nothing is called."""
    precision = summary["precision"]
    return _recall(summary), math.nan if precision is None else precision


def _recall(summary: Summary) -> float:
    return summary["tp"] / (summary["tp"] + summary["fn"])


def _data(found: Discrimination) -> dict[str, Any]:
    """Returns the measured numbers as JSON values."""
    plain = asdict(found)
    for name in ("roc", "precision_recall"):
        curve = plain[name]
        low, high = curve.pop("band") or (None, None)
        curve |= {"low": low, "high": high}
        plain[name] = {
            key: None if values is None else values.tolist() for key, values in curve.items()
        }
    return plain
