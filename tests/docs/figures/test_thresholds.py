"""Rules for the threshold, and labels that may be wrong."""

import re

import numpy as np
import pytest
from pages import ROOT, agrees, table
from records import MODELS, RECORDS, cnn_of_40_epochs, lines_of, record

from pneumoscope.bundle import shipped_bundles
from pneumoscope.evaluation.operating_point import (
    summarize_at_threshold,
)
from pneumoscope.evaluation.predictions import read_predictions


def test_the_rules_for_the_threshold():
    rows = table("docs/thresholds.md", "| model | rule | halves with recall < .95 |")
    found = {(line["model"], line["rule"]): line for line in lines_of("threshold-transfer.jsonl")}
    assert len(rows) == 15
    for model, rule, missed, *cells in rows:
        line = found[MODELS[model], rule]
        assert agrees(missed, 100 * line["missed_target"]), (model, rule)
        expected = [*line["clean"], *line["shifted_mean"], line["lowest_recall"]]
        for cell, value in zip(cells, expected, strict=True):
            assert agrees(cell, value), (model, rule, cell, value)


def test_labels_of_the_training_folder():
    text = (ROOT / "docs/thresholds.md").read_text(encoding="utf-8")
    normal, sick = [], []
    for part in ("val", "test"):
        films = [
            read_predictions(bundle / "predictions.csv").subset(part)
            for bundle in shipped_bundles().values()
        ]
        is_low = np.all([one.p_pneumonia < 0.1 for one in films], axis=0)
        for counts, label in ((normal, 0), (sick, 1)):
            of_class = films[0].y_true == label
            low = int((is_low & of_class).sum())
            counts += [low, of_class.sum(), 100 * low / of_class.sum()]
    (shown,) = re.findall(
        r"to (\d+ of \d+) normal validation films \((\d+) %\) and to (\d+ of \d+) normal test "
        r"films \((\d+) %\)",
        text,
    )
    assert agrees(" ".join(shown), *normal)
    (shown,) = re.findall(
        r"less than \.1 to (\d+ of \d+) validation films \((\S+) %\) and to (\d+ of \d+) test\s+"
        r"films \((\S+) %\)",
        text,
    )
    assert agrees(" ".join(shown), *sick)
    (again,) = re.findall(r"may be missed and (\S+) % are", text)
    assert agrees(again, sick[2])


def test_the_cnn_without_doubtful_films():
    text = (ROOT / "docs/thresholds.md").read_text(encoding="utf-8")
    trial = record("cnn-trials/doubtful-labels.json")
    (shown,) = re.findall(r"arXiv:1911.00068: (.*?) normal ones\)", text, re.DOTALL)
    left_out = trial["left_out"]
    assert agrees(shown, *left_out["PNEUMONIA"], *left_out["NORMAL"])
    assert len(trial["paths_left_out"]) == left_out["PNEUMONIA"][0] + left_out["NORMAL"][0]
    (shown,) = re.findall(
        r"On validation it comes to (\S+) \((\S+)\), and to (\S+) \((\S+)\) without the (\d+) sick",
        text,
    )
    val, cleaned = trial["metrics"]["val"]["at_threshold"], trial["val_without_doubtful"]
    cnn = cnn_of_40_epochs()
    assert agrees(
        " ".join(shown),
        val["auroc"],
        cnn["val"]["at_threshold"]["auroc"],
        cleaned["trial"]["auroc"],
        cleaned["cnn"]["auroc"],
        cleaned["left_out"],
    )
    scores = {
        "cnn": RECORDS / "cnn-trials/epochs-40-seed-0.predictions.csv",
        "pretrained_ti16": shipped_bundles()["pretrained_ti16"] / "predictions.csv",
    }
    films = {name: read_predictions(path).subset("val") for name, path in scores.items()}
    y = films["cnn"].y_true
    kept = (y == 0) | (films["pretrained_ti16"].log_odds >= -3)
    assert (~kept).sum() == cleaned["left_out"]
    auroc = summarize_at_threshold(y[kept], films["cnn"].p_pneumonia[kept], 0.5)["auroc"]
    assert auroc == pytest.approx(cleaned["cnn"]["auroc"], abs=1e-4)
    (shown,) = re.findall(r"recall of \.99 there is (\S+) \((\S+)\)\.", text)
    at_recall = "specificity_at_recall_0.99"
    assert agrees(" ".join(shown), cleaned["trial"][at_recall], cleaned["cnn"][at_recall])
    (shown,) = re.findall(r"then it was looked at: test AUROC (.*?) with them", text, re.DOTALL)
    runs = [run["test"]["at_threshold"] for run in (trial["metrics"], cnn)]
    keys = ("auroc", "recall", "specificity")
    assert agrees(shown, *(run[key] for run in runs for key in keys))
