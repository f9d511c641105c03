"""How the recipe of the ViT from scratch came about."""

import csv
import re

import numpy as np
from pages import ROOT, agrees, table
from records import (
    agrees_with_seeds,
    cnn_of_40_epochs,
    lines_of,
    metrics,
    record,
    seeds_of,
)

from pneumoscope.bundle import open_bundle, shipped_bundles


def test_how_the_scratch_vit_came_about():
    rows = table("docs/recipes.md", "| positions | films | learned by | taught by |")
    names = ("random-positions", "standardised-with-noise", "sines-and-cosines", "adamw-seed-0")
    names += ("mixed-films", "muon-seed-0")
    runs = [record(f"scratch-trials/{name}.json")["metrics"] for name in names]
    for (*_, val, auroc, recall, specificity), found in zip(
        rows, (*runs, metrics("scratch")), strict=True
    ):
        assert agrees(val, found["val"]["at_threshold"]["auroc"])
        if auroc == "not looked at":
            assert "test" not in found
            continue
        figures = found["test"]["at_threshold"]
        assert agrees(auroc, figures["auroc"])
        assert agrees(recall, figures["recall"])
        assert agrees(specificity, figures["specificity"])
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"test\s+films it stayed (\S+) behind, today's stays (\S+) behind", text)
    guide = cnn_of_40_epochs()["test"]["at_threshold"]["auroc"]
    students = (runs[3], metrics("scratch"))
    behind = (guide - student["test"]["at_threshold"]["auroc"] for student in students)
    assert agrees(" ".join(shown), *behind)


def test_twice_as_long_for_the_scratch_vit():
    """What decision 23 says, and the page on it."""
    teacher = "distillation.teacher=blocks/cnn20/bundle"
    by_set = {
        tuple(line["set"]): line
        for line in lines_of("block-validation.jsonl")
        if line["recipe"] == "scratch"
    }
    short, long = by_set[teacher, "training.epochs=24"], by_set[(teacher,)]
    path = "docs/decisions/0023-scratch-trains-for-48-epochs.md"
    rows = table(path, "| | 24 epochs | 48 epochs |")
    keys = (["auroc"], ["specificity", "specificity_bound"], ["log_loss"], ["style_auroc"])
    for (_, *cells), some in zip(rows, keys, strict=False):
        for cell, line in zip(cells, (short, long), strict=True):
            assert agrees(cell, *(line[key] for key in some))
    ways = ("scratch-trials/muon-seed-{}.json", "scratch-trials/epochs-48-seed-{}.json")
    runs = [[record(way.format(n))["metrics"] for n in (1, 2)] for way in ways]
    runs[0].insert(0, record("scratch-trials/muon-seed-0.json")["metrics"])
    runs[1].insert(0, metrics("scratch"))
    for cell, some in zip(rows[-1][1:], runs, strict=True):
        assert agrees(cell, *(run["val"]["at_threshold"]["auroc"] for run in some))
    text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
    (said,) = re.findall(r"mean validation AUROC rises by (\.\d+)", text)
    means = [np.mean([run["val"]["at_threshold"]["auroc"] for run in some]) for some in runs]
    assert agrees(said, means[1] - means[0])
    (said,) = re.findall(r"Test AUROC (\.\d+), (\.\d+) and (\.\d+): (\.\d+) ± (\.\d+)", text)
    aurocs = [run["test"]["at_threshold"]["auroc"] for run in runs[1]]
    assert agrees(" ".join(said), *aurocs, np.mean(aurocs), np.std(aurocs, ddof=1))
    (said,) = re.findall(r"reach for is missed by (\.\d+)", text)
    assert agrees(said, 0.975 - np.mean(aurocs))
    (said,) = re.findall(r"lowest of the three, and by (\.\d+) lower than the seed", text)
    assert min(aurocs) == aurocs[0]
    assert agrees(said, runs[0][0]["test"]["at_threshold"]["auroc"] - aurocs[0])
    page = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    (said,) = re.findall(
        r"in every column: (\S+) with 48 epochs, (\S+) with 24, a log loss of (\S+) for (\S+) ",
        page,
    )
    aurocs = (long["auroc"], short["auroc"])
    assert agrees(" ".join(said), *aurocs, long["log_loss"], short["log_loss"])


def test_what_a_step_of_muon_costs():
    every, avx2 = (line["seconds_a_step"] for line in lines_of("optimizer.jsonl"))
    text = (ROOT / "docs/decisions/0020-muon-and-mixed-films.md").read_text(encoding="utf-8")
    (shown,) = re.findall(
        r"a step of it takes (\S+) seconds, in float32 (\S+), in bfloat16 with units (\S+)\s", text
    )
    muons = avx2["torch.optim.Muon"], avx2["muon, float32"], every["muon, bfloat16"]
    assert agrees(" ".join(shown), *muons)


