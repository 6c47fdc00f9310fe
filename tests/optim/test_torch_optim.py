"""The optimizer behind the interface of `torch.optim`: descent, resuming, drop-in manners."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import learnmm as lmm
from closures import (
    DOUBLE,
    STYLES,
    accumulated,
    alone,
    bits,
    graph_kept,
    network,
    never_zeroed,
    normal,
    one_element,
    parameter,
    rosenbrock,
    train,
    with_zero_grad,
    zeros_kept,
)
from learnmm.objective import hessian_product
from learnmm.optim.closure import ClosureObjective, flatten

by_style = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)


@by_style
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("max_iter", [1, 3])
@pytest.mark.parametrize("history", [0, 3])
def test_no_call_raises_the_loss(
    style: Any, dtype: torch.dtype, max_iter: int, history: int
) -> None:
    model, loss = network(dtype)
    optimizer = lmm.optim.ProjectedMM(model.parameters(), max_iter=max_iter, history=history)
    losses = train(optimizer, lambda: style(loss, optimizer), 25)
    losses.append(float(loss().detach()))
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert losses[-1] < 0.5 * losses[0]
    assert optimizer.last_result is not None
    certificate = optimizer.last_result.certificate
    assert certificate.monotone.all()
    assert int(certificate.accepted) == 25 * max_iter
    measured = history > 0 or style not in (alone, one_element)
    assert certificate.kind is (lmm.Kind.ESTIMATE if measured else lmm.Kind.PROBABLE)


@by_style
def test_the_loss_before_the_step_is_returned_detached(style: Any) -> None:
    model, loss = network()
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    for _ in range(3):
        before = float(loss().detach())
        returned = optimizer.step(lambda: style(loss, optimizer))
        assert float(returned) == before
        assert returned.shape == ()
        assert not returned.requires_grad


@by_style
def test_afterwards_grad_is_the_gradient_there(style: Any) -> None:
    model, loss = network()
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    for _ in range(2):
        optimizer.step(lambda: style(loss, optimizer))
    expected = torch.autograd.grad(loss(), list(model.parameters()))
    for p, gradient in zip(model.parameters(), expected, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, gradient, rtol=1e-12, atol=1e-14)
    result = optimizer.last_result
    assert result is not None
    optimizer.zero_grad(set_to_none=False)  # which must not reach into the result
    assert torch.equal(result.gradient, flatten(expected)[0]) or style is accumulated


def test_closures_with_backward_take_the_same_steps() -> None:
    ends = []
    for style in (with_zero_grad, zeros_kept, never_zeroed, graph_kept):
        model, loss = network()
        optimizer = lmm.optim.ProjectedMM(model.parameters())
        train(optimizer, lambda style=style, o=optimizer, f=loss: style(f, o), 6)  # type: ignore[misc]
        ends.append(flatten(list(model.parameters())))
    assert all(torch.equal(ends[0], end) for end in ends)


def test_both_kinds_of_closure_take_the_same_secant_steps() -> None:
    ends = []
    for style in (alone, with_zero_grad):
        model, loss = network()
        optimizer = lmm.optim.ProjectedMM(model.parameters(), curvature="secant")
        train(optimizer, lambda style=style, o=optimizer, f=loss: style(f, o), 6)  # type: ignore[misc]
        ends.append(flatten(list(model.parameters())))
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-13)


@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-6, 1e-2, 1.0, 1e3, 1e6]),
    units=st.sampled_from([1e-3, 1.0, 1e3]),
    dtype=st.sampled_from([torch.float32, DOUBLE]),
    style=st.sampled_from([alone, with_zero_grad]),
    lr=st.sampled_from([1.0, 0.3]),
)
def test_descent_whatever_the_scale(
    seed: int, scale: float, units: float, dtype: torch.dtype, style: Any, lr: float
) -> None:
    """Nonconvex losses with jumps in curvature, in all units."""
    x = parameter(units * normal(5, seed=seed), dtype)
    matrix = normal(8, 5, seed=seed + 1, dtype=dtype)

    def loss() -> Tensor:
        r = matrix @ (x / units)
        return scale * (r.square().log1p().sum() + r[:4].prod() ** 2 + r.abs().sin().sum())

    optimizer = lmm.optim.ProjectedMM([x], lr=lr)
    losses = train(optimizer, lambda: style(loss, optimizer), 12)
    assert all(b <= a for a, b in itertools.pairwise([*losses, float(loss().detach())]))
    assert losses[-1] < losses[0]


# --- the same loop ---------------------------------------------------------------------------


@pytest.mark.parametrize("relaxation", [None, lmm.Relaxation()])
def test_it_takes_the_steps_of_the_library(relaxation: lmm.Relaxation | None) -> None:
    """With as many Lanczos steps as unknowns the bound does not depend on the start vector."""
    x = parameter([-1.2, 1.0, -0.5])
    batch = lambda z: torch.stack([rosenbrock(row) for row in z])  # noqa: E731
    plain = lmm.ProjectedMMOptimizer(batch, relaxation=relaxation, max_iter=60)
    result = plain.minimize(x.detach()[None].clone())
    optimizer = lmm.optim.ProjectedMM([x], history=0, relaxation=relaxation)
    for _ in range(int(result.certificate.accepted)):
        optimizer.step(lambda: rosenbrock(x))
    torch.testing.assert_close(x.detach(), result.x[0], rtol=1e-6, atol=1e-8)
    assert optimizer.last_result is not None
    mine = optimizer.last_result.certificate
    assert int(mine.accepted) == int(result.certificate.accepted)
    if relaxation is None:
        assert int(mine.rejected) == 0 == int(result.certificate.rejected)


def test_with_a_history_it_takes_the_steps_of_limited_memory() -> None:
    """From the first pair on, since the curvature before it is measured in another way."""
    x = parameter([-1.2, 1.0, -0.5])
    optimizer = lmm.optim.ProjectedMM([x], history=4)
    losses = train(optimizer, lambda: rosenbrock(x), 1)
    plain = lmm.ProjectedMMOptimizer(
        lambda z: torch.stack([rosenbrock(row) for row in z]), preconditioner=lmm.LimitedMemory(4)
    )
    state = plain.init(x.detach()[None].clone())
    pairs = optimizer.state_dict()["state"][0]["pairs"]
    names = ("moves", "changes", "inverse", "products")
    memory = state.memory._replace(
        gradient=state.gradient,
        newest=torch.tensor([pairs["newest"]]),
        **{name: pairs[name] for name in names},
    )
    state = state._replace(memory=memory)
    for _ in range(20):
        while not bool((state.trial == 0) & (state.tally.accepted == len(losses))):
            state, _ = plain.step(state)
        losses += train(optimizer, lambda: rosenbrock(x), 1)
        torch.testing.assert_close(x.detach(), state.x[0], rtol=1e-6, atol=1e-8)


def test_pairs_compare_a_minibatch_with_itself() -> None:
    """Losses of two curvatures in turn: every pair has seen one of them and no mixture."""
    x = parameter(normal(5))
    optimizer = lmm.optim.ProjectedMM([x], history=6)
    for k in range(12):
        curvature, target = (3.0, 7.0)[k % 2], normal(5, seed=k)
        optimizer.step(lambda c=curvature, t=target: c * (x - t).square().sum() / 2)  # type: ignore[misc]
    pairs = optimizer.state_dict()["state"][0]["pairs"]
    seen = pairs["changes"][0].norm(dim=1) / pairs["moves"][0].norm(dim=1)
    assert sorted(seen.tolist()) == pytest.approx([3.0] * 3 + [7.0] * 3)
    parallel = (pairs["changes"] * pairs["moves"]).sum(2) / pairs["moves"].square().sum(2)
    torch.testing.assert_close(parallel[0], seen)


def test_pairs_are_forgotten_when_other_parameters_move() -> None:
    x, y = parameter(normal(3)), parameter(normal(3, seed=1))
    optimizer = lmm.optim.ProjectedMM([{"params": [x]}, {"params": [y]}])
    loss = lambda: (x.square() * torch.tensor([1.0, 4.0, 9.0])).sum() + y.square().sum()  # noqa: E731
    train(optimizer, loss, 5)
    for moves, stays in ((x, y), (y, x)):  # as many as before, in the end, but others
        stays.requires_grad_(False)
        moves.requires_grad_()
        losses = train(optimizer, loss, 2)
        assert all(b <= a for a, b in itertools.pairwise(losses))
        pairs = optimizer.state_dict()["state"][0]["pairs"]
        assert pairs["moves"].shape == (1, 10, 3)
        assert int((pairs["products"] > 0).sum()) == 2


def test_products_of_the_graph_are_those_of_the_hessian() -> None:
    model, loss = network()
    parameters = list(model.parameters())
    objective = ClosureObjective(loss, parameters)
    x = flatten(parameters)
    objective.evaluate(x)
    names = [name for name, _ in model.named_parameters()]
    inputs, outputs = normal(30, 4, seed=10), normal(30, 1, seed=11)

    def functional(z: Tensor) -> Tensor:
        pieces = z[0].split([p.numel() for p in parameters])
        weights = {n: v.view_as(p) for n, v, p in zip(names, pieces, parameters, strict=True)}
        out = torch.func.functional_call(model, weights, (inputs,))
        return (out - outputs).square().mean()[None]

    assert objective.product is not None
    v = normal(*x.shape, seed=3)
    expected = hessian_product(functional, x)(v)
    torch.testing.assert_close(objective.product(v), expected, rtol=1e-10, atol=1e-12)


def test_a_bound_that_is_not_relaxed_is_never_exceeded_on_a_quadratic() -> None:
    spectrum = torch.linspace(0.1, 5.0, 40, dtype=DOUBLE)
    x = parameter(normal(40))
    optimizer = lmm.optim.ProjectedMM([x], history=0, relaxation=None)
    for _ in range(30):
        optimizer.step(lambda: (spectrum * x * x).sum() / 2)
    assert optimizer.last_result is not None
    certificate = optimizer.last_result.certificate
    assert certificate.kind is lmm.Kind.PROBABLE
    assert int(certificate.violations) == int(certificate.rejected) == 0
    assert float(certificate.failure_probability) == pytest.approx(0.03)


@by_style
def test_a_quadratic_is_solved(style: Any) -> None:
    spectrum, target = torch.tensor([1.0, 3.0, 10.0], dtype=DOUBLE), normal(3)
    x = parameter(torch.zeros(3))
    optimizer = lmm.optim.ProjectedMM([x])
    train(optimizer, lambda: style(lambda: (spectrum * (x - target) ** 2).sum(), optimizer), 80)
    torch.testing.assert_close(x.detach(), target, rtol=0, atol=1e-6)


@pytest.mark.parametrize("style", [alone, with_zero_grad])
def test_losses_without_curvature_descend(style: Any) -> None:
    """The Hessian of a piecewise linear loss vanishes, and would be no scale for a step."""
    x, matrix = parameter(normal(4)), normal(9, 4, seed=1)
    optimizer = lmm.optim.ProjectedMM([x])
    losses = train(optimizer, lambda: style(lambda: (matrix @ x - 1).abs().sum(), optimizer), 40)
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert losses[-1] < 0.8 * losses[0]
    assert optimizer.last_result is not None
    assert optimizer.last_result.certificate.kind is lmm.Kind.ESTIMATE


def test_the_probe_measures_the_curvature_along_the_gradient() -> None:
    x = parameter([3.0, 0.0])
    optimizer = lmm.optim.ProjectedMM([x], curvature="secant")
    optimizer.step(lambda: 50 * x[0] ** 2 + x[1] ** 2)
    torch.testing.assert_close(x.detach(), torch.zeros(2, dtype=DOUBLE), rtol=0, atol=1e-12)


def test_secants_are_the_larger_of_the_two_quotients() -> None:
    spectrum = torch.tensor([1.0, 10.0], dtype=DOUBLE)
    x = parameter([1.0, 1.0])
    optimizer = lmm.optim.ProjectedMM([x], curvature="secant")
    loss = lambda: (spectrum * x * x).sum() / 2  # noqa: E731
    optimizer.step(loss)
    before = x.detach().clone()
    optimizer.step(loss)
    moved = x.detach() - before
    change = spectrum * moved
    optimizer.step(loss)
    expected = change.square().sum() / (change * moved).sum()
    step = x.detach() - before - moved
    torch.testing.assert_close(step, -spectrum * (before + moved) / expected)


@pytest.mark.parametrize(
    ("style", "curvature", "history", "first"),
    [
        (alone, "auto", 0, 2),
        (alone, "auto", None, 3),
        (alone, "hessian", None, 2),
        (alone, "secant", None, 3),
        (with_zero_grad, "auto", 0, 3),
        (with_zero_grad, "auto", None, 3),
    ],
)
def test_a_step_calls_the_closure_twice(
    style: Any, curvature: Any, history: int | None, first: int
) -> None:
    """Once more for the probe before the first secant, and once more for every refusal."""
    x, calls = parameter(normal(3)), itertools.count()

    def loss() -> Tensor:
        next(calls)
        return x.square().sum() + x.abs().pow(3).sum() / 9

    optimizer = lmm.optim.ProjectedMM([x], curvature=curvature, history=history)
    seen = 0
    for expected in (first, 2, 2):
        optimizer.step(lambda: style(loss, optimizer))
        now = next(calls) - seen
        seen += now + 1
        assert optimizer.last_result is not None
        assert int(optimizer.last_result.certificate.rejected) == 0
        assert now == expected


# --- refusing to move ------------------------------------------------------------------------


def test_parameters_stay_bit_by_bit_if_no_trial_lowers_the_loss() -> None:
    x = parameter([0.1, -0.7, 1e-20])
    rising = itertools.count()
    before = bits([x])
    optimizer = lmm.optim.ProjectedMM([x])
    optimizer.step(lambda: rosenbrock(x) + 1e3 * next(rising))
    assert bits([x]) == before
    assert optimizer.last_result is not None
    assert int(optimizer.last_result.status) == lmm.Status.STALLED
    assert int(optimizer.last_result.certificate.accepted) == 0
    optimizer.step(lambda: rosenbrock(x))  # one bad call is not the end
    assert bits([x]) != before


@pytest.mark.parametrize("style", [alone, with_zero_grad])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite_moves_nothing_and_raises_nothing(
    style: Any, value: float
) -> None:
    x = parameter([1.0, 2.0])
    before = bits([x])
    optimizer = lmm.optim.ProjectedMM([x])
    returned = optimizer.step(lambda: style(lambda: x.square().sum() * value, optimizer))
    assert not torch.isfinite(returned)
    assert bits([x]) == before
    assert optimizer.last_result is not None
    assert int(optimizer.last_result.status) == lmm.Status.NON_FINITE
    train(optimizer, lambda: style(lambda: x.square().sum(), optimizer), 3)
    assert bits([x]) != before


def test_steps_out_of_the_domain_are_shortened() -> None:
    x = parameter([0.5])
    optimizer = lmm.optim.ProjectedMM([x], curvature="secant")
    losses = train(optimizer, lambda: (100 * x - torch.log(x)).sum(), 20)
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert x.item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("error", [AttributeError, KeyboardInterrupt])
def test_a_closure_that_raises_leaves_everything_as_it_was(
    failing: int, error: type[BaseException]
) -> None:
    model, loss = network()
    optimizer = lmm.optim.ProjectedMM(model.parameters(), max_iter=2)
    train(optimizer, loss, 3)
    before, saved = bits(model.parameters()), copy.deepcopy(optimizer.state_dict()["state"])
    calls = itertools.count(1)

    def closure() -> Tensor:
        if next(calls) == failing:
            raise error
        return loss()

    with pytest.raises(error):
        optimizer.step(closure)
    assert bits(model.parameters()) == before
    assert str(optimizer.state_dict()["state"]) == str(saved)


def test_a_vanishing_gradient_makes_no_step() -> None:
    x = parameter([0.0])
    optimizer = lmm.optim.ProjectedMM([x])
    optimizer.step(lambda: x.square().sum())
    assert optimizer.last_step is None
    assert optimizer.last_result is not None
    assert int(optimizer.last_result.status) == lmm.Status.GRADIENT
    y = parameter([1e-3])
    patient = lmm.optim.ProjectedMM([y], gtol=1e-2)
    patient.step(lambda: y.square().sum())
    assert y.item() == 1e-3


# --- learning rates, groups, schedulers ------------------------------------------------------


@pytest.mark.parametrize("lr", [0.5, 0.01, torch.tensor(0.25)])
@pytest.mark.parametrize("style", [alone, with_zero_grad])
def test_the_learning_rate_is_a_factor_on_the_step(lr: Any, style: Any) -> None:
    moves = []
    for rate in (1.0, lr):
        x = parameter([0.3, -0.2])
        start = x.detach().clone()
        optimizer = lmm.optim.ProjectedMM([x], lr=rate)
        optimizer.step(lambda x=x, o=optimizer: style(lambda: rosenbrock(x), o))  # type: ignore[misc]
        moves.append(x.detach() - start)
    torch.testing.assert_close(moves[1], float(lr) * moves[0], rtol=1e-10, atol=0)


def test_relaxation_does_not_undo_the_learning_rate() -> None:
    """On a quadratic of one curvature the measured step solves it, and lr shortens just that."""
    x = parameter(normal(6))
    optimizer = lmm.optim.ProjectedMM([x], lr=0.1)
    losses = train(optimizer, lambda: 7 * x.square().sum(), 15)
    for a, b in itertools.pairwise(losses):
        assert b / a == pytest.approx(0.9**2, rel=1e-6)


def test_groups_have_learning_rates_of_their_own() -> None:
    x, y, z = (parameter(normal(2, seed=seed)) for seed in range(3))
    starts = [t.detach().clone() for t in (x, y, z)]
    groups = [{"params": [x]}, {"params": [y], "lr": 0.1}, {"params": [z], "lr": 0.0}]
    optimizer = lmm.optim.ProjectedMM(groups, relaxation=None)
    optimizer.step(lambda: 3 * (x.square().sum() + y.square().sum() + z.square().sum()))
    for t, start, share in zip((x, y, z), starts, (0.0, 0.9, 1.0), strict=True):
        torch.testing.assert_close(t.detach(), share * start, rtol=1e-9, atol=1e-12)
    assert z.grad is None


def test_groups_may_come_later() -> None:
    x, y = parameter([2.0]), parameter([3.0])
    optimizer = lmm.optim.ProjectedMM([x])
    loss = lambda: x.square().sum() + y.square().sum()  # noqa: E731
    optimizer.step(loss)
    optimizer.add_param_group({"params": [y]})
    losses = train(optimizer, loss, 5)
    assert y.abs().item() < 1e-6
    assert all(b <= a for a, b in itertools.pairwise(losses))


def test_a_learning_rate_of_zero_stops_everything() -> None:
    x = parameter([2.0])
    optimizer = lmm.optim.ProjectedMM([x], lr=0.0)
    assert float(optimizer.step(lambda: x.square().sum())) == 4.0
    assert x.item() == 2.0


SCHEDULERS: list[Callable[[torch.optim.Optimizer], Any]] = [
    lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5),
    lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10),
    lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=5),
    lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=30, cycle_momentum=False),
    lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda k: 0.9**k),
]


@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_schedulers_are_tolerated(schedule: Any) -> None:
    model, loss = network()
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    scheduler = schedule(optimizer)
    losses = []
    for _ in range(12):
        losses.append(float(optimizer.step(loss)))
        scheduler.step()
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert losses[-1] < losses[0]


def test_a_scheduler_on_plateaus_is_tolerated() -> None:
    x = parameter([1.0])
    optimizer = lmm.optim.ProjectedMM([x])
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    for _ in range(6):
        scheduler.step(float(optimizer.step(lambda: x.square().sum() + 1)))
    assert optimizer.param_groups[0]["lr"] < 1


# --- minibatches and the certificate ---------------------------------------------------------


@pytest.mark.parametrize("style", [alone, with_zero_grad])
def test_each_minibatch_descends_and_is_counted(style: Any) -> None:
    model, _ = network()
    inputs, outputs = normal(60, 4, seed=1), normal(60, 1, seed=2)
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    for k in range(12):
        rows = slice(5 * k, 5 * k + 5)
        loss = lambda rows=rows: (model(inputs[rows]) - outputs[rows]).square().mean()  # noqa: E731
        before = float(optimizer.step(lambda loss=loss: style(loss, optimizer)))  # type: ignore[misc]
        assert float(loss().detach()) <= before
    result = optimizer.last_result
    assert result is not None
    assert int(result.certificate.accepted) == 12
    assert result.certificate.safeguarded
    assert result.certificate.monotone.all()
    assert float(result.fun) <= float(result.initial_fun)
    assert torch.equal(result.x, flatten(list(model.parameters()))[0])
    assert int(result.status) == lmm.Status.RUNNING
    assert optimizer.last_step is not None
    assert bool(optimizer.last_step.accepted)
    assert float(optimizer.last_step.value) == float(result.fun)


def test_random_closures_are_found_out() -> None:
    x = parameter(normal(50))
    draw = lambda: (nn.functional.dropout(x, 0.5) ** 2).sum()  # noqa: E731
    optimizer = lmm.optim.ProjectedMM([x], check_deterministic=True)
    before = bits([x])
    with pytest.raises(RuntimeError, match=r"not deterministic: it returned [\d.]+ and then [\d.]"):
        optimizer.step(draw)
    assert bits([x]) == before
    optimizer.step(lambda: x.square().sum())
    lmm.optim.ProjectedMM([x]).step(draw)  # unless asked


def test_batch_statistics_are_deterministic() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    inputs = normal(8, 3)
    optimizer = lmm.optim.ProjectedMM(model.parameters(), check_deterministic=True)
    losses = train(optimizer, lambda: model(inputs).square().sum(), 5)
    assert all(b <= a for a, b in itertools.pairwise(losses))


# --- random start vectors ----------------------------------------------------------------------


def test_the_global_generator_is_left_alone() -> None:
    x = parameter(normal(40))
    before = torch.random.get_rng_state()
    train(lmm.optim.ProjectedMM([x]), lambda: rosenbrock(x), 3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_generator_given_is_used() -> None:
    ends = []
    for seed in (1, 1, 2):
        x = parameter(normal(200))
        generator = torch.Generator().manual_seed(seed)
        optimizer = lmm.optim.ProjectedMM(
            [x], curvature="hessian", relaxation=None, generator=generator
        )
        optimizer.step(lambda x=x: rosenbrock(x))  # type: ignore[misc]
        ends.append(x.detach())
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


# --- parameters of all sorts -----------------------------------------------------------------


def test_parameters_of_all_shapes_move() -> None:
    shapes: list[tuple[int, ...]] = [(), (1,), (2, 3), (2, 1, 2)]
    parameters = [parameter(1 + normal(*shape).abs()) for shape in shapes]
    parameters.append(nn.Parameter((1 + normal(3, 4).abs()).mT))  # not contiguous
    optimizer = lmm.optim.ProjectedMM(parameters)
    loss = lambda: torch.stack([p.square().sum() for p in parameters]).sum()  # noqa: E731
    losses = train(optimizer, loss, 4)
    assert losses[-1] < 1e-9 * losses[0]


def test_frozen_and_unused_parameters_stay() -> None:
    x, frozen, unused = parameter([1.0, 2.0]), parameter([3.0]), parameter([4.0])
    frozen.requires_grad_(False)
    for style in (alone, with_zero_grad):
        optimizer = lmm.optim.ProjectedMM([frozen, x, unused])
        train(optimizer, lambda o=optimizer, s=style: s(lambda: (frozen * x).square().sum(), o), 3)  # type: ignore[misc]
    assert frozen.item() == 3.0
    assert unused.item() == 4.0
    assert float(x.detach().norm()) < 1e-3


def test_named_parameters_are_taken() -> None:
    model, loss = network()
    losses = train(lmm.optim.ProjectedMM(model.named_parameters()), loss, 3)
    assert losses[2] < losses[0]


def test_autocast_around_the_step_does_not_reach_the_loss() -> None:
    model, loss = network(torch.float32)
    optimizer = lmm.optim.ProjectedMM(model.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = train(optimizer, loss, 10)
    assert all(b <= a for a, b in itertools.pairwise([*losses, float(loss().detach())]))


def test_no_grad_around_the_step_does_not_matter() -> None:
    x = parameter([1.0, 2.0])
    with torch.no_grad():
        losses = train(lmm.optim.ProjectedMM([x]), lambda: rosenbrock(x), 3)
    assert losses[2] < losses[0]
