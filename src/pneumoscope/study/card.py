"""The model card that goes with a bundle, written from what the run recorded."""

from collections.abc import Mapping
from typing import Any

from pneumoscope.config import Recipe
from pneumoscope.labels import DISCLAIMER


def model_card(
    recipe: Recipe,
    model: Mapping[str, Any],
    operating_point: dict[str, Any],
    metrics: dict[str, Any],
    manifest: dict[str, Any],
) -> str:
    """Returns the card as Markdown.

    Args:
        recipe: what was trained; of a converted network or an ensemble, the parts that hold for it.
        model: the arguments of ``build_model``, as in ``config.json``.
        operating_point: content of ``operating_point.json``.
        metrics: content of ``metrics.json``.
        manifest: what ``manifest.json`` will hold besides the hashes; ``converted_from`` in it
            says that the weights come from outside.

    Source: the headings follow Mitchell et al., "Model Cards for Model Reporting"
    (arXiv:1810.03993).
    """
    data = manifest["data"]
    phantom = "**PHANTOM: drawn films, not patients.** " if manifest["phantom"] else ""
    converted = manifest.get("converted_from")
    source = (
        "Procedural phantoms (`pneumoscope.data.phantom`)."
        if manifest["phantom"]
        else "Meant for Kaggle's *Chest X-Ray Images (Pneumonia)* (Kermany et al., Cell 2018, "
        "CC BY 4.0): one centre, Guangzhou; labels by two physicians, the test set checked by a "
        "third. If the run used other films, these statements are for a person to replace."
    )
    return f"""# {recipe.title or recipe.name}

{phantom}{DISCLAIMER}

## Model
`{manifest["model"]}`, {manifest["num_parameters"]:,} parameters, input {model["img_size"]} x \
{model["img_size"]} grey shown in {model["in_chans"]} channels, scaled to [-1, 1]\
{_inside(model)}. \
{_weights(recipe, manifest)}; {manifest["device"]}; \
{manifest["hardware"]["processor"]}, {manifest["hardware"]["num_cores"]} cores.

## Intended use
Research on recall-first screening of frontal chest radiographs, PNEUMONIA against NORMAL. \
{_seen(manifest)}, and it still answers there. \
Pneumonia is a clinical diagnosis; a film alone does not make it.

## Data
{source} Split `{data["split_kind"]}` (SHA-256 `{data["split_sha256"][:16]}`): \
{data["num_train"]} train, {data["num_val"]} validation, {data["num_test"]} test films.\
{_CONTAMINATION if converted else ""}

## Operating point
{operating_point["rule"].capitalize()}, chosen on {operating_point["num_cases"]} validation \
films with `min_recall` {operating_point["min_recall"]}: \
threshold {operating_point["threshold"]:.6g}, \
reaching recall {operating_point["recall"]:.3f} and precision {operating_point["precision"]:.3f} \
there. Frozen since.

## Results
| films | threshold | accuracy | precision | recall | specificity | F1 | AUROC |
|---|---:|---:|---:|---:|---:|---:|---:|
{_rows(metrics)}

Intervals are in `metrics.json`; every score behind these figures is in `predictions.csv`.

## Limits
Validation films come from the training folder and are easier than the test films: the threshold \
lands elsewhere on other data. The share of PNEUMONIA here is far above that of any clinic, so \
precision will be lower there. `pneumoscope evaluate` says whether other films look like these, \
and what becomes of the threshold there.

## Known shortcuts
Films of the two classes differ in shape before they are squeezed to a square, in exposure and in \
sharpness, and carry side letters and burnt-in text: any of these can stand in for the label. \
`pneumoscope evaluate` measures how much they move these scores. `DATA_CARD.md` tells how films \
and labels came about.
"""


_CONTAMINATION = """

**It is not known which films this network was trained on.** If validation films were among them, \
the threshold and its figures are too good; if test films were, all figures are."""


def _inside(model: Mapping[str, Any]) -> str:
    """Returns what the network, or each of its members, does besides its layers."""
    if "members" in model:
        of_members = (f"; `{one['name']}`{_inside(one)}" for one in model["members"])
        return "".join(dict.fromkeys(of_members))  # seeds of one recipe are told once
    said = ", then each film standardised inside the network" if model.get("standardize") else ""
    views = {
        "flip_average": "a film and its mirror image",
        "zoom_average": "a film and four zooms of it",
    }
    over = [of for key, of in views.items() if model.get(key)]
    return said + (f", the answer the mean over {' and over '.join(over)}" if over else "")


def _weights(recipe: Recipe, manifest: dict[str, Any]) -> str:
    """Returns where the weights come from."""
    converted = manifest.get("converted_from")
    if converted:
        return (
            f"Weights from outside, trained elsewhere: file `{converted['file']}`, SHA-256 "
            f"`{converted['sha256']}`, converted and otherwise unchanged"
        )
    if members := manifest.get("members"):
        what = manifest.get("average", "log-odds").replace("-", " ")
        said = f"Mean of the {what} of {len(members)} members: {', '.join(members)}"
        return said if len(members) > 1 else f"Weights of {members[0]}, unchanged"
    minutes = manifest["train_time_s"] / 60
    said = f"Recipe `{recipe.name}`, seed {recipe.training.seed}; {minutes:.1f} minutes of training"
    if manifest.get("cause_counts"):
        said += ", also to tell bacterial from viral pneumonia"
    return said


def _seen(manifest: dict[str, Any]) -> str:
    """Returns what the network was trained on and what lies outside of that."""
    if manifest.get("converted_from"):
        return (
            "What it was trained on is not recorded: whatever that was not, by age, view, finding "
            "or equipment, is outside what it has seen"
        )
    films = "phantom films" if manifest["phantom"] else "films of one to five year old children"
    return (
        f"Trained on {films}: adults, lateral views, other findings and other equipment are "
        "outside what it has seen"
    )


def _rows(metrics: dict[str, Any]) -> str:
    rows = []
    for split in ("val", "test"):
        for key in ("at_0.5", "at_threshold"):
            m = metrics[split][key]
            names = ("acc", "precision", "recall", "specificity", "f1", "auroc")
            cells = " | ".join("-" if m[n] is None else f"{m[n]:.3f}" for n in names)
            rows.append(f"| {split} | {m['thr']:.3g} | {cells} |")
    return "\n".join(rows)
