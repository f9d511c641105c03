"""Parameter groups of AdamW and Muon, and the moving average of weights."""

import copy
import re
from itertools import chain
from typing import Any, Literal

import torch
from torch import nn

from pneumoscope.training.muon import Muon


class Optimizers:
    """Several optimizers, each of some of a network's parameters, that step as one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        """``parts`` share no parameter."""
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts, to be changed in place."""
        return list(chain.from_iterable(part.param_groups for part in self.parts))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        """Moves the parameters by their gradients."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Returns the parts' states, keyed by their places."""
        return {str(place): part.state_dict() for place, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what `state_dict` of the same kind of optimizers gave."""
        for place, part in enumerate(self.parts):
            part.load_state_dict(state[str(place)])


def make_optimizer(
    network: nn.Module,
    weight_decay: float,
    layer_decay: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    name: Literal["adamw", "muon"] = "adamw",
    dtype: torch.dtype = torch.float32,
) -> torch.optim.AdamW | Optimizers:
    """Returns the optimizer of ``network``; the schedule sets its learning rate before each step.

    Weight decay is kept off biases, norms, class token and position embeddings, as usual for
    ViTs: it would pull them towards a point that means nothing. Every parameter group has an
    ``lr_scale``, by which the schedule's rate is to be multiplied: ``layer_decay`` to the power
    of the number of layers above it, where the layers are the embedding, each block, and all
    that comes after the last block (which has 1).

    Muon takes the weight matrices of the transformer blocks, with the same rates and decay (that of
    query, key and value as the one matrix which it is here); AdamW keeps all other parameters.

    Args:
        network: a network, or a module around one.
        weight_decay: decoupled.
        layer_decay: in (0, 1]; 1 trains all layers alike, as is right without pretraining.
        betas: decays of AdamW's two moving averages.
        name: ``adamw`` for all parameters, or ``muon`` for the blocks' matrices.
        dtype: of Muon's matrix products.

    Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (arXiv:1711.05101);
    Bao et al., "BEiT" (arXiv:2106.08254), appendix, for the layer-wise rates.
    """
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    depth = 1 + max((_block_of(key) for key, _ in network.named_parameters()), default=-1)
    for key, parameter in network.named_parameters():
        is_plain = parameter.ndim <= 1 or _is_embedding(key)
        decay = 0.0 if is_plain else weight_decay
        scale = layer_decay ** (depth + 1 - _layer_of(key, depth))
        is_orthogonal = name == "muon" and parameter.ndim == 2 and _block_of(key) >= 0
        groups.setdefault((is_orthogonal, decay, scale), []).append(parameter)

    def options(is_orthogonal: bool) -> list[dict[str, Any]]:
        return [
            {"params": parameters, "weight_decay": decay, "lr_scale": scale}
            for (kind, decay, scale), parameters in groups.items()
            if kind == is_orthogonal
        ]

    adamw = torch.optim.AdamW(options(False), lr=0.0, betas=betas, fused=True)
    if name == "adamw":
        return adamw
    return Optimizers(adamw, Muon(options(True), dtype=dtype))


def _is_embedding(name: str) -> bool:
    return name.endswith(("cls_token", "pos_embed", "mask_token"))


def _block_of(name: str) -> int:
    """Returns the number of the transformer block that a parameter lies in, or -1 for none."""
    found = re.search(r"(?:^|\.)blocks\.(\d+)\.", name)
    return int(found[1]) if found else -1


def _layer_of(name: str, depth: int) -> int:
    """Returns 0 for the embedding, 1 to ``depth`` for the blocks, ``depth`` + 1 for the rest."""
    if _is_embedding(name) or "patch_embed." in name:
        return 0
    block = _block_of(name)
    return depth + 1 if block < 0 else block + 1


class WeightAverage:
    """An exponential moving average of a network's weights, kept as a network of its own.

    The decay is ``min(decay, (1 + n) / (10 + n))`` after n updates, so that the random start is
    forgotten soon. With ``decay`` 0 the average is the network itself.

    Source: Tarvainen & Valpola, "Mean teachers" (arXiv:1703.01780), section 2; the ramp is
    TensorFlow's ExponentialMovingAverage with ``num_updates``.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Starts as a copy of ``network``, which is to be trained in place."""
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False)
        # The same tensors for all of the training: to look them up takes longer than to move them.
        ours, theirs = self.network.state_dict(), network.state_dict()
        floats = [key for key, value in ours.items() if value.is_floating_point()]
        self._floats = [ours[key] for key in floats], [theirs[key] for key in floats]
        self._others = [(ours[key], theirs[key]) for key in ours.keys() - floats]

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Moves the average towards the network, whose ``num_updates``-th step is just done."""
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        torch._foreach_lerp_(*self._floats, 1.0 - decay)
        for mine, given in self._others:  # BatchNorm's step counters
            mine.copy_(given)
