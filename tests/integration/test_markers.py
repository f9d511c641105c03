"""Side letters: drawing one flips no more decisions than docs/report.md states."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from pneumoscope.bundle import open_bundle, shipped_bundles
from pneumoscope.data.corruption import CORRUPTIONS, MARKER_ADDED, family
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import Radiograph, read_radiograph
from pneumoscope.models.bundles import load_network
from pneumoscope.models.scoring import score_pixels

DOC = Path(__file__).parents[2] / "docs" / "report.md"
EVERY = 6
MARKERS = {name: change for name, change in CORRUPTIONS.items() if family(name) == MARKER_ADDED}


@pytest.fixture(scope="module")
def stated():
    """The largest share of decisions that one letter may flip, by model, as the page states it."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| at most ([\d.]+) % \|$", DOC.read_text(), re.M)
    return {name: float(share) / 100 for name, share in rows}


@pytest.fixture(scope="module")
def films(shared_dir):
    """Every sixth test film at 224 px."""
    root = shared_dir / "data" / "chest_xray" / "test"
    paths = sorted(root.glob("*/*.jpeg"))[::EVERY]
    return [prepare(read_radiograph(path), 224) for path in paths]


def test_every_shipped_model_has_a_stated_limit(stated):
    assert set(stated) == set(shipped_bundles())
    assert all(0 < share < 0.1 for share in stated.values())


@pytest.mark.parametrize("name", list(shipped_bundles()))
def test_a_letter_flips_no_more_than_stated(name, films, stated):
    bundle = open_bundle(name)
    network, img_size = load_network(bundle), int(bundle.config["model"]["img_size"])

    def called(change):
        pixels = [prepare(Radiograph(change(film), "PNG", 8), img_size) for film in films]
        logits = score_pixels(network, np.stack(pixels))
        return expit(logits[:, 1] - logits[:, 0]) >= bundle.threshold

    clean = called(np.array)
    for marker, change in MARKERS.items():
        flipped = np.mean(called(change) != clean)
        assert flipped <= stated[name], f"{marker}: {flipped:.1%}"
