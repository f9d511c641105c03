import os
from pathlib import Path

import pytest

from pneumoscope.data.scan import Film, FilmFolder, scan_folder, scan_labelled
from pneumoscope.errors import LayoutError
from pneumoscope.labels import Label

FILMS = [
    "test/NORMAL/IM-0001-0001.jpeg",
    "test/PNEUMONIA/person1_virus_6.jpeg",
    "train/NORMAL/IM-0115-0001.jpeg",
    "train/PNEUMONIA/person1_bacteria_1.jpeg",
    "val/NORMAL/NORMAL2-IM-1427-0001.jpeg",
    "val/PNEUMONIA/person1946_bacteria_4874.jpeg",
]


def put(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def paths_of(folder: FilmFolder) -> list[str]:
    return [film.path for film in folder.films]


def refusal(root: Path, *, labelled: bool = False) -> str:
    with pytest.raises(LayoutError) as caught:
        (scan_labelled if labelled else scan_folder)(root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_films_are_sorted_with_label_folder_and_patient(tmp_path: Path) -> None:
    folder = scan_folder(put(tmp_path, *reversed(FILMS)))
    assert folder.root == tmp_path
    assert paths_of(folder) == FILMS
    assert folder.films[1] == Film(FILMS[1], "test", Label.PNEUMONIA, "person1_virus")
    assert folder.films[3] == Film(FILMS[3], "train", Label.PNEUMONIA, "person1")
    assert [film.path for film in folder.in_folder("val")] == FILMS[4:]


def test_val_may_be_missing_or_have_one_class(tmp_path: Path) -> None:
    assert paths_of(scan_folder(put(tmp_path, *FILMS[:4]))) == FILMS[:4]
    assert paths_of(scan_folder(put(tmp_path, FILMS[5]))) == [*FILMS[:4], FILMS[5]]


@pytest.mark.parametrize("inner", ["chest_xray", "chest_xray/chest_xray", "a/b/chest_xray"])
def test_nesting_is_looked_through(tmp_path: Path, inner: str) -> None:
    put(tmp_path / inner, *FILMS)
    folder = scan_folder(tmp_path)
    assert folder.root == tmp_path / inner
    assert paths_of(folder) == FILMS


def test_the_inner_copy_of_the_archive_is_counted_once(tmp_path: Path) -> None:
    outer = tmp_path / "chest_xray"
    put(outer, *FILMS)
    put(outer / "chest_xray", *FILMS)
    put(outer / "__MACOSX" / "chest_xray", *(name.replace("IM", "._IM") for name in FILMS))
    for root in (tmp_path, outer):
        folder = scan_folder(root)
        assert folder.root == outer
        assert paths_of(folder) == FILMS


def test_a_half_unpacked_outer_folder_gives_way_to_the_whole_inner_one(tmp_path: Path) -> None:
    put(tmp_path, FILMS[2])
    put(tmp_path / "chest_xray", *FILMS)
    assert scan_folder(tmp_path).root == tmp_path / "chest_xray"


def test_what_systems_leave_behind_is_ignored(tmp_path: Path) -> None:
    put(tmp_path, *FILMS)
    put(
        tmp_path,
        ".DS_Store",
        "README.txt",
        "__MACOSX/train/NORMAL/._IM-0115-0001.jpeg",
        "train/.DS_Store",
        "train/NORMAL/._IM-0115-0001.jpeg",
        "train/NORMAL/.DS_Store",
        "train/NORMAL/Thumbs.db",
        "train/PNEUMONIA/desktop.ini",
        "test/NORMAL/@eaDir/x.jpeg",
    )
    assert paths_of(scan_folder(tmp_path)) == FILMS


def test_letter_case_and_extensions(tmp_path: Path) -> None:
    films = [
        "TEST/Normal/a.PNG",
        "TEST/pneumonia/b.tif",
        "Train/Normal/c.JPG",
        "Train/Pneumonia/d.dcm",
        "Train/Pneumonia/e.TIFF",
    ]
    folder = scan_folder(put(tmp_path, *films))
    assert paths_of(folder) == films
    assert [film.folder for film in folder.films] == ["test", "test", "train", "train", "train"]
    assert [film.label.name[0] for film in folder.films] == list("NPNPP")


def test_two_folders_for_one_are_refused(tmp_path: Path) -> None:
    if (put(tmp_path / "probe", "x") / "X").exists():
        pytest.skip("the file system does not tell Train from train")
    put(tmp_path / "data", *FILMS, "TRAIN/NORMAL/a.jpeg")
    assert "both TRAIN and train" in refusal(tmp_path / "data")
    assert "both TRAIN and train" in refusal(tmp_path)
    put(tmp_path / "classes", *FILMS, "train/normal/a.jpeg")
    assert "both NORMAL and normal" in refusal(tmp_path / "classes")


@pytest.mark.parametrize(
    ("stray", "named"),
    [
        ("train/COVID/a.jpeg", "COVID"),
        ("train/a.jpeg", "a.jpeg"),
        ("a.jpeg", "a.jpeg"),
        ("validation/NORMAL/a.jpeg", "validation"),
        ("train/NORMAL/notes.txt", "notes.txt"),
        ("train/NORMAL/bacteria/a.jpeg", "bacteria"),
        ("test/PNEUMONIA/film_without_extension", "film_without_extension"),
        ("val/NORMAL/notes.txt", "notes.txt"),
    ],
)
def test_strangers_among_the_films_are_named(tmp_path: Path, stray: str, named: str) -> None:
    message = refusal(put(tmp_path, *FILMS, stray))
    assert f" {named};" in message
    assert str((tmp_path / stray).parent if "." in named else tmp_path) in message


def test_many_strangers_are_named_in_part(tmp_path: Path) -> None:
    put(tmp_path, *FILMS, *(f"train/NORMAL/{i}.txt" for i in range(5)))
    assert "0.txt, 1.txt, 2.txt and 2 more;" in refusal(tmp_path)


def test_missing_empty_and_one_class(tmp_path: Path) -> None:
    assert "is not there" in refusal(tmp_path / "nowhere")
    assert "is empty" in refusal(tmp_path)
    assert "is a file" in refusal(put(tmp_path / "f", "film.jpeg") / "film.jpeg")
    assert "has no folder test" in refusal(put(tmp_path / "a", *FILMS[2:]))
    assert "has no folder train" in refusal(put(tmp_path / "b", *FILMS[:2]))
    assert "PNEUMONIA is missing" in refusal(put(tmp_path / "c", *FILMS[:3]))
    empty = put(tmp_path / "d", *FILMS[:4]) / FILMS[3]
    empty.unlink()
    assert f"{empty.parent} is empty" in refusal(tmp_path / "d")
    assert "holds the classes themselves" in refusal(tmp_path / "c" / "test")
    assert "name the folder with the films" in refusal(put(tmp_path / "e", "x/y.jpeg"))


def test_two_data_sets_side_by_side_are_not_guessed_between(tmp_path: Path) -> None:
    put(tmp_path / "one", *FILMS)
    put(tmp_path / "two", *FILMS)
    assert "holds 2 sets of films" in refusal(tmp_path)


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    put(tmp_path / "real", *FILMS)
    (tmp_path / "real" / "train" / "again").symlink_to(tmp_path / "real")
    search = tmp_path / "search"
    search.mkdir()
    (search / "round").symlink_to(search)
    assert "name the folder with the films" in refusal(search)
    (search / "data").symlink_to(tmp_path / "real")
    assert " again;" in refusal(search)
    (tmp_path / "real" / "train" / "again").unlink()
    assert paths_of(scan_folder(search)) == FILMS


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    put(tmp_path, *FILMS)
    film = tmp_path / "train" / "NORMAL" / "lost.jpeg"
    film.symlink_to("gone.jpeg")
    assert "lost.jpeg" in refusal(tmp_path)
    film.unlink()
    film.symlink_to(film.name)
    assert "lost.jpeg" in refusal(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize("mode", [0, 0o444])
def test_a_private_folder_is_named(tmp_path: Path, mode: int) -> None:
    put(tmp_path, *FILMS)
    private = tmp_path / "train" / "NORMAL"
    private.chmod(mode)
    try:
        assert f"{private} cannot be read" in refusal(tmp_path)
        private.chmod(0o755)
        tmp_path.chmod(mode)
        assert f"{tmp_path} cannot be read" in refusal(tmp_path)
        assert "train cannot be reached" in refusal(tmp_path / "train")
    finally:
        tmp_path.chmod(0o755)
        private.chmod(0o755)


def test_names_that_are_not_text_are_named(tmp_path: Path) -> None:
    put(tmp_path, *FILMS)
    try:
        (tmp_path / "train" / "NORMAL" / os.fsdecode(b"\xff.jpeg")).write_bytes(b"")
    except OSError:
        pytest.skip("the file system accepts only text")
    message = refusal(tmp_path)
    assert message.isprintable()
    assert r"\udcff.jpeg" in message


def test_bare_class_folders(tmp_path: Path) -> None:
    put(tmp_path / "set", "NORMAL/a.png", "pneumonia/person1_virus_6.jpeg", "notes.txt")
    for root in (tmp_path, tmp_path / "set"):
        folder = scan_labelled(root)
        assert folder.root == tmp_path / "set"
        assert folder.films == (
            Film("NORMAL/a.png", "test", Label.NORMAL, "a"),
            Film("pneumonia/person1_virus_6.jpeg", "test", Label.PNEUMONIA, "person1_virus"),
        )
    put(tmp_path / "one_class", "NORMAL/a.png")
    assert "has no folder PNEUMONIA" in refusal(tmp_path / "one_class", labelled=True)


def test_a_whole_layout_is_labelled_too(tmp_path: Path) -> None:
    put(tmp_path, *FILMS)
    assert scan_labelled(tmp_path) == scan_folder(tmp_path)


def test_real_films(shared_dir: Path) -> None:
    folder = scan_folder(shared_dir / "data")
    assert folder.root == shared_dir / "data" / "chest_xray"
    counts = {
        name: [sum(film.label == label for film in folder.in_folder(name)) for label in Label]
        for name in ("train", "val", "test")
    }
    assert counts == {"train": [1341, 3875], "val": [8, 8], "test": [234, 390]}
