"""Where a result comes from."""

import subprocess
from pathlib import Path

import pytest
import torch

from pneumoscope.study import provenance as module
from pneumoscope.study.provenance import code_sha256, hardware, provenance


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


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert provenance()["code"]["commit"] is None
