"""From a TOML file and ``--set`` to a recipe, and what is said where they do not fit."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pneumoscope.config.recipe import Recipe
from pneumoscope.config.sections import Section
from pneumoscope.errors import ConfigError


def shipped_recipes() -> dict[str, Path]:
    """Returns the recipes that come with the package, by name, sorted."""
    package = Path(str(files("pneumoscope")))
    # A wheel carries them inside the package; a checkout has them at its root.
    for folder in (package / "configs", package.parents[1] / "configs"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def load_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Returns the recipe in a TOML file, or the shipped one of that name.

    Args:
        source: a path, or a name such as ``scratch``.
        overrides: ``section.key=value`` each; the value is TOML, or else taken as text.

    Raises:
        ConfigError: no such file, not TOML, an unknown key (the nearest one is named), a value
            out of range, or an override of another form.
    """
    path = Path(source)
    if not path.is_file():
        recipes = shipped_recipes()
        if str(source) not in recipes:
            near = difflib.get_close_matches(str(source), recipes, n=1)
            hint = f"did you mean {near[0]}?" if near else f"shipped: {', '.join(recipes)}"
            raise ConfigError(f"no recipe {source}: not a file, and not a shipped name; {hint}")
        path = recipes[str(source)]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for override in overrides:
        _apply_override(values, override)
    return parse_recipe(values, str(path))


def parse_recipe(values: Mapping[str, Any], origin: str) -> Recipe:
    """Returns the recipe that nested ``values`` describe; ``origin`` names them in errors.

    Raises:
        ConfigError: an unknown key, a missing one, or a value out of range.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first, *others = error.errors()
        more = f" (and {len(others)} more)" if others else ""
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{origin}: unknown key {where}; {_nearest(where)}{more}") from error
        found = "" if first["type"] == "missing" else f" = {first['input']!r}"
        if not where:
            where, found = "recipe", ""
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{origin}: {where}{found}: {message}{more}") from error


def recipe_keys() -> list[str]:
    """Returns every key a recipe may have, as ``section.key``."""
    keys = []
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            keys += [f"{name}.{key}" for key in section.model_fields]
        else:
            keys.append(name)
    return keys


def _nearest(key: str) -> str:
    known = recipe_keys()
    tops = list(dict.fromkeys(name.split(".")[0] for name in known))
    last = key.rpartition(".")[2]
    near = [name for name in known if name.endswith(f".{last}")]  # the right key, misplaced
    near += difflib.get_close_matches(key, known if "." in key else tops, n=1, cutoff=0.4)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(tops)}"


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    *sections, last = key.strip().split(".")
    if not separator or not last:
        raise ConfigError(f"--set {override}: expected section.key=value, as training.epochs=10")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    target = values
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override}: {section} is a value, not a section")
    target[last] = value
