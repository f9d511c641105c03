import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pneumoscope.errors import WeightsError
from pneumoscope.files import sha256_of
from pneumoscope.models.build import build_model
from pneumoscope.models.npz_archive import ArrayHeader
from pneumoscope.models.npz_format import inspect_npz, recognise
from pneumoscope.models.presets import VIT_PRESETS

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = REPOSITORY / "tests" / "golden" / "tiny_in21k_checkpoint.npz"
TINY_LINEN = REPOSITORY / "tests" / "golden" / "tiny_linen_checkpoint.npz"
FLOAT32 = np.dtype("float32")

# name, width, depth, heads, MLP: Dosovitskiy et al., table 1; Steiner et al., table 2
GOOGLE_SIZES = [
    ("Ti", 192, 12, 3, 768),
    ("S", 384, 12, 6, 1536),
    ("B", 768, 12, 12, 3072),
    ("L", 1024, 24, 16, 4096),
]


def checkpoint(
    *,
    embed_dim: int = 48,
    depth: int = 2,
    num_heads: int = 3,
    mlp_dim: int = 96,
    patch_size: int = 16,
    grid_size: int = 4,
    num_classes: int = 21,
    pre_logits: bool = True,
    linen: bool = False,
) -> dict[str, tuple[int, ...]]:
    """Array names and shapes as Google's Flax model writes them."""
    attention, norm, mlp = (0, 1, 0) if linen else (1, 2, 3)
    D, A, M, P, K = embed_dim, num_heads, mlp_dim, patch_size, num_classes
    E = D // A
    shapes = {
        "embedding/kernel": (P, P, 3, D),
        "embedding/bias": (D,),
        "cls": (1, 1, D),
        "Transformer/posembed_input/pos_embedding": (1, 1 + grid_size**2, D),
        "Transformer/encoder_norm/scale": (D,),
        "Transformer/encoder_norm/bias": (D,),
        "head/kernel": (D, K),
        "head/bias": (K,),
    }
    if pre_logits:
        shapes |= {"pre_logits/kernel": (D, D), "pre_logits/bias": (D,)}
    for i in range(depth):
        block = f"Transformer/encoderblock_{i}"
        for n in (0, norm):
            shapes[f"{block}/LayerNorm_{n}/scale"] = (D,)
            shapes[f"{block}/LayerNorm_{n}/bias"] = (D,)
        for part in ("query", "key", "value"):
            shapes[f"{block}/MultiHeadDotProductAttention_{attention}/{part}/kernel"] = (D, A, E)
            shapes[f"{block}/MultiHeadDotProductAttention_{attention}/{part}/bias"] = (A, E)
        shapes[f"{block}/MultiHeadDotProductAttention_{attention}/out/kernel"] = (A, E, D)
        shapes[f"{block}/MultiHeadDotProductAttention_{attention}/out/bias"] = (D,)
        shapes[f"{block}/MlpBlock_{mlp}/Dense_0/kernel"] = (D, M)
        shapes[f"{block}/MlpBlock_{mlp}/Dense_0/bias"] = (M,)
        shapes[f"{block}/MlpBlock_{mlp}/Dense_1/kernel"] = (M, D)
        shapes[f"{block}/MlpBlock_{mlp}/Dense_1/bias"] = (D,)
    return shapes


def archive_of(shapes: dict[str, tuple[int, ...]], dtype: np.dtype = FLOAT32) -> SimpleNamespace:
    return SimpleNamespace(
        path=Path("some.npz"),
        headers={name: ArrayHeader(shape, dtype) for name, shape in shapes.items()},
        sha256=lambda: "0" * 64,
    )


