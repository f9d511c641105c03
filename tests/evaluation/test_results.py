"""Results read from bundles, and the reference study they stand beside."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pneumoscope.bundle import CONTENT, open_bundle, seal_bundle
from pneumoscope.errors import BundleError, EvaluationError
from pneumoscope.evaluation.operating_point import summarize_at_threshold
from pneumoscope.evaluation.predictions import Predictions, write_predictions
from pneumoscope.evaluation.results import (
    REFERENCE_STUDY,
    ModelResult,
    mean_and_sd,
    reference_results,
    seed_groups,
)

HISTORY = """\
epoch,train_loss,val_loss,val_auroc,lr,time_s
1,0.61,0.52,0.91,0.0003,31.5
2,0.44,0.40,nan,0.0001,63.25
"""
MANIFEST = {
    "name": "scratch",
    "model": "vit_scratch",
    "num_parameters": 4_987_138,
    "train_time_s": 8460.5,
    "data": {"split_sha256": "00", "split_kind": "stratified"},
    "phantom": True,
    "seed": 3,
}


@pytest.fixture
def bundle_folder(tmp_path, make_result):
    """A folder with every file of a bundle, not sealed yet."""
    for name in CONTENT:
        (tmp_path / name).write_text("{}")
    write_predictions(tmp_path / "predictions.csv", make_result().predictions)
    (tmp_path / "history.csv").write_text(HISTORY)
    operating_point = {"threshold": 0.3125, "min_recall": 0.95}
    (tmp_path / "operating_point.json").write_text(json.dumps(operating_point))
    return tmp_path


@pytest.fixture
def kaggle_result(shared_dir, make_result):
    """A model tested on the official test set, as the real folder names it."""
    root = shared_dir / "data" / "chest_xray"
    films = sorted(path.relative_to(root) for path in root.glob("test/*/*.jpeg"))
    return make_result(
        test_paths=[film.as_posix() for film in films],
        test_labels=[int(film.parent.name == "PNEUMONIA") for film in films],
    )


def test_result_holds_what_the_bundle_says(bundle_folder, make_result):
    seal_bundle(bundle_folder, MANIFEST)
    bundle = open_bundle(bundle_folder)
    result = ModelResult.from_bundle(bundle)
    assert (result.name, result.recipe, result.model) == ("scratch", "scratch", "vit_scratch")
    assert (result.seed, result.split_kind, result.phantom) == (3, "stratified", True)
    assert (result.num_parameters, result.train_time_s) == (4_987_138, 8460.5)
    assert (result.threshold, result.min_recall) == (0.3125, 0.95)
    assert result.model_id == bundle.model_id
    assert result.predictions.path.tolist() == make_result().predictions.path.tolist()
    assert result.history.epoch.tolist() == [1, 2]
    assert result.history.val_loss.tolist() == [0.52, 0.40]
    assert result.history.time_s.tolist() == [31.5, 63.25]
    assert np.isnan(result.history.val_auroc[1])


@pytest.mark.parametrize("missing", ["model", "seed", "phantom", "num_parameters", "data"])
def test_manifest_without_an_entry_is_named(bundle_folder, missing):
    bundle = seal_bundle(bundle_folder, {k: v for k, v in MANIFEST.items() if k != missing})
    with pytest.raises(BundleError, match=f"has no entry '{missing}'"):
        ModelResult.from_bundle(bundle)


def test_unsound_history_is_named(bundle_folder):
    (bundle_folder / "history.csv").write_text(HISTORY.replace("0.44", "low"))
    bundle = seal_bundle(bundle_folder, MANIFEST)
    with pytest.raises(EvaluationError, match=r"history\.csv, line 3: train_loss is 'low'"):
        ModelResult.from_bundle(bundle)


def test_summaries_are_at_both_thresholds(make_result):
    result = make_result()
    val = result.films("val")
    assert (len(val), len(result.films("test"))) == (40, 60)
    assert result.summaries("val") == (
        summarize_at_threshold(val.y_true, val.p_pneumonia, 0.5),
        summarize_at_threshold(val.y_true, val.p_pneumonia, result.threshold),
    )


def test_seeds_are_grouped_by_recipe_and_split(make_result):
    results = [
        make_result("cnn", seed=0),
        make_result("cnn", seed=1),
        make_result("cnn", seed=0, split_kind="stratified"),
        make_result("cnn", seed=1, split_kind="stratified"),
        make_result("vit", seed=0),
        make_result("ti", seed=0),
        make_result("ti", seed=1),
        make_result("twice", seed=4),
        make_result("twice", seed=4),
    ]
    assert seed_groups(results) == {
        "cnn (patient)": results[:2],
        "cnn (stratified)": results[2:4],
        "ti": results[5:7],
    }


def test_mean_and_sample_standard_deviation():
    assert mean_and_sd([0.9, 0.8, 1.0]) == pytest.approx((0.9, 0.1))
    assert mean_and_sd([0.9, None]) is None


# The figures that the study prints: accuracy, precision, recall, F1; and specificity.
@pytest.mark.parametrize(
    ("row", "at", "printed", "specificity"),
    [
        (0, 0, (0.7933, 0.7843, 0.9231, 0.8481), 0.577),
        (0, 1, (0.7788, 0.7520, 0.9641, 0.8449), 0.470),
        (1, 0, (0.8702, 0.8337, 0.9897, 0.9050), 0.671),
        (1, 1, (0.8413, 0.7988, 0.9974, 0.8871), 0.581),
    ],
)
def test_reference_counts_give_the_printed_figures(row, at, printed, specificity):
    summary = REFERENCE_STUDY[row].summaries[at]
    assert tuple(round(summary[k], 4) for k in ("acc", "precision", "recall", "f1")) == printed
    assert round(summary["specificity"], 3) == specificity
    assert (summary["tp"] + summary["fn"], summary["fp"] + summary["tn"]) == (390, 234)


def test_reference_stands_beside_the_official_test_set_only(kaggle_result, make_result):
    assert reference_results([kaggle_result]) == REFERENCE_STUDY
    assert reference_results([replace(kaggle_result, phantom=True)]) == ()
    assert reference_results([make_result()]) == ()
    predictions = kaggle_result.predictions
    fewer = Predictions.from_logits(
        predictions.path[:-1],
        predictions.patient_id[:-1],
        predictions.split[:-1],
        predictions.y_true[:-1],
        predictions.logits[:-1],
    )
    assert reference_results([replace(kaggle_result, predictions=fewer)]) == ()


def test_official_test_set_is_known_in_any_folder_and_format(kaggle_result, make_result):
    test = kaggle_result.films("test")
    moved = make_result(
        test_paths=[f"elsewhere/{path.rsplit('/', 1)[1][:-5]}.PNG" for path in test.path],
        test_labels=test.y_true.tolist(),
    )
    assert reference_results([moved]) == REFERENCE_STUDY
