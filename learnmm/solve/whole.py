"""A whole solve as one graph: steps inside of a loop that torch compiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from learnmm.nested import mapped, parts_of, refill, tensors_of
from learnmm.solve.raising import is_numerical
from learnmm.solve.state import State

if TYPE_CHECKING:
    from learnmm.solve.optimizer import ProjectedMMOptimizer

UNROLLED = 16
"""Up to so many unknowns problems are innermost in memory, and reductions over unknowns written
out, so that a step of a batch is a few kernels over its problems. Beyond that takes minutes to
compile, and products with matrices are better left to those who know how to multiply."""

EVERY = {"cuda": 8}
"""Steps from one look at the loop's condition to the next, where looking means waiting."""

REMADE = 8
"""How often a graph is made anew, for functions that close over another number, before a new one
takes its place: each that was made has to be asked whether it fits."""

PACKAGE = str(Path(__file__).parents[1])
"""Where an objective's own lines are not."""

Traced = Callable[..., tuple[Tensor, ...]]


class Part(NamedTuple):
    """What a graph did.

    Attributes
    ----------
    state : State or None
        After it; None where the objective raised at some candidate.
    steps : int
        How many it took.
    seconds, compiling : float
        How long they took, and how long it took to compile them if they were not.
    """

    state: State | None
    steps: int
    seconds: float
    compiling: float


class Graph:
    """The loop for solvers and states of one kind.

    torch traces a step, which says what it depends on: a solver whose function closes over another
    number, or is restricted to other problems, is told from the one that was traced, and its
    tensors are inputs. The loop around what was traced is compiled as a graph of its own, in which
    nothing is left but operations on tensors: so tensors that share memory, as a matrix and its
    transpose do, can be told apart beforehand, which a loop demands.

    Parameters
    ----------
    state : State
        With the structure, shapes and types of all that it will step.

    Attributes
    ----------
    made : int
        How often it was compiled.
    seconds : float
        How long that took the last time.
    spent : float
        Seconds that graphs for fewer problems would have spared so far.
    """

    def __init__(self, state: State) -> None:
        self._like: State = mapped(lambda t: t.new_zeros(()).expand(t.shape), state)
        unrolled = state.x[0].numel() <= UNROLLED
        self._options = {"unroll_reductions_threshold": 64} if unrolled else None
        self._batch = -1 if unrolled else 0
        self.made, self.seconds, self.spent = 0, 0.0, 0.0
        self._run: Callable[..., tuple[Tensor, ...]] = torch.compile(
            self._stepping(), backend=self._looping, fullgraph=True, dynamic=False
        )

    def __call__(
        self, solver: ProjectedMMOptimizer, state: State, steps: int, least: int = 0
    ) -> Part:
        """Step until at most so many problems run, at most so often, at least once.

        Raises
        ------
        RuntimeError
            If the loop cannot be compiled, with the cause.
        """
        device = state.status.device
        numbers = [torch.tensor(number, device=device) for number in (True, steps, least)]
        call = _Call([*numbers, *self._taken_apart(state)])
        token = _call.set(call)
        begin, ended, left = time.perf_counter(), None, steps
        try:
            _, rest, _, *tensors = self._run(solver, *call.carried)
            ended, left = self._put_together(tensors), int(rest)
        except Exception as error:
            if not (call.looping and is_numerical(error)):
                raise RuntimeError(
                    "compiled='loop' needs an objective that torch.compile can trace into one "
                    "graph: operations on dense tensors, without branches on their values or "
                    f"writing to what it holds. {_cause(error)} compiled=False takes the same steps"
                ) from error
        finally:
            _call.reset(token)
        compiling = time.perf_counter() - begin - call.ran if call.made else 0.0
        self.seconds = compiling or self.seconds
        return Part(ended, steps - left, call.ran, compiling)

    def _stepping(self) -> Traced:
        """``(solver, going, left, least, *tensors)`` to the same without the solver, a step on."""

        def stepping(
            solver: ProjectedMMOptimizer, going: Tensor, left: Tensor, least: Tensor, *rest: Tensor
        ) -> tuple[Tensor, ...]:
            following, _ = solver.step(self._put_together(rest))
            left = left - 1
            going = going & (left > 0) & (following.running.sum() > least)
            return going, left, least.clone(), *self._taken_apart(following)

        return _own(stepping)

    def _taken_apart(self, state: State) -> list[Tensor]:
        """Copies of the tensors of a state, contiguous with the batch where it is to be."""
        to, form = self._batch, torch.contiguous_format
        return [t.movedim(0, to).clone(memory_format=form) for t in tensors_of(state)]

    def _put_together(self, tensors: Sequence[Tensor]) -> State:
        """A state of such tensors."""
        state: State = refill(self._like, iter([t.movedim(self._batch, 0) for t in tensors]))
        return state

    def _looping(self, step: fx.GraphModule, _: Any) -> Traced:
        """What torch calls with a step that it has traced, for the function to be called for it."""
        loops: list[_Loop] = []

        def run(*inputs: Tensor) -> tuple[Tensor, ...]:
            call = _call.get()
            if not loops:
                loops.append(_Loop(step, _apart(inputs), call.carried, self._options))
                self.made += 1
                call.made = True
            call.looping = True
            begin = time.perf_counter()
            outputs = loops[0](_apart(inputs))
            call.ran = time.perf_counter() - begin
            return outputs

        return run


