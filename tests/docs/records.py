"""What the pages show, and what the records hold, for the tests that compare them."""

import csv
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pages import ROOT
from sklearn.metrics import roc_auc_score

from pneumoscope.bundle import open_bundle

RECORDS = ROOT / "benchmarks" / "results"


def table(page: str, header: str) -> list[list[str]]:
    """The rows of the table whose first line starts so, without emphasis."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("**", "")
    assert text.count(f"\n{header}") == 1, f"{page}: {header}"
    lines = text[text.index(f"\n{header}") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


def agrees(cell: str, *values: float | None) -> bool:
    """Whether the numbers in a cell are these, as far as they are written out."""
    shown = re.findall(r"(?<![\w.])-?[\d,]*\.?\d+", cell)
    assert len(shown) == len(values), (cell, values)
    for text, value in zip(shown, values, strict=True):
        digits = len(text.partition(".")[2])
        if value is None or abs(float(text.replace(",", "")) - value) > 0.51 * 10**-digits:
            return False
    return True


def lines_of(name: str) -> list[dict[str, Any]]:
    text = (RECORDS / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def record(name: str) -> dict[str, Any]:
    return json.loads((RECORDS / name).read_text(encoding="utf-8"))


@cache
def shifts(bundle: str) -> dict[str, tuple[float, float]]:
    """AUROC and specificity at the frozen threshold under each recorded change."""
    folder = RECORDS / "evaluation" / bundle
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert model["model_id"] == open_bundle(bundle).model_id, "evidence of another bundle"
    with (folder / "shifts.csv").open(encoding="utf-8", newline="") as stream:
        films = list(csv.DictReader(stream))
    is_sick = np.array([Path(film["path"]).parent.name == "PNEUMONIA" for film in films])
    limit = np.log(model["threshold"] / (1 - model["threshold"]))
    found = {}
    for change in (name for name in films[0] if name != "path"):
        scores = np.array([float(film[change]) for film in films])
        found[change] = (roc_auc_score(is_sick, scores), float((scores[~is_sick] < limit).mean()))
    return found
