"""State dicts of strangers: what is read, by which names, and what is refused."""

import argparse
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pneumoscope.errors import UsageError, WeightsError
from pneumoscope.models.state_dicts import PREFIXES, WRAPPERS, read_state_dict

Tensors = dict[str, Tensor]


@pytest.fixture
def tensors() -> Tensors:
    torch.manual_seed(0)
    return {"a.weight": torch.randn(3, 4), "a.bias": torch.randn(3), "steps": torch.tensor(70_001)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def assert_same(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert type(found[key]) is Tensor
        assert not found[key].requires_grad
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key


def refusal(path: Path) -> str:
    """What is said of a file, without its path."""
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "weights_only=False" not in message
    assert message.startswith(f"{path}")
    return message.removeprefix(f"{path}").removeprefix(":").removeprefix(" ")


SAFE_WAY = "torch.save(model.state_dict(), 'weights.pth')"


class TestFormats:
    @pytest.mark.parametrize("name", ["weights.pth", "weights.bin", "weights.safetensors", "x"])
    @pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
    def test_each_is_known_by_its_content(
        self, tmp_path: Path, tensors: Tensors, kind: str, name: str
    ) -> None:
        path = tmp_path / name
        if kind == "safetensors":
            save_file(tensors, path)
        else:
            with path.open("wb") as stream:
                torch.save(tensors, stream, _use_new_zipfile_serialization=kind == "zip")
        assert_same(read_state_dict(path), tensors)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_the_precision_of_the_file_is_kept(self, path: Path, dtype: torch.dtype) -> None:
        tensors = {"a": torch.tensor([0.1, -3.0], dtype=dtype)}
        torch.save(tensors, path)
        assert_same(read_state_dict(path), tensors)

    def test_parameters_of_a_module_become_tensors(self, path: Path) -> None:
        layer = nn.Linear(2, 2)
        torch.save(OrderedDict(layer.named_parameters()), path)
        found = read_state_dict(path)
        assert_same(found, {k: v.detach() for k, v in layer.named_parameters()})


class TestNesting:
    @pytest.mark.parametrize("key", WRAPPERS)
    def test_each_wrapper_beside_other_things(self, path: Path, tensors: Tensors, key: str) -> None:
        optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
        torch.save({"epoch": 3, "optimizer": optimizer, "args": {"lr": 1}, key: tensors}, path)
        assert_same(read_state_dict(path), tensors)

    def test_two_levels(self, path: Path, tensors: Tensors) -> None:
        torch.save({"model": {"ema": {}, "state_dict": tensors}, "ema": None}, path)
        assert_same(read_state_dict(path), tensors)

    def test_of_two_networks_none_is_chosen(self, path: Path, tensors: Tensors) -> None:
        torch.save({"state_dict": tensors, "state_dict_ema": tensors}, path)
        assert refusal(path) == (
            "holds several networks: 'state_dict', 'state_dict_ema'; expected one; save the one "
            "that is meant alone"
        )

    @pytest.mark.parametrize("prefix", [*PREFIXES, "module._orig_mod.", "model.network.module."])
    def test_prefixes_of_all_keys_are_taken_away(
        self, path: Path, tensors: Tensors, prefix: str
    ) -> None:
        torch.save({prefix + key: value for key, value in tensors.items()}, path)
        assert_same(read_state_dict(path), tensors)

    def test_a_prefix_of_some_keys_stays(self, path: Path) -> None:
        tensors = {"model.a": torch.ones(2), "loss.weight": torch.ones(2)}
        torch.save(tensors, path)
        assert_same(read_state_dict(path), tensors)

    def test_a_key_that_is_a_prefix_stays(self, path: Path) -> None:
        torch.save({"model.": torch.ones(2)}, path)
        assert_same(read_state_dict(path), {"model.": torch.ones(2)})

    def test_torchs_average_of_a_model(self, path: Path) -> None:
        layer = nn.Linear(2, 2)
        torch.save(torch.optim.swa_utils.AveragedModel(layer).state_dict(), path)
        assert_same(read_state_dict(path), dict(layer.state_dict()))


class TestMoreThanWeights:
    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize(
        ("value", "wanted"),
        [
            (argparse.Namespace(lr=0.1), "argparse.Namespace"),
            (Path("here"), "pathlib."),
            (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
            (np.float64(0.5), "multiarray.scalar"),
        ],
    )
    def test_the_first_global_that_it_wants_is_named(
        self, path: Path, tensors: Tensors, value: Any, wanted: str, zipped: bool
    ) -> None:
        torch.save(
            {"state_dict": tensors, "extra": value}, path, _use_new_zipfile_serialization=zipped
        )
        message = refusal(path)
        assert message.startswith("holds more than tensors and plain values: it asks for '")
        assert wanted in message.split(", which could run code and was not opened; ")[0]
        assert SAFE_WAY in message

    def test_another_pickle_protocol(self, path: Path, tensors: Tensors) -> None:
        torch.save(tensors, path, pickle_protocol=4)
        assert "it is not in the pickle protocol of torch.save, which" in refusal(path)

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_a_bare_pickle(self, path: Path, protocol: int) -> None:
        path.write_bytes(pickle.dumps({"a": 1}, protocol))
        message = refusal(path)
        assert message.startswith("is a bare pickle, which could run code and was not opened; ")
        assert SAFE_WAY in message

    def test_torchscript(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
                archive.writestr(f"weights/{name}", "")
        assert refusal(path).startswith("is a TorchScript archive, which is a program; ")


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (b"", "is empty; "),
            (b"<!DOCTYPE html><title>404", "is a web page (HTML or XML); "),
            (b'{"message": "not found"}', "is a JSON text; "),
            (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, "),
            (b"\x93NUMPY\x01\x00", "is a single numpy array (.npy); "),
            (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes; "),
            (b"\x1f\x8b\x08", "is compressed by gzip; "),
            (b"x" * 257 + b"ustar\0" + b"00", "is a tar archive, as PyTorch wrote before 0.1.10; "),
            (b"cos\nsystem\n", r"is no checkpoint (it starts with b'cos\nsyst'); "),
        ],
    )
    def test_each_is_called_by_its_name(self, path: Path, content: bytes, found: str) -> None:
        path.write_bytes(content)
        assert refusal(path).startswith(found)
        assert "expected a PyTorch state dict or a safetensors file; " in refusal(path)

    def test_an_npz(self, path: Path) -> None:
        with path.open("wb") as stream:
            np.savez(stream, a=np.ones(3))
        assert refusal(path).startswith("is an .npz archive; expected a PyTorch state dict")

    def test_another_zip(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("letter.txt", "hello")
        assert refusal(path).startswith("is a zip archive, but not one of torch.save; ")

    def test_a_compressed_one_cannot_unfold(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("weights/data.pkl", bytes(10**6))
        assert refusal(path).startswith("is a compressed zip archive, and torch.save never ")

    def test_none(self, path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            read_state_dict(path)
        assert str(caught.value).startswith(f"there is no file {path}; expected a PyTorch")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=f"^cannot read {tmp_path}: Is a directory$"):
            read_state_dict(tmp_path)


class TestDamage:
    @pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
    def test_truncated(self, path: Path, tensors: Tensors, kind: str) -> None:
        if kind == "safetensors":
            save_file(tensors, path)
        else:
            torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
        whole = path.read_bytes()
        for num_bytes in (len(whole) - 1, len(whole) // 2, 40):
            path.write_bytes(whole[:num_bytes])
            assert refusal(path).startswith("is a truncated or damaged "), num_bytes

    def test_a_changed_bit(self, path: Path, tensors: Tensors) -> None:
        torch.save(tensors, path)
        content = bytearray(path.read_bytes())
        content[content.index(tensors["a.weight"].numpy().tobytes())] ^= 4
        path.write_bytes(content)
        assert refusal(path) == (
            "is damaged: 'weights/data/0' does not fit its checksum; get the file again"
        )


class TestContent:
    @pytest.mark.parametrize(
        ("value", "found"),
        [
            ([torch.ones(2)], "holds no state dict: it is of type list; "),
            ({}, "holds no state dict: it is empty; "),
            ({"epoch": 3, "x": {"y": 2}}, "holds no state dict: there are 'epoch', 'x'; "),
            ({"a": torch.ones(2), "epoch": 3}, "holds no state dict: there is 'epoch'; "),
            ({7: torch.ones(2)}, "names a tensor 7; expected text as names"),
        ],
    )
    def test_no_state_dict(self, path: Path, value: Any, found: str) -> None:
        torch.save(value, path)
        assert refusal(path).startswith(found)

    def test_one_that_holds_itself(self, path: Path) -> None:
        value: dict[str, Any] = {}
        value["model"] = value
        torch.save(value, path)
        assert refusal(path).startswith("holds no state dict: there is 'model'; ")

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_numbers_that_are_not_finite(self, path: Path, number: float) -> None:
        torch.save({"a": torch.ones(3), "b": torch.tensor([0.0, number])}, path)
        assert refusal(path) == ("'b' holds values that are not finite numbers; get the file again")

    @pytest.mark.parametrize(
        ("tensor", "found"),
        [
            (torch.eye(3).to_sparse(), "'a' is a sparse, quantized or empty tensor; "),
            (torch.zeros(3, device="meta"), "'a' is a sparse, quantized or empty tensor; "),
            (torch.zeros(3, dtype=torch.complex64), "'a' is of torch.complex64; expected "),
            (torch.zeros(1).expand(10**12), "'a' declares (1000000000000,), more values than "),
        ],
    )
    def test_tensors_of_other_kinds(self, path: Path, tensor: Tensor, found: str) -> None:
        torch.save({"a": tensor}, path)
        assert refusal(path).startswith(found)


def test_a_dict_that_holds_itself_many_times_is_refused_at_once(tmp_path: Path) -> None:
    endless: dict[str, Any] = {"epoch": 3}
    endless.update({f"entry {number}": endless for number in range(300)})
    endless["state_dict"] = endless
    path = tmp_path / "endless.pth"
    torch.save(endless, path)
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_state_dict(path)
