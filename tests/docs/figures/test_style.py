"""What the pages say of style, and of levers that were to weigh it out."""

import re

import numpy as np
from pages import ROOT, agrees, table
from records import lines_of, record, shifts

from pneumoscope.config import load_recipe


def test_what_style_alone_foretells():
    rows = table("docs/style.md", "| figures | AUROC, training folder |")
    found = {(line["films"], line["figures"]): line for line in lines_of("style.jsonl")}
    names = {"power by frequency": "spectrum", "all 27": "all"}
    assert len(rows) == 4
    for figures, *cells in rows:
        for films, (auroc, odd) in zip(
            ("training, by block", "test"), (cells[:2], cells[2:]), strict=True
        ):
            line = found[films, names.get(figures, figures)]
            assert agrees(auroc, line["auroc"]), (films, figures)
            assert agrees(odd, line["normal_like_pneumonia"], line["normal"]), (films, figures)
    text = (ROOT / "docs/style.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"leave ([\d,]+ of [\d,]+) normal", text)
    every = found["training, by block", "all"]
    assert agrees(shown, every["effective_normal"], every["normal"])


def test_what_weighing_style_away_costs():
    rows = table("docs/style.md", "| model | films drawn | val AUROC |")
    lines = lines_of("block-validation.jsonl")
    assert all(line["fold"] == 1 for line in lines)
    blocks = {(line["recipe"], *line["set"]): line for line in lines if "cpu" in line["device"]}
    by_style = ("training.class_weights=false", "training.style_sampler=true")
    short = "training.epochs=20"
    expected = (
        ("cnn-trials/trial-7", blocks[("cnn", short)]),
        ("style-trials/cnn", blocks[("cnn", *sorted((short, *by_style)))]),
        ("ti16-trials/noise-seed-0", None),
        ("style-trials/pretrained-ti16", blocks[("pretrained_ti16", *by_style)]),
    )
    for (_, drawn, val, style, *test), (name, block) in zip(rows, expected, strict=True):
        found = record(f"{name}.json")
        assert found["recipe"]["training"].get("style_sampler", False) == (drawn == "by style")
        assert agrees(val, found["metrics"]["val"]["at_threshold"]["auroc"]), name
        assert agrees(style, *([block["style_auroc"]] if block else [])), name
        for cell, key in zip(test, ("auroc", "recall", "specificity"), strict=True):
            assert agrees(cell, found["metrics"]["test"]["at_threshold"][key]), (name, key)


def test_what_style_dealt_out_gives():
    *each, before, after = table("docs/style.md", "| ViT-Ti/16 | val AUROC | test AUROC |")
    of_before, of_after = (
        [record(f"ti16-trials/{name}-{seed}.json")["metrics"] for seed in range(3)]
        for name in ("six-epochs-seed", "style-seed")
    )
    pairs = ((each[0], before, of_before), (each[1], after, of_after))
    for (_, *cells), (_, *together), runs in pairs:
        val = [run["val"]["at_threshold"]["auroc"] for run in runs]
        values = [val]
        for key in ("auroc", "recall", "specificity"):
            values.append([run["test"]["at_threshold"][key] for run in runs])
        for cell, mean, found in zip(cells, together, values, strict=True):
            assert agrees(cell, *found)
            assert agrees(mean, np.mean(found), np.std(found, ddof=1))
    changed = record("ti16-trials/style-seed-0-shifts.json")["changes"]
    rows = table("docs/style.md", "| changed test films: AUROC, recall, specificity")
    for name, shipped, dealt in rows:
        auroc, specificity = shifts("pretrained_ti16")[name]
        assert agrees(re.sub(r", \S+,", ",", shipped), auroc, specificity), name
        assert agrees(dealt, *(changed[name][k] for k in ("auroc", "recall", "specificity"))), name
    text = (ROOT / "docs/style.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"single bright letter flips (\d+) of 624", text)
    letters = (value["flipped"] for key, value in changed.items() if key.startswith("marker add"))
    assert int(shown) == max(letters)


def test_a_style_held_out():
    rows = table("docs/recipes.md", "| recipe | changed | min | AUROC | specificity, .95 |")
    lines = lines_of("style-holdout.jsonl")
    keys = ("minutes", "auroc", "specificity_0.95", "specificity_0.98")
    assert len(rows) == len(lines)
    for (recipe, changed, *cells, highest), line in zip(rows, lines, strict=True):
        load_recipe(line["recipe"], line["set"])
        assert recipe == f"`{line['recipe']}`"
        shown = re.findall(r"`([a-z_]+=[^`]+)`", changed)
        assert shown == [change.partition(".")[2] for change in line["set"]]
        for cell, key in zip(cells, keys, strict=True):
            assert (cell == "-") == (key not in line)
            assert cell == "-" or agrees(cell, line[key]), (changed, key)
        by_epoch = line.get("auroc_by_epoch")
        assert (highest == "-") == (by_epoch is None)
        if by_epoch:
            assert by_epoch[-1] == line["auroc"]
            assert agrees(highest, max(by_epoch), 1 + int(np.argmax(by_epoch)))
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    counts = tuple(lines[0][key] for key in ("num_odd", "num_normal", "num_sick"))
    (shown,) = re.findall(
        r"Here those (\d+) whose style .*?\((\d+) normal films\).*?\(([\d,]+) films\)",
        text,
        re.DOTALL,
    )
    assert agrees(" ".join(shown), *counts)
    styles = {(line["films"], line["figures"]): line["auroc"] for line in lines_of("style.jsonl")}
    (shown,) = re.findall(r"less well \(AUROC\s+(.*?)\), so features", text, re.DOTALL)
    of_both = (styles[films, "all"] for films in ("causes, by block", "training, by block"))
    assert agrees(re.sub("`.*`", "", shown), *of_both)
