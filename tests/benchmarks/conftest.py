"""Scripts of ``benchmarks/`` as modules."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def block_validation() -> ModuleType:
    return load("block_validation")


@pytest.fixture(scope="module")
def style_holdout() -> ModuleType:
    return load("style_holdout")


@pytest.fixture(scope="module")
def trials() -> ModuleType:
    return load("trials")


@pytest.fixture(scope="module")
def doubtful_labels() -> ModuleType:
    return load("doubtful_labels")


@pytest.fixture(scope="module")
def average_scores() -> ModuleType:
    return load("average_scores")
