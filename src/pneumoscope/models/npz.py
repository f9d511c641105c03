"""Puts Google's JAX checkpoints (``.npz``) into our Vision Transformer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from pneumoscope.errors import WeightsError
from pneumoscope.models.npz_archive import NpzArchive, open_npz, quoted
from pneumoscope.models.npz_format import Slot, WeightsInfo, recognise
from pneumoscope.models.vit import Block, PreLogits, VisionTransformer


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load_npz` did; ``str()`` gives it in one line.

    Attributes:
        path: the file.
        weights: what the file is.
        loaded: state-dict keys that hold the file's values now.
        resampled: what had to be adapted on the way, in words.
        left_out: arrays of the file that the network did not take.
        kept: state-dict keys that hold what they held before.
    """

    path: Path
    weights: WeightsInfo
    loaded: tuple[str, ...]
    resampled: tuple[str, ...]
    left_out: tuple[str, ...]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        """Returns the report as one line."""
        parts = [
            f"{self.weights.name} at {self.weights.resolution} px from {self.path.name}: "
            f"{len(self.loaded)} parameters loaded"
        ]
        for title, names in (
            ("resampled", self.resampled),
            ("left out", self.left_out),
            ("kept as they were", self.kept),
        ):
            if names:
                parts.append(f"{title}: {', '.join(names)}")
        return "; ".join(parts)


def load_npz(model: nn.Module, path: str | Path, *, head: bool | None = None) -> LoadReport:
    """Returns a report after filling ``model`` in place from a checkpoint in Google's layout.

    Position embeddings are resampled to the network's grid; a network with one input channel
    takes the sum of the patch kernel over its channels, which answers as the original does to
    equal channels. A ``pre_logits`` layer is loaded where the network has one of that width.

    What the network takes is read twice, one array at a time: the first time each array is
    checked, and nothing in the network is changed until all have passed; then they are
    copied. So the memory needed beside the network's own is that of the largest array or two.
    (Only a file that is overwritten between the two readings can leave a network half filled;
    that raises WeightsError too.)

    Args:
        model: a :class:`~pneumoscope.models.vit.VisionTransformer` of the file's size, with
            tanh GELU and LayerNorm epsilon 1e-6, as :func:`pneumoscope.build_model` makes them.
        path: the ``.npz``.
        head: the classifier: True takes the file's or refuses, False keeps the network's own,
            None takes the file's if it fits (as many classes, the same ``pre_logits``).

    Raises:
        UsageError: there is no such file.
        WeightsError: the file is not a whole checkpoint of plain numbers, or does not fit the
            network, which is then unchanged.

    Source: github.com/google-research/vision_transformer, ``vit_jax/checkpoint.py``
    (``load_pretrained``), commit 16fc24d.
    """
    if not isinstance(model, VisionTransformer):
        raise WeightsError(
            f"{path} holds a Vision Transformer, the network is a {type(model).__name__}; "
            "build one with build_model('vit_b16') or another Google size"
        )
    with open_npz(Path(path)) as archive:
        weights, slots = recognise(archive)
        _check_fit(model, weights, archive.path)
        taken = _taken_slots(model, weights, slots, head, archive.path)
        for slot in taken:
            _read(archive, slot)
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for slot in taken:
                _copy(_read(archive, slot), slot, parameters[slot.key])
    loaded = dict.fromkeys(slot.key for slot in taken)
    return LoadReport(
        path=archive.path,
        weights=weights,
        loaded=tuple(loaded),
        resampled=_resampled(model, weights),
        left_out=tuple(slot.array for slot in slots if slot not in taken),
        kept=tuple(key for key in parameters if key not in loaded),
    )


def resample_pos_embed(pos_embed: NDArray[np.float32], grid_size: int) -> NDArray[np.float32]:
    """Returns position embeddings (1, 1 + grid_size**2, D) for another square grid.

    The grid is interpolated linearly, its corners kept in place; the class token's embedding
    is untouched.

    Args:
        pos_embed: (1, 1 + N, D), the class token first; N is a square number.
        grid_size: patches along one side of the wanted grid.

    Source: ``load_pretrained`` in Google's ``vit_jax/checkpoint.py``: ``scipy.ndimage.zoom``
    of order 1.
    """
    D = pos_embed.shape[2]
    old_size = round((pos_embed.shape[1] - 1) ** 0.5)
    if old_size == grid_size:
        return pos_embed
    grid = pos_embed[0, 1:].reshape(old_size, old_size, D)
    zoom = grid_size / old_size
    # Google leaves the mode at "constant", where rounding can put the last row outside of the
    # grid and turn it to zeros (8 -> 26, for one); everywhere else the two modes are equal.
    grid = ndimage.zoom(grid, (zoom, zoom, 1), order=1, mode="nearest")
    return np.concatenate([pos_embed[:, :1], grid.reshape(1, -1, D)], axis=1)


