"""``pneumoscope evaluate`` and ``pneumoscope compare``: from scores to tables and figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pneumoscope.evaluation.comparison import Comparison


def compare(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(metavar="BUNDLE...", help="Bundles or run folders. Default: the shipped."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path("comparison"),
) -> None:
    """Compare models from their stored scores: table, figures, JSON. Needs no films, no torch."""
    from pneumoscope.bundle import open_bundle, shipped_bundles
    from pneumoscope.errors import UsageError
    from pneumoscope.evaluation.comparison import compare as compare_results
    from pneumoscope.evaluation.results import ModelResult

    named: Sequence[str | Path] = bundles or list(shipped_bundles().values())
    if not named:
        raise UsageError("no bundle is shipped with this copy; name one, as in compare runs/cnn")
    results = [ModelResult.from_bundle(open_bundle(bundle)) for bundle in named]
    show_comparison(compare_results(results, out), out)


def evaluate(
    bundle: Annotated[str, typer.Argument(help="Bundle or run folder, or a shipped name.")],
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Labelled films: {NORMAL,PNEUMONIA}, or a whole layout."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path("evaluation"),
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out films that cannot be decoded.")
    ] = False,
) -> None:
    """Evaluate a bundle on labelled films, at its frozen threshold and at 0.5."""
    from pneumoscope.bundle import open_bundle
    from pneumoscope.cli.consoles import on_stderr
    from pneumoscope.study.evaluate import evaluate as evaluate_bundle

    opened = open_bundle(bundle)
    show_comparison(
        evaluate_bundle(opened, data, out, on_stderr(), skip_unreadable=skip_unreadable), out
    )


def show_comparison(comparison: "Comparison", folder: Path) -> None:
    """Prints the table, then where the files and the picture are."""
    from pneumoscope.cli.consoles import on_stdout
    from pneumoscope.evaluation.tables import results_table

    on_stdout().print(results_table(comparison.results))
    print(f"tables, scores and figures: {folder}")
    print(f"picture: {comparison.overview}")
