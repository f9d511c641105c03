"""The split by which recipes are tried on normal films of a style that they have not seen."""

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pneumoscope.data.cache import default_cache_dir, open_cache
from pneumoscope.data.patients import patient_block, patient_key
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import check_split, make_split
from pneumoscope.data.style import describe_style


def test_style_is_read_by_what_the_other_half_teaches(style_holdout: ModuleType) -> None:
    blocks = [f"block {i // 4}" for i in range(400)]
    half = style_holdout.drawn(blocks, 0, 2)
    labels = (np.arange(400) % 2).astype(np.int64)
    # In one half the figure is the class, in the other the opposite of it: each misleads the other.
    styles = np.where(half == 0, labels, 1 - labels)[:, None].astype(float)
    assert style_holdout.odd_normals(labels, styles, blocks).tolist() == (labels == 0).tolist()


def test_odd_films_are_normal_and_look_sick(style_holdout: ModuleType) -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(400) % 2).astype(np.int64)
    looks = labels.copy()
    looks[:40:4] = 1  # ten normal films of the style of the sick
    looks[1:40:4] = 0  # and ten sick ones of the style of the normal
    styles = np.stack([looks + rng.normal(0, 0.1, 400), rng.normal(0, 1, 400)], axis=1)
    blocks = [f"block {i // 4}" for i in range(400)]
    odd = style_holdout.odd_normals(labels, styles, blocks)
    assert np.flatnonzero(odd).tolist() == list(range(0, 40, 4))


def test_odd_patients_and_a_part_of_the_sick_are_held_out_whole(
    style_holdout: ModuleType, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(phantoms, tmp_path / "films")
    first = min((copy / "train" / "NORMAL").iterdir())  # the first normal film is to be odd
    second = first.with_name(f"{patient_key(first.name)}-0009.jpeg")
    shutil.copy(first, second)
    folder = scan_folder(copy)
    rows = [row for row in make_split(folder, "patient").rows if row.split in ("train", "val")]
    normal = [row.label == 0 for row in rows]
    chosen = np.cumsum(normal) % 5 == 1
    monkeypatch.setattr(style_holdout, "odd_normals", lambda *_: chosen & normal)
    split, num_odd = style_holdout.hold_out(folder)
    assert num_odd == sum(chosen & normal)
    check_split(folder, split, tmp_path / "held-out.csv")  # no patient on both sides
    went = {row.path: row.split for row in split.rows}
    for row, odd in zip(rows, chosen & normal, strict=True):
        if odd:
            assert went[row.path] == "val"
        if row.label == 1:
            in_part = style_holdout.drawn([patient_block(row.patient_id)], 1, 3)[0] == 0
            assert went[row.path] == ("val" if in_part else "train")
    assert went[f"train/NORMAL/{second.name}"] == "val"
    assert not (chosen & normal)[[row.path.endswith(second.name) for row in rows]].any()
    assert {row.split for row in split.rows if row.path.startswith("test/")} == {"test"}
    assert {row.split for row in split.subset("train") if row.label == 0} == {"train"}


def test_it_reads_the_style_of_the_training_folder_alone(
    style_holdout: ModuleType, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, Any, list[str]]] = []

    def note(labels: Any, styles: Any, blocks: list[str]) -> Any:
        given.append((labels, styles, blocks))
        return np.arange(len(blocks)) == 0

    monkeypatch.setattr(style_holdout, "odd_normals", note)
    folder = scan_folder(phantoms)
    style_holdout.hold_out(folder)
    ((labels, styles, blocks),) = given
    films = [film for film in folder.films if film.folder == "train"]
    assert labels.tolist() == [int(film.label) for film in films]
    assert blocks == [patient_block(film.patient_id) for film in films]
    rows = [r for r in make_split(folder, "patient").rows if r.split in ("train", "val")]
    pixels = open_cache(folder.root, rows, 224, default_cache_dir())
    np.testing.assert_array_equal(styles, describe_style(pixels))


def test_specificity_is_that_at_the_threshold_that_keeps_recall(style_holdout: ModuleType) -> None:
    y = np.repeat([1, 0], 100)
    score = np.concatenate([np.arange(100.0), np.full(60, -1.0), np.full(30, 3.0), np.full(10, 9)])
    found = style_holdout.figures(y, score)
    assert found["specificity_0.95"] == 0.9  # the threshold is 4: recall .96, the next 5: .95
    assert found["specificity_0.98"] == 0.6
    wins = (60 * 100 + 30 * 96.5 + 10 * 90.5) / 10_000
    assert found["auroc"] == round(wins, 4)


@pytest.mark.parametrize("name", ["style_holdout", "block_validation"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [("training.foo=1", "unknown key training.foo"), ("data.split_seed=1", "is for this script")],
)
def test_what_is_wrong_with_a_change_is_one_line(
    request: pytest.FixtureRequest,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    change: str,
    expected: str,
) -> None:
    out = tmp_path / "run"
    line = [name, "cnn", "--data", str(phantoms), "--out", str(out), "--set", change]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit):
        request.getfixturevalue(name).main()
    assert expected in capsys.readouterr().err.splitlines()[-1]
    assert not out.exists()
