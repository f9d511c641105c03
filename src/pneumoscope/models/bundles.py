"""Weights of a bundle: writing them small, and rebuilding the network around them."""

from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import nn

from pneumoscope.bundle import Bundle
from pneumoscope.errors import BundleError
from pneumoscope.files import write_bytes
from pneumoscope.labels import CLASS_NAMES
from pneumoscope.models.build import build_model


def save_weights(network: nn.Module, path: Path, dtype: torch.dtype) -> None:
    """Writes the state dict to ``path`` as safetensors, atomically; floats become ``dtype``."""
    state = {
        key: (value.to(dtype) if value.is_floating_point() else value).cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    write_bytes(path, save(state))


def load_weights(network: nn.Module, path: Path) -> None:
    """Loads a safetensors file into ``network`` in place, in the network's own precision.

    Raises:
        BundleError: not safetensors, or its tensors are not exactly the network's.
    """
    try:
        state = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise BundleError(f"{path} cannot be read as safetensors: {error}") from error
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise BundleError(f"{path} does not fit the network of config.json: {detail}") from error


def load_network(bundle: Bundle) -> nn.Module:
    """Returns the bundle's network in eval mode, float32, on the CPU.

    Raises:
        BundleError: weights and configuration do not fit.
        ModelError: the configuration names no network that this version knows.
    """
    network = build_model(**bundle.config["model"], num_classes=len(CLASS_NAMES))
    load_weights(network, bundle.path / "model.safetensors")
    return network.eval()
