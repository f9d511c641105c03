"""Films of other collections: which folder name or finding means which class.

A label map is a TOML file::

    NORMAL = ["No Finding", "healthy"]
    PNEUMONIA = ["Pneumonia", "Lung Opacity"]
    ignore = ["Effusion"]                   # left out; anything else is refused by name
    patient = '^(\\d+)_'                     # optional: the first group of this, in the file name

    [table]                                 # optional: labels stand in a CSV file, not in folders
    file = "labels.csv"                     # beside the films, or relative to this file
    path = "Image Index"                    # its column of file names
    label = "Finding Labels"                # its column of findings
    patient = "Patient ID"                  # optional: its column of patients

Patients from a table are numbered: what the column holds is written nowhere.
"""

import csv
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from pneumoscope.config import Section
from pneumoscope.data.patients import patient_key
from pneumoscope.data.scan import JUNK, Film, FilmFolder, looks_like_film
from pneumoscope.errors import ConfigError, LayoutError
from pneumoscope.labels import Label

Names = Annotated[list[str], Field(min_length=1)]


def _folded(name: str) -> str:
    """Returns a name as names are compared."""
    return name.strip().lower()


class LabelTable(Section):
    """Where labels stand in a CSV file."""

    file: str = Field(description="the CSV file, beside the films or relative to the label map")
    path: str = Field(description="column of file names, or of paths below the folder of films")
    label: str = Field(description="column of findings; several in a cell are parted by `|`")
    patient: str = Field("", description="column of patients; empty: read from the file name")


class LabelMap(Section):
    """Which names mean which class; upper and lower case are not told apart."""

    NORMAL: Names = Field(description="folder names or findings that mean NORMAL")
    PNEUMONIA: Names = Field(description="folder names or findings that mean PNEUMONIA")
    ignore: list[str] = Field([], description="names whose films are left out")
    patient: str = Field(
        "", description="regular expression whose first group in the file name is the patient"
    )
    table: LabelTable | None = Field(None, description="labels from a CSV file, not from folders")

    @model_validator(mode="after")
    def _is_clear(self) -> "LabelMap":
        names = [_folded(name) for name in (*self.NORMAL, *self.PNEUMONIA, *self.ignore)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]!r} stands twice; expected one meaning a name")
        if self.patient:
            try:
                groups = re.compile(self.patient).groups
            except re.error as error:
                raise ValueError(f"patient is no regular expression: {error}") from error
            if not groups:
                raise ValueError("patient has no group; put what names the patient in brackets")
        return self

    def names(self, name: str) -> bool:
        """Returns whether the map says what a name means."""
        return _folded(name) in self._meanings

    def meaning(self, name: str) -> "Label | None":
        """Returns the class of a name, ``None`` where it is to be ignored.

        Raises:
            KeyError: the map does not say.
        """
        return self._meanings[_folded(name)]

    @property
    def _meanings(self) -> dict[str, Label | None]:
        return {
            **{_folded(name): None for name in self.ignore},
            **{_folded(name): Label.NORMAL for name in self.NORMAL},
            **{_folded(name): Label.PNEUMONIA for name in self.PNEUMONIA},
        }


@dataclass(frozen=True)
class _Labelled:
    """A film with what its source says of it; ``patient`` is empty where it says nothing."""

    path: str
    label: Label
    patient: str = ""


def read_label_map(path: Path) -> LabelMap:
    """Returns the label map in a TOML file; the table's file is made relative to it.

    Raises:
        ConfigError: it cannot be read, or is not a label map; the entry is named.
    """
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    try:
        found = LabelMap.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the map"
        raise ConfigError(
            f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}; expected lists NORMAL "
            "and PNEUMONIA of names, and if need be ignore, patient and [table]"
        ) from error
    if found.table and (beside := path.parent / found.table.file).is_file():
        table = found.table.model_copy(update={"file": str(beside.resolve())})
        found = found.model_copy(update={"table": table})
    return found


def scan_mapped(root: Path, label_map: LabelMap) -> FilmFolder:
    """Returns the films below ``root`` with the classes that the map gives them, all as test.

    From folders: a film's class is that of the nearest folder above it that the map names.

    Raises:
        LayoutError: ``root`` is no folder; a film is in no named folder, or has a finding that
            the map does not name; the table does not fit; a class has no films.
    """
    if not root.is_dir():
        raise LayoutError(f"{root} is not a folder; expected one with labelled films")
    source = _from_table(root, label_map) if label_map.table else _from_folders(root, label_map)
    pattern = re.compile(label_map.patient) if label_map.patient else None
    films = [
        Film(one.path, "test", one.label, one.patient or _patient(one.path, pattern))
        for one in source
    ]
    for label in Label:
        if not any(film.label == label for film in films):
            names = ", ".join(getattr(label_map, label.name))
            raise LayoutError(
                f"{root} has no film of {label.name} ({names}); expected films of both classes; "
                "name another folder or correct the label map"
            )
    return FilmFolder(root, tuple(sorted(films, key=lambda film: film.path)))


