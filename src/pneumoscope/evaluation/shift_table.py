"""``shifts.csv``: what one model says of the same films under each change.

One line a film: ``path``, then one column a variant, the first of them ``clean``, with the
log-odds of PNEUMONIA (the difference of the logits), written so that reading gives the same
float32 back, bit for bit.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pneumoscope.data.corruption import CLEAN
from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.predictions import Predictions, csv_text, read_csv
from pneumoscope.files import write_text


@dataclass(frozen=True, eq=False)
class ShiftTable:
    """Log-odds of N films, clean and changed; checked when it is made, so it is always sound.

    Attributes:
        path: paths of the films, posix, str of shape (N,); each occurs once.
        log_odds: finite log-odds, float32 of shape (N,), by variant; ``"clean"`` comes first.

    Raises:
        EvaluationError: no films, no ``"clean"`` or not first, nothing beside it, columns of
            unequal length, or a film that breaks a rule above.
    """

    path: npt.NDArray[np.str_]
    log_odds: dict[str, npt.NDArray[np.float32]]

    def __post_init__(self) -> None:
        """Refuses what is not sound, naming the first film that is not."""
        if not len(self.path):
            raise EvaluationError("there are no films under changes; expected at least one")
        if next(iter(self.log_odds), None) != CLEAN or len(self.log_odds) < 2:
            found = ", ".join(self.log_odds) or "none"
            raise EvaluationError(f"the variants are {found}; expected {CLEAN!r}, then changes")
        paths, counts = np.unique(self.path, return_counts=True)
        if paths[0] == "":
            raise EvaluationError("a path is empty; expected a film")
        if counts.max() > 1:
            twice = str(paths[np.argmax(counts > 1)])
            raise EvaluationError(f"{twice!r} occurs twice; expected once")
        for name, values in self.log_odds.items():
            if values.shape != self.path.shape:
                raise EvaluationError(
                    f"{name!r} has shape {values.shape}; expected {self.path.shape}"
                )
            if not (sound := np.isfinite(values)).all():
                film, value = self.path[np.argmin(sound)], values[np.argmin(sound)]
                raise EvaluationError(
                    f"{name!r} of {str(film)!r} is {value}; expected a finite number"
                )

    def __len__(self) -> int:
        """Returns the number of films."""
        return len(self.path)

    def align(self, predictions: Predictions) -> npt.NDArray[np.int64]:
        """Returns for each film of this table its index in ``predictions``, shape (N,).

        Args:
            predictions: films of one split; they may be more than the table's.

        Raises:
            EvaluationError: a film of the table is not among them.
        """
        index_of = {path: index for index, path in enumerate(predictions.path.tolist())}
        if missing := [path for path in self.path.tolist() if path not in index_of]:
            raise EvaluationError(
                f"{len(missing)} of {len(self)} films under changes have no prediction (such as "
                f"{missing[0]!r}); score them again together with the predictions"
            )
        return np.array([index_of[path] for path in self.path.tolist()], dtype=np.int64)


def write_shift_table(path: Path, table: ShiftTable) -> None:
    """Writes ``table`` to ``path`` as CSV, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    # As text, because the shortest digits of a float32 are half of those of the same float64.
    columns = [values.astype(np.str_).tolist() for values in table.log_odds.values()]
    rows = zip(table.path.tolist(), *columns, strict=True)
    write_text(path, csv_text(("path", *table.log_odds), rows))


def read_shift_table(path: Path) -> ShiftTable:
    """Returns the table that a CSV file holds.

    Raises:
        EvaluationError: the file cannot be read, has no films or no fitting columns, or a film
            breaks a rule of :class:`ShiftTable`; the message names the file.
    """
    variants = _variants(path)
    csv_table = read_csv(path, text_columns=("path",), number_columns=variants)
    with np.errstate(over="ignore"):  # too large for a float32: refused as infinite, by name
        log_odds = {name: csv_table.numbers[name].astype(np.float32) for name in variants}
    try:
        return ShiftTable(csv_table.text["path"], log_odds)
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error}") from error


def _variants(path: Path) -> list[str]:
    """Returns the names of the columns after ``path``."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"cannot read {path} as CSV: {error}") from error
    if header[:2] != ["path", CLEAN] or len(set(header)) < len(header):
        raise EvaluationError(
            f"{path} has the columns {','.join(header)!r}; expected 'path,{CLEAN}', then one "
            "column a variant, each once"
        )
    return header[1:]
