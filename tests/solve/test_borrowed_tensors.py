"""What writes in place into what it is given reaches no iterate, or is refused at the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import learnmm as lmm
from catalogue import ATOMS, PROPOSERS, AtomCase, Draw, ProposerCase
from learnmm import checks

DTYPE = torch.float64
TARGET = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, 2.0]], dtype=DTYPE)
X0 = torch.tensor([[4.0, 4.0, 4.0], [-3.0, 1.0, 0.0]], dtype=DTYPE)


def quadratic(x: Tensor) -> Tensor:
    return ((x - TARGET) ** 2).sum(1)


def add(t: Tensor) -> None:
    t.add_(5)


def through_data(t: Tensor) -> None:
    t.data.add_(5)


def through_numpy(t: Tensor) -> None:
    t.detach().numpy()[...] += 5


def through_a_view(t: Tensor) -> None:
    t[0].mul_(-3)


WRITES = [add, through_data, through_numpy, through_a_view]
Write = Callable[[Tensor], None]
by_write = pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)


class Writing(lmm.LearnedPreconditioner):
    """Multipliers 1; writes into all that it sees, and into its memory, at the places named."""

    def __init__(self, write: Write, at: str) -> None:
        super().__init__()
        self.write, self.at = write, at

    def init_state(self, x: Tensor) -> Any:
        if self.at == "start":
            self.write(x)
        return x  # shares memory with what it was given

    def forward(self, features: lmm.Features, state: Any) -> tuple[Tensor, Any]:
        ones = torch.ones_like(features.x)
        if self.at == "features":
            self.write(features.x)
            self.write(features.gradient)
        if self.at == "memory":
            self.write(state)
        return ones, state


class WritingDirection(lmm.Direction):
    """A short gradient step; writes into the point, its curvature, or its memory of the start."""

    def __init__(self, write: Write, at: str) -> None:
        super().__init__()
        self.write, self.at = write, at

    def init_state(self, x: Tensor) -> Any:
        if self.at == "start":
            self.write(x)
        return {"x": x}

    def forward(self, point: lmm.Point, state: Any) -> tuple[Tensor, Any]:
        step = 0.1 * point.gradient
        if self.at == "point":
            self.write(point.x)
            self.write(point.gradient)
        if self.at == "curvature":
            self.write(point.curvature.value)  # type: ignore[attr-defined]
        if self.at == "memory":
            self.write(state["x"])
        return step, state


class WritingMajorant:
    """``2 I``, adaptive or not."""

    def __init__(self, write: Write, at: str) -> None:
        self.write, self.at = write, at

    def __call__(self, x: Tensor, aux: Any = None) -> lmm.Bound:
        if self.at == "call":
            self.write(x)
        return lmm.Bound(lmm.Kind.GLOBAL, lmm.ScalarCurvature(torch.full_like(x[:, 0], 2.0)))


class WritingAdaptive(WritingMajorant):
    def start(self, x: Tensor, gradient: Tensor) -> Any:
        if self.at == "start":
            self.write(x)
        if self.at == "gradient":
            self.write(gradient)
        return [torch.zeros_like(x[:, 0])]

    def follow(self, aux: Any, move: Tensor, change: Tensor) -> Any:
        if self.at == "follow":
            self.write(move)
            self.write(change)
            self.write(aux[0])
        return aux


def assert_true_to_itself(optimizer: lmm.ProjectedMMOptimizer) -> None:
    """Values are those of the iterates, and nothing of the caller is changed."""
    x0 = X0.clone()
    state = optimizer.init(x0)
    for _ in range(6):
        before = state.x.clone()
        following, _ = optimizer.step(state)
        assert torch.equal(state.x, before)
        assert (following.value <= state.value).all()
        torch.testing.assert_close(following.value, quadratic(following.x))
        state = following
    assert torch.equal(x0, X0)
    result = optimizer.minimize(x0, history=True)
    assert torch.equal(x0, X0)
    torch.testing.assert_close(result.fun, quadratic(result.x))
    assert result.certificate.monotone.all()
    assert (result.fun < quadratic(X0)).all()


@by_write
@pytest.mark.parametrize("at", ["features", "memory"])
def test_preconditioners_do_not_reach_the_iterate(write: Write, at: str) -> None:
    assert_true_to_itself(lmm.ProjectedMMOptimizer(quadratic, proposer=Writing(write, at)))


@by_write
@pytest.mark.parametrize("at", ["point", "curvature", "memory"])
def test_directions_do_not_reach_the_iterate(write: Write, at: str) -> None:
    proposer = WritingDirection(write, at)
    assert_true_to_itself(lmm.ProjectedMMOptimizer(quadratic, proposer=proposer))


def test_what_a_direction_does_to_the_curvature_does_not_change_the_own_step() -> None:
    """Its steps climb, so all that is taken are the majorant's own: one, to the minimum."""

    class Climbing(lmm.Direction):
        trials = 1

        def init_state(self, x: Tensor) -> Any:
            return None

        def forward(self, point: lmm.Point, state: Any) -> tuple[Tensor, Any]:
            point.curvature.value.mul_(1e-9)  # type: ignore[attr-defined]
            return -point.gradient, None

    majorant = WritingMajorant(add, "nowhere")
    optimizer = lmm.ProjectedMMOptimizer(quadratic, majorant=majorant, proposer=Climbing())
    result = optimizer.minimize(X0)
    torch.testing.assert_close(result.x, TARGET)
    assert result.certificate.violations.tolist() == [0, 0]


