"""Films in zip archives: which are found, what comes out, what is refused."""

import os
import zipfile
from pathlib import Path

import pytest

from pneumoscope.data.radiograph import MAX_FILE_BYTES
from pneumoscope.errors import RadiographError
from pneumoscope.screening.films import list_films
from pneumoscope.screening.zips import ZippedFilm


def archive_of(folder: Path, names: list[str], content: bytes = b"x") -> str:
    path = folder / "films.ZIP"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return str(path)


def test_what_looks_like_a_film_is_listed(tmp_path: Path) -> None:
    """By name, or, as names of DICOM files end anyhow, by content."""
    dicom, other = bytes(128) + b"DICM", b"no film"
    path = tmp_path / "films.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {
            "b.png": other, "a/c.dcm": other, "a/IM0001": dicom, "a/1.2.840.113619": dicom,
            "../../up.png": other, "a/README": other, "a/notes.txt": other, ".hidden.png": other,
            "a/.b/c.png": other, "__MACOSX/d.png": other, "DICOMDIR": dicom,
        }.items():  # fmt: skip
            archive.writestr(name, content)
    films = [str(film).removeprefix(f"{path}/") for film in list_films([str(path)])]
    assert films == ["../../up.png", "a/1.2.840.113619", "a/IM0001", "a/c.dcm", "b.png"]
    assert [str(film) for film in list_films([str(path)], recursive=False)] == [f"{path}/b.png"]


def test_an_archive_in_an_archive_is_refused(tmp_path: Path) -> None:
    inner = Path(archive_of(tmp_path, ["a.png"])).read_bytes()
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("inner.zip", inner)
    (film,) = list_films([str(tmp_path / "outer.zip")])
    with pytest.raises(RadiographError, match=r"outer\.zip/inner\.zip: is an archive inside an"):
        film.read()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_of_one_name_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"first")
        archive.writestr("a.png", b"second")
    films = list_films([str(path)])
    assert [str(film) for film in films] == [f"{path}/a.png", f"{path}/a.png#2"]
    assert [film.read() for film in films] == [b"first", b"second"]


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_whose_output_cannot_be_bounded_are_refused(tmp_path: Path, packing: int) -> None:
    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("a.png", bytes(2**20))
    (film,) = list_films([str(path)])
    with pytest.raises(RadiographError, match="is packed in a way that is not read here"):
        film.read()


def test_many_archives_are_not_open_at_once(tmp_path: Path) -> None:
    names = []
    for number in range(40):
        (tmp_path / str(number)).mkdir()
        names.append(archive_of(tmp_path / str(number), ["a.png"], str(number).encode()))
    films = list_films(names)
    assert [film.read() for film in films] == [str(number).encode() for number in range(40)]
    still_open = [fd.resolve().name for fd in Path("/proc/self/fd").iterdir()]
    assert still_open.count("films.ZIP") <= 4


def test_an_archive_that_vanishes_gets_lines(tmp_path: Path) -> None:
    path = archive_of(tmp_path, ["a.png"])
    (film,) = list_films([path])
    Path(path).unlink()
    with pytest.raises(RadiographError, match="is damaged in the archive"):
        film.read()


def test_a_dicom_file_that_starts_like_an_archive_is_none(tmp_path: Path) -> None:
    path = tmp_path / "polyglot.dcm"
    path.write_bytes((b"PK\x03\x04" + bytes(124)) + b"DICM")
    assert list_films([str(path)]) == [str(path)]


def test_bytes_come_out(tmp_path: Path) -> None:
    (film,) = list_films([archive_of(tmp_path, ["a.png"], b"pixels")], [], recursive=True)
    assert isinstance(film, ZippedFilm)
    assert film.read() == b"pixels"


def test_a_bomb_is_cut_off(tmp_path: Path) -> None:
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


def test_damaged_entries_get_one_line(tmp_path: Path) -> None:
    path = Path(archive_of(tmp_path, ["a.png"], os.urandom(4000)))
    content = bytearray(path.read_bytes())
    content[200:300] = bytes(100)
    path.write_bytes(content)
    (film,) = list_films([str(path)], [], recursive=True)
    assert isinstance(film, ZippedFilm)
    with pytest.raises(RadiographError, match=r"films\.ZIP/a\.png: is damaged in the archive"):
        film.read()


def test_encrypted_entries_get_one_line(tmp_path: Path) -> None:
    path = Path(archive_of(tmp_path, ["a.png"]))
    content = path.read_bytes()
    central = content.index(b"PK\x01\x02") + 8
    path.write_bytes(content[:central] + b"\x01" + content[central + 1 :])
    (film,) = list_films([str(path)], [], recursive=True)
    assert isinstance(film, ZippedFilm)
    with pytest.raises(RadiographError, match="is encrypted in the archive; unpack it first"):
        film.read()


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(40), b"PK\x05\x06"])
def test_a_damaged_archive_gets_a_line_and_stops_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "half.zip"
    path.write_bytes(content)
    film, other = list_films([str(path), "other.png"])
    assert other == "other.png"
    with pytest.raises(RadiographError, match=r"half\.zip: is a damaged zip archive"):
        film.read()


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("MAX_MEMBERS", "is an archive of 3 entries, expected at most 2"),
     ("MAX_DIRECTORY_BYTES", "whose list of entries has 153 bytes, expected at most 2")],
)  # fmt: skip
def test_too_many_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, reason: str
) -> None:
    monkeypatch.setattr(f"pneumoscope.screening.zips.{limit}", 2)
    (film,) = list_films([archive_of(tmp_path, ["a.png", "b.png", "c.png"])])
    with pytest.raises(RadiographError, match=reason):
        film.read()
