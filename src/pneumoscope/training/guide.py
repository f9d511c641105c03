"""The network of a teacher, and which teachers a run may have."""

import torch

from pneumoscope.bundle import Bundle
from pneumoscope.errors import TrainingError
from pneumoscope.models.build import ENSEMBLE
from pneumoscope.models.bundles import load_network
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.ensemble import Ensemble
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.device import Device


def load_teacher(
    teacher: Bundle, split_sha256: str, device: Device
) -> ResNet | VisionTransformer | Ensemble:
    """Returns the network of a teacher that has seen no validation film of the split, on a device.

    Building it draws from torch's random state.

    Raises:
        BundleError: the bundle is damaged.
        ModelError: its network cannot be built.
        TrainingError: it saw other or unknown films in training.
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
    network = load_network(teacher)
    assert isinstance(network, ResNet | VisionTransformer | Ensemble), "there are no other networks"
    # Convolutions run faster on channels-last memory; a ViT does not mind.
    network.to(device.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def load_guide(teacher: Bundle, split_sha256: str, device: Device) -> ResNet | VisionTransformer:
    """Returns the network of a teacher that has maps to learn from; see :func:`load_teacher`.

    Raises:
        BundleError, ModelError, TrainingError: as there; or it is an ensemble.
    """
    if teacher.config["model"]["name"] == ENSEMBLE:
        raise TrainingError(
            f"the teacher {teacher.path} is an ensemble, which has no map to learn from; learn "
            "from its answers alone (distillation.feature_weight = 0), or name another teacher"
        )
    network = load_teacher(teacher, split_sha256, device)
    assert isinstance(network, ResNet | VisionTransformer), "there is no other that is one network"
    return network
