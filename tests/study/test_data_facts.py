"""What a manifest says of its films, and the card made of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pneumoscope.bundle import Bundle, open_bundle
from pneumoscope.config import DataConfig
from pneumoscope.data.cache import default_cache_dir
from pneumoscope.data.quality import QUALITY_ATTRIBUTES, QualityRange, measure_quality
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.errors import BundleError
from pneumoscope.labels import DISCLAIMER
from pneumoscope.study import data_facts as module
from pneumoscope.study.data_card import data_card
from pneumoscope.study.data_facts import data_facts, training_quality
from pneumoscope.study.films import SplitFilms, open_films

FinishedRun = tuple[Path, Bundle, str]


@pytest.fixture
def films(own_phantoms: Path, tmp_path: Path, console: Console) -> SplitFilms:
    return open_films(own_phantoms, tmp_path / "split.csv", DataConfig(), console)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """An empty cache; lists the measurements in it."""
    monkeypatch.setenv("PNEUMOSCOPE_CACHE", str(tmp_path / "cache"))
    return lambda: sorted(default_cache_dir().glob("quality-*.json"))


def test_counts_are_those_of_the_split(films: SplitFilms) -> None:
    found = data_facts(films)
    for part in ("train", "val", "test"):
        rows = films.rows(part)
        assert found[f"num_{part}"] == len(rows)
        assert found["class_counts"][part]["PNEUMONIA"] == sum(row.label for row in rows)
        assert found["num_patients"][part] == len({row.patient_id for row in rows})
    assert found["split_sha256"] == films.split.sha256
    json.dumps(found)


def test_quality_is_that_of_the_training_films_and_kept(
    films: SplitFilms, cache: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = training_quality(films)
    qualities = [
        measure_quality(read_radiograph(films.root / row.path)) for row in films.rows("train")
    ]
    for name in QUALITY_ATTRIBUTES:
        values = [getattr(quality, name) for quality in qualities]
        assert found.value(name, 0.5) == pytest.approx(np.median(values))
        assert found.value(name, 1.0) == max(values)
    (stored,) = cache()
    with monkeypatch.context() as patch:
        patch.setattr(module, "measure_quality", lambda radiograph: pytest.fail("again"))
        assert training_quality(films) == found
    stored.write_text("{")  # damaged: measured again
    assert training_quality(films) == found
    assert json.loads(stored.read_text()) == found.to_dict()


def test_other_films_are_measured_anew(
    films: SplitFilms, cache: Callable[[], list[Path]], own_phantoms: Path, tmp_path: Path,
    console: Console,
) -> None:  # fmt: skip
    training_quality(films)
    other = open_films(own_phantoms, tmp_path / "other.csv", DataConfig(split_seed=1), console)
    training_quality(other)
    assert len(cache()) == 2


def test_a_bundle_has_both(finished_run: FinishedRun) -> None:
    bundle = finished_run[1]
    data = bundle.manifest["data"]
    assert QualityRange.from_dict(data["training_quality"]).num_films == data["num_train"]
    card = (bundle.path / "DATA_CARD.md").read_text()
    assert card == data_card(bundle.manifest)
    assert f"| train | {data['num_train']} |" in card
    assert DISCLAIMER in card
    assert "PHANTOM" in card
    assert "Kermany" not in card
    assert "DATA_CARD.md" in bundle.manifest["files"]


def test_a_card_of_real_films_says_where_they_are_from(finished_run: FinishedRun) -> None:
    manifest: dict[str, Any] = {**finished_run[1].manifest, "phantom": False}
    card = data_card(manifest)
    assert "Kermany et al." in card
    assert "PHANTOM" not in card
    leaky = {**manifest["data"], "split_kind": "stratified"}
    assert "patients of training are in validation too" in data_card({**manifest, "data": leaky})
    blocks = {**manifest["data"], "split_kind": "block"}
    assert "nor is any other of the same 25 numbers" in data_card({**manifest, "data": blocks})
    assert "patients of training are in validation too" not in card


def test_a_changed_or_missing_card_is_refused(own_run: Path) -> None:
    card = own_run / "bundle" / "DATA_CARD.md"
    text = card.read_text()
    card.write_text(text + "x")
    with pytest.raises(BundleError, match=r"DATA_CARD\.md was changed"):
        open_bundle(own_run)
    card.unlink()
    with pytest.raises(BundleError, match=r"lacks DATA_CARD\.md"):
        open_bundle(own_run)


def test_unreadable_films_are_left_out_of_the_facts(films: SplitFilms) -> None:
    row = films.rows("train")[0]
    fewer = replace(films, unreadable=frozenset({row.path}))
    found = data_facts(fewer)
    assert found["num_train"] == len(films.rows("train")) - 1
    assert found["unreadable"] == [row.path]
