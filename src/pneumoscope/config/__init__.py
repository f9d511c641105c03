"""Recipes: one TOML file a published row, typed, ranged, and strict about unknown keys.

A recipe names everything that a run depends on besides the films, so its hash identifies the
run. ``--set training.lr=1e-3`` changes one value on the command line.
"""

from pneumoscope.config.loading import load_recipe, parse_recipe, recipe_keys, shipped_recipes
from pneumoscope.config.recipe import Recipe
from pneumoscope.config.sections import (
    AugmentationConfig,
    BundleConfig,
    DataConfig,
    DistillationConfig,
    MaskedAutoencodingConfig,
    ModelConfig,
    OperatingPointConfig,
    PretrainedConfig,
    Section,
    TrainingConfig,
)

__all__ = [
    "AugmentationConfig",
    "BundleConfig",
    "DataConfig",
    "DistillationConfig",
    "MaskedAutoencodingConfig",
    "ModelConfig",
    "OperatingPointConfig",
    "PretrainedConfig",
    "Recipe",
    "Section",
    "TrainingConfig",
    "load_recipe",
    "parse_recipe",
    "recipe_keys",
    "shipped_recipes",
]
