"""Muon against its formula, against torch's, and on what it refuses."""

import math

import pytest
import torch
from torch import Tensor, nn

from pneumoscope.training.muon import Muon, orthogonal

SHAPES = [(24, 24), (64, 16), (16, 64)]


def decomposed(shape: tuple[int, int], smallest: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns U, S and V^T of a random matrix whose singular values fall from 1 to ``smallest``."""
    generator = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    return u, torch.logspace(0, math.log10(smallest), min(shape)), v


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_vectors_stay_and_singular_values_become_alike(shape, dtype):
    u, values, v = decomposed(shape, smallest=0.05)
    found = orthogonal((u @ torch.diag(values) @ v)[None], dtype)[0]
    assert found.dtype == dtype
    assert found.shape == shape
    inside = u.T @ found.float() @ v.T
    assert inside.diagonal().min() > 0.67
    assert inside.diagonal().max() < 1.21
    atol = 1e-4 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(inside, torch.diag(inside.diagonal()), atol=atol, rtol=0)


def test_small_singular_values_are_raised_down_to_a_limit():
    u, _, v = decomposed((48, 48), smallest=1.0)
    values = torch.cat([torch.ones(1), torch.full((46,), 0.05), torch.tensor([1e-4])])
    values[1] = 0.002 * values.norm()
    inside = (u.T @ orthogonal((u @ torch.diag(values) @ v)[None])[0] @ v.T).diagonal()
    assert inside[:-1].min() > 0.67
    assert inside[:-1].max() < 1.21
    assert inside[-1] < 0.2


def test_the_scale_of_a_matrix_does_not_matter():
    matrix = torch.randn(1, 8, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonal(matrix * 1e4), orthogonal(matrix))
    torch.testing.assert_close(orthogonal(matrix * 1e-4), orthogonal(matrix))


def test_a_matrix_of_zeros_stays_one():
    assert not orthogonal(torch.zeros(2, 3, 5)).any()


def steps(make, gradients: list[Tensor]) -> Tensor:
    """Returns where a matrix of ones is after a step an entry of ``gradients``."""
    matrix = nn.Parameter(torch.ones_like(gradients[0]))
    optimizer = make(matrix)
    for gradient in gradients:
        matrix.grad = gradient.clone()
        optimizer.step()
    return matrix.detach()


def ours(matrix: nn.Parameter, dtype: torch.dtype = torch.float32, decay: float = 0.05) -> Muon:
    return Muon([{"params": [matrix], "weight_decay": decay}], lr=0.1, dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_in_bfloat16_it_is_the_one_of_torch(shape):
    generator = torch.Generator().manual_seed(2)
    gradients = [torch.randn(shape, generator=generator) for _ in range(5)]
    theirs = steps(
        lambda matrix: torch.optim.Muon(
            [matrix], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
        ),
        gradients,
    )
    found = steps(lambda matrix: ours(matrix, torch.bfloat16), gradients)
    torch.testing.assert_close(found, theirs, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(steps(ours, gradients), theirs, atol=0.02, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_as_long_as_those_of_adamw_usually_are(shape):
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    moved = 1 - steps(lambda matrix: ours(matrix, decay=0.0), [gradient])
    assert (moved / 0.1).square().mean().sqrt() == pytest.approx(0.2, rel=0.2)


def test_decay_pulls_by_the_rate_and_nothing_else():
    nothing = torch.zeros(4, 4)
    torch.testing.assert_close(steps(ours, [nothing, nothing]), torch.full((4, 4), 0.995**2))


def test_matrices_are_multiplied_together_and_move_as_if_alone():
    generator = torch.Generator().manual_seed(4)
    shapes = [(8, 4), (4, 8), (8, 4), (6, 6)]
    gradients = [torch.randn(shape, generator=generator) for shape in shapes]
    alone = [steps(ours, [gradient, gradient]) for gradient in gradients]
    together = [nn.Parameter(torch.ones(shape)) for shape in shapes]
    optimizer = Muon([{"params": together, "weight_decay": 0.05}], lr=0.1)
    for _ in range(2):
        for matrix, gradient in zip(together, gradients, strict=True):
            matrix.grad = gradient.clone()
        optimizer.step()
    for matrix, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(matrix.detach(), expected)


def test_a_rate_may_be_a_tensor():
    gradients = [torch.randn(6, 4, generator=torch.Generator().manual_seed(5)) for _ in range(3)]

    def by_tensor(matrix: nn.Parameter) -> Muon:
        optimizer = ours(matrix)
        optimizer.param_groups[0]["lr"] = torch.tensor(0.1)
        return optimizer

    torch.testing.assert_close(steps(by_tensor, gradients), steps(ours, gradients))


def test_a_matrix_without_a_gradient_stays_where_it_is():
    matrix = nn.Parameter(torch.ones(2, 3))
    ours(matrix).step()
    assert torch.equal(matrix, torch.ones(2, 3))


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match=r"moves matrices, not parameters of shape \(3,\)"):
        ours(nn.Parameter(torch.ones(3)))
    with pytest.raises(ValueError, match="empty parameter list"):
        Muon([])
