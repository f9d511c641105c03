"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real films, weights and references; skips where it is absent."""
    folder = Path(os.environ.get("PNEUMOSCOPE_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real films are not here ({folder}); set PNEUMOSCOPE_SHARED")
    return folder
