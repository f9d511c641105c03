"""A folder of chest-radiograph PHANTOMS, laid out and named as Kaggle's data set is.

It is the data for whoever has none yet: demonstrations, the documentation and the tests run on it
without a network. Every film has the word PHANTOM burned in and in its metadata, ``PHANTOM.txt``
says the same, and ``phantom.json`` tells programs (:func:`is_phantom`), so that no number measured
here is taken for one measured on patients.
"""

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock
from PIL import Image

from pneumoscope.data.phantom_film import MIN_SIZE_PX, Pattern, render_film
from pneumoscope.errors import StorageError, UsageError
from pneumoscope.files import make_folder, storage_error, write_json, write_text
from pneumoscope.labels import Label

MARKER_NAME: Final = "phantom.json"
"""The file that marks a folder of phantoms."""

_GENERATOR_VERSION = 1  # raise it with every change that alters a film
_MIN_FILMS = 8  # below, a class might have only one patient
_STATEMENT = """PHANTOM

These are not X-rays of anybody. A program (pneumoscope.data.phantom) drew them from formulas and
random numbers, so that the software can be tried and tested without patients' data. Nothing that
is measured on them says anything about real films. Each film has the word PHANTOM burned in.
"""

# Shares of pneumonia in Kaggle's folders; share of bacterial films among them.
_PNEUMONIA_SHARE: Final = {"train": 0.743, "val": 0.5, "test": 0.625}
_BACTERIA_SHARE = 0.65
_FILMS_OF_A_PATIENT = (0.6, 0.25, 0.15)  # shares of patients with 1, 2 and 3 films
_VISIBILITY = (0.2, 1.0)  # from barely visible to obvious
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class _Plan:
    """One film to draw."""

    path: str
    seed: int
    film: int
    pattern: Pattern | None
    visibility: float


