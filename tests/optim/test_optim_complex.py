"""Complex parameters are stepped as pairs of reals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm

DTYPE = torch.float64


def loss_of(z: Tensor, shift: Tensor) -> Tensor:
    return ((z - shift).abs() ** 2 + (z * z - 1).abs() ** 2).sum()


@pytest.mark.parametrize("curvature", ["auto", "secant"])
@pytest.mark.parametrize("history", [0, 5])
@pytest.mark.parametrize("backward", [False, True])
def test_complex_parameters_go_where_their_parts_would(
    curvature: str, history: int, backward: bool
) -> None:
    z = nn.Parameter(torch.tensor([1 + 2j, -0.5 + 0.1j], dtype=torch.complex128))
    pairs = nn.Parameter(torch.view_as_real(z.detach()).clone())
    shift = nn.Parameter(torch.tensor([0.5, -0.2], dtype=DTYPE))
    twin = nn.Parameter(shift.detach().clone())
    runs = []
    for first, second in ((z, shift), (pairs, twin)):
        groups = [{"params": [first]}, {"params": [second], "lr": 0.5}]
        torch.manual_seed(0)
        optimizer = lmm.optim.ProjectedMM(groups, curvature=curvature, history=history)

        def closure(first: Tensor = first, second: Tensor = second) -> Tensor:
            value = first if first.is_complex() else torch.complex(first[:, 0], first[:, 1])
            optimizer.zero_grad()  # noqa: B023 - called in this turn
            loss = loss_of(value, second)
            if backward:
                loss.backward()
            return loss

        runs.append([float(optimizer.step(closure)) for _ in range(8)])
    assert runs[0] == pytest.approx(runs[1], rel=1e-9)
    assert all(b <= a for a, b in zip(runs[0], runs[0][1:], strict=False))
    assert torch.allclose(torch.view_as_real(z.detach()), pairs.detach(), rtol=1e-8)
    assert z.grad is not None
    assert torch.allclose(torch.view_as_real(z.grad), pairs.grad, rtol=1e-6, atol=1e-9)


def test_complex_and_real_parameters_have_one_width() -> None:
    z = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    lmm.optim.ProjectedMM([z, nn.Parameter(torch.ones(2))])
    with pytest.raises(ValueError, match="one dtype and one device"):
        lmm.optim.ProjectedMM([z, nn.Parameter(torch.ones(2, dtype=DTYPE))])
