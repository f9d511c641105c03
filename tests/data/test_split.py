import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pneumoscope.data.patients import patient_block, patient_group, patient_key
from pneumoscope.data.scan import FilmFolder, scan_folder
from pneumoscope.data.split import (
    KINDS,
    Split,
    SplitRow,
    check_split,
    make_split,
    open_split,
    read_split,
)
from pneumoscope.errors import SplitError, StorageError
from pneumoscope.files import sha256_of
from pneumoscope.labels import Label


def put(root: Path, names: list[str], content: str | None = None) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name if content is None else content)


def write_films(root: Path, films_a_patient: list[int]) -> FilmFolder:
    """A folder in which patient i of either class has ``films_a_patient[i]`` films in train."""
    for patient, count in enumerate(films_a_patient):
        put(root, [f"train/NORMAL/IM-{patient:04}-{film:04}.jpeg" for film in range(count)])
        put(root, [f"train/PNEUMONIA/person{patient}_virus_{film}.jpeg" for film in range(count)])
    put(root, ["val/NORMAL/IM-9000-0001.jpeg", "val/PNEUMONIA/person9000_virus_1.jpeg"])
    put(root, ["test/NORMAL/IM-9001-0001.jpeg", "test/PNEUMONIA/person1_virus_1.jpeg"])
    return scan_folder(root)


@pytest.fixture
def folder(tmp_path: Path) -> FilmFolder:
    return write_films(tmp_path / "films", [1, 2, 3, 4, 5] * 4)


def refusal(folder: FilmFolder, path: Path, kind: str = "patient", **settings: float) -> str:
    with pytest.raises(SplitError) as caught:
        open_split(folder, path, kind, **settings)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def count(split: Split) -> Counter[tuple[str, str]]:
    return Counter((row.split, row.label.name) for row in split.rows)


@pytest.mark.parametrize("kind", ["patient", "stratified"])
@pytest.mark.parametrize("val_fraction", [0.1, 0.2, 0.5])
def test_val_has_the_wanted_part_of_each_class(
    folder: FilmFolder, kind: str, val_fraction: float
) -> None:
    split = make_split(folder, kind, val_fraction=val_fraction, seed=3)
    num_val = round(60 * val_fraction)
    rest = {"unused": 1, "test": 1, "val": num_val, "train": 60 - num_val}
    assert count(split) == {(part, c.name): n for part, n in rest.items() for c in Label}
    assert [row.path for row in split.rows] == [film.path for film in folder.films]
    assert {row.path for row in split.subset("test")} == {f.path for f in folder.in_folder("test")}
    assert {row.path for row in split.subset("unused")} == {f.path for f in folder.in_folder("val")}
    for row in split.rows:
        assert row.sha256 == sha256_of(folder.root / row.path)


def patients_of(split: Split, name: str) -> set[str]:
    return {row.patient_id for row in split.subset(name)}


def test_only_the_patient_split_keeps_patients_apart(folder: FilmFolder) -> None:
    for seed in range(20):
        split = make_split(folder, "patient", seed=seed)
        assert patients_of(split, "train").isdisjoint(patients_of(split, "val"))
    split = make_split(folder, "stratified")
    assert patients_of(split, "train") & patients_of(split, "val")


def test_one_number_is_one_patient_whatever_the_cause(tmp_path: Path) -> None:
    write_films(tmp_path, [2] * 10)
    put(tmp_path, [f"train/PNEUMONIA/person{i}_bacteria_{i}.jpeg" for i in range(10)])
    for seed in range(10):
        split = make_split(scan_folder(tmp_path), "patient", seed=seed)
        sides = {
            name: {patient_group(Path(r.path).name) for r in split.subset(name)}
            for name in ("train", "val")
        }
        assert sides["train"].isdisjoint(sides["val"])


