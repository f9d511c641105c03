"""The Vision Transformer against an independent forward pass and against its own paper."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf

from pneumoscope.errors import ModelError
from pneumoscope.models.build import build_model, num_parameters
from pneumoscope.models.presets import MODEL_NAMES
from pneumoscope.models.vit import DropPath, PatchEmbed, VisionTransformer

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 4}


def tiny(**options) -> VisionTransformer:
    torch.manual_seed(0)
    model = VisionTransformer(**{**TINY, **options})
    with torch.no_grad():  # make biases, norms and embeddings matter
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def numpy_forward(
    state: dict[str, np.ndarray], x: np.ndarray, num_heads: int, depth: int, patch: int, gelu: str
) -> np.ndarray:
    """The ViT once more, in float64 numpy, written from the paper's equations."""

    def norm(t, name):
        mean = t.mean(-1, keepdims=True)
        variance = ((t - mean) ** 2).mean(-1, keepdims=True)
        return (t - mean) / np.sqrt(variance + 1e-6) * state[f"{name}.weight"] + state[
            f"{name}.bias"
        ]

    def linear(t, name):
        return t @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def activation(t):
        if gelu == "erf":
            return 0.5 * t * (1 + erf(t / math.sqrt(2)))
        return 0.5 * t * (1 + np.tanh(math.sqrt(2 / math.pi) * (t + 0.044715 * t**3)))

    images = []
    kernel = state["patch_embed.proj.weight"]
    for image in x:  # (C, H, W)
        tokens = [state["cls_token"][0, 0]]
        for top in range(0, image.shape[1], patch):
            for left in range(0, image.shape[2], patch):
                window = image[:, top : top + patch, left : left + patch]
                tokens.append((kernel * window).sum((1, 2, 3)) + state["patch_embed.proj.bias"])
        t = np.stack(tokens) + state["pos_embed"][0]
        for index in range(depth):
            name = f"blocks.{index}"
            qkv = linear(norm(t, f"{name}.norm1"), f"{name}.attn.qkv")
            q, k, v = np.split(qkv, 3, axis=-1)
            size = q.shape[-1] // num_heads
            heads = []
            for head in range(num_heads):
                part = slice(head * size, (head + 1) * size)
                scores = q[:, part] @ k[:, part].T / math.sqrt(size)
                weights = np.exp(scores - scores.max(-1, keepdims=True))
                heads.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
            t = t + linear(np.concatenate(heads, -1), f"{name}.attn.proj")
            hidden = activation(linear(norm(t, f"{name}.norm2"), f"{name}.mlp.fc1"))
            t = t + linear(hidden, f"{name}.mlp.fc2")
        images.append(linear(norm(t, "norm")[0], "head"))
    return np.stack(images)


@pytest.mark.parametrize("gelu", ["erf", "tanh"])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_agrees_with_numpy_in_float64(gelu, in_chans):
    model = tiny(gelu=gelu, in_chans=in_chans).double().eval()
    x = torch.randn(2, in_chans, 32, 32, dtype=torch.float64)
    state = {key: value.detach().numpy() for key, value in model.state_dict().items()}
    expected = numpy_forward(state, x.numpy(), 4, 3, 8, gelu)
    assert np.abs(model(x).detach().numpy() - expected).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vit_scratch", 4_987_138),
        ("vit_ti16", 5_524_802),
        ("vit_s16", 21_666_434),
        ("vit_b16", 85_800_194),
        ("vit_l16", 303_303_682),
        ("vit_b32", 87_456_770),
        ("cnn", 1_333_010),
    ],
)
def test_parameter_counts(name, expected):
    with torch.device("meta"):
        assert num_parameters(build_model(name)) == expected


def test_every_named_model_can_be_built():
    assert MODEL_NAMES == (
        "cnn", "vit_scratch", "vit_ti16", "vit_ti32", "vit_s16", "vit_s32",
        "vit_b16", "vit_b32", "vit_l16", "vit_l32",
    )  # fmt: skip
    with torch.device("meta"):
        for name in MODEL_NAMES:
            assert build_model(name, num_classes=5).num_classes == 5


def test_keys_are_timms():
    keys = list(tiny(depth=1).state_dict())
    block = [f"blocks.0.{layer}.{kind}" for layer in (
        "norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2",
    ) for kind in ("weight", "bias")]  # fmt: skip
    assert keys == [
        "cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias",
        *block, "norm.weight", "norm.bias", "head.weight", "head.bias",
    ]  # fmt: skip


def test_training_on_a_cpu_computes_and_learns_what_the_fused_kernel_does():
    x = torch.randn(2, 3, 32, 32)
    found = []
    for training in (True, False):  # the fused kernel out of training
        model = tiny().train(training)
        logits = model(x)
        logits.square().sum().backward()
        found.append([logits, *(p.grad for p in model.parameters())])
    for written_out, fused in zip(*found, strict=True):
        torch.testing.assert_close(written_out, fused, rtol=1e-4, atol=1e-5)