@by_write
def test_followers_do_not_reach_the_iterate(write: Write) -> None:
    majorant = WritingAdaptive(write, "follow")
    assert_true_to_itself(lmm.ProjectedMMOptimizer(quadratic, majorant=majorant))


@pytest.mark.parametrize("in_place", [False, True])
def test_a_refusal_takes_back_what_was_counted(in_place: bool) -> None:
    """In a memory, and in what a majorant knows; in place too."""

    def counted(t: Tensor) -> Tensor:
        return t.add_(1) if in_place else t + 1

    class Counting(lmm.LearnedPreconditioner):
        def init_state(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x[:, 0])

        def forward(self, features: lmm.Features, state: Tensor) -> tuple[Tensor, Tensor]:
            signs = torch.tensor([[1.0], [-1.0]]).to(features.x)
            return signs.expand_as(features.x), counted(state)

    class Following(WritingMajorant):
        def start(self, x: Tensor, gradient: Tensor) -> Tensor:
            return torch.zeros_like(x[:, 0])

        def follow(self, aux: Tensor, move: Tensor, change: Tensor) -> Tensor:
            return counted(aux)

    optimizer = lmm.ProjectedMMOptimizer(
        quadratic,
        majorant=Following(add, "nowhere"),
        proposer=Counting(),
        settings=lmm.SolveSettings(projection=None),
    )
    state, info = optimizer.step(optimizer.init(X0))
    assert info.accepted.tolist() == [True, False]
    assert state.proposer_memory.tolist() == [1, 0]
    assert state.majorant_memory.tolist() == [1, 0]


@by_write
@pytest.mark.parametrize(
    ("settings", "who"),
    [
        (lambda write: {"proposer": Writing(write, "start")}, "preconditioner Writing"),
        (
            lambda write: {"proposer": WritingDirection(write, "start")},
            "preconditioner WritingDirection",
        ),
        (lambda write: {"majorant": WritingMajorant(write, "call")}, "majorant WritingMajorant"),
        (lambda write: {"majorant": WritingAdaptive(write, "start")}, "majorant WritingAdaptive"),
        (lambda write: {"majorant": WritingAdaptive(write, "gradient")}, "WritingAdaptive"),
    ],
)
def test_who_writes_at_the_start_is_refused(
    write: Write, settings: Callable[[Write], dict[str, Any]], who: str
) -> None:
    x0 = X0.clone()
    optimizer = lmm.ProjectedMMOptimizer(quadratic, **settings(write))
    for start in (optimizer.init, optimizer.minimize):
        with pytest.raises(RuntimeError, match=f"{who} wrote into a tensor that it was given"):
            start(x0)
        assert torch.equal(x0, X0)


