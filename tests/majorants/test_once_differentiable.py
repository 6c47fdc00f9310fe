"""Whatever can be differentiated once is minimized, and its curvature found where it hides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import draws
import learnmm as lmm
from closures import OnceDifferentiable
from learnmm.hessian import SecondDerivativeError, hessian_product
from learnmm.majorants import DefaultMajorant

DOUBLE = torch.float64
Function = Callable[[Tensor], Tensor]
PROPOSERS = (None, lmm.LimitedMemory())


normal = partial(draws.normal, dtype=torch.float32)


class Quartic(torch.autograd.Function):
    """``x^4`` in the old style, which `torch.func` refuses; twice differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**4

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 4 * ctx.saved_tensors[0] ** 3 * gradient


class Numpy(torch.autograd.Function):
    """A square whose gradient leaves torch, and with it its curvature."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.x = x.detach().numpy()
        return torch.from_numpy(ctx.x**2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.from_numpy(2 * ctx.x) * gradient


def attention(x: Tensor) -> Tensor:
    heads = x.view(1, 2, 5, 4)
    wanted = normal(1, 2, 5, 4, seed=1, dtype=x.dtype)
    return (F.scaled_dot_product_attention(heads, heads, heads) - wanted).square().mean()


def lstm() -> Function:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.LSTM(3, 4)
    return lambda x: (network(x.view(5, 1, 3))[0] - 0.1).square().mean()


def embedding(x: Tensor) -> Tensor:
    bags = torch.tensor([[0, 1], [2, 3]])
    return (F.embedding_bag(bags, x.view(5, 3), mode="sum") - 1).square().mean()


def transcript(x: Tensor) -> Tensor:
    """The loss of connectionist temporal classification."""
    lengths = torch.tensor([6]), torch.tensor([2])
    return F.ctc_loss(x.view(6, 1, 4).log_softmax(-1), torch.tensor([[1, 2]]), *lengths)


def physics(x: Tensor) -> Tensor:
    """``u' = -u``, ``u(0) = 1`` for a small network: a loss with a derivative inside."""
    t = torch.linspace(0, 1, 7, dtype=x.dtype)[:, None].requires_grad_()
    u = torch.tanh(t * x[:4] + x[4:8]) @ x[8:12]
    (slope,) = torch.autograd.grad(u.sum(), t, create_graph=True)
    return (slope[:, 0] + u).square().mean() + (u[0] - 1).square()


def checkpointed(x: Tensor) -> Tensor:
    from torch.utils.checkpoint import checkpoint

    value: Tensor = checkpoint(lambda z: (z**4).sum(), x, use_reentrant=False)
    return value


