"""How the recipe of the pretrained ViT-Ti/16 came about."""

import re
from statistics import stdev

import numpy as np
from pages import ROOT, agrees, table
from records import SEED_KEYS, agrees_with_seeds, lines_of, record, seeds_of

from pneumoscope.config import load_recipe


def test_the_trials_of_the_vit_ti16():
    rows = table("docs/recipes.md", "| trial | changed against the chosen one |")
    records = {
        "linear probe": "linear-probe",
        "chosen": "six-epochs-seed-0",
        "longer": "twelve-epochs",
        "guided": "distilled-from-the-cnn",
    }
    checked = 0
    for trial, _, minutes, val, clean, mean, worst, *test in rows:
        if trial not in records:
            continue  # stopped, or no run of its own
        found = record(f"ti16-trials/{records[trial]}.json")
        shifted = found["validation_under_shift_quick"]
        assert agrees(minutes, found["train_time_s"] / 60), trial
        assert agrees(val, found["metrics"]["val"]["at_threshold"]["auroc"]), trial
        assert agrees(clean, shifted["clean"]), trial
        assert agrees(mean, shifted["mean"]), trial
        assert agrees(worst, shifted["worst"]), trial
        figures = found["metrics"]["test"]["at_threshold"]
        for cell, key in zip(test, ("auroc", "recall", "specificity"), strict=True):
            assert agrees(cell, figures[key]), (trial, key)
        checked += 1
    assert checked == len(records)


def test_the_vit_taught_by_the_cnn():
    runs = {
        name: [record(f"ti16-trials/{file}-seed-{seed}.json") for seed in range(3)]
        for name, file in (("by labels", "six-epochs"), ("taught by the CNN", "taught"))
    }
    (labels,) = (
        line for line in lines_of("ti16-grain.jsonl") if line["weights"] == "shipped, seed 0"
    )
    taught = runs["taught by the CNN"][0]["validation_under_shift_quick"]
    keys = ("clean", "mean", "worst", "recall_mean", "recall_worst")
    keys += ("specificity_mean", "specificity_worst")
    rows = table("docs/recipes.md", "| seed 0 | clean | mean | worst | recall: mean |")
    for (name, *cells), line in zip(rows, (labels, taught), strict=True):
        for cell, key in zip(cells, keys, strict=True):
            assert agrees(cell, line[key]), (name, key)

    *each, before, after = table("docs/recipes.md", "| ViT-Ti/16 | val AUROC | test AUROC |")
    vals = {}
    for (name, *cells), (_, *together), found in zip(
        each, (before, after), runs.values(), strict=True
    ):
        values = [[run["metrics"]["val"]["at_threshold"]["auroc"] for run in found]]
        vals[name.partition(",")[0]] = values[0]
        for key in ("auroc", "recall", "specificity"):
            values.append([run["metrics"]["test"]["at_threshold"][key] for run in found])
        for cell, mean, seeds in zip(cells, together, values, strict=True):
            assert agrees(cell, *seeds), name
            assert agrees(mean, np.mean(seeds), np.std(seeds, ddof=1)), name
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"films each seed is lower, by (\S+) to (\S+)\. The test", text)
    less = np.subtract(vals["by labels"], vals["taught by the CNN"])
    assert agrees(" ".join(said), less.min(), less.max())

    page = "docs/decisions/0025-the-cnn-teaches-the-pretrained-vit.md"
    by_labels, ours = (
        next(
            line
            for line in lines_of("block-validation.jsonl")
            if line["recipe"] == "pretrained_ti16"
            and "cpu" in line["device"]
            and (
                line["set"] == []
                if plain
                else "distillation.teacher=blocks/cnn80/bundle" in line["set"]
            )
        )
        for plain in (True, False)
    )
    aurocs, specificities, losses, styles = table(page, "| | by labels, 6 epochs | taught")
    for found, column in ((by_labels, 1), (ours, 2)):
        assert agrees(aurocs[column].partition(" (")[0], found["auroc"])
        bounds = found["specificity"], found["specificity_bound"]
        assert agrees(specificities[column], *bounds)
        assert agrees(losses[column], found["log_loss"])
        assert agrees(styles[column], found["style_auroc"])
    rows = table(page, "| | by labels | taught by the CNN |")
    for (what, *cells), of in zip(rows, ("", "recall_", "specificity_"), strict=True):
        for cell, line in zip(cells, (labels, taught), strict=True):
            assert agrees(cell, line[f"{of}mean"], line[f"{of}worst"]), what
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    (longer,) = (
        line
        for line in lines_of("block-validation.jsonl")
        if line["recipe"] == "pretrained_ti16" and line["set"] == ["training.epochs=12"]
    )
    (said,) = re.findall(r"by labels were run on blocks: (.*?)\. All", text)
    keys = ("auroc", "specificity", "specificity_bound", "style_auroc", "log_loss")
    assert agrees(said, *(longer[key] for key in keys))
    (said,) = re.findall(r"Clean validation: (.*?), each below .*? Test AUROC (.*?): ", text)
    aurocs = [
        [run["metrics"][part]["at_threshold"]["auroc"] for run in runs["taught by the CNN"]]
        for part in ("val", "test")
    ]
    for shown, values in zip(said, aurocs, strict=True):
        assert agrees(shown, *values)


