"""The films of a run: one split, decoded once, the unreadable named."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from pneumoscope.config import DataConfig
from pneumoscope.data.split import read_split
from pneumoscope.errors import RadiographError, SplitError
from pneumoscope.study.films import open_films, stated_causes

CONFIG = DataConfig()


def spoil(film: Path) -> str:
    film.write_text("not a film")
    return film.name


def open_all(folder: Path, path: Path, *, skip: bool) -> tuple[dict[str, list[str]], str]:
    """The films' paths by split, and what was printed."""
    console = Console(file=io.StringIO(), width=40)
    films = open_films(folder, path, CONFIG, console, skip_unreadable=skip)
    paths = {name: [row.path for row in films.rows(name)] for name in ("train", "val", "test")}
    return paths, console.file.getvalue()  # type: ignore[attr-defined]


def test_labels_and_pixels_go_with_the_rows(
    phantoms: Path, tmp_path: Path, console: Console
) -> None:
    films = open_films(phantoms, tmp_path / "split.csv", CONFIG, console)
    assert films.root == phantoms
    assert films.phantom
    for name in ("train", "val", "test"):
        rows, labels = films.rows(name), films.labels(name)
        assert rows == films.split.subset(name)
        assert labels.tolist() == [int("PNEUMONIA" in row.path) for row in rows]
        assert films.pixels(name, 32, console).shape == (len(rows), 32, 32)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_causes_are_those_of_the_file_names(
    phantoms: Path, tmp_path: Path, console: Console
) -> None:
    films = open_films(phantoms, tmp_path / "split.csv", CONFIG, console)
    for name in ("train", "test"):
        expected = [
            0 if "_bacteria_" in row.path else 1 if "_virus_" in row.path else -1
            for row in films.rows(name)
        ]
        assert stated_causes(films.rows(name)).tolist() == expected
        assert set(expected) == {-1, 0, 1}
        healthy = films.labels(name) == 0
        assert set(stated_causes(films.rows(name))[healthy].tolist()) == {-1}


def test_a_normal_film_has_no_cause_whatever_its_name(
    own_phantoms: Path, tmp_path: Path, console: Console
) -> None:
    normal = next((own_phantoms / "train" / "NORMAL").iterdir())
    normal.rename(normal.with_name("person9999_virus_1.jpeg"))
    sick = next((own_phantoms / "train" / "PNEUMONIA").iterdir())
    sick.rename(sick.with_name("some film.jpeg"))
    films = open_films(own_phantoms, tmp_path / "split.csv", CONFIG, console)
    found = {
        row.path: cause
        for name in ("train", "val")
        for row, cause in zip(
            films.rows(name), stated_causes(films.rows(name)).tolist(), strict=True
        )
    }
    assert found["train/NORMAL/person9999_virus_1.jpeg"] == -1
    assert found["train/PNEUMONIA/some film.jpeg"] == -1


def test_the_config_makes_the_split(phantoms: Path, tmp_path: Path, console: Console) -> None:
    config = DataConfig(split="stratified", val_fraction=0.5, split_seed=3)
    films = open_films(phantoms, tmp_path / "split.csv", config, console)
    assert (films.split.kind, films.split.seed, films.split.val_fraction) == ("stratified", 3, 0.5)
    assert len(films.rows("val")) == 30
    again = open_films(phantoms, tmp_path / "split.csv", config, console)
    assert again.split == films.split
    with pytest.raises(SplitError, match=r"made with kind=stratified, asked for is patient; "):
        open_films(phantoms, tmp_path / "split.csv", CONFIG, console)


def test_skipping_names_each_film_on_a_line_and_keeps_the_split(
    own_phantoms: Path, tmp_path: Path
) -> None:
    path = tmp_path / "split.csv"
    bad = sorted(own_phantoms.glob("t*/PNEUMONIA/*"))[::20]
    names = [spoil(film) for film in bad]
    assert len(names) >= 3
    plain, nothing = open_all(own_phantoms, path, skip=False)
    split = read_split(path)
    kept, text = open_all(own_phantoms, path, skip=True)
    assert nothing == ""
    assert text.splitlines() == [
        f"skipped: {film}: holds text, expected a JPEG, PNG, TIFF or DICOM image" for film in bad
    ]
    assert read_split(path) == split
    for name in plain:
        left_out = set(plain[name]) - set(kept[name])
        assert left_out == {p for p in plain[name] if Path(p).name in names}
        assert [p for p in plain[name] if p not in left_out] == kept[name]


def test_without_skipping_the_film_is_named_with_the_advice(
    own_phantoms: Path, tmp_path: Path, console: Console
) -> None:
    film = sorted((own_phantoms / "test" / "NORMAL").iterdir())[0]
    spoil(film)
    films = open_films(own_phantoms, tmp_path / "split.csv", CONFIG, console)
    with pytest.raises(RadiographError) as caught:
        films.pixels("test", 32, console)
    assert str(caught.value) == (
        f"{film}: holds text, expected a JPEG, PNG, TIFF or DICOM image; "
        "--skip-unreadable leaves such films out"
    )


def test_a_class_of_which_nothing_is_left(
    own_phantoms: Path, tmp_path: Path, console: Console
) -> None:
    for film in (own_phantoms / "test" / "NORMAL").iterdir():
        spoil(film)
    with pytest.raises(SplitError) as caught:
        open_films(own_phantoms, tmp_path / "split.csv", CONFIG, console, skip_unreadable=True)
    assert str(caught.value) == (
        "test holds no readable film with NORMAL; training and testing need both classes; add films"
    )


def test_a_folder_of_patients_is_no_phantom(
    own_phantoms: Path, tmp_path: Path, console: Console
) -> None:
    (own_phantoms / "phantom.json").unlink()
    films = open_films(own_phantoms, tmp_path / "split.csv", CONFIG, console)
    assert not films.phantom
