"""The figures of a comparison, drawn from scores alone: ROC, precision, confusion, scores, curves.

``draw_*`` returns a whole figure, ``plot_*`` draws one panel.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from scipy.special import logit
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from pneumoscope.evaluation.figure_style import (
    CLASS_COLOURS,
    GREY,
    legend_label,
    line_styles,
    new_figure,
    styled,
)
from pneumoscope.evaluation.operating_point import Summary
from pneumoscope.evaluation.results import ModelResult, reference_results
from pneumoscope.evaluation.tables import format_threshold
from pneumoscope.labels import CLASS_NAMES, Label

_MARKERS = [("o", "at 0.5"), ("D", "recall-first")]


@styled
def draw_roc(results: Sequence[ModelResult]) -> Figure:
    """Returns the ROC curves on the test set, whole and enlarged, with both operating points."""
    figure = new_figure("Receiver operating characteristic, test set", results, (10.5, 5.4))
    whole, enlarged = figure.subplots(1, 2)
    plot_roc(whole, results)
    plot_roc(enlarged, results)
    whole.set(title="Whole", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    whole.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    whole.text(0.1, 0.06, "chance", color=GREY)
    enlarged.set_title("Enlarged at the operating points")
    zoom_roc(enlarged, results)
    _name_references(enlarged, results, _roc_point)
    aurocs = [
        float(roc_auc_score(films.y_true, films.p_pneumonia))
        for films in (result.films("test") for result in results)
    ]
    _add_legends(whole, enlarged, results, "AUROC", aurocs)
    return figure


@styled
def draw_precision_recall(results: Sequence[ModelResult]) -> Figure:
    """Returns precision over recall on the test set, whole and enlarged, with both points."""
    figure = new_figure("Precision and recall, test set", results, (10.5, 5.4))
    whole, enlarged = figure.subplots(1, 2)
    average_precisions = []
    for result, line in zip(results, line_styles(results), strict=True):
        y, p = result.films("test").y_true, result.films("test").p_pneumonia
        precision, recall, _ = precision_recall_curve(y, p)
        average_precisions.append(float(average_precision_score(y, p)))
        for axes in (whole, enlarged):
            # The last point, precision 1 at recall 0, is a convention and no threshold's.
            axes.plot(recall[:-1], precision[:-1], drawstyle="steps-post", **line)
    for axes in (whole, enlarged):
        _mark_points(axes, results, _precision_recall_point)
        axes.set(
            xlabel="Recall (share of PNEUMONIA films found)",
            ylabel="Precision (share of PNEUMONIA calls that are right)",
        )
    prevalence = float(results[0].films("test").y_true.mean())
    whole.axhline(prevalence, color=GREY, linewidth=0.8, linestyle=":")
    whole.text(0.02, prevalence - 0.01, "calling every film", color=GREY, va="top")
    whole.set(title="Whole", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    points = np.array([_precision_recall_point(summary) for summary in _marked(results)])
    lowest_recall, lowest_precision = np.nan_to_num(points).min(axis=0).tolist()
    enlarged.set(
        title="Enlarged at the operating points",
        xlim=_limits_above(lowest_recall),
        ylim=_limits_above(lowest_precision),
    )
    _name_references(enlarged, results, _precision_recall_point)
    _add_legends(whole, enlarged, results, "Average precision", average_precisions)
    return figure


@styled
def draw_confusion(results: Sequence[ModelResult]) -> Figure:
    """Returns the confusion matrices on the test set, two a model: at 0.5 and recall-first."""
    num_columns = 2 if len(results) == 1 else 4
    num_rows = -(-2 * len(results) // num_columns)
    size_in = (2.7 * num_columns, 2.7 * num_rows + 0.8)
    figure = new_figure("Confusion matrices, test set (films)", results, size_in)
    panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for index, result in enumerate(results):
        for offset, summary in enumerate(result.summaries("test")):
            axes = panels[2 * index + offset]
            axes.set_axis_on()
            _plot_confusion(axes, summary)
            kind = "recall-first" if offset else "at 0.5"
            thr = f" ({format_threshold(summary['thr'])})" if offset else ""
            axes.set_title(f"{result.name}\n{kind}{thr}")
    return figure


@styled
def draw_scores(results: Sequence[ModelResult]) -> Figure:
    """Returns the test scores by class, a panel a model, with both thresholds marked."""
    size_in = (8.0, 2.4 * len(results) + 0.8)
    figure = new_figure("Scores by class, test set", results, size_in)
    for axes, result in zip(
        figure.subplots(len(results), 1, squeeze=False).ravel(), results, strict=True
    ):
        plot_scores(axes, result)
    return figure


@styled
def draw_training_curves(results: Sequence[ModelResult]) -> Figure:
    """Returns training loss, validation loss and validation AUROC by epoch, its highest marked."""
    figure = new_figure("Training", results, (11.0, 3.9))
    panels = figure.subplots(1, 3)
    for result, line in zip(results, line_styles(results), strict=True):
        history = result.history
        curves = (history.train_loss, history.val_loss, history.val_auroc)
        label = result.name if len(history.epoch) else f"{result.name} (not recorded)"
        for axes, values in zip(panels, curves, strict=True):
            axes.plot(history.epoch, values, marker=".", markersize=4, label=label, **line)
        if np.isfinite(history.val_auroc).any():
            best = int(np.nanargmax(history.val_auroc))
            point = (history.epoch[best], history.val_auroc[best])
            panels[2].plot(*point, marker="o", markersize=7, color=line["color"])
    titles = ("Training loss (nats)", "Validation loss (nats)", "Validation AUROC (highest marked)")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(xlabel="Epoch", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    panels[0].legend(loc="upper right")
    return figure


def plot_roc(axes: Axes, results: Sequence[ModelResult]) -> None:
    """Draws the test ROC curves with both operating points, and the reference study's points."""
    for result, line in zip(results, line_styles(results), strict=True):
        films = result.films("test")
        false_positive_rate, recall, _ = roc_curve(films.y_true, films.p_pneumonia)
        axes.plot(false_positive_rate, recall, **line)
    _mark_points(axes, results, _roc_point)
    axes.set(
        xlabel="False positive rate = 1 - specificity (share of NORMAL films called)",
        ylabel="Recall (share of PNEUMONIA films found)",
    )