def test_other_sides_of_the_vit_ti16_and_a_gpu():
    names = {"224 px": "gpu", "160 px": "side-160", "384 px": "side-384"}
    runs = {
        name: [record(f"ti16-trials/{name}-seed-{seed}.json") for seed in range(3)]
        for name in ("six-epochs", *names.values())
    }
    for side, name in names.items():
        for seed, run in enumerate(runs[name]):
            expected = load_recipe("pretrained_ti16", [f"training.seed={seed}"]).model_dump()
            expected["model"]["img_size"] = int(side.removesuffix(" px"))
            assert run["recipe"] == expected, (name, seed)
    clean_first = ("clean", "mean", "worst", "recall_mean", "recall_worst")
    clean_first += ("specificity_mean", "specificity_worst")
    rows = table("docs/recipes.md", "| on the GPU, seed 0 | clean |")
    decision = "docs/decisions/0026-longer-still-and-other-sides.md"
    by_decision = {
        name.partition(", seed")[0]: cells for name, *cells in table(decision, "| | AUROC: mean")
    }
    for name, *cells in rows:
        shifted = runs[names[name]][0]["validation_under_shift_quick"]
        for cell, key in zip(cells, clean_first, strict=True):
            assert agrees(cell, shifted[key]), (name, key)
        twice = by_decision[f"ViT-Ti/16, {'as it is' if name == '224 px' else name}"]
        for cell, of in zip(twice, ("", "recall_", "specificity_"), strict=True):
            assert agrees(cell, shifted[f"{of}mean"], shifted[f"{of}worst"]), (name, of)

    def values(name: str, part: str, key: str) -> list[float]:
        return [run["metrics"][part]["at_threshold"][key] for run in runs[name]]

    rows = table("docs/recipes.md", "| ViT-Ti/16, side | val AUROC |")
    columns = (("val", "auroc"), *(("test", key) for key in ("auroc", "recall", "specificity")))
    for (_, *each), (_, *together), name in zip(rows[::2], rows[1::2], runs, strict=True):
        for cell, mean, column in zip(each, together, columns, strict=True):
            found = values(name, *column)
            assert agrees(cell, *found), (name, column)
            assert agrees(mean, np.mean(found), np.std(found, ddof=1)), (name, column)
    for name, *cells in table(decision, "| | as it is | changed |")[1:]:
        sides = ("gpu", names[name.removeprefix("ViT-Ti/16, ")])
        for cell, side in zip(cells, sides, strict=True):
            assert agrees(cell, *values(side, "val", "auroc")), name

    text = " ".join((ROOT / "docs/recipes.md").read_text(encoding="utf-8").split())
    text = text[text.index("### Other sides") :]
    (said,) = re.findall(r"trains one; (\d+) seconds .*?; (\d+) at 224 px, (\d+) at 384\)", text)
    sides = ("side-160", "gpu", "side-384")
    assert agrees(
        " ".join(said), *(np.mean([run["train_time_s"] for run in runs[name]]) for name in sides)
    )
    less = np.subtract(values("gpu", "val", "auroc"), values("side-160", "val", "auroc"))
    for page in (text, (ROOT / decision).read_text(encoding="utf-8")):
        (said,) = re.findall(r"three (?:seeds at 160 px are )?lower, by (\S+ to [.\d]+\d)", page)
        assert agrees(said, less.min(), less.max())
    launched = record("ti16-trials/gpu-launched-seed-0.json")["metrics"]
    (said,) = re.findall(r"comes to (\S+) on validation and (\S+) on the test films, where", text)
    assert agrees(" ".join(said), *(launched[p]["at_threshold"]["auroc"] for p in ("val", "test")))
    (said,) = re.findall(r"losses hardly differ \((.*?) in the .*?; (.*?) on CPUs\)", text)
    losses = [run["history"][-1]["train_loss"] for n in ("gpu", "six-epochs") for run in runs[n]]
    assert agrees(" ".join(said), *losses)

    def less_than_on_the_gpu(name: str, key: str) -> tuple[float, float]:
        """How much lower the mean is, and the standard error of that."""
        ours, base = (np.array(values(of, "test", key)) for of in (name, "gpu"))
        return float((base - ours).mean()), float(
            np.sqrt((base.var(ddof=1) + ours.var(ddof=1)) / 3)
        )

    difference, error = less_than_on_the_gpu("six-epochs", "auroc")
    (said,) = re.findall(r"difference is (\S+), its standard error (\S+)\. Single", text)
    assert agrees(" ".join(said), -difference, error)
    both = values("six-epochs", "test", "auroc") + values("gpu", "test", "auroc")
    (said,) = re.findall(r"All six together come to (\S+), and", text)
    assert agrees(said, np.mean(both))
    later = [
        record(f"{name}.json")["models"]["pretrained_ti16"] for name in ("full-study", "study-h200")
    ]
    (said,) = re.findall(r"seed 0 came to \[(\S+)\]\(\S+ on a CPU, to \[(\S+)\]\(", text)
    assert agrees(" ".join(said), *(run["test"]["auroc"] for run in later))
    (said,) = re.findall(
        r"lower by (\S+) at 160 px \(standard error (\S+)\) and by (\S+) at 384 px \((\S+)\)\. At",
        text,
    )
    found = [*less_than_on_the_gpu("side-160", "auroc"), *less_than_on_the_gpu("side-384", "auroc")]
    assert agrees(" ".join(said), *found)
    (said,) = re.findall(
        r"specificity is higher, by (\S+) \((\S+)\), at a recall that is lower by (\S+) \((\S+)\)",
        text,
    )
    (more, its_error), fewer = (
        less_than_on_the_gpu("side-384", key) for key in ("specificity", "recall")
    )
    assert agrees(" ".join(said), -more, its_error, *fewer)
    came = " ".join((ROOT / decision).read_text(encoding="utf-8").split())
    (said,) = re.findall(
        r"higher by (\S+) \(standard error (\S+)\), at a recall lower by (\S+) \((\S+)\)\.", came
    )
    assert agrees(" ".join(said), -more, its_error, *fewer)
    (said,) = re.findall(
        r"ViT-Ti/16 comes to (.*?) at 160 px and to (.*?) at 384 px, .*? comes to (.*?) as", came
    )
    for shown, name in zip(said, ("side-160", "side-384", "gpu"), strict=True):
        found = values(name, "test", "auroc")
        assert agrees(shown, np.mean(found), np.std(found, ddof=1)), name


