"""From what a user names to a list of films."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.data.radiograph import MAX_FILE_BYTES
from pneumoscope.errors import RadiographError, UsageError
from pneumoscope.screening.films import ZippedFilm, list_films


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


class TestZip:
    def archive(self, folder: Path, names: list[str], content: bytes = b"x") -> str:
        path = folder / "films.ZIP"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, content)
        return str(path)

    def test_what_looks_like_a_film_is_listed(self, tmp_path: Path) -> None:
        names = ["b.png", "a/c.dcm", "a/IM0001", "../../up.png", "a/notes.txt", "inner.zip"]
        archive = self.archive(tmp_path, [*names, ".hidden.png", "__MACOSX/d.png", "DICOMDIR"])
        films = list_films([archive], [], recursive=True)
        inside = [str(film).removeprefix(f"{archive}/") for film in films]
        assert inside == ["a/IM0001", "a/c.dcm", "b.png"]
        assert [str(film) for film in list_films([archive], [], recursive=False)] == [
            f"{archive}/b.png"
        ]

    def test_bytes_come_out(self, tmp_path: Path) -> None:
        (film,) = list_films([self.archive(tmp_path, ["a.png"], b"pixels")], [], recursive=True)
        assert isinstance(film, ZippedFilm)
        assert film.read() == b"pixels"

    def test_a_bomb_is_cut_off(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.zip"
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("bomb.png", "w", force_zip64=True) as stream,
        ):
            for _ in range(MAX_FILE_BYTES // 2**20 + 8):
                stream.write(bytes(2**20))
        assert path.stat().st_size < 2**20
        (film,) = list_films([str(path)], [], recursive=True)
        assert isinstance(film, ZippedFilm)
        assert len(film.read()) == MAX_FILE_BYTES + 1

    def test_damaged_entries_get_one_line(self, tmp_path: Path) -> None:
        path = Path(self.archive(tmp_path, ["a.png"], os.urandom(4000)))
        content = bytearray(path.read_bytes())
        content[200:300] = bytes(100)
        path.write_bytes(content)
        (film,) = list_films([str(path)], [], recursive=True)
        assert isinstance(film, ZippedFilm)
        with pytest.raises(RadiographError, match=r"films\.ZIP/a\.png: is damaged in the archive"):
            film.read()

    def test_encrypted_entries_get_one_line(self, tmp_path: Path) -> None:
        path = Path(self.archive(tmp_path, ["a.png"]))
        content = path.read_bytes()
        central = content.index(b"PK\x01\x02") + 8
        path.write_bytes(content[:central] + b"\x01" + content[central + 1 :])
        (film,) = list_films([str(path)], [], recursive=True)
        assert isinstance(film, ZippedFilm)
        with pytest.raises(RadiographError, match="is encrypted in the archive; unpack it first"):
            film.read()

    def test_a_damaged_archive_is_wrong_usage(self, tmp_path: Path) -> None:
        (tmp_path / "half.zip").write_bytes(b"PK\x03\x04" + bytes(40))
        with pytest.raises(UsageError, match="is a damaged zip archive"):
            list_films([str(tmp_path / "half.zip")], [], recursive=True)

    def test_too_many_entries(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pneumoscope.screening.films.MAX_MEMBERS", 2)
        with pytest.raises(UsageError, match="holds 3 entries, expected at most 2"):
            list_films([self.archive(tmp_path, ["a.png", "b.png", "c.png"])], [], recursive=True)


def test_names_no_file_can_have() -> None:
    assert list_films(["a\0b.png"], [], recursive=True) == ["a\0b.png"]
