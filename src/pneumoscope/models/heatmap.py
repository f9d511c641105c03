"""Heat maps: which parts of a film a network's answer hangs on.

They explain a network, not a patient: a hot region is where the answer came from, which need not
be where the disease is, and no map here was ever compared with a radiologist's outline.

Nothing here touches the networks' own forward pass. Their fused attention keeps no weights, so
hooks compute them once more, only while a map is being made.

Shapes: B batch, S side of the film in pixels, N tokens, D embed_dim, A heads, E head_dim.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pneumoscope.errors import ModelError
from pneumoscope.labels import Label
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.scoring import network_input
from pneumoscope.models.vit import Attention, VisionTransformer

Heatmap = NDArray[np.float32]
"""Heat of every pixel in [0, 1]: (S, S) of one film, (B, S, S) of several."""

_BATCH = 8
"""Films at a time; for gradients all the attention of a forward pass is held at once."""

_OPACITY = 0.6
"""How much of the film the hottest colour hides."""


def class_heatmap(network: nn.Module, pixels: NDArray[np.uint8]) -> Heatmap:
    """Returns what speaks for PNEUMONIA against NORMAL, (B, S, S) float32 in [0, 1].

    Grad-CAM of the last stage for the CNN; for a Vision Transformer the relevance of its patches
    to the class token, which is attention weighted by the gradient of the class. Each film's map
    is stretched to [0, 1] by itself, so maps compare places in a film, not films. A film in which
    nothing speaks for PNEUMONIA has a map of zeros.

    The network is put into eval mode and left so; gradients of its parameters are not touched.

    Args:
        network: a :class:`~pneumoscope.models.vit.VisionTransformer` or a
            :class:`~pneumoscope.models.cnn.ResNet`.
        pixels: grey films (B, S, S) uint8 as the network sees them; S is its ``img_size``.

    Raises:
        ModelError: the network is of another kind, or the films of another size.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017 (arXiv:1610.02391), equations 1 and 2;
    Chefer et al., "Generic Attention-model Explainability", ICCV 2021 (arXiv:2103.15679),
    equations 5 and 6. The score is the difference of the two logits, which is the log-odds.
    """
    if isinstance(network, VisionTransformer):
        return _by_batch(_relevance, network, pixels)
    if isinstance(network, ResNet):
        return _by_batch(_grad_cam, network, pixels)
    raise ModelError(
        f"no heat map is known for a {type(network).__name__}, expected a VisionTransformer or "
        "a ResNet"
    )


def attention_rollout(network: nn.Module, pixels: NDArray[np.uint8]) -> Heatmap:
    """Returns where a Vision Transformer looked, whatever for, (B, S, S) float32 in [0, 1].

    The mean attention of the heads, mixed half and half with the residual path, is multiplied
    through all blocks; the class token's row is the map. It knows of no class. Each film's map
    is stretched to [0, 1] by itself.

    Args:
        network: a :class:`~pneumoscope.models.vit.VisionTransformer`; left in eval mode.
        pixels: grey films (B, S, S) uint8 as the network sees them.

    Raises:
        ModelError: the network is of another kind, or the films of another size.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020
    (arXiv:2005.00928), equation 1.
    """
    if not isinstance(network, VisionTransformer):
        raise ModelError(
            f"a {type(network).__name__} has no attention; expected a VisionTransformer"
        )
    return _by_batch(_rollout, network, pixels)


def overlay(view: NDArray[np.uint8], heatmap: Heatmap) -> NDArray[np.uint8]:
    """Returns the film in grey with its heat laid over it in colour, (H, W, 3) uint8.

    Where there is no heat the film is as it was; the hotter, the less shines through.

    Args:
        view: a grey film (H, W) uint8 of any size.
        heatmap: its map (S, S) in [0, 1]; enlarged or shrunk to the film's size.
    """
    from matplotlib import colormaps  # a tenth of a second that only pictures need

    height, width = view.shape
    resized = Image.fromarray(np.asarray(heatmap, np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    heat = np.asarray(resized).clip(0, 1)  # (H, W)
    colour = colormaps["inferno"](heat)[..., :3] * 255  # (H, W, 3)
    opacity = _OPACITY * heat[..., None]
    painted = view[..., None] * (1 - opacity) + colour * opacity
    return np.asarray(np.rint(painted), np.uint8)


def _by_batch(
    heat_of: Callable[[Any, Tensor], Tensor], network: nn.Module, pixels: NDArray[np.uint8]
) -> Heatmap:
    """Returns the maps (B, S, S) of ``heat_of(network, x)``, which gives coarse ones (B, h, w)."""
    network.eval()
    img_size, in_chans = int(network.img_size), int(network.in_chans)  # type: ignore[arg-type]
    if pixels.ndim != 3 or pixels.shape[1:] != (img_size, img_size):
        raise ModelError(
            f"films are {' x '.join(map(str, pixels.shape))}; this network takes "
            f"B x {img_size} x {img_size}"
        )
    device = next(network.parameters()).device
    maps = [np.empty((0, img_size, img_size), np.float32)]
    for start in range(0, len(pixels), _BATCH):
        batch = torch.from_numpy(np.array(pixels[start : start + _BATCH])).to(device)
        with torch.inference_mode(False), torch.enable_grad():
            # Asking for the input's gradient makes a graph even where all weights are frozen.
            x = network_input(batch.clone(), in_chans).requires_grad_()
            heat = heat_of(network, x).detach()  # (B, h, w)
        large = F.interpolate(heat[:, None].float(), size=(img_size, img_size), mode="bilinear")
        maps.append(_stretched(large[:, 0]).cpu().numpy())
    return np.concatenate(maps)


def _stretched(heat: Tensor) -> Tensor:  # (B, S, S)
    """Returns each map from 0 at its coolest to 1 at its hottest; flat ones become zeros."""
    low = heat.amin(dim=(1, 2), keepdim=True)
    spread = heat.amax(dim=(1, 2), keepdim=True) - low
    return torch.where(spread > 0, (heat - low) / spread, 0.0)


def _log_odds(logits: Tensor) -> Tensor:  # (B, K)
    return logits[:, Label.PNEUMONIA] - logits[:, Label.NORMAL]  # (B,)


def _grad_cam(network: ResNet, x: Tensor) -> Tensor:  # (B, C, S, S)
    maps = network.forward_features(x)  # (B, D, h, w)
    # Films do not influence one another, so one gradient of the sum serves all.
    (gradient,) = torch.autograd.grad(_log_odds(network.classify(maps)).sum(), maps)
    weights = gradient.mean(dim=(2, 3), keepdim=True)  # (B, D, 1, 1)
    return F.relu((weights * maps).sum(dim=1))  # (B, h, w)


def _relevance(network: VisionTransformer, x: Tensor) -> Tensor:  # (B, C, S, S)
    with _attention_weights(network) as weights:
        # The film itself alone, even where the network averages its answer over views.
        score = _log_odds(network.classify(network.forward_features(x))).sum()
    gradients = torch.autograd.grad(score, weights)
    relevance = torch.eye(weights[0].shape[-1], device=x.device)  # (N, N)
    for weight, gradient in zip(weights, gradients, strict=True):  # each (B, A, N, N)
        helpful = F.relu(gradient * weight).mean(dim=1)  # (B, N, N)
        relevance = relevance + helpful @ relevance
    return _grid_of(relevance)


def _rollout(network: VisionTransformer, x: Tensor) -> Tensor:  # (B, C, S, S)
    with torch.no_grad():
        weights = network.attention_maps(x)
    identity = torch.eye(weights[0].shape[-1], device=x.device)  # (N, N)
    flow = identity
    for weight in weights:  # (B, A, N, N)
        flow = (0.5 * weight.mean(dim=1) + 0.5 * identity) @ flow
    return _grid_of(flow)


def _grid_of(flow: Tensor) -> Tensor:  # (B, N, N)
    """Returns the class token's share of every patch, laid out as the patches are: (B, h, w)."""
    of_patches = flow[:, 0, 1:]
    side = round(of_patches.shape[1] ** 0.5)
    return of_patches.reshape(-1, side, side)


@contextmanager
def _attention_weights(network: VisionTransformer) -> Iterator[list[Tensor]]:
    """Yields a list that the next forward pass fills: every block's weights (B, A, N, N).

    Meanwhile the blocks' attention goes through these weights instead of the fused kernel, so
    that gradients reach them. The answer is the same but for rounding.
    """
    weights: list[Tensor] = []

    def attend(attention: Attention, inputs: tuple[Tensor], _: Tensor) -> Tensor:
        (x,) = inputs
        B, N, D = x.shape
        A = attention.num_heads
        values = attention.qkv(x)[..., 2 * D :].reshape(B, N, A, D // A).transpose(1, 2)
        weights.append(attention.attention_map(x))
        attended = weights[-1] @ values  # (B, A, N, E)
        projected: Tensor = attention.proj(attended.transpose(1, 2).flatten(2))  # (B, N, D)
        return projected

    modules = [module for module in network.modules() if isinstance(module, Attention)]
    handles = [module.register_forward_hook(attend) for module in modules]
    try:
        yield weights
    finally:
        for handle in handles:
            handle.remove()