@dataclass
class _Call:
    """A call of a graph in progress: whether it was made for it, and runs, and for how long."""

    carried: list[Tensor]
    made: bool = False
    looping: bool = False
    ran: float = 0.0


_call: ContextVar[_Call] = ContextVar("call")


class _Loop:
    """`torch.while_loop` around a step.

    Parameters
    ----------
    step : GraphModule
        A step that was traced. Its inputs are what it carries on, and whatever else it depends on;
        it returns the former, a step on.
    inputs : list of Tensor
        What it is called with.
    carried : list of Tensor
        Those among them that it carries on; the first tells whether to go on.
    options : dict or None
        Of `torch.compile`.
    """

    def __init__(
        self,
        step: fx.GraphModule,
        inputs: list[Tensor],
        carried: list[Tensor],
        options: dict[str, Any] | None,
    ) -> None:
        self._carried = [next(i for i, t in enumerate(inputs) if t is c) for c in carried]
        self._others = [i for i in range(len(inputs)) if i not in self._carried]
        # Transforms and autocast, which torch cannot trace again, leave operations on tensors.
        operations = make_fx(step, tracing_mode="fake")(*inputs)
        operations.graph.eliminate_dead_code()
        operations.recompile()
        every = EVERY.get(carried[0].device.type, 1)
        order = sorted(range(len(inputs)), key=[*self._carried, *self._others].__getitem__)

        def loop(carried: list[Tensor], others: list[Tensor]) -> Any:
            def step(now: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                everything = [*now, *others]
                return tuple(operations(*[everything[place] for place in order]))

            def body(*now: Tensor) -> tuple[Tensor, ...]:
                now = step(now)
                for _ in range(every - 1):  # what has come to its end stays as it is
                    now = tuple(
                        torch.where(now[0], *pair) for pair in zip(step(now), now, strict=True)
                    )
                return now

            return torch.while_loop(lambda going, *_: going.clone(), body, tuple(carried))

        self._loop = torch.compile(_own(loop), fullgraph=True, dynamic=False, options=options)
        going = carried[0].clone()
        self([t.zero_() if t is carried[0] else t for t in inputs])
        carried[0].copy_(going)

    def __call__(self, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        """Step until the first of what is carried is False."""
        outputs: tuple[Tensor, ...] = self._loop(
            [inputs[i] for i in self._carried], [inputs[i] for i in self._others]
        )
        return outputs


def graph_of(solver: ProjectedMMOptimizer, state: State) -> Graph:
    """The graph for solvers and states of this kind, made once in the life of the process.

    Whether it fits in every other respect torch checks when it is called.
    """
    key = _key(solver, state, len(state.value))
    if key not in _graphs or _graphs[key].made >= REMADE:
        _graphs[key] = Graph(state)
    return _graphs[key]


def is_made(solver: ProjectedMMOptimizer, state: State, size: int) -> bool:
    """Whether there is a graph for so many of these problems."""
    key = _key(solver, state, size)
    return key in _graphs and _graphs[key].made > 0


_graphs: dict[Any, Graph] = {}


def _key(solver: ProjectedMMOptimizer, state: State, size: int) -> Any:
    objective, majorant = solver.objective, solver._given_majorant
    parts = objective, majorant, solver.proposer, solver.penalty
    structure = size, _structure(state)
    return (_code(objective), *map(type, parts), solver.settings, structure)


def _code(objective: Any) -> Any:
    """What is run of a function, however wrapped; lambdas made anew in a loop have it in common."""
    while hasattr(objective, "fun"):
        objective = objective.fun
    function = getattr(objective, "__func__", objective)
    return getattr(function, "__code__", type(objective))


def _structure(tree: Any) -> Any:
    """Everything about a tree but its batch and the values of its tensors."""
    if isinstance(tree, Tensor):
        return tuple(tree.shape[1:]), tree.dtype, tree.device
    parts = parts_of(tree)
    return tree if parts is None else (type(tree), *map(_structure, parts.values()))


def _own(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same with a code object of its own: what is compiled of it ends with it."""
    code, names = function.__code__.replace(), function.__globals__
    return FunctionType(code, names, closure=function.__closure__)


def _apart(inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The same tensors, those copied that share memory with another before them."""
    seen: set[int] = set()
    apart = []
    for t in inputs:
        memory = t.untyped_storage().data_ptr()
        apart.append(t.clone() if memory in seen else t)
        seen.add(memory)
    return apart


def _cause(error: BaseException) -> str:
    """What torch says of what it cannot compile, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line.removeprefix("Explanation: ") for line in lines if "Explanation: " in line]
    where = [line for line in lines if line.startswith("File ") and PACKAGE not in line]
    cause = [*said, *lines, type(error).__name__][0].rstrip(".")
    return f"torch says: {cause}" + (f" ({where[-1]})." if where else ".")
