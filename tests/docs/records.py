"""What the records hold, for the tests that compare the pages with them."""

import json
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pages import ROOT, agrees

from pneumoscope.bundle import open_bundle, shipped_bundles
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


MODELS = {
    "CNN": "cnn",
    "ViT from scratch": "scratch",
    "ViT-Ti/16": "pretrained_ti16",
    "ViT-Ti/16, pretrained": "pretrained_ti16",
}


def metrics(bundle: str) -> dict[str, Any]:
    path = shipped_bundles()[bundle] / "metrics.json"
    return json.loads(path.read_text(encoding="utf-8"))


def cnn_of_40_epochs() -> dict[str, Any]:
    """The figures of the CNN that was shipped before, to which older trials are compared."""
    return record("cnn-trials/epochs-40-seed-0.json")["metrics"]


def script(name: str) -> ModuleType:
    """One of ``benchmarks/`` as a module."""
    spec = spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def averaged(paths: list[Path]) -> dict[str, Any]:
    """What the mean log odds come to at the threshold that validation chooses."""
    found = script("average_scores").average(paths)
    return {part: figures["at_threshold"] for part, figures in found.items()}


@cache
def seeds_of(bundle: str) -> list[dict[str, float]]:
    """What three seeds reach on test at the frozen threshold, the shipped one first."""
    others = {
        "cnn": "cnn-trials/epochs-80-seed-{}.json",
        "scratch": "scratch-trials/epochs-48-seed-{}.json",
        "pretrained_ti16": "ti16-trials/six-epochs-seed-{}.json",
    }[bundle]
    runs = [metrics(bundle), *(record(others.format(seed))["metrics"] for seed in (1, 2))]
    return [run["test"]["at_threshold"] for run in runs]


def seconds_to(line: dict[str, Any], target: float) -> float:
    """When the AUROC of a recorded training was first as high, in seconds."""
    return next(seconds for seconds, auroc in line["curve"] if auroc >= target)


def epochs_to(line: dict[str, Any], target: float) -> int:
    """After how many epochs that was."""
    return next(epoch for epoch, (_, auroc) in enumerate(line["curve"], 1) if auroc >= target)


SEED_KEYS = ("auroc", "recall", "specificity", "acc")


def agrees_with_seeds(each: list[str], together: list[str], seeds: list[dict[str, float]]) -> None:
    for column, key in enumerate(SEED_KEYS, start=1):
        values = [seed[key] for seed in seeds]
        assert agrees(each[column], *values), key
        assert agrees(together[column], np.mean(values), np.std(values, ddof=1)), key
