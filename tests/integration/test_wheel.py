"""The wheel, without the repository: what a user gets who installs the package."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the unpacked wheel, which alone is on the path."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "pneumoscope", *map(str, arguments)],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_it_screens_at_once_with_the_shipped_bundle(installed, phantoms):
    film = sorted((phantoms / "test" / "NORMAL").iterdir())[0]
    answer = run(installed, "screen", film, "--format", "json")
    assert answer.returncode == 0, answer.stderr
    line = json.loads(answer.stdout)
    assert line["status"] == "ok"
    assert line["model_id"].startswith("cnn-s0-")
    assert any("PHANTOM" in warning for warning in line["warnings"])


def test_it_regenerates_the_published_table_offline(installed):
    answer = run(installed, "compare", "--out", installed.parent / "table")
    assert answer.returncode == 0, answer.stderr
    results = json.loads((installed.parent / "table" / "results.json").read_text())
    assert results["phantom"] is False
    assert "Reference ViT from scratch" in answer.stdout
    pages = [REPOSITORY / "README.md", REPOSITORY / "docs" / "accuracy.md"]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    table = (installed.parent / "table" / "results.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    first_table = rows[: rows.index(next(r for r in rows[1:] if r.startswith("| Model")))]
    assert len(first_table) > 6
    for row in first_table:
        for page, text in zip(pages, texts, strict=True):
            assert row in text, page


def test_its_recipes_are_the_repositorys(installed):
    ours = {path.name: path.read_bytes() for path in (REPOSITORY / "configs").glob("*.toml")}
    theirs = {p.name: p.read_bytes() for p in (installed / "pneumoscope" / "configs").iterdir()}
    assert theirs == ours
    assert {"cnn.toml", "scratch.toml", "quick_cnn.toml", "quick_scratch.toml"} <= set(ours)
