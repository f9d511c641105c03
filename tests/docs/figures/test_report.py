"""What the page on the report says was found on the shipped models, against their evidence."""

import csv
import json
import re
from functools import cache

import numpy as np
import pytest
from pages import ROOT, agrees, table
from records import RECORDS, changes, cnn_of_40_epochs, evidence, record, shifts

from pneumoscope.evaluation.operating_point import summarize_at_threshold
from pneumoscope.evaluation.shortcuts import measure_shortcuts
from pneumoscope.evaluation.subgroups import SERIES, Subgroups, measure_subgroups
from pneumoscope.labels import Label

MODELS = ("cnn", "scratch", "pretrained_ti16")
GRAINIEST = "noise: 30 levels"


@cache
def page() -> str:
    text = " ".join((ROOT / "docs/report.md").read_text(encoding="utf-8").split())
    return text[text.index("## What it found on the shipped models") :]


def said(pattern: str) -> tuple[str, ...]:
    """What stands in the groups of a pattern that the page holds once."""
    (found,) = re.findall(pattern, page())
    return (found,) if isinstance(found, str) else found


@cache
def groups(name: str) -> Subgroups:
    model = evidence(name)
    return measure_subgroups(model.films("test"), model.threshold, model.film_table)


def lost(name: str, change: str) -> float:
    """Specificity that a change costs a model."""
    clean, variant = changes(name)["clean"].specificity, changes(name)[change].specificity
    assert clean is not None
    assert variant is not None
    return clean - variant


def test_how_the_threshold_moves():
    shown = said(r"validation to test \(CNN (.*?), ViT from scratch (.*?), ViT-Ti/16 (.*?)\) while")
    for cell, name in zip(shown, MODELS, strict=True):
        val, test = (evidence(name).summaries(part)[1] for part in ("val", "test"))
        assert agrees(cell, val["specificity"], test["specificity"]), name
        assert test["recall"] > val["recall"]


def test_films_of_one_series():
    by_series = (
        said(r"specificity (\S+) against (\S+) \(CNN, p < (\S+)\)"),
        said(r"(\S+) against (\S+) \(scratch, p < (\S+)\)"),
        said(r"(\S+) against (\S+) \(Ti/16, p = (\S+)\)"),
    )
    for name, (second, first, p_value) in zip(MODELS, by_series, strict=True):
        of_series = {
            group.name: group.summary["specificity"]
            for group in groups(name).groups
            if group.attribute == SERIES
        }
        assert agrees(f"{second} {first}", of_series["NORMAL2"], of_series["IM"]), name
        by_label = {gap.label: gap for gap in groups(name).gaps if gap.attribute == SERIES}
        if name == "pretrained_ti16":
            assert agrees(p_value, by_label[Label.NORMAL].p_holm)
        else:
            assert by_label[Label.NORMAL].p_holm < float(p_value)
        assert by_label[Label.PNEUMONIA].p_holm > 0.05, "bacterial and viral films"


def test_films_by_brightness():
    clear = [
        (name, gap.attribute)
        for name in MODELS
        for gap in groups(name).gaps
        if gap.p_holm < 0.05 and gap.attribute != SERIES
    ]
    assert clear == [("scratch", "brightness"), ("pretrained_ti16", "brightness")]
    shown = said(r"quarters by up to (\S+) \(p = (\S+)\) and (\S+) \(p = (\S+)\); .*? has (\.\d+)")
    gaps = [
        gap
        for name, attribute in clear
        for gap in groups(name).gaps
        if (gap.attribute, gap.label) == (attribute, Label.NORMAL)
    ]
    *_, brightest = (g for g in groups("scratch").groups if g.attribute == "brightness")
    expected = [value for gap in gaps for value in (gap.largest, gap.p_holm)]
    assert agrees(" ".join(shown), *expected, brightest.summary["specificity"])


def test_what_contrast_and_sharpness_foretell_alone():
    model = evidence("cnn")
    assert model.film_table is not None
    found = {s.attribute: s.auroc for s in measure_shortcuts(model.films("test"), model.film_table)}
    alone = (max(found[name], 1 - found[name]) for name in ("contrast", "sharpness"))
    shown = said(r"AUROC of (\.\d+)\*\* on the test films, sharpness alone (\.\d+):")
    assert agrees(" ".join(shown), *alone)


