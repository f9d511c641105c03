"""The whole study as a user runs it: split, train, choose, test, compare, screen, evaluate."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from pneumoscope import Screener, read_radiograph
from pneumoscope.bundle import CONTENT, OPTIONAL_CONTENT, open_bundle
from pneumoscope.data.cache import open_cache
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.split import read_split
from pneumoscope.evaluation.operating_point import (
    choose_threshold_by_min_recall,
    summarize_at_threshold,
)
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.models.int8 import INT8_FILE

# Of int8 there is a record for networks of the shipped recipes alone.
WHOLE_BUNDLE = {*CONTENT, *OPTIONAL_CONTENT, "manifest.json"} - {INT8_FILE}
MODELS = ("tiny_cnn", "tiny_vit", "tiny_tuned")

TINY_TUNED = """
name = "tiny_tuned"
[model]
name = "vit_ti32"
img_size = 64
standardize = true
[pretrained]
weights = "{weights}"
[training]
epochs = 1
batch_size = 16
layer_decay = 0.75
precision = "float32"
device = "cpu"
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory, program, phantoms, recipes, ti32_checkpoint):
    out = tmp_path_factory.mktemp("study")
    tuned = out / "tiny_tuned.toml"
    tuned.write_text(TINY_TUNED.format(weights=ti32_checkpoint.as_posix()))
    answer = program(
        "study", "--data", phantoms, "--out", out / "out",
        "--recipe", recipes / "tiny_cnn.toml", "--recipe", recipes / "tiny_vit.toml",
        "--recipe", tuned,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return out / "out", answer


def test_it_ends_with_the_table_and_the_picture(study):
    out, answer = study
    assert "PHANTOM" in answer.stdout
    places = [answer.stdout.index(model) for model in MODELS]
    assert places == sorted(places)  # one below the other, in the order of the recipes
    assert f"picture: {out / 'overview.png'}" in answer.stdout
    with Image.open(out / "overview.png") as picture:
        assert min(picture.size) > 500


def test_everything_promised_is_written(study):
    out, _ = study
    for name in (
        "results.md", "results.json", "predictions.csv", "roc.png", "pr.png", "confusion.png",
        "scores.png", "training_curves.png", "split.csv",
    ):  # fmt: skip
        assert (out / name).stat().st_size > 100, name
    for model in MODELS:
        assert {p.name for p in (out / model / "bundle").iterdir()} == WHOLE_BUNDLE
        assert (out / model / "curves.png").stat().st_size > 1000
    assert not list(out.rglob("*.partial"))


def test_all_models_share_one_split_and_every_film_is_scored_once(study):
    out, _ = study
    split = read_split(out / "split.csv")
    wanted = {(r.split, r.path) for r in split.rows if r.split in ("val", "test")}
    for model in MODELS:
        bundle = open_bundle(out / model)
        assert bundle.manifest["data"]["split_sha256"] == split.sha256
        predictions = read_predictions(bundle.path / "predictions.csv")
        scored = list(zip(predictions.split.tolist(), predictions.path.tolist(), strict=True))
        assert len(scored) == len(wanted)
        assert set(scored) == wanted


def test_the_threshold_was_chosen_on_validation_and_only_applied_to_test(study):
    out, _ = study
    for model in MODELS:
        bundle = open_bundle(out / model)
        predictions = read_predictions(bundle.path / "predictions.csv")
        val, test = predictions.subset("val"), predictions.subset("test")
        chosen = choose_threshold_by_min_recall(val.y_true, val.p_pneumonia, 0.95)
        point = bundle.operating_point
        assert (point["threshold"], point["recall"], point["precision"]) == chosen
        expected = summarize_at_threshold(test.y_true, test.p_pneumonia, point["threshold"])
        assert bundle.metrics["test"]["at_threshold"] == expected


def test_the_manifest_tells_where_it_comes_from(study):
    out, _ = study
    manifest = open_bundle(out / "tiny_vit").manifest
    assert manifest["phantom"] is True
    assert manifest["model"] == "vit_scratch"
    assert manifest["num_parameters"] > 4_000_000
    assert manifest["seed"] == 0
    assert len(manifest["code"]["sha256"]) == 64
    assert manifest["versions"]["torch"].startswith("2.")
    assert manifest["hardware"]["num_cores"] >= 1
    assert manifest["recipe"]["distillation"]["teacher"] == "tiny_cnn"
    assert manifest["teacher"] == open_bundle(out / "tiny_cnn").model_id


def test_the_same_bytes_score_the_same_in_training_evaluation_and_screening(
    study, program, phantoms, tmp_path
):
    out, _ = study
    bundle = open_bundle(out / "tiny_vit")
    stored = read_predictions(bundle.path / "predictions.csv").subset("test")

    films = [phantoms / path for path in stored.path]
    screened = list(Screener.load(bundle).screen_many(films))
    assert [s.status for s in screened] == ["ok"] * len(films)
    assert [s.p_pneumonia for s in screened] == pytest.approx(stored.p_pneumonia, abs=1e-6)

    answer = program("evaluate", out / "tiny_vit", "--data", phantoms, "--out", tmp_path / "eval")
    assert answer.returncode == 0, answer.stderr
    with (tmp_path / "eval" / "predictions.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
    assert [row["path"] for row in rows] == stored.path.tolist()
    again = [float(row["p_pneumonia"]) for row in rows]
    assert again == pytest.approx(stored.p_pneumonia.tolist(), abs=1e-6)

    rows = [row for row in read_split(out / "split.csv").rows if row.split == "test"]
    cached = open_cache(phantoms, rows, 32, tmp_path / "cache")
    for pixels, film in zip(cached, films, strict=True):
        np.testing.assert_array_equal(pixels, prepare(read_radiograph(film), 32))


def test_running_it_again_trains_nothing_and_gives_the_same(study, program, phantoms, recipes):
    out, _ = study
    tuned = out.parent / "tiny_tuned.toml"
    before = (out / "results.json").read_bytes()
    answer = program(
        "study", "--data", phantoms, "--out", out,
        "--recipe", recipes / "tiny_cnn.toml", "--recipe", recipes / "tiny_vit.toml",
        "--recipe", tuned,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.count("already finished") == 3
    assert (out / "results.json").read_bytes() == before


def test_compare_needs_no_films_and_no_torch(study, program, tmp_path):
    out, _ = study
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "torch.py").write_text("raise ImportError('torch is not to be imported')")
    answer = program(
        "compare", *(out / model for model in MODELS), "--out", tmp_path / "again",
        env={"PYTHONPATH": str(blocked), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    ours, theirs = (json.loads((f / "results.json").read_text()) for f in (tmp_path / "again", out))
    assert ours == theirs


def test_screen_answers_for_each_file(study, program, phantoms, tmp_path):
    out, _ = study
    good = sorted((phantoms / "test" / "NORMAL").iterdir())[0]
    bad = tmp_path / "notes.jpeg"
    bad.write_text("not a film")
    answer = program("screen", good, bad, "--bundle", out / "tiny_cnn", "--format", "json")
    assert answer.returncode == 1
    first, second = (json.loads(line) for line in answer.stdout.splitlines())
    assert list(first) == [
        "path", "status", "p_pneumonia", "threshold", "decision", "warnings", "model_id", "error",
    ]  # fmt: skip
    assert first["status"] == "ok"
    is_positive = first["p_pneumonia"] >= first["threshold"]
    assert first["decision"] == ("PNEUMONIA" if is_positive else "NORMAL")
    assert (second["status"], second["decision"]) == ("error", None)
    assert "notes.jpeg" in second["error"]


def test_real_films_go_the_same_way(shared_dir, program, recipes, tmp_path):
    answer = program(
        "study", "--data", shared_dir / "data" / "chest_xray", "--out", tmp_path,
        "--recipe", recipes / "tiny_cnn.toml", "--recipe", recipes / "tiny_vit.toml",
        "--set", "training.max_steps=12",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "PHANTOM" not in answer.stdout
    assert "Reference ViT from scratch" in answer.stdout
    split = read_split(tmp_path / "split.csv")
    assert [len(split.subset(n)) for n in ("train", "val", "test")] == [4173, 1043, 624]
    test = open_bundle(tmp_path / "tiny_cnn").metrics["test"]["at_0.5"]
    assert test["tp"] + test["fn"] == 390
    assert test["tn"] + test["fp"] == 234
