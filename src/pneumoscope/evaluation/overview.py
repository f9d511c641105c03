"""The one picture of a comparison: its table, the ROC curves and the scores."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pneumoscope.evaluation.figure_style import GREY, new_figure, styled
from pneumoscope.evaluation.figures import (
    marker_handles,
    model_handles,
    plot_roc,
    plot_scores,
    zoom_roc,
)
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.evaluation.tables import Table, headline_table

MAX_SCORE_PANELS = 4
ROW_HEIGHT_IN = 0.24


@styled
def draw_overview(results: Sequence[ModelResult]) -> Figure:
    """Returns the picture: the test table above, ROC at the operating points and scores below.

    Score panels are drawn for the first run of each of up to four recipes; ``draw_scores`` has
    them all.
    """
    table = headline_table(results, "test")
    recipes = [result.recipe for result in results]
    first_runs = [r for index, r in enumerate(results) if recipes.index(r.recipe) == index]
    shown = first_runs[:MAX_SCORE_PANELS]
    table_in = ROW_HEIGHT_IN * (2 * len(table.sections) + 2)
    panels_in = max(4.8, 2.3 * len(shown))
    figure = new_figure(
        "Pneumoscope, recall-first comparison", results, (12.0, table_in + panels_in + 0.8)
    )
    heights = [table_in, panels_in]
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights).ravel()
    left, right = below.subfigures(1, 2)
    _draw_table(above.subplots(), table)
    roc = left.subplots()
    plot_roc(roc, results)
    zoom_roc(roc, results)
    handles = model_handles(results, [result.name for result in results])
    handles += marker_handles(results)
    roc.legend(handles=handles, loc="lower right")
    roc.set_title("ROC, enlarged at the operating points", loc="left")
    panels = right.subplots(len(shown), 1, squeeze=False).ravel()
    for axes, result in zip(panels, shown, strict=True):
        plot_scores(axes, result)
    return figure


def _draw_table(axes: Axes, table: Table) -> None:
    """Draws the table as text, a rule above each section, recall-first rows in bold."""
    rows = [table.columns, *(row for section in table.sections for row in section.short_rows)]
    widths = np.array([max(map(len, column)) for column in zip(*rows, strict=True)]) + 2
    right_edges = np.cumsum(widths)
    axes.set(xlim=(0, right_edges[-1]), ylim=(len(rows) - 0.4, -0.6))
    axes.set_axis_off()
    axes.set_title(table.title, loc="left")
    for y, row in enumerate(rows):
        for index, cell in enumerate(row):
            axes.text(
                right_edges[index] if index else 0,
                y,
                cell,
                ha="right" if index else "left",
                va="center",
                fontsize=8,
                color=GREY if y == 0 else "black",
                fontweight="bold" if y and y % 2 == 0 else "normal",
            )
        if y % 2 == 1:
            axes.axhline(y - 0.5, color="#BBBBBB", linewidth=0.6)
