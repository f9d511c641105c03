"""Where to train, and in which precision."""

from unittest.mock import Mock

import pytest
import torch

from pneumoscope.errors import ConfigError
from pneumoscope.training import device as module
from pneumoscope.training.device import Device, choose_device, send


@pytest.fixture
def machine(monkeypatch):
    def make(*, cuda=False, mps=False, cpu_bfloat16=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(module, "_cpu_has_bfloat16_units", lambda: cpu_bfloat16)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")

    return make


@pytest.mark.parametrize(
    ("here", "kind", "dtype"),
    [
        ({}, "cpu", torch.float32),
        ({"cpu_bfloat16": True}, "cpu", torch.bfloat16),
        ({"mps": True}, "mps", torch.float32),
        ({"cuda": True, "mps": True}, "cuda", torch.bfloat16),
    ],
)
def test_auto_takes_the_best_and_says_why(machine, here, kind, dtype):
    machine(**here)
    chosen = choose_device()
    assert (chosen.device.type, chosen.dtype) == (kind, dtype)
    assert kind in chosen.reason
    assert "auto" in chosen.reason
    assert str(dtype).removeprefix("torch.") in chosen.reason


def test_a_gpu_that_is_not_here_is_refused(machine):
    machine()
    with pytest.raises(ConfigError, match=r"training.device = 'cuda', but torch sees none"):
        choose_device("cuda")


def test_precision_can_be_asked_for(machine):
    machine(cpu_bfloat16=True)
    assert choose_device("cpu", "float32").dtype == torch.float32
    machine()
    chosen = choose_device("cpu", "bfloat16")
    with chosen.autocast:
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with choose_device("cpu", "float32").autocast:
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_nobody_waits_for_a_cuda_gpu_but_mps_reads_late():
    for kind, expected in (("cuda", True), ("mps", False), ("cpu", False)):
        value = Mock()
        assert send(value, torch.device(kind)) is value.to.return_value
        value.to.assert_called_once_with(torch.device(kind), non_blocking=expected)


def test_attention_is_not_cudnns_on_a_cuda_gpu():
    for kind, expected in (("cuda", False), ("cpu", True)):
        with Device(torch.device(kind), torch.float32, "").attention:
            assert torch.backends.cuda.cudnn_sdp_enabled() is expected
            assert torch.backends.cuda.flash_sdp_enabled()
        assert torch.backends.cuda.cudnn_sdp_enabled()
