"""What is said of values in recipes and label maps that are of a wrong type or out of range.

The words are pydantic's, so they are provoked: each key is given values of every kind.
"""

import re
from functools import cache
from typing import Any

from pydantic import ValidationError
from source_text import GAP

from pneumoscope.config import Recipe, Section, parse_recipe
from pneumoscope.data.label_map import LabelMap
from pneumoscope.errors import ConfigError

_PROBES: tuple[Any, ...] = ("?", "", 1e9, -1e9, 10**9, -(10**9), 0.5, float("nan"), True, [], [1])
_ORIGIN = "\0"


@cache
def value_messages() -> set[str]:
    """Returns what is said of values, with gaps for keys, values and limits."""
    found = _said_of({})
    for probe in _PROBES:
        found |= _said_of({"name": probe})
        for name, field in Recipe.model_fields.items():
            found |= _said_of({"name": "a", name: probe})
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, Section):
                for key in kind.model_fields:
                    found |= _said_of({"name": "a", name: {key: probe}})
        for name in (*LabelMap.model_fields, "other"):
            found |= _said_of_map({"NORMAL": ["a"], "PNEUMONIA": ["b"], name: probe})
    return found


def _said_of(values: dict[str, Any]) -> set[str]:
    try:
        parse_recipe(values, _ORIGIN)
    except ConfigError as error:
        where, _, said = str(error).removeprefix(f"{_ORIGIN}: ").partition(": ")
        if not said[:1].isupper():
            return set()  # a rule of ours
        said = _gapped(re.sub(r" \(and \d+ more\)$", "", said))
        return {f"{GAP}: {GAP} = {GAP}: {said}" if " = " in where else f"{GAP}: {GAP}: {said}"}
    return set()


def _said_of_map(values: dict[str, Any]) -> set[str]:
    try:
        LabelMap.model_validate(values)
    except ValidationError as error:
        said = {one["msg"] for one in error.errors() if one["type"] != "value_error"}
        return {f"{GAP}: {GAP}: {_gapped(text)}" for text in said}
    return set()


def _gapped(said: str) -> str:
    """Returns pydantic's words with gaps for limits, patterns and names of classes."""
    said = re.sub(r"(instance of|pattern) \S+$", rf"\1 {GAP}", said)
    return re.sub(r"\b(than|to|least|not) -?\d\S*", rf"\1 {GAP}", said)
