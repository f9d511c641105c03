"""``predictions.csv``: the seam between networks and statistics.

One line a film: ``path, patient_id, split, y_true, logit_normal, logit_pneumonia, p_pneumonia``.
Numbers are written so that reading gives the same float64 back, bit for bit.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from pneumoscope.errors import EvaluationError
from pneumoscope.files import write_text

TEXT_COLUMNS = ("path", "patient_id", "split")
NUMBER_COLUMNS = ("y_true", "logit_normal", "logit_pneumonia", "p_pneumonia")
COLUMNS = TEXT_COLUMNS + NUMBER_COLUMNS
SPLITS = ("train", "val", "test", "unused")
P_TOLERANCE = 1e-6
"""How far ``p_pneumonia`` may lie from the softmax of the logits."""


class _FilmError(EvaluationError):
    """The film at ``index`` breaks a rule of :class:`Predictions`."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(f"film {index}: {message}")
        self.index = index
        self.message = message


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model says of N films; checked when it is made, so it is always sound.

    Attributes:
        path: paths of the films, posix, str of shape (N,).
        patient_id: the patients they belong to, str of shape (N,).
        split: one of ``SPLITS`` a film, str of shape (N,).
        y_true: reference labels, 0 = NORMAL, 1 = PNEUMONIA, shape (N,); kept as int64.
        logits: finite network outputs (NORMAL, PNEUMONIA), float64 of shape (N, 2).
        p_pneumonia: softmax of the logits for PNEUMONIA, in [0, 1], float64 of shape (N,).

    Raises:
        EvaluationError: columns of unequal length, a film that breaks a rule above, or a
            (split, path) that occurs twice.
    """

    path: npt.NDArray[np.str_]
    patient_id: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    y_true: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float64]
    p_pneumonia: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuses what is not sound, naming the first film that is not."""
        for name in ("path", "patient_id", "split", "y_true", "logits", "p_pneumonia"):
            expected = (len(self.path), 2) if name == "logits" else (len(self.path),)
            if (shape := getattr(self, name).shape) != expected:
                raise EvaluationError(f"{name} has shape {shape}; expected {expected}")
        self._check_films()
        object.__setattr__(self, "y_true", self.y_true.astype(np.int64))

    def _check_films(self) -> None:
        softmax = _softmax_pneumonia(self.logits)
        with np.errstate(invalid="ignore", over="ignore"):
            log_odds = self.logits[:, 1] - self.logits[:, 0]
        p = self.p_pneumonia
        for name, values, sound, expected in (
            ("path", self.path, self.path != "", "a path"),
            ("patient_id", self.patient_id, self.patient_id != "", "a patient"),
            ("split", self.split, np.isin(self.split, SPLITS), f"one of {', '.join(SPLITS)}"),
            ("y_true", self.y_true, (self.y_true == 0) | (self.y_true == 1), "0 or 1"),
            ("logits", self.logits, np.isfinite(self.logits).all(axis=1), "finite numbers"),
            ("logits", self.logits, np.isfinite(log_odds), "numbers with a finite difference"),
            ("p_pneumonia", p, (p >= 0) & (p <= 1), "a probability in [0, 1]"),
            ("p_pneumonia", p, abs(p - softmax) <= P_TOLERANCE, "the softmax of the logits"),
        ):
            if not sound.all():
                index = int(np.argmin(sound))
                found = values[index].tolist()
                raise _FilmError(index, f"{name} is {found!r}; expected {expected}")
        seen = set()
        for index, film in enumerate(zip(self.split.tolist(), self.path.tolist(), strict=True)):
            if film in seen:
                raise _FilmError(index, f"{film[1]!r} occurs twice in {film[0]}; expected once")
            seen.add(film)

    def __len__(self) -> int:
        """Returns the number of films."""
        return len(self.path)

    @classmethod
    def from_logits(
        cls,
        path: Sequence[str],
        patient_id: Sequence[str],
        split: Sequence[str],
        y_true: npt.ArrayLike,
        logits: npt.ArrayLike,
    ) -> Self:
        """Returns the predictions with ``p_pneumonia`` as the float64 softmax of ``logits``.

        Args:
            path: paths of the films, posix.
            patient_id: their patients.
            split: one of ``SPLITS`` a film.
            y_true: labels, 0 or 1, of shape (N,).
            logits: network outputs (NORMAL, PNEUMONIA) of shape (N, 2), of any float type.

        Raises:
            EvaluationError: as for the class itself.
        """
        logits_f64 = np.asarray(logits, dtype=np.float64)
        if logits_f64.ndim != 2 or logits_f64.shape[1] != 2:
            raise EvaluationError(f"logits has shape {logits_f64.shape}; expected (N, 2)")
        return cls(
            path=np.array(path, dtype=np.str_),
            patient_id=np.array(patient_id, dtype=np.str_),
            split=np.array(split, dtype=np.str_),
            y_true=np.asarray(y_true),
            logits=logits_f64,
            p_pneumonia=_softmax_pneumonia(logits_f64),
        )

    @property
    def log_odds(self) -> npt.NDArray[np.float64]:
        """Log-odds of PNEUMONIA, shape (N,): ``p_pneumonia`` is their logistic."""
        odds: npt.NDArray[np.float64] = self.logits[:, 1] - self.logits[:, 0]
        return odds

    def subset(self, split: str) -> Self:
        """Returns the films of one split, in their order; none where it does not occur."""
        return self.take(np.flatnonzero(self.split == split))

    def take(self, rows: npt.NDArray[np.intp]) -> Self:
        """Returns the films with these indices, in that order."""
        return type(self)(
            path=self.path[rows],
            patient_id=self.patient_id[rows],
            split=self.split[rows],
            y_true=self.y_true[rows],
            logits=self.logits[rows],
            p_pneumonia=self.p_pneumonia[rows],
        )

    def joined(self, other: Self) -> Self:
        """Returns these films followed by those of ``other``.

        Raises:
            EvaluationError: a (split, path) occurs in both.
        """
        columns = ("path", "patient_id", "split", "y_true", "logits", "p_pneumonia")
        return type(self)(
            *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in columns)
        )

    def rows(self) -> Iterator[tuple[str, str, str, int, float, float, float]]:
        """Yields one tuple a film, in the order of ``COLUMNS``, of plain Python values."""
        return zip(
            self.path.tolist(),
            self.patient_id.tolist(),
            self.split.tolist(),
            self.y_true.tolist(),
            self.logits[:, 0].tolist(),
            self.logits[:, 1].tolist(),
            self.p_pneumonia.tolist(),
            strict=True,
        )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Writes ``predictions`` to ``path`` as CSV, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    write_text(path, csv_text(COLUMNS, predictions.rows()))


