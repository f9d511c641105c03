"""Recall-first pneumonia screening on chest X-rays with Vision Transformers.

Research use only; not a medical device. Names are loaded when they are first used, so that
importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pneumoscope.data.radiograph import read_radiograph
    from pneumoscope.errors import PneumoscopeError
    from pneumoscope.evaluation.operating_point import (
        choose_threshold_by_min_recall,
        summarize_at_threshold,
    )
    from pneumoscope.models.build import build_model
    from pneumoscope.models.npz import load_npz
    from pneumoscope.screening.screener import Screener

__all__ = [
    "PneumoscopeError",
    "Screener",
    "build_model",
    "choose_threshold_by_min_recall",
    "load_npz",
    "read_radiograph",
    "summarize_at_threshold",
]

_HOMES = {
    "PneumoscopeError": "errors",
    "Screener": "screening.screener",
    "build_model": "models.build",
    "choose_threshold_by_min_recall": "evaluation.operating_point",
    "load_npz": "models.npz",
    "read_radiograph": "data.radiograph",
    "summarize_at_threshold": "evaluation.operating_point",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"pneumoscope.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'pneumoscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
