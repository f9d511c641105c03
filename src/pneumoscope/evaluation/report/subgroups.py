"""The section on whom the models fail: groups of films, and the gaps between them."""

from collections.abc import Sequence
from dataclasses import asdict

from matplotlib.figure import Figure as Drawing

from pneumoscope.evaluation.figure_style import CLASS_COLOURS, GREY, new_panel, styled
from pneumoscope.evaluation.intervals import Interval
from pneumoscope.evaluation.report.document import Block, Figure, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.numbers import p_phrase, p_value, signed, with_interval
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.evaluation.subgroups import Subgroup, Subgroups, measure_subgroups
from pneumoscope.labels import Label

_FEW = 20
"""Films below which a group says nothing by differing or not."""

_FIGURE = {Label.PNEUMONIA: "recall", Label.NORMAL: "specificity"}


def subgroups_section(results: Sequence[ModelResult]) -> Section:
    """Returns recall and specificity by kind of film, and the gaps, for each model.

    Args:
        results: models under distinct names, tested on one set.
    """
    found = {
        result.name: measure_subgroups(result.films("test"), result.threshold, result.film_table)
        for result in results
    }
    blocks: list[Block] = [
        Text(
            "The same test films in parts, each at the frozen threshold. Age, sex and severity are "
            "not recorded with these films, so whether a model fails the younger or the sicker "
            "cannot be seen here."
        )
    ]
    if all(result.film_table is None for result in results):
        blocks.append(
            Text(
                "The films were not at hand, so they are grouped by file name alone. "
                "`pneumoscope evaluate BUNDLE --data DIR` groups by size, brightness, contrast and "
                "sharpness too, and shows the worst cases.",
                level="note",
            )
        )
    for index, (result, of_model) in enumerate(zip(results, found.values(), strict=True), start=1):
        if not of_model.groups:
            blocks.append(
                Text(f"{verbatim(result.name)}: the file names and films state no groups.")
            )
            continue
        blocks += [
            Text(_conclusion(result.name, of_model)),
            _figure(index, result, of_model),
            _group_table(result.name, of_model),
            _gap_table(result.name, of_model),
        ]
    blocks.append(
        Text(
            "Groups hold few films: read the intervals, and take a gap seriously where its "
            "corrected p value is small. A group without films of a class has no figure for it. A "
            "group may also differ in what else is in it: brightness and sharpness follow the "
            "machine, and the machine follows the ward.",
            level="note",
        )
    )
    data = {name: asdict(of_model) for name, of_model in found.items()}
    return Section("subgroups", "Whom does it fail?", tuple(blocks), data)


def _conclusion(name: str, found: Subgroups) -> str:
    clear = [gap for gap in found.gaps if gap.p_holm < 0.05]
    if not clear and min(map(_num_films, found.groups)) < _FEW:
        return (
            f"{verbatim(name)}: some groups have fewer than {_FEW} films, too few to tell whether "
            "they differ."
        )
    if not clear:
        return (
            f"{verbatim(name)}: no gap between groups is larger than chance explains, after "
            f"correction for the {len(found.gaps)} gaps looked at."
        )
    told = "; ".join(
        f"{_FIGURE[gap.label]} by {gap.attribute} differs by up to {gap.largest:.3f} "
        f"({p_phrase(gap.p_holm)})"
        for gap in clear
    )
    return f"{verbatim(name)}: **{told}**, corrected for the {len(found.gaps)} gaps looked at."


def _num_films(group: Subgroup) -> int:
    return sum(group.summary[count] for count in ("tp", "fn", "fp", "tn"))


def _group_table(name: str, found: Subgroups) -> Table:
    rows = tuple(
        (
            f"{group.attribute}: {group.name}",
            str(group.summary["tp"] + group.summary["fn"]),
            with_interval(group.summary["recall"], group.recall_interval),
            str(group.summary["tn"] + group.summary["fp"]),
            with_interval(group.summary["specificity"], group.specificity_interval),
            with_interval(group.summary["auroc"], group.auroc_interval),
        )
        for group in found.groups
    )
    return Table(
        f"{verbatim(name)} by kind of film, test set, at the frozen threshold, with 95 % intervals "
        "(Wilson's; AUROC: DeLong's by patient).",
        ("Group", "PNEUMONIA", "Recall", "NORMAL", "Specificity", "AUROC"),
        rows,
    )


def _gap_table(name: str, found: Subgroups) -> Table:
    rows = tuple(
        (
            f"{_FIGURE[gap.label]} by {gap.attribute}",
            f"{gap.last} - {gap.first}",
            signed(gap.difference, gap.interval),
            f"{gap.largest:.3f}",
            p_value(gap.p_value),
            p_value(gap.p_holm),
        )
        for gap in found.gaps
    )
    return Table(
        f"{verbatim(name)}: gaps between groups. Newcombe's 95 % interval for the last group less "
        "the first; p is for all groups of an attribute having one rate. Both take films as "
        "independent.",
        ("Figure", "Between", "Difference", "Largest of any two", "p", "p, Holm"),
        rows,
    )


def _figure(index: int, result: ModelResult, found: Subgroups) -> Figure:
    gaps = sorted(found.gaps, key=lambda gap: gap.p_holm)
    most = (
        f"clearest gap: {_FIGURE[gaps[0].label]} by {gaps[0].attribute}, up to "
        f"{gaps[0].largest:.3f}"
        if gaps
        else "no two groups can be compared"
    )
    return Figure(
        f"subgroups-{index}",
        f"{verbatim(result.name)}: recall (orange) and specificity (blue) by kind of film at the "
        "frozen threshold, with Wilson's 95 % intervals. Dotted: over all films.",
        f"Recall and specificity of {result.name} by kind of film; {most}.",
        _draw(result, found.groups),
    )


@styled
def _draw(result: ModelResult, groups: Sequence[Subgroup]) -> Drawing:
    figure = new_panel([result], (4.6, 1.0 + 0.24 * len(groups)))
    axes = figure.subplots()
    overall = result.summaries("test")[1]
    for label, shift in ((Label.PNEUMONIA, -0.14), (Label.NORMAL, 0.14)):
        name = _FIGURE[label]
        colour = CLASS_COLOURS[label]
        if (value := overall[name]) is not None:  # type: ignore[literal-required]
            axes.axvline(value, color=colour, linewidth=0.8, linestyle=":")
        for row, group in enumerate(groups):
            share = group.summary[name]  # type: ignore[literal-required]
            interval: Interval = getattr(group, f"{name}_interval")
            if share is not None and interval:
                axes.plot(interval, [row + shift] * 2, color=colour, linewidth=1.2)
                axes.plot(share, row + shift, marker="o", markersize=4, color=colour)
    axes.set_yticks(range(len(groups)), [_short(group) for group in groups], fontsize=8)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set(xlabel="Recall, specificity", xlim=(None, 1.01))
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.tick_params(axis="y", length=0, colors="black")
    for row in range(1, len(groups)):
        if groups[row].attribute != groups[row - 1].attribute:
            axes.axhline(row - 0.5, color=GREY, linewidth=0.5)
    return figure


def _short(group: Subgroup) -> str:
    return f"{group.attribute.removeprefix('image ')}: {group.name}"
