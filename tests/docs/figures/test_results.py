"""What the shipped models came to, and how sure that is."""

import re

import numpy as np
from pages import ROOT, agrees, table
from records import MODELS, SEED_KEYS, metrics, record, seeds_of


def test_the_seeds_in_the_readme():
    *rows, probe, pair, six = table("README.md", "| at the recall-first threshold | AUROC")
    assert len(rows) == 4
    for model, *cells in rows:
        if model == "ViT-Ti/16, pretrained, three runs on a GPU":
            runs = [record(f"ti16-trials/gpu-seed-{n}.json")["metrics"] for n in range(3)]
            seeds = [run["test"]["at_threshold"] for run in runs]
        else:
            seeds = seeds_of(MODELS[model.removesuffix(", three seeds")])
        for cell, key in zip(cells, SEED_KEYS[:3], strict=True):
            values = [seed[key] for seed in seeds]
            assert agrees(cell, np.mean(values), np.std(values, ddof=1)), (model, key)
    for (_, *cells), name in (
        (probe, "ti16-trials/linear-probe.json"),
        (pair, "ensemble-cnn-ti16.json"),
        (six, "ensemble-three-seeds.json"),
    ):
        found = record(name)["metrics"]["test"]["at_threshold"]
        for cell, key in zip(cells, SEED_KEYS[:3], strict=True):
            assert agrees(cell, found[key]), (name, key)


SIX_NETWORKS = "CNN and ViT-Ti/16, three seeds each, stored scores averaged"


def test_what_was_reached():
    six = record("ensemble-three-seeds.json")["metrics"]["test"]["at_threshold"]
    rows = table("docs/accuracy.md", "| on the test films | aim | reached | met |")
    aims = []
    for what, aim, reached, met in rows:
        of, _, metric = what.partition(": ")
        name = "six" if of == SIX_NETWORKS else MODELS[of.removesuffix(", three seeds")]
        aims.append((name, metric, float(aim)))
        seeds = [six] if name == "six" else seeds_of(name)
        value = np.mean([seed[metric.lower()] for seed in seeds])
        assert agrees(reached, value), what
        assert met == ("yes" if value >= float(aim) else "no"), what
        assert min(seed["recall"] for seed in seeds) >= 0.98
    assert aims == [
        ("cnn", "AUROC", 0.985),
        ("cnn", "specificity", 0.85),
        ("scratch", "AUROC", 0.96),
        ("scratch", "AUROC", 0.975),
        ("scratch", "specificity", 0.75),
        ("pretrained_ti16", "AUROC", 0.987),
        ("pretrained_ti16", "specificity", 0.88),
        ("six", "AUROC", 0.991),
        ("six", "specificity", 0.9),
    ]
    text = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"- (\w+) of the (\w+) aims \[above\]", text)
    words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    missed = sum(met == "no" for *_, met in rows)
    assert [words.index(word.lower()) for word in said] == [missed, len(rows)]

    def mean(name: str, key: str) -> float:
        runs = (record(name.format(seed)) for seed in range(3))
        return float(np.mean([run["metrics"]["test"]["at_threshold"][key] for run in runs]))

    gpu, long = "ti16-trials/gpu-seed-{}.json", "cnn-trials/epochs-160-seed-{}.json"
    (said,) = re.findall(r"ViT-Ti/16 on a GPU came to \[(\S+ and \S+)\]", text)
    assert agrees(said, mean(gpu, "auroc"), mean(gpu, "specificity"))
    (said,) = re.findall(r"is against, came to a specificity of \[(\S+)\]", text)
    assert agrees(said, mean(long, "specificity"))
    pair = record("ensemble-cnn-ti16.json")["metrics"]["test"]["at_threshold"]
    (said,) = re.findall(r"one command makes\]\(ensembles\.md#\S+\): (\S+ and \S+)\.\n", text)
    assert agrees(said, pair["auroc"], pair["specificity"])


def test_the_study_that_was_done_again():
    again = record("full-study.json")
    text = (ROOT / "docs/reproducibility.md").read_text(encoding="utf-8")
    assert f"in {again['minutes']:.0f}\nminutes" in text
    for name in ("cnn", "scratch"):
        found = again["models"][name]
        assert found["weights_sha256"] == found["shipped_weights_sha256"]  # of that time
    (shown,) = re.findall(r"AUROC (\.\d+), recall (\.\d+) and specificity (\.\d+)", text)
    test = again["models"]["pretrained_ti16"]["test"]
    for cell, key in zip(shown, ("auroc", "recall", "specificity"), strict=True):
        assert agrees(cell, test[key]), key


def test_how_sure_the_figures_are():
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"to (\d) to (\d) percentage points downwards .* to (\d) to (\d)\.", text)
    for key, limits in (("recall", shown[:2]), ("specificity", shown[2:])):
        tests = [metrics(bundle)["test"] for bundle in MODELS.values()]
        below = [
            100 * (test["at_threshold"][key] - test["intervals"]["at_threshold"][key][0])
            for test in tests
        ]
        least, most = map(int, limits)
        assert least <= min(below), key
        assert most - 1 < max(below) <= most, key


def test_the_natural_frequencies():
    rows = table("docs/evaluation.md", "| model, on test films | of 100 films with pneumonia")
    assert len(rows) == 3
    for model, *cells in rows:
        found = metrics(MODELS[model])["test"]["at_threshold"]
        right = 5 * found["recall"]
        false = 95 * (1 - found["specificity"])
        assert agrees(cells[0], 100 * found["recall"]), model
        assert agrees(cells[1], 100 * (1 - found["specificity"])), model
        assert agrees(cells[2], right + false), model
        assert agrees(cells[3], right, 100 * right / (right + false)), model
