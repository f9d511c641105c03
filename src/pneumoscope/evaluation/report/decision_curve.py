"""The section on whether acting on the model is better than treating everyone, or no one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from pneumoscope.evaluation.decision_curve import DecisionCurve, measure_decision_curve
from pneumoscope.evaluation.figure_style import GREY, legend_label, line_styles, new_panel, styled
from pneumoscope.evaluation.report.document import Block, Figure, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.numbers import MISSING
from pneumoscope.evaluation.results import ModelResult

RARE = 0.1
"""A prevalence to compare by: that of the public test set is far above a clinic's."""

_SHOWN = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_MAX_BANDS = 3


def decision_curve_section(results: Sequence[ModelResult]) -> Section | None:
    """Returns net benefit against treat-all and treat-none; ``None`` for films of one class.

    Args:
        results: models under distinct names, tested on one set.
    """
    films = results[0].films("test")
    own = float(films.y_true.mean())
    curves = {
        prevalence: [_measure(result, prevalence) for result in results]
        for prevalence in (own, RARE)
    }
    if any(curve is None for of_models in curves.values() for curve in of_models):
        return None
    found = {key: [c for c in of_models if c] for key, of_models in curves.items()}
    blocks: list[Block] = [
        Text(
            "Net benefit counts children found, less false alarms weighed by how willing one is to "
            "act: who would treat at a probability of 10 % accepts nine false alarms for one child "
            "found. A line above both treating everyone and treating no one is worth following at "
            "that willingness. The frozen decision is one rule at every willingness; the scores "
            "themselves could be cut anew at each, if they were calibrated, and are shown so for "
            "these films' own share of PNEUMONIA only."
        ),
        *(Text(_conclusion(r, c)) for r, c in zip(results, found[own], strict=True)),
        *_figures(results, found[own], own, "net-benefit", "as in these films"),
        *_figures(results, found[RARE], RARE, "net-benefit-rare", "for comparison"),
        _table(results, found[own], own),
        _table(results, found[RARE], RARE),
    ]
    data = {
        result.name: {
            name: {"prevalence": prevalence, **_data(found[prevalence][index])}
            for name, prevalence in (("own", own), ("rare", RARE))
        }
        for index, result in enumerate(results)
    }
    return Section("decision-curve", "Is it better than treating all?", tuple(blocks), data)


def _measure(result: ModelResult, prevalence: float) -> DecisionCurve | None:
    films = result.films("test")
    share = float(films.y_true.mean())
    return measure_decision_curve(
        films.y_true,
        films.p_pneumonia,
        films.patient_id,
        result.threshold,
        prevalence=None if prevalence == share else prevalence,
    )


def _conclusion(result: ModelResult, curve: DecisionCurve) -> str:
    useful = curve.useful_range()
    if useful is None:
        return (
            f"{verbatim(result.name)}: there is no willingness to act at which the frozen decision "
            "is better than both treating everyone and treating no one."
        )
    return (
        f"{verbatim(result.name)}: at the test set's share of PNEUMONIA the frozen decision is "
        f"better than treating everyone or no one for all who would act at a probability between "
        f"**{useful[0]:.2f} and {useful[1]:.2f}**."
    )


def _figures(
    results: Sequence[ModelResult],
    curves: Sequence[DecisionCurve],
    prevalence: float,
    name: str,
    where: str,
) -> list[Figure]:
    ranges = ", ".join(
        f"{result.name} {useful[0]:.2f} to {useful[1]:.2f}" if useful else f"{result.name} nowhere"
        for result, useful in zip(results, (c.useful_range() for c in curves), strict=True)
    )
    band = " Bands are pointwise 95 % intervals by resampling patients." * (
        len(results) <= _MAX_BANDS
    )
    return [
        Figure(
            name,
            f"Net benefit of the frozen decision where {prevalence:.1%} have PNEUMONIA "
            f"({where}).{band}",
            f"Net benefit where {prevalence:.1%} have PNEUMONIA; better than treating everyone or "
            f"no one at threshold probabilities: {ranges}.",
            _draw(results, curves),
        )
    ]


@styled
def _draw(results: Sequence[ModelResult], curves: Sequence[DecisionCurve]) -> Drawing:
    figure = new_panel(results)
    axes = figure.subplots()
    for result, curve, line in zip(results, curves, line_styles(results), strict=True):
        if curve.rule_band and len(curves) <= _MAX_BANDS:
            axes.fill_between(
                curve.threshold_probability,
                *curve.rule_band,
                color=line["color"],
                alpha=0.18,
                linewidth=0,
            )
        axes.plot(curve.threshold_probability, curve.rule, label=legend_label(result.name), **line)
    all_treated = curves[0].treat_all
    axes.plot(
        curves[0].threshold_probability, all_treated, color=GREY, linestyle="--", label="treat all"
    )
    axes.axhline(0, color=GREY, linewidth=1, linestyle=":", label="treat no one")
    top = max(float(all_treated.max()), *(float(curve.rule.max()) for curve in curves))
    axes.set(
        xlabel="Threshold probability",
        ylabel="Net benefit",
        xlim=(0, 1),
        ylim=(-0.25 * top, 1.1 * top),
    )
    axes.legend(loc="lower left")
    return figure


def _table(
    results: Sequence[ModelResult], curves: Sequence[DecisionCurve], prevalence: float
) -> Table:
    rows: list[tuple[str, ...]] = []
    for result, curve in zip(results, curves, strict=True):
        name = verbatim(result.name)
        rows.append((f"{name}, frozen decision", *_cells(curve, curve.rule)))
        if prevalence != RARE:
            rows.append((f"{name}, scores cut anew", *_cells(curve, curve.scores)))
    rows.append(("treat all", *_cells(curves[0], curves[0].treat_all)))
    return Table(
        f"Net benefit by threshold probability where {prevalence:.1%} have PNEUMONIA; treating no "
        "one gives 0.",
        ("Rule", *(f"at {probability:.0%}" for probability in _SHOWN)),
        tuple(rows),
    )


def _cells(curve: DecisionCurve, values: np.ndarray) -> list[str]:
    found = []
    for probability in _SHOWN:
        index = int(np.argmin(np.abs(curve.threshold_probability - probability)))
        found.append(f"{values[index]:+.3f}" if np.isfinite(values[index]) else MISSING)
    return found


def _data(curve: DecisionCurve) -> dict[str, Any]:
    low, high = curve.rule_band or (None, None)
    return {
        "useful_range": curve.useful_range(),
        "threshold_probability": curve.threshold_probability.tolist(),
        "rule": curve.rule.tolist(),
        "rule_low": None if low is None else low.tolist(),
        "rule_high": None if high is None else high.tolist(),
        "scores": curve.scores.tolist(),
        "treat_all": curve.treat_all.tolist(),
    }
