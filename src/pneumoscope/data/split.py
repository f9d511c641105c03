"""Dividing the training folder into train and val, once, and holding on to it.

Three kinds. ``stratified`` draws films class by class, as the reference study does, and so puts
films of one patient on both sides. ``patient`` keeps every patient (and every exact copy of a
film) on one side. ``block`` also keeps patients of the same 25 numbers together: files are
numbered in order, and films with numbers close to one another look alike. The test folder is
always the test set; Kaggle's ``val`` of 16 films is too small to choose anything by and is set
aside as ``unused``.

A split is a plain CSV table with the SHA-256 of every file, so that a run can tell whether it
still has the films it was made for.
"""

import csv
import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import train_test_split

from pneumoscope.data.patients import patient_block
from pneumoscope.data.scan import Film, FilmFolder
from pneumoscope.errors import SplitError
from pneumoscope.files import sha256_of, write_text
from pneumoscope.labels import Label

KINDS = ("patient", "stratified", "block")
"""Kinds of split; the first is the default for everything that is claimed."""

_COLUMNS = ("path", "sha256", "split", "label", "patient_id", "kind", "seed", "val_fraction")
_ALLOWED = {"train": ("train", "val"), "val": ("unused",), "test": ("test",)}  # by folder


@dataclass(frozen=True)
class SplitRow:
    """One film of a split; ``split`` is ``"train"``, ``"val"``, ``"test"`` or ``"unused"``."""

    path: str
    sha256: str
    split: str
    label: Label
    patient_id: str


