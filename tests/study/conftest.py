"""One finished run on phantoms, and a copy of the phantoms that a test may spoil."""

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from pneumoscope.bundle import Bundle
from pneumoscope.config import Recipe, load_recipe
from pneumoscope.study.run import Source, run


@pytest.fixture(scope="session")
def tiny_cnn(recipes: Path) -> Recipe:
    return load_recipe(recipes / "tiny_cnn.toml")


@pytest.fixture
def console() -> Console:
    """What it prints is ``console.file.getvalue()``."""
    return Console(file=io.StringIO(), width=80)


@pytest.fixture(scope="session")
def finished_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_cnn: Recipe, phantoms: Path
) -> tuple[Path, Bundle, str]:
    """Folder, bundle and what was printed; tests leave the folder as it is."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    console = Console(file=io.StringIO(), width=200)
    bundle = run(tiny_cnn, Source(phantoms), folder, console)
    return folder, bundle, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def own_run(finished_run: tuple[Path, Bundle, str], tmp_path: Path) -> Path:
    """A copy of the finished run's folder that a test may change."""
    return shutil.copytree(finished_run[0], tmp_path / "run")


@pytest.fixture
def own_phantoms(phantoms: Path, tmp_path: Path) -> Path:
    """A copy of the phantoms that a test may change."""
    return shutil.copytree(phantoms, tmp_path / "films")
