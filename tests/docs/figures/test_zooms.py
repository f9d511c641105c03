"""Answers averaged over zooms, or over a film and its mirror image."""

import re

from pages import ROOT, agrees, table
from records import cnn_of_40_epochs, lines_of, metrics, record

KEYS = ("clean", "mean", "worst", "recall_mean", "recall_worst")
KEYS += ("specificity_mean", "specificity_worst")
ZOOMED = {
    "CNN, zoomed": "cnn zoomed",
    "ViT-Ti/16, zoomed": "pretrained_ti16 zoomed",
    "ViT from scratch, zoomed": "scratch zoomed",
    "CNN + ViT-Ti/16, both zoomed": "cnn zoomed + pretrained_ti16 zoomed",
    "CNN zoomed + ViT-Ti/16": "cnn zoomed + pretrained_ti16",
}


def test_answers_averaged_over_zooms():
    found = {line["bundle"]: line for line in lines_of("zoom-average/under-shift.jsonl")}
    rows = table("docs/ensembles.md", "| | clean AUROC | shift mean | shift worst | recall: mean |")
    assert [row[0] for row in rows] == list(ZOOMED)
    for name, *cells in rows:
        for cell, key in zip(cells, KEYS, strict=True):
            assert agrees(cell, found[ZOOMED[name]][key]), (name, key)
    sets = [line for name, line in found.items() if " + " in name]
    assert max(sets, key=lambda line: line["mean"])["bundle"] == ZOOMED[rows[3][0]]

    page = "docs/decisions/0022-answers-averaged-over-zooms.md"
    names = {"CNN": "cnn", "ViT-Ti/16": "pretrained_ti16", "both": "cnn + pretrained_ti16"}
    for name, *cells in table(page, "| | AUROC: clean | mean | worst |"):
        plain, _, zooms = name.partition(", ")
        line = names[plain]
        if zooms:
            line = " + ".join(f"{one} zoomed" for one in line.split(" + "))
        for cell, key in zip(cells, KEYS, strict=True):
            assert agrees(cell, found[line][key]), (name, key)


def test_zooms_on_test():
    rows = table("docs/ensembles.md", "| | validation AUROC | test AUROC | recall | specificity |")
    names = ("cnn-zoomed", "ti16-zoomed", "cnn-ti16-zoomed")
    zoomed = [record(f"zoom-average/{name}.json") for name in names]
    plain = [cnn_of_40_epochs(), metrics("pretrained_ti16")]
    plain.append(record("ensemble-cnn40-ti16.json")["metrics"])
    runs = [run for i in range(3) for run in (plain[i], zoomed[i]["metrics"])]
    assert [row[0].endswith("zoomed") for row in rows] == [False, True] * 3
    for (name, val, *cells), run in zip(rows, runs, strict=True):
        assert agrees(val, run["val"]["at_threshold"]["auroc"]), name
        for cell, key in zip(cells, ("auroc", "recall", "specificity"), strict=True):
            assert agrees(cell, run["test"]["at_threshold"][key]), (name, key)

    text = (ROOT / "docs/ensembles.md").read_text(encoding="utf-8")
    (shown,) = re.findall(
        r"difference, DeLong: (.*?)\), and specificity is no higher", text, re.DOTALL
    )
    less = [run["test_auroc_less_that_without"] for run in zoomed]
    low, high = zip(*(one["interval"] for one in less), strict=True)
    found = [low[0], high[0], abs(less[1]["value"]), low[1], high[1]]
    assert agrees(shown, *found, abs(less[2]["value"]), low[2], high[2])
    text = (ROOT / "docs/decisions/0022-answers-averaged-over-zooms.md").read_text("utf-8")
    (shown,) = re.findall(r"lower in all three: (.*?) None of", text, re.DOTALL)
    shown = re.sub(r"ViT-Ti/16", "ViT", shown)
    pairs = [(zoomed[i]["metrics"], runs[2 * i]) for i in range(3)]
    at = [[run["test"]["at_threshold"] for run in pair] for pair in pairs]
    aurocs = [run["auroc"] for pair in at for run in pair]
    recalls = [pair[0]["recall"] for pair in at]
    specificities = [pair[i]["specificity"] for i in (0, 1) for pair in at]
    assert agrees(shown, *aurocs, min(recalls), max(recalls), *specificities)


def test_zooms_on_blocks():
    found = record("zoom-average/on-blocks.json")
    page = (ROOT / "docs/ensembles.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"CNN alone was tried, it comes to (.*?); \[", page)
    by_code = found["by_the_code"]
    keys = ("zooms", "as it is")
    expected = [by_code[f"{epochs} epochs"][key] for epochs in (40, 20) for key in keys]
    assert agrees(shown.replace("20 epochs", ""), *expected)
    text = (ROOT / "docs/decisions/0022-answers-averaged-over-zooms.md").read_text("utf-8")
    (shown,) = re.findall(r"alone was tried. It comes(.*?): so zooms were chosen", text, re.DOTALL)
    long, short = (found["by_trial_code"][f"{epochs} epochs"] for epochs in (40, 20))
    others = ("as it is", "mirror image", "grey levels", "shifted and turned", "all")
    expected = [long["zooms"], long["as it is"], short["zooms"], *(short[key] for key in others)]
    assert agrees(shown.replace("20 epochs", ""), *expected)
    assert short["zooms"] == max(short.values())
    (shown,) = re.findall(r"without margins, gains nothing \((.*?)\)", text)
    sizes = found["by_trial_code"]["40 epochs, at other sizes, without margins"].values()
    assert agrees(shown, min(sizes), max(sizes), long["as it is"])


def test_answers_averaged_over_a_film_and_its_mirror_image():
    names = {"CNN": "cnn", "ViT from scratch": "scratch", "ViT-Ti/16": "pretrained_ti16"}
    found = {line["bundle"]: line for line in lines_of("flip-average.jsonl")}
    rows = table("docs/ensembles.md", "| film, or film and mirror image | clean AUROC |")
    assert len(rows) == len(found)
    for name, *cells in rows:
        bundle, _, mirrored = name.partition(", and ")
        line = found[f"{names[bundle]} flipped" if mirrored else names[bundle]]
        for cell, key in zip(cells, KEYS, strict=True):
            assert agrees(cell, line[key]), (name, key)
    gained, recalls = (
        {name: found[f"{name} flipped"][key] - found[name][key] for name in names.values()}
        for key in ("mean", "recall_mean")
    )
    text = (ROOT / "docs/ensembles.md").read_text(encoding="utf-8")
    (most,) = re.findall(r"AUROC moves by (\.\d+) at most in the mean", text)
    assert agrees(most, max(map(abs, gained.values())))
    for by_name in (gained, recalls):
        assert by_name["cnn"] > 0 > by_name["pretrained_ti16"]
    assert gained["scratch"] > 0
    (said,) = re.findall(
        r"recall of (\.\d+) in the mean and (\.\d+) at the worst \((\S+) and (\S+) as it is\) at a "
        r"specificity of (\.\d+) \((\.\d+)\)",
        text,
    )
    plain, mirrored = found["cnn"], found["cnn flipped"]
    recalls = (one[f"recall_{how}"] for one in (mirrored, plain) for how in ("mean", "worst"))
    assert agrees(" ".join(said), *recalls, mirrored["specificity_mean"], plain["specificity_mean"])
