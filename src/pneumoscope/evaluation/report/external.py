"""The section on whether the test films look like those the model was made with."""

from collections.abc import Sequence
from dataclasses import asdict

from pneumoscope.data.quality import QualityRange
from pneumoscope.evaluation.drift import (
    EXPECTED_OUTSIDE,
    MUCH_OUTSIDE,
    SIZES,
    Drift,
    measure_drift,
)
from pneumoscope.evaluation.report.document import Block, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.numbers import MISSING, fraction, p_value, with_interval
from pneumoscope.evaluation.results import ModelResult

_FEW = 50
"""Films below which nothing but a gross difference would show."""


def external_section(results: Sequence[ModelResult]) -> Section:
    """Returns how films and scores differ from training and validation, with a plain verdict.

    Args:
        results: models under distinct names, tested on one set.
    """
    found = {
        result.name: measure_drift(
            result.films("val"),
            result.films("test"),
            result.threshold,
            result.film_table,
            result.training_quality,
        )
        for result in results
    }
    source = (
        "These are **not the model's own test films**. The threshold is the frozen one; nothing "
        "was fitted on them."
        if results[0].external
        else "These are the test films that belong to the model's own data."
    )
    blocks: list[Block] = [Text(source)]
    blocks += [_verdict(name, drift) for name, drift in found.items()]
    blocks += _quality_blocks(results, found)
    blocks.append(_score_table(found))
    blocks.append(
        Text(
            "Scores are compared class by class, so that another share of PNEUMONIA does not count "
            "as drift. A model that keeps its ranking (AUROC) while its scores move has a "
            "threshold in the wrong place there: choose one anew on labelled films of that place, "
            "never on the films it is then reported on.",
            level="note",
        )
    )
    return Section(
        "population",
        "Do these films look like the training films?",
        tuple(blocks),
        {name: asdict(drift) for name, drift in found.items()},
    )


def _verdict(name: str, drift: Drift) -> Text:
    different = [one.attribute for one in drift.quality or () if one.differs]
    moved = [f"scores of {one.label.name} films" for one in drift.scores if one.differs]
    if not drift.differs and drift.num_films < _FEW:
        return Text(
            f"{verbatim(name)}: {drift.num_films:,} films are too few to tell whether they differ "
            "from those the model was made with."
        )
    if not drift.differs:
        what = "nothing looked at" if drift.quality else "the scores do not set them apart; quality"
        told = (
            f"{what} sets these films apart from those the model was made with."
            if drift.quality
            else f"{what} was not compared."
        )
        return Text(f"{verbatim(name)}: {told}")
    return Text(
        f"{verbatim(name)}: **this population looks different** from the one the model was made "
        f"with, in {', '.join([*different, *moved])}. Figures from validation do not carry over.",
        level="warning",
    )


def _quality_blocks(results: Sequence[ModelResult], found: dict[str, Drift]) -> list[Block]:
    measured = {name: drift for name, drift in found.items() if drift.quality}
    if not measured:
        return [
            Text(
                "Exposure and sharpness were not compared: the films were not at hand, or the "
                "bundle does not record what its training films look like.",
                level="note",
            )
        ]
    blocks: list[Block] = []
    shown: list[tuple[QualityRange, list[str]]] = []  # models of one training set share a table
    for result in results:
        training = result.training_quality
        if result.name not in measured or training is None:
            continue
        names = next((names for known, names in shown if known == training), None)
        if names is None:
            shown.append((training, [result.name]))
        else:
            names.append(result.name)
    for training, names in shown:
        drift = measured[names[0]]
        blocks.append(_quality_table(drift, ", ".join(map(verbatim, names)), training.num_films))
        blocks.append(
            Text(
                f"{drift.num_outside_any:,} of {drift.num_films:,} films lie outside the range in "
                "brightness, contrast, sharpness or in their share of black or white. An attribute "
                f"counts as different where more than {MUCH_OUTSIDE:.0%} of the films lie outside "
                f"(of films like them: {EXPECTED_OUTSIDE:.0%}) and chance does not explain it. "
                "Height and width are shown and not judged: every film is resized before a network "
                "sees it."
            )
        )
    return blocks


def _quality_table(drift: Drift, whose: str, num_training: int) -> Table:
    rows = tuple(
        (
            one.attribute,
            f"{one.training_low:.4g} to {one.training_high:.4g}",
            f"{one.training_median:.4g}",
            f"{one.median:.4g}",
            MISSING if one.shift is None else f"{one.shift:+.2f}",
            with_interval(one.share_outside, one.interval),
            "-" if one.attribute in SIZES else ("**yes**" if one.differs else "no"),
        )
        for one in drift.quality or ()
    )
    return Table(
        f"What the films look like, against the {num_training:,} training films of {whose}.",
        (
            "Attribute",
            "99 % of training films",
            "Median there",
            "Median here",
            "Shift (IQR)",
            "Share outside (Wilson)",
            "Different",
        ),
        rows,
    )


def _score_table(found: dict[str, Drift]) -> Table:
    rows = tuple(
        (
            f"{verbatim(name)}, {one.label.name}",
            fraction(one.val_called),
            fraction(one.test_called),
            fraction(one.distance),
            p_value(one.p_value),
            "**yes**" if one.differs else "no",
        )
        for name, drift in found.items()
        for one in drift.scores
    )
    return Table(
        "Scores of each class against validation: share called at the frozen threshold, and the "
        "largest distance of the two distributions (Kolmogorov and Smirnov; films as independent).",
        ("Model, class", "Called, validation", "Called, here", "Distance", "p", "Different"),
        rows,
    )
