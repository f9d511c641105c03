import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pneumoscope.cli.data import KindOption, SourceOption, app
from pneumoscope.data import fetch as fetch_module
from pneumoscope.data.phantom import is_phantom, write_phantoms
from pneumoscope.data.split import KINDS, read_split
from pneumoscope.errors import LayoutError, PneumoscopeError, SplitError
from pneumoscope.files import sha256_of

RANDOM = np.random.default_rng(0)


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def refusal(*words: str | Path) -> PneumoscopeError:
    result = run(*words)
    assert isinstance(result.exception, PneumoscopeError), result.output
    return result.exception


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five patients of each class with two films each in train, one of each in test."""
    films = [
        *(f"train/NORMAL/IM-{i:04}-{k:04}.png" for i in range(10, 15) for k in (1, 2)),
        *(f"train/PNEUMONIA/person{i}_virus_{k}.png" for i in range(10, 15) for k in (1, 2)),
        "test/NORMAL/IM-0001-0001.png",
        "test/PNEUMONIA/person1_bacteria_1.png",
    ]
    for name in films:
        path = tmp_path / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RANDOM.integers(0, 256, (40, 50), dtype=np.uint8)).save(path)
    return tmp_path / "films"


def test_options_are_those_of_the_library() -> None:
    assert [option.value for option in KindOption] == list(KINDS)
    assert {option.value for option in SourceOption} == set(get_args(fetch_module.SourceName))


def test_help_comes_without_heavy_modules() -> None:
    heavy = {"numpy", "torch", "sklearn", "scipy", "PIL", "requests", "pneumoscope.data.scan"}
    code = f"import sys, pneumoscope.cli.data; print({heavy!r} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "set()", answer.stderr


def test_audit_prints_a_table_and_a_verdict(root: Path) -> None:
    result = run("audit", root)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"22 films in {root}\n")
    cells = [line.split() for line in result.stdout.replace("│", " ").splitlines()]
    assert ["train", "10", "10", "10", "10"] in cells
    assert ["test", "1", "1", "2", "2"] in cells
    assert "width (px): 50 to 50, median 50" in result.stdout
    assert "width / height: 1.25 to 1.25, median 1.25" in result.stdout
    assert "ok: every file can be read" in result.stdout


def test_audit_writes_json_and_says_by_its_status_that_there_are_problems(
    root: Path, tmp_path: Path
) -> None:
    for name in ("a", "b", "c", "d", "e", "f", "[red]g"):
        (root / "train" / "NORMAL" / f"{name}.jpeg").write_text("no film")
    result = run("audit", root, "--json", tmp_path / "new" / "audit.json")
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "problem: 7 files cannot be read; repair or remove" in result.stdout
    assert "cannot be read: train/NORMAL/[red]g.jpeg: " in result.stdout
    assert "cannot be read: 2 more (--json lists all)" in result.stdout
    found = json.loads((tmp_path / "new" / "audit.json").read_text())
    assert found["num_films"] == 29
    assert len(found["unreadable"]) == 7


def test_audit_of_a_split_finds_patients_on_both_sides(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    run("split", root, "--out", path, "--kind", "stratified", "--val-fraction", "0.5")
    result = run("audit", root, "--split", path)
    assert result.exit_code == 1
    assert "by kind and number in both train and val" in result.stdout
    (root / "test" / "NORMAL" / "IM-0001-0001.png").unlink()
    (root / "test" / "NORMAL" / "IM-0002-0001.png").write_bytes(b"another")
    assert "no longer fits the split" in str(refusal("audit", root, "--split", path))
    assert isinstance(refusal("audit", root, "--split", tmp_path / "none.csv"), SplitError)


def test_split_is_made_once(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    result = run("split", root, "--out", path)
    assert result.exit_code == 0
    cells = [line.split() for line in result.stdout.replace("│", " ").splitlines()]
    assert ["train", "16", "8", "8", "8"] in cells
    assert ["val", "4", "2", "2", "2"] in cells
    assert ["unused", "0", "0", "0", "0"] in cells
    assert f"{path} is written (sha256 {sha256_of(path)})" in result.stdout
    made = read_split(path)
    assert (made.kind, made.seed, made.val_fraction) == ("patient", 0, 0.2)

    before = path.stat().st_mtime_ns
    again = run("split", root, "--out", path)
    assert f"{path} was there and fits the films" in again.stdout
    assert path.stat().st_mtime_ns == before
    message = str(refusal("split", root, "--out", path, "--seed", "1"))
    assert "was made with seed=0, asked for is 1" in message


def test_wrong_usage_and_missing_folders(tmp_path: Path) -> None:
    assert run("split", tmp_path).exit_code == 2  # no --out
    assert run("split", tmp_path, "--out", "s.csv", "--kind", "random").exit_code == 2
    assert run("split", tmp_path, "--out", "s.csv", "--val-fraction", "2").exit_code == 2
    for command in (["audit"], ["split", "--out", tmp_path / "s.csv"]):
        assert isinstance(refusal(*command, tmp_path / "nowhere"), LayoutError)
        assert "is empty" in str(refusal(*command, tmp_path))


def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(refusal("audit")).startswith("Data/chest_xray is not there")


def test_fetch_passes_on_what_it_is_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = inspect.signature(fetch_module.fetch_dataset)
    calls: list[dict[str, Any]] = []

    def fetch_dataset(*args: object, **options: Any) -> Path:
        calls.append(signature.bind(*args, **options).arguments)
        report: Callable[[str, int, int | None], None] = options["on_progress"]
        report("downloading films.zip", 10, None)
        report("downloading films.zip", 2_000_000, 4_000_000)
        report("sorting films", 1, 2)
        options["on_notice"]("Kaggle: [no] key")
        return root

    monkeypatch.setattr(fetch_module, "fetch_dataset", fetch_dataset)
    result = run("fetch", tmp_path / "new", "--source", "mendeley")
    assert result.exit_code == 0, result.output
    assert calls[0]["target"] == tmp_path / "new"
    assert calls[0]["source"] == "mendeley"
    assert result.stdout == f"22 films in {root}\n"
    assert "Kaggle: [no] key" in result.stderr
    assert "2.0 MB of 4.0 MB" in result.stderr
    assert "1 of 2" in result.stderr


def test_phantoms_say_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few_phantoms(target: Path, **options: Any) -> Path:
        return write_phantoms(target, num_train=8, num_val=0, num_test=8, size_px=96, **options)

    monkeypatch.setattr("pneumoscope.data.phantom.write_phantoms", few_phantoms)
    result = run("phantoms", tmp_path / "p", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"16 PHANTOM films in {tmp_path / 'p'}\n"
    assert is_phantom(tmp_path / "p")
    assert json.loads((tmp_path / "p" / "phantom.json").read_text())["seed"] == 3
    assert "16 PHANTOM films" in run("audit", tmp_path / "p").stdout
