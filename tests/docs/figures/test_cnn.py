"""How the CNN's recipe came about: its trials, its seeds, its length."""

import hashlib
import re
from functools import partial

import numpy as np
from pages import ROOT, agrees, table
from records import (
    RECORDS,
    agrees_with_seeds,
    cnn_of_40_epochs,
    lines_of,
    metrics,
    record,
    seeds_of,
    shifts,
)


def test_the_second_task_in_full():
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    with_it, without = re.findall(
        r"looked at: validation (.*?), where the CNN of 40 epochs,.*? has\s+(.*?) \(\[record",
        text,
        re.DOTALL,
    )[0]
    found = record("cnn-trials/second-task.json")
    assert found["recipe"]["training"]["cause_weight"] == 0.5
    for shown, scores in ((with_it, found["metrics"]), (without, cnn_of_40_epochs())):
        test = scores["test"]["at_threshold"]
        keys = ("auroc", "recall", "specificity")
        val = scores["val"]["at_threshold"]["auroc"]
        assert agrees(shown, val, *(test[key] for key in keys))


def test_eight_times_as_long_for_the_cnn():
    text = " ".join((ROOT / "docs/accuracy.md").read_text(encoding="utf-8").split())
    (said,) = re.findall(r"\(160 epochs\) is no better (.*?)\. One run", text)
    lines = {tuple(line["set"]): line for line in lines_of("block-validation.jsonl")}
    long, now = (
        lines[("training.epochs=160",)],
        next(
            line
            for line in lines_of("block-validation.jsonl")
            if line["recipe"] == "cnn" and not line["set"]
        ),
    )
    expected = [long["auroc"], long["log_loss"]]
    for one in (long, now):
        expected += [one["specificity"], one["specificity_bound"]]
    expected += [long["style_auroc"], now["style_auroc"]]
    assert agrees(said, *expected)


def test_four_times_as_long_for_the_cnn():
    """What decision 24 says."""
    by_set = {
        tuple(line["set"]): line
        for line in reversed(lines_of("block-validation.jsonl"))  # of twins the first: on CPUs
        if line["recipe"] == "cnn"
    }
    short, long = by_set[("training.epochs=40",)], by_set[()]
    path = "docs/decisions/0024-the-cnn-trains-for-80-epochs.md"
    rows = table(path, "| | 40 epochs | 80 epochs |")
    keys = (["auroc"], ["specificity", "specificity_bound"], ["log_loss"], ["style_auroc"])
    for (_, *cells), some in zip(rows, keys, strict=True):
        for cell, line in zip(cells, (short, long), strict=True):
            assert agrees(cell, *(line[key] for key in some))
    text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
    (said,) = re.findall(r"Test AUROC (\.\d+), (\.\d+) and (\.\d+): (\.\d+) ± (\.\d+)", text)
    aurocs = [seed["auroc"] for seed in seeds_of("cnn")]
    assert agrees(" ".join(said), *aurocs, np.mean(aurocs), np.std(aurocs, ddof=1))
    (said,) = re.findall(r"recall (\.\d+ ± \.\d+) at a specificity of (\.\d+ ± \.\d+) \(", text)
    found = [[seed[key] for seed in seeds_of("cnn")] for key in ("recall", "specificity")]
    expected = [f(values) for values in found for f in (np.mean, partial(np.std, ddof=1))]
    assert agrees(" ".join(said), *expected)
    today, before = (
        next(line for line in lines_of(name) if line["bundle"] == "cnn")
        for name in ("validation-under-shift.jsonl", "zoom-average/under-shift.jsonl")
    )
    (said,) = re.findall(
        r"choose \((\S+) in the mean, (\S+) at the worst; (\S+) and (\S+) before\) and loses "
        r"recall \((\S+) and (\S+); (\S+) and (\S+)\)",
        text,
    )
    keys = ("specificity_mean", "specificity_worst"), ("recall_mean", "recall_worst")
    assert agrees(
        " ".join(said), *(line[key] for pair in keys for line in (today, before) for key in pair)
    )
    (said,) = re.findall(r"keeps (\.\d+) of specificity on the test films", text)
    assert agrees(said, shifts("cnn")["framed: 80 %"][1])
    (said,) = re.findall(r"contrast doubled (\.\d+),", text)
    assert agrees(said, shifts("cnn")["more contrast: 2.0"][1])
    (said,) = re.findall(
        r"a test AUROC of (\.\d+), a recall of (\.\d+) and a specificity of (\.\d+) \(", text
    )
    pair = record("ensemble-cnn-ti16.json")["metrics"]["test"]["at_threshold"]
    assert agrees(" ".join(said), *(pair[key] for key in ("auroc", "recall", "specificity")))


def test_the_trials_of_the_cnn():
    rows = table("docs/recipes.md", "| trial | changed against the one above |")
    assert len(rows) == 7
    for trial, _, px, epochs, minutes, val, _, _, test in rows:
        found = record(f"cnn-trials/trial-{trial}.json")
        assert agrees(px, found["recipe"]["model"]["img_size"])
        assert agrees(epochs, found["recipe"]["training"]["epochs"])
        assert agrees(minutes, found["train_time_s"] / 60), trial
        assert agrees(val, found["metrics"]["val"]["at_threshold"]["auroc"]), trial
        assert agrees(test, found["metrics"]["test"]["at_threshold"]["auroc"]), trial


