"""What validation shares with training under either split."""

from pathlib import Path

import pytest

from pneumoscope.data.patients import patient_key
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import make_split
from pneumoscope.data.split_comparison import compare_splits, measure_leak


def test_it_counts_what_a_loop_counts(phantoms):
    folder = scan_folder(phantoms)
    for found in compare_splits(folder):
        split = make_split(folder, found["kind"])
        train, val = split.subset("train"), split.subset("val")
        numbers = [v for v in val if any(v.patient_id == t.patient_id for t in train)]
        names = {patient_key(Path(t.path).name) for t in train}
        patients = [v for v in val if patient_key(Path(v.path).name) in names]
        copies = [v for v in val if any(v.sha256 == t.sha256 for t in train)]
        assert found == {
            "kind": split.kind,
            "num_train": len(train),
            "num_val": len(val),
            "num_val_same_patient": len(patients),
            "num_val_same_number": len(numbers),
            "num_val_copies": len(copies),
        }


def test_the_patient_split_has_none(phantoms):
    leaks = {leak["kind"]: leak for leak in compare_splits(scan_folder(phantoms))}
    assert tuple(leaks) == ("patient", "stratified")
    assert leaks["patient"]["num_val_same_patient"] == 0
    assert leaks["patient"]["num_val_same_number"] == 0
    assert leaks["patient"]["num_val_copies"] == 0


def test_the_real_films_leak_under_the_reference_studys_split(shared_dir):
    folder = scan_folder(shared_dir / "data" / "chest_xray")
    patient, stratified = (
        measure_leak(make_split(folder, kind)) for kind in ("patient", "stratified")
    )
    assert (patient.num_val, patient.num_val_same_number, patient.num_val_copies) == (1043, 0, 0)
    assert (stratified.num_train, stratified.num_val) == (4172, 1044)
    # About 39 %, as others counted before for splits of this kind.
    assert stratified.num_val_same_patient / stratified.num_val == pytest.approx(0.39, abs=0.02)
    assert stratified.num_val_same_number > stratified.num_val_same_patient
    assert stratified.num_val_copies > 0


def test_a_folder_too_small_for_one_kind_has_the_other(tmp_path):
    for part in ("train", "test"):
        for label, name in (("NORMAL", "IM-0001"), ("PNEUMONIA", "person1_virus")):
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            for i in range(4):
                joint = "-" if label == "NORMAL" else "_"
                (folder / f"{name}{joint}{i:04}.jpeg").write_bytes(f"{part}{label}{i}".encode())
    assert [leak["kind"] for leak in compare_splits(scan_folder(tmp_path))] == ["stratified"]
