"""Position embeddings of sines and cosines, which tell near places from far ones from the start."""

import torch
from torch import Tensor

from pneumoscope.errors import ModelError


def sine_cosine_positions(grid: int, dim: int) -> Tensor:
    """Returns embeddings (1, 1 + grid * grid, dim): zeros for the class token, then row by row.

    The first half of each stands for the row, the second for the column. Values are in [-1, 1],
    their root mean square is .71.

    Source: He et al., "Masked Autoencoders Are Scalable Vision Learners" (arXiv:2111.06377),
    appendix A.1, after Vaswani et al. (arXiv:1706.03762), section 3.5.

    Raises:
        ModelError: ``dim`` is not a multiple of 4.
    """
    if dim % 4:
        raise ModelError(
            f"a width of {dim} is not a multiple of 4, which positions of sines and cosines need"
        )
    quarter = dim // 4
    rates = 10_000.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * rates  # (grid, dim / 4)
    along = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, dim / 2)
    rows, columns = along.repeat_interleave(grid, dim=0), along.repeat(grid, 1)
    places = torch.cat([rows, columns], dim=1)  # (grid * grid, dim)
    return torch.cat([torch.zeros(1, dim), places])[None].float()
