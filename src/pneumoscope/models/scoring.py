"""Pixels in, logits out: the one forward pass of training, evaluation and screening."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from pneumoscope.data.preprocessing import scale_pixels


def network_input(pixels: Tensor, in_chans: int) -> Tensor:
    """Returns (B, C, S, S) float32 in [-1, 1] from grey ``pixels`` (B, S, S) uint8.

    The grey channel is shown C times without a copy, as the published networks expect.
    """
    x: Tensor = scale_pixels(pixels)
    return x.unsqueeze(1).expand(-1, in_chans, -1, -1)  # (B, C, S, S)


def score_pixels(
    network: nn.Module,
    pixels: np.ndarray,
    *,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    on_progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Returns logits (N, K) float64 for grey ``pixels`` (N, S, S) uint8.

    The network is put into eval mode and left so. Arithmetic is plain float32 whatever training
    used (no autocast, no TF32), so that scores agree between machines, unless ``dtype`` says less.

    Args:
        network: takes (B, C, S, S); its ``in_chans`` says C.
        pixels: an array or memory map; read a batch at a time.
        batch_size: films a forward pass.
        device: where ``network`` lives.
        dtype: of the matrix work; bfloat16 is for scores that are not kept.
        on_progress: called with the number of films scored so far.
    """
    network.eval()
    in_chans = int(network.in_chans)  # type: ignore[arg-type]
    batches = []
    kind = torch.device(device).type
    with (
        torch.inference_mode(),
        torch.autocast(kind, dtype=dtype, enabled=dtype != torch.float32),
        torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False),
    ):
        for start in range(0, len(pixels), batch_size):
            batch = torch.from_numpy(np.array(pixels[start : start + batch_size])).to(device)
            batches.append(network(network_input(batch, in_chans)).float().cpu().numpy())
            if on_progress:
                on_progress(start + len(batch))
    num_classes = int(network.num_classes)  # type: ignore[arg-type]
    return np.concatenate(batches or [np.empty((0, num_classes))]).astype(np.float64)