@dataclass(frozen=True)
class Split:
    """A division of a folder's films, rows sorted by path."""

    kind: str
    seed: int
    val_fraction: float
    rows: tuple[SplitRow, ...]

    def subset(self, name: str) -> tuple[SplitRow, ...]:
        """Returns the rows of ``"train"``, ``"val"``, ``"test"`` or ``"unused"``."""
        return tuple(row for row in self.rows if row.split == name)

    @cached_property
    def csv_text(self) -> str:
        """The split as the text of its CSV file; settings are columns, equal in every row."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        settings = (self.kind, self.seed, self.val_fraction)
        for row in self.rows:
            cells = (row.path, row.sha256, row.split, row.label.name, row.patient_id)
            writer.writerow((*cells, *settings))
        return stream.getvalue()

    @property
    def sha256(self) -> str:
        """SHA-256 of :attr:`csv_text`: names this split in manifests."""
        return hashlib.sha256(self.csv_text.encode()).hexdigest()


def make_split(folder: FilmFolder, kind: str, *, val_fraction: float = 0.2, seed: int = 0) -> Split:
    """Returns a new split of a folder; the same films give the same split on every machine.

    Args:
        folder: The films.
        kind: one of :data:`KINDS`.
        val_fraction: Part of the training folder, per class, that becomes val; in (0, 1). For
            ``"block"`` 1/2, 1/3 and so on: the part of its blocks, of whose films the parts of
            either class differ from it (of Kermany's normal films, at 1/5, 16 to 27 %).
        seed: Which of the many possible divisions. Of kind ``"block"`` seeds are the folds of
            cross-validations: with a ``val_fraction`` of 1/2 the val of seeds 0 and 1 together is
            the training folder, with 1/5 that of seeds 0 to 4, and so on.

    Raises:
        SplitError: unknown kind, a fraction outside (0, 1) or not for this kind, too few films
            or patients of a class, or a film that cannot be read.
    """
    _check_settings(kind, val_fraction)
    hashes = _hash_films(folder)
    films = folder.in_folder("train")
    if kind == "stratified":
        in_val = _choose_stratified(films, val_fraction, seed)
    elif kind == "block":
        in_val = _choose_by_block(films, [hashes[f.path] for f in films], val_fraction, seed)
    else:
        in_val = _choose_by_patient(films, [hashes[f.path] for f in films], val_fraction, seed)
    val_paths = {film.path for film, chosen in zip(films, in_val, strict=True) if chosen}

    def destination(film: Film) -> str:
        if film.path in val_paths:
            return "val"
        return "unused" if film.folder == "val" else film.folder

    return Split(
        kind,
        seed,
        val_fraction,
        tuple(
            SplitRow(f.path, hashes[f.path], destination(f), f.label, f.patient_id)
            for f in folder.films
        ),
    )


def open_split(
    folder: FilmFolder, path: Path, kind: str, *, val_fraction: float = 0.2, seed: int = 0
) -> Split:
    """Returns the split at ``path``, made and written there first where there is none.

    Raises:
        SplitError: the file holds a split of another kind, seed or fraction, or of other films
            (changed, missing or new: up to three of each are named); it is not a split; or as
            in :func:`make_split`.
        StorageError: it cannot be written.
    """
    if not path.exists():
        split = make_split(folder, kind, val_fraction=val_fraction, seed=seed)
        write_text(path, split.csv_text)
        return split
    _check_settings(kind, val_fraction)
    split = read_split(path)
    for name, found, asked in (
        ("kind", split.kind, kind),
        ("seed", split.seed, seed),
        ("val_fraction", split.val_fraction, val_fraction),
    ):
        if found != asked:
            raise SplitError(
                f"{path} was made with {name}={found}, asked for is {asked}; "
                "ask for the same or name another file"
            )
    check_split(folder, split, path)
    return split


def read_split(path: Path) -> Split:
    """Returns the split that a CSV file holds.

    Raises:
        SplitError: the file is not there or is not the table of a split.
    """
    advice = "name a file that `pneumoscope data split` wrote"
    try:
        lines = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
        if not lines:
            raise SplitError(f"{path} holds no films; {advice}")
        rows = tuple(
            SplitRow(
                line["path"],
                line["sha256"],
                line["split"],
                Label[line["label"]],
                line["patient_id"],
            )
            for line in lines
        )
        settings = {
            (line["kind"], int(line["seed"]), float(line["val_fraction"])) for line in lines
        }
    except OSError as error:
        raise SplitError(f"cannot read {path} ({error.strerror}); {advice}") from error
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise SplitError(f"{path} is not the table of a split; {advice}") from error
    unknown = {row.split for row in rows} - {name for names in _ALLOWED.values() for name in names}
    if unknown:
        raise SplitError(f"{path} puts films into {min(unknown)!r}, which is no part; {advice}")
    if len(settings) != 1:
        raise SplitError(f"{path} states {len(settings)} kinds or seeds, not one; {advice}")
    ((kind, seed, val_fraction),) = settings
    return Split(kind, seed, val_fraction, tuple(sorted(rows, key=lambda row: row.path)))


def check_split(folder: FilmFolder, split: Split, path: Path) -> None:
    """Checks that a split read from ``path`` has exactly the films of a folder, byte for byte.

    Raises:
        SplitError: films changed, are missing or new (up to three of each are named), or one
            stands where it must not, as a test film in train.
    """
    hashes = _hash_films(folder)
    rows = {row.path: row for row in split.rows}
    differences = (
        ("changed", [p for p, row in rows.items() if p in hashes and row.sha256 != hashes[p]]),
        ("missing", [p for p in rows if p not in hashes]),
        ("new", [p for p in hashes if p not in rows]),
    )
    if found := [_name_some(paths, what) for what, paths in differences if paths]:
        raise SplitError(
            f"{folder.root} no longer fits the split {path}: {', '.join(found)}; "
            "restore these films, or remove the split to make a new one"
        )
    if len(rows) != len(split.rows):
        raise SplitError(f"{path} names a film twice; remove it to make a new split")
    sides: dict[str, set[str]] = defaultdict(set)
    for film in folder.films:
        row = rows[film.path]
        sides[film.patient_id].add(row.split)
        if row.patient_id != film.patient_id:
            raise SplitError(
                f"{path} says {film.path} shows {row.patient_id}; expected {film.patient_id}; "
                "remove it to make a new split"
            )
        if row.label != film.label or row.split not in _ALLOWED[film.folder]:
            raise SplitError(
                f"{path} puts {film.path} into {row.split} as {row.label.name}; expected "
                f"{' or '.join(_ALLOWED[film.folder])} and {film.label.name}; "
                "remove it to make a new split"
            )
    if split.kind == "block":
        for film in folder.in_folder("train"):
            sides[f"block {patient_block(film.patient_id)}"].add(rows[film.path].split)
    torn = sorted(patient for patient, parts in sides.items() if {"train", "val"} <= parts)
    if split.kind != "stratified" and torn:
        raise SplitError(
            f"{path} is of kind {split.kind}, but {torn[0]} is in both train and val; remove it "
            "to make a new split"
        )


def _name_some(paths: Sequence[str], what: str) -> str:
    shown = ", ".join(sorted(paths)[:3]) + (", ..." if len(paths) > 3 else "")
    return f"{len(paths):,} {what} ({shown})"


def _check_settings(kind: str, val_fraction: float) -> None:
    if kind not in KINDS:
        raise SplitError(f"no split of kind {kind!r}; choose one of {', '.join(KINDS)}")
    if not 0 < val_fraction < 1:
        raise SplitError(f"val_fraction is {val_fraction}; expected more than 0, less than 1")


def _hash_films(folder: FilmFolder) -> dict[str, str]:
    def digest(film: Film) -> tuple[str, str]:
        try:
            return film.path, sha256_of(folder.root / film.path)
        except OSError as error:
            raise SplitError(
                f"cannot read {folder.root / film.path} ({error.strerror}); "
                "make it readable or take it out"
            ) from error

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return dict(pool.map(digest, folder.films))


def _choose_stratified(films: Sequence[Film], val_fraction: float, seed: int) -> NDArray[np.bool_]:
    chosen = np.zeros(len(films), dtype=bool)
    try:
        _, val = train_test_split(
            np.arange(len(films)),
            test_size=val_fraction,
            stratify=[film.label for film in films],
            random_state=seed,
        )
    except ValueError as error:
        raise SplitError(
            f"{len(films)} films in train are too few for val_fraction={val_fraction}; "
            "add films or choose another fraction"
        ) from error
    chosen[val] = True
    return chosen


def _choose_by_patient(
    films: Sequence[Film], hashes: Sequence[str], val_fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Returns which films are for val: whole groups, up to the wanted number of each class.

    Groups come in an order that hashing draws, not a library's generator: it is the same on
    every platform and version, and a film more or less barely disturbs it. Every group that
    still fits is taken; single films fill the rest, so both classes come out exact in practice.
    """
    group_of = _join_groups([film.patient_id for film in films], hashes)
    labels = np.array([film.label for film in films])
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(group_of):
        members[int(group)].append(index)
    groups = list(members.values())
    for label in Label:
        if sum(any(labels[group] == label) for group in groups) < 2:
            raise SplitError(
                f"fewer than two patients with {label.name} in train; train and val need one each; "
                "add patients"
            )
    sizes = np.array([np.bincount(labels[group], minlength=len(Label)) for group in groups])
    totals = sizes.sum(axis=0)
    wanted = np.clip(np.rint(val_fraction * totals), 1, totals - 1)

    def draw(index: int) -> str:
        name = min(films[i].patient_id for i in groups[index])
        return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()

    order = sorted(range(len(groups)), key=draw)
    in_val = np.zeros(len(groups), dtype=bool)
    count = np.zeros(len(Label), dtype=int)
    for index in order:
        if np.all(count + sizes[index] <= wanted):
            in_val[index] = True
            count += sizes[index]
    for label in Label:
        if count[label] == 0:  # every patient has more films than wanted: take the smallest
            index = min((i for i in order if sizes[i, label]), key=lambda i: int(sizes[i].sum()))
            in_val[index] = True
            count += sizes[index]
    if np.any(count == totals):
        raise SplitError("too few patients in train to give train and val both classes; add some")
    chosen = np.zeros(len(films), dtype=bool)
    for group, taken in zip(groups, in_val, strict=True):
        chosen[group] = taken
    return chosen


def _choose_by_block(
    films: Sequence[Film], hashes: Sequence[str], val_fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Returns which films are for val: those of the blocks that hashing puts into fold ``seed``."""
    num_folds = round(1 / val_fraction)
    if num_folds < 2 or abs(num_folds * val_fraction - 1) > 0.01:
        raise SplitError(
            f"val_fraction is {val_fraction}; kind block makes equal folds, so it takes 1/2, 1/3, "
            "1/4 and so on"
        )
    draw, fold = divmod(seed, num_folds)
    blocks = [patient_block(film.patient_id) for film in films]
    group_of = _join_groups(blocks, hashes)
    name_of: dict[int, str] = {}
    for group, block in zip(group_of.tolist(), blocks, strict=True):
        name_of[group] = min(block, name_of.get(group, block))
    in_fold = {
        group: int(hashlib.sha256(f"{draw}/{name}".encode()).hexdigest(), 16) % num_folds == fold
        for group, name in name_of.items()
    }
    chosen = np.array([in_fold[group] for group in group_of.tolist()])
    labels = np.array([film.label for film in films])
    if any(len(set(chosen[labels == label].tolist())) < 2 for label in Label):
        raise SplitError(
            f"too few blocks of patients in train for folds of {val_fraction}: train and val need "
            "both classes each; choose another fraction or the kind patient"
        )
    return chosen


def _join_groups(patients: Sequence[str], hashes: Sequence[str]) -> NDArray[np.int32]:
    """Returns a group number a film; films of one patient or with equal bytes share it."""
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    _, content = np.unique(np.asarray(hashes), return_inverse=True)
    num_nodes = int(patient.max()) + int(content.max()) + 2
    edges = (np.ones(len(patient)), (patient, patient.max() + 1 + content))
    component: NDArray[np.int32]
    _, component = connected_components(coo_array(edges, shape=(num_nodes, num_nodes)))
    return component[patient]
