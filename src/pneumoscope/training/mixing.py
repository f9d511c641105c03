"""Films of a batch mixed with one another, and their labels with them: Mixup and CutMix.

Shapes: B films of this process, C channels, H height, W width.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pneumoscope.config import AugmentationConfig
from pneumoscope.training.device import send


class Mix(NamedTuple):
    """What else is in mixed films: the labels (B,) of the partners, and the share of the first."""

    labels: Tensor
    share: Tensor


def mix_films(x: Tensor, labels: Tensor, config: AugmentationConfig) -> tuple[Tensor, Mix | None]:
    """Returns the films mixed with partners from their own batch, and what was mixed in.

    One share is drawn for the batch from Beta(alpha, alpha). Mixup adds both films by their
    shares; CutMix puts a rectangle of the partner in place, and the share is that of the area
    left. Without either, ``x`` comes back as it is, with None, and nothing is drawn.

    Args:
        x: (B, C, H, W).
        labels: (B,) class indices.
        config: ``mixup_alpha`` and ``cutmix_alpha``.

    Source: Zhang et al., "mixup" (arXiv:1710.09412), equation 1; Yun et al., "CutMix"
    (arXiv:1905.04899), equations 1 and 2. One of both a batch, as in timm.
    """
    alphas = [config.mixup_alpha, config.cutmix_alpha]
    if not any(alphas):
        return x, None
    is_cut = bool(config.cutmix_alpha) and (not config.mixup_alpha or bool(torch.rand(()) < 0.5))
    alpha = torch.tensor(alphas[is_cut])
    drawn = torch.distributions.Beta(alpha, alpha).sample()
    share, partner = send(drawn, x.device), send(torch.randperm(len(x)), x.device)
    if not is_cut:
        return share * x + (1.0 - share) * x[partner], Mix(labels[partner], share)
    top, bottom, left, right = _box(float(drawn), x.shape[2], x.shape[3])
    mixed = x.clone()
    mixed[:, :, top:bottom, left:right] = x[partner, :, top:bottom, left:right]
    cut = (bottom - top) * (right - left) / (x.shape[2] * x.shape[3])
    return mixed, Mix(labels[partner], send(torch.tensor(1.0 - cut), x.device))


def _box(share: float, height: int, width: int) -> tuple[int, int, int, int]:
    """Returns top, bottom, left and right of a box of ``1 - share`` of the area, before clipping.

    Its centre is anywhere on the film.
    """
    side = (1.0 - share) ** 0.5
    y, x = (torch.rand(2) * torch.tensor([height, width])).tolist()
    top, bottom = (round(y + sign * side * height / 2) for sign in (-1, 1))
    left, right = (round(x + sign * side * width / 2) for sign in (-1, 1))
    return max(0, top), min(height, bottom), max(0, left), min(width, right)
