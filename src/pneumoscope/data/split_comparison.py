"""The two ways to divide a training folder, side by side: who sits next to a sibling."""

from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from pneumoscope.data.patients import patient_key
from pneumoscope.data.scan import FilmFolder
from pneumoscope.data.split import Split, SplitRow, make_split
from pneumoscope.errors import SplitError


@dataclass(frozen=True)
class SplitLeak:
    """What validation has in common with training under one split.

    Attributes:
        kind: of the split.
        num_train: films to train on.
        num_val: films to validate on.
        num_val_same_patient: of these, films of a patient, by kind and number, who is in training
            too.
        num_val_same_number: of these, films whose patient's number is in training too; bacterial
            and viral films of one number may or may not be one child.
        num_val_copies: of these, films whose very bytes are in training too.
    """

    kind: str
    num_train: int
    num_val: int
    num_val_same_patient: int
    num_val_same_number: int
    num_val_copies: int


def compare_splits(folder: FilmFolder, *, seed: int = 0) -> list[dict[str, Any]]:
    """Returns a :class:`SplitLeak` for the kinds that differ in it, as plain values.

    Kind ``"block"`` has in common what ``"patient"`` has: nothing. A kind that the folder is too
    small for is left out.

    Args:
        folder: films with a training part.
        seed: which division.
    """
    kinds = ("patient", "stratified")
    return [asdict(leak) for kind in kinds if (leak := _leak(folder, kind, seed))]


def measure_leak(split: Split) -> SplitLeak:
    """Returns what the validation films of a split have in common with its training films."""
    train, val = split.subset("train"), split.subset("val")
    patients = {_patient(row) for row in train}
    numbers = {row.patient_id for row in train}
    copies = {row.sha256 for row in train}
    return SplitLeak(
        kind=split.kind,
        num_train=len(train),
        num_val=len(val),
        num_val_same_patient=sum(_patient(row) in patients for row in val),
        num_val_same_number=sum(row.patient_id in numbers for row in val),
        num_val_copies=sum(row.sha256 in copies for row in val),
    )


def _patient(row: SplitRow) -> str:
    return patient_key(PurePosixPath(row.path).name)


def _leak(folder: FilmFolder, kind: str, seed: int) -> SplitLeak | None:
    try:
        return measure_leak(make_split(folder, kind, seed=seed))
    except SplitError:
        return None
