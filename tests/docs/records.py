"""What the records hold, for the tests that compare the pages with them."""

import json
from functools import cache
from typing import Any

from pages import ROOT

from pneumoscope.bundle import open_bundle
from pneumoscope.evaluation.evidence import open_results
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.evaluation.robustness import VariantResult, evaluate_shifts

RECORDS = ROOT / "benchmarks" / "results"


def record(name: str) -> dict[str, Any]:
    """A record of its own."""
    return json.loads((RECORDS / name).read_text(encoding="utf-8"))


def lines_of(name: str) -> list[dict[str, Any]]:
    """The records of a file that has one a line."""
    text = (RECORDS / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@cache
def evidence(bundle: str) -> ModelResult:
    """What was recorded of a shipped bundle on the test films and on changed ones."""
    (found,) = open_results(RECORDS / "evaluation" / bundle)
    assert found.model_id == open_bundle(bundle).model_id, "evidence of another bundle"
    return found


@cache
def changes(bundle: str) -> dict[str, VariantResult]:
    """What it does on changed test films, its threshold frozen, by the name of the change."""
    model = evidence(bundle)
    assert model.shift_table is not None
    found = evaluate_shifts(model.shift_table, model.films("test"), model.threshold).variants
    return {variant.variant: variant for variant in found}


def shifts(bundle: str) -> dict[str, tuple[float | None, float | None]]:
    """AUROC and specificity of each change."""
    return {name: (found.auroc, found.specificity) for name, found in changes(bundle).items()}
