"""What a run's films are, in numbers that its manifest keeps: counts, patients, and their looks."""

import hashlib
import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from filelock import FileLock

from pneumoscope.data.cache import default_cache_dir
from pneumoscope.data.preprocessing import PREPROCESSING_VERSION
from pneumoscope.data.quality import QualityRange, measure_quality, quality_range
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.split import SplitRow
from pneumoscope.errors import DataError
from pneumoscope.files import make_folder, write_json
from pneumoscope.labels import Label
from pneumoscope.study.films import SplitFilms

PARTS = ("train", "val", "test")


def data_facts(films: SplitFilms) -> dict[str, Any]:
    """Returns split, counts and patients of every part, as plain values for the manifest."""
    rows = {part: films.rows(part) for part in PARTS}
    return {
        "split_kind": films.split.kind,
        "split_seed": films.split.seed,
        "split_sha256": films.split.sha256,
        **{f"num_{part}": len(of_part) for part, of_part in rows.items()},
        "class_counts": {part: _class_counts(of_part) for part, of_part in rows.items()},
        "num_patients": {
            part: len({row.patient_id for row in of_part}) for part, of_part in rows.items()
        },
        "unreadable": sorted(films.unreadable),
    }


def training_quality(films: SplitFilms) -> QualityRange:
    """Returns what the training films look like, measured once and kept in the cache.

    Raises:
        RadiographError: a film cannot be read.
        StorageError: the cache cannot be written.
    """
    rows = films.rows("train")
    hashes = "\n".join([PREPROCESSING_VERSION, *(row.sha256 for row in rows)])
    name = f"quality-{hashlib.sha256(hashes.encode()).hexdigest()[:32]}.json"
    path = make_folder(default_cache_dir()) / name
    with FileLock(path.with_suffix(".lock")):  # seeds of one study may run at once
        found = _stored(path, len(rows))
        if found is None:
            found = _measure(films.root, rows)
            write_json(path, found.to_dict())
    return found


def _class_counts(rows: tuple[SplitRow, ...]) -> dict[str, int]:
    counts = Counter(row.label for row in rows)
    return {label.name: counts[label] for label in Label}


def _stored(path: Path, num_films: int) -> QualityRange | None:
    """Returns the range that the cache holds; ``None`` where there is none, or a damaged one."""
    try:
        found = QualityRange.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, DataError):
        return None
    return found if found.num_films == num_films else None


def _measure(root: Path, rows: tuple[SplitRow, ...]) -> QualityRange:
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return quality_range(
            pool.map(lambda row: measure_quality(read_radiograph(root / row.path)), rows)
        )
