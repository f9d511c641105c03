"""Recipes: one TOML file a published row, typed, ranged, and strict about unknown keys.

A recipe names everything that a run depends on besides the films, so its hash identifies the
run. ``--set training.lr=1e-3`` changes one value on the command line.
"""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pneumoscope.errors import ConfigError

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """One table of a recipe: frozen, and unknown keys and types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ModelConfig(Section):
    """Which network, and how it is regularised from within."""

    name: str = Field("vit_scratch", description="a name that `build_model` knows")
    img_size: Annotated[int, Field(ge=32, le=1024)] = Field(
        224, description="side of the square input, pixels"
    )
    in_chans: Annotated[int, Field(ge=1, le=4)] = Field(
        3, description="input channels; the grey film is shown in each"
    )
    drop_rate: Fraction = Field(0.0, description="dropout after linear layers")
    drop_path_rate: Fraction | None = Field(
        None, description="DropPath of the last block, linear from 0 at the first (ViT only)"
    )
    patch_drop_rate: Fraction | None = Field(
        None, description="share of patches left out of each training image (ViT only)"
    )
    standardize: bool | None = Field(
        None, description="give every film one mean and one contrast (ViT only; the CNN does)"
    )
    flip_average: bool | None = Field(
        None, description="answer the mean of the logits of each film and of its mirror image"
    )
    gelu: Literal["erf", "tanh"] | None = Field(
        None, description="exact GELU or its tanh approximation, if not the model's own (ViT only)"
    )
    pos_embed_init: Literal["normal", "sine_cosine"] | None = Field(
        None,
        description="what position embeddings start from: small random values, or sines and "
        "cosines of the places (ViT without pretrained weights only)",
    )

    def build_options(self) -> dict[str, Any]:
        """Returns the keyword arguments of ``build_model`` for training."""
        return self.model_dump(exclude_none=True)

    def inference_options(self) -> dict[str, Any]:
        """Returns the keyword arguments of ``build_model`` without what only training uses."""
        kept = {"name", "img_size", "in_chans", "standardize", "gelu", "flip_average"}
        return self.model_dump(include=kept, exclude_none=True)


class DataConfig(Section):
    """Which films, and how they are divided."""

    split: Literal["patient", "stratified", "block"] = Field(
        "patient",
        description="keep patients together, draw films class by class, or keep patients of the "
        "same 25 numbers together",
    )
    val_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.2, description="share of the training folder used for validation"
    )
    split_seed: Annotated[int, Field(ge=0)] = Field(0, description="which division")


class AugmentationConfig(Section):
    """Random changes of the training films; every default leaves the film as it is."""

    hflip_prob: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.0, description="probability of a left-right flip"
    )
    rotate_deg: Annotated[float, Field(ge=0.0, le=180.0)] = Field(
        0.0, description="largest rotation either way, degrees"
    )
    translate: Fraction = Field(0.0, description="largest shift, as a share of the side")
    scale_min: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="smallest zoom; height and width draw apart, so shapes vary too"
    )
    scale_max: Annotated[float, Field(ge=1.0, le=4.0)] = Field(1.0, description="largest zoom")
    shear_deg: Annotated[float, Field(ge=0.0, lt=90.0)] = Field(
        0.0, description="largest shear either way, degrees"
    )
    crop_min: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0,
        description="smallest share of the film's area that a random crop shows, enlarged, its "
        "sides in a ratio of 3:4 to 4:3",
    )
    style_prob: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.0,
        description="probability that a film takes up part of the grey levels and of the sharpness "
        "of another film of its batch",
    )
    brightness: Fraction = Field(0.0, description="largest relative change of brightness")
    contrast: Fraction = Field(0.0, description="largest relative change of contrast")
    gamma: Fraction = Field(0.0, description="largest relative change of gamma")
    blur_prob: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.0, description="probability of a Gaussian blur of 0.1 to 2 pixels"
    )
    noise_prob: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.0, description="probability of Gaussian noise of 3 % of the grey range"
    )
    erase_prob: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.0, description="probability of erasing one rectangle of 2-20 % of the film"
    )
    randaugment_ops: Annotated[int, Field(ge=0, le=8)] = Field(
        0, description="random changes in turn from a list that is safe for films; 0 for none"
    )
    randaugment_magnitude: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.5, description="how far each of those may go, as a share of its widest range"
    )
    mixup_alpha: Annotated[float, Field(ge=0.0, le=10.0)] = Field(
        0.0, description="Mixup: both parameters of the Beta law of the share; 0 for none"
    )
    cutmix_alpha: Annotated[float, Field(ge=0.0, le=10.0)] = Field(
        0.0, description="CutMix: the same; where both are given each batch has either at random"
    )


class TrainingConfig(Section):
    """How the network is fitted."""

    epochs: Annotated[int, Field(ge=0)] = Field(
        20, description="passes over the training films; 0 stops at the linear probe"
    )
    batch_size: Positive = Field(64, description="films an optimizer step, over all processes")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        description="adamw for all weights, or muon for the matrices of transformer blocks and "
        "adamw for the rest; masked autoencoding keeps adamw",
    )
    lr: Annotated[float, Field(gt=0.0, le=10.0)] = Field(3e-4, description="peak learning rate")
    min_lr_ratio: Fraction = Field(0.01, description="last learning rate over the peak")
    warmup_epochs: Annotated[float, Field(ge=0.0)] = Field(
        1.0, description="epochs of linear warm-up"
    )
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="factor on the learning rate from each block to the one below (ViT only)"
    )
    weight_decay: Annotated[float, Field(ge=0.0, le=10.0)] = Field(
        0.05, description="decoupled weight decay"
    )
    label_smoothing: Fraction = Field(0.05, description="label smoothing of the cross-entropy")
    class_weights: bool = Field(
        True, description="weigh classes inversely to their share of the training split"
    )
    cause_weight: Annotated[float, Field(ge=0.0, le=10.0)] = Field(
        0.0,
        description="weight of a second task in training, to tell bacterial from viral pneumonia "
        "where file names state the cause; 0 for none",
    )
    focal_gamma: Annotated[float, Field(ge=0.0, le=10.0)] = Field(
        0.0, description="focal loss: how strongly films that are already right count less"
    )
    balanced_sampler: bool = Field(
        False, description="draw the classes equally often; excludes class_weights"
    )
    style_sampler: bool = Field(
        False,
        description="draw the classes equally often, and of each the more those films whose grey "
        "levels, sharpness and borders speak for the other; excludes class_weights",
    )
    clip_grad_norm: Annotated[float, Field(gt=0.0)] = Field(
        1.0, description="largest norm of the gradient"
    )
    ema_decay: Fraction = Field(
        0.0, description="decay of the moving average of weights; 0 for none"
    )
    patience: Positive = Field(
        5, description="validations without a better AUROC after which training stops"
    )
    eval_every: Positive = Field(1, description="epochs between validations")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="seed of all randomness")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic of the training step; auto takes bfloat16 where it gains"
    )
    max_steps: Positive | None = Field(None, description="stop after so many steps (for trials)")
    checkpoint_every_s: Annotated[float, Field(ge=0.0)] = Field(
        60.0, description="seconds between checkpoints; one is also written at every validation"
    )
    tensorboard: bool = Field(False, description="also write TensorBoard event files")


class MaskedAutoencodingConfig(Section):
    """A stage before the labels: the ViT completes training films of which most is hidden."""

    epochs: Annotated[int, Field(ge=0)] = Field(
        0, description="passes over the training films without their labels; 0 for none"
    )
    mask_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.75, description="share of the patches that are hidden"
    )
    batch_size: Positive = Field(64, description="films an optimizer step, over all processes")
    lr: Annotated[float, Field(gt=0.0, le=10.0)] = Field(1e-3, description="peak learning rate")
    warmup_epochs: Annotated[float, Field(ge=0.0)] = Field(
        2.0, description="epochs of linear warm-up"
    )
    decoder_depth: Annotated[int, Field(ge=1, le=12)] = Field(
        2, description="blocks of the decoder, which is thrown away afterwards"
    )


class PretrainedConfig(Section):
    """A checkpoint in Google's layout that a ViT starts from, and how its new head begins."""

    weights: str = Field(
        "", description="a .npz, or its name in weights/ or notebooks/weights/; empty: none"
    )
    probe_views: Annotated[int, Field(ge=0, le=100)] = Field(
        1,
        description="augmented views of each training film to whose features the head is fitted "
        "before all layers train; 0: a random head",
    )


