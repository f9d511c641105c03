"""Fixtures that every test may use."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

TINY_CNN = """
name = "tiny_cnn"
[model]
name = "cnn"
img_size = 32
[training]
epochs = 2
batch_size = 16
lr = 2e-3
ema_decay = 0.5
precision = "float32"
device = "cpu"
[augmentation]
hflip_prob = 0.5
rotate_deg = 10.0
contrast = 0.2
"""

TINY_VIT = """
name = "tiny_vit"
[model]
name = "vit_scratch"
img_size = 32
drop_path_rate = 0.05
patch_drop_rate = 0.25
[training]
epochs = 2
batch_size = 16
lr = 1e-3
ema_decay = 0.5
precision = "float32"
device = "cpu"
[distillation]
teacher = "tiny_cnn"
"""


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real films, weights and references; skips where it is absent."""
    folder = Path(os.environ.get("PNEUMOSCOPE_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real films are not here ({folder}); set PNEUMOSCOPE_SHARED")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the test run's own, so that nothing is left in the user's."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["PNEUMOSCOPE_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of phantoms."""
    from pneumoscope.data.phantom import write_phantoms

    folder = tmp_path_factory.mktemp("films") / "phantoms"
    return write_phantoms(folder, num_train=60, num_val=8, num_test=24, seed=3, size_px=128)


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two recipes that train in seconds: tiny_cnn.toml and tiny_vit.toml."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "tiny_cnn.toml").write_text(TINY_CNN)
    (folder / "tiny_vit.toml").write_text(TINY_VIT)
    return folder


Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def program(own_cache: Path) -> Program:
    """Runs ``pneumoscope`` as a process of its own: ``program("screen", path, cwd=...)``."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pneumoscope", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=600, **{"check": False, **options}
        )

    return run
