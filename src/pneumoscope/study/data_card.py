"""The data card that goes with a bundle, written from what the run recorded of its films."""

from typing import Any

from pneumoscope.data.quality import QUALITY_ATTRIBUTES, QualityRange
from pneumoscope.labels import CLASS_NAMES, DISCLAIMER

_KERMANY = """Meant for Kaggle's *Chest X-Ray Images (Pneumonia)*: Kermany et al., *Cell* 172 \
(2018) 1122-1131, CC BY 4.0. If the run used other films, the next three sections are for a person \
to replace.

## Collection
Anterior-posterior chest films of children of one to five years, taken in routine care at one \
centre, the Guangzhou Women and Children's Medical Center, and collected afterwards. Unreadable \
and poor films were removed before publication. Age, sex, severity, dates and machine of a film \
are not published.

## Labels
Two physicians graded each film, a third checked the evaluation set. They read the films that the \
networks read: a label says what was seen, not what culture or course of illness proved. Whether a \
pneumonia is called bacterial or viral in a file name is such a reading too. Agreement between \
readers is not published.

## Known weaknesses
- One centre, one age group: nothing is known of adults, other hospitals or other findings.
- NORMAL and PNEUMONIA films differ in shape, exposure and sharpness; films carry side letters and \
burnt-in text. A network can read the label off any of these.
- Patients are numbered anew in the test folder, and bacterial and viral films of one number may \
or may not be one child.
- The share of PNEUMONIA is far above that of any clinic, and differs between training and test \
folder."""

_PHANTOMS = """**PHANTOM: drawn by a program (`pneumoscope.data.phantom`), not films of patients.**

## Collection
None: anatomy, exposure and opacities are drawn from random numbers.

## Labels
What was drawn: right by construction.

## Known weaknesses
Nothing here says anything about patients."""


def data_card(manifest: dict[str, Any]) -> str:
    """Returns the card as Markdown.

    Args:
        manifest: what ``manifest.json`` will hold besides the hashes.

    Source: the questions are those of Gebru et al., "Datasheets for Datasets"
        (arXiv:1803.09010), as far as a run can answer them.
    """
    data = manifest["data"]
    rows = "\n".join(_row(data, part) for part in ("train", "val", "test"))
    unreadable = len(data["unreadable"])
    return f"""# Data of {manifest["title"] or manifest["name"]}

{DISCLAIMER}

{_PHANTOMS if manifest["phantom"] else _KERMANY}

## Parts
Split of kind `{data["split_kind"]}`, seed {data["split_seed"]}, SHA-256 `{data["split_sha256"]}`. \
{_kind(data["split_kind"])} {unreadable} films were left out as unreadable.

| part | films | {" | ".join(CLASS_NAMES)} | patients |
|---|---:|---:|---:|---:|
{rows}

Patients are read from file names; a film whose name states none counts as one.
{_quality(data)}
## Preprocessing
Decoded to grey, MONOCHROME1 inverted, squeezed to a square with an antialiased filter \
(`config.json`); films are not cropped, equalised or otherwise corrected.

## For a person to fill
Consent and ethical approval, why these films, who may use them and how they are kept up to date.
"""


def _kind(kind: str) -> str:
    if kind == "patient":
        return "No patient (by number) of training is in validation."
    if kind == "block":
        return (
            "No patient (by number) of training is in validation, nor is any other of the same 25 "
            "numbers."
        )
    assert kind == "stratified", kind
    return (
        "**Films are drawn one by one, so patients of training are in validation too**: figures on "
        "validation, and the threshold, are too good."
    )


def _row(data: dict[str, Any], part: str) -> str:
    counts = " | ".join(f"{data['class_counts'][part][name]:,}" for name in CLASS_NAMES)
    return f"| {part} | {data[f'num_{part}']:,} | {counts} | {data['num_patients'][part]:,} |"


def _quality(data: dict[str, Any]) -> str:
    """Returns the table of what the training films look like; empty where it was not measured."""
    if "training_quality" not in data:
        return ""
    found = QualityRange.from_dict(data["training_quality"])
    rows = "\n".join(
        f"| {name} | {found.value(name, 0.005):.4g} | {found.value(name, 0.5):.4g} | "
        f"{found.value(name, 0.995):.4g} |"
        for name in QUALITY_ATTRIBUTES
    )
    return f"""
## What the training films look like
Measured on {found.num_films:,} films (`pneumoscope.data.quality`); 99 % of them lie between the \
bounds.

| attribute | from | median | to |
|---|---:|---:|---:|
{rows}
"""