def test_grain():
    shown = said(r"ViT-Ti/16 from AUROC (\S+) to (\S+) and its specificity from (\S+) to (\.\d+)\.")
    clean, grainy = (changes("pretrained_ti16")[name] for name in ("clean", "noise: 10 levels"))
    falls = clean.auroc, grainy.auroc, clean.specificity, grainy.specificity
    assert agrees(" ".join(shown), *falls)
    shown = said(r"calls every film \(AUROC (\S+); (\S+) at 30\)")
    worse = [changes("pretrained_ti16")[f"noise: {levels} levels"] for levels in (20, 30)]
    assert agrees(" ".join(shown), *(one.auroc for one in worse))
    assert [(one.recall, one.specificity) for one in worse] == [(1.0, 0.0)] * 2
    cleanest = {name: changes(name)["clean"].specificity for name in MODELS}
    assert max(cleanest, key=lambda name: cleanest[name]) == "pretrained_ti16"
    for name in ("cnn", "scratch"):
        fallen = [
            changes(name)["clean"].auroc - changes(name)[f"noise: {levels} levels"].auroc
            for levels in (10, 20, 30)
        ]
        assert max(fallen) < 0.005, "stands it, in AUROC"
    (shown,) = said(r"while its specificity falls by (\S+) at 30 levels")
    assert agrees(shown, lost("scratch", "noise: 30 levels"))


def test_crops_contrast_and_frames():
    crops = {name: lost(name, "cropped: 80 %") for name in MODELS}
    hard = {name: lost(name, "more contrast: 2.0") for name in MODELS}
    assert min(*crops.values(), *hard.values()) > 0.1, "hurt every model"
    assert min(crops, key=lambda name: crops[name]) == "cnn"
    assert max(hard, key=lambda name: hard[name]) == "cnn"
    shown = said(r"doubled contrast the most \((\S+); its AUROC falls to (\S+)\)")
    assert agrees(" ".join(shown), hard["cnn"], changes("cnn")["more contrast: 2.0"].auroc)
    (shown,) = said(r"spares the CNN and the ViT-Ti/16, and takes (\S+) from")
    assert agrees(shown, lost("scratch", "framed: 80 %"))
    assert max(lost("cnn", "framed: 80 %"), lost("pretrained_ti16", "framed: 80 %")) <= 0
    narrow = [[changes(name)[f"framed: {share} %"] for share in (95, 90)] for name in MODELS]
    shown = said(
        r"costs it a little: (\S+) at 95 %, (\S+) at 90 %, where the ViT-Ti/16 keeps (\S+) and "
        r"(\S+) and the CNN rises to (\S+) and (\S+), .*? falls from (\S+) to (\.\d+)\."
    )
    cnn, scratch, ti16 = ([one.specificity for one in both] for both in narrow)
    recalls = (changes("cnn")["clean"].recall, narrow[0][0].recall)
    assert agrees(" ".join(shown), *scratch, *ti16, *cnn, *recalls)
    (shown,) = said(r"Contrast cut to a fifth costs at most (\.\d+) \(ViT-Ti/16\)")
    fifth = {name: lost(name, "less contrast: 0.2") for name in MODELS}
    assert max(fifth.values()) == pytest.approx(fifth["pretrained_ti16"])
    assert agrees(shown, fifth["pretrained_ti16"])