class DistillationConfig(Section):
    """A teacher that guides a ViT; it must have been trained on the same split."""

    teacher: str = Field(
        "", description="run folder beside this one, bundle folder or shipped name; empty: none"
    )
    logit_weight: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.5, description="share of the teacher's answers in the classification loss"
    )
    temperature: Annotated[float, Field(gt=0.0, le=100.0)] = Field(
        1.0, description="softens both answers before they are compared"
    )
    feature_weight: Annotated[float, Field(ge=0.0)] = Field(
        1.0, description="weight of the match between patch tokens and the teacher's maps"
    )


class OperatingPointConfig(Section):
    """How the decision threshold is chosen on the validation films."""

    min_recall: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.95, description="the recall that the threshold must reach on validation"
    )


class BundleConfig(Section):
    """How the result is stored."""

    dtype: Literal["float32", "float16"] = Field(
        "float16", description="stored precision; every reported score is computed from it"
    )


class Recipe(Section):
    """Everything a run depends on besides the films."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        description="names the row and the run folder"
    )
    title: str = Field("", description="how the row is called in tables")
    model: ModelConfig = Field(default_factory=lambda: ModelConfig())
    data: DataConfig = Field(default_factory=lambda: DataConfig())
    augmentation: AugmentationConfig = Field(default_factory=lambda: AugmentationConfig())
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig())
    mae: MaskedAutoencodingConfig = Field(default_factory=lambda: MaskedAutoencodingConfig())
    pretrained: PretrainedConfig = Field(default_factory=lambda: PretrainedConfig())
    distillation: DistillationConfig = Field(default_factory=lambda: DistillationConfig())
    operating_point: OperatingPointConfig = Field(default_factory=lambda: OperatingPointConfig())
    bundle: BundleConfig = Field(default_factory=lambda: BundleConfig())

    @model_validator(mode="after")
    def _options_fit_the_model(self) -> "Recipe":
        is_vit = self.model.name.startswith("vit_")
        asked = {
            "model.drop_path_rate": self.model.drop_path_rate is not None,
            "model.patch_drop_rate": self.model.patch_drop_rate is not None,
            "model.standardize": self.model.standardize is not None,
            "model.gelu": self.model.gelu is not None,
            "model.pos_embed_init": self.model.pos_embed_init is not None,
            "training.layer_decay": self.training.layer_decay != 1.0,
            "training.optimizer muon": self.training.optimizer == "muon",
            "mae": self.mae.epochs > 0,
            "pretrained": bool(self.pretrained.weights),
            "distillation": bool(self.distillation.teacher),
        }
        for key, is_asked in asked.items():
            if is_asked and not is_vit:
                raise ValueError(f"{key} is for Vision Transformers, not {self.model.name}")
        training = self.training
        if training.balanced_sampler and training.style_sampler:
            raise ValueError(
                "training.balanced_sampler and training.style_sampler exclude each other; leave "
                "one of them out"
            )
        if training.class_weights and (training.balanced_sampler or training.style_sampler):
            name = "balanced_sampler" if training.balanced_sampler else "style_sampler"
            raise ValueError(
                f"training.{name} and training.class_weights both balance the classes, together "
                "they would turn them round; set training.class_weights = false"
            )
        augmentation = self.augmentation
        if training.cause_weight and (augmentation.mixup_alpha or augmentation.cutmix_alpha):
            mixing = "mixup_alpha" if augmentation.mixup_alpha else "cutmix_alpha"
            raise ValueError(
                f"training.cause_weight and augmentation.{mixing} exclude each other: a mixed film "
                "has no one cause; leave one of them out"
            )
        if self.mae.epochs and self.pretrained.weights:
            raise ValueError(
                "mae.epochs and pretrained.weights exclude each other: masked autoencoding starts "
                "from random weights; leave one of them out"
            )
        if self.model.pos_embed_init == "normal" and self.mae.epochs:
            raise ValueError(
                "masked autoencoding starts positions from sines and cosines, not as "
                'model.pos_embed_init = "normal" says; leave it out'
            )
        if self.model.pos_embed_init and self.pretrained.weights:
            raise ValueError(
                "model.pos_embed_init and pretrained.weights exclude each other: the weights bring "
                "their positions; leave one of them out"
            )
        has_probe = self.pretrained.weights and self.pretrained.probe_views
        if self.training.epochs == 0 and not has_probe:
            raise ValueError(
                "training.epochs = 0 leaves the linear probe alone, so it needs "
                "pretrained.weights and pretrained.probe_views >= 1"
            )
        return self

    @property
    def sha256(self) -> str:
        """Names what the recipe computes: not its title, nor how the run is displayed or saved.

        Values that are defaults do not count, so a lever added later leaves old names as they are.
        """
        content = self.model_dump(
            mode="json",
            exclude={"title": True, "training": {"tensorboard", "checkpoint_every_s"}},
            exclude_defaults=True,
        )
        content = {key: value for key, value in content.items() if value != {}}
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def shipped_recipes() -> dict[str, Path]:
    """Returns the recipes that come with the package, by name, sorted."""
    package = Path(str(files("pneumoscope")))
    # A wheel carries them inside the package; a checkout has them at its root.
    for folder in (package / "configs", package.parents[1] / "configs"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def load_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Returns the recipe in a TOML file, or the shipped one of that name.

    Args:
        source: a path, or a name such as ``scratch``.
        overrides: ``section.key=value`` each; the value is TOML, or else taken as text.

    Raises:
        ConfigError: no such file, not TOML, an unknown key (the nearest one is named), a value
            out of range, or an override of another form.
    """
    path = Path(source)
    if not path.is_file():
        recipes = shipped_recipes()
        if str(source) not in recipes:
            near = difflib.get_close_matches(str(source), recipes, n=1)
            hint = f"did you mean {near[0]}?" if near else f"shipped: {', '.join(recipes)}"
            raise ConfigError(f"no recipe {source}: not a file, and not a shipped name; {hint}")
        path = recipes[str(source)]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for override in overrides:
        _apply_override(values, override)
    return parse_recipe(values, str(path))