FUNCTIONS: dict[str, tuple[Function, Tensor]] = {
    "attention": (attention, normal(40)),
    "lstm": (lstm(), normal(15)),
    "cdist": (lambda x: (torch.cdist(x.view(3, 2), normal(6, 2)) - 1).square().mean(), normal(6)),
    "embedding_bag": (embedding, normal(15)),
    "ctc": (transcript, normal(24)),
    "old style": (lambda x: Quartic.apply(x - 1).sum(), normal(5)),
    "marked": (lambda x: OnceDifferentiable.apply(x - 1).sum(), normal(5)),
    "numpy": (lambda x: Numpy.apply(x - 1).sum(), normal(5)),
    "physics": (physics, normal(12)),
    "checkpoint": (checkpointed, normal(3)),
}
NO_PRODUCTS = ("attention", "cdist", "embedding_bag", "ctc")
"""Whose gradient torch cannot differentiate."""
HIDDEN = ("marked", "numpy")
"""Whose gradient torch differentiates to zero."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_once_differentiable_functions_are_minimized(name: str) -> None:
    """By the default steps, one problem or a batch, and by a closure."""
    fun, x0 = FUNCTIONS[name]
    result = lmm.minimize(fun, x0, settings=lmm.SolveSettings(max_iter=60))
    assert bool(result.fun < 0.5 * result.initial_fun)
    assert bool(result.certificate.monotone)
    batch = lmm.minimize(
        lambda x: torch.stack([fun(z) for z in x]), x0[None], settings=lmm.SolveSettings(max_iter=3)
    )
    alone = lmm.minimize(fun, x0, settings=lmm.SolveSettings(max_iter=3))
    torch.testing.assert_close(batch.fun[0], alone.fun)
    x = torch.nn.Parameter(x0.clone())
    optimizer = lmm.optim.ProjectedMM([x], settings=lmm.SolveSettings(max_iter=20))
    start = optimizer.step(lambda: fun(x))
    assert bool(fun(x.detach().requires_grad_()) < start)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_own_steps_say_what_their_curvature_is(name: str) -> None:
    fun, x0 = FUNCTIONS[name]
    result = lmm.minimize(fun, x0, proposer=None, settings=lmm.SolveSettings(max_iter=30))
    assert bool(result.fun < result.initial_fun)
    known = name not in (*NO_PRODUCTS, *HIDDEN)
    assert result.certificate.kind is (lmm.Kind.PROBABLE if known else lmm.Kind.ESTIMATE)


@pytest.mark.parametrize("name", NO_PRODUCTS)
@pytest.mark.parametrize(
    "make", [lmm.majorants.LanczosMajorant, lmm.majorants.PowerIterationMajorant]
)
def test_majorants_that_need_second_derivatives_say_what_to_do(name: str, make: Any) -> None:
    fun, x0 = FUNCTIONS[name]
    objective = lmm.objective.CallableObjective(fun, single=True)
    with pytest.raises(
        SecondDerivativeError, match=r"not implemented.*majorant=lmm.majorants.SecantMajor"
    ):
        lmm.minimize(objective, x0[None], majorant=make(objective))
    with pytest.raises(RuntimeError, match="differentiated only once"):
        hessian_product(objective, x0[None])(x0[None])


@pytest.mark.parametrize("name", NO_PRODUCTS)
def test_closures_fall_back_unless_told_otherwise(name: str) -> None:
    fun, x0 = FUNCTIONS[name]
    x = torch.nn.Parameter(x0.clone())
    optimizer = lmm.optim.ProjectedMM([x], history=0)
    first = optimizer.step(lambda: fun(x))
    assert bool(optimizer.step(lambda: fun(x)) < first)
    assert optimizer.last_result is not None
    assert optimizer.last_result.certificate.kind is lmm.Kind.ESTIMATE
    x = torch.nn.Parameter(x0.clone())  # where there is something left to do
    with pytest.raises(RuntimeError, match="not implemented"):
        lmm.optim.ProjectedMM([x], curvature="hessian").step(lambda: fun(x))


class Refusing(torch.autograd.Function):
    """A square whose backward cannot even be recorded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise AssertionError("once only")
        return 2 * ctx.saved_tensors[0] * gradient


def test_a_backward_that_refuses_to_be_recorded() -> None:
    def fun(x: Tensor) -> Tensor:
        return Refusing.apply(x - 1).sum()

    assert float(lmm.minimize(fun, torch.zeros(3)).fun) < 1e-9
    assert float(lmm.minimize(fun, torch.zeros(3), proposer=None).fun) < 1e-9
    x = torch.nn.Parameter(torch.zeros(3))
    lmm.optim.ProjectedMM([x], history=0).step(lambda: fun(x))
    with pytest.raises(SecondDerivativeError, match="once only"):
        hessian_product(lambda x: fun(x[0])[None], torch.zeros(1, 3))(torch.ones(1, 3))


def test_steps_with_gradients_enabled() -> None:
    """`torch.func`, which leaves no trace of the iterate, refuses these; `step` must not."""
    for name in ("old style", "checkpoint", "cdist", "lstm"):
        fun, x0 = FUNCTIONS[name]
        optimizer = lmm.ProjectedMMOptimizer(lmm.objective.CallableObjective(fun, single=True))
        with torch.no_grad():
            expected = optimizer.init(x0[None])
            expected, _ = optimizer.step(expected)
        state, _ = optimizer.step(optimizer.init(x0[None]))
        torch.testing.assert_close(state.value, expected.value, rtol=0.2, atol=0)
        assert bool(state.value < fun(x0.clone().requires_grad_()))