def test_attention_is_dropped_in_training_alone():
    torch.manual_seed(0)
    attention = tiny(drop_rate=0.5).blocks[0].attn
    attention.proj = torch.nn.Identity()  # type: ignore[assignment]
    x = torch.randn(1, 5, 24)
    assert torch.equal(attention.eval()(x), attention(x))
    attention.train()
    mean = torch.stack([attention(x) for _ in range(4000)]).mean(0)
    assert not torch.equal(attention(x), attention(x))
    torch.testing.assert_close(mean, attention.eval()(x), rtol=0.1, atol=0.1)


def test_attention_maps_agree_with_the_fused_path():
    model = tiny().eval()
    x = torch.randn(2, 3, 32, 32)
    maps = model.attention_maps(x)
    assert [tuple(m.shape) for m in maps] == [(2, 4, 17, 17)] * 3
    for weights in maps:
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 17))
    # The first block's output, rebuilt from its map, is what the fused kernel gives.
    block = model.blocks[0]
    tokens = block.norm1(model._embed(x)[0])
    _, _, v = block.attn._heads(tokens)
    rebuilt = block.attn.proj((maps[0] @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(rebuilt, block.attn(tokens), atol=1e-6, rtol=1e-5)


def test_drop_path_keeps_the_expectation_and_drops_whole_samples():
    torch.manual_seed(0)
    drop = DropPath(0.3).train()
    y = drop(torch.ones(20_000, 2, 3))
    values = y[:, 0, 0]
    assert torch.equal(y, values[:, None, None].expand_as(y))
    assert values.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert values.mean().item() == pytest.approx(1.0, abs=0.02)  # 4 standard errors
    x = torch.randn(4, 2, 3)
    assert drop.eval()(x) is x


def test_drop_path_grows_linearly_with_depth():
    model = tiny(depth=5, drop_path_rate=0.2)
    assert [b.drop_path.drop_prob for b in model.blocks] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


def test_patch_dropout_keeps_patches_with_their_own_positions():
    model = tiny(patch_drop_rate=0.75).train()
    x = torch.randn(5, 3, 32, 32)
    tokens, kept = model._embed(x)
    assert tokens.shape == (5, 1 + 4, 24)
    assert kept.shape == (5, 4)
    all_tokens, none = model.eval()._embed(x)
    assert none is None
    for image in range(5):
        assert len(set(kept[image].tolist())) == 4
        torch.testing.assert_close(tokens[image, 1:], all_tokens[image, 1 + kept[image]])
    assert not torch.equal(kept[0], kept[1])


@pytest.mark.parametrize("options", [{}, {"in_chans": 1}, {"standardize": True}], ids=str)
def test_patch_dropout_learns_as_if_all_patches_had_been_projected(options):
    model = tiny(patch_drop_rate=0.75, **options).train()
    x = torch.randn(3, model.in_chans, 32, 32, requires_grad=True)
    tokens, kept = model._embed(x)
    tokens[:, 1:].square().sum().backward()
    names = ("patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed")
    found = [model.get_parameter(name).grad.clone() for name in names] + [x.grad.clone()]
    model.zero_grad()
    x.grad = None
    everything, _ = model.eval()._embed(x)
    everything[torch.arange(3)[:, None], 1 + kept].square().sum().backward()
    expected = [*(model.get_parameter(name).grad for name in names), x.grad]
    for have, want in zip(found, expected, strict=True):
        torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5)


def test_patch_dropout_in_bf16_with_channels_last_weights_learns_as_in_float32():
    model = tiny(patch_drop_rate=0.75).train()
    x = torch.randn(3, 1, 32, 32).expand(-1, 3, -1, -1)  # as one grey channel is shown, no copy
    found = []
    for layout, enabled in ((torch.contiguous_format, False), (torch.channels_last, True)):
        model.to(memory_format=layout).zero_grad()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = model(x)
        logits.float().square().sum().backward()
        gradient = model.patch_embed.proj.weight.grad
        assert gradient.dtype == torch.float32
        found.append((logits.float(), gradient))
    assert model.patch_embed.proj.weight.is_contiguous(memory_format=torch.channels_last)
    for precise, rough in zip(*found, strict=True):
        torch.testing.assert_close(rough, precise, rtol=0.1, atol=0.05 * precise.abs().max().item())


def test_one_query_of_the_fused_kernel_learns_as_written_out():
    written_out = tiny().blocks[0].attn.train()
    fused = copy.deepcopy(written_out).eval()  # where attention is fused
    found = []
    for layer in (written_out, fused):
        x = torch.linspace(-1, 1, 2 * 9 * 24).reshape(2, 9, 24).sin().requires_grad_()
        layer(x, class_only=True).square().sum().backward()
        found.append([x.grad, *(parameter.grad for parameter in layer.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_patches_that_are_left_out_are_never_projected():
    embed = PatchEmbed(patch_size=8, in_chans=3, embed_dim=24)
    x = torch.full((2, 3, 16, 24), torch.nan)  # (2, 6 patches), two rows of three
    x[0, :, 8:, 16:] = torch.randn(3, 8, 8)  # patch 5
    x[1, :, :8, 8:16] = torch.randn(3, 8, 8)  # patch 1
    tokens = embed(x, torch.tensor([[5], [1]]))
    tokens.sum().backward()
    assert tokens.shape == (2, 1, 24)
    assert embed.proj.weight.grad.isfinite().all()
    torch.testing.assert_close(tokens[0, 0], embed(x)[0, 5])
    torch.testing.assert_close(tokens[1, 0], embed(x)[1, 1])


@pytest.mark.parametrize("mode", [True, False], ids=["training", "answering"])
def test_the_class_token_alone_is_that_among_all(mode):
    model = tiny(depth=3).train(mode)  # attention written out, and by the fused kernel
    x = torch.randn(2, 3, 32, 32)
    alone, _ = model.encode(x, class_only=True)
    torch.testing.assert_close(alone, model.forward_features(x)[:, :1])


def test_training_computes_the_class_token_alone_in_the_last_block():
    model = tiny(depth=3, drop_path_rate=0.5, patch_drop_rate=0.5).train()
    x = torch.randn(6, 3, 32, 32)
    found = []
    for answer in (model, lambda x: model.classify(model.forward_features(x))):
        torch.manual_seed(0)
        model.zero_grad()
        logits = answer(x)
        logits.square().sum().backward()
        found.append([logits, *(parameter.grad.clone() for parameter in model.parameters())])
    for short, whole in zip(*found, strict=True):
        torch.testing.assert_close(short, whole, rtol=1e-4, atol=1e-5)
    shapes = []
    layer = model.blocks[-1].mlp
    hook = layer.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    model(x)
    model.forward_features(x)
    hook.remove()
    assert shapes == [(6, 1, 24), (6, 1 + 8, 24)]


def test_pre_logits_is_a_tanh_layer():
    model = tiny(representation_size=10).eval()
    x = torch.randn(1, 3, 32, 32)
    cls = model.forward_features(x)[:, 0]
    expected = model.head(torch.tanh(model.pre_logits.fc(cls)))
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tiny(img_size=30), "img_size 30 is not a multiple of the patch size 8"),
        (lambda: tiny(num_heads=5), "embed_dim 24 does not divide into 5 heads"),
        (lambda: tiny(depth=0), "depth 0 leaves no block"),
        (lambda: tiny()(torch.zeros(1, 3, 16, 32)), "input is 3 x 16 x 32 .* takes 3 x 32 x 32"),
        (lambda: build_model("vit_scrach"), "did you mean vit_scratch"),
        (lambda: build_model("resnet50"), "known: cnn, vit_scratch"),
        (lambda: build_model("cnn", drop_path_rate=0.1), "cnn cannot be built: .*drop_path_rate"),
        (lambda: build_model("cnn", img_size=16), "too small for the CNN"),
        (lambda: tiny(pos_embed_init="sine"), "pos_embed_init 'sine' is not known"),
    ],
)
def test_wrong_sizes_and_names_are_told(call, message):
    with pytest.raises(ModelError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


class TestStandardize:
    def network(self, standardize: bool) -> Any:
        torch.manual_seed(0)
        return build_model("vit_scratch", img_size=32, standardize=standardize).eval()

    def test_exposure_and_contrast_say_nothing_then(self) -> None:
        torch.manual_seed(1)
        x = torch.rand(2, 1, 32, 32).expand(-1, 3, -1, -1) - 0.5
        plain, standardized = self.network(False), self.network(True)
        for changed in (x + 0.3, x * 0.5, 0.2 * x - 0.4):
            # The epsilon of the normalisation counts a little at the lowest contrast.
            torch.testing.assert_close(standardized(changed), standardized(x), atol=1e-4, rtol=3e-3)
            assert (plain(changed) - plain(x)).abs().max() > 1e-3

    def test_it_is_the_plain_network_on_films_of_mean_0_and_deviation_half(self) -> None:
        x = torch.rand(2, 1, 32, 32).expand(-1, 3, -1, -1)
        mean, std = x.mean((1, 2, 3), keepdim=True), x.std((1, 2, 3), correction=0, keepdim=True)
        torch.testing.assert_close(
            self.network(True)(x), self.network(False)(0.5 * (x - mean) / std), atol=1e-4, rtol=0
        )

    def test_a_blank_film_gives_a_number(self) -> None:
        assert self.network(True)(torch.ones(1, 3, 32, 32)).isfinite().all()
