"""A whole recipe: its sections, which of their values exclude each other, and its hash."""

import hashlib
import json
from typing import Annotated

from pydantic import Field, model_validator

from pneumoscope.config.sections import (
    AugmentationConfig,
    BundleConfig,
    DataConfig,
    DistillationConfig,
    MaskedAutoencodingConfig,
    ModelConfig,
    OperatingPointConfig,
    PretrainedConfig,
    Section,
    TrainingConfig,
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
            "training.last_patch_drop_rate": self.training.last_patch_drop_rate is not None,
            "training.layer_decay": self.training.layer_decay != 1.0,
            "training.optimizer muon": self.training.optimizer == "muon",
            "mae": self.mae.epochs > 0,
            "pretrained": bool(self.pretrained.weights),
        }
        for key, is_asked in asked.items():
            if is_asked and not is_vit:
                raise ValueError(f"{key} is for Vision Transformers, not {self.model.name}")
        distillation = self.distillation
        if not distillation.teacher:
            return self
        if distillation.feature_weight and not is_vit:
            raise ValueError(
                f"distillation.feature_weight is for Vision Transformers, not {self.model.name}; "
                "set it to 0 to learn from the teacher's answers alone"
            )
        if not distillation.feature_weight and not distillation.logit_weight:
            raise ValueError(
                "distillation.logit_weight and feature_weight are both 0, so the teacher teaches "
                "nothing; raise one of them, or leave the teacher out (distillation.teacher = '')"
            )
        return self

    @model_validator(mode="after")
    def _patch_dropout_has_a_beginning(self) -> "Recipe":
        if self.training.last_patch_drop_rate is not None and self.model.patch_drop_rate is None:
            raise ValueError(
                "training.last_patch_drop_rate is where model.patch_drop_rate ends; set that too"
            )
        return self

    @model_validator(mode="after")
    def _classes_are_balanced_once(self) -> "Recipe":
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
        return self

    @model_validator(mode="after")
    def _a_film_has_one_cause(self) -> "Recipe":
        augmentation = self.augmentation
        if self.training.cause_weight and (augmentation.mixup_alpha or augmentation.cutmix_alpha):
            mixing = "mixup_alpha" if augmentation.mixup_alpha else "cutmix_alpha"
            raise ValueError(
                f"training.cause_weight and augmentation.{mixing} exclude each other: a mixed film "
                "has no one cause; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _weights_begin_in_one_way(self) -> "Recipe":
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
        return self

    @model_validator(mode="after")
    def _something_is_trained(self) -> "Recipe":
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