def test_every_patch_in_training():
    runs = {
        name: [record(f"ti16-trials/{file}-seed-{seed}.json") for seed in range(3)]
        for name, file in (("half", "six-epochs"), ("none", "every-patch"))
    }
    shipped = next(
        line
        for line in lines_of("validation-under-shift.jsonl")
        if line["bundle"] == "pretrained_ti16"
    )
    rows = table("docs/recipes.md", "| patches left out, seed | val AUROC |")
    assert len(rows) == 6
    keys = ("mean", "grainy", "recall_mean", "recall_worst", "specificity_mean")
    for what, val, epoch, *cells in rows:
        left_out, seed = what.removesuffix(" (shipped)").split(", ")
        run = runs[left_out][int(seed)]
        assert agrees(val, run["metrics"]["val"]["at_threshold"]["auroc"]), what
        assert agrees(epoch, run["best_epoch"]), what
        assert run["recipe"]["model"]["patch_drop_rate"] == (0.5 if left_out == "half" else 0.0)
        shifted = run["validation_under_shift_quick"] if left_out == "none" else shipped
        assert (cells[0] == "-") == (left_out == "half" and seed != "0")
        if cells[0] != "-":
            for cell, key in zip(cells, (*keys, "specificity_worst"), strict=True):
                assert agrees(cell, shifted[key]), (what, key)
    rows = table("docs/recipes.md", "| ViT-Ti/16, patches left out | test AUROC |")
    for (each, together), found in zip((rows[:2], rows[2:]), runs.values(), strict=True):
        agrees_with_seeds(each, together, [run["metrics"]["test"]["at_threshold"] for run in found])
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    (shown,) = re.findall(
        r"AUROC is (\.\d+ ± \.\d+) \(half left out: (\.\d+ ± \.\d+)\), none of the three ahead",
        text,
    )
    val = {
        name: [run["metrics"]["val"]["at_threshold"]["auroc"] for run in found]
        for name, found in runs.items()
    }
    spreads = [f(val[name]) for name in ("none", "half") for f in (np.mean, stdev)]
    assert agrees(" ".join(shown), *spreads)
    assert all(none <= half for none, half in zip(val["none"], val["half"], strict=True))
    shifted = [run["validation_under_shift_quick"] for run in runs["none"]]
    (shown,) = re.findall(r"the means are (\.\d+) to (\.\d+) below that of the one run", text)
    behind = sorted(shipped["mean"] - run["mean"] for run in shifted)
    assert agrees(" ".join(shown), behind[0], behind[-1])
    assert all(run["grainy"] > shipped["grainy"] for run in shifted)
    (shown,) = re.findall(r"below \.95 in each seed, to (\.\d+) in\s+one", text)
    worst = [run["recall_worst"] for run in shifted]
    assert agrees(shown, min(worst))
    assert max(worst) < 0.95