def read_predictions(path: Path) -> Predictions:
    """Returns the predictions that a CSV file holds.

    Raises:
        EvaluationError: the file cannot be read, has other columns or no films, or a line breaks
            a rule of :class:`Predictions`; the message names the file and the line.
    """
    table = read_csv(path, text_columns=TEXT_COLUMNS, number_columns=NUMBER_COLUMNS)
    return _predictions_of(table, np.arange(len(table.line_numbers)), path)


def read_named_predictions(path: Path) -> dict[str, Predictions]:
    """Returns the predictions of a CSV file by model, as a comparison writes it.

    A file without the first column ``model`` is of one model, whose name is then ``""``.

    Raises:
        EvaluationError: as for :func:`read_predictions`.
    """
    if not _has_models(path):
        return {"": read_predictions(path)}
    columns = ("model", *TEXT_COLUMNS)
    table = read_csv(path, text_columns=columns, number_columns=NUMBER_COLUMNS)
    names = table.text["model"]
    return {
        name: _predictions_of(table, np.flatnonzero(names == name), path)
        for name in dict.fromkeys(names.tolist())
    }


def _has_models(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return next(csv.reader(stream), [])[:1] == ["model"]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"cannot read {path} as CSV: {error}") from error


def _predictions_of(table: "CsvTable", rows: npt.NDArray[np.intp], path: Path) -> Predictions:
    logits = [table.numbers[f"logit_{c}"][rows] for c in ("normal", "pneumonia")]
    try:
        return Predictions(
            path=table.text["path"][rows],
            patient_id=table.text["patient_id"][rows],
            split=table.text["split"][rows],
            y_true=table.numbers["y_true"][rows],
            logits=np.stack(logits, axis=1),
            p_pneumonia=table.numbers["p_pneumonia"][rows],
        )
    except _FilmError as error:
        line = table.line_numbers[int(rows[error.index])]
        raise EvaluationError(f"{path}, line {line}: {error.message}") from error


@dataclass(frozen=True)
class CsvTable:
    """The columns of a CSV file by name, and the line on which each row ends, from 1."""

    text: dict[str, npt.NDArray[np.str_]]
    numbers: dict[str, npt.NDArray[Any]]
    line_numbers: list[int]


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a CSV table as text, with ``\\n`` line ends and floats at full precision."""
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")  # writes a float as its repr, which is exact
    # On its own the writer leaves a carriage return bare, which readers take for a line's end.
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    plain.writerow(columns)
    for row in rows:
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (quoted if has_return else plain).writerow(row)
    return text.getvalue()


def read_csv(
    path: Path,
    *,
    text_columns: Sequence[str] = (),
    number_columns: Sequence[str],
    may_be_empty: bool = False,
) -> CsvTable:
    """Returns a CSV file that has exactly ``text_columns``, then ``number_columns``.

    Raises:
        EvaluationError: the file cannot be read, has another header or no lines below it (unless
            it may be empty), or a line has too few or too many cells or a cell that is no number.
    """
    header = [*text_columns, *number_columns]
    num_text = len(text_columns)
    text: list[list[str]] = []
    numbers: list[list[float]] = []
    line_numbers: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            if (found := next(reader, [])) != header:
                raise EvaluationError(
                    f"{path} has the columns {','.join(found)!r}; expected {','.join(header)!r}"
                )
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if len(row) != len(header):
                    raise EvaluationError(f"{where}: {len(row)} cells; expected {len(header)}")
                text.append(row[:num_text])
                numbers.append(
                    [
                        _number(cell, f"{where}: {name}")
                        for name, cell in zip(number_columns, row[num_text:], strict=True)
                    ]
                )
                line_numbers.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"cannot read {path} as CSV: {error}") from error
    if not line_numbers and not may_be_empty:
        raise EvaluationError(f"{path} has a header but no lines below it; expected at least one")
    num_rows = len(line_numbers)
    text_cells = np.array(text, dtype=np.str_).reshape(num_rows, num_text)
    number_cells = np.array(numbers, dtype=np.float64).reshape(num_rows, len(number_columns))
    return CsvTable(
        text=dict(zip(text_columns, text_cells.T, strict=True)),
        numbers=dict(zip(number_columns, number_cells.T, strict=True)),
        line_numbers=line_numbers,
    )


def _number(cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise EvaluationError(f"{where} is {cell!r}; expected a number") from None


def _softmax_pneumonia(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the softmax of two logits for the second: the logistic of their difference."""
    with np.errstate(invalid="ignore", over="ignore"):  # infinite logits are refused by name
        p: npt.NDArray[np.float64] = expit(logits[:, 1] - logits[:, 0])
    return p
