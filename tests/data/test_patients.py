from collections import Counter
from pathlib import Path

import pytest

from pneumoscope.data.patients import names_patient, patient_group, patient_key


@pytest.mark.parametrize(
    ("name", "key", "group"),
    [
        ("IM-0115-0001.jpeg", "IM-0115", "IM-0115"),
        ("IM-0429-0001-0002.jpeg", "IM-0429", "IM-0429"),
        ("NORMAL2-IM-0986-0001.jpeg", "NORMAL2-IM-0986", "NORMAL2-IM-0986"),
        ("NORMAL2-IM-0986-0001-0002.jpeg", "NORMAL2-IM-0986", "NORMAL2-IM-0986"),
        ("person1000_bacteria_2931.jpeg", "person1000_bacteria", "person1000"),
        ("person1000_virus_1681.jpeg", "person1000_virus", "person1000"),
        ("person447_virus_921_1.jpeg", "person447_virus", "person447"),
        ("PERSON447_VIRUS_921.JPG", "person447_virus", "person447"),
        ("normal2-im-0986-0001.png", "NORMAL2-IM-0986", "NORMAL2-IM-0986"),
    ],
)
def test_known_forms_state_a_patient(name: str, key: str, group: str) -> None:
    assert (patient_key(name), patient_group(name)) == (key, group)
    assert names_patient(name)


@pytest.mark.parametrize(
    "name",
    ["film 7.png", "person12.jpeg", "person12_fungus_3.jpeg", "IM-0115.jpeg", "xIM-0115-0001.png"],
)
def test_other_names_are_patients_of_their_own(name: str) -> None:
    stem = name.rpartition(".")[0]
    assert (patient_key(name), patient_group(name)) == (stem, stem)
    assert not names_patient(name)


def test_the_two_series_of_normal_films_are_told_apart() -> None:
    assert patient_group("IM-0500-0001.jpeg") != patient_group("NORMAL2-IM-0500-0001.jpeg")


def test_numbers_are_not_cut_short() -> None:
    assert patient_group("person1_virus_6.jpeg") != patient_group("person10_virus_6.jpeg")


def test_real_names(shared_dir: Path) -> None:
    root = shared_dir / "data" / "chest_xray"
    names = {folder: [p.name for p in (root / folder).glob("*/*")] for folder in ("train", "test")}
    assert all(names_patient(name) for folder in names.values() for name in folder)

    keys = {folder: Counter(map(patient_key, names[folder])) for folder in names}
    groups = {folder: Counter(map(patient_group, names[folder])) for folder in names}
    assert (len(keys["train"]), len(keys["test"])) == (3654, 428)
    assert (len(groups["train"]), len(groups["test"])) == (2846, 427)
    assert keys["train"].keys().isdisjoint(keys["test"])
    # By number alone it looks as if half of the test set had been seen in training.
    common = groups["train"].keys() & groups["test"].keys()
    assert len(common) == 170
    assert sum(groups["test"][group] for group in common) == 320
