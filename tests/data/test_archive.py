"""Unpacking: what comes out is what went in, and nothing hostile comes out at all."""

import errno
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pneumoscope.data.archive import unpack
from pneumoscope.errors import FetchError, StorageError

FILES = {
    "chest_xray/train/NORMAL/a.jpeg": b"film a" * 1000,
    "chest_xray/train/PNEUMONIA/b.jpeg": b"",
    "chest_xray/test/NORMAL/ü c.jpeg": bytes(range(256)),
}


def make_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refusal(archive: Path, tmp_path: Path, **options: float) -> str:
    """Unpacks, and returns the one line of the error; the folder must be as it was."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FetchError) as caught:
        unpack(archive, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert sorted(tmp_path.rglob("*")) == before
    message = str(caught.value)
    assert message.startswith(str(archive))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", ["zip", "tar.gz", "tar"])
def test_all_files_come_out_as_they_went_in(tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"films.{suffix}"
    if suffix == "zip":
        make_zip(archive, FILES)
    else:
        make_tar(archive, FILES, "w:gz" if suffix == "tar.gz" else "w")
    progress: list[tuple[int, int | None]] = []
    out = unpack(archive, tmp_path / "new" / "out", on_progress=lambda *p: progress.append(p))
    assert out == tmp_path / "new" / "out"
    assert contents(out) == FILES
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["out"]
    num_bytes = sum(map(len, FILES.values()))
    assert progress[-1] == (num_bytes, num_bytes)


def test_folders_are_made_and_macos_extras_are_left_out(tmp_path: Path) -> None:
    extras = {
        "__MACOSX/._a": b"x",
        "chest_xray/__MACOSX/a.jpeg": b"x",
        "chest_xray/.DS_Store": b"x",
        "chest_xray/train/._a.jpeg": b"x",
        "chest_xray/val/NORMAL/": b"",
        "./chest_xray/dot.txt": b"y",
    }
    out = unpack(make_zip(tmp_path / "a.zip", FILES | extras), tmp_path / "out")
    assert contents(out) == FILES | {"chest_xray/dot.txt": b"y"}
    assert (out / "chest_xray/val/NORMAL").is_dir()


def test_an_existing_target_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(FetchError, match="is there already; move it away"):
        unpack(make_zip(tmp_path / "a.zip", FILES), tmp_path / "out")
    assert contents(tmp_path / "out") == {"mine": b"mine"}


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "chest_xray/../../evil",
        "..",
        "/etc/evil",
        "\\evil",
        "..\\evil",
        "C:\\evil",
        "C:evil",
        "chest_xray/c:evil",
        "chest_xray/line\nbreak",
    ],
)
def test_paths_out_of_the_folder_are_refused(
    tmp_path: Path, make: Callable[[Path, dict[str, bytes]], Path], name: str
) -> None:
    archive = make(tmp_path / "a.archive", {"good": b"good", name: b"evil"})
    assert "would lie outside the folder" in refusal(archive, tmp_path)


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
@pytest.mark.parametrize("link", ["../../etc/passwd", "/etc/passwd", "good"])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes, link: str) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as opened:
        member = tarfile.TarInfo("evil")
        member.type, member.linkname = kind, link
        opened.addfile(member)
    assert "'evil' is a link, a device or a sparse file" in refusal(archive, tmp_path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        member = zipfile.ZipInfo("evil")
        member.create_system = 3
        member.external_attr = (kind | 0o777) << 16
        opened.writestr(member, "/etc/passwd")
    assert "'evil' is a link or a device" in refusal(tmp_path / "a.zip", tmp_path)


def test_ordinary_unix_modes_are_no_reason_to_refuse(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        member = zipfile.ZipInfo("film.jpeg")
        member.create_system = 3
        member.external_attr = (stat.S_IFREG | 0o4777) << 16
        opened.writestr(member, "film")
    out = unpack(tmp_path / "a.zip", tmp_path / "out")
    assert contents(out) == {"film.jpeg": b"film"}
    assert not (out / "film.jpeg").stat().st_mode & 0o7000


@pytest.mark.parametrize(
    ("names", "other"),
    [
        (("train/a.jpeg", "train/A.JPEG"), "train/a.jpeg"),
        (("train/a.jpeg", "Train/b.jpeg"), "train"),
        (("a", "a/b"), "a"),
        (("a/b", "a"), "a"),
        (("a", "./a"), "a"),
        (("u\u0308", "\u00fc"), "u\u0308"),
    ],
)
def test_names_that_collide_are_refused(tmp_path: Path, names: tuple[str, str], other: str) -> None:
    archive = make_zip(tmp_path / "a.zip", dict.fromkeys(names, b"x"))
    assert f"{names[1]!r} collides with {other!r}" in refusal(archive, tmp_path)


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"secret": b"secret"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag, as the central directory states it
    archive.write_bytes(content)
    assert "'secret' is encrypted" in refusal(archive, tmp_path)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_bomb_is_refused_by_its_ratio(
    tmp_path: Path, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    bomb = make(tmp_path / "a", {"zeros": bytes(20 * 1024**2)})
    assert "'zeros' brings it over 16,777,216 bytes" in refusal(bomb, tmp_path)
    assert contents(unpack(bomb, tmp_path / "out", max_ratio=2000))["zeros"].count(0) == 20 << 20


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_bomb_is_refused_by_its_size(
    tmp_path: Path, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    archive = make(tmp_path / "a", {"a": b"x" * 600, "b": b"x" * 600})
    assert "'b' brings it over 1,000 bytes" in refusal(archive, tmp_path, max_bytes=1000)
    assert len(contents(unpack(archive, tmp_path / "out", max_bytes=1200))) == 2


def test_a_declared_size_that_is_too_small_does_not_let_more_out(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"liar": b"x" * 5000}, zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    for signature, field in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(signature) + field
        content[at : at + 4] = (100).to_bytes(4, "little")
    archive.write_bytes(content)
    assert "liar is damaged" in refusal(archive, tmp_path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_changed_byte_names_the_member(tmp_path: Path, compression: int) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES, compression)
    content = bytearray(archive.read_bytes())
    content[content.index(b"a.jpeg") + 6] ^= 0xFF
    archive.write_bytes(content)
    message = refusal(archive, tmp_path)
    assert "chest_xray/train/NORMAL/a.jpeg is damaged" in message
    assert "delete it and fetch it again" in message


def test_a_truncated_tar_is_refused(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", FILES)
    archive.write_bytes(archive.read_bytes()[:-30])
    assert "is damaged" in refusal(archive, tmp_path)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_truncated_zip_or_other_file_is_no_archive(tmp_path: Path, keep: int) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES)
    archive.write_bytes(archive.read_bytes()[:keep])
    assert "is no zip or tar archive, or is cut short" in refusal(archive, tmp_path)


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refusal(tmp_path / "gone.zip", tmp_path)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES)
    original = Path.open

    def full(path: Path, mode: str = "r", *args: object, **options: object) -> object:
        if path.name == "b.jpeg":
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, mode, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match=r"out: .*no space is left there"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