def test_what_standardising_costs_the_scratch_vit():
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    (specificity,) = re.findall(
        r"(\.\d+) in the mean, the first form (\.\d+), the fourth row (\.\d+)\), most of all\s"
        r"on films moved away \((\.\d+); the first form (\.\d+)\)",
        text,
    )
    (auroc,) = re.findall(r"AUROC under shift is a little higher \((\.\d+); (\.\d+),", text)
    before = record("scratch-trials/random-positions.json")
    rules = {(line["model"], line["rule"]): line for line in lines_of("threshold-transfer.jsonl")}
    now = rules["scratch", "frozen"]
    former = record("scratch-trials/adamw-seed-0.json")["threshold_transfer_frozen"]
    forms = [form["by_shift"] for form in (now, before["threshold_transfer_frozen"], former)]
    common = set.intersection(*map(set, forms)) - {"clean"}
    assert len(common) == 6
    means = [np.mean([form[shift][1] for shift in common]) for form in forms]
    assert agrees(" ".join(specificity), *means, *(form["far"][1] for form in forms[:2]))
    (today,) = (
        line for line in lines_of("validation-under-shift.jsonl") if line["bundle"] == "scratch"
    )
    former = before["validation_under_shift_quick"]
    versions = [
        key
        for key in today.keys() & former.keys()
        if key not in ("bundle", "model_id") and not key.endswith(("mean", "worst"))
    ]
    assert len(versions) == 7
    means = (np.mean([run[version] for version in versions]) for run in (today, former))
    assert agrees(" ".join(auroc), *means)


def test_the_seeds_of_the_scratch_vit():
    seeds = seeds_of("scratch")
    rows = table("docs/recipes.md", "| ViT from scratch | AUROC | recall | specificity")
    former = [record(f"scratch-trials/adamw-seed-{n}.json")["metrics"] for n in range(3)]
    agrees_with_seeds(*rows[:2], [run["test"]["at_threshold"] for run in former])
    shorter = [record(f"scratch-trials/muon-seed-{n}.json")["metrics"] for n in range(3)]
    agrees_with_seeds(*rows[2:4], [run["test"]["at_threshold"] for run in shorter])
    agrees_with_seeds(*rows[4:], seeds)
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"40 / 44 / 48 epochs: ([./ \d]+\d)\.", text)
    history = (shipped_bundles()["scratch"] / "history.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(history.splitlines()))
    assert agrees(shown, *(float(row["val_auroc"]) for row in rows))


def test_the_guide_of_today_for_twice_as_long():
    run = record("scratch-trials/epochs-96-seed-0.json")
    assert "test" not in run["metrics"], "looked at before three seeds are validated"
    assert run["teacher"] == open_bundle("cnn").model_id
    text = " ".join((ROOT / "docs/recipes.md").read_text(encoding="utf-8").split())
    (said,) = re.findall(
        r"seed 0 comes to (\S+) on validation \(the shipped one (\S+)\), .*? in (\S+) min", text
    )
    found = (
        scores["val"]["at_threshold"]["auroc"] for scores in (run["metrics"], metrics("scratch"))
    )
    assert agrees(" ".join(said), *found, run["train_time_s"] / 60)
    lines = {tuple(line["set"]): line for line in lines_of("block-validation.jsonl")}
    guide = "distillation.teacher=blocks/cnn80"
    long, short = lines[guide, "training.epochs=96"], lines[(guide,)]
    (said,) = re.findall(r"blocks are for it too \(\[table\]\(\S+\): (\S+), (\S+) with 48\)", text)
    assert agrees(" ".join(said), long["auroc"], short["auroc"])
    rule = (ROOT / "docs/decisions/0028-a-rule-for-96-epochs.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"every column \((.*?; .*?); one run each\)", rule)
    keys = ("auroc", "log_loss", "specificity", "specificity_bound")
    assert agrees(said, *(line[key] for line in (long, short) for key in keys))
    (said,) = re.findall(r"the same seed of 48 epochs \((.*?)\)", rule)
    others = (record(f"scratch-trials/epochs-48-seed-{n}.json")["metrics"] for n in (1, 2))
    now = [scores["val"]["at_threshold"]["auroc"] for scores in (metrics("scratch"), *others)]
    assert agrees(said, *now)
    (said,) = re.findall(
        r"seed 0 stands at (\S+) on validation, .*? stands at (\.\d+)", " ".join(rule.split())
    )
    assert agrees(" ".join(said), run["metrics"]["val"]["at_threshold"]["auroc"], now[0])
