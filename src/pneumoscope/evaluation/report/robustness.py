"""The section on what happens when the same films are blurred, darkened, turned, marked, ..."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D

from pneumoscope.data.corruption import MARKER_ADDED, MARKERS_HIDDEN, family
from pneumoscope.evaluation.figure_style import legend_label, line_styles, new_panel, styled
from pneumoscope.evaluation.report.document import Block, Figure, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.numbers import fraction, signed, with_interval
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.evaluation.robustness import Robustness, VariantResult, evaluate_shifts

_Metric = Literal["auroc", "recall", "specificity"]
_METRICS: dict[_Metric, str] = {
    "auroc": "AUROC",
    "recall": "Recall",
    "specificity": "Specificity",
}
_HOW_TO = "`pneumoscope evaluate BUNDLE --data DIR` scores them."


def robustness_section(results: Sequence[ModelResult]) -> Section:
    """Returns how the models do on altered films, or how to have such films scored.

    Args:
        results: models under distinct names, tested on one set.
    """
    title = "What happens when the films change?"
    found = {
        result.name: evaluate_shifts(result.shift_table, result.films("test"), result.threshold)
        for result in results
        if result.shift_table is not None
    }
    if not found:
        return Section("robustness", title, (Text(f"No altered films were scored. {_HOW_TO}"),))
    shown = [result for result in results if result.name in found]
    blocks: list[Block] = [
        Text(
            "The same films were changed by a program, one change at a time, and scored again. "
            "Nothing was adapted: the frozen threshold decides. All changes but those of contrast "
            "and exposure leave to a reader what they need, down to their last step or close to "
            "it, so a decision that flips is the network's weakness and not the film's."
        ),
        *_remarks(results, found),
        *(Text(_conclusion(name, of_model)) for name, of_model in found.items()),
        *(Text(text) for name, of_model in found.items() if (text := _markers(name, of_model))),
        *(_figure(shown, list(found.values()), metric) for metric in _METRICS),
        *(_table(name, of_model) for name, of_model in found.items()),
        Text(
            "The worst of many changes is partly chance: read the steps of one kind together. "
            "These films are still from the same hospital; holding here does not mean holding on "
            "another hospital's films, while failing here is a reason not to try.",
            level="note",
        ),
    ]
    data = {name: asdict(of_model) for name, of_model in found.items()}
    return Section("robustness", title, tuple(blocks), data)


def _remarks(results: Sequence[ModelResult], found: dict[str, Robustness]) -> list[Text]:
    """Returns what to know about which films were altered and at what size."""
    remarks = []
    for name, of_model in found.items():
        if of_model.num_films < of_model.num_test_films:
            remarks.append(
                f"{verbatim(name)}: a sample of {of_model.num_films:,} of "
                f"{of_model.num_test_films:,} test films was altered."
            )
        if of_model.num_decided_otherwise:
            remarks.append(
                f"{verbatim(name)}: films are altered at 224 px; unaltered at that size, "
                f"{of_model.num_decided_otherwise} of them are decided otherwise than at full size."
            )
    missing = [verbatim(result.name) for result in results if result.name not in found]
    if missing:
        remarks.append(f"No altered films were scored by {', '.join(missing)}. {_HOW_TO}")
    return [Text(remark, level="note") for remark in remarks]


def _changed(of_model: Robustness) -> tuple[VariantResult, list[VariantResult]]:
    """Returns the clean films' figures and those of all changes."""
    clean, *changed = of_model.variants
    return clean, changed


def _conclusion(name: str, of_model: Robustness) -> str:
    clean, changed = _changed(of_model)
    told = []
    for metric, title in _METRICS.items():
        values = [(getattr(one, metric), one.variant) for one in changed]
        defined = [(value, variant) for value, variant in values if value is not None]
        before = getattr(clean, metric)
        if defined and before is not None:
            value, variant = min(defined)
            told.append(f"{title} from {fraction(before)} to {fraction(value)} ({variant})")
    most = max(changed, key=lambda one: one.flips.share)
    return (
        f"{verbatim(name)} at its worst: {'; '.join(told)}. Most decisions flip under "
        f"{most.variant}: {most.flips.num_flipped:,} of {most.flips.num_films:,} "
        f"({most.to_pneumonia:,} to PNEUMONIA, {most.to_normal:,} to NORMAL)."
    )


