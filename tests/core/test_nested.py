"""States of tuples, lists, dictionaries and dataclasses are carried on per problem."""

from __future__ import annotations

import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import learnmm as lmm
from learnmm import nested

DTYPE = torch.float64
TARGET = torch.tensor([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]], dtype=DTYPE)
X0 = torch.tensor([[4.0, 4.0], [-3.0, 1.0], [0.0, 5.0]], dtype=DTYPE)


class Named(NamedTuple):
    part: Any
    label: str = "constant"


@dataclass
class Loose:
    part: Any
    label: int = 3


@dataclass(frozen=True)
class Frozen:
    part: Any
    label: float = 0.5


@dataclass(slots=True)
class Slots:
    part: Any
    label: None = None


WRAPS: dict[str, Callable[[Any], Any]] = {
    "tensor": lambda t: t,
    "tuple": lambda t: (t, None),
    "named": Named,
    "list": lambda t: [t, "constant"],
    "dict": lambda t: {"part": t, 3: 2.5},
    "ordered": lambda t: OrderedDict(part=t, label=True),
    "dataclass": Loose,
    "frozen": Frozen,
    "slots": Slots,
    "deep": lambda t: {"a": [Named((Frozen([Loose(t)]), torch.float32)), ()], "b": OrderedDict()},
}
by_wrap = pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)


def only(tree: Any) -> Tensor:
    (tensor,) = nested.tensors_of(tree)
    return tensor


@by_wrap
def test_problems_are_chosen_from_two_trees(wrap: Callable[[Any], Any]) -> None:
    new, old = torch.rand(3, 2), torch.rand(3, 2)
    mask = torch.tensor([True, False, True])
    chosen = nested.select(mask, wrap(new), wrap(old))
    assert torch.equal(only(chosen), torch.where(mask[:, None], new, old))
    assert type(chosen) is type(wrap(new))
    filled = nested.refill(wrap(new), iter([old]))
    assert only(filled) is old
    assert only(nested.mapped(torch.neg, wrap(new))).equal(-new)


# --- memories ----------------------------------------------------------------------------------


class Counting(lmm.LearnedPreconditioner):
    """Counts, per problem, the iterates that it has seen; climbs in the problems named."""

    def __init__(self, wrap: Callable[[Any], Any], climbing: list[int]) -> None:
        super().__init__()
        self.wrap, self.climbing = wrap, climbing

    def init_memory(self, x: Tensor) -> Any:
        return self.wrap(torch.zeros(len(x), 1, dtype=x.dtype))

    def observe(self, point: lmm.Point, memory: Any) -> Any:
        return self.wrap(only(memory) + 1)

    def propose(self, point: lmm.Point, memory: Any) -> lmm.Multipliers:
        multipliers = 0.3 * torch.ones_like(point.x)
        multipliers[self.climbing] *= -1
        return lmm.Multipliers(multipliers)


def climbing_once(wrap: Callable[[Any], Any]) -> lmm.ProjectedMMOptimizer:
    """The second problem refuses every proposal, and takes the majorant's own step instead."""
    return lmm.ProjectedMMOptimizer(
        lmm.Quadratic(TARGET),
        majorant=lmm.majorants.LipschitzMajorant(2.0),
        proposer=Counting(wrap, [1]),
        settings=lmm.SolveSettings(projection=None),
    )


@by_wrap
@pytest.mark.parametrize("grad", [False, True])
def test_what_is_refused_leaves_no_memory(wrap: Callable[[Any], Any], grad: bool) -> None:
    """Every iterate is counted once: the start, and what was accepted before the last step."""
    optimizer = climbing_once(wrap)
    with torch.set_grad_enabled(grad):
        state = optimizer.init(X0)
        assert only(state.proposer_memory).flatten().tolist() == [1, 1, 1]
        for _ in range(3):
            accepted = state.tally.accepted
            state, _ = optimizer.step(state)
            assert only(state.proposer_memory).flatten().tolist() == (1 + accepted).tolist()
    assert len(set(accepted.tolist())) > 1


@by_wrap
def test_a_stopped_problem_keeps_its_memory(wrap: Callable[[Any], Any]) -> None:
    start = torch.cat([TARGET[:1], X0[1:]])  # the first is solved
    optimizer = lmm.ProjectedMMOptimizer(lmm.Quadratic(TARGET), proposer=Counting(wrap, []))
    state = optimizer.init(start)
    for _ in range(3):
        state, _ = optimizer.step(state)
    assert only(state.proposer_memory).flatten().tolist() == [1, 3, 3]


# --- aux ---------------------------------------------------------------------------------------