def test_grain_and_soups():
    found = {line["weights"]: line for line in lines_of("ti16-grain.jsonl")}
    rows = table("docs/recipes.md", "| weights | clean |")
    assert {row[0].strip("*") for row in rows} == set(found)
    for name, *cells in rows:
        line = found[name.strip("*")]
        keys = ("clean", "mean", "grainy", "recall_mean", "specificity_mean")
        for cell, key in zip(cells, keys, strict=True):
            assert agrees(cell, line[key]), (name, key)
    names = ("noise-seed-0", "noise-seed-1", "soup")
    rows = table("docs/recipes.md", "| weights | min |")
    for (_, minutes, val, *test), name in zip(rows, names, strict=True):
        run = record(f"ti16-trials/{name}.json")
        assert agrees(minutes, run["train_time_s"] / 60), name
        assert agrees(val, run["metrics"]["val"]["at_threshold"]["auroc"]), name
        for cell, key in zip(test, ("auroc", "recall", "specificity"), strict=True):
            assert agrees(cell, run["metrics"]["test"]["at_threshold"][key]), (name, key)


def test_the_seeds_of_the_vit_ti16():
    each, together, alone = table("docs/recipes.md", "| | AUROC | recall | specificity | acc")
    agrees_with_seeds(each, together, seeds_of("pretrained_ti16"))
    probe = record("ti16-trials/linear-probe.json")["metrics"]["test"]["at_threshold"]
    for column, key in enumerate(SEED_KEYS, start=1):
        assert agrees(alone[column], probe[key]), key