def zoom_roc(axes: Axes, results: Sequence[ModelResult]) -> None:
    """Sets the limits so that all operating points are seen, and little else."""
    rates, recalls = zip(*map(_roc_point, _marked(results)), strict=True)
    axes.set_xlim(-0.005, min(1.01, max(0.2, 1.2 * max(rates))))
    axes.set_ylim(_limits_above(min(recalls)))


def plot_scores(axes: Axes, result: ModelResult) -> None:
    """Draws histograms of the test log-odds by class, with both thresholds.

    Log-odds, because probabilities of a sure network all lie at 0 and 1; they are marked above.
    """
    films = result.films("test")
    log_odds = films.logits[:, 1] - films.logits[:, 0]
    # A threshold of exactly 0 or 1 lies at infinity: it is drawn at the edge.
    low, high = min(log_odds.min(), -1.0), max(log_odds.max(), 1.0)
    at = float(np.clip(logit(result.threshold), low, high))
    bins = np.linspace(low, high, 61).tolist()
    tallest = 0
    for label, colour in zip(Label, CLASS_COLOURS, strict=True):
        values = log_odds[films.y_true == label]
        counts, _, _ = axes.hist(
            values, bins=bins, color=colour, alpha=0.55, edgecolor=colour, histtype="stepfilled"
        )
        tallest = max(tallest, int(np.max(counts)))
        axes.text(
            float(label),
            0.82,
            f" {label.name}, {len(values)} films ",
            color=colour,
            fontweight="bold",
            ha="right" if label else "left",
            transform=axes.transAxes,
            zorder=2.2,  # above a threshold's line, which then stops at the words; below the frame
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.set(xlim=(low, high), ylim=(0, 1.35 * tallest), ylabel="Films in a bin")
    axes.set_xlabel("Log-odds of PNEUMONIA (difference of the logits)")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    for position, text, style, left in (
        (0.0, "0.5", ":", at >= 0),
        (at, f"recall-first {format_threshold(result.threshold)}", "-", at < 0),
    ):
        axes.axvline(position, color="black", linewidth=1, linestyle=style)
        axes.text(
            position,
            0.95,
            f" {text} ",
            ha="right" if left else "left",
            va="center",
            fontsize=8,
            transform=axes.get_xaxis_transform(),
        )
    probability = axes.twiny()
    probability.set_xlim(low, high)
    ticks = _probability_ticks(low, high)
    probability.set_xticks([position for position, _ in ticks], [text for _, text in ticks])
    probability.tick_params(labelsize=7, colors=GREY, length=2)
    probability.spines["top"].set_visible(True)
    axes.set_title(result.name, loc="left", fontweight="bold")
    axes.set_title("above: probability of PNEUMONIA", loc="right", fontsize=7, color=GREY)


def model_handles(results: Sequence[ModelResult], labels: Sequence[str]) -> list[Line2D]:
    """Returns the legend entries of the models' lines, in their order."""
    lines = zip(line_styles(results), labels, strict=True)
    return [Line2D([], [], **line, label=legend_label(label)) for line, label in lines]


def marker_handles(results: Sequence[ModelResult]) -> list[Line2D]:
    """Returns the legend entries of the operating points and, where shown, the references."""
    markers = [*_MARKERS, ("x", "reference study")] if reference_results(results) else _MARKERS
    return [
        Line2D([], [], linestyle="", marker=marker, color=GREY, label=label)
        for marker, label in markers
    ]


def _add_legends(
    whole: Axes,
    enlarged: Axes,
    results: Sequence[ModelResult],
    statistic: str,
    values: Sequence[float],
) -> None:
    labels = [f"{result.name}: {v:.4f}" for result, v in zip(results, values, strict=True)]
    handles = model_handles(results, labels)
    whole.legend(handles=handles, loc="lower right", title=statistic, alignment="left")
    enlarged.legend(handles=marker_handles(results), loc="best")


def _plot_confusion(axes: Axes, summary: Summary) -> None:
    counts = np.array([[summary["tn"], summary["fp"]], [summary["fn"], summary["tp"]]])
    shares = counts / counts.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25)
    words = (("cleared", "false alarms"), ("missed", "found"))
    for row in range(2):
        for column in range(2):
            count, share = counts[row, column], shares[row, column]
            axes.text(
                column,
                row,
                f"{count}\n{words[row][column]}\n{share:.1%}",
                ha="center",
                va="center",
                color="white" if share > 0.6 else "black",
            )
    axes.set_xticks([0, 1], CLASS_NAMES)
    axes.set_yticks([0, 1], CLASS_NAMES, rotation=90, va="center")
    axes.set(xlabel="Called", ylabel="Reference label")
    axes.tick_params(length=0, labelsize=7)
    axes.spines[:].set_visible(False)


