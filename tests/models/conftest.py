"""What several tests of networks share."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import read_radiograph


@pytest.fixture(scope="session")
def real_films(shared_dir: Path) -> Callable[[Sequence[str], int], np.ndarray]:
    """Films (N, S, S) by their paths in the folder of real films and the side S; decoded once."""

    @cache
    def decode(paths: tuple[str, ...], size: int) -> np.ndarray:
        root = shared_dir / "data/chest_xray"
        return np.stack([prepare(read_radiograph(root / path), size) for path in paths])

    return lambda paths, size: decode(tuple(paths), size).copy()
