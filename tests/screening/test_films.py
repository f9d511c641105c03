"""From what a user names to a list of films."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.errors import RadiographError
from pneumoscope.screening.films import NO_FILMS, list_films
from pneumoscope.screening.zips import RefusedFilm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.png", "deep/er/c.png", ".hidden.png", "__MACOSX/d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    (tmp_path / "b.png").rename(tmp_path / "no_suffix")
    (tmp_path / "notes.txt").write_text("not a film")
    (tmp_path / "text.jpeg").write_text("not a film either, but it claims to be one")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "film").write_bytes(bytes(128) + b"DICM")
    return tmp_path


def relative(films: list[str], folder: Path) -> list[str]:
    return [Path(film).relative_to(folder).as_posix() for film in films]


def test_folder(folder: Path) -> None:
    films = list_films([str(folder)], [], recursive=True)
    assert relative(films, folder) == ["a.png", "deep/er/c.png", "film", "no_suffix", "text.jpeg"]


def test_folder_alone(folder: Path) -> None:
    films = list_films([str(folder)], [], recursive=False)
    assert relative(films, folder) == ["a.png", "film", "no_suffix", "text.jpeg"]


def test_what_is_named_is_listed_whatever_it_is() -> None:
    assert list_films(["nowhere.png", "a.txt"], [], recursive=True) == ["nowhere.png", "a.txt"]


def test_standard_input(folder: Path) -> None:
    lines = [b"one film.png\r\n", b"\n", os.fsencode(folder / "deep") + b"\n", b"caf\xe9.png"]
    films = list_films(["first.png", "-", "last.png"], lines, recursive=True)
    assert films == [
        "first.png",
        "one film.png",
        str(folder / "deep/er/c.png"),
        os.fsdecode(b"caf\xe9.png"),
        "last.png",
    ]


def test_a_folder_that_cannot_be_listed_is_not_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert str(folder / "deep") in list_films([str(folder)], [], recursive=True)


def test_a_list_from_powershell(folder: Path) -> None:
    assert list_films(["-"], [b"\xef\xbb\xbfa.png\r\n", b"b.png"]) == ["a.png", "b.png"]


def test_names_that_end_in_a_null_byte() -> None:
    assert list_films(["-"], [b"a\n", b"b.png\0c\r.png\0"], end=b"\0") == ["a\nb.png", "c\r.png"]


def test_a_pipe_in_a_folder_is_passed_over(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "pipe" not in relative(list_films([str(folder)]), folder)


def test_a_folder_without_films_gets_its_line(tmp_path: Path) -> None:
    (film,) = list_films([str(tmp_path)])
    assert film == RefusedFilm(str(tmp_path), NO_FILMS)
    with pytest.raises(RadiographError, match="holds no films; name files"):
        film.read()


def test_names_no_file_can_have() -> None:
    assert list_films(["a\0b.png"], [], recursive=True) == ["a\0b.png"]
