"""AdamW's parameter groups, the learning-rate schedule, and the moving average of weights."""

import copy
import math

import torch
from torch import nn


def make_optimizer(network: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """Returns AdamW over ``network``; the schedule sets its learning rate before each step.

    Weight decay is kept off biases, norms, class token and position embeddings, as usual for
    ViTs: it would pull them towards a point that means nothing.

    Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (arXiv:1711.05101).
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        is_embedding = name.endswith(("cls_token", "pos_embed"))
        (plain if parameter.ndim <= 1 or is_embedding else decayed).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=0.0,
        fused=True,
    )


def lr_at(step: int, *, peak: float, num_steps: int, warmup_steps: int, min_ratio: float) -> float:
    """Returns the learning rate of step ``step``, counted from 0.

    Linear from ``peak / warmup_steps`` to ``peak`` over the warm-up, then half a cosine down to
    ``min_ratio * peak`` at the last step.

    Source: Loshchilov & Hutter, "SGDR" (arXiv:1608.03983), equation 5, without restarts.

    >>> [round(lr_at(s, peak=1, num_steps=6, warmup_steps=2, min_ratio=0), 2) for s in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.25, 0.0]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - 1 - warmup_steps)
    return peak * (min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress)))


class WeightAverage:
    """An exponential moving average of a network's weights, kept as a network of its own.

    The decay is ``min(decay, (1 + n) / (10 + n))`` after n updates, so that the random start is
    forgotten soon. With ``decay`` 0 the average is the network itself.

    Source: Tarvainen & Valpola, "Mean teachers" (arXiv:1703.01780), section 2; the ramp is
    TensorFlow's ExponentialMovingAverage with ``num_updates``.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Starts as a copy of ``network``."""
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, num_updates: int) -> None:
        """Moves the average towards ``network``, whose ``num_updates``-th step is just done."""
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        ours, theirs = self.network.state_dict(), network.state_dict()
        floats = [key for key, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [ours[key] for key in floats], [theirs[key] for key in floats], 1.0 - decay
        )
        for key in ours.keys() - floats:  # BatchNorm's step counters
            ours[key].copy_(theirs[key])
