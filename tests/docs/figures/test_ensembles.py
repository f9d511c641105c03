"""Networks averaged."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pages import ROOT, agrees, table
from records import MODELS, RECORDS, averaged, lines_of, record
from sklearn.metrics import roc_auc_score

from pneumoscope.bundle import shipped_bundles
from pneumoscope.evaluation.operating_point import (
    choose_threshold_by_min_recall,
)
from pneumoscope.evaluation.predictions import read_predictions


def scores_of_seeds(epochs: int) -> dict[str, list[Path]]:
    """Scores of three seeds of the CNN of so many epochs, and of the ViT-Ti/16."""
    others = {"cnn": f"cnn-trials/epochs-{epochs}-seed", "ti16": "ti16-trials/six-epochs-seed"}
    shipped = {
        "cnn": shipped_bundles()["cnn"] / "predictions.csv",
        "ti16": shipped_bundles()["pretrained_ti16"] / "predictions.csv",
    }
    if epochs == 40:
        shipped["cnn"] = RECORDS / f"{others['cnn']}-0.predictions.csv"
    return {
        name: [shipped[name], *(RECORDS / f"{other}-{n}.predictions.csv" for n in (1, 2))]
        for name, other in others.items()
    }


def calls_of_normal_test_films(paths: list[Path]) -> NDArray[np.bool_]:
    """Which of them each calls at its own threshold (M, N)."""
    called = []
    for path in paths:
        val, test = (read_predictions(path).subset(part) for part in ("val", "test"))
        threshold, *_ = choose_threshold_by_min_recall(val.y_true, val.p_pneumonia, 0.95)
        called.append(test.p_pneumonia[test.y_true == 0] >= threshold)
    return np.array(called)


def test_six_networks_averaged():
    seeds = scores_of_seeds(80)
    six = [*seeds["cnn"], *seeds["ti16"]]
    sets = (seeds["cnn"], seeds["ti16"], [seeds["cnn"][0], seeds["ti16"][0]], six)
    rows = table("docs/ensembles.md", "| averaged | val AUROC | specificity, validation |")
    for (name, auroc, specificity, *test), paths in zip(rows, sets, strict=True):
        found = averaged(paths)
        assert agrees(auroc, found["val"]["auroc"]), name
        assert agrees(specificity, found["val"]["specificity"]), name
        if paths is six:
            stored = record("ensemble-three-seeds.json")["metrics"]
            for part in ("val", "test"):
                assert stored[part]["at_threshold"] == pytest.approx(found[part]), part
        if test[0] != "not looked at":
            for cell, key in zip(test, ("auroc", "recall", "specificity"), strict=True):
                assert agrees(cell, found["test"][key]), (name, key)
    text = " ".join((ROOT / "docs/ensembles.md").read_text(encoding="utf-8").split())
    (said,) = re.findall(
        r"six networks call (\d+) to (\d+) of the (\d+) normal test films each, and \*\*(\d+)", text
    )
    (pair,) = re.findall(r"the bundle of the pair .*? comes to a specificity of (\S+)\)", text)
    made = record("ensemble-cnn-ti16.json")["metrics"]["test"]["at_threshold"]
    assert agrees(pair, made["specificity"])
    called = calls_of_normal_test_films(six)
    each = called.sum(axis=1)
    expected = (each.min(), each.max(), called.shape[1], called.all(axis=0).sum())
    assert tuple(map(int, said)) == tuple(map(int, expected))

    seeds = scores_of_seeds(40)
    six = [*seeds["cnn"], *seeds["ti16"]]
    (said,) = re.findall(
        r"the six scored (\S+) on validation and, looked at once, (\S+) on the test films "
        r"\(recall (\S+), specificity (\S+); (\d+) films",
        text,
    )
    found = averaged(six)
    test = (found["test"][key] for key in ("auroc", "recall", "specificity"))
    by_all = calls_of_normal_test_films(six).all(axis=0).sum()
    assert agrees(" ".join(said), found["val"]["auroc"], *test, by_all)


def test_the_networks_that_validation_would_average():
    """Decision 27: of all sets of families of three seeds, the highest on validation."""
    seeds = scores_of_seeds(80)
    families = {
        "the CNN of 80 epochs": seeds["cnn"],
        "on CPUs": seeds["ti16"],
        "from scratch": [
            shipped_bundles()["scratch"] / "predictions.csv",
            *(RECORDS / f"scratch-trials/epochs-48-seed-{n}.predictions.csv" for n in (1, 2)),
        ],
    }
    others = ("cnn-trials/epochs-160", "ti16-trials/gpu", "ti16-trials/side-160")
    for name in (*others, "ti16-trials/side-384"):
        families[name] = [RECORDS / f"{name}-seed-{n}.predictions.csv" for n in range(3)]
    films = {
        name: [read_predictions(path).subset("val") for path in paths]
        for name, paths in families.items()
    }
    y = films["on CPUs"][0].y_true
    means = {name: np.mean([one.log_odds for one in some], axis=0) for name, some in films.items()}
    aurocs = {
        chosen: roc_auc_score(y, np.mean([means[name] for name in chosen], axis=0))
        for size in range(1, len(means) + 1)
        for chosen in combinations(means, size)
    }
    best = max(aurocs, key=lambda chosen: aurocs[chosen])
    stored = record("ensemble-by-validation.json")
    paths = {path for name in best for path in families[name]}
    assert {(ROOT / path).resolve() for path in stored["scores"]} == {p.resolve() for p in paths}
    found = averaged([ROOT / path for path in stored["scores"]])
    for part in ("val", "test"):
        assert stored["metrics"][part]["at_threshold"] == pytest.approx(found[part]), part
    six = aurocs["the CNN of 80 epochs", "on CPUs"]
    test = [found["test"][key] for key in ("auroc", "recall", "specificity")]
    text = " ".join((ROOT / "docs/ensembles.md").read_text(encoding="utf-8").split())
    (said,) = re.findall(
        r"Of all (\d+) sets of them validation is highest, (\S+), .*? \((\S+) the", text
    )
    assert agrees(" ".join(said), len(aurocs), found["val"]["auroc"], six)
    (said,) = re.findall(r"once: \*\*AUROC (\S+), recall (\S+), specificity (\S+)\*\*", text)
    assert agrees(" ".join(said), *test)
    text = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    (said,) = re.findall(
        r"would choose the \[twelve\]\(ensembles\.md#more-seeds\), (\S+) and (\S+)\. The", text
    )
    assert agrees(" ".join(said), found["test"]["auroc"], found["test"]["specificity"])
    text = (ROOT / "docs/decisions/0027-which-networks-are-averaged.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"384 px, (\S+) on validation \(the six (\S+)\)", text)
    assert agrees(" ".join(said), found["val"]["auroc"], six)
    (said,) = re.findall(r"test films AUROC (\S+), recall (\S+), specificity (\S+): no", text)
    assert agrees(" ".join(said), *test)


def test_the_ensembles_on_validation():
    rows = table("docs/ensembles.md", "| set | clean AUROC | shift mean |")
    lines = lines_of("validation-under-shift.jsonl")
    found = {line["bundle"]: line for line in lines}
    assert len(rows) == len(found) == 7
    keys = ("clean", "mean", "worst", "recall_mean", "recall_worst")
    keys += ("specificity_mean", "specificity_worst")
    for members, *cells in rows:
        line = found[" + ".join(MODELS[name] for name in members.split(" + "))]
        for cell, key in zip(cells, keys, strict=True):
            assert agrees(cell, line[key]), (members, key)


def test_the_ensemble_on_test():
    val, test = table("docs/ensembles.md", "| CNN + ViT-Ti/16 | AUROC |")
    found = record("ensemble-cnn-ti16.json")["metrics"]
    intervals = found["test"]["intervals"]
    for column, key in enumerate(("auroc", "recall", "specificity"), start=1):
        assert agrees(val[column], found["val"]["at_threshold"][key])
        interval = intervals["auroc"] if key == "auroc" else intervals["at_threshold"][key]
        assert agrees(test[column], found["test"]["at_threshold"][key], *interval), key
    text = (ROOT / "docs/ensembles.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"\[(\.\d+,\s+\.\d+ and \.\d+)\]\(\S+ensemble-cnn20-ti16", text)
    before = record("ensemble-cnn20-ti16.json")["metrics"]["test"]["at_threshold"]
    assert agrees(shown, *(before[key] for key in ("auroc", "recall", "specificity")))
