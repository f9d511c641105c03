"""From a name to a network."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pneumoscope.errors import ModelError
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.ensemble import Ensemble
from pneumoscope.models.presets import CNN_PRESETS, MODEL_NAMES, VIT_PRESETS
from pneumoscope.models.vit import VisionTransformer

ENSEMBLE = "ensemble"
"""What the configuration of an ensemble's bundle names as its model."""


def build_model(
    name: str, num_classes: int = 2, img_size: int = 224, in_chans: int = 3, **options: Any
) -> nn.Module:
    """Returns a freshly initialised network that maps (B, C, H, W) in [-1, 1] to logits (B, K).

    The initial weights come from torch's global random state; seed it for repeatable ones.

    Args:
        name: one of :data:`~pneumoscope.models.presets.MODEL_NAMES`; or ``"ensemble"``, with
            the option ``members``, the arguments of each, by which its sizes are given too.
        num_classes: K.
        img_size: side of the square input in pixels.
        in_chans: C; 3 for the published networks, whose channels are equal on grey films.
        options: further constructor arguments (``drop_path_rate``, ``patch_drop_rate``, ...).

    Raises:
        ModelError: no such name or option, or sizes that do not fit.

    >>> model = build_model("vit_scratch")
    >>> sum(parameter.numel() for parameter in model.parameters())
    4987138
    """
    if name == ENSEMBLE:
        return _build_ensemble(num_classes=num_classes, **options)
    network: type[nn.Module]
    if name in VIT_PRESETS:
        network, preset = VisionTransformer, VIT_PRESETS[name]
    elif name in CNN_PRESETS:
        network, preset = ResNet, CNN_PRESETS[name]
    else:
        near = difflib.get_close_matches(name, MODEL_NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(MODEL_NAMES)}"
        raise ModelError(f"no model is called {name!r}; {hint}")
    try:
        return network(
            num_classes=num_classes, img_size=img_size, in_chans=in_chans, **{**preset, **options}
        )
    except TypeError as error:
        raise ModelError(f"{name} cannot be built: {error}") from error


def _build_ensemble(
    *, num_classes: int, members: Sequence[Mapping[str, Any]] = (), **options: Any
) -> Ensemble:
    if options:
        raise ModelError(f"an ensemble takes members alone, not {', '.join(options)}")
    return Ensemble([build_model(**member, num_classes=num_classes) for member in members])


def num_parameters(model: nn.Module) -> int:
    """Returns the number of trainable and frozen parameters; buffers are not counted."""
    return sum(parameter.numel() for parameter in model.parameters())