def write_phantoms(
    target: Path,
    *,
    num_train: int = 600,
    num_val: int = 16,
    num_test: int = 160,
    seed: int = 0,
    size_px: int = 256,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Returns ``target`` as a folder ``{train,val,test}/{NORMAL,PNEUMONIA}`` of phantoms.

    The same arguments give the same films. The folder appears whole or not at all; where it is
    already there, made with the same arguments and unchanged, it is used as it is.

    Args:
        target: The folder to make.
        num_train: Films in ``train``, 74.3 % of them pneumonia; at least 8.
        num_val: Films in ``val``, half of them pneumonia; at least 8, or 0 for no such folder.
        num_test: Films in ``test``, 62.5 % of them pneumonia; at least 8.
        seed: Of all that is random.
        size_px: Side of the square films.
        on_progress: Called with the number of films done and of all films, after each film.

    Raises:
        UsageError: a number is too small.
        StorageError: ``target`` cannot be written, or holds something else.
    """
    if seed < 0 or size_px < MIN_SIZE_PX:
        raise UsageError(
            f"seed is {seed}, size_px is {size_px}; expected at least 0 and {MIN_SIZE_PX}"
        )
    counts = {"train": num_train, "val": num_val, "test": num_test}
    for name, num in counts.items():
        if num < _MIN_FILMS and (name, num) != ("val", 0):
            raise UsageError(f"num_{name} is {num}; expected at least {_MIN_FILMS}")
    wanted = {
        "generator_version": _GENERATOR_VERSION,
        "seed": seed,
        "size_px": size_px,
        **{f"num_{name}": num for name, num in counts.items()},
    }
    if _is_made(target, wanted):
        return target
    make_folder(target.parent)
    with FileLock(target.parent / f".{target.name}.lock"):
        if not _is_made(target, wanted):  # another process may have made it meanwhile
            _make(target, counts, wanted, on_progress)
    return target


def is_phantom(root: Path) -> bool:
    """Returns whether ``root``, or the folder it lies in, is a folder of phantoms.

    The folder above counts so that ``phantoms/test`` alone is still known for what it is.
    """
    root = root.resolve()
    return any(_read_marker(folder) is not None for folder in (root, root.parent))


def _read_marker(folder: Path) -> dict[str, Any] | None:
    """Returns what the marker says, or None where there is none that can be read."""
    try:
        marker = json.loads((folder / MARKER_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) and marker.get("phantom") is True else None


def _is_made(target: Path, wanted: dict[str, int]) -> bool:
    """Returns whether ``target`` holds the wanted phantoms; False where it is free.

    Raises:
        StorageError: it holds something else.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    advice = "choose another folder, or remove this one first"
    marker = _read_marker(target)
    if marker is None:
        raise StorageError(f"{target} is there and holds no phantoms; {advice}")
    for key, value in wanted.items():
        if marker.get(key) != value:
            found = marker.get(key)
            raise StorageError(
                f"{target} holds phantoms made with {key} {found}; expected {value}; {advice}"
            )
    if marker.get("films_sha256") != _films_sha256(target):
        raise StorageError(f"{target} holds phantoms that were changed or are incomplete; {advice}")
    return True


def _films_sha256(folder: Path) -> str:
    """Returns one hash of the names and the bytes of all films."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*/*/*.jpeg")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _make(
    target: Path,
    counts: dict[str, int],
    wanted: dict[str, int],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Draws the films into a folder beside ``target`` that takes its place when all is done."""
    partial = target.parent / f".{target.name}.partial"
    plans = list(_plan(counts, wanted["seed"]))
    try:
        if partial.exists():  # left by a process that was killed
            shutil.rmtree(partial)
        for num_done, plan in enumerate(plans, start=1):
            _write_film(partial / plan.path, plan, wanted["size_px"])
            if on_progress is not None:
                on_progress(num_done, len(plans))
        write_text(partial / "PHANTOM.txt", _STATEMENT)
        digest = _films_sha256(partial)
        write_json(partial / MARKER_NAME, {"phantom": True, **wanted, "films_sha256": digest})
        if target.exists():  # empty, see _is_made
            target.rmdir()
        partial.rename(target)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_film(path: Path, plan: _Plan, size_px: int) -> None:
    pixels = render_film(plan.seed, plan.pattern, plan.visibility, film=plan.film, size_px=size_px)
    exif = Image.Exif()
    exif[0x010E] = "PHANTOM: drawn by a program, not a patient"  # ImageDescription
    exif[0x0131] = "pneumoscope.data.phantom"  # Software
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "JPEG", quality=_JPEG_QUALITY, comment="PHANTOM", exif=exif)


def _plan(counts: dict[str, int], seed: int) -> Iterator[_Plan]:
    """Yields all films; numbers of patients run on from folder to folder and never recur."""
    rng = np.random.default_rng(seed)
    patients = {label: itertools.count(1) for label in Label}
    person_films = itertools.count(1)
    for folder, num_films in counts.items():
        num_pneumonia = round(num_films * _PNEUMONIA_SHARE[folder])
        of_class = {Label.NORMAL: num_films - num_pneumonia, Label.PNEUMONIA: num_pneumonia}
        for label, num_of_class in of_class.items():
            for num_of_patient in _films_by_patient(num_of_class, rng):
                number = next(patients[label])
                patient_seed = int(rng.integers(2**32))
                visibility = rng.uniform(*_VISIBILITY)
                pattern: Pattern = "bacteria" if rng.random() < _BACTERIA_SHARE else "virus"
                series = "IM" if rng.random() < 0.5 else "NORMAL2-IM"
                for film in range(num_of_patient):
                    if label is Label.NORMAL:
                        name = f"{series}-{number:04d}-{film + 1:04d}"
                        shown = None
                    else:
                        name = f"person{number}_{pattern}_{next(person_films)}"
                        shown = pattern
                    path = f"{folder}/{label.name}/{name}.jpeg"
                    yield _Plan(path, patient_seed, film, shown, visibility)


def _films_by_patient(num_films: int, rng: np.random.Generator) -> Iterator[int]:
    """Yields how many films each patient has; they add up, and there are at least two patients."""
    left = num_films
    while left > 0:
        drawn = 1 + int(rng.choice(len(_FILMS_OF_A_PATIENT), p=_FILMS_OF_A_PATIENT))
        num = min(drawn, left, max(1, num_films // 2))
        left -= num
        yield num