def test_equal_films_of_two_patients_stay_together(tmp_path: Path) -> None:
    write_films(tmp_path, [1] * 10)
    twins = ["train/NORMAL/IM-0001-0000.jpeg", "train/NORMAL/IM-0002-0000.jpeg"]
    # A film under both labels ties a patient of each class together as well.
    bridge = ["train/NORMAL/IM-0003-0000.jpeg", "train/PNEUMONIA/person4_virus_0.jpeg"]
    put(tmp_path, twins, "the same film")
    put(tmp_path, bridge, "another film")
    folder = scan_folder(tmp_path)
    sides_seen = set()
    for seed in range(30):
        side = {row.path: row.split for row in make_split(folder, "patient", seed=seed).rows}
        assert side[twins[0]] == side[twins[1]]
        assert side[bridge[0]] == side[bridge[1]]
        sides_seen |= {side[twins[0]], side[bridge[0]]}
    assert sides_seen == {"train", "val"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_films_give_the_same_split(tmp_path: Path, kind: str) -> None:
    folder = write_films(tmp_path, [1] * 200)
    first = make_split(folder, kind, seed=1)
    assert make_split(scan_folder(folder.root), kind, seed=1) == first
    assert make_split(folder, kind, seed=2).subset("val") != first.subset("val")


def test_the_division_is_the_same_on_every_machine(tmp_path: Path) -> None:
    folder = write_films(tmp_path, [1, 2] * 5)
    split = make_split(folder, "patient", val_fraction=0.2, seed=0)
    assert sorted(patients_of(split, "val")) == [
        "IM-0003",
        "IM-0006",
        "person2",
        "person4",
        "person6",
    ]


def test_patients_with_more_films_than_wanted_still_give_a_val(tmp_path: Path) -> None:
    split = make_split(write_films(tmp_path, [9, 7]), "patient", val_fraction=0.1)
    assert patients_of(split, "val") == {"IM-0001", "person1"}
    assert patients_of(split, "train") == {"IM-0000", "person0"}


def test_too_few_patients_or_films(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    one_patient = write_films(tmp_path / "a", [8])
    assert "fewer than two patients with NORMAL" in refusal(one_patient, path)
    put(tmp_path / "a", [f"train/NORMAL/IM-{i:04}-0001.jpeg" for i in range(5)])
    message = refusal(scan_folder(tmp_path / "a"), path)
    assert "fewer than two patients with PNEUMONIA" in message
    assert "too few" in refusal(write_films(tmp_path / "b", [1]), path, "stratified")
    assert not path.exists()


def test_patients_too_entangled_to_divide(tmp_path: Path) -> None:
    put(tmp_path, [f"train/NORMAL/IM-0002-{i:04}.jpeg" for i in range(5)])
    put(tmp_path, ["train/PNEUMONIA/person4_virus_4.jpeg"])
    tied = [f"train/PNEUMONIA/person{i}_virus_{i}.jpeg" for i in range(3)]
    put(tmp_path, ["train/NORMAL/IM-0001-0001.jpeg", *tied], "the same film")
    put(tmp_path, ["test/NORMAL/a.jpeg", "test/PNEUMONIA/b.jpeg"])
    message = refusal(scan_folder(tmp_path), tmp_path / "s.csv", val_fraction=0.5)
    assert message.startswith("too few patients in train to give train and val both classes")


@pytest.mark.parametrize("val_fraction", [0.0, 1.0, -0.1, float("nan")])
def test_fractions_outside_the_range_are_refused(
    folder: FilmFolder, tmp_path: Path, val_fraction: float
) -> None:
    assert "val_fraction is" in refusal(folder, tmp_path / "s.csv", val_fraction=val_fraction)


def test_unknown_kind(folder: FilmFolder, tmp_path: Path) -> None:
    message = refusal(folder, tmp_path / "s.csv", "random")
    assert message == "no split of kind 'random'; choose one of patient, stratified, block"


def test_a_split_is_written_once_and_reused(folder: FilmFolder, tmp_path: Path) -> None:
    path = tmp_path / "new" / "split.csv"
    made = open_split(folder, path, "stratified", val_fraction=0.25, seed=7)
    before = path.stat()
    opened = open_split(folder, path, "stratified", val_fraction=0.25, seed=7)
    assert opened == made == read_split(path)
    assert opened.sha256 == made.sha256 == sha256_of(path)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert [p.name for p in path.parent.iterdir()] == ["split.csv"]
    assert (opened.kind, opened.seed, opened.val_fraction) == ("stratified", 7, 0.25)


def test_the_file_is_a_plain_table(folder: FilmFolder, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    open_split(folder, path, "patient", seed=5)
    with path.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    film = folder.films[0]
    assert lines[0] == {
        "path": film.path,
        "sha256": sha256_of(folder.root / film.path),
        "split": "test",
        "label": "NORMAL",
        "patient_id": "IM-9001",
        "kind": "patient",
        "seed": "5",
        "val_fraction": "0.2",
    }
    assert len(lines) == len(folder.films)


def test_a_table_saved_by_a_spreadsheet_is_the_same_split(
    folder: FilmFolder, tmp_path: Path
) -> None:
    path = tmp_path / "split.csv"
    made = open_split(folder, path, "patient")
    head, *rows = path.read_text().splitlines()
    path.write_bytes("\ufeff".encode() + "\r\n".join([head, *reversed(rows), ""]).encode())
    assert open_split(folder, path, "patient") == made


@pytest.mark.parametrize("name", ["a,b.jpeg", 'say "x".jpeg', "two\nlines.jpeg", "Jürgen 肺.jpeg"])
def test_odd_file_names_survive(folder: FilmFolder, tmp_path: Path, name: str) -> None:
    put(folder.root, [f"train/NORMAL/{name}"])
    odd = scan_folder(folder.root)
    assert open_split(odd, tmp_path / "s.csv", "patient") == read_split(tmp_path / "s.csv")


def test_other_settings_than_the_file_has_are_refused(folder: FilmFolder, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    open_split(folder, path, "patient")
    assert "kind=patient, asked for is stratified" in refusal(folder, path, "stratified")
    assert "seed=0, asked for is 4" in refusal(folder, path, seed=4)
    assert "val_fraction=0.2, asked for is 0.3" in refusal(folder, path, val_fraction=0.3)


def test_changed_missing_and_new_films_are_refused(folder: FilmFolder, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    open_split(folder, path, "patient")
    content = path.read_bytes()
    names = [film.path for film in folder.in_folder("train")][:4]

    put(folder.root, names[:1], "other pixels")
    message = refusal(folder, path)
    assert f"{folder.root} no longer fits the split {path}: 1 changed ({names[0]});" in message
    put(folder.root, names[:1])

    new = "test/NORMAL/IM-0001-0002.jpeg"
    put(folder.root, [new])
    assert f"{path}: 1 new ({new});" in refusal(scan_folder(folder.root), path)

    for name in names:
        (folder.root / name).unlink()
    message = refusal(scan_folder(folder.root), path)
    assert f"{path}: 4 missing ({', '.join(names[:3])}, ...), 1 new ({new});" in message
    (folder.root / new).unlink()
    put(folder.root, names)

    assert path.read_bytes() == content
    check_split(scan_folder(folder.root), read_split(path), path)


def edit(made: Split, index: int, **changes: object) -> Split:
    rows = list(made.rows)
    rows[index] = replace(rows[index], **changes)  # type: ignore[arg-type]
    return replace(made, rows=tuple(rows))


def test_hand_made_changes_that_break_the_rules_are_refused(
    folder: FilmFolder, tmp_path: Path
) -> None:
    path = tmp_path / "split.csv"
    split = make_split(folder, "patient")
    in_test = next(i for i, row in enumerate(split.rows) if row.split == "test")
    unused = next(i for i, row in enumerate(split.rows) if row.split == "unused")
    for broken, words in (
        (edit(split, in_test, split="train"), "into train as NORMAL; expected test and NORMAL"),
        (edit(split, unused, split="val"), "into val as NORMAL; expected unused"),
        (edit(split, in_test, label=Label.PNEUMONIA), "as PNEUMONIA; expected test and NORMAL"),
        (edit(split, in_test, split="holdout"), "into 'holdout', which is no part"),
        (replace(split, rows=(*split.rows, split.rows[0])), "names a film twice"),
    ):
        path.write_text(broken.csv_text)
        assert words in refusal(folder, path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"path,sha256\n",
        b"path,sha256\na,b\n",
        b"\x89PNG\r\n\x1a\n\x00",
        b"path,sha256,split,label,patient_id,kind,seed,val_fraction\na,b,train\n",
        b"path,sha256,split,label,patient_id,kind,seed,val_fraction\n"
        b"a,b,train,SICK,p,patient,0,0.2\n",
        b"path,sha256,split,label,patient_id,kind,seed,val_fraction\n"
        b"a,b,train,NORMAL,p,patient,zero,0.2\n",
        b"path,sha256,split,label,patient_id,kind,seed,val_fraction\n"
        b"a,b,train,NORMAL,p,patient,0,0.2\nc,d,train,NORMAL,p,patient,1,0.2\n",
    ],
)
def test_other_files_are_no_splits(folder: FilmFolder, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(content)
    message = refusal(folder, path)
    assert message.startswith(str(path))
    assert message.endswith("name a file that `pneumoscope data split` wrote")
    assert path.read_bytes() == content


def test_a_split_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "no.csv", tmp_path):
        with pytest.raises(SplitError, match="cannot read"):
            read_split(path)


def test_a_film_that_vanishes_is_named(folder: FilmFolder, tmp_path: Path) -> None:
    (folder.root / folder.films[0].path).unlink()
    message = refusal(folder, tmp_path / "split.csv")
    assert message.startswith(f"cannot read {folder.root / folder.films[0].path}")


def test_a_folder_that_cannot_be_written(folder: FilmFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        open_split(folder, tmp_path / "file" / "split.csv", "patient")


def test_rows_are_plain() -> None:
    row = SplitRow("train/NORMAL/a.png", "00", "train", Label.NORMAL, "a")
    split = Split("patient", 0, 0.2, (row,))
    assert split.csv_text.splitlines()[1] == "train/NORMAL/a.png,00,train,NORMAL,a,patient,0,0.2"


def test_neighbours_by_number_stay_on_one_side_of_a_block_split(tmp_path: Path) -> None:
    folder = write_films(tmp_path, [1, 2] * 100)
    for seed in range(6):
        split = make_split(folder, "block", seed=seed)
        blocks = [
            {patient_block(patient) for patient in patients_of(split, name)}
            for name in ("train", "val")
        ]
        assert blocks[0].isdisjoint(blocks[1])
        assert len(blocks[0] | blocks[1]) == 2 * 200 // 25


@pytest.mark.parametrize("num_folds", [2, 3, 5])
def test_seeds_of_the_block_split_are_the_folds_of_cross_validations(
    tmp_path: Path, num_folds: int
) -> None:
    folder = write_films(tmp_path, [1] * 1000)
    divisions = []
    for first in (0, num_folds):
        folds = [
            {
                row.path
                for row in make_split(folder, "block", val_fraction=1 / num_folds, seed=s).subset(
                    "val"
                )
            }
            for s in range(first, first + num_folds)
        ]
        assert sum(len(fold) for fold in folds) == 2000
        assert set.union(*folds) == {film.path for film in folder.in_folder("train")}
        divisions.append(folds)
    assert divisions[0] != divisions[1]


def test_equal_films_tie_their_blocks_together(tmp_path: Path) -> None:
    twins = ["train/NORMAL/IM-0001-0000.jpeg", "train/NORMAL/IM-0151-0000.jpeg"]
    write_films(tmp_path, [1] * 400)
    put(tmp_path, twins, "the same film")
    folder = scan_folder(tmp_path)
    for seed in range(10):
        side = {
            row.path: row.split
            for row in make_split(folder, "block", val_fraction=0.5, seed=seed).rows
        }
        assert side[twins[0]] == side[twins[1]]


@pytest.mark.parametrize("val_fraction", [0.4, 0.3, 0.7, 0.9])
def test_blocks_make_equal_folds_only(tmp_path: Path, val_fraction: float) -> None:
    folder = write_films(tmp_path, [1] * 200)
    message = refusal(folder, tmp_path / "s.csv", "block", val_fraction=val_fraction)
    assert message == (
        f"val_fraction is {val_fraction}; kind block makes equal folds, so it takes 1/2, 1/3, 1/4 "
        "and so on"
    )
    assert make_split(folder, "block", val_fraction=0.333).subset("val")


def test_too_few_blocks(tmp_path: Path) -> None:
    message = refusal(write_films(tmp_path, [1] * 20), tmp_path / "s.csv", "block")
    assert message.startswith("too few blocks of patients in train for folds of 0.2")


@pytest.mark.parametrize("films_a_patient", [1, 2])
def test_a_torn_block_or_patient_is_refused(tmp_path: Path, films_a_patient: int) -> None:
    folder = write_films(tmp_path / "films", [films_a_patient] * 200)
    split = make_split(folder, "block")
    index = next(i for i, row in enumerate(split.rows) if row.split == "train")
    patient = split.rows[index].patient_id
    torn = patient if films_a_patient > 1 else f"block {patient_block(patient)}"
    path = tmp_path / "s.csv"
    path.write_text(edit(split, index, split="val").csv_text)
    assert f"is of kind block, but {torn} is in both" in refusal(folder, path, "block")


@pytest.fixture(scope="module")
def real(shared_dir: Path) -> FilmFolder:
    return scan_folder(shared_dir / "data" / "chest_xray")


def test_real_stratified_split_has_the_sizes_of_the_reference_study(real: FilmFolder) -> None:
    split = make_split(real, "stratified")
    assert [len(split.subset(n)) for n in ("train", "val", "test", "unused")] == [
        4172,
        1044,
        624,
        16,
    ]
    assert count(split)["val", "PNEUMONIA"] == 776

    def keys(name: str) -> list[str]:
        return [patient_key(Path(row.path).name) for row in split.subset(name)]

    in_train = set(keys("train"))
    beside_a_sibling = sum(key in in_train for key in keys("val"))
    assert beside_a_sibling == 408  # 39.1 % of 1044


def test_real_patient_split(real: FilmFolder) -> None:
    split = make_split(real, "patient")
    assert count(split) == {
        ("train", "NORMAL"): 1073,
        ("train", "PNEUMONIA"): 3100,
        ("val", "NORMAL"): 268,
        ("val", "PNEUMONIA"): 775,
        ("test", "NORMAL"): 234,
        ("test", "PNEUMONIA"): 390,
        ("unused", "NORMAL"): 8,
        ("unused", "PNEUMONIA"): 8,
    }
    assert patients_of(split, "train").isdisjoint(patients_of(split, "val"))
    sides: dict[str, set[str]] = {}
    for row in split.rows:
        sides.setdefault(row.sha256, set()).add(row.split)
    assert all(len(parts) == 1 for parts in sides.values())
    assert len(split.rows) - len(sides) == 32  # copies in 30 groups of equal films
    # A change here means that nobody's split files fit any more.
    assert split.sha256 == "e9e78e4561b2a73f0030e79236b2d2bd804684245bcdfd2363097174d1d919f0"


def test_real_block_split(real: FilmFolder) -> None:
    folds = [make_split(real, "block", val_fraction=0.5, seed=seed) for seed in (0, 1)]
    assert [count(fold)["val", "PNEUMONIA"] for fold in folds] == [1798, 2077]
    assert [count(fold)["val", "NORMAL"] for fold in folds] == [699, 642]
    assert patients_of(folds[0], "train") == patients_of(folds[1], "val")


def test_parts_of_real_folds_vary_as_the_page_says(real: FilmFolder) -> None:
    total = sum(film.label == Label.NORMAL for film in real.in_folder("train"))

    def shares(val_fraction: float, num_seeds: int) -> tuple[int, int]:
        found = [
            count(make_split(real, "block", val_fraction=val_fraction, seed=seed))["val", "NORMAL"]
            for seed in range(num_seeds)
        ]
        return round(100 * min(found) / total), round(100 * max(found) / total)

    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    fifth, half = shares(0.2, 5), shares(0.5, 6)
    assert (
        f"{fifth[0]} to {fifth[1]} % of the normal films, at 1/2 {half[0]} to {half[1]} %" in text
    )
