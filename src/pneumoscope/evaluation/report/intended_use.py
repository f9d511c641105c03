"""The section on what the models are for, what their films are, and where they must not be used."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pneumoscope.evaluation.report.document import Block, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.numbers import MISSING, fraction, with_interval
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.evaluation.shortcuts import Shortcut, measure_shortcuts
from pneumoscope.labels import CLASS_NAMES

_STRONG = 0.1
"""Distance from 0.5 at which an attribute alone tells classes apart well enough to be named."""


def intended_use_section(results: Sequence[ModelResult]) -> Section:
    """Returns intended use, data card, limits and shortcuts, as far as the run records them.

    Args:
        results: models under distinct names, tested on one set.
    """
    shortcuts = {
        result.name: measure_shortcuts(result.films("test"), result.film_table)
        for result in results
        if result.film_table is not None
    }
    blocks: list[Block] = [
        Text(
            "**Intended use.** Research on screening frontal chest radiographs for pneumonia, "
            "recall first. Not a medical device; no figure here was made in care, and pneumonia is "
            "a clinical diagnosis that a film alone does not make."
        ),
        *_data_blocks(results),
        *_shortcut_blocks(shortcuts),
        *_known_shortcuts(results),
        Text(
            "**What the network sees.** A film decoded to grey, MONOCHROME1 inverted, squeezed to "
            "a square with an antialiased filter; not cropped, equalised or otherwise corrected."
        ),
        Text(
            "**Limits.** Adults, lateral views, other findings, other equipment and other "
            "hospitals are outside what these models have seen, and they still answer there. Films "
            "that show neither pneumonia nor health were not in the data: nothing is known of "
            "them.",
            level="warning",
        ),
    ]
    data = {
        "data": {result.name: (result.manifest or {}).get("data") for result in results},
        "shortcuts": {name: [asdict(one) for one in found] for name, found in shortcuts.items()},
    }
    return Section("intended-use", "What it is for, and what it has seen", tuple(blocks), data)


def _known_shortcuts(results: Sequence[ModelResult]) -> list[Block]:
    if any(result.phantom for result in results):
        return []
    return [
        Text(
            "**Known shortcuts.** In the public data, films of the two classes differ in shape "
            "before they are squeezed to a square, in exposure and in sharpness; they carry side "
            "letters and text. A network can read the label off any of these. The sections on whom "
            "it fails and on changed films say how much these models do."
        )
    ]


def _data_blocks(results: Sequence[ModelResult]) -> list[Block]:
    blocks: list[Block] = []
    if any(result.phantom for result in results):
        blocks.append(
            Text(
                "**Films.** Drawn by a program (phantoms), in training, in testing or in both. "
                "Nothing here says anything about patients."
            )
        )
    else:
        blocks.append(
            Text(
                "**Films.** The shipped models and recipes are made for Kaggle's *Chest X-Ray "
                "Images (Pneumonia)*: 5,856 anterior-posterior films of children of one to five "
                "years, taken in routine care at one centre, the Guangzhou Women and Children's "
                "Medical Center, and collected afterwards (Kermany et al., *Cell* 172 (2018) "
                "1122-1131, CC BY 4.0). Unreadable and poor films were removed before publication, "
                "so poor films are rarer than in care. Where a run used other films, these "
                "sentences are for a person to replace."
            )
        )
        blocks.append(
            Text(
                "**Labels.** Two physicians graded each film; a third checked the evaluation set. "
                "They read the films the networks read: the labels say what was seen, not what "
                "culture or course of illness proved. Bacterial and viral are such readings too. "
                "Agreement between the readers is not published."
            )
        )
    rows = []
    for result in results:
        data: dict[str, Any] = (result.manifest or {}).get("data", {})
        for part in ("train", "val", "test"):
            rows.append((f"{verbatim(result.name)}, {part}", *_counts(result, data, part)))
    blocks.append(
        Table(
            "Films and patients by part; a film whose name states no patient counts as one.",
            ("Model, part", "Films", *CLASS_NAMES, "Patients"),
            tuple(rows),
        )
    )
    return blocks


def _counts(result: ModelResult, data: dict[str, Any], part: str) -> tuple[str, ...]:
    """Returns films, films by class and patients; of training as the manifest records them."""
    if part == "train":
        counts = data.get("class_counts", {}).get("train")
        numbers = [data.get("num_train"), *(counts[n] if counts else None for n in CLASS_NAMES)]
        numbers.append(data.get("num_patients", {}).get("train"))
        return tuple(MISSING if number is None else f"{number:,}" for number in numbers)
    films = result.films(part)
    positive = int(films.y_true.sum())
    patients = len(set(films.patient_id.tolist()))
    return tuple(f"{n:,}" for n in (len(films), len(films) - positive, positive, patients))


def _shortcut_blocks(shortcuts: dict[str, list[Shortcut]]) -> list[Block]:
    found = {name: of_model for name, of_model in shortcuts.items() if of_model}
    if not found:
        return []
    first = next(iter(found.values()))
    strong = [one for one in first if abs(one.auroc - 0.5) >= _STRONG]
    told = ", ".join(f"{one.attribute} ({fraction(one.auroc)})" for one in strong)
    return [
        Text(
            "**What else tells the classes apart here.** "
            + (f"Alone, without any network: {told}." if told else "No measured attribute alone.")
            + " An AUROC far from 0.5 is what a network could reach without looking at a lung."
        ),
        Table(
            "Measured attributes as classifiers of the test films (AUROC, DeLong's 95 % interval "
            "by patient; below 0.5, NORMAL films have more of it), and their rank correlation with "
            "the score within each class, where it cannot help.",
            (
                "Attribute",
                "AUROC alone",
                *(f"{name}: {label}" for name in map(verbatim, found) for label in CLASS_NAMES),
            ),
            tuple(
                (
                    one.attribute,
                    with_interval(one.auroc, one.interval),
                    *(
                        MISSING if (r := of_model[row].correlation[label]) is None else f"{r:+.2f}"
                        for of_model in found.values()
                        for label in CLASS_NAMES
                    ),
                )
                for row, one in enumerate(first)
            ),
        ),
    ]
