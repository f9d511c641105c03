"""Google's ``.npz`` layout of a Vision Transformer: its arrays, and what a file says it is.

Letters in the table: P patch side, C channels, D embed_dim, T tokens (1 + patches), A heads,
E head_dim, M width of the MLP, R representation_size, K classes.

Source: github.com/google-research/vision_transformer (``vit_jax/models_vit.py``, and
``vit_jax/checkpoint.py`` for the older names), commit 16fc24d.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pneumoscope.errors import WeightsError
from pneumoscope.models.npz_archive import ArrayHeader, NpzArchive, open_npz, quoted
from pneumoscope.models.presets import VIT_PRESETS

Row = tuple[str, str, str]
"""An array in the file, its axes, and its key in the state dict."""

_STEM: tuple[Row, ...] = (
    ("embedding/kernel", "PPCD", "patch_embed.proj.weight"),
    ("embedding/bias", "D", "patch_embed.proj.bias"),
    ("cls", "11D", "cls_token"),
    ("Transformer/posembed_input/pos_embedding", "1TD", "pos_embed"),
)
_BLOCK: tuple[Row, ...] = (
    ("LayerNorm_0/scale", "D", "norm1.weight"),
    ("LayerNorm_0/bias", "D", "norm1.bias"),
    ("{attention}/query/kernel", "DAE", "attn.qkv.weight"),
    ("{attention}/query/bias", "AE", "attn.qkv.bias"),
    ("{attention}/key/kernel", "DAE", "attn.qkv.weight"),
    ("{attention}/key/bias", "AE", "attn.qkv.bias"),
    ("{attention}/value/kernel", "DAE", "attn.qkv.weight"),
    ("{attention}/value/bias", "AE", "attn.qkv.bias"),
    ("{attention}/out/kernel", "AED", "attn.proj.weight"),
    ("{attention}/out/bias", "D", "attn.proj.bias"),
    ("{norm2}/scale", "D", "norm2.weight"),
    ("{norm2}/bias", "D", "norm2.bias"),
    ("{mlp}/Dense_0/kernel", "DM", "mlp.fc1.weight"),
    ("{mlp}/Dense_0/bias", "M", "mlp.fc1.bias"),
    ("{mlp}/Dense_1/kernel", "MD", "mlp.fc2.weight"),
    ("{mlp}/Dense_1/bias", "D", "mlp.fc2.bias"),
)
_NORM: tuple[Row, ...] = (
    ("Transformer/encoder_norm/scale", "D", "norm.weight"),
    ("Transformer/encoder_norm/bias", "D", "norm.bias"),
)
_HEAD: tuple[Row, ...] = (
    ("head/kernel", "DK", "head.weight"),
    ("head/bias", "K", "head.bias"),
)
_PRE_LOGITS_AND_HEAD: tuple[Row, ...] = (
    ("pre_logits/kernel", "DR", "pre_logits.fc.weight"),
    ("pre_logits/bias", "R", "pre_logits.fc.bias"),
    ("head/kernel", "RK", "head.weight"),
    ("head/bias", "K", "head.bias"),
)

_MAX_GRID_SIZE = 128  # 2048 px in patches of 16, far above what was released
_PARTS = {"query": 0, "key": 1, "value": 2}

NAMINGS: dict[str, dict[str, str]] = {
    "pre-linen": {
        "attention": "MultiHeadDotProductAttention_1", "norm2": "LayerNorm_2",
        "mlp": "MlpBlock_3",
    },
    "linen": {
        "attention": "MultiHeadDotProductAttention_0", "norm2": "LayerNorm_1",
        "mlp": "MlpBlock_0",
    },
}  # fmt: skip
"""The two generations of names inside a block: Flax before and since its linen API."""


@dataclass(frozen=True)
class Slot:
    """One array of the layout and where it goes.

    ``part`` is 0, 1 or 2 for the q, k and v thirds of a merged projection, else None.
    """

    array: str
    shape: tuple[int, ...]
    key: str
    part: int | None = None


@dataclass(frozen=True)
class WeightsInfo:
    """What a checkpoint file is, read from its headers alone (and hashed).

    Attributes:
        name: Google's name, such as ``"ViT-Ti/16"``; ``"ViT(48x2)/16"`` (width, depth) for
            a size that has none.
        model_name: what :func:`pneumoscope.build_model` calls it, or None.
        resolution: side in pixels of the square images it was trained at.
        representation_size: width of its ``pre_logits`` layer, or None where it has none.
        num_parameters: values in all its arrays, the head included.
        naming: generation of its names, ``"pre-linen"`` or ``"linen"``.
        sha256: of the file's bytes.
    """

    name: str
    model_name: str | None
    embed_dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    patch_size: int
    resolution: int
    in_chans: int
    num_classes: int
    representation_size: int | None
    num_parameters: int
    naming: str
    sha256: str

    @property
    def has_pre_logits(self) -> bool:
        """Whether a tanh layer stands before the head, as in the in21k files."""
        return self.representation_size is not None


def inspect_npz(path: str | Path) -> WeightsInfo:
    """Returns what the checkpoint at ``path`` is; no array is loaded.

    Raises:
        UsageError: there is no such file.
        WeightsError: it is not a Vision Transformer in Google's layout.
    """
    with open_npz(Path(path)) as archive:
        return recognise(archive)[0]


def recognise(archive: NpzArchive) -> tuple[WeightsInfo, list[Slot]]:
    """Returns what the archive is, and the place of each of its arrays in a state dict.

    Raises:
        WeightsError: an array is missing, unknown, misshapen or not of floating-point numbers.
    """
    headers = archive.headers
    depth = len(set(re.findall(r"^Transformer/encoderblock_(\d+)/", "\n".join(headers), re.M)))
    has_pre_logits = "pre_logits/kernel" in headers
    try:
        naming = _naming(headers)
        rows = _rows(depth, naming, has_pre_logits)
        _check_names(headers, [array for array, _, _ in rows])
        sizes = _sizes(headers, rows)
        slots = [_slot(row, sizes) for row in rows]
        _check_arrays(headers, slots)
    except WeightsError as error:
        raise WeightsError(
            f"{archive.path} is not a Vision Transformer in Google's layout: {error}; "
            "expected one of the files that docs/pretrained-weights.md describes"
        ) from error
    model_name = _model_name(sizes, depth)
    return WeightsInfo(
        name=_google_name(model_name) or f"ViT({sizes['D']}x{depth})/{sizes['P']}",
        model_name=model_name,
        embed_dim=sizes["D"],
        depth=depth,
        num_heads=sizes["A"],
        mlp_dim=sizes["M"],
        patch_size=sizes["P"],
        resolution=math.isqrt(sizes["T"] - 1) * sizes["P"],
        in_chans=sizes["C"],
        num_classes=sizes["K"],
        representation_size=sizes["R"] if has_pre_logits else None,
        num_parameters=sum(math.prod(slot.shape) for slot in slots),
        naming=naming,
        sha256=archive.sha256(),
    ), slots


def _naming(headers: Mapping[str, ArrayHeader]) -> str:
    """Returns the generation of names that the first block uses."""
    for naming, names in NAMINGS.items():
        if f"Transformer/encoderblock_0/{names['attention']}/query/kernel" in headers:
            return naming
    found = ", ".join(quoted(name) for name in list(headers)[:3]) or "nothing"
    raise WeightsError(
        f"it has no attention kernel in 'Transformer/encoderblock_0' (it holds {found}, ...)"
    )


def _rows(depth: int, naming: str, has_pre_logits: bool) -> list[Row]:
    """Returns the table of a whole network, in the order of its layers."""
    blocks = [
        (
            f"Transformer/encoderblock_{i}/{array.format(**NAMINGS[naming])}",
            axes,
            f"blocks.{i}.{key}",
        )
        for i in range(depth)
        for array, axes, key in _BLOCK
    ]
    return [*_STEM, *blocks, *_NORM, *(_PRE_LOGITS_AND_HEAD if has_pre_logits else _HEAD)]


def _check_names(headers: Mapping[str, ArrayHeader], expected: list[str]) -> None:
    """Refuses a file that does not hold just these arrays, by the name of the first."""
    known = set(expected)
    for problem, names in (
        ("missing", [name for name in expected if name not in headers]),
        ("no part of it", [name for name in headers if name not in known]),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise WeightsError(f"{quoted(names[0])} is {problem}{more}")


def _sizes(headers: Mapping[str, ArrayHeader], rows: Sequence[Row]) -> dict[str, int]:
    """Returns the length of each axis by letter, as most arrays have it.

    A majority, so that the array named as misshapen is the odd one and not its neighbours.
    """
    votes: dict[str, Counter[int]] = defaultdict(Counter)
    for array, axes, _ in rows:
        shape = headers[array].shape
        if len(shape) != len(axes):
            raise WeightsError(
                f"{quoted(array)} has shape {shape!s:.80}, expected {len(axes)} axes"
            )
        for axis, length in zip(axes, shape, strict=True):
            votes[axis][length] += 1
    sizes = {axis: counter.most_common(1)[0][0] for axis, counter in votes.items()} | {"1": 1}
    if sizes["A"] * sizes["E"] != sizes["D"]:
        raise WeightsError(
            f"its {sizes['A']} heads of {sizes['E']} values do not make the width {sizes['D']}"
        )
    grid_size = math.isqrt(sizes["T"] - 1)
    if not 1 <= grid_size <= _MAX_GRID_SIZE or grid_size**2 != sizes["T"] - 1:
        raise WeightsError(
            f"its {sizes['T']} position embeddings are not a class token and a square grid of "
            f"at most {_MAX_GRID_SIZE} x {_MAX_GRID_SIZE}"
        )
    return sizes


def _slot(row: Row, sizes: Mapping[str, int]) -> Slot:
    """Returns a row of the table with the letters replaced by their lengths."""
    array, axes, key = row
    part = _PARTS.get(PurePosixPath(array).parent.name)
    return Slot(array, tuple(sizes[axis] for axis in axes), key, part)


def _check_arrays(headers: Mapping[str, ArrayHeader], slots: Sequence[Slot]) -> None:
    """Refuses a file with an array of another shape or of other numbers, by its name."""
    for slot in slots:
        shape, dtype = headers[slot.array].shape, headers[slot.array].dtype
        if shape != slot.shape:
            raise WeightsError(
                f"{quoted(slot.array)} has shape {shape!s:.80}, expected {slot.shape}"
            )
        if dtype.kind != "f" or dtype.itemsize > 8:
            raise WeightsError(f"{quoted(slot.array)} is {dtype!s:.20}, expected float32")


def _model_name(sizes: Mapping[str, int], depth: int) -> str | None:
    """Returns the preset of Google's that has these sizes, or None."""
    if sizes["M"] != 4 * sizes["D"]:
        return None
    wanted = {
        "embed_dim": sizes["D"], "depth": depth, "num_heads": sizes["A"],
        "patch_size": sizes["P"], "gelu": "tanh",
    }  # fmt: skip
    return next((n for n, preset in VIT_PRESETS.items() if wanted.items() <= preset.items()), None)


def _google_name(model_name: str | None) -> str | None:
    """Returns Google's name of a preset: ``vit_ti16`` is ViT-Ti/16."""
    match = re.fullmatch(r"vit_([a-z]+)(\d+)", model_name or "")
    return f"ViT-{match[1].capitalize()}/{match[2]}" if match else None
