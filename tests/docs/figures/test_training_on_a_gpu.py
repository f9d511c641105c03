"""How long training takes on a GPU, and what comes out there."""

import re

import numpy as np
from pages import ROOT, agrees, table
from records import lines_of, metrics, record, seconds_to


def test_what_a_study_on_a_gpu_came_to():
    text = (ROOT / "docs/reproducibility.md").read_text(encoding="utf-8")
    models = record("study-h200.json")["models"]
    (said,) = re.findall(
        r"a ViT-Ti/16 of AUROC (\S+) \((\S+) is shipped; validation (\S+), three seeds on CPUs "
        r"(\S+) to (\S+)\), a CNN of (\S+) \(40 epochs\) and a ViT from scratch \(24 epochs\) of "
        r"(\.\d+)",
        text,
    )
    others = [record(f"ti16-trials/six-epochs-seed-{n}.json")["metrics"] for n in (1, 2)]
    val = [run["val"]["at_threshold"]["auroc"] for run in (metrics("pretrained_ti16"), *others)]
    vit, cnn, scratch = (models[name] for name in ("pretrained_ti16", "cnn", "scratch"))
    shipped = metrics("pretrained_ti16")["test"]["at_threshold"]["auroc"]
    expected = [vit["test"]["auroc"], shipped, vit["val_auroc"], min(val), max(val)]
    expected += [cnn["test"]["auroc"], scratch["test"]["auroc"]]
    assert agrees(" ".join(said), *expected)


def test_the_speed_of_training_on_a_gpu():
    (small, large), *lines = (line.get("steps", line) for line in lines_of("train-h200.jsonl"))
    rows = table(
        "docs/training-speed.md", "| on the GPU | seconds | epochs | films a second, first epoch"
    )
    keys = ("seconds", "epochs", "films_per_s_first_epoch", "auroc")
    for (_, *cells), line in zip(rows, lines, strict=True):
        assert line["reached"]
        for cell, key in zip(cells, keys, strict=True):
            assert agrees(cell, line[key]), (line["name"], key)
    assert small["batch_size"] < large["batch_size"]


def test_the_speed_of_training_by_graphs_on_a_gpu():
    first, *lines = lines_of("train-h200-graphs.jsonl")
    text = " ".join((ROOT / "docs/training-speed.md").read_text(encoding="utf-8").split())
    rows = table("docs/training-speed.md", "| three epochs on the GPU | seed 0 |")
    runs = []
    for (name, *cells), program in zip(rows, ("pneumoscope", "vit-pytorch"), strict=True):
        assert name == program.replace("pneumoscope", "here")
        some = [line for line in lines if line["name"] == program][:3]
        assert [line["seed"] for line in some] == [0, 1, 2]
        for cell, line in zip(cells, some, strict=True):
            assert agrees(cell, *np.array(line["curve"])[:, ::-1].ravel())  # AUROC, seconds
        runs.append(some)
    pairs = list(zip(*runs, strict=True))

    def ratios(target: float | None) -> list[float]:
        """How many times as long vit-pytorch takes; None for the lower final AUROC of a seed."""
        found = []
        for pair in pairs:
            at = min(line["auroc"] for line in pair) if target is None else target
            ours, theirs = (seconds_to(line, at) for line in pair)
            found.append(theirs / ours)
        return found

    (said,) = re.findall(
        r"AUROC of \.98 takes vit-pytorch (\S+), (\S+) and (\S+) times as long\*\*, to \.985 "
        r"(\S+), (\S+) and (\S+) times, to the lower of the two final AUROCs of a seed (\S+), "
        r"(\S+) and (\S+) times; after three epochs we end higher with every seed \((\S+) in the "
        r"mean, (\S+) there\), (\S+), (\S+) and (\S+) times as soon\.",
        text,
    )
    ends = [[line["auroc"] for line in some] for some in runs]
    assert all(ours > theirs for ours, theirs in zip(*ends, strict=True))
    whole = [theirs["seconds"] / ours["seconds"] for ours, theirs in pairs]
    expected = [*ratios(0.98), *ratios(0.985), *ratios(None), *map(np.mean, ends), *whole]
    assert agrees(" ".join(said), *expected)
    (said,) = re.findall(
        r"to \.97 (\S+), (\S+) and (\S+) times, to \.975 (\S+), (\S+) and ([\d.]+\d)\. Most",
        text,
    )
    assert agrees(" ".join(said), *ratios(0.97), *ratios(0.975))
    rest = {(line["name"], line["seed"]): line for line in lines}  # of twins the second
    (said,) = re.findall(r"transformers \(seed 0, one run\) comes to (\S+) in (\S+) s\.", text)
    line = rest["transformers", 0]
    assert agrees(" ".join(said), line["auroc"], line["seconds"])
    (said,) = re.findall(r"others ours comes to (\S+) in (\S+) s \(seed 0\)", text)
    line = rest["pneumoscope, adamw", 0]
    assert agrees(" ".join(said), line["auroc"], line["seconds"])
    (said,) = re.findall(r"second run of seed 1 took (\S+) s less", text)
    assert agrees(said, runs[0][1]["seconds"] - rest["pneumoscope", 1]["seconds"])
    small, large = first["steps"]
    (said,) = re.findall(
        r"do ([\d.]+) TFLOP/s of (\d+) at the recipe's batch of (\d+) \((\.\d+)\), "
        r"and (\d+) \((\.\d+)\) at a batch of ([\d,]+)\. Launched piece by piece the same step "
        r"takes (\S+) times as long at the batch of 32 and (\S+) times at 1,024",
        text,
    )
    tflops = small["gflop_per_s"] / 1e3, small["matmul_gflop_per_s"] / 1e3
    expected = [*tflops, small["batch_size"], small["share_of_matmul"]]
    expected += [large["gflop_per_s"] / 1e3, large["share_of_matmul"], large["batch_size"]]
    expected += [
        one["films_per_s_bare_step"] / one["films_per_s_launched"] for one in (small, large)
    ]
    assert agrees(" ".join(said), *expected)


def test_the_whole_study_on_a_gpu():
    text = " ".join((ROOT / "docs/training-speed.md").read_text(encoding="utf-8").split())
    found = record("study-h200.json")
    models = found["models"]
    (said,) = re.findall(
        r"took \*\*(\d+) seconds\*\* there: (\d+) of them train the CNN for (\d+) epochs "
        r"\(80 now\), (\d+) the ViT from scratch for (\d+) .*? and (\d+) fine-tune",
        text,
    )
    cnn, scratch, vit = (models[name] for name in ("cnn", "scratch", "pretrained_ti16"))
    assert agrees(
        " ".join(said),
        found["seconds"],
        cnn["train_time_s"],
        cnn["epochs"],
        scratch["train_time_s"],
        scratch["epochs"],
        vit["train_time_s"],
    )