@by_write
def test_an_objective_that_writes_is_refused(write: Write) -> None:
    """Either by torch, or since the values have changed."""

    def fun(x: Tensor) -> Tensor:
        write(x)
        return quadratic(x)

    x0, message = X0.clone(), "wrote into a tensor|in-place operation|data pointer"
    for start in (lmm.ProjectedMMOptimizer(fun).init, lambda x: lmm.minimize(fun, x)):
        with pytest.raises(RuntimeError, match=message):
            start(x0)
        assert torch.equal(x0, X0)
    with pytest.raises(RuntimeError, match=message):
        lmm.minimize(lambda x: fun(x[None]).sum(), x0[0])
    assert torch.equal(x0, X0)


class Late(lmm.Objective):
    """A quadratic that writes into its argument where the first entry is below a limit."""

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        evaluation = lmm.Evaluation(quadratic(x), 2 * (x - TARGET))
        if bool((x[:, 0] < 3.9).any()):
            x.add_(7)
        return evaluation


def test_an_objective_that_writes_later_does_not_reach_the_iterate() -> None:
    start = X0.clamp(min=3.95)
    optimizer = lmm.ProjectedMMOptimizer(Late(), majorant=lmm.LipschitzMajorant(2.5))
    result = optimizer.minimize(start)
    torch.testing.assert_close(result.x, TARGET, atol=1e-4, rtol=0)
    torch.testing.assert_close(result.fun, quadratic(result.x))


class Buffered(lmm.Objective):
    """Values, gradients and aux in the same memory at every evaluation."""

    def __init__(self) -> None:
        self.value, self.gradient = torch.empty(2, dtype=DTYPE), torch.empty(2, 3, dtype=DTYPE)

    def evaluate(self, x: Tensor) -> lmm.Evaluation:
        torch.sub(x, TARGET, out=self.gradient)
        self.gradient.mul_(2)
        torch.sum((x - TARGET) ** 2, 1, out=self.value)
        return lmm.Evaluation(self.value, self.gradient, {"gradient": self.gradient})


def test_buffers_that_are_used_again_spoil_nothing() -> None:
    """The first candidate is refused: what belongs to the start must still be there."""
    optimizer = lmm.ProjectedMMOptimizer(Buffered(), majorant=lmm.LipschitzMajorant(0.5))
    state = optimizer.init(X0)
    following, info = optimizer.step(state)
    assert not info.accepted.any()
    assert torch.equal(following.x, X0)
    torch.testing.assert_close(following.value, quadratic(X0))
    torch.testing.assert_close(following.gradient, 2 * (X0 - TARGET))
    torch.testing.assert_close(following.aux["gradient"], 2 * (X0 - TARGET))
    with pytest.raises(checks.LawViolation, match="objective Buffered, evaluated again, does not"):
        checks.assert_unmodified(optimizer, X0)


def test_the_start_belongs_to_the_caller() -> None:
    optimizer = lmm.ProjectedMMOptimizer(quadratic, proposer=lmm.LimitedMemory())
    x0 = X0.clone()
    state = optimizer.init(x0)
    x0.zero_()
    assert torch.equal(state.x, X0)
    torch.testing.assert_close(optimizer.step(state)[0].x, optimizer.step(optimizer.init(X0))[0].x)


@pytest.mark.parametrize("iterations", [0, 1, 5])
def test_results_share_no_memory(iterations: int) -> None:
    start = TARGET if iterations == 0 else X0
    result = lmm.minimize(quadratic, start, settings=lmm.SolveSettings(max_iter=max(1, iterations)))
    tensors = [result.x, result.fun, result.gradient, result.initial_fun, start]
    places = [tensor.untyped_storage().data_ptr() for tensor in tensors]
    assert len(set(places)) == len(places)


def test_a_callback_sees_copies() -> None:
    plain = lmm.ProjectedMMOptimizer(quadratic, proposer=lmm.LimitedMemory()).minimize(
        X0, history=True
    )

    def callback(state: lmm.State, info: lmm.StepInfo) -> None:
        for tensor in (*state, *info):
            if isinstance(tensor, Tensor):
                tensor.zero_()
        state.tally.accepted.zero_()
        state.proposer_memory.moves.zero_()

    result = lmm.ProjectedMMOptimizer(quadratic, proposer=lmm.LimitedMemory()).minimize(
        X0, callback=callback, history=True
    )
    assert torch.equal(result.x, plain.x)
    assert torch.equal(result.fun, plain.fun)
    assert torch.equal(result.certificate.accepted, plain.certificate.accepted)
    assert result.history is not None
    assert plain.history is not None
    assert torch.equal(result.history.value, plain.history.value)


