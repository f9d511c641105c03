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
            lr = group["lr"]
            for parameters in _alike(group["params"]):
                length = lr * (_RMS * math.sqrt(max(parameters[0].shape)))
                directions = orthogonal(self._ahead(parameters), self.dtype)
                directions = directions.to(parameters[0].dtype)
                torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
                if isinstance(lr, Tensor):  # where the step is recorded, for replays to look it up
                    torch._foreach_sub_(parameters, (directions * length).unbind())
                else:
                    torch._foreach_add_(parameters, directions.unbind(), alpha=-length)

    def _ahead(self, parameters: list[Tensor]) -> Tensor:
        """Returns where the averaged gradients of M matrices are about to be: (M, ...)."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["average"] = torch.zeros_like(parameter)
        averages = [self.state[parameter]["average"] for parameter in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - _MOMENTUM)
        return torch.stack(torch._foreach_lerp(gradients, averages, _MOMENTUM))


def _alike(parameters: Iterable[Tensor]) -> list[list[Tensor]]:
    """Returns those that have a gradient, by shape: matrices of one are multiplied at once."""
    found: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            found.setdefault(parameter.shape, []).append(parameter)
    return list(found.values())


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Returns nearly U V^T of each matrix U S V^T, in ``dtype``, by Newton-Schulz iteration.

    Singular values come out between .67 and 1.21, those of less than .002 of the matrix's norm
    lower; a matrix of zeros stays one.

    Args:
        matrices: (M, rows, columns).
        dtype: of the matrix products.
    """
    a, b, c = _QUINTIC
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if is_tall else matrices).to(dtype)
    # The largest singular value is at most 1.
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_NUM_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x
