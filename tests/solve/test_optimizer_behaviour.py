"""What the loop does, apart from descending: statuses, tolerances, purity, counting, gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from adversaries import Counted, Curvatures, Hostile, Random
from catalogue import ATOMS, PRECONDITIONERS, AtomCase, Draw

Status = lmm.Status

DATA = Draw(3, torch.float64)


def quadratic(**settings: Any) -> tuple[lmm.ProjectedMMOptimizer, Tensor]:
    """A problem that takes many steps: the curvature is ten times too large."""
    target = DATA.target()
    optimizer = lmm.ProjectedMMOptimizer(
        lambda x: 1 + ((x - target) ** 2).sum(1) / 2,
        majorant=lmm.LipschitzMajorant(10.0),
        **settings,
    )
    return optimizer, DATA.point()


def statuses(result: lmm.Result) -> list[Status]:
    return [Status(int(code)) for code in result.status]


# --- statuses --------------------------------------------------------------------------------


def test_running_is_the_status_between_steps() -> None:
    optimizer, x0 = quadratic()
    state, _ = optimizer.step(optimizer.init(x0))
    assert (state.status == Status.RUNNING).all()


def test_gradient_is_reached() -> None:
    optimizer, x0 = quadratic(gtol=1e-3)
    result = optimizer.minimize(x0, history=True)
    assert statuses(result) == [Status.GRADIENT] * 3
    assert (result.gradient.abs() <= 1e-3).all()
    assert result.history is not None
    before = result.history.gradient_norm[result.iterations - 2, range(3)]
    assert (before > 1e-3).all()
    assert result.success.all()


def test_gradient_at_the_start_takes_no_step() -> None:
    result = lmm.minimize(lmm.Quadratic(DATA.target()), DATA.target())
    assert statuses(result) == [Status.GRADIENT] * 3
    assert not result.iterations.any()


@pytest.mark.parametrize(("rtol", "atol"), [(1e-2, 0.0), (0.0, 1e-2), (1e-3, 1e-3)])
def test_decrease_stops_at_the_first_small_one(rtol: float, atol: float) -> None:
    optimizer, x0 = quadratic(rtol=rtol, atol=atol, gtol=0)
    result = optimizer.minimize(x0, history=True)
    history = result.history
    assert history is not None
    assert statuses(result) == [Status.DECREASE] * 3
    before = torch.cat([result.initial_fun[None], history.value[:-1]])
    small = before - history.value <= atol + rtol * before.abs()
    assert torch.equal(small.int().argmax(0) + 1, result.iterations)
    assert result.success.all()


@pytest.mark.parametrize("proposer", [None, lmm.Constant(initial=0.9)], ids=["plain", "learned"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_precision_is_reached_where_the_objective_cannot_fall(proposer, dtype) -> None:
    drawn = lmm.problem("logistic-regression").instance(
        3, generator=torch.Generator().manual_seed(0), dtype=dtype
    )
    result = drawn.optimizer(preconditioner=proposer, gtol=0, max_iter=3000).minimize(drawn.x0)
    assert statuses(result) == [Status.PRECISION] * 3
    assert result.success.all()


def test_max_iter_is_reached() -> None:
    optimizer, x0 = quadratic(max_iter=4, gtol=0)
    result = optimizer.minimize(x0)
    assert statuses(result) == [Status.MAX_ITER] * 3
    assert (result.iterations == 4).all()
    assert not result.success.any()


def test_stalled_where_no_step_descends() -> None:
    # The sign of the gradient is wrong.
    class Deceitful(lmm.Objective):
        def evaluate(self, x: Tensor) -> lmm.Evaluation:
            return lmm.Evaluation((x * x).sum(1), -2 * x)

    guard = lmm.Safeguard(trials=5)
    x0 = DATA.point()
    for proposer, tries in ((None, 1 + 5), (lmm.Constant(), 1 + 1 + 5)):
        result = lmm.minimize(
            Deceitful(),
            x0,
            majorant=lmm.LipschitzMajorant(2.0),
            safeguard=guard,
            preconditioner=proposer,
        )
        assert statuses(result) == [Status.STALLED] * 3
        assert (result.iterations == tries).all()
        assert (result.certificate.rejected == tries).all()
        assert torch.equal(result.x, x0)
        assert not result.success.any()


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 0.0, -1.0])
def test_bad_bound_stops_the_problem_alone(broken: float) -> None:
    def level(x: Tensor) -> Tensor:
        late = (torch.arange(3) == 1) & (x[:, 0] < 0.5)
        return torch.where(late, broken, 4.0)

    result = lmm.minimize(
        lambda x: (x * x).sum(1),
        torch.ones(3, 2),
        majorant=Curvatures(level),
        preconditioner=None,
        gtol=1e-4,
    )
    assert statuses(result) == [Status.GRADIENT, Status.BAD_BOUND, Status.GRADIENT]
    assert torch.isfinite(result.x).all()


def test_bad_bound_at_the_start_freezes_the_problem_unless_strict() -> None:
    majorant = Curvatures(lambda x: torch.tensor([4.0, torch.nan, 4.0]))
    result = lmm.minimize(
        lambda x: (x * x).sum(1), torch.ones(3, 2), majorant=majorant, strict=False
    )
    assert statuses(result)[1] is Status.BAD_BOUND
    assert torch.equal(result.x[1], torch.ones(2))


def test_non_finite_without_a_safeguard() -> None:
    result = lmm.minimize(
        lambda x: torch.where(x < 0.5, torch.nan, x * x).sum(1),
        torch.ones(1, 2),
        majorant=lmm.LipschitzMajorant(1.0),
        safeguard=None,
    )
    assert statuses(result) == [Status.NON_FINITE]
    assert torch.isfinite(result.x).all()


def test_non_finite_candidates_are_retried_with_the_safeguard() -> None:
    # log has no value beyond the barrier that the first steps jump.
    result = lmm.minimize(
        lambda x: (x - torch.log(x)).sum(1),
        torch.full((1, 2), 0.1),
        majorant=lmm.LipschitzMajorant(1e-1),
        gtol=1e-3,
    )
    assert result.success.all()
    torch.testing.assert_close(result.x, torch.ones(1, 2), atol=1e-2, rtol=0)


def test_stopped_by_the_callback() -> None:
    optimizer, x0 = quadratic(gtol=0)
    seen = []

    def callback(state: lmm.State, info: lmm.StepInfo) -> bool:
        seen.append(info.value)
        return len(seen) == 3

    result = optimizer.minimize(x0, callback=callback)
    assert statuses(result) == [Status.STOPPED] * 3
    assert (result.iterations == 3).all()
    assert torch.equal(seen[-1], result.fun)


def test_a_callback_that_returns_nothing_goes_on() -> None:
    optimizer, x0 = quadratic(max_iter=5, gtol=0)
    assert (optimizer.minimize(x0, callback=lambda state, info: None).iterations == 5).all()


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_sentence(status: Status) -> None:
    assert status.message[0].isupper()
    assert status.message.endswith(".")


def test_results_say_why_each_problem_stopped() -> None:
    result = lmm.minimize(
        lambda x: (x * x).sum(1),
        torch.tensor([[0.0], [1.0]]),
        majorant=lmm.LipschitzMajorant(9.0),
        max_iter=1,
    )
    assert result.message(0) == f"No step was needed. {Status.GRADIENT.message}"
    assert result.message(1) == Status.MAX_ITER.message
    assert result.success.tolist() == [True, False]


# --- purity, loop and shapes -----------------------------------------------------------------


def leaves(part: Any) -> list[Tensor]:
    """Tensors of a state, in order."""
    if isinstance(part, Tensor):
        return [part]
    return [leaf for one in part for leaf in leaves(one)] if isinstance(part, tuple) else []


@pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
def test_steps_are_pure(case: AtomCase) -> None:
    optimizer = lmm.ProjectedMMOptimizer(case.build(DATA), preconditioner=Hostile())
    x0 = case.point(DATA)
    start = x0.clone()
    state = optimizer.init(x0)
    for _ in range(3):
        before = [leaf.clone() for leaf in leaves(state)]
        first, _ = optimizer.step(state)
        second, _ = optimizer.step(state)
        for old, now in zip(before, leaves(state), strict=True):
            assert torch.equal(old, now)
        for a, b in zip(leaves(first), leaves(second), strict=True):
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
        lambda x: ((x - target) ** 2).sum(1), majorant=lmm.LipschitzMajorant(4.0), gtol=1e-6
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


def test_history_has_one_row_per_step() -> None:
    optimizer, x0 = quadratic(max_iter=5, gtol=0)
    result = optimizer.minimize(x0, history=True)
    assert result.history is not None
    assert {field.shape for field in result.history} == {(5, 3)}
    assert torch.equal(result.history.accepted.sum(0), result.certificate.accepted)


def test_there_is_no_history_unless_asked_for_or_without_a_step() -> None:
    optimizer, x0 = quadratic(max_iter=5)
    assert optimizer.minimize(x0).history is None
    assert lmm.minimize(lmm.Quadratic(x0), x0, history=True).history is None


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_functions_of_one_problem(shape: tuple[int, ...]) -> None:
    target = torch.full(shape, 2.0)
    result = lmm.minimize(lambda x: ((x - target) ** 2).sum(), torch.zeros(shape), history=True)
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
        preconditioner=lmm.Constant(initial=0.9),
        max_iter=400,
        gtol=1e-5,
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


# --- counting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "proposer", [None, Hostile(), Random()], ids=["plain", "hostile", "random"]
)
@pytest.mark.parametrize("projection", [lmm.Projection(), None], ids=["projected", "free"])
def test_a_step_evaluates_once(proposer, projection) -> None:
    atom = lmm.CosineDistance(DATA.target(4)) @ DATA.matrix()
    counted = Counted(atom)
    optimizer = lmm.ProjectedMMOptimizer(
        counted,
        majorant=atom.bound_at,
        preconditioner=proposer,
        projection=projection,
        gtol=0,
    )
    state = optimizer.init(DATA.point())
    assert counted.evaluations == 1
    for count in range(2, 12):
        state, _ = optimizer.step(state)
        assert counted.evaluations == count


def test_iterations_count_evaluations() -> None:
    atom = lmm.HalfQuadratic(DATA.target())
    counted = Counted(atom)
    result = lmm.minimize(counted, DATA.point(), majorant=atom.bound_at, preconditioner=Hostile())
    assert counted.evaluations == 1 + int(result.iterations.max())


def test_the_certificate_adds_up() -> None:
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.HalfQuadratic(DATA.target(), "welsch"),
        preconditioner=Hostile(),
        projection=None,
        max_iter=30,
    )
    result = optimizer.minimize(DATA.point(), history=True)
    certificate, history = result.certificate, result.history
    assert history is not None
    assert torch.equal(certificate.accepted + certificate.rejected, result.iterations)
    assert torch.equal((history.accepted & history.learned).sum(0), certificate.learned)
    assert (certificate.learned <= certificate.accepted).all()
    falls = torch.cat([result.initial_fun[None], history.value]).diff(dim=0)
    assert torch.equal(
        torch.where(history.accepted, falls, -torch.inf).amax(0), certificate.worst_increase
    )
    assert certificate.safeguarded
    assert not certificate.projected
    assert "every step verified" in str(certificate)


def test_the_failure_probability_adds_up() -> None:
    result = lmm.minimize(
        lambda x: (x**4).sum(1),
        torch.ones(2, 40, dtype=torch.float64),
        majorant=lmm.LanczosMajorant(lambda x: (x**4).sum(1), failure_probability=0.01),
        max_iter=3,
    )
    assert result.certificate.kind is lmm.Kind.PROBABLE
    torch.testing.assert_close(
        result.certificate.failure_probability,
        torch.full((2,), 0.03, dtype=torch.float64),
    )


def test_steps_are_cut_to_the_region() -> None:
    def majorant(x: Tensor, aux: Any = None) -> lmm.Bound:
        level = lmm.ScalarCurvature(torch.ones_like(x[:, 0]))
        return lmm.Bound(lmm.Kind.REGION, level, radius=torch.full_like(x[:, 0], 0.25))

    optimizer = lmm.ProjectedMMOptimizer(lambda x: (x * x).sum(1) / 2, majorant=majorant, gtol=1e-9)
    x0 = torch.tensor([[3.0, 4.0], [0.1, 0.1]], dtype=torch.float64)
    result = optimizer.minimize(x0, history=True)
    assert result.history is not None
    assert result.history.step_norm.max() <= 0.25
    assert result.history.cut[:, 0].sum() == 19  # the twentieth step reaches the origin
    assert not result.history.cut[:, 1].any()
    assert result.iterations.tolist() == [20, 1]
    assert result.certificate.kind is lmm.Kind.REGION
    assert not result.certificate.violations.any()


# --- relaxation ------------------------------------------------------------------------------


def test_a_refused_proposal_is_forgotten() -> None:
    """Its memory too, problem by problem: a broken one cannot spoil what follows."""

    class Counting(lmm.LearnedDirection):
        def init_state(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x[:, 0])

        def forward(self, features: lmm.Features, state: Tensor) -> tuple[Tensor, Tensor]:
            climbing = torch.tensor([[1.0], [-1.0], [1.0]]).to(features.x)
            return 0.1 * climbing * features.gradient, torch.where(
                climbing[:, 0] > 0, state + 1, torch.nan
            )

    atom = lmm.Quadratic(DATA.target())
    optimizer = lmm.ProjectedMMOptimizer(atom, preconditioner=Counting(), gtol=0)
    state, info = optimizer.step(optimizer.init(DATA.point()))
    assert info.accepted.tolist() == [True, False, True]
    assert state.memory.tolist() == [1, 0, 1]


def test_relaxation_makes_up_for_a_loose_estimate() -> None:
    target = DATA.target()

    def run(relaxation: lmm.Relaxation | None, kind: lmm.Kind) -> lmm.Result:
        return lmm.minimize(
            lambda x: ((x - target) ** 2).sum(1) / 2,
            DATA.point(),
            majorant=Curvatures(lambda x: torch.full_like(x[:, 0], 1e3), kind),
            preconditioner=None,
            relaxation=relaxation,
            max_iter=200,
        )

    with_it = run(lmm.Relaxation(), lmm.Kind.ESTIMATE)
    assert (with_it.iterations < 40).all()
    assert (with_it.certificate.relaxation_min < 0.01).all()
    for relaxation, kind in ((None, lmm.Kind.ESTIMATE), (lmm.Relaxation(), lmm.Kind.GLOBAL)):
        without = run(relaxation, kind)
        assert (without.iterations == 200).all()
        assert (without.certificate.relaxation_min == 1).all()


# --- precision -------------------------------------------------------------------------------

MIXED = {
    "value": lambda x: (x.double() ** 2).sum(1),
    "curvature": lambda x: (x**2).sum(1),
}


@pytest.mark.parametrize("wide", MIXED)
def test_iterates_keep_their_dtype(wide: str) -> None:
    dtype = torch.float64 if wide == "curvature" else torch.float32
    majorant = Curvatures(lambda x: torch.full((2,), 4.0, dtype=dtype))
    seen = set()
    result = lmm.minimize(
        MIXED[wide],
        torch.ones(2, 3),
        majorant=majorant,
        preconditioner=lmm.Constant(initial=0.5),
        callback=lambda state, info: seen.add((state.x.dtype, state.gradient.dtype)),
    )
    assert seen == {(torch.float32, torch.float32)}
    assert result.x.dtype == torch.float32
    assert result.success.all()


def test_values_are_never_below_float32() -> None:
    result = lmm.minimize(lambda x: (x * x).sum(1).bfloat16(), torch.ones(2, 3), max_iter=3)
    assert result.fun.dtype == torch.float32


@pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
def test_autocast_changes_nothing_in_the_loop(case: AtomCase) -> None:
    data = Draw(3, torch.float32)
    optimizer = lmm.ProjectedMMOptimizer(case.build(data), max_iter=5, gtol=0)
    plain = optimizer.minimize(case.point(data))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = optimizer.minimize(case.point(data))
    assert torch.equal(plain.x, cast.x)
    assert torch.equal(plain.fun, cast.fun)


def test_autocast_reaches_the_preconditioner_alone() -> None:
    data = Draw(3, torch.float32)
    case = PRECONDITIONERS[-1]
    torch.manual_seed(0)
    optimizer = lmm.ProjectedMMOptimizer(
        lmm.least_squares(data.matrix(), data.target(4, 3)),
        preconditioner=case.build(torch.float32),
        max_iter=5,
        gtol=0,
    )
    plain = optimizer.minimize(data.point(*case.shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = optimizer.minimize(data.point(*case.shape))
    assert cast.x.dtype == torch.float32
    assert cast.certificate.monotone.all()
    assert not torch.equal(plain.x, cast.x)


# --- learning and compiling ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["cosine", "least-squares", "huber-separable", "sum", "autoencoder", "smoother"]
)
def test_gradients_flow_through_the_steps(name: str) -> None:
    (case,) = (case for case in ATOMS if case.name == name)
    proposer = lmm.Constant(case.shape).double()
    optimizer = lmm.ProjectedMMOptimizer(case.build(DATA), preconditioner=proposer, gtol=0)
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
        lmm.Quadratic(DATA.target()), preconditioner=lmm.Constant().double()
    )
    result = optimizer.minimize(x0)
    assert not result.x.requires_grad
    assert not result.fun.requires_grad


# --- progress --------------------------------------------------------------------------------


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
