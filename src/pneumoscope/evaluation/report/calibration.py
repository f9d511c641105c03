"""The section on whether the scores mean what they say, before and after temperature scaling."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from matplotlib.figure import Figure as Drawing

from pneumoscope.evaluation.calibration import (
    NUM_DRAWS,
    TEMPERATURES,
    Bin,
    Calibration,
    Coefficient,
    fit_temperature,
    measure_calibration,
)
from pneumoscope.evaluation.figure_style import GREY, line_styles, new_panel, styled
from pneumoscope.evaluation.report.document import Block, Figure, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.numbers import MISSING, fraction, with_interval
from pneumoscope.evaluation.results import ModelResult


@dataclass(frozen=True)
class _Measured:
    """The calibration of one model on test, as it is and after the validation temperature."""

    temperature: float | None
    before: Calibration
    after: Calibration | None


def calibration_section(results: Sequence[ModelResult]) -> Section:
    """Returns reliability, Brier score and recalibration of the models on the test films.

    Args:
        results: models under distinct names, tested on one set.
    """
    measured = [_measure(result) for result in results]
    blocks: list[Block] = [
        Text(
            "A calibrated score of 0.8 is right 80 times in 100. Decisions at a threshold do not "
            "need it; reading a score as a probability does. The temperature is one number, fitted "
            "on the validation films, that divides the log-odds: it changes no ranking and no "
            "decision."
        ),
        Text(
            "The share of PNEUMONIA here is the test set's. Where it is another, scores read as "
            "probabilities are off by that difference, whatever this section says.",
            level="note",
        ),
        _summary_table(results, measured),
        _brier_table(results, measured),
        Text(
            "The expected calibration error is taken over bins of equal numbers of films. With few "
            "films in a bin it is above 0 for any model: beside it stands what scores that are "
            f"right would show (mean of {NUM_DRAWS:,} draws of labels from them). A slope below 1 "
            "means scores too extreme, an intercept below 0 scores too high. Their intervals take "
            "films of one patient as alike."
        ),
    ]
    for result, found in zip(results, measured, strict=True):
        if found.temperature in TEMPERATURES:
            why = (
                "the validation scores separate the classes, so any sharpening seems right"
                if found.temperature == TEMPERATURES[0]
                else "the validation scores say next to nothing of the classes, or the contrary"
            )
            blocks.append(
                Text(
                    f"{verbatim(result.name)}: the temperature lies at the end of what is looked "
                    f"through: {why}. Do not use it.",
                    level="warning",
                )
            )
    for index, (result, found) in enumerate(zip(results, measured, strict=True), start=1):
        blocks.append(_figure(index, result, found))
    data = {result.name: asdict(found) for result, found in zip(results, measured, strict=True)}
    return Section("calibration", "Do the scores mean what they say?", tuple(blocks), data)


def _measure(result: ModelResult) -> _Measured:
    val, test = result.films("val"), result.films("test")
    before = measure_calibration(test.y_true, test.log_odds, test.patient_id)
    if not len(val) or val.y_true.min() == val.y_true.max():
        return _Measured(None, before, None)
    temperature = fit_temperature(val.y_true, val.log_odds)
    after = measure_calibration(test.y_true, test.log_odds / temperature, test.patient_id)
    return _Measured(temperature, before, after)


def _states(
    results: Sequence[ModelResult], measured: Sequence[_Measured]
) -> list[tuple[str, _Measured, Calibration]]:
    """Returns a name and a calibration for each row: as it is, then scaled where it can be."""
    states = []
    for result, found in zip(results, measured, strict=True):
        name = verbatim(result.name)
        states.append((f"{name}, as it is", found, found.before))
        if found.after:
            states.append((f"{name}, scaled", found, found.after))
    return states


def _summary_table(results: Sequence[ModelResult], measured: Sequence[_Measured]) -> Table:
    rows = tuple(
        (
            name,
            "1" if state is found.before else f"{found.temperature:.3f}",
            fraction(state.ece),
            fraction(state.ece_by_chance),
            _coefficient(state.slope),
            _coefficient(state.intercept),
        )
        for name, found, state in _states(results, measured)
    )
    return Table(
        "Calibration on the test set, before and after temperature scaling fitted on validation; "
        "95 % intervals.",
        ("Scores", "Temperature", "ECE", "ECE by chance", "Slope", "Intercept"),
        rows,
    )


def _brier_table(results: Sequence[ModelResult], measured: Sequence[_Measured]) -> Table:
    rows = tuple(
        (
            name,
            with_interval(state.brier.score, state.brier.interval),
            f"{state.brier.reliability:.4f}",
            f"{state.brier.resolution:.4f}",
            f"{state.brier.uncertainty:.4f}",
            f"{state.brier.within_bins:+.4f}",
        )
        for name, _, state in _states(results, measured)
    )
    return Table(
        "Brier score on the test set (bootstrap over patients) and what it is made of: reliability "
        "(less is better) - resolution (more is better) + uncertainty + what scores differ within "
        "their bins.",
        ("Scores", "Brier score", "Reliability", "Resolution", "Uncertainty", "Within bins"),
        rows,
    )


def _coefficient(found: Coefficient | None) -> str:
    if found is None:
        return MISSING
    if found.interval is None:
        return f"{found.value:+.2f}"
    return f"{found.value:+.2f} ({found.interval[0]:+.2f} to {found.interval[1]:+.2f})"


def _figure(index: int, result: ModelResult, found: _Measured) -> Figure:
    shown = f"expected calibration error {found.before.ece:.3f}"
    if found.after:
        shown += f", {found.after.ece:.3f} after scaling"
    return Figure(
        f"reliability-{index}",
        f"Reliability of {verbatim(result.name)} on the test set: what came true over what the "
        "scores promised, in bins of equal numbers of films, with Wilson's 95 % intervals. On the "
        "dotted line promise and truth agree; the films of a bin share one mark.",
        f"Reliability diagram of {result.name}: {shown}.",
        _draw(result, found),
    )


@styled
def _draw(result: ModelResult, found: _Measured) -> Drawing:
    figure = new_panel([result])
    axes = figure.subplots()
    colour = line_styles([result])[0]["color"]
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    states = [(found.before, "o", colour, "as it is")]
    if found.after:
        states.append((found.after, "s", GREY, f"scaled, T = {found.temperature:.2f}"))
    for state, marker, shade, label in states:
        axes.errorbar(
            [one.mean_score for one in state.bins],
            [one.share for one in state.bins],
            yerr=_bars(state.bins),
            marker=marker,
            markersize=5,
            linewidth=0.9,
            elinewidth=0.8,
            color=shade,
            label=label,
        )
    axes.set(
        xlabel="Mean score of the bin",
        ylabel="Share of PNEUMONIA in the bin",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    axes.legend(loc="upper left")
    return figure


def _bars(bins: Sequence[Bin]) -> tuple[list[float], list[float]]:
    """Returns how far the intervals reach below and above the shares."""
    pairs = [(one.share, one.interval or [one.share, one.share]) for one in bins]
    return (
        [max(0.0, share - interval[0]) for share, interval in pairs],
        [max(0.0, interval[1] - share) for share, interval in pairs],
    )