def _check_fit(model: VisionTransformer, weights: WeightsInfo, path: Path) -> None:
    """Refuses a network of another size, or one that would compute something else."""
    block = model.blocks[0]
    assert isinstance(block, Block)
    sizes = {
        "embed_dim": model.embed_dim,
        "depth": len(model.blocks),
        "num_heads": model.num_heads,
        "mlp_dim": block.mlp.fc1.out_features,
        "patch_size": model.patch_size,
        "in_chans": weights.in_chans if _folds_channels(model, weights) else model.in_chans,
    }
    differences = [
        f"{name} {getattr(weights, name)} in the file and {size} in the network"
        for name, size in sizes.items()
        if getattr(weights, name) != size
    ]
    if block.mlp.act.approximate != "tanh":
        differences.append("tanh GELU in the file and exact GELU in the network")
    if model.norm.eps != 1e-6:
        differences.append(f"norm_eps 1e-06 in the file and {model.norm.eps} in the network")
    if differences:
        advice = f"; use build_model({weights.model_name!r})" if weights.model_name else ""
        raise WeightsError(
            f"{path} ({weights.name}) does not fit the network: {', '.join(differences)}{advice}"
        )


def _folds_channels(model: VisionTransformer, weights: WeightsInfo) -> bool:
    """Returns whether a colour kernel goes into a network for grey images."""
    return (weights.in_chans, model.in_chans) == (3, 1)


def _taken_slots(
    model: VisionTransformer,
    weights: WeightsInfo,
    slots: Sequence[Slot],
    head: bool | None,
    path: Path,
) -> list[Slot]:
    """Returns the slots that the network takes, as :func:`load_npz` describes for ``head``."""
    pre_logits = model.pre_logits
    size = pre_logits.fc.out_features if isinstance(pre_logits, PreLogits) else None
    takes_pre_logits = size is not None and size == weights.representation_size
    fits = size == weights.representation_size and model.num_classes == weights.num_classes
    if head and not fits:
        raise WeightsError(
            f"the head of {path} has {weights.num_classes} classes and representation_size "
            f"{weights.representation_size}, the network {model.num_classes} and {size}; build "
            "the network with those, or load without the head"
        )
    takes_head = fits if head is None else head
    takes = {"head": takes_head, "pre_logits": takes_pre_logits}
    return [slot for slot in slots if takes.get(slot.key.split(".")[0], True)]


def _read(archive: NpzArchive, slot: Slot) -> NDArray[np.float32]:
    """Returns one array as float32; refuses values that are not finite."""
    array = np.asarray(archive.read(slot.array), dtype=np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(
            f"{archive.path}: {quoted(slot.array)} holds values that are not finite numbers; "
            "download the file again"
        )
    return array


def _copy(array: NDArray[np.float32], slot: Slot, parameter: Tensor) -> None:
    """Copies an array into its parameter, or into its third of a merged one."""
    target = parameter if slot.part is None else parameter.chunk(3)[slot.part]
    value: NDArray[Any]
    if slot.key == "pos_embed":
        value = resample_pos_embed(array, round((target.shape[1] - 1) ** 0.5))
    elif slot.key == "patch_embed.proj.weight":
        folded = array.sum(axis=2, keepdims=True) if target.shape[1] == 1 else array
        value = folded.transpose(3, 2, 0, 1)  # (P, P, C, D) -> (D, C, P, P)
    elif slot.array.endswith("/kernel"):
        value = array.reshape(target.shape[1], target.shape[0]).T  # (in, out) -> (out, in)
    else:
        value = array.reshape(target.shape)
    target.copy_(torch.from_numpy(value))


def _resampled(model: VisionTransformer, weights: WeightsInfo) -> tuple[str, ...]:
    """Returns what had to be adapted to the network, in words."""
    old_size = weights.resolution // weights.patch_size
    new_size = model.img_size // model.patch_size
    words = []
    if old_size != new_size:
        words.append(f"pos_embed from {old_size} x {old_size} to {new_size} x {new_size}")
    if _folds_channels(model, weights):
        words.append("patch_embed.proj.weight from 3 channels to their sum")
    return tuple(words)
