"""The table of levers in the page on accuracy, each with and without, for ``generate.py``.

The figures are those of ``block-validation.jsonl``: runs on blocks held out, all of one fold.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORD = Path(__file__).parents[1] / "benchmarks" / "results" / "block-validation.jsonl"
CNN_20 = "distillation.teacher=blocks/cnn20/bundle"
CNN_80 = "distillation.teacher=blocks/cnn80"
SHORT, LONGER = "training.epochs=20", "training.epochs=40"
FORMER = (
    "augmentation.mixup_alpha=0.0",
    "distillation.logit_weight=0.5",
    "training.lr=0.0007",
    "training.optimizer=adamw",
)
"""The recipe ``scratch`` of before, against today's."""
OF_BEFORE = (*FORMER, CNN_20, "training.epochs=12")
MIXED = ("training.lr=0.0007", "training.optimizer=adamw", CNN_20, "training.epochs=12")
GUIDED = (CNN_20, "training.epochs=12")
STYLE = ("training.class_weights=false", "training.style_sampler=true")
NO_MAP = (
    "augmentation.rotate_deg=0.0",
    "augmentation.scale_max=1.0",
    "augmentation.scale_min=1.0",
    "augmentation.shear_deg=0.0",
    "augmentation.translate=0.0",
)
NO_INTENSITY = (
    "augmentation.brightness=0.0",
    "augmentation.contrast=0.0",
    "augmentation.gamma=0.0",
)


@dataclass(frozen=True)
class Lever:
    """One lever: two runs of one recipe on one kind of machine, by what differs from the recipe.

    Attributes:
        name: in the field's words.
        field: of the recipe.
        recipe: that was tried with it.
        on: what the run with it changes against today's recipe; None where none was run.
        off: the same of the run without it.
        outcome: where it is used, or why not.
        gpu: whether the two are the runs of a GPU.
    """

    name: str
    field: str
    recipe: str
    on: Sequence[str] | None
    off: Sequence[str] | None
    outcome: str
    gpu: bool = False


