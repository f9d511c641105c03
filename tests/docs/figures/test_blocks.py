"""The table of levers on blocks held out, and what is said of its rows."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from lever_table import LEVERS
from pages import ROOT, agrees, table
from records import lines_of, record

from pneumoscope.config import load_recipe
from pneumoscope.models.build import num_parameters
from pneumoscope.models.cnn import ResNet


def test_every_row_on_blocks_can_be_run_again():
    for line in lines_of("block-validation.jsonl"):
        load_recipe(line["recipe"], line["set"])


FORMER_SCRATCH = (
    "augmentation.mixup_alpha=0.0",
    "distillation.logit_weight=0.5",
    "training.lr=0.0007",
    "training.optimizer=adamw",
)
"""What *former* means in the table of levers: the recipe `scratch` of before, against today's."""


def test_one_lever_at_a_time():
    rows = table("docs/accuracy.md", "| recipe | changed | on | min |")
    lines = lines_of("block-validation.jsonl")
    keys = ("minutes", "auroc", "specificity", "specificity_bound", "log_loss", "style_auroc")
    assert len(rows) == len(lines)
    text = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"\*former\* stands for (.*?), the recipe", text, re.DOTALL)
    former = {change.partition(".")[2] for change in FORMER_SCRATCH}
    assert set(re.findall(r"`([^`]+)`", said)) == former
    above = ""
    for (recipe, changed, on, *cells), line in zip(rows, lines, strict=True):
        assert recipe == f"`{line['recipe']}`"
        assert on.rstrip("¹²") == ("GPU" if "cuda" in line["device"] else "CPU")
        above = f"{above} {changed}" if changed.startswith("the same") else changed
        shown = set(re.findall(r"`([a-z_]+=[^`]*)`", above))
        if "*former*" in changed:
            shown |= former
        changes = {change.partition(".")[2] for change in line["set"]}
        assert shown == {change for change in changes if not change.startswith("teacher=blocks")}
        assert ("taught by" in changed) == (len(shown) < len(changes))
        for cell, key in zip(cells, keys, strict=True):
            assert agrees(cell, line[key]), (recipe, changed, key)


@pytest.mark.parametrize("lever", LEVERS, ids=lambda lever: f"{lever.name}-{lever.recipe}")
def test_what_the_table_of_levers_says_is_in_the_recipes(lever):
    if lever.on is None or lever.off is None:
        assert "](" in lever.outcome, "what was not run on blocks names where it was"
        return
    section, _, key = lever.field.split(", ")[0].partition(".")

    def value(recipe, changes):
        found = load_recipe(recipe, list(changes)).model_dump()[section][key]
        return bool(found) if key == "teacher" else found  # which one differs from run to run

    on, off = (value(lever.recipe, changes) for changes in (lever.on, lever.off))
    assert on != off
    used = re.match(r"(\*\*in all\*\*|in both ViTs|in )", lever.outcome)
    if used is None:
        assert value(lever.recipe, ()) == off
        return
    assert value(lever.recipe, ()) == on
    others = {"**in all**": ("cnn", "scratch", "pretrained_ti16")}
    others["in both ViTs"] = others["**in all**"][1:]
    for recipe in others.get(used[0], ()):
        assert value(recipe, ()) != off, recipe


@pytest.mark.parametrize("lever", LEVERS, ids=lambda lever: f"{lever.name}-{lever.recipe}")
def test_two_runs_with_and_without_a_lever_differ_in_the_fields_that_are_named(lever):
    named, section = set(), ""
    for field in lever.field.split(", "):
        section = field.rpartition(".")[0] or section
        named.add(f"{section}.{field.rpartition('.')[2]}")
    if lever.on is not None:
        changed = {change.partition("=")[0] for change in set(lever.on) ^ set(lever.off)}
        assert changed == named


ATTENTION_WRITTEN_OUT = "3c757abb18a92dae92fd961a4230f1fe183d24df"


PATCHES_NOT_PROJECTED = "02bae3fc6933ddaa3897df4da9e6689756f633ee"