def _markers(name: str, of_model: Robustness) -> str | None:
    """Returns what side letters do to the decisions; ``None`` where none were drawn or hidden."""
    _, changed = _changed(of_model)
    hidden = [one for one in changed if family(one.variant) == MARKERS_HIDDEN]
    told = []
    if (added := of_model.added_marker) is not None:
        each = [one.flips.share for one in changed if family(one.variant) == MARKER_ADDED]
        told.append(
            f"drawing a bright R or L into an upper corner flips at most {max(each):.1%} of the "
            f"decisions by any one letter; {added.num_flipped:,} of {added.num_films:,} films "
            f"({with_interval(added.share, added.interval)}) are flipped by at least one of "
            f"{len(each)}"
        )
    told += [
        f"hiding what stands in the upper corners flips {one.flips.num_flipped:,} "
        f"({with_interval(one.flips.share, one.flips.interval)})"
        for one in hidden
    ]
    return f"Markers, {verbatim(name)}: {'; '.join(told)}." if told else None


def _figure(results: Sequence[ModelResult], found: Sequence[Robustness], metric: _Metric) -> Figure:
    lowest = ", ".join(
        f"{result.name} {fraction(min(values))}"
        for result, of_model in zip(results, found, strict=True)
        if (values := [v for one in of_model.variants if (v := getattr(one, metric)) is not None])
    )
    title = _METRICS[metric]
    return Figure(
        f"robustness-{metric}",
        f"{title} on altered films; a row a change, its steps growing downwards. Dotted: on the "
        "clean films.",
        f"{title} under every change of the films; lowest: {lowest or 'not defined'}.",
        _draw(results, found, metric),
    )


@styled
def _draw(results: Sequence[ModelResult], found: Sequence[Robustness], metric: _Metric) -> Drawing:
    # Scored by another version, a model may have been shown other changes.
    names = list(dict.fromkeys(one.variant for of_model in found for one in of_model.variants[1:]))
    figure = new_panel(results, (4.6, 1.1 + 0.16 * len(names)))
    axes = figure.subplots()
    height = 0.6 / len(results)
    handles = []
    for index, (result, of_model, line) in enumerate(
        zip(results, found, line_styles(results), strict=True)
    ):
        clean, changed = _changed(of_model)
        before = getattr(clean, metric)
        if before is not None:
            axes.axvline(before, color=line["color"], linewidth=0.8, linestyle=":")
        offset = (index - (len(results) - 1) / 2) * height
        points = [
            (value, names.index(one.variant) + offset)
            for one in changed
            if (value := getattr(one, metric)) is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=line["color"], markersize=3.5)
        label = legend_label(result.name)
        handles.append(Line2D([], [], linestyle="", marker="o", color=line["color"], label=label))
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(_METRICS[metric])
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    for row in range(1, len(names)):
        if family(names[row]) != family(names[row - 1]):
            axes.axhline(row - 0.5, color="#DDDDDD", linewidth=0.6)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))
    return figure


def _table(name: str, of_model: Robustness) -> Table:
    rows = tuple(
        (
            one.variant,
            with_interval(one.auroc, one.auroc_interval),
            signed(one.auroc_change.value, one.auroc_change.interval) if one.auroc_change else "-",
            with_interval(one.recall, one.recall_interval),
            with_interval(one.specificity, one.specificity_interval),
            f"{one.to_pneumonia} / {one.to_normal}",
            with_interval(one.flips.share, one.flips.interval),
        )
        for one in of_model.variants
    )
    return Table(
        f"{verbatim(name)} on {of_model.num_films:,} altered test films at the frozen threshold, "
        "with 95 % intervals (AUROC: DeLong's by patient, its change paired; else Wilson's).",
        (
            "Change",
            "AUROC",
            "Change of AUROC",
            "Recall",
            "Specificity",
            "Flips to PNEUMONIA / NORMAL",
            "Share flipped",
        ),
        rows,
    )
