"""The section on the threshold: how it was chosen, on what, what it became, what it is worth."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from matplotlib.figure import Figure as Drawing

from pneumoscope.evaluation.figure_style import legend_label, line_styles, new_panel, styled
from pneumoscope.evaluation.intervals import Interval, newcombe_interval
from pneumoscope.evaluation.predictive_value import (
    PREVALENCES,
    LikelihoodRatios,
    PredictiveValues,
    likelihood_ratios,
    predictive_values,
)
from pneumoscope.evaluation.report.document import Block, Figure, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.numbers import (
    MISSING,
    fraction,
    signed,
    span,
    with_interval,
)
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.evaluation.tables import format_threshold
from pneumoscope.evaluation.transfer import TARGETS, Realised, Target, realise, try_targets

_MAX_BANDS = 3
_FINE_PREVALENCES = np.linspace(0.01, 0.6, 60)


@dataclass(frozen=True)
class _Measured:
    """Everything about one model's threshold."""

    val: Realised | None
    test: Realised
    ratios: LikelihoodRatios | None
    values: list[PredictiveValues]
    targets: list[Target]


def operating_point_section(results: Sequence[ModelResult]) -> Section:
    """Returns how thresholds were chosen and what they became, with predictive values.

    Args:
        results: models under distinct names, tested on one set.
    """
    measured = [_measure(result) for result in results]
    blocks: list[Block] = [
        Text(
            "The threshold is the one of highest precision among those that reach the recall asked "
            "for on the validation films. It is frozen there; the test films had no say in it. "
            "Recall on test is therefore what happened, not what was set."
        ),
        *(Text(_conclusion(r, m)) for r, m in zip(results, measured, strict=True)),
        _transfer_table(results, measured),
        Text(
            "Wilson's interval holds its level on average, Clopper and Pearson's always; both take "
            "films as independent. The section on telling the classes apart has the intervals that "
            "allow for several films of one patient.",
            level="note",
        ),
        _ratio_table(results, measured),
        Text(
            "A likelihood ratio multiplies the odds of PNEUMONIA before the film into those after "
            "it; near 1 it says nothing, and where PNEUMONIA is rare even 10 leaves it unlikely. "
            "With it come the predictive values below, for any prevalence. They suppose that "
            "recall and specificity stay what they were here; with rarer and milder disease they "
            "seldom do."
        ),
        *_prevalence_blocks(results, measured),
        *(
            _target_table(result, found)
            for result, found in zip(results, measured, strict=True)
            if found.targets
        ),
        Text(
            "The last tables show what another target would have cost. They are there to choose a "
            "target before the next study; choosing one by its test columns would be choosing on "
            "the test films.",
            level="warning",
        ),
    ]
    data = {result.name: asdict(found) for result, found in zip(results, measured, strict=True)}
    return Section("operating-point", "The operating point: promised and kept", tuple(blocks), data)


def _measure(result: ModelResult) -> _Measured:
    val, test = result.films("val"), result.films("test")
    at = realise(test, result.threshold)
    values = [predictive_values(at.summary, prevalence) for prevalence in PREVALENCES]
    return _Measured(
        val=realise(val, result.threshold) if len(val) else None,
        test=at,
        ratios=likelihood_ratios(at.summary),
        values=[value for value in values if value],
        targets=try_targets(val, test, sorted({*TARGETS, result.min_recall}))
        if len(val) and val.y_true.any()
        else [],
    )


def _conclusion(result: ModelResult, found: _Measured) -> str:
    name, at = verbatim(result.name), found.test.summary
    text = (
        f"{name}: threshold **{format_threshold(result.threshold)}**, asked for validation recall "
        f"of at least {result.min_recall:g}"
    )
    if found.val is None:
        return f"{text}; test recall {fraction(at['recall'])}."
    was = found.val.summary
    text += (
        f" and reaching {fraction(was['recall'])} on {was['tp'] + was['fn']:,} validation films "
        f"with PNEUMONIA. On test it became recall **{fraction(at['recall'])}** and specificity "
        f"**{fraction(at['specificity'])}**"
    )
    recall = _change(at["recall"], was["recall"], (at["tp"], at["fn"]), (was["tp"], was["fn"]))
    specificity = _change(
        at["specificity"], was["specificity"], (at["tn"], at["fp"]), (was["tn"], was["fp"])
    )
    if recall is None or specificity is None:
        return f"{text}."
    return (
        f"{text}: changes of {recall[0]} and {specificity[0]} against validation. "
        f"{_VERDICTS[recall[1], specificity[1]]}"
    )


