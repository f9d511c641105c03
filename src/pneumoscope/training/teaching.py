"""Which objective a recipe asks for, and which teachers it may have."""

import numpy as np
import torch
from numpy.typing import NDArray

from pneumoscope.bundle import Bundle
from pneumoscope.config import Recipe
from pneumoscope.errors import TrainingError
from pneumoscope.labels import CLASS_NAMES
from pneumoscope.models.bundles import load_network
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.device import Device
from pneumoscope.training.objective import CauseTask, Distilled, Supervised, class_weights


def make_objective(
    network: ResNet | VisionTransformer,
    recipe: Recipe,
    labels: NDArray[np.int64],
    causes: NDArray[np.int64] | None,
    device: Device,
    guide: ResNet | VisionTransformer | None = None,
) -> Supervised:
    """Returns what a training step minimises, on the device.

    Args:
        network: on the device; new heads and projections draw from torch's random state.
        recipe: names smoothing, class weights, the second task and the distillation.
        labels: class indices (N,) of the training films, each class present.
        causes: (N,) of the training films, each cause present, where a second task asks for them.
        device: where to compute.
        guide: the teacher's network, where there is one.
    """
    config = recipe.training
    weights = torch.ones(len(CLASS_NAMES))
    if config.class_weights:
        weights = class_weights(torch.from_numpy(labels), len(CLASS_NAMES))
    task = None
    if causes is not None:
        task = CauseTask(
            network.head.in_features,
            torch.from_numpy(causes),
            config.cause_weight,
            config.label_smoothing,
        )
    rest = (weights, config.label_smoothing, config.focal_gamma, task)
    if guide is None:
        return Supervised(network, *rest).to(device.device)
    assert isinstance(network, VisionTransformer), "the recipe says so"
    guide = guide.to(device.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Distilled(network, guide, recipe.distillation, *rest).to(device.device)


def load_guide(teacher: Bundle, split_sha256: str) -> ResNet | VisionTransformer:
    """Returns the network of a teacher that has seen no validation film of the split.

    Raises:
        TrainingError: it is an ensemble, or saw other or unknown films in training.
    """
    if teacher.manifest["data"]["split_sha256"] != split_sha256:
        raise TrainingError(
            f"the teacher {teacher.path} was trained on another split, so it may have seen "
            "this run's validation films; train the teacher on this split first"
        )
    if teacher.manifest.get("converted_from"):
        raise TrainingError(
            f"the teacher {teacher.path} was trained elsewhere, so it may have seen this run's "
            "validation films; train a teacher on this split"
        )
    guide = load_network(teacher)
    if not isinstance(guide, ResNet | VisionTransformer):
        raise TrainingError(
            f"the teacher {teacher.path} is an {teacher.manifest['model']}; expected a cnn "
            "or a Vision Transformer"
        )
    return guide
