"""The loop is `init` and a pure `step`: what it keeps, shapes, gradients through it, progress."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Hostile
from catalogue import ATOMS, AtomCase
from learnmm.nested import mapped, tensors_of
from quadratics import DATA, Status, quadratic


@pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
def test_steps_are_pure(case: AtomCase) -> None:
    optimizer = lmm.ProjectedMMOptimizer(case.build(DATA), proposer=Hostile())
    x0 = case.point(DATA)
    start = x0.clone()
    state = optimizer.init(x0)
    for _ in range(3):
        before = [leaf.clone() for leaf in tensors_of(state)]
        first, _ = optimizer.step(state)
        second, _ = optimizer.step(state)
        for old, now in zip(before, tensors_of(state), strict=True):
            assert torch.equal(old, now)
        for a, b in zip(tensors_of(first), tensors_of(second), strict=True):
            assert torch.equal(a, b)
        state = first
    assert torch.equal(x0, start)


def test_minimize_is_init_and_repeated_step() -> None:
    optimizer, x0 = quadratic(max_iter=7, gtol=0)
    result = optimizer.minimize(x0, history=True)
    state, infos = optimizer.init(x0), []
    for _ in range(7):
        state, info = optimizer.step(state)
        infos.append(info)
    assert torch.equal(result.x, state.x)
    assert torch.equal(result.fun, state.value)
    assert torch.equal(result.gradient, state.gradient)
    assert torch.equal(result.certificate.accepted, state.tally.accepted)
    assert result.history is not None
    for kept, field in zip(result.history, zip(*infos, strict=True), strict=True):
        assert torch.equal(kept, torch.stack(field))


def test_the_result_does_not_share_memory_with_the_start() -> None:
    x0 = DATA.target()
    start = x0.clone()
    result = lmm.minimize(lmm.Quadratic(start), x0)
    result.x.zero_()
    assert torch.equal(x0, start)


def test_stopped_problems_stay_as_they_are() -> None:
    # Targets at different distances stop at different steps.
    target = torch.tensor([[0.0], [1.0], [1e4]], dtype=torch.float64)
    optimizer = lmm.ProjectedMMOptimizer(
        lambda x: ((x - target) ** 2).sum(1),
        majorant=lmm.majorants.LipschitzMajorant(4.0),
        settings=lmm.SolveSettings(gtol=1e-6),
    )
    result = optimizer.minimize(torch.zeros_like(target), history=True)
    history = result.history
    assert history is not None
    assert result.iterations[0] == 0
    assert result.iterations[1] < result.iterations[2] == len(history.value)
    stopped = torch.arange(len(history.value))[:, None] >= result.iterations
    assert not (history.accepted & stopped).any()
    assert not history.enlargements[stopped].any()
    assert torch.equal(history.value[-1], result.fun)


@pytest.mark.parametrize(
    "proposer", [None, Hostile(), lmm.LimitedMemory(3)], ids=["own", "hostile", "memory"]
)
def test_nothing_of_a_stopped_problem_changes(proposer: lmm.Proposer | None) -> None:
    """Every field of its state stays, whatever its neighbours do, so that it could go on."""

    def rosenbrock(x: Tensor) -> Tensor:
        return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)

    optimizer = lmm.ProjectedMMOptimizer(
        rosenbrock,
        majorant=lmm.majorants.SecantMajorant(rosenbrock),
        proposer=proposer,
        settings=lmm.SolveSettings(projection=None, gtol=1e-2),
    )
    x0 = torch.tensor([[1.0, 1.0], [-1.2, 1.0], [2.0, 2.0], [1.001, 1.0]], dtype=torch.float64)
    unit = lmm.curvature.ScalarCurvature(torch.ones(4, dtype=torch.float64))
    state, ended = optimizer.init(x0), set()
    for _ in range(80):
        following, _ = optimizer.step(state)
        stopped = ~state.running
        ended.add(int(stopped.sum()))
        for name, before, after in zip(state._fields, state, following, strict=True):
            if name == "proposer_memory" and proposer is not None and proposer.remembers_points:
                # It may take in the iterate where the problem has stopped: the next it would see.
                point = lmm.Point(following.x, following.gradient, unit)
                before, after = (
                    proposer.observe(point, mapped(Tensor.clone, memory))
                    for memory in (before, after)
                )
            for old, new in zip(tensors_of(before), tensors_of(after), strict=True):
                assert torch.equal(old[stopped].nan_to_num(), new[stopped].nan_to_num()), name
        state = following
    assert len(ended) > 1  # they have stopped one after the other


def test_history_has_one_row_per_step() -> None:
    optimizer, x0 = quadratic(max_iter=5, gtol=0)
    result = optimizer.minimize(x0, history=True)
    assert result.history is not None
    assert {field.shape for field in result.history} == {(5, 3)}
    assert torch.equal(result.history.accepted.sum(0), result.certificate.accepted)


def test_there_is_no_history_unless_asked_for_or_without_a_step() -> None:
    optimizer, x0 = quadratic(max_iter=5)
    assert optimizer.minimize(x0).history is None
    assert (
        lmm.ProjectedMMOptimizer(lmm.Quadratic(x0), proposer=lmm.LimitedMemory())
        .minimize(x0, history=True)
        .history
        is None
    )


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_functions_of_one_problem(shape: tuple[int, ...]) -> None:
    target = torch.full(shape, 2.0)
    result = lmm.ProjectedMMOptimizer(
        lambda x: ((x - target) ** 2).sum(), proposer=lmm.LimitedMemory()
    ).minimize(torch.zeros(shape), history=True)
    assert result.x.shape == result.gradient.shape == shape
    assert result.fun.shape == result.status.shape == result.iterations.shape == ()
    assert result.initial_fun.shape == ()
    assert result.message() == Status.GRADIENT.message
    torch.testing.assert_close(result.x, target, atol=1e-4, rtol=0)
    assert result.certificate.accepted.shape == (1,)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 5), (3, 2, 4, 5)])
@pytest.mark.parametrize("given", ["atom", "callable"])
def test_batches_of_any_shape(shape: tuple[int, ...], given: str) -> None:
    target = DATA.target(*shape[1:]) if len(shape) > 1 else DATA.target(1)[:, 0]

    def fun(x: Tensor) -> Tensor:
        return (1 + (x - target) ** 2).log().reshape(3, -1).sum(1)

    atom = lmm.HalfQuadratic(target, "cauchy")
    result = lmm.minimize(
        atom if given == "atom" else fun,
        torch.zeros_like(target),
        proposer=lmm.proposers.Constant(initial=0.9),
        settings=lmm.SolveSettings(max_iter=400, gtol=1e-5),
    )
    assert result.x.shape == shape
    assert result.fun.shape == result.status.shape == (3,)
    torch.testing.assert_close(result.x, target, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 2, 5)])
def test_matrices_act_on_the_first_dimension_after_the_batch(shape: tuple[int, ...]) -> None:
    matrix = DATA.shared(6, 4, key=2)
    truth = DATA.point(*shape[1:])
    y = torch.einsum("mn,bn...->bm...", matrix, truth)
    result = lmm.minimize(lmm.least_squares(matrix, y), torch.zeros(shape, dtype=torch.float64))
    torch.testing.assert_close(result.x, truth)


@pytest.mark.parametrize(
    "name", ["cosine", "least-squares", "huber-separable", "sum", "autoencoder", "smoother"]
)
def test_gradients_flow_through_the_steps(name: str) -> None:
    (case,) = (case for case in ATOMS if case.name == name)
    proposer = lmm.proposers.Constant(case.shape).double()
    optimizer = lmm.ProjectedMMOptimizer(
        case.build(DATA), proposer=proposer, settings=lmm.SolveSettings(gtol=0)
    )
    weight = torch.linspace(0.4, 0.8, 6, dtype=torch.float64)  # inside the interval

    def loss(multipliers: Tensor) -> Tensor:
        state = optimizer.init(case.point(DATA))
        for _ in range(3):
            state, info = torch.func.functional_call(
                Unrolled(optimizer), {"optimizer.multipliers": multipliers}, (state,)
            )
            assert info.accepted.all()
        return state.value.sum()

    class Unrolled(torch.nn.Module):
        def __init__(self, solver: lmm.ProjectedMMOptimizer) -> None:
            super().__init__()
            self.optimizer = proposer
            self.solver = solver

        def forward(self, state: lmm.State) -> tuple[lmm.State, lmm.StepInfo]:
            return self.solver.step(state)

    assert torch.autograd.gradcheck(loss, weight.requires_grad_())


def test_minimize_leaves_no_graph_behind() -> None:
    x0 = DATA.point().requires_grad_()
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.Quadratic(DATA.target()), proposer=lmm.proposers.Constant().double()
    )
    result = optimizer.minimize(x0)
    assert not result.x.requires_grad
    assert not result.fun.requires_grad


def test_progress_writes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    optimizer, x0 = quadratic(max_iter=3, gtol=0)
    quiet = optimizer.minimize(x0)
    assert capsys.readouterr().err == ""
    shown = optimizer.minimize(x0, progress=True)
    written = capsys.readouterr()
    assert "minimize" in written.err
    assert "3/3" in written.err
    assert written.out == ""
    assert torch.equal(quiet.x, shown.x)
