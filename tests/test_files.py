"""Files that are whole or not there, and the words in which a disk's refusals reach the user."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from pneumoscope.errors import StorageError
from pneumoscope.files import (
    atomic_path,
    make_folder,
    sha256_of,
    storage_error,
    write_bytes,
    write_json,
    write_text,
)

ABC_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing to the disk fails, as on a full network disk."""

    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestAtomic:
    def test_new_and_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "a" / "b" / "file"
        for content in (b"first", b"", b"second" * 100_000):
            write_bytes(path, content)
            assert path.read_bytes() == content
        assert names(path.parent) == ["file"]

    def test_the_old_content_stays_until_the_new_is_on_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"old")
        at_fsync: list[bytes] = []
        monkeypatch.setattr(os, "fsync", lambda _: at_fsync.append(path.read_bytes()))
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"new")
            assert temporary.parent == tmp_path  # another disk could not be renamed from
            assert path.read_bytes() == b"old"
            number = temporary.stat().st_ino
        assert at_fsync == [b"old"]
        assert path.read_bytes() == b"new"
        assert path.stat().st_ino == number  # renamed, not copied

    @pytest.mark.parametrize("failure", [KeyError, KeyboardInterrupt])
    def test_a_writer_that_fails_leaves_what_was_there(
        self, tmp_path: Path, failure: type[BaseException]
    ) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"old")

        def write_half() -> None:
            with atomic_path(path) as temporary:
                temporary.write_bytes(b"half")
                raise failure

        with pytest.raises(failure):
            write_half()
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["file"]

    def test_text_and_json(self, tmp_path: Path) -> None:
        write_text(tmp_path / "text", "a\nü")
        assert (tmp_path / "text").read_bytes() == b"a\n\xc3\xbc"
        write_json(tmp_path / "json", {"b": [1, 0.1], "a": "ü"})
        expected = '{\n  "b": [\n    1,\n    0.1\n  ],\n  "a": "ü"\n}\n'
        assert (tmp_path / "json").read_text(encoding="utf-8") == expected

    def test_json_without_nan(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "json", {"auroc": float("nan")})
        assert names(tmp_path) == []


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(StorageError) as caught:
        write_bytes(path, b"new")
    assert str(caught.value) == (
        f"cannot write {path}: No space left on device; no space is left there; "
        "free some or choose another folder"
    )
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


class TestSmallDisk:
    def test_what_does_not_fit_leaves_what_was_there(self, small_disk: Path) -> None:
        path = small_disk / "file"
        write_bytes(path, b"o" * 900_000)
        with pytest.raises(StorageError, match=r"file: No space left on device; no space is left"):
            write_bytes(path, b"n" * 2_700_000)
        assert path.read_bytes() == b"o" * 900_000
        assert names(small_disk) == ["file"]
        write_bytes(path, b"n" * 1_500_000)  # what failed takes up no space
        assert path.stat().st_size == 1_500_000

    def test_read_only(self, small_disk: Path) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        expected = "Read-only file system; it is not writable for this user; choose another folder"
        with pytest.raises(StorageError) as caught:
            make_folder(small_disk)
        assert str(caught.value) == f"cannot write {small_disk}: {expected}"
        with pytest.raises(StorageError) as caught:
            write_text(small_disk / "file", "x")
        assert str(caught.value) == f"cannot write {small_disk / 'file'}: {expected}"


class TestFolders:
    def test_made_with_parents_and_left_empty(self, tmp_path: Path) -> None:
        folder = tmp_path / "a" / "b"
        assert make_folder(folder) == folder
        assert names(folder) == []
        (folder / "file").touch()
        make_folder(folder)
        assert names(folder) == ["file"]

    def test_a_file_is_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        below = tmp_path / "file" / "folder"
        with pytest.raises(StorageError) as caught:
            make_folder(below)
        expected = f"cannot write {below}: Not a directory; choose another folder"
        assert str(caught.value) == expected
        with pytest.raises(StorageError) as caught:
            write_bytes(below / "film", b"")
        assert str(caught.value) == expected.replace("folder:", "folder/film:")
        with pytest.raises(StorageError, match=r"cannot write .*file: File exists; choose another"):
            make_folder(tmp_path / "file")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "no space is left there; free some or choose another folder"),
        (errno.EDQUOT, "no space is left there; free some or choose another folder"),
        (errno.EACCES, "it is not writable for this user; choose another folder"),
        (errno.EROFS, "it is not writable for this user; choose another folder"),
        (errno.EIO, "choose another folder"),
    ],
)
def test_advice_goes_by_the_cause(code: int, advice: str) -> None:
    reason = os.strerror(code)
    message = str(storage_error(Path("a/b"), OSError(code, reason)))
    assert message == f"cannot write a/b: {reason}; {advice}"


def test_hash(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == ABC_SHA256  # FIPS 180-2, appendix B.1
    write_bytes(tmp_path / "abc", b"abd")
    assert sha256_of(tmp_path / "abc") != ABC_SHA256