class Wrapped(lmm.Atom):
    """``|x - y|^2 / 2``, steep beyond a border; its bound is good for the point it belongs to.

    `aux` says on which side of the border the point was evaluated.
    """

    def __init__(self, wrap: Callable[[Any], Any]) -> None:
        self.wrap = wrap

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        beyond = (x[:, :1] < 0).to(x.dtype)
        value = ((x - TARGET) ** 2).sum(1) / 2 + 1e3 * (x[:, 0].clamp(max=0) ** 2)
        return value, self.wrap(beyond)

    def bound_at(self, x: Tensor, aux: Any) -> lmm.Bound:
        beyond = (x[:, 0] < 0).to(x.dtype)
        assert torch.equal(only(aux)[:, 0], beyond)  # aux and point belong together
        return lmm.Bound(lmm.Kind.ESTIMATE, lmm.curvature.ScalarCurvature(0.2 + beyond))


@by_wrap
@pytest.mark.parametrize("grad", [False, True])
def test_a_refused_aux_is_forgotten(wrap: Callable[[Any], Any], grad: bool) -> None:
    optimizer = lmm.ProjectedMMOptimizer(Wrapped(wrap), settings=lmm.SolveSettings(gtol=0))
    mixed = False
    with torch.set_grad_enabled(grad):
        state = optimizer.init(X0.abs())
        for _ in range(6):
            state, info = optimizer.step(state)
            mixed |= bool(info.accepted.any() & ~info.accepted.all())
    assert mixed


@by_wrap
def test_aux_goes_through_torch_func(wrap: Callable[[Any], Any]) -> None:
    """`vmap` leaves no other way to differentiate than `torch.func`, which knows few trees."""
    atom = Wrapped(wrap)
    expected = atom.evaluate(X0)
    mapped = torch.func.vmap(lambda x: atom.evaluate(x).gradient)(X0[None])
    torch.testing.assert_close(mapped[0], expected.gradient)
    assert not only(expected.aux).requires_grad


@by_wrap
def test_a_step_compiles_with_it(wrap: Callable[[Any], Any]) -> None:
    torch.compiler.reset()
    optimizer = climbing_once(wrap)
    step = torch.compile(optimizer.step, fullgraph=True, backend="eager")
    with torch.no_grad():
        state, _ = optimizer.step(optimizer.init(X0))  # some have moved on, and one has not
        mine, its = optimizer.step(state)[0], step(state)[0]
    counts = only(mine.proposer_memory)
    assert counts.flatten().tolist() == [2, 1, 2]
    assert torch.equal(only(its.proposer_memory), counts)
    torch.testing.assert_close(its.x, mine.x)


@by_wrap
@pytest.mark.parametrize("steps", [4, 20])
def test_checkpointing_walks_it(wrap: Callable[[Any], Any], steps: int) -> None:
    """As unrolled: values and gradients, through the memory too."""

    class Growing(lmm.LearnedPreconditioner):
        def __init__(self) -> None:
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(0.1, dtype=DTYPE))

        def init_memory(self, x: Tensor) -> Any:
            return wrap(torch.zeros(len(x), 1, dtype=x.dtype))

        def observe(self, point: lmm.Point, memory: Any) -> Any:
            return wrap(only(memory) + self.rate)

        def propose(self, point: lmm.Point, memory: Any) -> lmm.Multipliers:
            return lmm.Multipliers(only(memory).tanh().expand_as(point.x))

    found = []
    for backward in ("unroll", "checkpoint"):
        proposer = Growing()
        solver = lmm.UnrolledMM(lmm.Quadratic, proposer, steps=steps, backward=backward)
        solved = solver(TARGET, X0)
        loss = solved.values.sum()
        found.append((loss.detach(), torch.autograd.grad(loss, proposer.rate)[0]))
    torch.testing.assert_close(found[0], found[1])
    assert found[0][1] != 0


# --- what is refused ---------------------------------------------------------------------------