def _mark_points(
    axes: Axes, results: Sequence[ModelResult], place: Callable[[Summary], tuple[float, float]]
) -> None:
    for reference in reference_results(results):
        for summary in reference.summaries:
            axes.plot(*place(summary), marker="x", color=GREY, markersize=6)
    for result, line in zip(results, line_styles(results), strict=True):
        for (marker, _), summary in zip(_MARKERS, result.summaries("test"), strict=True):
            style = {
                "color": line["color"],
                "markeredgecolor": "white",
                "markersize": 8,
            }
            axes.plot(*place(summary), marker=marker, zorder=3, clip_on=False, **style)


def _name_references(
    axes: Axes, results: Sequence[ModelResult], place: Callable[[Summary], tuple[float, float]]
) -> None:
    for reference in reference_results(results):
        for summary in reference.summaries:
            axes.annotate(
                f"{reference.name.removeprefix('Reference ')}\nat {summary['thr']:g}",
                place(summary),
                xytext=(0, -6),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=6.5,
                color=GREY,
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )


def _marked(results: Sequence[ModelResult]) -> list[Summary]:
    of_models = [result.summaries("test") for result in results]
    of_references = [reference.summaries for reference in reference_results(results)]
    return [summary for both in of_models + of_references for summary in both]


def _roc_point(summary: Summary) -> tuple[float, float]:
    return summary["fp"] / (summary["fp"] + summary["tn"]), _recall(summary)


def _precision_recall_point(summary: Summary) -> tuple[float, float]:
    precision = summary["precision"]
    # Where nothing is called there is no precision, and nothing is drawn at NaN.
    return _recall(summary), math.nan if precision is None else precision


def _recall(summary: Summary) -> float:
    return summary["tp"] / (summary["tp"] + summary["fn"])


def _limits_above(lowest: float) -> tuple[float, float]:
    """Returns limits from a round number somewhat below ``lowest`` to just above 1."""
    return min(0.9, math.floor(20 * (lowest - 0.01)) / 20), 1.004


def _probability_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Returns log-odds and text of round probabilities, spaced to be readable."""
    decades = (high - low) / math.log(10)
    step = max(1, math.ceil(decades / 8))
    ticks = [(0.0, "0.5")]
    for exponent in range(step, 16, step):
        position = math.log(10.0**exponent - 1)
        tail = f"{10.0**-exponent:g}"
        above = f"1 - {tail}" if exponent > 3 else f"{1 - 10.0**-exponent:g}"
        ticks += [(-position, tail), (position, above)]
    return [(position, text) for position, text in ticks if low <= position <= high]
