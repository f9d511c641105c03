import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from pneumoscope.data.audit import Audit, Finding, NearDuplicate, Overlap, audit_folder
from pneumoscope.data.phantom import write_phantoms
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import Split, make_split

CLEAN = [
    "train/NORMAL/IM-0115-0001.png",
    "train/NORMAL/IM-0117-0001.png",
    "train/PNEUMONIA/person1_bacteria_1.png",
    "train/PNEUMONIA/person2_bacteria_3.png",
    "test/NORMAL/IM-0001-0001.png",
    "test/PNEUMONIA/person7_virus_6.png",
]


def picture(seed: int, height: int = 96, width: int = 128) -> Image.Image:
    """A smooth random picture, unlike any with another seed."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 6)
    scaled = 255 * (noise - noise.min()) / np.ptp(noise)
    return Image.fromarray(scaled.astype(np.uint8))


def save(root: Path, name: str, image: Image.Image, **options: int) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(CLEAN):
        save(tmp_path, name, picture(seed))
    return tmp_path


def audit(root: Path, split: Split | None = None) -> Audit:
    return audit_folder(scan_folder(root), split)


def test_a_clean_folder(root: Path) -> None:
    found = audit(root)
    assert found.root == str(root)
    assert not found.phantom
    assert found.num_films == 6
    assert found.class_counts == {
        "train": {"NORMAL": 2, "PNEUMONIA": 2},
        "test": {"NORMAL": 1, "PNEUMONIA": 1},
    }
    assert found.num_patients == {
        "train": {"kind and number": 4, "number": 4},
        "test": {"kind and number": 2, "number": 2},
    }
    assert (found.num_anonymous, found.unreadable, found.exact_duplicates) == (0, (), ())
    assert (found.near_duplicates, found.overlaps) == ((), ())
    assert found.height_px == (96, 96, 96)
    assert found.formats == {"PNG 8-bit": 6}
    assert [finding.text for finding in found.verdict] == [
        "every file can be read",
        "no exact duplicates",
        "no near duplicates",
        "no patient (by kind and number) is in two parts",
    ]
    assert not found.has_problems


def test_sizes_and_formats(root: Path) -> None:
    save(root, "train/NORMAL/a.jpg", picture(10, 50, 200), quality=90)
    save(root, "train/NORMAL/b.png", Image.fromarray(np.eye(60, dtype=np.uint16) * 999))
    red = Image.merge("RGB", [picture(11, 60, 90), picture(12, 60, 90), picture(13, 60, 90)])
    save(root, "train/NORMAL/c.jpg", red)
    found = audit(root)
    assert found.height_px == (50, 96, 96)
    assert found.width_px == (60, 128, 200)
    assert found.aspect == (1.0, pytest.approx(4 / 3), 4.0)
    assert found.formats == {
        "PNG 8-bit": 6,
        "JPEG 8-bit": 1,
        "PNG 16-bit": 1,
        "JPEG 8-bit colour": 1,
    }


def test_unreadable_files_are_named_and_the_rest_is_still_looked_at(root: Path) -> None:
    whole = (root / CLEAN[0]).read_bytes()
    (root / CLEAN[0]).write_bytes(whole[: len(whole) // 2])
    (root / CLEAN[5]).write_text("not a film")
    found = audit(root)
    assert [u.path for u in found.unreadable] == [CLEAN[5], CLEAN[0]]
    assert all(str(root) not in u.reason and "\n" not in u.reason for u in found.unreadable)
    assert "text" in found.unreadable[0].reason
    assert found.verdict[0] == Finding("problem", "2 files cannot be read; repair or remove")
    assert found.num_films == 6
    assert found.formats == {"PNG 8-bit": 4}


def test_a_folder_without_one_readable_film(root: Path) -> None:
    for name in CLEAN:
        (root / name).write_bytes(b"")
    found = audit(root)
    assert len(found.unreadable) == 6
    assert (found.height_px, found.width_px, found.aspect, found.formats) == (None, None, None, {})
    assert found.near_duplicates == ()


def test_exact_duplicates_within_a_part_are_a_note(root: Path) -> None:
    save(root, "train/NORMAL/IM-0115-0002.png", picture(0))
    found = audit(root)
    assert found.exact_duplicates == (
        ("train/NORMAL/IM-0115-0001.png", "train/NORMAL/IM-0115-0002.png"),
    )
    assert found.near_duplicates == ()  # listed once
    assert found.verdict[0] == Finding(
        "note",
        "1 group of exact duplicates, 2 films; none across parts, none with two labels",
    )


def test_exact_duplicates_across_parts_or_labels_are_a_problem(root: Path) -> None:
    save(root, "test/NORMAL/IM-0002-0001.png", picture(0))
    save(root, "train/PNEUMONIA/person3_virus_1.png", picture(1))
    assert audit(root).verdict[0] == Finding(
        "problem",
        "2 groups of exact duplicates, 4 films; 1 across parts, 1 with two labels",
    )


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: image.resize((64, 48)),
        lambda image: image.resize((256, 192)),
        lambda image: image.point(lambda value: int(255 * (value / 255) ** 1.3)),
        lambda image: image.point(lambda value: value * 0.6 + 40),
        lambda image: image.crop((1, 1, 127, 95)),
    ],
    ids=["half the size", "twice the size", "gamma", "contrast", "trimmed"],
)
def test_altered_copies_are_near_duplicates(root: Path, copy: object) -> None:
    save(root, "test/NORMAL/IM-0002-0001.jpg", copy(picture(0)), quality=70)  # type: ignore[operator]
    found = audit(root)
    assert found.exact_duplicates == ()
    assert found.near_duplicates is not None
    (pair,) = found.near_duplicates
    assert (pair.path, pair.other_path) == ("test/NORMAL/IM-0002-0001.jpg", CLEAN[0])
    assert 0.985 <= pair.correlation <= 1
    assert found.verdict[0] == Finding(
        "problem", "1 pair of near duplicates, 2 films; 1 across parts, none with two labels"
    )


def test_near_duplicates_are_found_in_every_block(root: Path) -> None:
    twins = {(f"train/NORMAL/x{i:03}a.png", f"train/NORMAL/x{i:03}b.jpg") for i in range(300)}
    for index, pair in enumerate(sorted(twins)):  # 600 films: more than one block holds
        for name in pair:
            save(root, name, picture(1000 + index, 32, 32))
    far = (CLEAN[4], "train/PNEUMONIA/z.jpg")  # the first film of all and the last
    save(root, far[1], picture(4), quality=95)
    near = audit(root).near_duplicates
    assert near is not None
    assert {(n.path, n.other_path) for n in near} == {*twins, far}
    assert [n.correlation for n in near] == sorted((n.correlation for n in near), reverse=True)


def test_flat_films_match_nothing(root: Path) -> None:
    for level in (0, 128, 255):
        save(root, f"train/NORMAL/flat{level}.png", Image.new("L", (64, 64), level))
    assert audit(root).near_duplicates == ()


def test_pictures_are_compared_only_when_asked(root: Path) -> None:
    found = audit_folder(scan_folder(root), near_duplicates=False)
    assert found.near_duplicates is None
    assert "no near duplicates" not in [finding.text for finding in found.verdict]


def test_patients_in_two_folders(root: Path) -> None:
    save(root, "test/PNEUMONIA/person2_virus_1.png", picture(20))
    save(root, "test/NORMAL/IM-0115-0009.png", picture(21))
    found = audit(root)
    assert found.overlaps == (
        Overlap("train", "test", "kind and number", ("IM-0115",), 1, 4),
        Overlap("train", "test", "number", ("IM-0115", "person2"), 2, 4),
    )
    assert found.verdict[:2] == (
        Finding(
            "problem",
            "1 patient by kind and number in both train and test: 1 of 4 films in test (25.0%)",
        ),
        Finding(
            "note",
            "2 patients by number in both train and test: 2 of 4 films in test (50.0%); "
            "numbers start anew there: no leak by itself",
        ),
    )


def test_patients_on_both_sides_of_a_split(root: Path) -> None:
    for index in range(20):
        save(root, f"train/NORMAL/IM-0{200 + index // 2}-{index}.png", picture(100 + index))
        kind = "virus" if index % 2 else "bacteria"
        save(
            root,
            f"train/PNEUMONIA/person{20 + index // 2}_{kind}_{index}.png",
            picture(200 + index),
        )
    folder = scan_folder(root)
    assert not audit_folder(folder, make_split(folder, "patient")).overlaps
    split = make_split(folder, "stratified", val_fraction=0.5)
    found = audit_folder(folder, split)
    by_key, by_number = found.overlaps
    assert (by_key.part, by_key.other_part, by_key.by) == ("train", "val", "kind and number")
    assert all(name.startswith("IM-") for name in by_key.patients)
    assert {name for name in by_number.patients if name.startswith("IM-")} == set(by_key.patients)
    assert any(name.startswith("person") for name in by_number.patients)
    assert by_key.other_num_films == len(split.subset("val"))
    assert found.verdict[0].level == "problem"
    assert found.verdict[1].text.endswith("these may be the same children")
    assert list(found.class_counts) == ["train", "val", "test"]


def test_films_that_the_split_does_not_name_are_unused(root: Path) -> None:
    split = make_split(scan_folder(root), "patient")
    save(root, "train/NORMAL/IM-0999-0001.png", picture(50))
    found = audit_folder(scan_folder(root), split)
    assert found.class_counts["unused"] == {"NORMAL": 1, "PNEUMONIA": 0}


def test_names_without_patients_are_counted_and_never_said_to_overlap(tmp_path: Path) -> None:
    for seed, name in enumerate(CLEAN):
        save(tmp_path, f"{Path(name).parent}/{seed % 2}.png", picture(seed))
    found = audit(tmp_path)
    assert (found.num_anonymous, found.overlaps) == (6, ())
    assert "6 of 6 file names do not state a patient" in found.verdict[0].text
    assert not any("no patient" in finding.text for finding in found.verdict)


def test_progress_sees_every_film(root: Path) -> None:
    seen: list[str] = []
    folder = scan_folder(root)
    audit_folder(folder, track=lambda films: [seen.append(f.path) or f for f in films])
    assert seen == [film.path for film in folder.films]


def test_everything_goes_into_json(root: Path) -> None:
    save(root, "test/NORMAL/IM-0115-0009.jpg", picture(0))
    (root / CLEAN[3]).write_bytes(b"")
    found = audit(root)
    back = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert back["num_films"] == 7
    assert back["unreadable"][0]["path"] == CLEAN[3]
    assert NearDuplicate(**back["near_duplicates"][0]) in (found.near_duplicates or ())
    assert back["overlaps"][0]["patients"] == ["IM-0115"]
    assert back["verdict"][0]["level"] == "problem"


def test_phantoms_are_told_from_films(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "p", num_train=8, num_val=0, num_test=8, size_px=96)
    found = audit(tmp_path / "p")
    assert found.phantom
    assert (found.num_films, found.num_anonymous, found.unreadable) == (16, 0, ())
    assert not found.has_problems


def test_other_copies_of_the_same_films_are_recognised(shared_dir: Path, tmp_path: Path) -> None:
    """Films as Kaggle serves them against the same films squeezed to 224 x 224."""
    originals = sorted((shared_dir / "data" / "original_resolution").glob("*/*.jpeg"))
    for original in originals:
        label = original.parent.name
        for folder, source in (
            ("train", shared_dir / "data" / "chest_xray" / "train" / label / original.name),
            ("test", original),
        ):
            (tmp_path / folder / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / label / original.name).symlink_to(source)
    found = audit(tmp_path)
    assert found.exact_duplicates == ()
    assert len(found.near_duplicates or ()) == len(originals) == 30
    for pair in found.near_duplicates or ():
        assert Path(pair.path).name == Path(pair.other_path).name
        assert pair.correlation > 0.999


@pytest.mark.slow
def test_real_films(shared_dir: Path) -> None:
    folder = scan_folder(shared_dir / "data" / "chest_xray")
    start = time.process_time()
    found = audit_folder(folder, make_split(folder, "stratified"))
    assert time.process_time() - start < 60
    assert (found.num_films, found.unreadable, found.num_anonymous) == (5856, (), 0)
    assert found.formats == {"JPEG 8-bit": 5856}
    assert (found.height_px, found.width_px) == ((224, 224, 224), (224, 224, 224))
    assert (len(found.exact_duplicates), sum(map(len, found.exact_duplicates))) == (30, 62)
    assert found.near_duplicates == ()
    leak = found.overlaps[0]
    assert (leak.part, leak.other_part, leak.by) == ("train", "val", "kind and number")
    assert (len(leak.patients), leak.num_films, leak.other_num_films) == (300, 408, 1044)
    by_folder = audit_folder(folder, near_duplicates=False)
    assert not by_folder.has_problems
    assert {(o.part, o.other_part, o.by) for o in by_folder.overlaps} == {
        ("train", "test", "number")
    }
    test_films = {f.path for f in folder.in_folder("test")}
    copies = [len(test_films & set(group)) for group in by_folder.exact_duplicates]
    assert len(test_films) - sum(n - 1 for n in copies if n) == 618  # different films in test