LEVERS = (
    Lever("random resized crops", "augmentation.crop_min", "cnn",
          ("augmentation.crop_min=0.5", LONGER), (LONGER,), "off: they cost", gpu=True),
    Lever("one affine map", "augmentation.rotate_deg, translate, scale_min, scale_max, shear_deg",
          "cnn", (SHORT,), (*NO_MAP, SHORT),
          "**in all**: it takes a shortcut away, which blocks reward"),
    Lever("brightness, contrast, gamma", "augmentation.brightness, contrast, gamma", "cnn",
          (SHORT,), (*NO_INTENSITY, SHORT), "**in all**, for films that look otherwise"),
    Lever("RandAugment", "augmentation.randaugment_ops", "cnn",
          ("augmentation.randaugment_ops=2", SHORT), (SHORT,), "off"),
    Lever("noise", "augmentation.noise_prob", "cnn",
          (SHORT,), ("augmentation.noise_prob=0.0", SHORT), "in `cnn`, for grainy films"),
    Lever("random erasing", "augmentation.erase_prob", "cnn",
          (SHORT,), ("augmentation.erase_prob=0.0", SHORT), "in `cnn`"),
    Lever("Mixup, of labels", "augmentation.mixup_alpha", "cnn",
          ("augmentation.mixup_alpha=0.2", LONGER), (LONGER,), "off", gpu=True),
    Lever("Mixup, of the guide's answers alone",
          "augmentation.mixup_alpha, distillation.logit_weight", "scratch",
          MIXED, OF_BEFORE, "in `scratch`"),
    Lever("CutMix", "augmentation.cutmix_alpha", "cnn",
          ("augmentation.cutmix_alpha=1.0", SHORT), (SHORT,), "off"),
    Lever("label smoothing", "training.label_smoothing", "cnn",
          (SHORT,), ("training.label_smoothing=0.0", SHORT), "**in all**"),
    Lever("focal loss", "training.focal_gamma", "cnn",
          (SHORT, "training.focal_gamma=2.0"), (SHORT,), "off"),
    Lever("class-balanced sampler", "training.balanced_sampler, class_weights", "cnn",
          ("training.balanced_sampler=true", "training.class_weights=false", SHORT), (SHORT,),
          "off: the loss weighs classes"),
    Lever("moving average of the weights", "training.ema_decay", "cnn",
          (SHORT,), ("training.ema_decay=0.0", SHORT), "**in all**"),
    Lever("model soups", "ensemble --average weights", "pretrained_ti16", None, None,
          "off: [with runs trained with noise](recipes.md#grain-and-the-mean-of-weights) they "
          "stand grain, as those runs do; lower by .001 on the test films"),
    Lever("DropPath", "model.drop_path_rate", "pretrained_ti16",
          (), ("model.drop_path_rate=0.0",), "in both ViTs"),
    Lever("DropPath", "model.drop_path_rate", "scratch",
          OF_BEFORE, (*OF_BEFORE, "model.drop_path_rate=0.0"), "in both ViTs"),
    Lever("patch dropout", "model.patch_drop_rate", "pretrained_ti16",
          (), ("model.patch_drop_rate=0.0",), "in both ViTs, for the time; "
          "[none left out](recipes.md#every-patch-in-training) gained nothing in full"),
    Lever("patch dropout by degrees",
          "training.last_patch_drop_rate, model.patch_drop_rate", "scratch",
          (*GUIDED, "model.patch_drop_rate=0.75", "training.last_patch_drop_rate=0.4"), GUIDED,
          "off; pays in [three epochs](training-speed.md#the-rate-and-the-patches)"),
    Lever("80 epochs for 40", "training.epochs", "cnn", (), (LONGER,), "in `cnn`"),
    Lever("160 epochs for 80", "training.epochs", "cnn", ("training.epochs=160",), (),
          "off: [validation is against it](recipes.md#how-the-cnns-recipe-came-about)"),
    Lever("48 epochs for 24", "training.epochs", "scratch",
          (CNN_20,), (CNN_20, "training.epochs=24"), "in `scratch`", gpu=True),
    Lever("96 epochs for 48", "training.epochs", "scratch",
          (CNN_80, "training.epochs=96"), (CNN_80,),
          "[open](recipes.md#the-guide-of-today-for-twice-as-long): one seed validated", gpu=True),
    Lever("12 epochs for 6", "training.epochs", "pretrained_ti16", ("training.epochs=12",), (),
          "off: [no higher on validation](recipes.md#what-was-tried), one run"),
    Lever("224 px for 128", "model.img_size", "cnn",
          ("model.img_size=224", LONGER), (LONGER,), "off", gpu=True),
    Lever("160 px for 224", "model.img_size", "pretrained_ti16",
          ("model.img_size=160",), (),
          "off: [validation is against it](recipes.md#other-sides-and-a-gpu)", gpu=True),
    Lever("384 px for 224", "model.img_size", "pretrained_ti16",
          ("model.img_size=384",), (),
          "off: [no gain in AUROC](recipes.md#other-sides-and-a-gpu), worse on changed films",
          gpu=True),
    Lever("the film and its mirror image", "model.flip_average", "all", None, None,
          "off: [AUROC moves by .0008 at most]"
          "(ensembles.md#answers-averaged-over-a-film-and-its-mirror-image) on validation"),
    Lever("the film and four zooms", "model.zoom_average", "all", None, None,
          "off: [no gain](ensembles.md#answers-averaged-over-zooms) in AUROC on the test films"),
    Lever("layer decay", "training.layer_decay", "pretrained_ti16",
          (), ("training.layer_decay=1.0",), "in `pretrained_ti16`", gpu=True),
    Lever("linear probe first (LP-FT)", "pretrained.probe_views", "pretrained_ti16",
          (), ("pretrained.probe_views=0",), "in `pretrained_ti16`", gpu=True),
    Lever("masked autoencoding first", "mae.epochs", "scratch",
          (*FORMER, CNN_20, "training.epochs=24", "mae.epochs=40"),
          (*FORMER, CNN_20, "training.epochs=24"), "off", gpu=True),
    Lever("distillation from the CNN", "distillation.teacher", "scratch",
          GUIDED, ("distillation.teacher=", "training.epochs=12"), "in `scratch`"),
    Lever("distillation from the CNN, answers alone, on mixed films",
          "distillation.teacher, logit_weight, feature_weight, augmentation.mixup_alpha",
          "pretrained_ti16",
          ("augmentation.mixup_alpha=1.0", "distillation.feature_weight=0.0",
           "distillation.logit_weight=1.0", "distillation.teacher=blocks/cnn80/bundle",
           "training.epochs=12"), ("training.epochs=12",),
          "off: [lost on the test films](recipes.md#taught-by-the-cnn-of-80-epochs)"),
    Lever("Muon at 3e-3 for AdamW at 7e-4", "training.optimizer, lr", "scratch",
          GUIDED, MIXED, "in `scratch`"),
    Lever("positions from sines and cosines", "model.pos_embed_init", "scratch",
          OF_BEFORE, (*OF_BEFORE, "model.pos_embed_init=normal"), "in `scratch`"),
    Lever("standardised films", "model.standardize", "scratch",
          (*OF_BEFORE, "model.pos_embed_init=normal"),
          (*OF_BEFORE, "model.pos_embed_init=normal", "model.standardize=false"), "**in all**"),
    Lever("films drawn by style", "training.style_sampler, class_weights", "pretrained_ti16",
          STYLE, (), "off: [lost on the test films](style.md#weighed-away-and-the-price)"),
    Lever("style dealt out", "augmentation.style_prob", "cnn",
          ("augmentation.style_prob=1.0", SHORT), (SHORT,),
          "off: [no gain in full](style.md#dealt-out-and-no-gain), in the ViT-Ti/16"),
    Lever("a second task", "training.cause_weight", "cnn",
          ("training.cause_weight=0.5", SHORT), (SHORT,), "off"),
    Lever("ensembles", "ensemble", "all", None, None,
          "[the pair](ensembles.md#sets-of-the-shipped-models) keeps more specificity on changed "
          "films, at less recall than the ViT-Ti/16; [six gain little, twelve no more]"
          "(ensembles.md#more-seeds)"),
)  # fmt: skip


