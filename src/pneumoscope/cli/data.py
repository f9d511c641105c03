"""``pneumoscope data``: get the films, look them over, divide them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from pneumoscope.data.audit import Audit
    from pneumoscope.data.split import Split

app = typer.Typer(no_args_is_help=True, help="Get the films, look them over, divide them.")

_MAX_LISTED = 5


class SourceOption(StrEnum):
    """Where ``fetch`` may look."""

    AUTO = "auto"
    KAGGLE = "kaggle"
    MENDELEY = "mendeley"
    PNEUMONIAMNIST = "pneumoniamnist"


class KindOption(StrEnum):
    """Kinds of split."""

    PATIENT = "patient"
    STRATIFIED = "stratified"
    BLOCK = "block"


Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder with {train,test}/{NORMAL,PNEUMONIA}.")
]
_DEFAULT_FOLDER = Path("Data/chest_xray")


@app.command()
def fetch(
    target: Annotated[Path, typer.Argument(help="Folder to make.")] = _DEFAULT_FOLDER,
    source: Annotated[SourceOption, typer.Option(help="Where to look.")] = SourceOption.AUTO,
) -> None:
    """Download the 5,856 films of Kermany et al. (CC BY 4.0), verified and resumable."""
    from pneumoscope.cli.consoles import on_stderr, on_stdout
    from pneumoscope.data.fetch import fetch_dataset
    from pneumoscope.data.scan import scan_folder

    messages = on_stderr()
    with _step_progress(messages) as report:
        place = fetch_dataset(
            target,
            source=source.value,
            on_progress=report,
            on_notice=lambda line: messages.print(line, style="yellow", markup=False),
        )
    num_films = len(scan_folder(place).films)
    on_stdout().print(f"{num_films:,} films in {place}", markup=False, soft_wrap=True)


@app.command()
def audit(
    folder: Folder = _DEFAULT_FOLDER,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write everything as JSON.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Look at the parts of this split.")
    ] = None,
) -> None:
    """Report unreadable films, duplicates, classes, patients on both sides, and sizes.

    The exit status is 1 where a problem was found.
    """
    from rich.progress import track

    from pneumoscope.cli.consoles import on_stderr, on_stdout
    from pneumoscope.data.audit import audit_folder
    from pneumoscope.data.scan import scan_folder
    from pneumoscope.data.split import check_split, read_split
    from pneumoscope.files import write_json

    films = scan_folder(folder)
    chosen = None
    if split is not None:
        chosen = read_split(split)
        check_split(films, chosen, split)
    show = partial(track, description="reading films", console=on_stderr())
    found = audit_folder(films, chosen, track=show)
    _print_audit(on_stdout(), found)
    if json is not None:
        write_json(json, found.to_dict())
    if found.has_problems:
        raise typer.Exit(1)


@app.command()
def split(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The split's CSV table.")],
    folder: Folder = _DEFAULT_FOLDER,
    kind: Annotated[
        KindOption,
        typer.Option(help="Keep patients on one side; only the class shares; or 25 numbers."),
    ] = KindOption.PATIENT,
    seed: Annotated[int, typer.Option(help="Which of the possible divisions.")] = 0,
    val_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="Part of train that becomes val.")
    ] = 0.2,
) -> None:
    """Divide train into train and val, once; a split that is there is checked and kept."""
    from pneumoscope.cli.consoles import on_stderr, on_stdout
    from pneumoscope.data.scan import scan_folder
    from pneumoscope.data.split import open_split

    films = scan_folder(folder)
    was_there = out.exists()
    with on_stderr().status(f"reading {len(films.films):,} films"):
        made = open_split(films, out, kind.value, val_fraction=val_fraction, seed=seed)
    _print_split(on_stdout(), made)
    state = "was there and fits the films" if was_there else "is written"
    on_stdout().print(f"{out} {state} (sha256 {made.sha256})", markup=False, soft_wrap=True)


@app.command()
def phantoms(
    target: Annotated[Path, typer.Argument(help="Folder to make.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other phantoms.")] = 0,
) -> None:
    """Draw a small data set of PHANTOMS, films of no patient, for trying things out."""
    from pneumoscope.cli.consoles import on_stderr, on_stdout
    from pneumoscope.data.phantom import write_phantoms
    from pneumoscope.data.scan import scan_folder

    with _step_progress(on_stderr()) as report:
        place = write_phantoms(target, seed=seed, on_progress=partial(report, "drawing phantoms"))
    num_films = len(scan_folder(place).films)
    on_stdout().print(f"{num_films:,} PHANTOM films in {place}", markup=False, soft_wrap=True)


@contextmanager
def _step_progress(console: "Console") -> Iterator[Callable[[str, int, int | None], None]]:
    """Yields a callback for (step, done, total) that draws one bar a step."""
    from rich.filesize import decimal
    from rich.progress import BarColumn, Progress, TaskID, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), "{task.fields[amount]}", TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}

    with Progress(*columns, console=console) as progress:

        def report(step: str, done: int, total: int | None) -> None:
            write = decimal if step.startswith(("downloading", "unpacking")) else "{:,}".format
            amount = write(done) + (f" of {write(total)}" if total else "")
            if step not in tasks:
                tasks[step] = progress.add_task(step, amount=amount)
            progress.update(tasks[step], completed=done, total=total, amount=amount)

        yield report


def _print_audit(console: "Console", audit: "Audit") -> None:
    from rich.table import Table
    from rich.text import Text

    kind = "PHANTOM films" if audit.phantom else "films"
    console.print(f"{audit.num_films:,} {kind} in {audit.root}", markup=False, soft_wrap=True)
    table = Table("part")
    for heading in ("NORMAL", "PNEUMONIA", "patients by kind and number", "by number"):
        table.add_column(heading, justify="right")
    for part, counts in audit.class_counts.items():
        cells = [*counts.values(), *audit.num_patients[part].values()]
        table.add_row(part, *(f"{cell:,}" for cell in cells))
    console.print(table)
    lines = [f"{name}: {count:,} films" for name, count in audit.formats.items()]
    for what, spread, digits in (
        ("height (px)", audit.height_px, 0),
        ("width (px)", audit.width_px, 0),
        ("width / height", audit.aspect, 2),
    ):
        if spread is not None:
            low, median, high = (f"{value:,.{digits}f}" for value in spread)
            lines.append(f"{what}: {low} to {high}, median {median}")
    lines += _shorten("cannot be read", [f"{u.path}: {u.reason}" for u in audit.unreadable])
    lines += _shorten("equal", [" = ".join(group) for group in audit.exact_duplicates])
    near = [f"{n.path} ~ {n.other_path} ({n.correlation:.3f})" for n in audit.near_duplicates or ()]
    lines += _shorten("nearly equal", near)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    styles = {"problem": "bold red", "note": "yellow", "ok": "green"}
    for finding in audit.verdict:
        mark = Text(f"{finding.level}: ", style=styles[finding.level])
        console.print(mark + Text(finding.text), soft_wrap=True)


def _shorten(heading: str, items: list[str]) -> list[str]:
    more = len(items) - _MAX_LISTED
    shown = [f"{heading}: {item}" for item in items[:_MAX_LISTED]]
    return [*shown, f"{heading}: {more:,} more (--json lists all)"] if more > 0 else shown


def _print_split(console: "Console", split: "Split") -> None:
    from rich.table import Table

    from pneumoscope.labels import Label

    table = Table("split", title=f"{split.kind}, seed {split.seed}, val {split.val_fraction:g}")
    for heading in ("films", *(label.name for label in Label), "patients"):
        table.add_column(heading, justify="right")
    for name in ("train", "val", "test", "unused"):
        rows = split.subset(name)
        counts = [sum(row.label == label for row in rows) for label in Label]
        patients = len({row.patient_id for row in rows})
        table.add_row(name, *(f"{cell:,}" for cell in (len(rows), *counts, patients)))
    console.print(table)
