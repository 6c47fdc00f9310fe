"""A whole solve as one graph: steps inside of a loop that torch compiles."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from learnmm.nested import mapped, parts_of, refill, tensors_of
from learnmm.solve.raising import is_numerical
from learnmm.solve.state import State

if TYPE_CHECKING:
    from learnmm.solve.optimizer import ProjectedMMOptimizer

UNROLLED = 16
"""Up to so many unknowns reductions over them are written out, so that a step of a batch is a few
kernels over its problems. It doubles the speed, and beyond takes minutes to compile."""

REMADE = 8
"""How often a graph is made anew, for functions that close over another number, before a new one
takes its place: each that was made has to be asked whether it fits."""

Traced = Callable[..., tuple[Tensor, ...]]


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
    """

    def __init__(self, state: State) -> None:
        self._like: State = mapped(lambda t: t.new_zeros(()).expand(t.shape), state)
        self._options: dict[str, Any] = {}
        if state.x[0].numel() <= UNROLLED:
            self._options["unroll_reductions_threshold"] = 64
        self.made = 0
        self._run: Callable[..., tuple[Tensor, ...]] = torch.compile(
            self._stepping(), backend=self._looping, fullgraph=True, dynamic=False
        )

    def __call__(
        self, solver: ProjectedMMOptimizer, state: State, steps: int, least: int = 0
    ) -> tuple[State | None, float]:
        """Step until at most so many problems run, at most so often; and seconds of compiling.

        There is no state where the objective raises at some candidate.

        Raises
        ------
        RuntimeError
            If the loop cannot be compiled, with the cause.
        """
        device = state.status.device
        numbers = [torch.tensor(number, device=device) for number in (steps > 0, steps, least)]
        call = _Call([*numbers, *map(_fresh, tensors_of(state))])
        token = _call.set(call)
        begin, ended = time.perf_counter(), None
        try:
            _, _, _, *tensors = self._run(solver, *call.carried)
            ended = refill(self._like, iter(map(_batch_first, tensors)))
        except Exception as error:
            if not (call.looping and is_numerical(error)):
                raise RuntimeError(
                    "compiled='loop' needs an objective that torch.compile can trace into one "
                    "graph: operations on dense tensors, without branches on their values or "
                    f"writing to what it holds. {_cause(error)} compiled=False takes the same steps"
                ) from error
        finally:
            _call.reset(token)
        return ended, time.perf_counter() - begin - call.ran if call.made else 0.0

    def _stepping(self) -> Traced:
        """``(solver, going, left, least, *tensors)`` to the same without the solver, a step on."""
        like = self._like

        def stepping(
            solver: ProjectedMMOptimizer, going: Tensor, left: Tensor, least: Tensor, *rest: Tensor
        ) -> tuple[Tensor, ...]:
            state: State = refill(like, iter([_batch_first(t) for t in rest]))
            following, _ = solver.step(state)
            left = left - 1
            going = going & (left > 0) & (following.running.sum() > least)
            return going, left, least.clone(), *[_fresh(t) for t in tensors_of(following)]

        return _own(stepping)

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
    options : dict
        Of `torch.compile`.
    """

    def __init__(
        self,
        step: fx.GraphModule,
        inputs: list[Tensor],
        carried: list[Tensor],
        options: dict[str, Any],
    ) -> None:
        self._carried = [next(i for i, t in enumerate(inputs) if t is c) for c in carried]
        self._others = [i for i in range(len(inputs)) if i not in self._carried]
        # Transforms and autocast, which torch cannot trace again, leave operations on tensors.
        operations = make_fx(step, tracing_mode="fake")(*inputs)
        operations.graph.eliminate_dead_code()
        operations.recompile()
        order = sorted(range(len(inputs)), key=[*self._carried, *self._others].__getitem__)

        def loop(carried: list[Tensor], others: list[Tensor]) -> Any:
            def body(*now: Tensor) -> tuple[Tensor, ...]:
                everything = [*now, *others]
                return tuple(operations(*[everything[place] for place in order]))

            return torch.while_loop(lambda going, *_: going.clone(), body, tuple(carried))

        self._loop = torch.compile(
            _own(loop), fullgraph=True, dynamic=False, options=options or None
        )
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
    objective, majorant = solver.objective, solver._given_majorant
    parts = objective, majorant, solver.proposer, solver.penalty
    key = (_code(objective), *map(type, parts), solver.settings, _structure(state))
    if key not in _graphs or _graphs[key].made >= REMADE:
        _graphs[key] = Graph(state)
    return _graphs[key]


_graphs: dict[Any, Graph] = {}


def _code(objective: Any) -> Any:
    """What is run of a function, however wrapped; lambdas made anew in a loop have it in common."""
    while hasattr(objective, "fun"):
        objective = objective.fun
    function = getattr(objective, "__func__", objective)
    return getattr(function, "__code__", type(objective))


def _structure(tree: Any) -> Any:
    """Everything about a tree but the values of its tensors."""
    if isinstance(tree, Tensor):
        return tuple(tree.shape), tree.dtype, tree.device
    parts = parts_of(tree)
    return tree if parts is None else (type(tree), *map(_structure, parts.values()))


def _fresh(t: Tensor) -> Tensor:
    """A copy with the batch innermost in memory, ``(*shape, B)``: loops run over problems."""
    return t.movedim(0, -1).clone(memory_format=torch.contiguous_format)


def _batch_first(t: Tensor) -> Tensor:
    return t.movedim(-1, 0)


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
    where = [line for line in lines if line.startswith("File ") and "learnmm" not in line]
    cause = [*said, *lines, type(error).__name__][0].rstrip(".")
    return f"torch says: {cause}" + (f" ({where[-1]})." if where else ".")