def _patient(path: str, pattern: re.Pattern[str] | None) -> str:
    name = PurePosixPath(path).name
    if pattern and (match := pattern.search(name)) and match[1]:
        return match[1]
    return patient_key(name)


def _files_below(root: Path) -> Iterator[str]:
    """Yields the paths of files below ``root``, posix and relative to it; hidden ones are not."""

    def refuse(error: OSError) -> None:
        raise LayoutError(f"{error.filename} cannot be read ({error.strerror}); give access to it")

    for parent, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            if not name.startswith(".") and name.lower() not in JUNK:
                yield (Path(parent) / name).relative_to(root).as_posix()


def _from_folders(root: Path, label_map: LabelMap) -> Iterator[_Labelled]:
    for path in _files_below(root):
        named = [f for f in reversed(PurePosixPath(path).parts[:-1]) if label_map.names(f)]
        if not looks_like_film(root / path):
            if named and label_map.meaning(named[0]) is not None:
                raise LayoutError(
                    f"{root / path} is not a film; expected only films among those of a class; "
                    "move it out"
                )
        elif not named:
            raise LayoutError(
                f"{root / path} is in no folder that the label map names; add its folder to "
                "NORMAL, PNEUMONIA or ignore"
            )
        elif (label := label_map.meaning(named[0])) is not None:
            yield _Labelled(path, label)


def _from_table(root: Path, label_map: LabelMap) -> Iterator[_Labelled]:
    table = label_map.table
    assert table is not None
    file = root / table.file  # an absolute path, as read_label_map makes it, stays what it is
    by_name: dict[str, list[str]] = {}
    for path in _files_below(root):
        for key in {path, PurePosixPath(path).name}:
            by_name.setdefault(key, []).append(path)
    seen: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for line, row in _rows(file, table):
        name = row[table.path].strip()
        label = _finding(file, line, row[table.label], label_map)
        if label is None:
            continue
        found = by_name.get(name.replace("\\", "/"), [])
        if len(found) != 1:
            what = "is not below" if not found else f"stands {len(found)} times below"
            raise LayoutError(
                f"{file}, line {line}: {name!r} {what} {root}; expected one film of that name or "
                "path; correct the table, or ignore its finding"
            )
        if found[0] in seen:
            raise LayoutError(
                f"{file}, line {line}: {name!r} was named on line {seen[found[0]]} already; "
                "expected one line a film"
            )
        seen[found[0]] = line
        patient = row[table.patient].strip() if table.patient else ""
        # A number in place of what may be a hospital's own: it goes into files that are passed on.
        number = numbers.setdefault(patient, len(numbers) + 1)
        yield _Labelled(found[0], label, f"patient-{number:05}" if patient else "")


def _rows(file: Path, table: LabelTable) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            wanted = [name for name in (table.path, table.label, table.patient) if name]
            if missing := [name for name in wanted if name not in (reader.fieldnames or ())]:
                raise LayoutError(
                    f"{file} has no column {missing[0]!r}; it has "
                    f"{', '.join(reader.fieldnames or ['none'])}; correct [table] in the label map"
                )
            for row in reader:
                if any(row[name] is None for name in wanted):
                    raise LayoutError(f"{file}, line {reader.line_num}: too few cells")
                yield reader.line_num, row
    except OSError as error:
        raise LayoutError(
            f"cannot read {file} ({error.strerror or error}); [table] file in the label map is "
            "looked for beside that map and in the folder of films"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(f"{file} is not a CSV table: {error}") from error


def _finding(file: Path, line: int, cell: str, label_map: LabelMap) -> Label | None:
    """Returns the class of a cell: PNEUMONIA if any finding in it is, ``None`` if any is ignored.

    A film with pneumonia and something ignored is PNEUMONIA: what is ignored does not hide it.
    """
    labels = []
    for finding in cell.split("|"):
        try:
            labels.append(label_map.meaning(finding))
        except KeyError:
            raise LayoutError(
                f"{file}, line {line}: the label map does not name {finding.strip()!r}; add it to "
                "NORMAL, PNEUMONIA or ignore"
            ) from None
    if Label.PNEUMONIA in labels:
        return Label.PNEUMONIA
    return None if None in labels else Label.NORMAL
