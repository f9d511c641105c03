"""``pneumoscope screen``: films in, decisions out."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from pneumoscope.cli.explain import Precision

if TYPE_CHECKING:
    from pneumoscope.screening.confidence import Confidence
    from pneumoscope.screening.films import Listed
    from pneumoscope.screening.screener import Screener, Screening, View


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
            help="Films (JPEG, PNG, TIFF, DICOM), folders or zip archives of them, or - for a list "
            "of paths on standard input, one a line.",
        ),
    ],
    format_: Annotated[
        Format, typer.Option("--format", help="A table, JSON lines, or CSV.")
    ] = Format.TABLE,
    bundle: Annotated[
        str | None, typer.Option(help="Bundle: its folder, or the name of a shipped one.")
    ] = None,
    recursive: Annotated[bool, typer.Option(help="Look into folders inside folders.")] = True,
    null: Annotated[
        bool,
        typer.Option("--null", "-0", help="Paths of - end in a null byte, as of find -print0."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the answer here instead.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Add to --output, line by line, what is not there yet."),
    ] = False,
    heatmaps: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write heat maps there. Needs torch.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an HTML page sorted by risk.")
    ] = None,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Add p_calibrated to JSON and CSV.")
    ] = False,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of pneumonia to expect: says what a decision is worth there."),
    ] = None,
    gate: Annotated[
        bool, typer.Option(help="Refuse what does not look like a frontal chest X-ray.")
    ] = True,
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic; int8 is faster, for bundles that bear it.")
    ] = Precision.FLOAT32,
) -> None:
    """Screen chest X-rays for pneumonia: score, decision at the frozen threshold, warnings.

    Exit status: 0 no film failed (some may have abstained), 1 some failed (each has its line),
    2 wrong usage.
    """
    from pneumoscope.errors import BundleError, UsageError
    from pneumoscope.labels import DISCLAIMER
    from pneumoscope.screening.films import NO_FILMS, list_films
    from pneumoscope.screening.output import COLUMNS
    from pneumoscope.screening.screener import Screener
    from pneumoscope.screening.zips import RefusedFilm

    as_lines = format_ is not Format.TABLE
    if resume and (output is None or not as_lines):
        raise UsageError("--resume adds to a file: give --output, and --format json or csv")
    if resume and sheet:
        raise UsageError("--sheet shows the films of one run, without --resume")
    if calibrated and not as_lines:
        raise UsageError("--calibrated adds a field to lines: give --format json or csv")
    end = b"\0" if null else b"\n"
    films = list_films(paths, sys.stdin.buffer if sys.stdin else None, recursive=recursive, end=end)
    if all(isinstance(film, RefusedFilm) and film.reason == NO_FILMS for film in films):
        raise UsageError("no films in what was named; name files, or folders that hold some")
    _check_outputs(films, output, sheet)
    try:
        screener = Screener.load(bundle, gate=gate, precision=precision.value)
    except BundleError as error:
        raise UsageError(str(error)) from error
    confidence = None
    if calibrated or prevalence is not None:
        confidence = _confidence(screener, prevalence)
    columns = [*COLUMNS, *(["p_calibrated"] if calibrated else [])]
    if resume and output is not None:
        settings = {
            "model_id": screener.model_id,
            "threshold": screener.bundle.threshold,
            "gate": gate,
            "prevalence": prevalence,
        }
        films = _not_done(films, output, format_, columns, settings)
    keep = _Keeper(screener, heatmaps, sheet)
    num_failed = 0

    def screenings() -> Iterator["Screening"]:
        nonlocal num_failed
        shown = _with_progress(films, format_, output)
        for screening, view in screener.screen_views(shown):
            num_failed += screening.status == "error"
            keep(screening, view)
            yield screening

    if threading.current_thread() is threading.main_thread():
        # Ended by the system, it tidies up as after Ctrl-C.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with _stream(output, resume) as stream:
            is_new = stream.tell() == 0 if resume else True
            extra = confidence if calibrated else None
            _write(screenings(), format_, stream, extra, header=columns if is_new else None)
    except BrokenPipeError:
        # The reader has enough (| head). Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_BROKEN_PIPE) from None
    except KeyboardInterrupt:
        kept = "what is there stays; the same command goes on" if resume else "nothing was kept"
        hint = f"; {kept}" if output is not None else ""
        typer.echo(f"error: interrupted{hint}", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    keep.finish(confidence.expectation if confidence else None)
    if confidence is not None and confidence.expectation:
        typer.echo(confidence.expectation, err=True)
    if as_lines or output is not None:
        typer.echo(DISCLAIMER, err=True)
    if num_failed:
        raise typer.Exit(1)


_INTERRUPTED, _BROKEN_PIPE = 130, 141
"""Exit statuses as shells have them: 128 and the number of the signal."""


def _check_outputs(films: "list[Listed]", output: Path | None, sheet: Path | None) -> None:
    """Refuses outputs that cannot be written, or would replace a film or one another."""
    from pneumoscope.errors import UsageError
    from pneumoscope.files import check_target

    targets = [path for path in (output, sheet) if path is not None]
    for path in targets:
        check_target(path)
    if len(targets) == 2 and targets[0].resolve() == targets[1].resolve():
        raise UsageError(f"--output and --sheet are both {output}; name two files")
    existing = {_identity(path): path for path in targets if path.exists()}
    for film in films if existing else []:
        replaced = existing.get(_identity(film if isinstance(film, str) else film.source))
        if replaced is not None:
            raise UsageError(f"{replaced} is to be screened, so it cannot be written; name another")


def _identity(path: str | Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  a null byte in a name is no error here
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


class _Keeper:
    """Keeps what ``--heatmaps`` and ``--sheet`` ask for while the films go by."""

    def __init__(self, screener: "Screener", heatmaps: Path | None, sheet: Path | None) -> None:
        self._sheet = sheet
        self._paint: Callable[[str, View], View] | None = None
        self._films: list[tuple[Screening, str | None]] = []
        if heatmaps is not None:
            from importlib.util import find_spec

            from pneumoscope.errors import UsageError

            if find_spec("torch") is None:
                raise UsageError("--heatmaps needs torch, which is not here; pip install torch")
            from pneumoscope.screening.explain import Explainer

            self._paint = Explainer(screener.bundle, heatmaps).write

    def __call__(self, screening: "Screening", view: "View | None") -> None:
        picture = view
        if view is not None and self._paint is not None:
            picture = self._paint(screening.path, view)
        if self._sheet is not None:
            from pneumoscope.screening.sheet import thumbnail

            self._films.append((screening, None if picture is None else thumbnail(picture)))

    def finish(self, note: str | None) -> None:
        """Writes the sheet, if one was asked for."""
        if self._sheet is not None:
            from pneumoscope.files import write_text
            from pneumoscope.screening.sheet import contact_sheet

            page = contact_sheet(self._films, note=note, heat=self._paint is not None)
            write_text(self._sheet, page)


def _confidence(screener: "Screener", prevalence: float | None) -> "Confidence":
    from pneumoscope.screening.confidence import Confidence

    return Confidence.of(screener.bundle, prevalence)


def _not_done(
    films: "list[Listed]",
    output: Path,
    format_: Format,
    columns: list[str],
    settings: dict[str, Any],
) -> "list[Listed]":
    from pneumoscope.screening.resume import is_done, resume

    as_csv = format_ is Format.CSV
    done = resume(output, columns=columns, as_csv=as_csv, settings=settings)
    return [film for film in films if not is_done(str(film), done, as_csv=as_csv)]


@contextmanager
def _stream(output: Path | None, resume: bool) -> Iterator[TextIO]:
    """Yields where the answer goes: standard output, a file that appears whole, or its end."""
    from pneumoscope.errors import UsageError
    from pneumoscope.files import atomic_path, storage_error

    if output is None:
        if sys.stdout is None:
            raise UsageError("standard output is closed; name a file with --output")
        yield sys.stdout
        sys.stdout.flush()
    elif not resume:
        with atomic_path(output) as path, path.open("w", encoding="utf-8") as stream:
            yield stream
    else:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            stream = output.open("a", encoding="utf-8")
        except OSError as error:
            raise storage_error(output, error) from error
        with stream:
            yield stream


def _with_progress(
    films: "list[Listed]", format_: Format, output: Path | None
) -> "Iterable[Listed]":
    """Returns ``films`` with a progress bar on standard error where that disturbs nothing."""
    if sys.stderr is None or not sys.stderr.isatty():
        return films
    from rich.console import Console
    from rich.progress import track

    shown = format_ is Format.TABLE or output is not None or not sys.stdout.isatty()
    console = Console(stderr=True)
    return track(films, "screening", console=console, transient=True, disable=not shown)


def _write(
    screenings: Iterable["Screening"],
    format_: Format,
    stream: TextIO,
    confidence: "Confidence | None",
    *,
    header: list[str] | None,
) -> None:
    from pneumoscope.screening.output import (
        COLUMNS,
        csv_header,
        csv_line,
        json_line,
        screening_table,
    )

    if format_ is Format.TABLE:
        from rich.console import Console

        width = None if stream.isatty() else 120
        Console(file=stream, width=width).print(screening_table(list(screenings)))
        return
    if format_ is Format.CSV and header:
        print(csv_header(header[len(COLUMNS) :]), file=stream)
    as_line = json_line if format_ is Format.JSON else csv_line
    for screening in screenings:
        extra = {}
        if confidence is not None:
            p = screening.p_pneumonia
            extra["p_calibrated"] = None if p is None else confidence.p_calibrated(p)
        # One write a line, so that an interruption leaves at most one of them unfinished.
        stream.write(as_line(screening, extra) + "\n")
        stream.flush()
