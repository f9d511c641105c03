"""What a training step minimises: the labels alone, or the labels and a teacher."""

import numpy as np
import torch
from numpy.typing import NDArray

from pneumoscope.bundle import Bundle
from pneumoscope.config import Recipe
from pneumoscope.labels import CLASS_NAMES
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.device import Device
from pneumoscope.training.distillation import Distilled, Guided
from pneumoscope.training.guide import load_guide, load_teacher
from pneumoscope.training.supervised import CauseTask, Supervised, class_weights


def make_objective(
    network: ResNet | VisionTransformer,
    recipe: Recipe,
    labels: NDArray[np.int64],
    causes: NDArray[np.int64] | None,
    device: Device,
    *,
    teacher: Bundle | None,
    split_sha256: str,
) -> Supervised:
    """Returns what a training step minimises, on the device.

    Args:
        network: on the device; new heads and projections draw from torch's random state.
        recipe: names smoothing, class weights, the second task and the distillation.
        labels: class indices (N,) of the training films, each class present.
        causes: (N,) of the training films, each cause present, where a second task asks for them.
        device: where to compute.
        teacher: the bundle that guides the network, where one does.
        split_sha256: names the split.

    Raises:
        BundleError, ModelError, TrainingError: of the teacher; see :func:`load_teacher` and
            :func:`load_guide`.
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
    if teacher is None:
        return Supervised(network, *rest).to(device.device)
    distilled: Distilled
    if recipe.distillation.feature_weight:
        assert isinstance(network, VisionTransformer), "the recipe says so"
        guide = load_guide(teacher, split_sha256, device)
        distilled = Guided(network, guide, recipe.distillation, *rest)
    else:
        answering = load_teacher(teacher, split_sha256, device)
        distilled = Distilled(network, answering, recipe.distillation, *rest)
    return distilled.to(device.device)
