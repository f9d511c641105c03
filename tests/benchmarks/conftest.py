"""Scripts of ``benchmarks/`` as modules."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script(name: str) -> Any:
    """Returns a fixture that is the script of that name."""

    @pytest.fixture(scope="module", name=name)
    def load() -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(BENCHMARKS))
            return importlib.import_module(name)

    return load


average_scores = script("average_scores")
block_validation = script("block_validation")
changed_films = script("changed_films")
doubtful_labels = script("doubtful_labels")
style_holdout = script("style_holdout")
threshold_transfer = script("threshold_transfer")
trials = script("trials")
validation_under_shift = script("validation_under_shift")
