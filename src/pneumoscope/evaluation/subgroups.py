"""Whom the model fails: recall and specificity among films of one kind, and the gaps between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2_contingency, fisher_exact

from pneumoscope.data.patients import film_series
from pneumoscope.evaluation.delong import estimate_aurocs, interval_of
from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.intervals import Interval, newcombe_interval, wilson_interval
from pneumoscope.evaluation.operating_point import Summary, summarize_at_threshold
from pneumoscope.evaluation.pairwise import holm
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.labels import Label

NUM_BINS = 4

SERIES = "file name"
"""The attribute that needs no film: cause of PNEUMONIA, series of NORMAL."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Subgroup:
    """Films that have something in common.

    Attributes:
        attribute: what they are grouped by.
        name: which group.
        summary: at the frozen threshold.
        auroc_interval: DeLong's with films of one patient as alike; None where it has none.
        recall_interval: Wilson's.
        specificity_interval: Wilson's.
    """

    attribute: str
    name: str
    summary: Summary
    auroc_interval: Interval
    recall_interval: Interval
    specificity_interval: Interval


@dataclass(frozen=True)
class Gap:
    """How far the groups of one attribute lie apart in recall or in specificity.

    Attributes:
        attribute: what the films are grouped by.
        label: ``PNEUMONIA`` for recall, ``NORMAL`` for specificity.
        first: name of the first group that has such films.
        last: name of the last one.
        difference: last less first, in [-1, 1].
        interval: 95 %, Newcombe's.
        largest: the largest difference between any two of the groups; the more groups there are,
            the larger it is by chance alone.
        p_value: that all groups have one rate: Fisher's exact test for two groups, else
            chi-square.
        p_holm: the same, corrected for the number of gaps looked at.
    """

    attribute: str
    label: Label
    first: str
    last: str
    difference: float
    interval: Interval
    largest: float
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Subgroups:
    """All groups of all attributes, and their gaps; films of a group may be in groups of others."""

    groups: tuple[Subgroup, ...]
    gaps: tuple[Gap, ...]


def measure_subgroups(
    films: Predictions, threshold: float, film_table: FilmTable | None = None
) -> Subgroups:
    """Returns how a model does on parts of its test films, at the frozen threshold.

    Groups by what the file's name says, and, where the films were measured, by shape, size,
    brightness, contrast and sharpness in quarters of the films.

    Args:
        films: the test films.
        threshold: the frozen recall-first threshold.
        film_table: what was measured on them.

    Raises:
        EvaluationError: the table lacks a film.
    """
    members = {SERIES: series_groups(films)}
    if film_table is not None:
        members |= quality_groups(film_table.align(films.path.tolist()))
    members = {attribute: groups for attribute, groups in members.items() if len(groups) > 1}
    found = {
        attribute: [_subgroup(attribute, name, films, rows, threshold) for name, rows in g.items()]
        for attribute, g in members.items()
    }
    return Subgroups(
        tuple(group for groups in found.values() for group in groups), _gaps(list(found.values()))
    )


def series_groups(films: Predictions) -> dict[str, Bools]:
    """Returns which films are of each series that a file name can state, (N,) by name."""
    series = np.array([film_series(PurePosixPath(p).name) or "" for p in films.path.tolist()])
    return {str(name): series == name for name in np.unique(series) if name}


def quality_groups(table: FilmTable) -> dict[str, dict[str, Bools]]:
    """Returns which films lie in each quarter of each measured attribute, (N,) by name.

    Equal values stay together, so an attribute that is the same for all films has one group.
    """
    values = table.values
    attributes: Mapping[str, tuple[npt.NDArray[np.float64], int]] = {
        "width / height": (values["width_px"] / values["height_px"], 2),
        "image size, megapixels": (values["width_px"] * values["height_px"] / 1e6, 2),
        "brightness": (values["brightness"], 2),
        "contrast": (values["contrast"], 3),
        "sharpness": (values["sharpness"], 2),
    }
    return {name: _quarters(column, decimals) for name, (column, decimals) in attributes.items()}


def _quarters(values: npt.NDArray[np.float64], decimals: int) -> dict[str, Bools]:
    inner = np.quantile(values, np.arange(1, NUM_BINS) / NUM_BINS)
    inner = np.unique(inner[inner > values.min()])
    # As many decimals as tell the edges apart: two groups of one name would become one.
    while len({f"{edge:.{decimals}f}" for edge in inner}) < len(inner):
        decimals += 1
    edges = [-np.inf, *inner, np.inf]
    groups = {}
    for low, high in pairwise(edges):
        rows = (values >= low) & (values < high)
        if rows.any():
            groups[_range_name(low, high, f".{decimals}f")] = rows
    return groups


def _range_name(low: float, high: float, form: str) -> str:
    if np.isneginf(low):
        return f"below {high:{form}}" if np.isfinite(high) else "all"
    return f"{low:{form}} to {high:{form}}" if np.isfinite(high) else f"{low:{form}} and above"


def _subgroup(
    attribute: str, name: str, films: Predictions, rows: Bools, threshold: float
) -> Subgroup:
    y, p = films.y_true[rows], films.p_pneumonia[rows]
    summary = summarize_at_threshold(y, p, threshold)
    aurocs = estimate_aurocs(y, [p], films.patient_id[rows])
    tp, fn, tn, fp = (summary[count] for count in ("tp", "fn", "tn", "fp"))
    return Subgroup(
        attribute,
        name,
        summary,
        interval_of(aurocs) if aurocs else None,
        wilson_interval(tp, tp + fn),
        wilson_interval(tn, tn + fp),
    )


def _gaps(found: Sequence[Sequence[Subgroup]]) -> tuple[Gap, ...]:
    gaps = []
    for groups in found:
        for label, hit, miss in ((Label.PNEUMONIA, "tp", "fn"), (Label.NORMAL, "tn", "fp")):
            counts = {
                group.name: (int(group.summary[hit]), int(group.summary[miss]))  # type: ignore[literal-required]
                for group in groups
                if group.summary[hit] + group.summary[miss]  # type: ignore[literal-required]
            }
            if len(counts) > 1:
                gaps.append((groups[0].attribute, label, counts, _same_rate(list(counts.values()))))
    corrected = holm([p_value for *_, p_value in gaps])
    return tuple(
        _gap(attribute, label, counts, p_value, p_holm)
        for (attribute, label, counts, p_value), p_holm in zip(gaps, corrected, strict=True)
        if p_holm is not None
    )


def _gap(
    attribute: str,
    label: Label,
    counts: dict[str, tuple[int, int]],
    p_value: float,
    p_holm: float,
) -> Gap:
    names = list(counts)
    rates = [hits / (hits + misses) for hits, misses in counts.values()]
    (first_hits, first_misses), (last_hits, last_misses) = counts[names[0]], counts[names[-1]]
    return Gap(
        attribute=attribute,
        label=label,
        first=names[0],
        last=names[-1],
        difference=rates[-1] - rates[0],
        interval=newcombe_interval(
            last_hits, last_hits + last_misses, first_hits, first_hits + first_misses
        ),
        largest=max(rates) - min(rates),
        p_value=p_value,
        p_holm=p_holm,
    )


def _same_rate(counts: Sequence[tuple[int, int]]) -> float:
    """Returns the p value that groups with these (hits, misses) have one rate; 1 where all hit."""
    table = np.array(counts)
    if not table.sum(axis=0).all():
        return 1.0
    if len(table) == 2:
        return float(fisher_exact(table).pvalue)
    return float(chi2_contingency(table).pvalue)
