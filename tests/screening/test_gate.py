"""The gate: what it was fitted to refuse, what it must let through, what it says."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import VIEW_PX
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.screening.altered import SIDES, blacked_out, cut, framed, middle, turned
from pneumoscope.screening.gate import GATE_PATH, MIN_SIDE_PX, POSES, Gate, frame_warning
from pneumoscope.screening.gate_fit import fit_gate
from pneumoscope.screening.thumbnail import describe, thumbnail

SIZE = (VIEW_PX, VIEW_PX)

UNDOABLE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "turned left": lambda view: np.rot90(view, 1),
    "upside down": lambda view: np.rot90(view, 2),
    "turned right": lambda view: np.rot90(view, 3),
    "negative": lambda view: 255 - view,
}

PART = "seems to show only a part of the chest"


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate.load()


@pytest.fixture(scope="module")
def test_films(shared_dir: Path) -> list[np.ndarray]:
    return views(sorted((shared_dir / "data/chest_xray/test").rglob("*.jpeg")))


@pytest.fixture(scope="module")
def films(test_films: list[np.ndarray]) -> list[np.ndarray]:
    return test_films[::8]


@pytest.fixture(scope="module")
def few(phantoms: Path) -> tuple[np.ndarray, np.ndarray]:
    """Phantoms to fit a gate to, and to set its limits on."""
    train, val = (
        np.stack(views(sorted((phantoms / name).rglob("*.jpeg")))) for name in ("train", "test")
    )
    return train, val


@pytest.fixture(scope="module")
def fitted(few: tuple[np.ndarray, np.ndarray]) -> Gate:
    return fit_gate(*few)


def objection(gate: Gate, view: np.ndarray) -> str | None:
    return gate.objection(np.ascontiguousarray(view), VIEW_PX, VIEW_PX)


def share_refused(gate: Gate, films: list[np.ndarray]) -> float:
    return float(np.mean([objection(gate, film) is not None for film in films]))


def described(films: list[np.ndarray] | np.ndarray) -> np.ndarray:
    return describe(np.stack([thumbnail(np.ascontiguousarray(film)) for film in films]))


def views(paths: list[Path]) -> list[np.ndarray]:
    return [prepare(read_radiograph(path), VIEW_PX) for path in paths]


class TestPicturesThatAreNoFilms:
    def test_one_shade(self, gate: Gate) -> None:
        assert objection(gate, np.full(SIZE, 0, np.uint8)) == "is too dark"
        for level in (110, 128, 180):
            assert objection(gate, np.full(SIZE, level, np.uint8)) == "is nearly blank"

    def test_noise(self, gate: Gate) -> None:
        noise = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)
        assert objection(gate, noise) == "is noise or fine pattern"

    def test_a_ramp(self, gate: Gate) -> None:
        ramp = np.broadcast_to(np.linspace(0, 255, VIEW_PX).astype(np.uint8), SIZE)
        assert objection(gate, ramp) is not None

    @pytest.mark.parametrize("name", ["astronaut", "camera", "coins", "page", "brick", "cat"])
    def test_photographs(self, gate: Gate, name: str) -> None:
        data = pytest.importorskip("skimage.data")
        from PIL import Image

        picture = Image.fromarray(getattr(data, name)()).convert("L").resize(SIZE)
        assert objection(gate, np.asarray(picture)) is not None

    def test_an_extremity(self, gate: Gate) -> None:
        from pydicom.data import get_testdata_file

        path = get_testdata_file("RG3_J2KR.dcm", download=False)
        if path is None:
            pytest.skip("the package pydicom-data is not here")
        (view,) = views([Path(path)])
        assert objection(gate, view) in ("does not look like a frontal chest X-ray", PART)

    def test_too_small(self, gate: Gate) -> None:
        view = np.zeros(SIZE, np.uint8)
        said = gate.objection(view, MIN_SIDE_PX - 1, 500)
        assert said == "is too small, 63 x 500 pixels; 64 on the shorter side are needed"


class TestRealFilms:
    """Spoilt copies are made of every eighth test film."""

    def test_few_are_refused(self, gate: Gate, test_films: list[np.ndarray]) -> None:
        assert np.mean([objection(gate, view) is not None for view in test_films]) <= 0.01

    @pytest.mark.parametrize(
        ("pose", "reason"),
        [
            ("turned left", "seems to lie on its side; turn it upright"),
            ("turned right", "seems to lie on its side; turn it upright"),
            ("upside down", "seems to be upside down; turn it upright"),
            ("negative", "seems to be a negative, bone dark; invert it"),
        ],
    )
    def test_poses_that_can_be_undone(
        self, gate: Gate, films: list[np.ndarray], pose: str, reason: str
    ) -> None:
        said = [objection(gate, UNDOABLE[pose](view)) for view in films]
        assert np.mean([phrase is not None for phrase in said]) >= 0.95
        assert said.count(reason) >= 0.9 * len(films)

    @pytest.mark.parametrize("level", [0, 255])
    @pytest.mark.parametrize("widths", [(0.05,) * 4, (0.15,) * 4, (0, 0, 0.12, 0.12)])
    def test_frames_pass(
        self, gate: Gate, films: list[np.ndarray], widths: tuple[float, ...], level: int
    ) -> None:
        top, bottom, left, right = widths
        altered = [framed(film, top, bottom, left, right, level) for film in films]
        assert share_refused(gate, altered) <= 0.04

    @pytest.mark.parametrize("degrees", [-15, 5, 15])
    def test_black_corners_pass(self, gate: Gate, films: list[np.ndarray], degrees: int) -> None:
        assert share_refused(gate, [turned(film, degrees) for film in films]) <= 0.04

    def test_mirrored_films_pass(self, gate: Gate, films: list[np.ndarray]) -> None:
        assert share_refused(gate, [film[:, ::-1] for film in films]) <= 0.02

    def test_a_wide_frame_is_to_be_cropped(self, gate: Gate, films: list[np.ndarray]) -> None:
        for film in films[:5]:
            said = objection(gate, framed(film, 0.25, 0.25, 0.25, 0.25))
            assert said == "lies in a wide black or white frame; crop it"

    @pytest.mark.parametrize("side", SIDES)
    def test_halves(self, gate: Gate, films: list[np.ndarray], side: str) -> None:
        said = [objection(gate, cut(film, side, 0.5)) for film in films]
        assert said.count(None) <= 0.05 * len(films)
        assert said.count(PART) >= 0.9 * len(films)

    @pytest.mark.parametrize(("side", "share"), [("top", 0.75), ("left", 0.95), ("right", 0.95)])
    def test_thirds(self, gate: Gate, films: list[np.ndarray], side: str, share: float) -> None:
        assert share_refused(gate, [cut(film, side, 1 / 3) for film in films]) >= share
        assert share_refused(gate, [blacked_out(film, side, 1 / 3) for film in films]) >= share

    def test_the_middle_enlarged(self, gate: Gate, films: list[np.ndarray]) -> None:
        assert share_refused(gate, [middle(film, 0.5) for film in films]) >= 0.9

    @pytest.mark.parametrize("factor", [0.05, 0.1, 0.2, 0.3])
    def test_too_dark(self, gate: Gate, films: list[np.ndarray], factor: float) -> None:
        said = [objection(gate, (film * factor).astype(np.uint8)) for film in films]
        assert said.count("is too dark") >= 0.98 * len(films)

    def test_films_of_other_machines(self, gate: Gate, shared_dir: Path) -> None:
        paths = sorted((shared_dir / "data/dicom").glob("*.dcm"))
        said = {
            path.stem: objection(gate, view) for path, view in zip(paths, views(paths), strict=True)
        }
        assert said["rsna_cr_tagged_monochrome1"] == "seems to be a negative, bone dark; invert it"
        for name in ("rsna_cr_normal", "nih_dx_cardiomegaly", "cr_mono1_10bit"):
            assert said[name] is None


class TestShippedFile:
    def test_it_was_fitted_with_the_split_of_the_bundles(self) -> None:
        with safe_open(GATE_PATH, "numpy") as tensors:
            recorded = tensors.metadata()["split_sha256"]
        manifests = list((GATE_PATH.parents[1] / "bundles").glob("*/manifest.json"))
        assert len(manifests) >= 3
        for manifest in manifests:
            assert json.loads(manifest.read_text())["data"]["split_sha256"] == recorded, manifest

    def test_it_is_small(self) -> None:
        assert GATE_PATH.stat().st_size < 100_000


class TestFit:
    def test_saved_and_loaded_it_says_the_same(self, fitted: Gate, tmp_path: Path) -> None:
        fitted.save(tmp_path / "gate.safetensors", {})
        again = Gate.load(tmp_path / "gate.safetensors")
        some = described(np.random.default_rng(0).integers(0, 256, (5, *SIZE), np.uint8))
        np.testing.assert_allclose(again.distance(some), fitted.distance(some), rtol=1e-2)
        np.testing.assert_allclose(again.log_poses(some), fitted.log_poses(some), atol=0.1)

    def test_fitted_again_it_is_the_same(
        self, fitted: Gate, few: tuple[np.ndarray, np.ndarray], tmp_path: Path
    ) -> None:
        for name, gate in (("first", fitted), ("second", fit_gate(*few))):
            gate.save(tmp_path / name, {})
        assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()

    def test_poses_of_phantoms_are_learnt(self, fitted: Gate, phantoms: Path) -> None:
        films = views(sorted((phantoms / "test").rglob("*.jpeg")))
        for pose, altered in UNDOABLE.items():
            found = fitted.log_poses(described([altered(view) for view in films])).argmax(1)
            assert np.mean(found == POSES.index(pose)) > 0.8, pose

    def test_a_mirrored_film_is_in_the_mirrored_pose(self, fitted: Gate, phantoms: Path) -> None:
        film = views(sorted((phantoms / "test").rglob("*.jpeg")))[0]
        here, there = fitted.log_poses(described([film, film[:, ::-1]]))
        left, right = POSES.index("left missing"), POSES.index("right missing")
        np.testing.assert_allclose(here[[0, left, right]], there[[0, right, left]], atol=0.01)

    def test_probabilities_sum_to_one(self, fitted: Gate) -> None:
        some = described(np.random.default_rng(0).integers(0, 256, (5, *SIZE), np.uint8))
        np.testing.assert_allclose(np.exp(fitted.log_poses(some)).sum(axis=1), 1, rtol=1e-4)


def test_a_frame_is_told(phantoms: Path) -> None:
    """The gate looks past it, and the networks do not all."""
    path = sorted((phantoms / "test/NORMAL").iterdir())[0]
    view = prepare(read_radiograph(path), 224)
    in_frame = np.zeros_like(view)
    in_frame[20:-20, 20:-20] = view[20:-20, 20:-20]
    assert frame_warning(view) is None
    assert frame_warning(in_frame) == (
        "lies in a black or white frame (33% of it); crop it, or its score may be wrong"
    )
