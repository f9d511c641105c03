"""Where to train, in which precision, and why."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pneumoscope.errors import ConfigError


@dataclass(frozen=True)
class Device:
    """A device, the precision of its training steps, and one sentence on both."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    @property
    def autocast(self) -> torch.autocast:
        """A context in which matrix work runs in :attr:`dtype`."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16
        )

    @property
    def attention(self) -> AbstractContextManager[None]:
        """A context for forward passes through which gradients are to go back."""
        return _without_cudnn() if self.device.type == "cuda" else nullcontext()


def _without_cudnn() -> AbstractContextManager[None]:
    """A context in which attention is any of torch's own but cuDNN's.

    On Hopper that is the first choice of some versions, and its backward pass has open defects, one
    with a single query, as in the last block of a ViT that learns from labels alone
    (https://github.com/NVIDIA/cudnn-frontend/issues/1072).
    """
    own = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    context: AbstractContextManager[None] = sdpa_kernel(own)
    return context


def send(value: Tensor, device: torch.device) -> Tensor:
    """Returns ``value`` on the device; does not wait for a CUDA GPU, which may be a step behind.

    There a value in ordinary memory is copied before this returns. Apple's MPS reads it later.
    """
    return value.to(device, non_blocking=device.type == "cuda")


def choose_device(device: str = "auto", precision: str = "auto", local_rank: int = 0) -> Device:
    """Returns the device and precision that a recipe's words mean on this machine.

    ``auto`` takes CUDA, else MPS, else the CPU; and bfloat16 where the hardware has units for
    it (CUDA from Ampere on, CPUs with AVX512-BF16 or AMX), else float32.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        local_rank: which of the machine's GPUs this process takes.

    Raises:
        ConfigError: the named device is not here.
    """
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    kind = device
    if device == "auto":
        kind = "cuda" if has_cuda else "mps" if has_mps else "cpu"
        why = {
            "cuda": "auto: a CUDA GPU is here",
            "mps": "auto: no CUDA GPU, but Apple's MPS is here",
            "cpu": "auto: neither a CUDA GPU nor MPS is here",
        }[kind]
    else:
        why = "asked for"
    if (kind == "cuda" and not has_cuda) or (kind == "mps" and not has_mps):
        raise ConfigError(f"training.device = {kind!r}, but torch sees none; use auto or cpu")
    target = torch.device(kind, local_rank) if kind == "cuda" else torch.device(kind)
    dtype = torch.float32
    if precision == "bfloat16" or (precision == "auto" and _gains_from_bfloat16(kind)):
        dtype = torch.bfloat16
    reason = f"device {target} ({why}), {str(dtype).removeprefix('torch.')} ({precision})"
    return Device(target, dtype, reason)


def _gains_from_bfloat16(kind: str) -> bool:
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind == "cpu":
        # Public torch has no such question; the flags are those its own kernels look at.
        flags = torch.backends.cpu.get_cpu_capability()
        return flags in ("AVX512", "AMX") and _cpu_has_bfloat16_units()
    return False


def _cpu_has_bfloat16_units() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:  # noqa: PTH123
            return any("avx512_bf16" in line for line in stream if line.startswith("flags"))
    except OSError:
        return False
