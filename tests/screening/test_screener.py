"""Screening through a real bundle, and through a network whose answers are known."""

import io
import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pneumoscope.bundle import CONTENT, Bundle, seal_bundle
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import COLOUR_WARNING, Radiograph, read_radiograph
from pneumoscope.errors import BundleError, UsageError
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import load_network, save_weights
from pneumoscope.models.scoring import score_pixels
from pneumoscope.screening.screener import Screener, Screening

IMG_SIZE = 32
KEYS = [
    "path",
    "status",
    "p_pneumonia",
    "threshold",
    "decision",
    "warnings",
    "model_id",
    "error",
]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in CONTENT:
        (folder / name).write_text("{}")
    model = {"name": "cnn", "img_size": IMG_SIZE, "in_chans": 1}
    torch.manual_seed(0)
    save_weights(build_model(**model), folder / "model.safetensors", torch.float32)
    (folder / "config.json").write_text(json.dumps({"model": model}))
    (folder / "operating_point.json").write_text('{"threshold": 0.3}')
    return seal_bundle(folder, {"name": "tiny", "seed": 7})


def brightness(pixels: np.ndarray) -> np.ndarray:
    """Logits (0, 4 x mean of the film in [-1, 1]): the brighter, the likelier."""
    assert pixels.shape[1:] == (IMG_SIZE, IMG_SIZE)
    mean = (pixels / 127.5 - 1).mean(axis=(1, 2))
    return np.stack([np.zeros_like(mean), 4 * mean], axis=1)


@pytest.fixture
def screener(bundle: Bundle) -> Screener:
    return Screener(bundle, brightness)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def flat(level: int, shape: tuple[int, int] = (IMG_SIZE, IMG_SIZE)) -> bytes:
    return png(np.full(shape, level, np.uint8))


def p_of(level: int) -> float:
    return 1 / (1 + math.exp(-4 * (level / 127.5 - 1)))


class TestOneFilm:
    def test_fields(self, screener: Screener, tmp_path: Path) -> None:
        path = tmp_path / "film.png"
        path.write_bytes(flat(150))
        screening = screener.screen(path)
        assert screening == Screening(
            path=str(path),
            status="ok",
            p_pneumonia=pytest.approx(p_of(150), abs=1e-6),
            threshold=0.3,
            decision="PNEUMONIA",
            warnings=(),
            model_id=screener.bundle.model_id,
            error=None,
        )
        assert screening.model_id.startswith("tiny-s7-")

    @pytest.mark.parametrize(("level", "decision"), [(90, "NORMAL"), (110, "PNEUMONIA")])
    def test_decision(self, screener: Screener, level: int, decision: str) -> None:
        assert screener.screen(flat(level)).decision == decision

    def test_a_score_at_the_threshold_is_positive(self, screener: Screener) -> None:
        p = screener.screen(flat(77)).p_pneumonia
        assert p is not None
        for threshold, decision in [(p, "PNEUMONIA"), (np.nextafter(p, 1), "NORMAL")]:
            screener.bundle.operating_point["threshold"] = threshold
            assert screener.screen(flat(77)).decision == decision

    def test_dictionary_has_the_contracts_keys_in_order(self, screener: Screener) -> None:
        for source in (flat(100), b"no film"):
            as_dict = screener.screen(source).to_dict()
            assert list(as_dict) == KEYS
            assert json.loads(json.dumps(as_dict, allow_nan=False)) == as_dict
        assert isinstance(as_dict["warnings"], list)

    def test_bytes_have_no_path(self, screener: Screener) -> None:
        assert screener.screen(flat(100)).path == "<bytes>"

    def test_unreadable_film(self, screener: Screener) -> None:
        screening = screener.screen("nowhere/film.png")
        assert screening == Screening(
            path="nowhere/film.png",
            status="error",
            p_pneumonia=None,
            threshold=0.3,
            decision=None,
            warnings=(),
            model_id=screener.bundle.model_id,
            error="nowhere/film.png: no such file; check the path",
        )

    def test_a_score_that_is_no_number_is_an_error(self, bundle: Bundle) -> None:
        screening = Screener(bundle, lambda pixels: brightness(pixels) * np.nan).screen(flat(100))
        assert (screening.status, screening.p_pneumonia, screening.decision) == (
            "error",
            None,
            None,
        )
        assert "not a number" in str(screening.error)


