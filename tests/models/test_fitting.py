"""A state dict goes into a network exactly, or not at all."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pneumoscope.errors import WeightsError
from pneumoscope.models.build import build_model
from pneumoscope.models.fitting import load_exactly, sizes_in

PATH = Path("old.pth")
HEAD = {"head.weight", "head.bias"}


@pytest.fixture
def network() -> nn.Module:
    return build_model("vit_ti16", img_size=32)


@pytest.fixture
def other() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(build_model("vit_ti16", img_size=32).state_dict())


def refusal(network: nn.Module, tensors: dict[str, Tensor], name: str = "vit_ti16") -> str:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_exactly(network, tensors, name, PATH)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    message = str(caught.value)
    assert "\n" not in message
    prefix = f"old.pth does not fit {name}: it "
    assert message.startswith(prefix)
    return message.removeprefix(prefix)


def test_every_value_arrives(network: nn.Module, other: dict[str, Tensor]) -> None:
    load_exactly(network, {k: v.double() for k, v in other.items()}, "vit_ti16", PATH)
    for key, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, other[key])


def test_the_names_of_what_is_missing_and_unexpected(
    network: nn.Module, other: dict[str, Tensor]
) -> None:
    del other["norm.bias"]
    other["fc_norm.bias"] = torch.zeros(192)
    assert refusal(network, other) == "lacks 'norm.bias', holds, unexpected, 'fc_norm.bias'"


def test_a_few_names_stand_for_many(network: nn.Module, other: dict[str, Tensor]) -> None:
    few = {key: value for key, value in other.items() if not key.startswith("blocks.11.")}
    assert refusal(network, few) == (
        "lacks 'blocks.11.norm1.weight', 'blocks.11.norm1.bias', 'blocks.11.attn.qkv.weight' "
        "(and 9 more)"
    )


def test_a_head_of_other_classes(network: nn.Module, other: dict[str, Tensor]) -> None:
    other |= {"head.weight": torch.zeros(1000, 192), "head.bias": torch.zeros(1000)}
    assert refusal(network, other) == (
        "holds 'head.weight' of shape (1000, 192) for (2, 192), 'head.bias' of shape (1000,) for "
        "(2,); its head has 1000 outputs, expected 2 (NORMAL, PNEUMONIA): fine-tune it on these "
        "classes first"
    )


def test_another_image_size(network: nn.Module, other: dict[str, Tensor]) -> None:
    other["pos_embed"] = torch.zeros(1, 10, 192)
    assert refusal(network, other) == (
        "holds 'pos_embed' of shape (1, 10, 192) for (1, 5, 192); its position embeddings are for "
        "--img-size 48, and resampled ones would answer otherwise than what was trained: give that "
        "size, or none"
    )


def test_another_network_is_recognised(other: dict[str, Tensor]) -> None:
    scratch = build_model("vit_scratch", img_size=32)
    assert refusal(scratch, other, "vit_scratch").endswith("; it has the sizes of --model vit_ti16")


def test_q_k_and_v_apart(network: nn.Module) -> None:
    prefix = "vit.encoder.layer.0.attention.attention"
    tensors = {f"{prefix}.{name}.weight": torch.zeros(192, 192) for name in ("query", "key")}
    assert refusal(network, tensors).endswith(
        "; its q, k and v are stored apart, as Hugging Face does, which is not read: expected "
        "timm's names, with one attn.qkv a block"
    )


def test_numbers_of_another_kind(network: nn.Module, other: dict[str, Tensor]) -> None:
    other["norm.bias"] = torch.zeros(192, dtype=torch.int64)
    assert refusal(network, other) == "holds 'norm.bias' of torch.int64 for torch.float32"


def test_sizes_that_shapes_tell() -> None:
    vit = build_model("vit_s32", img_size=96, in_chans=1).state_dict()
    assert sizes_in(vit) == {"in_chans": 1, "img_size": 96}
    assert sizes_in(build_model("cnn", in_chans=1).state_dict()) == {"in_chans": 1}
    assert sizes_in({**vit, "pos_embed": torch.zeros(1, 9, 384)}) == {"in_chans": 1}
    assert sizes_in({"a": torch.zeros(2)}) == {}
