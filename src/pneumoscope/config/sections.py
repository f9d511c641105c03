"""The sections of a recipe: every key with its type, its range and what it does."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
    zoom_average: bool | None = Field(
        None, description="answer the mean of the logits of each film and of four zooms of it"
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
        kept = {"name", "img_size", "in_chans", "standardize", "gelu"}
        kept |= {"flip_average", "zoom_average"}
        options = self.model_dump(include=kept, exclude_none=True)
        # A view that is off is one that was not named: the shipped graphs go by the options.
        for view in ("flip_average", "zoom_average"):
            if not options.get(view):
                options.pop(view, None)
        return options


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
    last_patch_drop_rate: Fraction | None = Field(
        None,
        description="share of patches that the last epoch leaves out; epochs go there in equal "
        "steps from `model.patch_drop_rate`, which the first has (ViT only). If not given, every "
        "epoch has `model.patch_drop_rate`",
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
    keep: Literal["best", "last"] = Field(
        "best",
        description="weights of the epoch with the highest validation AUROC, or of the last one, "
        "to which training then goes whatever validation says",
    )
    patience: Positive = Field(
        5,
        description="validations without a better AUROC after which training stops, where the "
        "best weights are kept",
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
    """A teacher, which must have been trained on the same split; maps teach ViTs alone."""

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
        1.0,
        description="weight of the match between patch tokens and the teacher's maps; 0: answers "
        "alone, of any teacher and for any student",
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
