"""``films.csv``: what was measured on the films, so that no statistic needs them at hand.

One line a film: ``path, sha256`` of its prepared 224 px view, then the attributes of
:class:`~pneumoscope.data.quality.Quality`. Numbers are read back bit for bit.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from pneumoscope.data.quality import QUALITY_ATTRIBUTES, Quality
from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.predictions import csv_text, read_csv
from pneumoscope.files import write_text

TEXT_COLUMNS = ("path", "sha256")
COLUMNS = TEXT_COLUMNS + QUALITY_ATTRIBUTES
_SIZES = ("height_px", "width_px")


class _FilmError(EvaluationError):
    """The film at ``index`` breaks a rule of :class:`FilmTable`."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(f"film {index}: {message}")
        self.index = index
        self.message = message


@dataclass(frozen=True, eq=False)
class FilmTable:
    """What was measured on N films; checked when it is made, so it is always sound.

    Attributes:
        path: paths of the films, posix, str of shape (N,).
        sha256: of the films' 224 px views, lower-case hex, str of shape (N,); films with one
            hash are one picture.
        values: for each of ``QUALITY_ATTRIBUTES`` its finite values, float64 of shape (N,).

    Raises:
        EvaluationError: columns of unequal length, a film that breaks a rule above, or a path
            that occurs twice.
    """

    path: npt.NDArray[np.str_]
    sha256: npt.NDArray[np.str_]
    values: dict[str, npt.NDArray[np.float64]]

    def __post_init__(self) -> None:
        """Refuses what is not sound, naming the first film that is not."""
        if tuple(self.values) != QUALITY_ATTRIBUTES:
            raise EvaluationError(
                f"the films were measured by {', '.join(self.values)}; expected "
                f"{', '.join(QUALITY_ATTRIBUTES)}"
            )
        columns = {"path": self.path, "sha256": self.sha256, **self.values}
        for name, column in columns.items():
            if column.shape != (len(self.path),):
                raise EvaluationError(
                    f"{name} has shape {column.shape}; expected {(len(self.path),)}"
                )
        sizes = {name: self.values[name] for name in _SIZES}
        for name, values, sound, expected in (
            ("path", self.path, self.path != "", "a path"),
            ("sha256", self.sha256, self.sha256 != "", "a hash"),
            *((n, v, np.isfinite(v), "a finite number") for n, v in self.values.items()),
            *((n, v, (v >= 1) & (v % 1 == 0), "a number of pixels") for n, v in sizes.items()),
        ):
            if not sound.all():
                index = int(np.argmin(sound))
                found = values[index].tolist()
                raise _FilmError(index, f"{name} is {found!r}; expected {expected}")
        seen: set[str] = set()
        for index, path in enumerate(self.path.tolist()):
            if path in seen:
                raise _FilmError(index, f"{path!r} occurs twice; expected once")
            seen.add(path)

    def __len__(self) -> int:
        """Returns the number of films."""
        return len(self.path)

    @classmethod
    def from_films(
        cls, path: Sequence[str], sha256: Sequence[str], qualities: Sequence[Quality]
    ) -> Self:
        """Returns the table of films that were measured.

        Args:
            path: paths of the films, posix, as in ``predictions.csv``.
            sha256: of the films' views from ``prepare(radiograph, 224)``.
            qualities: from :func:`~pneumoscope.data.quality.measure_view` of the same views.

        Raises:
            EvaluationError: as for the class itself.
        """
        rows = [astuple(quality) for quality in qualities]
        columns = np.array(rows, dtype=np.float64).reshape(len(rows), len(QUALITY_ATTRIBUTES)).T
        return cls(
            path=np.array(path, dtype=np.str_),
            sha256=np.array(sha256, dtype=np.str_),
            values=dict(zip(QUALITY_ATTRIBUTES, columns, strict=True)),
        )

    def align(self, paths: Iterable[str]) -> Self:
        """Returns the table of the films with these paths, in their order.

        Raises:
            EvaluationError: it has no line for some of them; up to three are named.
        """
        wanted = [str(path) for path in paths]
        row_of = {path: row for row, path in enumerate(self.path.tolist())}
        if missing := [path for path in wanted if path not in row_of]:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise EvaluationError(
                f"the table of films lacks {len(missing):,} of {len(wanted):,} films ({shown}); "
                "evaluate the model on these films again"
            )
        rows = np.array([row_of[path] for path in wanted], dtype=np.intp)
        return type(self)(
            path=self.path[rows],
            sha256=self.sha256[rows],
            values={name: values[rows] for name, values in self.values.items()},
        )

    def rows(self) -> Iterator[tuple[str | float, ...]]:
        """Yields one tuple a film, in the order of ``COLUMNS``, of plain Python values."""
        numbers = (
            (values.astype(np.int64) if name in _SIZES else values).tolist()
            for name, values in self.values.items()
        )
        return zip(self.path.tolist(), self.sha256.tolist(), *numbers, strict=True)


def write_film_table(path: Path, film_table: FilmTable) -> None:
    """Writes ``film_table`` to ``path`` as CSV, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    write_text(path, csv_text(COLUMNS, film_table.rows()))


def read_film_table(path: Path) -> FilmTable:
    """Returns the table that a CSV file holds.

    Raises:
        EvaluationError: the file cannot be read, has other columns or no films, or a line breaks
            a rule of :class:`FilmTable`; the message names the file and the line.
    """
    table = read_csv(path, text_columns=TEXT_COLUMNS, number_columns=QUALITY_ATTRIBUTES)
    try:
        return FilmTable(table.text["path"], table.text["sha256"], table.numbers)
    except _FilmError as error:
        line = table.line_numbers[error.index]
        raise EvaluationError(f"{path}, line {line}: {error.message}") from error