class TestWarnings:
    def warnings(self, screener: Screener, content: bytes) -> tuple[str, ...]:
        screening = screener.screen(content)
        assert screening.status == "ok"
        return screening.warnings

    def test_enlarged(self, screener: Screener) -> None:
        assert self.warnings(screener, flat(9, (31, 40))) == (
            "has only 31 x 40 pixels; it was enlarged to 32 x 32",
        )
        assert self.warnings(screener, flat(9, (32, 40))) == ()

    def test_unusual_shape(self, screener: Screener) -> None:
        assert self.warnings(screener, flat(9, (40, 81))) == (
            "has an unusual shape, 40 x 81 pixels; it was squeezed to a square",
        )
        assert self.warnings(screener, flat(9, (80, 40))) == ()

    def test_those_of_the_reader(self, screener: Screener) -> None:
        red = np.zeros((40, 40, 3), np.uint8)
        red[..., 0] = 200
        assert self.warnings(screener, png(red)) == (COLOUR_WARNING,)

    def test_a_network_trained_on_phantoms_says_so(self, bundle: Bundle) -> None:
        phantom = replace(bundle, manifest=bundle.manifest | {"phantom": True})
        (warning,) = self.warnings(Screener(phantom, brightness), flat(9))
        assert warning == "was scored by a network that has only seen PHANTOM films"

    def test_of_a_network_from_outside_only_the_threshold_is_from_phantoms(
        self, bundle: Bundle
    ) -> None:
        said = bundle.manifest | {"phantom": True, "converted_from": {"file": "old.pth"}}
        (warning,) = self.warnings(Screener(replace(bundle, manifest=said), brightness), flat(9))
        assert warning == "was compared with a threshold that was chosen on PHANTOM films"


class TestMany:
    def test_order_is_kept_and_bad_files_do_not_stop_the_others(self, screener: Screener) -> None:
        levels = [None if i % 5 == 3 else 3 * i for i in range(40)]
        sources = [b"no film" if level is None else flat(level) for level in levels]
        screenings = list(screener.screen_many(sources, batch_size=7))
        assert [screening.status == "error" for screening in screenings] == [
            level is None for level in levels
        ]
        for level, screening in zip(levels, screenings, strict=True):
            if level is not None:
                assert screening.p_pneumonia == pytest.approx(p_of(level), abs=1e-6)

    def test_nothing_and_only_bad_files(self, screener: Screener) -> None:
        assert list(screener.screen_many([])) == []
        assert [s.status for s in screener.screen_many([b"", b"x"])] == ["error", "error"]

    def test_films_are_taken_a_batch_at_a_time(self, screener: Screener) -> None:
        def endless() -> Iterator[bytes]:
            while True:
                taken.append(1)
                yield flat(100)

        taken: list[int] = []
        screenings = screener.screen_many(endless(), batch_size=4)
        assert next(screenings).status == "ok"
        assert len(taken) <= 12  # two batches are read ahead

    def test_batches_do_not_change_scores(self, bundle: Bundle) -> None:
        screener = Screener.load(bundle, gate=False)
        rng = np.random.default_rng(0)
        films = [png(rng.integers(0, 256, (50, 60), np.uint8)) for _ in range(9)]
        together = [s.p_pneumonia for s in screener.screen_many(films)]
        alone = [screener.screen(film).p_pneumonia for film in films]
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
        assert len(set(alone)) == 9


