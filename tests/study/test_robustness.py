"""Scoring altered films: which, in which order, and that the network sees what is said."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pneumoscope.data.corruption import CLEAN, CORRUPTIONS
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import Radiograph
from pneumoscope.models.build import build_model
from pneumoscope.models.scoring import score_pixels
from pneumoscope.study import robustness as module
from pneumoscope.study.robustness import sample_films, score_under_shifts


def test_few_films_are_all_taken() -> None:
    assert sample_films(np.array([0, 1, 1]), 5).tolist() == [0, 1, 2]


def test_a_sample_keeps_the_shares_and_is_the_same_again() -> None:
    y = np.array([0] * 700 + [1] * 2300)
    rows = sample_films(y, 300)
    assert len(set(rows.tolist())) == 300
    assert rows.tolist() == sorted(rows.tolist())
    assert y[rows].sum() == 230
    assert sample_films(y, 300).tolist() == rows.tolist()
    assert sample_films(y, 300, seed=1).tolist() != rows.tolist()


@pytest.mark.parametrize("label", [0, 1])
def test_a_rare_class_keeps_a_film(label: int) -> None:
    y = np.full(5000, 1 - label)
    y[77] = label
    rows = sample_films(y, 10)
    assert len(rows) == 10
    assert 77 in rows
    assert len(sample_films(np.full(5000, label), 10)) == 10


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Only three changes, for speed."""
    names = ["blur: 2 px", "marker added: L right", "framed: 80 %"]
    monkeypatch.setattr(module, "CORRUPTIONS", {name: CORRUPTIONS[name] for name in names})
    return names


def test_each_variant_is_changed_then_resized_then_scored(
    few: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)  # of three films
    torch.manual_seed(0)
    network = build_model("cnn", img_size=32).eval()
    films = np.random.default_rng(0).integers(0, 256, (3, 224, 224), dtype=np.uint8)
    reported: list[tuple[int, int]] = []
    found = score_under_shifts(
        network, 32, films, on_progress=lambda done, total: reported.append((done, total))
    )
    assert list(found) == [CLEAN, *few]
    for name in found:
        change = CORRUPTIONS.get(name, np.array)
        pixels = np.stack([prepare(Radiograph(change(film), "PNG", 8), 32) for film in films])
        logits = score_pixels(network, pixels)
        assert found[name] == pytest.approx(logits[:, 1] - logits[:, 0], abs=1e-4)
        assert found[name].dtype == np.float32
    total = 3 * 4
    assert reported[-1] == (total, total)
    assert [done for done, _ in reported] == sorted({done for done, _ in reported})


def test_films_may_be_a_memory_map(few: list[str], tmp_path: Path) -> None:
    films = np.random.default_rng(0).integers(0, 256, (2, 224, 224), dtype=np.uint8)
    np.save(tmp_path / "films.npy", films)
    torch.manual_seed(0)
    network = build_model("cnn", img_size=32).eval()
    mapped = np.load(tmp_path / "films.npy", mmap_mode="r")
    one, other = score_under_shifts(network, 32, mapped), score_under_shifts(network, 32, films)
    assert all((one[name] == other[name]).all() for name in one)