def refusal(shapes: dict[str, tuple[int, ...]], dtype: np.dtype = FLOAT32) -> str:
    with pytest.raises(WeightsError) as caught:
        recognise(archive_of(shapes, dtype))
    message = str(caught.value)
    assert message.startswith("some.npz is not a Vision Transformer in Google's layout: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("linen", [False, True])
@pytest.mark.parametrize("patch_size", [16, 32])
@pytest.mark.parametrize(("size", "embed_dim", "depth", "num_heads", "mlp_dim"), GOOGLE_SIZES)
def test_every_released_size_is_recognised_and_fills_its_preset(
    size, embed_dim, depth, num_heads, mlp_dim, patch_size, linen
):
    shapes = checkpoint(
        embed_dim=embed_dim, depth=depth, num_heads=num_heads, mlp_dim=mlp_dim,
        patch_size=patch_size, grid_size=384 // patch_size, num_classes=1000,
        pre_logits=False, linen=linen,
    )  # fmt: skip
    info, slots = recognise(archive_of(shapes))
    assert info.name == f"ViT-{size}/{patch_size}"
    assert info.model_name == f"vit_{size.lower()}{patch_size}"
    assert (info.patch_size, info.resolution, info.num_classes) == (patch_size, 384, 1000)
    assert (info.embed_dim, info.depth) == (embed_dim, depth)
    assert (info.num_heads, info.mlp_dim) == (num_heads, mlp_dim)
    assert info.has_pre_logits is False
    assert info.naming == ("linen" if linen else "pre-linen")

    model = build_model(info.model_name, num_classes=1000, img_size=384, depth=1)
    filled: dict[str, int] = {}
    for slot in slots:
        filled[slot.key] = filled.get(slot.key, 0) + math.prod(slot.shape)
    assert info.num_parameters == sum(filled.values())
    assert VIT_PRESETS[info.model_name]["depth"] == depth
    first_block = {key: n for key, n in filled.items() if not re.match(r"blocks\.[^0]", key)}
    assert first_block == {key: p.numel() for key, p in model.named_parameters()}


def test_in21k_files_have_pre_logits():
    shapes = checkpoint(
        embed_dim=768, depth=12, num_heads=12, mlp_dim=3072, grid_size=14, num_classes=21843
    )
    info, _ = recognise(archive_of(shapes))
    assert (info.name, info.num_classes) == ("ViT-B/16", 21843)
    assert (info.has_pre_logits, info.representation_size) == (True, 768)
    assert info.num_parameters == 85_798_656 + 768 * 769 + 769 * 21843


def test_sizes_without_a_name_are_described():
    info, _ = recognise(archive_of(checkpoint()))
    assert (info.name, info.model_name) == ("ViT(48x2)/16", None)


@pytest.mark.parametrize(("path", "naming"), [(TINY, "pre-linen"), (TINY_LINEN, "linen")])
def test_inspects_the_tiny_checkpoints(path, naming):
    info = inspect_npz(path)
    assert (info.name, info.naming) == ("ViT(48x2)/16", naming)
    assert (info.resolution, info.num_classes, info.num_parameters) == (64, 21, 79173)
    assert info.representation_size == 48
    assert info.sha256 == sha256_of(path)


def test_inspects_the_imagenet_checkpoint(shared_dir):
    path = shared_dir / "weights" / "ViT-Ti_16.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    info = inspect_npz(path)
    assert (info.name, info.model_name) == ("ViT-Ti/16", "vit_ti16")
    assert (info.resolution, info.num_classes, info.has_pre_logits) == (224, 1000, False)
    assert info.num_parameters == 5_717_416


@pytest.mark.parametrize("name", checkpoint())
def test_any_missing_array_is_named(name):
    shapes = checkpoint()
    del shapes[name]
    if name == "pre_logits/kernel":
        expected = "'pre_logits/bias' is no part of it"
    elif name.endswith("encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"):
        expected = "no attention kernel in 'Transformer/encoderblock_0'"
    else:
        expected = f"'{name}' is missing"
    assert expected in refusal(shapes)


def test_an_unknown_array_is_named():
    assert "'opt/step' is no part of it" in refusal(checkpoint() | {"opt/step": (1,)})


def test_another_archive_is_described():
    message = refusal({"images": (3, 64, 64, 3), "logits": (3, 21)})
    assert "it holds 'images', 'logits', ..." in message


def test_mixed_namings_are_refused():
    shapes = checkpoint()
    block = "Transformer/encoderblock_1"
    for name in [n for n in shapes if n.startswith(f"{block}/LayerNorm_2")]:
        shapes[name.replace("LayerNorm_2", "LayerNorm_1")] = shapes.pop(name)
    assert f"'{block}/LayerNorm_2/scale' is missing (and 1 more)" in refusal(shapes)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("embedding/kernel", (16, 16, 48, 3)),
        ("embedding/kernel", (16, 8, 3, 48)),
        ("embedding/kernel", (768, 48)),
        ("cls", (1, 48)),
        ("Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel", (48, 48)),
        ("Transformer/encoderblock_1/MultiHeadDotProductAttention_1/key/kernel", (3, 16, 48)),
        ("Transformer/encoderblock_1/MlpBlock_3/Dense_1/kernel", (48, 96)),
        ("Transformer/encoder_norm/bias", (1, 48)),
        ("head/bias", (22,)),
        ("pre_logits/kernel", (48, 47)),
    ],
)
def test_a_misshapen_array_is_named(name, shape):
    message = refusal(checkpoint() | {name: shape})
    assert f"'{name}' has shape {shape}, expected" in message


@pytest.mark.parametrize("num_tokens", [1, 16, 18, 1 + 129**2])
def test_position_embeddings_must_be_a_class_token_and_a_grid(num_tokens):
    shapes = checkpoint() | {"Transformer/posembed_input/pos_embedding": (1, num_tokens, 48)}
    assert f"its {num_tokens} position embeddings are not" in refusal(shapes)


def test_heads_must_make_the_width():
    shapes = {
        name: tuple(17 if length == 16 and "Attention" in name else length for length in shape)
        for name, shape in checkpoint().items()
    }
    assert "its 3 heads of 17 values do not make the width 48" in refusal(shapes)


@pytest.mark.parametrize("dtype", ["int32", "complex64", "V2", "U4"])
def test_other_numbers_are_refused(dtype):
    assert "expected float32" in refusal(checkpoint(), np.dtype(dtype))


def test_the_documentation_names_every_array_and_key():
    page = (REPOSITORY / "docs" / "pretrained-weights.md").read_text(encoding="utf-8")
    _, slots = recognise(archive_of(checkpoint()))
    for slot in slots:
        if "encoderblock_1" in slot.array:
            continue
        array = re.sub(r"^Transformer/encoderblock_0/", "", slot.array)
        key = slot.key.removeprefix("blocks.0.")
        assert re.search(rf"`{re.escape(array)}`.*\|.*`{re.escape(key)}`", page), slot
