"""``pneumoscope train`` and ``pneumoscope study``: from films to bundles."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pneumoscope.bundle import Bundle

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Films: {train,test}/{NORMAL,PNEUMONIA}. "
        "Default: Data/chest_xray, or phantoms where that is not there.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe: training.epochs=10."),
]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave out films that cannot be decoded.")
]
ValOnly = Annotated[
    bool,
    typer.Option("--val-only", help="Show validation figures; test figures are stored unseen."),
]


class Average(StrEnum):
    """What ``ensemble`` averages."""

    LOG_ODDS = "log-odds"
    WEIGHTS = "weights"


def train(
    recipe: Annotated[str, typer.Argument(metavar="CONFIG", help="A TOML file or shipped name.")],
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run folder. Default: runs/NAME.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Split to use. Default: in the run folder.")
    ] = None,
    set_: Set = None,
    skip_unreadable: SkipUnreadable = False,
    val_only: ValOnly = False,
) -> None:
    """Train one model; the same command goes on after a stop. Works under torchrun."""
    from pneumoscope.cli.consoles import on_stderr
    from pneumoscope.config import load_recipe
    from pneumoscope.study.run import Source, is_main_process, run
    from pneumoscope.study.study import find_data

    loaded = load_recipe(recipe, set_ or ())
    console = on_stderr()
    seed = loaded.training.seed
    folder = out or Path("runs") / (f"{loaded.name}-s{seed}" if seed else loaded.name)
    source = Source(find_data(data, console), split, skip_unreadable)
    bundle = run(loaded, source, folder, console)
    if is_main_process():
        show_bundle(bundle, val_only=val_only)


def ensemble(
    bundles: Annotated[
        list[str], typer.Argument(metavar="BUNDLE...", help="Two or more bundles of one split.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The bundle's folder, to be made.")],
    data: Data = None,
    split: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Their split. Default: by patient, seed 0.")
    ] = None,
    name: Annotated[str, typer.Option(help="Names the bundle.")] = "ensemble",
    title: Annotated[str, typer.Option(help="How it is called in tables.")] = "Ensemble",
    average: Annotated[
        Average,
        typer.Option(help="Their log odds; or their weights, of networks fine-tuned alike."),
    ] = Average.LOG_ODDS,
    zoom_average: Annotated[
        bool,
        typer.Option(
            "--zoom-average",
            help="Each network answers the mean over a film and four zooms of it, at five times "
            "the cost; one bundle will do.",
        ),
    ] = False,
    skip_unreadable: SkipUnreadable = False,
    val_only: ValOnly = False,
) -> None:
    """Join bundles into one that averages them, with a threshold of its own."""
    from pneumoscope.bundle import open_bundle
    from pneumoscope.cli.consoles import on_stderr
    from pneumoscope.study.ensemble import join
    from pneumoscope.study.run import Source
    from pneumoscope.study.study import find_data

    console = on_stderr()
    source = Source(find_data(data, console), split, skip_unreadable)
    members = [open_bundle(bundle) for bundle in bundles]
    joined = join(
        members,
        source,
        out,
        console,
        name=name,
        title=title,
        average=average.value,
        zoom_average=zoom_average,
    )
    show_bundle(joined, val_only=val_only)


def study(
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Default: studies/quick, full or custom; on phantoms with -phantoms.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option("--full", help="The published recipes; over an hour instead of minutes."),
    ] = False,
    recipe: Annotated[
        list[str] | None, typer.Option(metavar="CONFIG", help="Train these instead; repeatable.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train each recipe with so many seeds.")] = 1,
    set_: Set = None,
    skip_unreadable: SkipUnreadable = False,
) -> None:
    """Split, train every model, choose thresholds, test once, compare: all of it."""
    from pneumoscope.cli.consoles import on_stderr
    from pneumoscope.cli.results import show_comparison
    from pneumoscope.data.phantom import is_phantom
    from pneumoscope.errors import UsageError
    from pneumoscope.study.study import (
        PRESETS,
        find_data,
        load_recipes,
        run_study,
        with_weights_here,
    )

    if full and recipe:
        raise UsageError("--full and --recipe exclude each other; give one of them")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "study runs in one process; start train under torchrun for each recipe, then compare"
        )
    preset = "full" if full else "quick"
    recipes = load_recipes(recipe or PRESETS[preset], seeds, set_ or ())
    console = on_stderr()
    if not recipe:
        recipes = with_weights_here(recipes, console)
    films = find_data(data, console)
    name = ("custom" if recipe else preset) + ("-phantoms" if is_phantom(films) else "")
    folder = out or Path("studies") / name
    show_comparison(
        run_study(recipes, films, folder, console, skip_unreadable=skip_unreadable), folder
    )


def show_bundle(bundle: "Bundle", *, val_only: bool) -> None:
    """Prints the bundle's table, of validation or of test, then where it is."""
    from pneumoscope.cli.consoles import on_stdout
    from pneumoscope.evaluation.results import ModelResult
    from pneumoscope.evaluation.tables import results_table

    table = results_table([ModelResult.from_bundle(bundle)], "val" if val_only else "test")
    on_stdout().print(table)
    print(f"bundle: {bundle.path}")
