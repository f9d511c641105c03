"""The whole study: every recipe on one split, then the comparison.

::

    OUT/
      split.csv         one division for all
      cnn/, scratch/    a run folder a recipe (and seed)
      results.md, results.json, predictions.csv, overview.png, roc.png, ...
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from pneumoscope.config import Recipe, load_recipe
from pneumoscope.data.phantom import write_phantoms
from pneumoscope.data.scan import DEFAULT_DATA, scan_folder
from pneumoscope.errors import UsageError, WeightsError
from pneumoscope.evaluation.comparison import Comparison, compare
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.models.weights import find_weights
from pneumoscope.study.run import Source, run

PRESETS: dict[str, tuple[str, ...]] = {
    "quick": ("quick_cnn", "quick_scratch", "quick_pretrained"),
    "full": ("cnn", "scratch", "pretrained_ti16"),
}
"""Shipped recipes by preset, in the order in which they are trained (teachers first)."""

PHANTOM_DATA = Path("Data/phantoms")


def find_data(data: Path | None, console: Console) -> Path:
    """Returns the folder of films: the one named, else the default one, else phantoms.

    Phantoms are drawn when they are first needed.

    Raises:
        LayoutError: the default folder is there but is not laid out as expected.
        StorageError: phantoms cannot be written.
    """
    if data is not None:
        return data
    if DEFAULT_DATA.is_dir():
        return scan_folder(DEFAULT_DATA).root
    console.print(
        f"No films in {DEFAULT_DATA}: drawing phantoms in {PHANTOM_DATA} instead. Their numbers "
        "say nothing about patients; `pneumoscope data fetch` gets the real films.",
        style="yellow",
    )
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing phantoms", total=None)
        return write_phantoms(
            PHANTOM_DATA,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def load_recipes(names: Sequence[str], num_seeds: int, overrides: Sequence[str]) -> list[Recipe]:
    """Returns each recipe once a seed, in an order in which teachers come first.

    Args:
        names: shipped names or paths.
        num_seeds: how many seeds, counted up from each recipe's own.
        overrides: ``section.key=value`` for every recipe.

    Raises:
        ConfigError: a recipe does not load.
        UsageError: two recipes have one name.
    """
    recipes = [load_recipe(name, overrides) for name in names]
    if len({recipe.name for recipe in recipes}) < len(recipes):
        raise UsageError("two recipes have the same name; give each its own")
    return [
        recipe.model_copy(
            update={
                "training": recipe.training.model_copy(
                    update={"seed": recipe.training.seed + offset}
                )
            }
        )
        for recipe in _teachers_first(recipes)
        for offset in range(num_seeds)
    ]


def _teachers_first(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Returns the recipes as they come, but each after its teacher, and that after its own."""
    by_name = {recipe.name: recipe for recipe in recipes}
    found: dict[str, Recipe] = {}

    def add(recipe: Recipe, students: tuple[str, ...] = ()) -> None:
        teacher = by_name.get(recipe.distillation.teacher)
        if teacher and teacher.name not in (*students, recipe.name):  # or it is found elsewhere
            add(teacher, (*students, recipe.name))
        found.setdefault(recipe.name, recipe)

    for recipe in recipes:
        add(recipe)
    return list(found.values())


def with_weights_here(recipes: Sequence[Recipe], console: Console) -> list[Recipe]:
    """Returns the recipes without those whose pretrained checkpoint is not here.

    Each of the others is named on ``console``, with how to get what it lacks.
    """
    found = []
    for recipe in recipes:
        try:
            if recipe.pretrained.weights:
                find_weights(recipe.pretrained.weights)
        except WeightsError as error:
            console.print(
                f"{recipe.name} is left out: {error}", style="yellow", markup=False, soft_wrap=True
            )
        else:
            found.append(recipe)
    return found


def run_study(
    recipes: Sequence[Recipe],
    data: Path,
    out: Path,
    console: Console,
    *,
    skip_unreadable: bool = False,
) -> Comparison:
    """Returns the comparison of all recipes, each trained in ``out`` unless it already is.

    Args:
        recipes: as :func:`load_recipes` returns them.
        data: the folder of films.
        out: everything that the study writes.
        console: for progress.
        skip_unreadable: leave out films that cannot be decoded.

    Raises:
        WeightsError: a pretrained checkpoint is not here; told before anything is trained.
        PneumoscopeError: whatever stands in the way; finished runs stay finished.
    """
    for recipe in recipes:
        if recipe.pretrained.weights:
            find_weights(recipe.pretrained.weights)
    results = []
    first_seed: dict[str, int] = {}
    for recipe in recipes:
        seed = recipe.training.seed
        name = recipe.name
        if first_seed.setdefault(name, seed) != seed:
            name = f"{name}-s{seed}"
        source = Source(data, out / "split.csv", skip_unreadable)
        results.append(ModelResult.from_bundle(run(recipe, source, out / name, console)))
    return compare(results, out)
