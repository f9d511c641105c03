"""Muon, whose matrix products run in a precision that the machine has units for.

torch has this optimizer too, always in bfloat16. On CPUs without such units that takes seconds a
step for the ViT from scratch (``benchmarks/optimizer.py``). Hence this one.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_MOMENTUM = 0.95
_NUM_ITERATIONS = 5
_QUINTIC = (3.4445, -4.775, 2.0315)
"""a, b and c of x -> a x + b x^3 + c x^5, which takes all of (0, 1] near to 1 within few turns."""
_RMS = 0.2
"""Root mean square of AdamW's usual steps, over the rate."""


class Muon(torch.optim.Optimizer):
    """Moves matrices by the (semi-)orthogonal ones nearest to their averaged gradients.

    So all directions are learned at one pace, however little the gradient has of some. A step of
    rate r has a root mean square of about .2 r, as AdamW's usually do, so that rates and decays
    found for AdamW mean the same here.

    Source: Jordan et al., "Muon" (https://kellerjordan.github.io/posts/muon/), with Nesterov's
    momentum; Liu et al., "Muon is Scalable for LLM Training" (arXiv:2502.16982), section 2.2, for
    the length of a step and the decoupled weight decay.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        lr: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Takes groups of matrices, each with its ``weight_decay``.

        Args:
            params: as for every optimizer of torch; matrices only.
            lr: of groups that have none of their own.
            dtype: of the matrix products.

        Raises:
            ValueError: no parameters, or one that is no matrix.
        """
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})
        self.dtype = dtype
        shapes = [tuple(p.shape) for group in self.param_groups for p in group["params"]]
        if wrong := [shape for shape in shapes if len(shape) != 2]:
            raise ValueError(f"Muon moves matrices, not parameters of shape {wrong[0]}")

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Moves every matrix that has a gradient; takes no closure."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["average"] = torch.zeros_like(parameter)
                average = state["average"].lerp_(parameter.grad, 1 - _MOMENTUM)
                ahead = parameter.grad.lerp(average, _MOMENTUM)
                length = _RMS * math.sqrt(max(parameter.shape))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(orthogonal(ahead, self.dtype), alpha=-group["lr"] * length)


def orthogonal(matrix: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Returns nearly U V^T of ``matrix`` = U S V^T, in ``dtype``, by Newton-Schulz iteration.

    Singular values come out between .67 and 1.21, those of less than .002 of the matrix's norm
    lower; a matrix of zeros stays one.
    """
    a, b, c = _QUINTIC
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if is_tall else matrix).to(dtype)
    x = x / x.norm().clamp(min=1e-7)  # the largest singular value is at most 1
    for _ in range(_NUM_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x
