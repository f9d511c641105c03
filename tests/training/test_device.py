"""Where to train, and in which precision."""

import pytest
import torch

from pneumoscope.errors import ConfigError
from pneumoscope.training import device as module
from pneumoscope.training.device import choose_device


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
