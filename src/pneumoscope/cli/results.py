"""``pneumoscope evaluate`` and ``pneumoscope compare``: from scores to tables and figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pneumoscope.evaluation.comparison import Comparison


def _above_zero(value: float) -> float:
    """Returns ``value``; a recall of 0 is reached by calling no film."""
    if not 0.0 < value <= 1.0:
        raise typer.BadParameter(f"{value} is not above 0 and at most 1")
    return value


MinRecall = Annotated[
    float,
    typer.Option(
        callback=_above_zero,
        help="Validation recall at which the threshold of a predictions.csv is chosen; bundles "
        "carry theirs.",
    ),
]


def compare(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RESULT...",
            help="Bundles, run folders, folders of evaluate, predictions.csv. "
            "Default: the shipped bundles.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path("comparison"),
    min_recall: MinRecall = 0.95,
) -> None:
    """Compare models from their stored scores: table, report, JSON. Needs no films, no torch."""
    from pneumoscope.bundle import shipped_bundles
    from pneumoscope.errors import UsageError
    from pneumoscope.evaluation.comparison import compare as compare_results
    from pneumoscope.evaluation.evidence import FOLDER, open_results, remove_evidence

    named: Sequence[str | Path] = bundles or list(shipped_bundles().values())
    if not named:
        raise UsageError("no bundle is shipped with this copy; name one, as in compare runs/cnn")
    results = [r for source in named for r in open_results(source, min_recall=min_recall)]
    comparison = compare_results(results, out)
    remove_evidence(out / FOLDER)  # of an evaluation that this comparison replaced
    show_comparison(comparison, out)


def evaluate(
    bundle: Annotated[
        str,
        typer.Argument(
            metavar="RESULT",
            help="Bundle or run folder, or a shipped name; without --data also a folder of "
            "evaluate or a predictions.csv.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Labelled films: {NORMAL,PNEUMONIA}, a whole layout, or any with --labels. "
            "Default: none, the stored scores are evaluated.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML that says which folder names mean which class."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path("evaluation"),
    robustness: Annotated[
        bool,
        typer.Option(help="Score altered copies of the films too; about 30 times the work."),
    ] = True,
    gallery: Annotated[
        bool,
        typer.Option(help="Show the films that were decided most wrongly, in the report itself."),
    ] = True,
    min_recall: MinRecall = 0.95,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out films that cannot be decoded.")
    ] = False,
) -> None:
    """Evaluate a model at its frozen threshold and at 0.5: report, tables, figures, JSON."""
    from pneumoscope.errors import UsageError

    if data is None:
        from pneumoscope.evaluation.comparison import compare as compare_results
        from pneumoscope.evaluation.evidence import (
            FOLDER,
            open_results,
            remove_evidence,
            write_evidence,
        )

        if labels or skip_unreadable:
            raise UsageError("--labels and --skip-unreadable concern films; give --data with them")
        results = open_results(bundle, min_recall=min_recall)
        comparison = compare_results(results, out)
        if len(results) == 1:
            write_evidence(out / FOLDER, results[0])
        else:
            remove_evidence(out / FOLDER)
        show_comparison(comparison, out)
        return

    from pneumoscope.bundle import open_bundle
    from pneumoscope.cli.consoles import on_stderr
    from pneumoscope.study.evaluate import evaluate as evaluate_bundle

    comparison = evaluate_bundle(
        open_bundle(bundle),
        data,
        out,
        on_stderr(),
        labels=labels,
        robustness=robustness,
        gallery=gallery,
        skip_unreadable=skip_unreadable,
    )
    show_comparison(comparison, out)


def show_comparison(comparison: "Comparison", folder: Path) -> None:
    """Prints the table, then where the files and the picture are."""
    from pneumoscope.cli.consoles import on_stdout
    from pneumoscope.evaluation.tables import results_table

    on_stdout().print(results_table(comparison.results))
    print(f"tables, scores and figures: {folder}")
    print(f"picture: {comparison.overview}")
    print(f"report: {comparison.report}")