def test_which_rows_on_blocks_are_of_earlier_code():
    rows = table("docs/accuracy.md", "| recipe | changed | on | min |")
    lines = lines_of("block-validation.jsonl")
    for (recipe, changed, on, *_), line in zip(rows, lines, strict=True):
        commit = line["code"]["commit"]
        if line["recipe"] == "cnn":
            mark = ""
        elif commit is None:  # trial code, of the time between the two
            mark = "²"
        elif not is_ancestor(ATTENTION_WRITTEN_OUT, commit):
            mark = "¹"
        else:
            mark = "" if is_ancestor(PATCHES_NOT_PROJECTED, commit) else "²"
        assert on[3:] == mark, (recipe, changed)


def is_ancestor(before: str, after: str) -> bool:
    """Whether one commit is part of another's history."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("the order of commits is known to git alone")
    asked = [git, "merge-base", "--is-ancestor", before, after]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, check=False).returncode
    if found not in (0, 1):
        pytest.skip("this copy of the repository has no history")
    return found == 0


def test_what_is_said_of_patches_by_degrees_and_of_a_row_that_was_repeated():
    text = " ".join((ROOT / "docs/accuracy.md").read_text(encoding="utf-8").split())
    found = {
        tuple(change for change in line["set"] if "teacher" not in change): line
        for line in reversed(lines_of("block-validation.jsonl"))  # of twins the first: today's
        if line["recipe"] == "scratch"
    }
    first, last = "model.patch_drop_rate=0.75", "training.last_patch_drop_rate=0.4"
    short = "training.epochs=12"
    runs = (found[first, short, last], found[(short,)])
    (said,) = re.findall(
        r"throughout: (\S+) and (\S+) \(one run each\), in (\S+) and (\S+) minutes", text
    )
    assert agrees(" ".join(said), *(run[k] for k in ("auroc", "minutes") for run in runs))
    (said,) = re.findall(
        r"repeated by today's, in (\S+) with other work beside: (\.\d+) where", text
    )
    again = found[short, "training.lr=0.0015"]
    assert agrees(" ".join(said), again["minutes"], again["auroc"])


def test_larger_cnns_on_blocks():
    text = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    shown = re.findall(
        r"comes to (\.\d+) at a log loss of (\.\d+), with twice the blocks .*? "
        r"to (\.\d+) at (\.\d+)",
        text,
    )
    trials = lines_of("cnn-trials/sizes-on-blocks.jsonl")
    assert agrees(" ".join(*shown), *(t[key] for t in trials for key in ("auroc", "log_loss")))
    (depths,) = re.findall(r"twice the blocks \((\d), (\d), (\d) and (\d)\)", text)
    assert trials[1]["depths"] == [int(depth) for depth in depths]
    (shown,) = re.findall(r"times as wide \((\S+) M parameters\)", text)
    wide = ResNet(widths=tuple(trials[0]["widths"]), depths=tuple(trials[0]["depths"]))
    assert agrees(shown, num_parameters(wide) / 1e6)


def test_sharpness_aware_minimisation_on_blocks():
    text = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    (shown,) = re.findall(
        r"goes through the network twice a step and comes to (\S+) at a log loss of (\.\d+) "
        r"\(by trial code before: (\S+) and (\.\d+)\)",
        text,
    )
    trial = record("cnn-trials/sharpness-on-blocks.json")
    assert trial["set"] == ["training.epochs=20"]
    runs = (trial, trial["by_trial_code_before"])
    assert agrees(" ".join(shown), *(run[key] for run in runs for key in ("auroc", "log_loss")))
    alone = [
        line["auroc"]
        for line in lines_of("block-validation.jsonl")
        if line["recipe"] == "cnn"
        and line["set"] in (trial["set"], [*trial["set"], "training.seed=1"])
    ]
    assert len(alone) == 2
    assert min(alone) <= trial["auroc"] <= max(alone)


def test_muon_and_mixed_films_on_blocks():
    """What decision 20 says, and the page on mixed films."""
    lines = [line for line in lines_of("block-validation.jsonl") if line["recipe"] == "scratch"]
    blocks = {
        tuple(change for change in line["set"] if "teacher=blocks/cnn20" not in change): line
        for line in lines
    }
    short, slow = "training.epochs=12", "training.lr=0.0007"
    plain = ("augmentation.mixup_alpha=0.0", "distillation.logit_weight=0.5")
    ways = (
        (*plain, short, slow, "training.optimizer=adamw"),
        (short, slow, "training.optimizer=adamw"),
        (*plain, short, slow),
        (short, slow),
        (short, "training.lr=0.0015"),
        (short,),
    )
    found = [blocks[way] for way in ways]
    (guide,) = (
        line
        for line in lines_of("block-validation.jsonl")
        if line["recipe"] == "cnn" and line["set"] == ["training.epochs=20"]
    )
    text = (ROOT / "docs/decisions/0020-muon-and-mixed-films.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"as guide: AUROC (.*?) The last is", text, re.DOTALL)
    assert agrees(
        re.sub(r"[\d.]+e-\d", "", shown),
        *(line["auroc"] for line in found),
    )
    alone = blocks["distillation.teacher=", short]
    page = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    for key, words in (
        ("auroc", "AUROC in today's form"),
        ("style_auroc", "where style is weighed out"),
    ):
        (shown,) = re.findall(rf"(\.\d{{3}})(?: of)? {words} \((\.\d+; \.\d+)", page)
        worth = found[-1][key] - alone[key]
        assert agrees(" ".join(shown), worth, found[-1][key], alone[key]), key
    by_vit = blocks["distillation.teacher=blocks/ti16/bundle", short]
    (vit,) = (
        line
        for line in lines_of("block-validation.jsonl")
        if line["recipe"] == "pretrained_ti16" and not line["set"] and "cpu" in line["device"]
    )
    (shown,) = re.findall(r"stands higher itself \((\S+; \S+)\), .* comes to (\.\d+) in", page)
    assert agrees(" ".join(shown), *(line["auroc"] for line in (vit, guide, by_vit)))
    (shown,) = re.findall(r"own level \((\S+)\), .* log loss falls from (\S+) to (\S+)\. On", text)
    assert agrees(" ".join(shown), guide["auroc"], found[0]["log_loss"], found[-1]["log_loss"])
    (shown,) = re.findall(r"validation, 24 epochs: (\S+), before (\S+)\. AdamW", text)
    trained = (record(f"scratch-trials/{way}-seed-0.json")["metrics"] for way in ("muon", "adamw"))
    assert agrees(" ".join(shown), *(run["val"]["at_threshold"]["auroc"] for run in trained))
    for words in (page, text):
        (shown,) = re.findall(
            r"AdamW does\s+not bear the (?:rate of 3e-3|highest)\W+(\.\d+)", words
        )
        assert agrees(shown, blocks[short, "training.optimizer=adamw"]["auroc"])
    (shown,) = re.findall(r"chance in AUROC \((\S+\s+for \S+, \S+ for \S+)\) and by more", page)
    (style,) = re.findall(r"style is weighed out \((\S+ for \S+, \S+ for \S+)\)", page)
    adamw = "training.optimizer=adamw"
    long = "training.epochs=24"
    pairs = [found[1], found[0], blocks[long, slow, adamw], blocks[(*plain, long, slow, adamw)]]
    assert agrees(shown, *(line["auroc"] for line in pairs))
    assert agrees(style, *(line["style_auroc"] for line in pairs))


def test_sides_of_the_vit_ti16_and_today_s_guide_on_blocks():
    lines = {
        (line["recipe"], *line["set"]): line
        for line in lines_of("block-validation.jsonl")
        if "cuda" in line["device"]
    }
    by_side = {
        (side, *seed): lines["pretrained_ti16", f"model.img_size={side}", *seed]
        for side in (128, 160, 192, 384)
        for seed in ([[], ["training.seed=1"], ["training.seed=2"]] if side == 160 else [[]])
    }
    at_160 = [line for (side, *_), line in by_side.items() if side == 160]
    at_224 = [
        line
        for line in lines_of("block-validation.jsonl")
        if line["recipe"] == "pretrained_ti16" and line["set"] in ([], ["training.seed=1"])
    ]
    assert len(at_160) == len(at_224) == 3
    for key in ("specificity", "specificity_bound", "style_auroc"):
        assert min(line[key] for line in at_160) > max(line[key] for line in at_224), key
    assert max(line["log_loss"] for line in at_160) < min(line["log_loss"] for line in at_224)
    text = " ".join((ROOT / "docs/accuracy.md").read_text(encoding="utf-8").split())
    (said,) = re.findall(r"half of the patches, AUROC is as high \((.*?)\)", text)
    assert agrees(said, *(line["auroc"] for line in at_160))
    (said,) = re.findall(r"log loss most of all \((\S+) in the mean of three runs; (\S+) at", text)
    assert agrees(
        " ".join(said),
        *(np.mean([line["log_loss"] for line in found]) for found in (at_160, at_224)),
    )
    (said,) = re.findall(r"and 128 px come to (\S+)\. ", text)
    assert agrees(said, by_side[128,]["auroc"])
    others = [line["auroc"] for line in at_224]
    assert min(others) <= by_side[192,]["auroc"] <= max(others), "at 192 px as at 224"
    decision = (ROOT / "docs/decisions/0026-longer-still-and-other-sides.md").read_text(
        encoding="utf-8"
    )
    (said,) = re.findall(r"at 160 px comes to (.*?) at a log loss of (.*?) \(three", decision)
    for shown, key in zip(said, ("auroc", "log_loss"), strict=True):
        assert agrees(shown, *(line[key] for line in at_160))
    (said,) = re.findall(r"as it is (\S+, \S+ and \S+) at (\S+ to \S+)\), at 128", decision)
    losses = [line["log_loss"] for line in at_224]
    assert agrees(said[0], *others)
    assert agrees(said[1], min(losses), max(losses))
    (said,) = re.findall(r"at 128 px to (\S+), at 192 to (\S+), at 384 to (\.\d+)", decision)
    assert agrees(" ".join(said), *(by_side[side,]["auroc"] for side in (128, 192, 384)))
    guides = {
        epochs: lines["scratch", f"distillation.teacher=blocks/cnn{epochs}{bundle}"]
        for epochs, bundle in ((20, "/bundle"), (80, ""), (160, ""))
    }
    longer = lines["scratch", "distillation.teacher=blocks/cnn80", "training.epochs=96"]
    (said,) = re.findall(
        r"as its guide, comes to (\S+) at a log loss of (\S+) \(96 epochs; (\S+) and (\S+) with 48",
        text,
    )
    assert agrees(
        " ".join(said), *(line[k] for line in (longer, guides[80]) for k in ("auroc", "log_loss"))
    )
    (said,) = re.findall(r"shows in the log loss \((.*?)\), less in AUROC \((.*?)\)\. One", text)
    for shown, key in zip(said, ("log_loss", "auroc"), strict=True):
        assert agrees(shown, *(guides[epochs][key] for epochs in (80, 160, 20)))


def test_the_cnn_by_epoch_and_taught_on_blocks():
    text = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    by_epoch = record("cnn-trials/curve-on-blocks.json")["auroc_by_epoch"]
    (shown,) = re.findall(
        r"with `epochs=40`\s+the blocks show (.*?): the usual validation", text, re.DOTALL
    )
    pairs = re.findall(r"(\.\d{4}) at (?:epoch )?(\d+)", shown)
    assert len(pairs) == 4
    for auroc, epoch in pairs:
        assert agrees(auroc, by_epoch[int(epoch) - 1])
    trial = record("cnn-trials/taught-by-the-pair-on-blocks.json")
    (shown,) = re.findall(
        r"together \((\.\d+) there\), .*? comes to (\.\d+) at a log loss of\s+(\.\d+)", text
    )
    expected = (trial["auroc_of_the_teacher"], trial["auroc"], trial["log_loss"])
    assert agrees(" ".join(shown), *expected)