def test_the_seeds_of_the_cnn():
    names = ("trial-7", "seed-1", "seed-2")
    short = [record(f"cnn-trials/{name}.json")["metrics"]["test"]["at_threshold"] for name in names]
    rows = table("docs/recipes.md", "| CNN | AUROC | recall | specificity")
    longer = [record(f"cnn-trials/epochs-40-seed-{n}.json")["metrics"] for n in range(3)]
    # "20 epochs" and so on stand in the first column alone.
    agrees_with_seeds(*rows[:2], short)
    agrees_with_seeds(*rows[2:4], [run["test"]["at_threshold"] for run in longer])
    agrees_with_seeds(*rows[4:6], seeds_of("cnn"))


def test_the_cnn_of_160_epochs():
    rows = table("docs/recipes.md", "| CNN | AUROC | recall | specificity")
    longest = [record(f"cnn-trials/epochs-160-seed-{n}.json") for n in range(3)]
    agrees_with_seeds(*rows[6:], [run["metrics"]["test"]["at_threshold"] for run in longest])
    text = " ".join((ROOT / "docs/recipes.md").read_text(encoding="utf-8").split())
    (said,) = re.findall(r"validated first: (.*?), where 80 epochs gave (.*?) \(on CPUs\)", text)
    (third,) = re.findall(r"being trained, was validated \((\S+; \S+)\) and looked at", text)
    now = [
        metrics("cnn"),
        *(record(f"cnn-trials/epochs-80-seed-{n}.json")["metrics"] for n in (1, 2)),
    ]
    vals = [
        [run["val"]["at_threshold"]["auroc"] for run in runs]
        for runs in ([run["metrics"] for run in longest], now)
    ]
    assert all(long < short for long, short in zip(*vals, strict=True))
    firsts = [*vals[0][1:], *vals[1][1:]]
    assert agrees(" ".join(said), *firsts)
    assert agrees(third, vals[0][0], vals[1][0])
    decision = "docs/decisions/0026-longer-still-and-other-sides.md"
    first, *_ = table(decision, "| | as it is | changed |")
    assert agrees(" ".join(first[1:]), *vals[1][1:], *vals[0][1:])
    shifted = longest[1]["validation_under_shift_quick"]
    shipped = next(
        line for line in lines_of("validation-under-shift.jsonl") if line["bundle"] == "cnn"
    )
    for (_, *cells), line in zip(
        table(decision, "| | AUROC: mean")[:2], (shipped, shifted), strict=True
    ):
        for cell, of in zip(cells, ("", "recall_", "specificity_"), strict=True):
            assert agrees(cell, line[f"{of}mean"], line[f"{of}worst"])
    tests = [run["metrics"]["test"]["at_threshold"] for run in longest]
    long, now = (
        np.array([seed["specificity"] for seed in runs]) for runs in (tests, seeds_of("cnn"))
    )
    gain, error = long.mean() - now.mean(), np.sqrt((long.var(ddof=1) + now.var(ddof=1)) / 3)
    (said,) = re.findall(r"at a specificity higher by (\S+) \(standard error (\S+)\)\.", text)
    assert agrees(" ".join(said), gain, error)
    came = " ".join((ROOT / decision).read_text(encoding="utf-8").split())
    (said,) = re.findall(
        r"160 epochs comes to (\S+ ± \S+), .*? of (.*?) \((.*?); the difference is (\S+), its "
        r"standard error (\S+)\)",
        came,
    )
    aurocs = [seed["auroc"] for seed in tests]
    spreads = [(np.mean(v), np.std(v, ddof=1)) for v in (aurocs, long, now)]
    assert agrees(" ".join(said), *np.concatenate(spreads), gain, error)
    (said,) = re.findall(r"validated; it stands at (\S+) \((\S+) with 80\)", came)
    assert agrees(" ".join(said), vals[0][0], vals[1][0])
    peaks = [max(run["history"], key=lambda row: row["val_auroc"]) for run in longest]
    (said,) = re.findall(r"highest at epochs (.*?) of seeds 0, 1 and 2 \((.*?)\) and falls", text)
    assert agrees(said[0], *(row["epoch"] for row in peaks))
    assert agrees(said[1], *(row["val_auroc"] for row in peaks))
    (said,) = re.findall(r"GPU again \((\S+) minutes each, .*? cores \((\d+) minutes", text)
    gpu = np.mean([run["train_time_s"] / 60 for run in longest[1:]])
    assert agrees(" ".join(said), gpu, longest[0]["train_time_s"] / 60)


def test_the_cnn_that_was_trained_twice():
    found = record("cnn-twice.json")
    for key in ("weights", "predictions"):
        assert found[f"again_{key}_sha256"] == found[f"{key}_sha256"]
    scores = (RECORDS / "cnn-trials/epochs-40-seed-0.predictions.csv").read_bytes()
    assert hashlib.sha256(scores).hexdigest() == found["predictions_sha256"]
    text = (ROOT / "docs/reproducibility.md").read_text(encoding="utf-8")
    assert f"in {found['train_time_s'] / 60:.0f} minutes on two CPU cores and once more" in text
