"""Which films a network was trained or tuned on, so that it is never judged on them unnoticed."""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pneumoscope.bundle import Bundle
from pneumoscope.data.scan import Film
from pneumoscope.data.split import SplitRow
from pneumoscope.errors import BundleError
from pneumoscope.evaluation.predictions import csv_text, read_predictions
from pneumoscope.files import sha256_of, write_text

FILE = "training_films.csv"
_COLUMNS = ("name", "sha256")
_DIGITS = 16
"""Of the hash: two of ten thousand films share so many by chance once in 10^11 data sets."""


def write_training_films(folder: Path, rows: Sequence[SplitRow]) -> None:
    """Writes the names and the hashes of a split's training films into a bundle's folder.

    Raises:
        StorageError: the file cannot be written.
    """
    lines = [(PurePosixPath(row.path).name, row.sha256[:_DIGITS]) for row in rows]
    write_text(folder / FILE, csv_text(_COLUMNS, lines))


def count_seen(bundle: Bundle, root: Path, films: Sequence[Film]) -> int | None:
    """Returns how many films the bundle's network was trained or tuned on, by content or name.

    By name, because copies of one film at another resolution have other bytes; validation films,
    on which epoch and threshold were chosen, by name alone. ``None`` where the bundle does not
    record its training films.

    Args:
        bundle: whose training films to look for.
        root: the folder to which the films' paths are relative.
        films: the films that it is to be judged on.

    Raises:
        BundleError: the record is unsound.
        EvaluationError: the bundle's scores are.
    """
    path = bundle.path / FILE
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise BundleError(f"{path} has other columns than name, sha256; copy the bundle again")
        rows = list(reader)
    val = read_predictions(bundle.path / "predictions.csv").subset("val")
    names = {_stem(row["name"]) for row in rows} | {_stem(path) for path in val.path.tolist()}
    hashes = {row["sha256"] for row in rows}
    return sum(
        _stem(film.path) in names or sha256_of(root / film.path)[:_DIGITS] in hashes
        for film in films
    )


def _stem(path: str) -> str:
    return PurePosixPath(path).stem.lower()