def test_errors_of_a_function_stay_its_own() -> None:
    def broken(x: Tensor) -> Tensor:
        raise KeyError("mine")

    for proposer in PROPOSERS:
        with pytest.raises(KeyError, match="mine"):
            lmm.minimize(broken, torch.ones(2), proposer=proposer)
    for route in ("auto", "reverse"):
        with pytest.raises(KeyError, match="mine"):
            hessian_product(broken, torch.ones(1, 2), route)(torch.ones(1, 2))  # type: ignore[arg-type]


# --- what the first curvature is ---------------------------------------------------------------


def test_a_trial_step_measures_what_a_product_would() -> None:
    """Of a quadratic both are exact."""
    spectrum = torch.tensor([1.0, 3.0, 10.0], dtype=DOUBLE)
    x = normal(2, 3, dtype=DOUBLE)
    gradient = 2 * spectrum * x

    def hidden(z: Tensor) -> Tensor:
        return OnceDifferentiable.apply(z * spectrum.sqrt()).sum(1)

    change = 2 * spectrum * gradient
    expected = (change * change).sum(1) / (gradient * change).sum(1)
    torch.testing.assert_close(
        lmm.majorants.SecantMajorant(hidden).init_memory(x, gradient), expected
    )


@pytest.mark.parametrize("energy", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("length", [1e-20, 1.0, 1e20])
def test_the_first_curvature_of_what_hides_it_has_the_right_units(
    energy: float, length: float
) -> None:
    x = normal(1, 4, dtype=DOUBLE)

    def hidden(z: Tensor) -> Tensor:
        return energy * OnceDifferentiable.apply(z / length).sum(1)

    start = lmm.majorants.SecantMajorant(hidden).init_memory(length * x, 2 * energy / length * x)
    torch.testing.assert_close(start, torch.tensor([2.0], dtype=DOUBLE) * energy / length**2)


def test_mixed_batches_keep_their_problems_apart() -> None:
    """One problem shows its second derivatives, its neighbour hides them."""

    def shown(x: Tensor) -> Tensor:
        return torch.cosh(x).sum(1)

    def both(x: Tensor) -> Tensor:
        return torch.cat([shown(x[:1]), OnceDifferentiable.apply(x[1:] - 1).sum(1)])

    x0 = normal(2, 4, seed=3, dtype=DOUBLE)
    settings = lmm.SolveSettings(max_iter=6)
    mixed = lmm.minimize(both, x0, proposer=None, settings=settings)
    alone = lmm.minimize(shown, x0[:1], proposer=None, settings=settings)
    assert mixed.certificate.kind is lmm.Kind.ESTIMATE
    assert alone.certificate.kind is lmm.Kind.PROBABLE
    # The minimizer is zero: what is left there is rounding of where the steps came from.
    rounding = torch.finfo(DOUBLE).eps * float(x0.abs().max())
    torch.testing.assert_close(mixed.x[:1], alone.x, rtol=1e-9, atol=rounding)
    assert float(mixed.fun[1]) < 1e-12


def test_flat_is_not_hidden() -> None:
    """A linear function has no curvature to hide, and a kink elsewhere none that counts."""
    slope = normal(1, 3, dtype=DOUBLE)
    for fun in (lambda x: (slope * x).sum(1), lambda x: (x - 5).abs().sum(1)):
        majorant = DefaultMajorant(fun)
        x = normal(1, 3, seed=1, dtype=DOUBLE)
        gradient = lmm.objective.CallableObjective(fun).evaluate(x).gradient
        assert majorant.init_memory(x, gradient) is None
        assert majorant(x).kind is lmm.Kind.PROBABLE