class Custom:
    """Hides a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@dataclass
class Derived:
    part: Any
    other: Any = field(init=False, default=None)


@dataclass
class Extended:
    part: Any

    def __post_init__(self) -> None:
        self.hidden = 2 * self.part


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "object": (Custom, "got Custom"),
    "module": (lambda t: nn.Linear(2, 2), "got Linear"),
    "set": (lambda t: {1, 2}, "got set"),
    "generator": (lambda t: torch.Generator(), "got Generator"),
    "function": (lambda t: lambda: t, "got function"),
    "array": (lambda t: t.numpy(), "got ndarray"),
    "default-dict": (lambda t: defaultdict(list, part=t), "got defaultdict"),
    "mapping": (lambda t: types.MappingProxyType({"part": t}), "got mappingproxy"),
    "not-in-init": (Derived, "got Derived"),
    "extended": (Extended, "got Extended"),
    "scalar": (lambda t: torch.tensor(1.0), r"batch of 3 first in every tensor, got shape \(\)"),
    "shared": (lambda t: torch.ones(2, 3), r"batch of 3 first .*got shape \(2, 3\)"),
    "sparse": (lambda t: t.to_sparse(), r"dense tensors, got torch\.sparse_coo"),
    "deep": (lambda t: {"a": [(t, Custom(t))]}, "got Custom"),
}
by_refused = pytest.mark.parametrize(("wrap", "message"), REFUSED.values(), ids=REFUSED)


@by_refused
def test_memories_that_are_not_walked_are_refused_at_the_start(
    wrap: Callable[[Any], Any], message: str
) -> None:
    optimizer = lmm.ProjectedMMOptimizer(lmm.Quadratic(TARGET), proposer=Counting(wrap, []))
    with pytest.raises(TypeError, match=f"the memory of Counting must .*{message}"):
        optimizer.init(X0)


@by_refused
def test_aux_that_is_not_walked_is_refused_at_the_start(
    wrap: Callable[[Any], Any], message: str
) -> None:
    class Bringing(lmm.Objective):
        def evaluate(self, x: Tensor) -> lmm.Evaluation:
            return lmm.Evaluation((x**2).sum(1), 2 * x, wrap(x.clone()))

    optimizer = lmm.ProjectedMMOptimizer(Bringing(), majorant=lmm.majorants.LipschitzMajorant(2.0))
    with pytest.raises(TypeError, match=f"the aux of the objective Bringing must .*{message}"):
        optimizer.init(X0)


@by_refused
def test_memories_of_majorants_that_are_not_walked_are_refused_at_the_start(
    wrap: Callable[[Any], Any], message: str
) -> None:
    class Remembering:
        def init_memory(self, x: Tensor, gradient: Tensor) -> Any:
            return wrap(x)

        def observe(self, move: Tensor, change: Tensor, memory: Any) -> Any:
            return memory

        def __call__(self, x: Tensor, aux: Any = None, memory: Any = None) -> lmm.Bound:
            return lmm.majorants.LipschitzMajorant(2.0)(x)

    optimizer = lmm.ProjectedMMOptimizer(lmm.Quadratic(TARGET), majorant=Remembering())
    message = f"the memory of the majorant Remembering must .*{message}"
    with pytest.raises(TypeError, match=message):
        optimizer.init(X0)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (None, torch.zeros(3), r"expected None, got a tensor of shape \(3,\)"),
        ((torch.zeros(3),), (torch.zeros(3), 1), "expected tuple of 0, got tuple of 0, 1"),
        ({"a": 1}, {"b": 1}, "expected dict of a, got dict of b"),
        ([0], [1], "expected int 0, got int 1"),
        ({"a": [0.5, "x"]}, {"a": [0.5, "y"]}, "expected str 'x', got str 'y'"),
        (torch.zeros(3), torch.zeros(3, 1), r"shape of a tensor from \(3,\) to \(3, 1\)"),
        (torch.zeros(3, 2), torch.zeros(3, 1), r"shape of a tensor from \(3, 2\) to \(3, 1\)"),
        (1, True, "expected int 1, got bool True"),
    ],
)
def test_what_changes_between_steps_is_a_tensor(first: Any, then: Any, message: str) -> None:
    class Changing(lmm.LearnedPreconditioner):
        def init_memory(self, x: Tensor) -> Any:
            return first

        def observe(self, point: lmm.Point, memory: Any) -> Any:
            return then

        def propose(self, point: lmm.Point, memory: Any) -> lmm.Multipliers:
            return lmm.Multipliers(torch.ones_like(point.x))

    optimizer = lmm.ProjectedMMOptimizer(lmm.Quadratic(TARGET), proposer=Changing())
    with pytest.raises(TypeError, match=f"the memory of Changing .*{message}"):
        optimizer.init(X0)


def test_a_constant_that_is_not_a_number_stays() -> None:
    mask = torch.tensor([True])
    (chosen,) = nested.select(mask, (float("nan"),), (float("nan"),))
    assert chosen != chosen


# --- two owners --------------------------------------------------------------------------------


@pytest.mark.parametrize("proposer", [None, lmm.LimitedMemory()], ids=["own", "memory"])
def test_an_adaptive_majorant_leaves_aux_to_the_objective(proposer: lmm.Proposer | None) -> None:
    atom = lmm.HalfQuadratic(TARGET, "cauchy") @ torch.eye(2, dtype=DTYPE) + Wrapped(Loose)
    optimizer = lmm.ProjectedMMOptimizer(
        atom, majorant=lmm.majorants.SecantMajorant(atom), proposer=proposer
    )
    state = optimizer.init(X0)
    for _ in range(4):
        state, _ = optimizer.step(state)
        expected = atom.evaluate(state.x)
        for mine, its in zip(
            nested.tensors_of(state.aux), nested.tensors_of(expected.aux), strict=True
        ):
            torch.testing.assert_close(mine, its)
        bound = atom.bound(state.x, state.aux)
        torch.testing.assert_close(
            bound.curvature.largest(), atom.bound(state.x).curvature.largest()
        )
        assert state.majorant_memory.shape == (3,)
    assert lmm.ProjectedMMOptimizer(atom).init(X0).majorant_memory is None