class TestLoad:
    def test_by_bundle_folder_and_text(self, bundle: Bundle) -> None:
        answers = {
            Screener.load(source, gate=False).screen(flat(100)).p_pneumonia
            for source in (bundle, bundle.path, str(bundle.path))
        }
        assert len(answers) == 1

    def test_the_default_is_the_shipped_bundle(
        self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pneumoscope.screening.screener.default_bundle", lambda: bundle)
        assert Screener.load().bundle is bundle

    def test_no_such_bundle(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="no bundle"):
            Screener.load(tmp_path / "nowhere")

    def test_a_changed_byte_is_refused(self, bundle: Bundle) -> None:
        path = bundle.path / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(BundleError, match="was changed"):
            Screener.load(bundle.path)


def test_scores_are_those_of_evaluation(bundle: Bundle, tmp_path: Path) -> None:
    """The same bytes through the reader, the shared scoring and ``predictions.csv``."""
    film = png(np.random.default_rng(1).integers(0, 256, (90, 70), np.uint8))
    pixels = prepare(read_radiograph(film), IMG_SIZE)[None]
    logits = score_pixels(load_network(bundle), pixels)
    predictions = Predictions.from_logits(
        path=["film.png"], patient_id=["p"], split=["test"], y_true=[1], logits=logits
    )
    assert Screener.load(bundle, gate=False).screen(film).p_pneumonia == predictions.p_pneumonia[0]


def test_real_films_of_every_kind(bundle: Bundle, shared_dir: Path) -> None:
    films = [
        *sorted((shared_dir / "data/dicom").glob("*.dcm")),
        shared_dir / "data/chest_xray/test/NORMAL/IM-0001-0001.jpeg",
    ]
    screenings = list(Screener.load(bundle, gate=False).screen_many(films))
    assert [screening.status for screening in screenings] == ["ok"] * 7
    assert all(0 < (screening.p_pneumonia or 0) < 1 for screening in screenings)


def test_the_gate_comes_first(bundle: Bundle, shared_dir: Path) -> None:
    screener = Screener.load(bundle)
    film = shared_dir / "data/dicom/rsna_cr_tagged_monochrome1.dcm"
    screening = screener.screen(film)
    assert (screening.status, screening.p_pneumonia, screening.decision, screening.error) == (
        "abstained",
        None,
        None,
        None,
    )
    assert screening.warnings[0] == "seems to be a negative, bone dark; invert it"
    assert screener.screen(film.with_name("rsna_cr_normal.dcm")).status == "ok"


def test_what_a_file_says_of_itself(bundle: Bundle) -> None:
    from pydicom.data import get_testdata_file

    hand = get_testdata_file("RG3_J2KR.dcm", download=False)
    if hand is None:
        pytest.skip("the package pydicom-data is not here")
    assert Screener.load(bundle).screen(hand).warnings[0] == (
        "says that it shows 'EXTREMITY', not a chest"
    )
    open_door = Screener.load(bundle, gate=False).screen(hand)
    assert open_door.status == "ok"
    assert open_door.warnings[0] == "says that it shows 'EXTREMITY', not a chest"


def test_views_are_what_the_network_saw(screener: Screener) -> None:
    film = png(np.arange(4096, dtype=np.uint8).reshape(64, 64))
    (good, view), (bad, none) = screener.screen_views([film, b"no film"])
    assert (good.status, bad.status, none) == ("ok", "error", None)
    np.testing.assert_array_equal(view, prepare(read_radiograph(film), IMG_SIZE))


def test_the_shipped_bundle_screens_without_torch(phantoms: Path) -> None:
    code = (
        "import sys; import pneumoscope as ps; "
        f"answer = ps.Screener.load().screen({str(next(phantoms.rglob('*.jpeg')))!r}); "
        "print(answer.status, 'torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "ok False False\n"


class TestManySources:
    @pytest.fixture
    def films(self, phantoms: Path) -> list[Path]:
        return sorted((phantoms / "test/NORMAL").iterdir())

    def test_folders_and_archives_stand_for_their_films(
        self, films: list[Path], tmp_path: Path
    ) -> None:
        with zipfile.ZipFile(tmp_path / "films.zip", "w") as archive:
            archive.write(films[0], "in/a.jpeg")
        screener = Screener.load(gate=False)
        sources = [films[0], films[0].parent, tmp_path / "films.zip", tmp_path / "nowhere.png"]
        found = list(screener.screen_many(sources))
        inside = sorted(str(path) for path in films[0].parent.iterdir())
        assert [screening.path for screening in found] == [
            str(films[0]), *inside, f"{tmp_path}/films.zip/in/a.jpeg", f"{tmp_path}/nowhere.png",
        ]  # fmt: skip
        assert [screening.status for screening in found[:-1]] == ["ok"] * (len(found) - 1)
        assert found[-1].status == "error"

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_bytes_of_any_kind(self, films: list[Path], kind: type) -> None:
        screening = Screener.load(gate=False).screen(kind(films[0].read_bytes()))
        assert (screening.path, screening.status) == ("<bytes>", "ok")

    @pytest.mark.parametrize("batch_size", [0, -1])
    def test_a_batch_of_nothing(self, films: list[Path], batch_size: int) -> None:
        with pytest.raises(UsageError, match=f"batch_size {batch_size}, expected at least 1"):
            list(Screener.load().screen_many(films, batch_size=batch_size))

    @pytest.mark.parametrize("error", [MemoryError, RuntimeError, RecursionError])
    def test_whatever_a_film_does_the_others_are_screened(
        self, films: list[Path], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        def prepare_or_not(film: Radiograph, size: int) -> np.ndarray:
            if film.height_px == 7:
                raise error("SECRET^JOHN")
            return prepare(film, size)

        monkeypatch.setattr("pneumoscope.screening.screener.prepare", prepare_or_not)
        stream = io.BytesIO()
        Image.fromarray(np.zeros((7, 7), np.uint8)).save(stream, "PNG")
        screener = Screener.load(gate=False)
        bad, good = screener.screen_many([stream.getvalue(), films[0]])
        assert bad.error == f"<bytes>: cannot be read here ({error.__name__})"
        assert good.status == "ok"
