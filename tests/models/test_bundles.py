"""Weights on disk: exact in float32, rounded in float16, and never code."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pneumoscope.bundle import Bundle
from pneumoscope.errors import BundleError, ModelError
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import load_network, load_weights, save_weights

TINY = {"name": "cnn", "img_size": 32, "in_chans": 1}


@pytest.fixture
def network() -> nn.Module:
    """A CNN whose weights and statistics are all drawn at random."""
    torch.manual_seed(0)
    network = build_model(**TINY)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.normal_().abs_()
        else:
            value.fill_(70_001)  # steps of BatchNorm, too many for float16
    return network


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def as_bundle(path: Path, **model: Any) -> Bundle:
    (path.parent / "config.json").write_text(f'{{"model": {model or TINY}}}'.replace("'", '"'))
    return Bundle(path.parent, {})


def refusal(bundle: Bundle) -> str:
    with pytest.raises(BundleError) as caught:
        load_network(bundle)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_float32_comes_back_exactly(network: nn.Module, path: Path) -> None:
    save_weights(network, path, torch.float32)
    loaded = load_network(as_bundle(path))
    assert not loaded.training
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    x = torch.randn(3, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(x), network.eval()(x))


def test_float16_comes_back_rounded_to_it_and_computes_in_float32(
    network: nn.Module, path: Path
) -> None:
    save_weights(network, path, torch.float16)
    loaded = load_network(as_bundle(path)).state_dict()
    for key, value in network.state_dict().items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(loaded[key], expected), key
        assert loaded[key].dtype == value.dtype
    num_bytes = sum(2 * p.numel() for p in network.state_dict().values() if p.is_floating_point())
    assert num_bytes < path.stat().st_size < num_bytes + 20_000


def test_saving_changes_nothing_and_leaves_one_file(network: nn.Module, path: Path) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    save_weights(network, path, torch.float16)
    assert all(torch.equal(network.state_dict()[key], before[key]) for key in before)
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_weights_of_another_shape(network: nn.Module, path: Path) -> None:
    save_weights(network, path, torch.float32)
    message = refusal(as_bundle(path, **{**TINY, "in_chans": 3}))
    assert message.startswith(f"{path} does not fit the network of config.json: ")
    assert "size mismatch for stem.0.0.weight" in message


def test_weights_of_another_network(network: nn.Module, path: Path) -> None:
    save_weights(nn.Linear(2, 2), path, torch.float32)
    with pytest.raises(BundleError, match=r"does not fit the network of config\.json: .*Missing"):
        load_weights(network, path)


def test_an_unknown_network(network: nn.Module, path: Path) -> None:
    save_weights(network, path, torch.float32)
    with pytest.raises(ModelError, match=r"no model is called 'cmn'; did you mean cnn\?"):
        load_network(as_bundle(path, **{**TINY, "name": "cmn"}))


@pytest.mark.parametrize("content", [b"", b"hello, I am text", b"\x10\0\0\0\0\0\0\0{"])
def test_not_safetensors(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(as_bundle(path)).startswith(f"{path} cannot be read as safetensors: ")


def test_truncated(network: nn.Module, path: Path) -> None:
    save_weights(network, path, torch.float16)
    path.write_bytes(path.read_bytes()[:-1000])
    assert refusal(as_bundle(path)).startswith(f"{path} cannot be read as safetensors: ")


class Boom:
    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Boom, "ran", True)


@pytest.mark.parametrize("save", [torch.save, lambda value, p: p.write_bytes(pickle.dumps(value))])
def test_a_pickle_of_that_name_never_runs(path: Path, save: Any) -> None:
    save({"head.weight": Boom()}, path)
    assert refusal(as_bundle(path)).startswith(f"{path} cannot be read as safetensors: ")
    assert not Boom.ran