# --- unrolled solves ---------------------------------------------------------------------------


@by_write
@pytest.mark.parametrize("who", ["start", "energy"])
def test_data_belong_to_the_caller(write: Write, who: str) -> None:
    def start(data: dict[str, Tensor]) -> Tensor:
        if who == "start":
            write(data["y"])
        return torch.zeros_like(data["y"])

    def energy(data: dict[str, Tensor]) -> lmm.Atom:
        if who == "energy":
            write(data["y"])
        return lmm.Quadratic(data["y"])

    solver = lmm.UnrolledMM(energy, lmm.Constant().double(), start=start, steps=2)
    with pytest.raises(RuntimeError, match=f"{who} wrote into a tensor that it was given"):
        solver({"y": TARGET.clone()})


def test_a_start_may_be_the_data() -> None:
    y = TARGET.clone()
    solver = lmm.UnrolledMM(
        lambda data: lmm.Quadratic(2 * data), lmm.Constant().double(), start=lambda data: data
    )
    solved = solver(y)
    assert torch.equal(y, TARGET)
    torch.testing.assert_close(solved.x, 2 * TARGET)


# --- the law -----------------------------------------------------------------------------------


@by_write
@pytest.mark.parametrize(
    ("settings", "law"),
    [
        (lambda write: {"proposer": Writing(write, "memory")}, "Writing does not write"),
        (lambda write: {"proposer": Writing(write, "features")}, "Writing does not write"),
        (
            lambda write: {"proposer": WritingDirection(write, "point")},
            "WritingDirection does not write",
        ),
        (
            lambda write: {"proposer": WritingDirection(write, "memory")},
            "WritingDirection does not write",
        ),
        (
            lambda write: {
                "majorant": WritingMajorant(add, "nowhere"),
                "proposer": WritingDirection(write, "curvature"),
            },
            "WritingDirection does not write",
        ),
        (lambda write: {"majorant": WritingAdaptive(write, "follow")}, "WritingAdaptive does not"),
        (lambda write: {"majorant": WritingAdaptive(write, "gradient")}, "WritingAdaptive does"),
        (lambda write: {"majorant": WritingMajorant(write, "call")}, "WritingMajorant does not"),
    ],
)
def test_the_law_names_who_writes(
    write: Write, settings: Callable[[Write], dict[str, Any]], law: str
) -> None:
    optimizer = lmm.ProjectedMMOptimizer(quadratic, **settings(write))
    with pytest.raises(checks.LawViolation, match=law):
        checks.assert_unmodified(optimizer, X0)


def test_other_laws_see_writes_too() -> None:
    with pytest.raises(checks.LawViolation, match="WritingMajorant does not write"):
        checks.assert_majorant(WritingMajorant(add, "call"), quadratic, X0)
    for component in (Writing(add, "memory"), Writing(add, "features"), Writing(add, "start")):
        with pytest.raises(checks.LawViolation, match="Writing does not write"):
            checks.assert_preconditioner(component, X0)
    with pytest.raises(checks.LawViolation, match="the objective Late does not write"):
        checks.assert_majorant(lmm.LipschitzMajorant(2.0), Late(), X0)


@pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)
def test_no_atom_writes(case: AtomCase) -> None:
    data = Draw(3, DTYPE)
    optimizer = lmm.ProjectedMMOptimizer(case.build(data))
    checks.assert_unmodified(optimizer, case.point(data))


@pytest.mark.parametrize("case", PROPOSERS, ids=lambda case: case.name)
def test_no_preconditioner_writes(case: ProposerCase) -> None:
    data = Draw(3, DTYPE)
    atom = lmm.Quadratic(data.target(*case.shape))
    optimizer = lmm.ProjectedMMOptimizer(atom, proposer=case.build(DTYPE))
    checks.assert_unmodified(optimizer, data.point(*case.shape))


@pytest.mark.parametrize(
    "make", [lmm.SecantMajorant, lmm.LanczosMajorant, lmm.PowerIterationMajorant]
)
def test_no_majorant_writes(make: Any) -> None:
    optimizer = lmm.ProjectedMMOptimizer(quadratic, majorant=make(quadratic))
    checks.assert_unmodified(optimizer, X0)
