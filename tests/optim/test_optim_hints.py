"""Hints at losses and gradients that do not belong together, where refused steps tell."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from closures import (
    DOUBLE,
    alone,
    network,
    normal,
    parameter,
    rosenbrock,
    train,
    with_zero_grad,
)

by_style = pytest.mark.parametrize("style", [alone, with_zero_grad])


@contextmanager
def silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("scale", [2.0**14, 2.0**16])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_a_scaled_gradient_with_an_unscaled_loss_gets_a_hint(
    scale: float, dtype: torch.dtype
) -> None:
    """As `torch.amp.GradScaler` makes it. Said once, with the factor."""
    model, loss = network(dtype)
    optimizer = lmm.optim.ProjectedMM(model.parameters())

    def closure() -> Tensor:
        value = loss()
        (scale * value).backward()
        return value

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(10):
            optimizer.step(closure)
    (warning,) = [w for w in caught if "GradScaler" in str(w.message)]
    assert warning.filename == __file__
    said = float(str(warning.message).split("gradients were ")[1].split(" times")[0])
    assert said == pytest.approx(scale, rel=0.3)


@pytest.mark.parametrize("factor", [1.0, 64.0])
def test_gradients_in_order_get_none(factor: float) -> None:
    with silence():
        for dtype in (torch.float32, DOUBLE):
            model, loss = network(dtype)
            optimizer = lmm.optim.ProjectedMM(model.parameters())

            def closure(loss: Any = loss) -> Tensor:
                value = factor * loss()
                value.backward()
                return value / factor * factor

            train(optimizer, closure, 60)


class Reversed(torch.autograd.Function):
    """A square whose backward has the wrong sign in places."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, signs: Tensor) -> Tensor:
        ctx.save_for_backward(x, signs)
        return x * x

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, signs = ctx.saved_tensors
        return 2 * x * signs * gradients[0], None


@pytest.mark.parametrize("signs", [[-1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]])
@by_style
def test_a_wrong_backward_gets_a_hint(signs: list[float], style: Any) -> None:
    x = parameter([1.0, 0.7, -2.0])
    optimizer = lmm.optim.ProjectedMM([x])
    loss = lambda: Reversed.apply(x, x.new_tensor(signs)).sum()  # noqa: E731
    before = float(loss().detach())
    with pytest.warns(UserWarning, match=r"a gradient is wrong.*learnmm\.checks\.assert_gradient"):
        train(optimizer, lambda: style(loss, optimizer), 3)
    assert float(loss().detach()) <= before


def kinked(x: Tensor) -> Tensor:
    return (normal(9, 4, seed=1) @ x - 1).abs().sum()


def cancelling(x: Tensor) -> Tensor:
    """Its rounding is that of 1e9."""
    return x.square().sum() + (1e9 + x.sum()) - 1e9 - x.sum()


def flat_floor(x: Tensor) -> Tensor:
    return nn.functional.cross_entropy(30 * x[None].float(), torch.tensor([0])).double()


@pytest.mark.parametrize(
    "loss", [kinked, cancelling, flat_floor, rosenbrock], ids=lambda loss: loss.__name__
)
def test_refusals_for_other_reasons_get_none(loss: Any) -> None:
    """Kinks, rounding beyond that of the value, and the end of descent."""
    x = parameter(normal(4))
    with silence():
        train(lmm.optim.ProjectedMM([x]), lambda: loss(x), 60)


def test_random_closures_get_no_hint_of_wrong_gradients() -> None:
    x, generator = parameter(normal(20)), torch.Generator().manual_seed(0)

    def closure() -> Tensor:
        mask = torch.rand(20, generator=generator, dtype=DOUBLE) < 0.5
        return (mask * x).square().sum()

    with silence():
        train(lmm.optim.ProjectedMM([x]), closure, 40)
