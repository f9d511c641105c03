"""Where a result comes from."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pneumoscope.study import provenance as module
from pneumoscope.study.provenance import code, code_sha256, hardware, provenance


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """The code is noted once a process; here each test is the first to ask, and leaves no trace."""
    code.cache_clear()
    yield
    code.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.py").write_text("a = 1\n")
    (tmp_path / "sub" / "b.py").write_text("b = 2\n")
    monkeypatch.setattr(module, "files", lambda name: tmp_path)
    return tmp_path


def test_the_hash_is_of_every_python_file_by_path_and_content(package: Path) -> None:
    hashes = [code_sha256()]
    (package / "notes.txt").touch()
    assert code_sha256() == hashes[0]
    (package / "a.py").write_text("a = 2\n")
    hashes.append(code_sha256())
    (package / "sub" / "b.py").rename(package / "sub" / "c.py")
    hashes.append(code_sha256())
    (package / "sub" / "c.py").unlink()
    hashes.append(code_sha256())
    assert len(set(hashes)) == 4
    assert {len(value) for value in hashes} == {64}


def test_what_is_recorded() -> None:
    found = provenance()
    assert found["versions"]["torch"] == torch.__version__
    assert found["code"]["sha256"] == code_sha256()
    assert found["created"].endswith("+00:00")
    assert found["hardware"] == hardware()
    assert hardware()["num_cores"] >= 1
    assert hardware()["processor"]


def test_the_code_is_that_of_when_it_was_first_asked_for(package: Path) -> None:
    first = code_sha256()
    assert code()["sha256"] == first
    (package / "a.py").write_text("a = 2\n")
    assert code_sha256() != first
    assert provenance()["code"]["sha256"] == first


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert provenance()["code"]["commit"] is None
