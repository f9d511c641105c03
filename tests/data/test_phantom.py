"""The phantoms: what a film shows and hides, and how a folder of them comes about."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pneumoscope.data import phantom
from pneumoscope.data.patients import names_patient
from pneumoscope.data.phantom import is_phantom, write_phantoms
from pneumoscope.data.phantom_film import render_film
from pneumoscope.data.scan import FilmFolder, scan_folder
from pneumoscope.errors import StorageError, UsageError
from pneumoscope.labels import Label

SMALL = {"num_train": 8, "num_val": 0, "num_test": 8, "size_px": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> FilmFolder:
    root = tmp_path_factory.mktemp("phantoms") / "films"
    write_phantoms(root, num_train=300, num_val=8, num_test=40, seed=3, size_px=96)
    return scan_folder(root)


@pytest.fixture(scope="module")
def train(folder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    films = folder.in_folder("train")
    pixels = np.stack([np.asarray(Image.open(folder.root / film.path)) for film in films])
    y_true = np.array([film.label for film in films])
    return pixels.astype(np.float64), y_true, np.array([film.patient_id for film in films])


def auroc(y_true, score) -> float:
    return float(roc_auc_score(y_true, score))


# One film


def test_a_film_is_fixed_by_its_seeds():
    film = render_film(5, "bacteria", 0.7, film=1, size_px=80)
    assert film.shape == (80, 80)
    assert film.dtype == np.uint8
    np.testing.assert_array_equal(film, render_film(5, "bacteria", 0.7, film=1, size_px=80))
    assert (film != render_film(6, "bacteria", 0.7, film=1, size_px=80)).mean() > 0.5
    assert (film != render_film(5, "bacteria", 0.7, film=2, size_px=80)).mean() > 0.5


def test_a_film_has_the_parts_of_a_chest():
    # The mean of many normal films is the chest in its mean position.
    mean = np.mean([render_film(seed, None, size_px=100) for seed in range(24)], axis=0)
    lungs = [mean[45:60, 25:35].mean(), mean[45:60, 68:78].mean()]
    spine, belly = mean[20:80, 46:54].mean(), mean[84:92, 40:70].mean()
    beside_the_neck = [mean[0:6, 10:25].mean(), mean[0:6, 75:90].mean()]
    assert max(lungs) < 130 < 160 < min(spine, belly)
    assert max(beside_the_neck) < 70
    heart_left, heart_right = mean[62:70, 60:64].mean(), mean[62:70, 36:40].mean()
    assert heart_left > heart_right + 20  # the heart points to the patient's left


@pytest.mark.parametrize("pattern", ["bacteria", "virus"])
def test_the_opacity_grows_with_its_visibility(pattern):
    normal = render_film(9, None, size_px=128).astype(float)
    np.testing.assert_array_equal(normal, render_film(9, pattern, 0.0, size_px=128))
    changes = [
        np.abs(render_film(9, pattern, visibility, size_px=128) - normal).mean()
        for visibility in (0.1, 0.3, 0.6, 1.0)
    ]
    assert changes == sorted(changes)
    assert 0 < changes[0] < 3 < changes[-1]


@pytest.mark.parametrize("seed", range(4))
def test_the_opacity_lies_in_the_lungs(seed):
    normal = render_film(seed, None, size_px=128).astype(float)
    ill = render_film(seed, "bacteria", 1.0, size_px=128).astype(float)
    # Exposure maps both films to one mean and contrast; a straight line undoes that.
    slope, shift = np.polyfit(normal[100:110].ravel(), ill[100:110].ravel(), 1)
    brighter = (ill - slope * normal - shift > 25) & (normal < 250) & (normal > 5)
    assert brighter.mean() > 0.01
    v, u = np.nonzero(brighter)
    assert v.min() > 10
    assert v.max() < 110
    assert u.min() > 5
    assert u.max() < 123


def test_every_film_bears_the_word_phantom_in_the_same_way():
    films = [
        render_film(seed, pattern, film=seed, size_px=256)
        for seed, pattern in enumerate([None, None, "bacteria", "bacteria", "virus", "virus"])
    ]
    plates = [film[-16:, :82] for film in films]
    for plate in plates[1:]:
        np.testing.assert_array_equal(plate, plates[0])
    letters, num_letters = ndimage.label(plates[0] > 60, structure=np.ones((3, 3)))
    assert num_letters == len("PHANTOM")
    heights = [rows.stop - rows.start for rows, _ in ndimage.find_objects(letters)]
    assert min(heights) >= 9
    assert np.median(plates[0]) < 20 < 200 < plates[0].max()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"pattern": "fungus"}, "fungus"),
        ({"pattern": "virus", "visibility": 1.2}, "1.2"),
        ({"pattern": None, "size_px": 32}, "32"),
        ({"pattern": None, "film": -1}, "-1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, named):
    with pytest.raises(UsageError, match=named):
        render_film(0, **arguments)


# What tells the classes apart, and what must not


def test_brightness_contrast_and_corners_tell_nothing(train):
    pixels, y_true, _ = train
    scores = {
        "mean": pixels.mean(axis=(1, 2)),
        "contrast": pixels.std(axis=(1, 2)),
        "black": (pixels == 0).mean(axis=(1, 2)),
        "top left": pixels[:, :20, :20].mean(axis=(1, 2)),
        "top right": pixels[:, :20, -20:].mean(axis=(1, 2)),
        "bottom left": pixels[:, -20:, :20].mean(axis=(1, 2)),
        "bottom right": pixels[:, -20:, -20:].mean(axis=(1, 2)),
        "top edge": pixels[:, :8].mean(axis=(1, 2)),
        "bottom edge": pixels[:, -8:].mean(axis=(1, 2)),
    }
    measured = {name: auroc(y_true, score) for name, score in scores.items()}
    assert all(0.35 <= value <= 0.65 for value in measured.values()), measured


def test_the_lungs_tell_the_classes_apart_yet_not_perfectly(train):
    pixels, y_true, patient = train
    small = pixels.reshape(len(pixels), 32, 3, 32, 3).mean(axis=(2, 4)).reshape(len(pixels), -1)
    model = make_pipeline(
        StandardScaler(), PCA(40, random_state=0), LogisticRegression(C=0.05, max_iter=1000)
    )
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    scores = cross_val_predict(
        model, small, y_true, groups=patient, cv=folds, method="predict_proba"
    )
    assert 0.72 <= auroc(y_true, scores[:, 1]) <= 0.95


# A folder of films


def test_the_folder_is_laid_out_and_named_as_kaggles(folder):
    num = {
        (name, label): sum(film.label == label for film in folder.in_folder(name))
        for name in ("train", "val", "test")
        for label in Label
    }
    assert num == {
        ("train", Label.NORMAL): 77,
        ("train", Label.PNEUMONIA): 223,
        ("val", Label.NORMAL): 4,
        ("val", Label.PNEUMONIA): 4,
        ("test", Label.NORMAL): 15,
        ("test", Label.PNEUMONIA): 25,
    }
    names = [Path(film.path).name for film in folder.films]
    assert all(names_patient(name) for name in names)
    assert len(set(names)) == len(names)
    for start in ("IM-", "NORMAL2-IM-"):
        assert any(name.startswith(start) for name in names)
    causes = [name.split("_")[1] for name in names if name.startswith("person")]
    assert 0.45 < causes.count("bacteria") / len(causes) < 0.85


def test_patients_have_several_films_and_stay_in_one_folder(folder):
    by_number: dict[str, set[str]] = {}
    num_films: dict[str, int] = {}
    for film in folder.films:
        number = film.patient_id.removesuffix("_bacteria").removesuffix("_virus")
        by_number.setdefault(number, set()).add(film.folder)
        num_films[number] = num_films.get(number, 0) + 1
    assert all(len(folders) == 1 for folders in by_number.values())
    assert set(num_films.values()) == {1, 2, 3}


def test_every_film_says_phantom_to_programs_and_people(folder):
    for film in (*folder.in_folder("val"), *folder.in_folder("test")[:4]):
        with Image.open(folder.root / film.path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "L", (96, 96))
            assert image.info["comment"] == b"PHANTOM"
            assert image.getexif()[0x010E].startswith("PHANTOM")
    assert (folder.root / "PHANTOM.txt").read_text(encoding="utf-8").startswith("PHANTOM")
    marker = json.loads((folder.root / "phantom.json").read_text(encoding="utf-8"))
    assert (marker["phantom"], marker["seed"], marker["num_train"]) == (True, 3, 300)


def test_is_phantom_knows_the_folder_and_its_parts(folder, tmp_path):
    assert is_phantom(folder.root)
    assert is_phantom(folder.root / "test")
    assert not is_phantom(tmp_path)
    assert not is_phantom(tmp_path / "absent")
    (tmp_path / "phantom.json").write_text('{"phantom": ', encoding="utf-8")
    assert not is_phantom(tmp_path)


def test_is_phantom_denies_real_films(shared_dir):
    assert not is_phantom(shared_dir / "data" / "chest_xray")


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    one, two, other = (
        write_phantoms(tmp_path / name, seed=seed, **SMALL)
        for name, seed in (("one", 1), ("two", 1), ("other", 2))
    )
    films = sorted(path.relative_to(one) for path in one.rglob("*.jpeg"))
    assert films == sorted(path.relative_to(two) for path in two.rglob("*.jpeg"))
    assert len(films) == 16
    assert not (one / "val").exists()
    assert all((one / film).read_bytes() == (two / film).read_bytes() for film in films)
    marker = "phantom.json"
    assert (one / marker).read_bytes() == (two / marker).read_bytes()
    assert (one / marker).read_bytes() != (other / marker).read_bytes()


def test_small_folders_still_have_two_patients_a_class(tmp_path):
    for seed in range(5):
        films = scan_folder(write_phantoms(tmp_path / str(seed), seed=seed, **SMALL)).films
        patients = {(film.folder, film.label, film.patient_id) for film in films}
        for name in ("train", "test"):
            for label in Label:
                assert sum(p[:2] == (name, label) for p in patients) >= 2


def test_progress_counts_every_film_once(tmp_path):
    seen: list[tuple[int, int]] = []
    write_phantoms(tmp_path / "p", **SMALL, on_progress=lambda done, num: seen.append((done, num)))
    assert seen == [(k, 16) for k in range(1, 17)]


def test_a_folder_that_is_already_there_is_used_as_it_is(tmp_path):
    seen: list[int] = []
    target = write_phantoms(tmp_path / "p", **SMALL)
    write_phantoms(target, **SMALL, on_progress=lambda done, num: seen.append(done))
    assert seen == []


def test_an_empty_folder_is_filled(tmp_path):
    target = tmp_path / "p"
    target.mkdir()
    assert len(scan_folder(write_phantoms(target, **SMALL)).films) == 16


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(StorageError, match="holds no phantoms; choose another folder"):
        write_phantoms(tmp_path / "p", **SMALL)
    assert (tmp_path / "p" / "thesis.txt").read_text(encoding="utf-8") == "years of work"
    with pytest.raises(StorageError, match=r"thesis\.txt is there and holds no phantoms"):
        write_phantoms(tmp_path / "p" / "thesis.txt", **SMALL)


def test_phantoms_of_other_arguments_or_changed_ones_are_refused(tmp_path):
    target = write_phantoms(tmp_path / "p", **SMALL)
    with pytest.raises(StorageError, match="made with seed 0; expected 4"):
        write_phantoms(target, **SMALL, seed=4)
    next(target.rglob("*.jpeg")).unlink()
    with pytest.raises(StorageError, match="changed or are incomplete"):
        write_phantoms(target, **SMALL)


@pytest.mark.parametrize("name", ["num_train", "num_val", "num_test"])
def test_too_few_films_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match=f"{name} is 7; expected at least 8"):
        write_phantoms(tmp_path / "p", **{**SMALL, name: 7})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "raised", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StorageError, "no space is left"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_a_failure_half_way_leaves_no_folder(tmp_path, monkeypatch, failure, raised, text):
    draw = phantom.render_film

    def fail_later(*args, **kwargs):
        if len(list(tmp_path.rglob("*.jpeg"))) == 5:
            raise failure
        return draw(*args, **kwargs)

    monkeypatch.setattr(phantom, "render_film", fail_later)
    with pytest.raises(raised, match=text):
        write_phantoms(tmp_path / "p", **SMALL)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.skipif(os.name != "posix", reason="kills a process with SIGKILL")
def test_after_a_kill_the_next_call_completes_the_folder(tmp_path):
    target = tmp_path / "p"
    call = (
        "from pathlib import Path; from pneumoscope.data.phantom import write_phantoms; "
        f"write_phantoms(Path({str(target)!r}), num_train=5000, num_val=0, num_test=8, size_px=64)"
    )
    process = subprocess.Popen([sys.executable, "-c", call])
    deadline = time.monotonic() + 120
    while len(list(tmp_path.rglob("*.jpeg"))) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    assert len(scan_folder(write_phantoms(target, **SMALL)).films) == 16
    assert len(list(tmp_path.rglob("*.jpeg"))) == 16


def test_two_calls_at_once_draw_the_films_once(tmp_path):
    drawn: list[int] = []

    def write(_) -> Path:
        return write_phantoms(
            tmp_path / "p", **SMALL, on_progress=lambda done, num: drawn.append(done)
        )

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(write, range(2))) == [tmp_path / "p"] * 2
    assert drawn == list(range(1, 17))