def parse_recipe(values: Mapping[str, Any], origin: str) -> Recipe:
    """Returns the recipe that nested ``values`` describe; ``origin`` names them in errors.

    Raises:
        ConfigError: an unknown key, a missing one, or a value out of range.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first, *others = error.errors()
        more = f" (and {len(others)} more)" if others else ""
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{origin}: unknown key {where}; {_nearest(where)}{more}") from error
        found = "" if first["type"] == "missing" else f" = {first['input']!r}"
        if not where:
            where, found = "recipe", ""
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{origin}: {where}{found}: {message}{more}") from error


def recipe_keys() -> list[str]:
    """Returns every key a recipe may have, as ``section.key``."""
    keys = []
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            keys += [f"{name}.{key}" for key in section.model_fields]
        else:
            keys.append(name)
    return keys


def _nearest(key: str) -> str:
    known = recipe_keys()
    tops = list(dict.fromkeys(name.split(".")[0] for name in known))
    last = key.rpartition(".")[2]
    near = [name for name in known if name.endswith(f".{last}")]  # the right key, misplaced
    near += difflib.get_close_matches(key, known if "." in key else tops, n=1, cutoff=0.4)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(tops)}"


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    *sections, last = key.strip().split(".")
    if not separator or not last:
        raise ConfigError(f"--set {override}: expected section.key=value, as training.epochs=10")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    target = values
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override}: {section} is a value, not a section")
    target[last] = value