_HARDER = "The test films are harder than those it was chosen on."
_MOVED = (
    "The scores moved: the threshold sits at another place between recall and specificity than it "
    "did on validation."
)
_NOTHING = "No more than chance may explain."
_VERDICTS = {
    (-1, -1): _HARDER,
    (-1, 0): "More of the sick are missed than the threshold promised.",
    (0, -1): "More of the healthy are called than on validation.",
    (-1, 1): _MOVED,
    (1, -1): _MOVED,
    (0, 0): _NOTHING,
    (0, 1): "Fewer of the healthy are called than on validation.",
    (1, 0): "Fewer of the sick are missed than the threshold promised.",
    (1, 1): "The test films are easier than those it was chosen on.",
}
"""By the signs of the changes in recall and specificity; 0 where the interval holds 0."""


def _change(
    after: float | None, before: float | None, now: tuple[int, int], then: tuple[int, int]
) -> tuple[str, int] | None:
    """Returns a change with its interval and its sign, from (hits, misses) on test and before."""
    if after is None or before is None:
        return None
    interval = newcombe_interval(now[0], sum(now), then[0], sum(then))
    sign = 0
    if interval is not None:
        sign = int(interval[0] > 0) - int(interval[1] < 0)
    return signed(after - before, interval), sign


def _transfer_table(results: Sequence[ModelResult], measured: Sequence[_Measured]) -> Table:
    rows = []
    for result, found in zip(results, measured, strict=True):
        for split, at in (("validation", found.val), ("test", found.test)):
            if at is None:
                continue
            s = at.summary
            rows.append(
                (
                    f"{verbatim(result.name)}, {split}",
                    f"{s['tp']}/{s['tp'] + s['fn']}",
                    with_interval(s["recall"], at.recall_wilson),
                    span(at.recall_exact),
                    f"{s['tn']}/{s['tn'] + s['fp']}",
                    with_interval(s["specificity"], at.specificity_wilson),
                    span(at.specificity_exact),
                    fraction(s["precision"]),
                    fraction(s["npv"]),
                )
            )
    return Table(
        "From validation to test at the frozen threshold, with 95 % intervals. PPV and NPV are for "
        "the share of PNEUMONIA in each set.",
        (
            "Model, films",
            "Found",
            "Recall (Wilson)",
            "Clopper-Pearson",
            "Cleared",
            "Specificity (Wilson)",
            "Clopper-Pearson ",
            "PPV",
            "NPV",
        ),
        tuple(rows),
    )


def _ratio_table(results: Sequence[ModelResult], measured: Sequence[_Measured]) -> Table:
    rows = []
    for result, found in zip(results, measured, strict=True):
        ratios = found.ratios
        cells = (
            (
                _ratio(ratios.positive, ratios.positive_interval, 2),
                _ratio(ratios.negative, ratios.negative_interval, 4),
            )
            if ratios
            else (MISSING, MISSING)
        )
        rows.append((verbatim(result.name), *cells))
    return Table(
        "Likelihood ratios at the frozen threshold, test set, with 95 % intervals.",
        ("Model", "Positive (called)", "Negative (cleared)"),
        tuple(rows),
    )


def _ratio(value: float | None, interval: Interval, decimals: int) -> str:
    if interval is None:
        return MISSING
    low, high = (f"{bound:.{decimals}f}" for bound in interval)
    return f"infinite (from {low})" if value is None else f"{value:.{decimals}f} ({low} to {high})"


