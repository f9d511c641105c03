"""How figures look, and how they become bytes: the same input gives the same bytes.

No figure touches pyplot's global state. Colours are Okabe and Ito's, which colour-blind readers
tell apart; blue and vermilion always mean the classes, the others the models. Where phantoms
are in play every title says PHANTOM.
"""

import io
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from pneumoscope.evaluation.results import ModelResult
from pneumoscope.labels import DISCLAIMER

DPI = 150
PANEL_IN = (4.6, 3.8)
CLASS_COLOURS = ("#0072B2", "#D55E00")
MODEL_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#000000", "#56B4E9")
LINE_STYLES = ("-", "--", ":", "-.")
GREY = "#666666"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "text.parse_math": False,  # a $ in a model's name is a $
}
P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Returns ``draw`` working in this style, whatever the user's matplotlibrc says."""

    @wraps(draw)
    def draw_styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.style.context(["default", STYLE]):
            return draw(*args, **kwargs)

    return draw_styled


@styled
def to_png(figure: Figure) -> bytes:
    """Returns the figure as PNG, 150 dots per inch."""
    stream = io.BytesIO()
    # Without the name of the software, which holds its version, the bytes depend on nothing else.
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


@styled
def to_svg(figure: Figure) -> bytes:
    """Returns the figure as SVG, its text as outlines so that no font is needed to show it."""
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "pneumoscope", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def new_figure(title: str, results: Sequence[ModelResult], size_in: tuple[float, float]) -> Figure:
    """Returns an empty figure with title and disclaimer; ``size_in`` is (width, height), inches."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.07, wspace=0.03)
    figure = Figure(figsize=size_in, layout=layout)
    phantom = "PHANTOM: " if any(result.phantom for result in results) else ""
    figure.suptitle(f"{phantom}{title}", fontsize=11, fontweight="bold")
    figure.supxlabel(DISCLAIMER, fontsize=7, color=GREY)
    return figure


def new_panel(results: Sequence[ModelResult], size_in: tuple[float, float] = PANEL_IN) -> Figure:
    """Returns an empty figure for one panel of a report, readable at the width of a telephone.

    The report gives title, caption and disclaimer; the picture itself says where it is phantom.

    Args:
        results: the models in it.
        size_in: (width, height) in inches; 4.6 inches wide, text of 9 points stays legible when
            the picture is shown 390 pixels wide.
    """
    figure = Figure(figsize=size_in, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    if any(result.phantom for result in results):
        figure.suptitle("PHANTOM", fontsize=9, color=GREY)
    return figure


def legend_label(name: str) -> str:
    """Returns a model's name for a legend; matplotlib leaves out what begins with ``_``."""
    return f" {name}" if name.startswith("_") else name


def line_styles(results: Sequence[ModelResult]) -> list[dict[str, Any]]:
    """Returns the models' lines, the same in every figure: colour by recipe, dashes by seed."""
    recipes = list(dict.fromkeys(result.recipe for result in results))
    styles = []
    for index, result in enumerate(results):
        round_of_colours, colour = divmod(recipes.index(result.recipe), len(MODEL_COLOURS))
        run = sum(other.recipe == result.recipe for other in results[:index])
        dashes = LINE_STYLES[(round_of_colours + run) % len(LINE_STYLES)]
        styles.append({"color": MODEL_COLOURS[colour], "linestyle": dashes})
    return styles
