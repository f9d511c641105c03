"""The gate: what it was fitted to refuse, what it must let through, what it says."""

from pathlib import Path

import numpy as np
import pytest

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import VIEW_PX
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.screening.gate import MIN_SIDE_PX, POSES, Gate
from pneumoscope.screening.gate_fit import POSED, fit_gate

SIZE = (VIEW_PX, VIEW_PX)


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
def fitted(phantoms: Path) -> Gate:
    train, val = (
        np.stack(views(sorted((phantoms / name).rglob("*.jpeg")))) for name in ("train", "test")
    )
    return fit_gate(train, val)


def objection(gate: Gate, view: np.ndarray) -> str | None:
    return gate.objection(np.ascontiguousarray(view), VIEW_PX, VIEW_PX)


def views(paths: list[Path]) -> list[np.ndarray]:
    return [prepare(read_radiograph(path), VIEW_PX) for path in paths]


class TestPicturesThatAreNoFilms:
    def test_one_shade(self, gate: Gate) -> None:
        assert objection(gate, np.full(SIZE, 0, np.uint8)) == "is too dark"
        for level in (100, 128, 180):
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
        assert objection(gate, view) == "does not look like a frontal chest X-ray"

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
        said = [objection(gate, POSED[pose](view)) for view in films]
        assert np.mean([phrase is not None for phrase in said]) >= 0.95
        assert said.count(reason) >= 0.9 * len(films)

    @pytest.mark.parametrize(("half", "share"), [("left half", 0.95), ("upper half", 0.8)])
    def test_halves(self, gate: Gate, films: list[np.ndarray], half: str, share: float) -> None:
        said = [objection(gate, POSED[half](view)) for view in films]
        assert np.mean([phrase is not None for phrase in said]) >= share

    def test_mirrored_and_slightly_cut_films_pass(
        self, gate: Gate, films: list[np.ndarray]
    ) -> None:
        from pneumoscope.data.corruption import CORRUPTIONS

        mirrored = [objection(gate, view[:, ::-1]) is not None for view in films]
        turned = CORRUPTIONS["turned left: 5 degrees"]
        assert np.mean(mirrored) <= 0.02
        assert np.mean([objection(gate, turned(view)) is not None for view in films]) <= 0.05

    def test_films_of_other_machines(self, gate: Gate, shared_dir: Path) -> None:
        paths = sorted((shared_dir / "data/dicom").glob("*.dcm"))
        said = {
            path.stem: objection(gate, view) for path, view in zip(paths, views(paths), strict=True)
        }
        assert said["rsna_cr_tagged_monochrome1"] == "seems to be a negative, bone dark; invert it"
        for name in ("rsna_cr_normal", "nih_dx_cardiomegaly", "cr_mono1_10bit"):
            assert said[name] is None


class TestFit:
    def test_saved_and_loaded_it_says_the_same(self, fitted: Gate, tmp_path: Path) -> None:
        fitted.save(tmp_path / "gate.safetensors", {})
        again = Gate.load(tmp_path / "gate.safetensors")
        some = np.random.default_rng(0).integers(0, 256, (5, *SIZE), np.uint8)
        np.testing.assert_array_equal(again.distance(some), fitted.distance(some))
        np.testing.assert_array_equal(again.log_poses(some), fitted.log_poses(some))

    def test_poses_of_phantoms_are_learnt(self, fitted: Gate, phantoms: Path) -> None:
        films = views(sorted((phantoms / "test").rglob("*.jpeg")))
        for pose in ("turned left", "upside down", "turned right", "negative"):
            found = fitted.log_poses(np.stack([POSED[pose](view) for view in films])).argmax(1)
            assert np.mean(found == POSES.index(pose)) > 0.8, pose

    def test_probabilities_sum_to_one(self, fitted: Gate) -> None:
        some = np.random.default_rng(0).integers(0, 256, (5, *SIZE), np.uint8)
        np.testing.assert_allclose(np.exp(fitted.log_poses(some)).sum(axis=1), 1)
