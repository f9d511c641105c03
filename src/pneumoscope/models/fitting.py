"""Puts a state dict from outside into one of our networks: exactly, or not at all."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pneumoscope.errors import ModelError, WeightsError
from pneumoscope.labels import CLASS_NAMES
from pneumoscope.models.build import build_model
from pneumoscope.models.npz_archive import quoted
from pneumoscope.models.presets import MODEL_NAMES

_SEPARATE_QKV = re.compile(r"(^|\.)(q_proj|k_proj|v_proj|query|key|value)\.(weight|bias)$")
_MAX_NAMED = 3


def sizes_in(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Returns ``img_size`` and ``in_chans`` as the shapes of a state dict tell them.

    Keys are left out that it does not tell: a CNN works at any ``img_size``, and a ViT's is
    told only by position embeddings of one class token and a square grid.

    >>> sizes_in({
    ...     "patch_embed.proj.weight": torch.zeros(8, 1, 16, 16),
    ...     "pos_embed": torch.zeros(1, 1 + 24 * 24, 8),
    ... })
    {'in_chans': 1, 'img_size': 384}
    """
    sizes = {}
    kernel = tensors.get("patch_embed.proj.weight", tensors.get("stem.0.0.weight"))
    if kernel is not None and kernel.ndim == 4:
        sizes["in_chans"] = kernel.shape[1]
        grid = _grid_size(tensors)
        if grid is not None:
            sizes["img_size"] = grid * kernel.shape[2]
    return sizes


def load_exactly(network: nn.Module, tensors: Mapping[str, Tensor], name: str, path: Path) -> None:
    """Fills ``network`` in place, every value from ``tensors`` and all of them used.

    Values are rounded to the network's own precision.

    Args:
        network: made by ``build_model(name, ...)``.
        tensors: the state dict.
        name: what the network is called.
        path: the file, for messages.

    Raises:
        WeightsError: keys are missing, unexpected or misshapen (up to three of each are named);
            the network is then unchanged.
    """
    wanted = network.state_dict()
    both = [key for key in wanted if key in tensors]
    problems = {
        "lacks": [quoted(key) for key in wanted if key not in tensors],
        "holds, unexpected,": [quoted(key) for key in tensors if key not in wanted],
        "holds": [
            f"{quoted(key)} of shape {tuple(tensors[key].shape)} for {tuple(wanted[key].shape)}"
            for key in both
            if tensors[key].shape != wanted[key].shape
        ]
        + [
            f"{quoted(key)} of {tensors[key].dtype} for {wanted[key].dtype}"
            for key in both
            if tensors[key].is_floating_point() != wanted[key].is_floating_point()
        ],
    }
    if any(problems.values()):
        found = [f"{what} {_shorten(names)}" for what, names in problems.items() if names]
        text = "; ".join([f"it {', '.join(found)}", *_hints(network, tensors, name)])
        raise WeightsError(f"{path} does not fit {name}: {text}")
    network.load_state_dict(dict(tensors))


def _shorten(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" (and {more} more)" if more > 0 else "")


def _hints(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> Iterator[str]:
    """Yields what the misfit probably comes from and what to do about it."""
    if any(_SEPARATE_QKV.search(key) for key in tensors):
        yield (
            "its q, k and v are stored apart, as Hugging Face does, which is not read: expected "
            "timm's names, with one attn.qkv a block"
        )
        return
    head = tensors.get("head.weight")
    if head is not None and head.shape[:1] != (len(CLASS_NAMES),):
        yield (
            f"its head has {head.shape[0] if head.ndim else 0} outputs, expected "
            f"{len(CLASS_NAMES)} ({', '.join(CLASS_NAMES)}): fine-tune it on these classes first"
        )
    sizes = sizes_in(tensors)
    if sizes.get("img_size", network.img_size) != network.img_size:
        yield (
            f"its position embeddings are for --img-size {sizes['img_size']}, and resampled ones "
            "would answer otherwise than what was trained: give that size, or none"
        )
    if (other := _fitting_name(tensors, sizes)) not in (None, name):
        yield f"it has the sizes of --model {other}"


def _fitting_name(tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> str | None:
    """Returns the name of the network that a state dict fits but for its head, or None."""
    found = {key: value.shape for key, value in tensors.items()}
    for name in MODEL_NAMES:
        try:
            with torch.device("meta"):
                network = build_model(name, **sizes)
        except ModelError:
            continue
        wanted = {key: value.shape for key, value in network.state_dict().items()}
        if {k: v for k, v in found.items() if not k.startswith("head.")} == {
            k: v for k, v in wanted.items() if not k.startswith("head.")
        }:
            return name
    return None


def _grid_size(tensors: Mapping[str, Tensor]) -> int | None:
    """Returns the patches along one side that the position embeddings are for, or None."""
    pos_embed = tensors.get("pos_embed")
    if pos_embed is None or pos_embed.ndim != 3:
        return None
    side = math.isqrt(max(0, pos_embed.shape[1] - 1))
    return side if side > 0 and side**2 == pos_embed.shape[1] - 1 else None
