"""``pneumoscope screen``: films in, decisions out."""

import os
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

if TYPE_CHECKING:
    from pneumoscope.screening.screener import Screening


class Format(StrEnum):
    """Forms of the answer."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def screen(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Films (JPEG, PNG, TIFF, DICOM), folders of them, or - for a list of paths "
            "on standard input, one a line.",
        ),
    ],
    format_: Annotated[
        Format, typer.Option("--format", help="A table, JSON lines, or CSV.")
    ] = Format.TABLE,
    bundle: Annotated[
        str | None, typer.Option(help="Bundle: its folder, or the name of a shipped one.")
    ] = None,
    recursive: Annotated[bool, typer.Option(help="Look into folders inside folders.")] = True,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the answer here instead.")
    ] = None,
) -> None:
    """Screen chest X-rays for pneumonia: score, decision at the frozen threshold, warnings.

    Exit status: 0 all were screened, 1 some failed (each has its line), 2 wrong usage.
    """
    from pneumoscope.errors import BundleError, UsageError
    from pneumoscope.files import atomic_path
    from pneumoscope.labels import DISCLAIMER
    from pneumoscope.screening.films import list_films
    from pneumoscope.screening.screener import Screener

    films = list_films(paths, sys.stdin.buffer if sys.stdin else None, recursive=recursive)
    if not films:
        raise UsageError("no films in what was named; name files, or folders that hold some")
    try:
        screener = Screener.load(bundle)
    except BundleError as error:
        raise UsageError(str(error)) from error
    num_failed = 0

    def screenings() -> Iterator["Screening"]:
        nonlocal num_failed
        for screening in screener.screen_many(_with_progress(films, format_, output)):
            num_failed += screening.status == "error"
            yield screening

    try:
        if output is None:
            _write(screenings(), format_, sys.stdout)
            sys.stdout.flush()
        else:
            with atomic_path(output) as path, path.open("w", encoding="utf-8") as stream:
                _write(screenings(), format_, stream)
    except BrokenPipeError:
        # The reader has enough (| head). Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    if format_ is not Format.TABLE or output is not None:
        typer.echo(DISCLAIMER, err=True)
    if num_failed:
        raise typer.Exit(1)


def _with_progress(films: list[str], format_: Format, output: Path | None) -> Iterable[str]:
    """Returns ``films`` with a progress bar on standard error where that disturbs nothing."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shown = console.is_terminal and (
        format_ is Format.TABLE or output is not None or not sys.stdout.isatty()
    )
    return track(films, "screening", console=console, transient=True, disable=not shown)


def _write(screenings: Iterable["Screening"], format_: Format, stream: TextIO) -> None:
    from pneumoscope.screening.output import csv_header, csv_line, json_line, screening_table

    if format_ is Format.TABLE:
        from rich.console import Console

        width = None if stream.isatty() else 120
        Console(file=stream, width=width).print(screening_table(list(screenings)))
        return
    if format_ is Format.CSV:
        print(csv_header(), file=stream)
    as_line = json_line if format_ is Format.JSON else csv_line
    for screening in screenings:
        print(as_line(screening), file=stream, flush=True)