def test_what_the_networks_before_did_in_a_frame_and_under_contrast():
    """Of the CNN of 40 and the ViT from scratch of 24 epochs, whose weights are not kept."""
    cnn = record("cnn-trials/epochs-40-seed-0-shifts.json")["changes"]
    scratch = record("scratch-trials/muon-seed-0-shifts.json")["changes"]
    of_run = record("cnn-trials/epochs-40-seed-0.json")["metrics"]["test"]["at_threshold"]
    assert agrees(f"{cnn['clean']['auroc']:.4f}", of_run["auroc"])
    of_run = record("scratch-trials/muon-seed-0.json")["metrics"]["test"]["at_threshold"]
    assert agrees(f"{scratch['clean']['auroc']:.4f}", of_run["auroc"])
    shown = said(
        r"The CNN of 40 epochs lost (\S+) in the wide frame, and stood doubled contrast "
        r"\((\S+), (\S+)\) and grain \((\S+) of specificity at 30 levels; (\S+) now\) better"
    )
    framed, hard, grain = (cnn[k] for k in ("framed: 80 %", "more contrast: 2.0", GRAINIEST))
    now = changes("cnn")[GRAINIEST].specificity
    expected = [cnn["clean"]["specificity"] - framed["specificity"], hard["auroc"]]
    expected += [hard["specificity"], grain["specificity"], now]
    assert agrees(" ".join(shown), *expected)
    assert lost("cnn", "framed: 80 %") < expected[0], "better framed"
    today = changes("cnn")["more contrast: 2.0"]
    assert today.auroc < hard["auroc"], "worse under doubled contrast"
    assert today.specificity < hard["specificity"]
    assert now < grain["specificity"], "worse in grain"
    (shown,) = said(r"of 24 epochs called nearly every film in a wide frame \((\S+)\)")
    assert agrees(shown, scratch["framed: 80 %"]["specificity"])


def test_what_changed_films_cost():
    rows = table("docs/report.md", "| AUROC, specificity at the frozen threshold |")
    assert rows == table("README.md", "| AUROC, specificity at the frozen threshold |")
    assert len(rows) == 9
    for change, *cells in rows:
        name = "clean" if change == "as they are" else change
        for bundle, cell in zip(("cnn", "scratch", "pretrained_ti16"), cells, strict=True):
            assert agrees(cell, *shifts(bundle)[name]), (change, bundle)


def test_what_a_crop_and_contrast_cost_at_the_least():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"costs each of them (\.\d+) of specificity and more", text)
    lost = [
        shifts(bundle)["clean"][1] - shifts(bundle)[change][1]
        for bundle in ("cnn", "scratch", "pretrained_ti16")
        for change in ("cropped: 80 %", "more contrast: 2.0")
    ]
    assert float(said) <= min(lost) < float(said) + 0.1


def test_side_letters():
    rows = table("docs/report.md", "| bundle | flipped by the worst single letter |")
    for bundle, worst, of_four, hidden, _ in rows:
        name = bundle.strip("`")
        folder = RECORDS / "evaluation" / name
        threshold = json.loads((folder / "model.json").read_text(encoding="utf-8"))["threshold"]
        with (folder / "shifts.csv").open(encoding="utf-8", newline="") as stream:
            films = list(csv.DictReader(stream))
        limit = np.log(threshold / (1 - threshold))
        changes = [name for name in films[0] if name != "path"]
        called = {k: np.array([float(film[k]) >= limit for film in films]) for k in changes}
        flips = {k: int((v != called["clean"]).sum()) for k, v in called.items()}
        letters = [k for k in flips if k.startswith("marker added")]
        most = max(flips[k] for k in letters)
        assert worst.startswith(f"{most} of 624 ({100 * most / 624:.1f} %)"), name
        by_any = np.any([called[k] != called["clean"] for k in letters], axis=0)
        assert of_four == str(int(by_any.sum())), name
        assert hidden == str(flips["markers hidden: upper corners"]), name


def test_what_the_leak_is_worth():
    rows = table("docs/report.md", "| CNN of 40 epochs, seed 0 | AUROC, validation |")
    folder = RECORDS / "stratified-split"
    threshold = json.loads((folder / "model.json").read_text(encoding="utf-8"))["threshold"]
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        films = list(csv.DictReader(stream))
    leaky = {}
    for part in ("val", "test"):
        mine = [film for film in films if film["split"] == part]
        y = [int(film["y_true"]) for film in mine]
        leaky[part] = summarize_at_threshold(y, [float(f["p_pneumonia"]) for f in mine], threshold)
    clean = {part: cnn_of_40_epochs()[part]["at_threshold"] for part in ("val", "test")}
    for (_, *cells), found in zip(rows, (clean, leaky), strict=True):
        expected = [
            found[part][key] for key in ("auroc", "specificity") for part in ("val", "test")
        ]
        for cell, value in zip(cells, expected, strict=True):
            assert agrees(cell, value), (cells, expected)