Run = dict[str, Any]
"""A line of the record."""


def lever_rows() -> list[tuple[str, ...]]:
    """Returns a row a lever: name, field, recipe, outcome, AUROC and log loss (and without it).

    Raises:
        KeyError: a run is not in the record.
    """
    lines = [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]
    runs: dict[tuple[str, frozenset[str], bool], Run] = {}
    for line in reversed(lines):  # of twins the first, by today's code
        runs[line["recipe"], frozenset(line["set"]), "cuda" in line["device"]] = line
    rows = []
    for lever in LEVERS:
        cells = ["-", "-"]
        if lever.on is not None and lever.off is not None:
            pair = [runs[lever.recipe, frozenset(s), lever.gpu] for s in (lever.on, lever.off)]
            cells = [with_and_without(pair, "auroc", 4), with_and_without(pair, "log_loss", 3)]
        fields = ", ".join(f"`{field}`" for field in lever.field.split(", "))
        recipe = lever.recipe if lever.recipe == "all" else f"`{lever.recipe}`"
        rows.append((lever.name, fields, recipe, lever.outcome, *cells))
    return rows


def with_and_without(pair: Sequence[Run], key: str, digits: int) -> str:
    """Returns a figure of two runs as the page writes it: ``.9857 (.9902)``."""
    one, other = (f"{run[key]:.{digits}f}".removeprefix("0") for run in pair)
    return f"{one} ({other})"
