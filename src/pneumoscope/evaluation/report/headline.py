"""The report's first two sections: what was found, in sentences, and the table behind them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from pneumoscope.evaluation import tables
from pneumoscope.evaluation.figure_style import legend_label, line_styles, new_panel, styled
from pneumoscope.evaluation.figures import plot_scores
from pneumoscope.evaluation.metrics import SetMetrics
from pneumoscope.evaluation.report.document import (
    Block,
    Figure,
    Section,
    Table,
    Text,
    plain,
    verbatim,
)
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.evaluation.tables import format_threshold, headline_table, interval_table

_CURVES = (
    ("train_loss", "Training loss (nats)"),
    ("val_loss", "Validation loss (nats)"),
    ("val_auroc", "Validation AUROC"),
)


def summary_section(results: Sequence[ModelResult]) -> Section:
    """Returns what each model does at its frozen threshold, in words and counts."""
    films = results[0].films("test")
    num_patients = len(np.unique(films.patient_id))
    whose = " (not the model's own test films)" if results[0].external else ""
    blocks: list[Block] = [
        Text(
            f"Tested on {len(films):,} films of {num_patients:,} patients{whose}: "
            f"{int(films.y_true.sum()):,} PNEUMONIA, {int((films.y_true == 0).sum()):,} NORMAL. "
            "Each model calls a film PNEUMONIA where its score reaches a threshold that was "
            "chosen on validation films alone, recall first."
        )
    ]
    for result in results:
        at = result.summaries("test")[1]
        if result.num_seen:
            blocks.append(
                Text(
                    f"{verbatim(result.name)} **was trained or tuned on {result.num_seen:,} of "
                    "these films**, by name or content. Nothing below says how it does on new "
                    "ones.",
                    level="warning",
                )
            )
        blocks.append(
            Text(
                f"{verbatim(result.name)} finds **{at['tp']} of {at['tp'] + at['fn']}** films with "
                f"pneumonia and misses {at['fn']}; it clears **{at['tn']} of "
                f"{at['tn'] + at['fp']}** normal films and raises {at['fp']} false alarms."
            )
        )
    share = float(films.y_true.mean())
    blocks.append(
        Text(
            "Read recall and specificity together: any program reaches recall 1 by calling every "
            f"film. {share:.0%} of these films are PNEUMONIA; how many alarms would be right where "
            "it is rarer or more common, the section on the operating point says.",
            level="note",
        )
    )
    return Section("summary", "In short", tuple(blocks))


def headline_section(
    results: Sequence[ModelResult], metrics: Sequence[dict[str, SetMetrics]]
) -> Section:
    """Returns the headline figures at both thresholds, with counts, scores and training curves.

    Args:
        results: models under distinct names, tested on one set.
        metrics: what ``bundle_metrics`` says of each.
    """
    blocks: list[Block] = [
        _table(headline_table(results, "test")),
        _table(interval_table(results, [of_model["test"] for of_model in metrics])),
        _table(headline_table(results, "val")),
        *(_scores(index, result) for index, result in enumerate(results, start=1)),
    ]
    if any(len(result.history.epoch) for result in results):
        blocks += [_curve(results, name, label) for name, label in _CURVES]
    data = {
        result.name: {
            "model_id": result.model_id,
            "threshold": result.threshold,
            "min_recall": result.min_recall,
            "metrics": of_model,
        }
        for result, of_model in zip(results, metrics, strict=True)
    }
    return Section("results", "Results at both thresholds", tuple(blocks), data)


def _table(table: tables.Table) -> Table:
    rows = tuple(
        (plain(name), *cells) for section in table.sections for name, *cells in section.full_rows
    )
    return Table(plain(table.title), table.columns, rows)


def _scores(index: int, result: ModelResult) -> Figure:
    at = result.summaries("test")[1]
    return Figure(
        f"scores-{index}",
        f"Test scores of {verbatim(result.name)} by class. Right of a line a film is called. The "
        "wider the hills stand apart, the less the threshold matters.",
        f"Histograms of the scores of {result.name}: at the threshold "
        f"{format_threshold(result.threshold)}, {at['fn']} PNEUMONIA films lie below and "
        f"{at['fp']} NORMAL films above.",
        _draw_scores(result),
    )


@styled
def _draw_scores(result: ModelResult) -> Drawing:
    figure = new_panel([result])
    axes = figure.subplots()
    plot_scores(axes, result)
    axes.set_title("")
    return figure


def _curve(results: Sequence[ModelResult], name: str, label: str) -> Figure:
    recorded = [result for result in results if len(result.history.epoch)]
    ends = ", ".join(
        f"{r.name} {getattr(r.history, name)[np.isfinite(getattr(r.history, name))][-1]:.4f}"
        for r in recorded
        if np.isfinite(getattr(r.history, name)).any()
    )
    return Figure(
        name.replace("_", "-"),
        f"{label} by epoch.",
        f"{label} by epoch; at the end: {ends or 'not recorded'}.",
        _draw_curve(results, name, label),
    )


@styled
def _draw_curve(results: Sequence[ModelResult], name: str, label: str) -> Drawing:
    figure = new_panel(results)
    axes = figure.subplots()
    for result, line in zip(results, line_styles(results), strict=True):
        values = getattr(result.history, name)
        axes.plot(result.history.epoch, values, marker=".", label=legend_label(result.name), **line)
    axes.set(xlabel="Epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.legend()
    return figure