def _prevalence_blocks(
    results: Sequence[ModelResult], measured: Sequence[_Measured]
) -> list[Block]:
    shown = [(r, m) for r, m in zip(results, measured, strict=True) if m.values]
    if not shown:
        return []
    blocks: list[Block] = [_prevalence_table(result, found.values) for result, found in shown]
    at = "; ".join(
        f"{result.name}: PPV {fraction(values[0].ppv)} and NPV {fraction(values[0].npv)} at 1 %, "
        f"{fraction(values[-1].ppv)} and {fraction(values[-1].npv)} at 60 %"
        for result, values in ((r, m.values) for r, m in shown)
    )
    shown_results = [result for result, _ in shown]
    blocks += [
        Figure(
            f"{name}-prevalence",
            f"{title} over prevalence at the frozen threshold, with 95 % intervals: {meaning}.",
            f"{title} over prevalence from 1 % to 60 %: {at}.",
            _draw_prevalence(shown_results, name),
        )
        for name, title, meaning in (
            ("ppv", "Positive predictive value", "of those called, how many have PNEUMONIA"),
            ("npv", "Negative predictive value", "of those cleared, how many are healthy"),
        )
    ]
    return blocks


def _prevalence_table(result: ModelResult, values: Sequence[PredictiveValues]) -> Table:
    rows = tuple(
        (
            f"{value.prevalence:.0%}",
            with_interval(value.ppv, value.ppv_interval),
            _npv(value),
            f"{value.alarms:.0f}",
            f"{value.false_alarms:.0f}",
            f"{value.missed:.1f}",
        )
        for value in values
    )
    return Table(
        f"{verbatim(result.name)}: what a decision means by prevalence, with 95 % intervals; "
        "counts are of 1,000 children screened.",
        ("Prevalence", "PPV", "NPV", "Called", "False alarms", "Missed"),
        rows,
    )


def _npv(value: PredictiveValues) -> str:
    """Returns a negative predictive value to four decimals: it lives near 1."""
    if value.npv is None:
        return MISSING
    if value.npv_interval is None:
        return f"{value.npv:.4f}"
    return f"{value.npv:.4f} ({value.npv_interval[0]:.4f} to {value.npv_interval[1]:.4f})"


@styled
def _draw_prevalence(results: Sequence[ModelResult], name: str) -> Drawing:
    figure = new_panel(results)
    axes = figure.subplots()
    for result, line in zip(results, line_styles(results), strict=True):
        summary = result.summaries("test")[1]
        values = [predictive_values(summary, float(share)) for share in _FINE_PREVALENCES]
        points = [
            (value.prevalence, getattr(value, name), getattr(value, f"{name}_interval"))
            for value in values
            if value and getattr(value, name) is not None
        ]
        x, y = [point[0] for point in points], [point[1] for point in points]
        axes.plot(x, y, label=legend_label(result.name), **line)
        bounds = [point[2] for point in points]
        if len(results) <= _MAX_BANDS and bounds and all(bounds):
            low, high = zip(*bounds, strict=True)
            axes.fill_between(x, low, high, color=line["color"], alpha=0.18, linewidth=0)
    axes.set(xlabel="Prevalence of PNEUMONIA among the screened", xlim=(0, 0.61))
    axes.set_ylabel("PPV" if name == "ppv" else "NPV")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.legend(loc="lower right" if name == "ppv" else "lower left")
    return figure


def _target_table(result: ModelResult, found: _Measured) -> Table:
    usual = next((t for t in found.targets if t.min_recall == result.min_recall), None)
    rows = tuple(_target_row(target, usual) for target in found.targets)
    return Table(
        f"{verbatim(result.name)}: what another recall to reach would have done. Thresholds are "
        "chosen on validation; false alarms are of 1,000 healthy children.",
        (
            "Validation recall asked",
            "Threshold",
            "Validation recall",
            "Test recall (Wilson)",
            "Test specificity (Wilson)",
            "Missed on test",
            "False alarms a 1,000",
            "against the target used",
        ),
        rows,
    )


def _target_row(target: Target, usual: Target | None) -> tuple[str, ...]:
    at = target.test.summary
    alarms = _false_alarms(target)
    base = _false_alarms(usual) if usual else None
    return (
        f">= {target.min_recall:g}",
        format_threshold(target.threshold),
        fraction(target.val.summary["recall"]),
        with_interval(at["recall"], target.test.recall_wilson),
        with_interval(at["specificity"], target.test.specificity_wilson),
        f"{at['fn']} of {at['tp'] + at['fn']}",
        MISSING if alarms is None else f"{alarms:.0f}",
        MISSING if alarms is None or base is None else f"{alarms - base:+z.0f}",
    )


def _false_alarms(target: Target) -> float | None:
    specificity = target.test.summary["specificity"]
    return None if specificity is None else 1000 * (1 - specificity)
