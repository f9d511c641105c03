"""Looking a data set over before anything is trained on it.

Answers what invalidates results most often: films that cannot be read, the same film twice,
one patient on both sides of a split, classes or sizes that are not what one thinks.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.data.patients import names_patient, patient_group, patient_key
from pneumoscope.data.phantom import is_phantom
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import COLOUR_WARNING, Radiograph, read_radiograph
from pneumoscope.data.scan import Film, FilmFolder
from pneumoscope.data.split import Split
from pneumoscope.errors import RadiographError
from pneumoscope.files import sha256_of
from pneumoscope.labels import Label

NEAR_DUPLICATE_CORRELATION = 0.985
"""Films whose 32 x 32 thumbnails correlate at least so much count as near duplicates.

Measured on the 5,856 films of Kermany et al. at 224 px: among the 17 million pairs of films with
different bytes the highest correlation is .980 (two films of one patient; .978 for two patients),
so none is a false alarm. Altered copies of 2,000 of these films: saved as JPEG of quality 50, at
half the size, or with gamma 1.3, all are found; contrast up by 1.3, 99.9 %; turned by 1 degree,
99.8 %; trimmed by 1 % at each edge, 99.0 %; shifted by 1 %, 94 %. Trimmed by 2 %, only 34 % are
found, and mirrored copies never.
"""

_THUMBNAIL_PX = 32


@dataclass(frozen=True)
class Unreadable:
    """A file that is no film, and why, in one line."""

    path: str
    reason: str


@dataclass(frozen=True)
class NearDuplicate:
    """Two files of different bytes that show almost the same picture; correlation in [-1, 1]."""

    path: str
    other_path: str
    correlation: float


@dataclass(frozen=True)
class Overlap:
    """Patients that two parts of the data have in common.

    Attributes:
        part: A folder, or a part of the split.
        other_part: Another one.
        by: ``"kind and number"`` (the full key) or ``"number"``. Numbers count anew in the test
            folder, so a common number across train and test says nothing by itself.
        patients: The common patients.
        num_films: Films in ``other_part`` of a patient who also is in ``part``.
        other_num_films: All films in ``other_part``.
    """

    part: str
    other_part: str
    by: str
    patients: tuple[str, ...]
    num_films: int
    other_num_films: int


@dataclass(frozen=True)
class Finding:
    """One line of the verdict; ``level`` is ``"ok"``, ``"note"`` or ``"problem"``."""

    level: str
    text: str


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        root: The folder.
        phantom: Whether the films are drawn by a program (:mod:`pneumoscope.data.phantom`).
        num_films: Files counted as films, readable or not.
        class_counts: Films by part (of the split, else folder) and class.
        num_patients: Patients by part and by key, as in :class:`Overlap`; a film whose name
            states none counts as one.
        num_anonymous: Films whose name does not state a patient.
        unreadable: Files that cannot be read.
        exact_duplicates: Groups of paths with equal bytes.
        near_duplicates: Pairs of different bytes and almost equal pictures; None: not looked for.
        overlaps: Patients in two parts, for every two parts (``"unused"`` left out) and both
            keys, where there are any.
        height_px: Smallest, median and largest height; None where no film can be read.
        width_px: The same of widths.
        aspect: The same of width / height.
        formats: Number of films by format, such as ``"JPEG 8-bit"``.
        verdict: All of it in plain words, problems first.
    """

    root: str
    phantom: bool
    num_films: int
    class_counts: dict[str, dict[str, int]]
    num_patients: dict[str, dict[str, int]]
    num_anonymous: int
    unreadable: tuple[Unreadable, ...]
    exact_duplicates: tuple[tuple[str, ...], ...]
    near_duplicates: tuple[NearDuplicate, ...] | None
    overlaps: tuple[Overlap, ...]
    height_px: tuple[float, float, float] | None
    width_px: tuple[float, float, float] | None
    aspect: tuple[float, float, float] | None
    formats: dict[str, int]
    verdict: tuple[Finding, ...]

    @property
    def has_problems(self) -> bool:
        """Whether results from these data could not be trusted as they are."""
        return any(finding.level == "problem" for finding in self.verdict)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, ready for JSON."""
        return asdict(self)


def audit_folder(
    folder: FilmFolder,
    split: Split | None = None,
    *,
    near_duplicates: bool = True,
    track: Callable[[Sequence[Film]], Iterable[Film]] = iter,
) -> Audit:
    """Returns what is to be known about the films of a folder; reads every one.

    Args:
        folder: The films.
        split: Where given, its parts are compared instead of the folders; films that it does
            not name count as ``"unused"``.
        near_duplicates: Whether to compare every film with every other as a picture, too.
        track: Wraps the films that are being read, for a progress display.
    """
    parts = {film.path: film.folder for film in folder.films}
    if split is not None:
        split_of = {row.path: row.split for row in split.rows}
        parts = {path: split_of.get(path, "unused") for path in parts}
    unreadable: list[Unreadable] = []
    by_hash: dict[str, list[str]] = defaultdict(list)
    thumbnails: dict[str, NDArray[np.uint8]] = {}
    sizes: list[tuple[int, int]] = []
    formats: Counter[str] = Counter()
    for film in track(folder.films):
        path = folder.root / film.path
        try:
            radiograph = read_radiograph(path)
            by_hash[sha256_of(path)].append(film.path)
        except (RadiographError, OSError) as error:
            unreadable.append(Unreadable(film.path, str(error).removeprefix(f"{path}: ")))
            continue
        sizes.append((radiograph.height_px, radiograph.width_px))
        formats[_describe_format(radiograph)] += 1
        thumbnails[film.path] = prepare(radiograph, _THUMBNAIL_PX)
    exact = tuple(tuple(paths) for paths in by_hash.values() if len(paths) > 1)
    near = None
    if near_duplicates:
        near = _find_near_duplicates({p[0]: thumbnails[p[0]] for p in by_hash.values()})
    height, width = np.array(sizes, dtype=float).reshape(-1, 2).T
    overlaps = _find_overlaps(folder.films, parts)
    num_anonymous = sum(not names_patient(_file_name(film)) for film in folder.films)
    return Audit(
        root=str(folder.root),
        phantom=is_phantom(folder.root),
        num_films=len(folder.films),
        class_counts=_count_classes(folder.films, parts),
        num_patients=_count_patients(folder.films, parts),
        num_anonymous=num_anonymous,
        unreadable=tuple(unreadable),
        exact_duplicates=exact,
        near_duplicates=near,
        overlaps=overlaps,
        height_px=_spread(height),
        width_px=_spread(width),
        aspect=_spread(width / height),
        formats=dict(formats.most_common()),
        verdict=_judge(folder.films, parts, unreadable, exact, near, overlaps, num_anonymous),
    )


def _file_name(film: Film) -> str:
    return PurePosixPath(film.path).name


def _describe_format(radiograph: Radiograph) -> str:
    colour = " colour" if COLOUR_WARNING in radiograph.warnings else ""
    return f"{radiograph.source_format} {radiograph.bits}-bit{colour}"


def _spread(values: NDArray[np.float64]) -> tuple[float, float, float] | None:
    if not len(values):
        return None
    return float(values.min()), float(np.median(values)), float(values.max())


def _names(parts: dict[str, str]) -> list[str]:
    return [part for part in ("train", "val", "test", "unused") if part in parts.values()]


def _count_classes(films: Sequence[Film], parts: dict[str, str]) -> dict[str, dict[str, int]]:
    counts = Counter((parts[film.path], film.label) for film in films)
    return {part: {label.name: counts[part, label] for label in Label} for part in _names(parts)}


_KEYS = {"kind and number": patient_key, "number": patient_group}


def _count_patients(films: Sequence[Film], parts: dict[str, str]) -> dict[str, dict[str, int]]:
    def count(part: str, key: Callable[[str], str]) -> int:
        return len({key(_file_name(film)) for film in films if parts[film.path] == part})

    return {part: {by: count(part, key) for by, key in _KEYS.items()} for part in _names(parts)}


def _find_overlaps(films: Sequence[Film], parts: dict[str, str]) -> tuple[Overlap, ...]:
    """Compares every two parts; only names that state a patient take part."""
    named = [film for film in films if names_patient(_file_name(film))]
    compared = [part for part in _names(parts) if part != "unused"]
    overlaps = []
    for by, key in _KEYS.items():
        films_of = {
            part: Counter(key(_file_name(film)) for film in named if parts[film.path] == part)
            for part in compared
        }
        for part, other in combinations(compared, 2):
            common = sorted(films_of[part].keys() & films_of[other].keys())
            num_films = sum(films_of[other][patient] for patient in common)
            if common:
                total = films_of[other].total()
                overlaps.append(Overlap(part, other, by, tuple(common), num_films, total))
    return tuple(overlaps)


def _find_near_duplicates(
    thumbnails: dict[str, NDArray[np.uint8]], block: int = 512
) -> tuple[NearDuplicate, ...]:
    """Returns all pairs above the threshold, the most alike first.

    Every film is compared with every other: a matrix product of normalised thumbnails, taken
    in blocks of rows so that memory stays small. Films of one flat grey match nothing.
    """
    paths = list(thumbnails)
    vectors = np.array(list(thumbnails.values()), dtype=np.float32).reshape(-1, _THUMBNAIL_PX**2)
    vectors -= vectors.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    pairs = []
    for start in range(0, len(paths), block):
        rows = vectors[start : start + block]
        correlation = rows @ vectors[start:].T
        above = np.argwhere(np.triu(correlation >= NEAR_DUPLICATE_CORRELATION, k=1))
        pairs += [
            NearDuplicate(paths[start + i], paths[start + j], round(float(correlation[i, j]), 4))
            for i, j in above
        ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.correlation, pair.path, pair.other_path)))


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _judge(
    films: Sequence[Film],
    parts: dict[str, str],
    unreadable: Sequence[Unreadable],
    exact: Sequence[tuple[str, ...]],
    near: Sequence[NearDuplicate] | None,
    overlaps: Sequence[Overlap],
    num_anonymous: int,
) -> tuple[Finding, ...]:
    labels = {film.path: film.label for film in films}
    findings = [_judge_unreadable(len(unreadable))]
    findings.append(_judge_duplicates("exact duplicates", "group", exact, parts, labels))
    if near is not None:
        pairs = [(pair.path, pair.other_path) for pair in near]
        findings.append(_judge_duplicates("near duplicates", "pair", pairs, parts, labels))
    if num_anonymous:
        findings.append(
            Finding(
                "note",
                f"{num_anonymous:,} of {len(films):,} file names do not state a patient; each such "
                "film counts as a patient of its own, and a patient in two parts goes unseen",
            )
        )
    if num_anonymous < len(films):
        findings += _judge_overlaps(overlaps)
    return tuple(sorted(findings, key=lambda f: ("problem", "note", "ok").index(f.level)))


def _judge_unreadable(count: int) -> Finding:
    if count:
        return Finding("problem", f"{_plural(count, 'file')} cannot be read; repair or remove")
    return Finding("ok", "every file can be read")


def _judge_duplicates(
    what: str,
    noun: str,
    groups: Sequence[tuple[str, ...]],
    parts: dict[str, str],
    labels: dict[str, Label],
) -> Finding:
    if not groups:
        return Finding("ok", f"no {what}")
    across = sum(len({parts[path] for path in group} - {"unused"}) > 1 for group in groups)
    contradicting = sum(len({labels[path] for path in group}) > 1 for group in groups)
    num_films = len({path for group in groups for path in group})
    text = (
        f"{_plural(len(groups), noun)} of {what}, {num_films:,} films; "
        f"{across or 'none'} across parts, {contradicting or 'none'} with two labels"
    )
    return Finding("problem" if across or contradicting else "note", text)


def _judge_overlaps(overlaps: Sequence[Overlap]) -> list[Finding]:
    findings = []
    for overlap in overlaps:
        part, other = overlap.part, overlap.other_part
        text = (
            f"{_plural(len(overlap.patients), 'patient')} by {overlap.by} in both {part} and "
            f"{other}: {overlap.num_films:,} of {overlap.other_num_films:,} films in {other} "
            f"({overlap.num_films / overlap.other_num_films:.1%})"
        )
        if overlap.by == "kind and number":
            findings.append(Finding("problem", text))
        elif other == "test":
            findings.append(Finding("note", f"{text}; numbers start anew there: no leak by itself"))
        else:
            findings.append(Finding("note", f"{text}; these may be the same children"))
    if all(overlap.by == "number" for overlap in overlaps):
        findings.append(Finding("ok", "no patient (by kind and number) is in two parts"))
    return findings
