"""The whole solve as one differentiable forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from learnmm.learn.hidden import warn_of_hidden
from learnmm.learn.implicit import implicit_gradient
from learnmm.nested import refill, tensors_of
from learnmm.objective import Objective
from learnmm.proposers.base import LearnedComponent
from learnmm.solve.optimizer import ProjectedMMOptimizer
from learnmm.solve.result import Certificate, StepInfo, Tally
from learnmm.solve.state import State
from learnmm.solve.validation import watched

Backward = Literal["unroll", "truncated", "checkpoint", "implicit"]
EnergyFor = Callable[[Any], Objective | Callable[[Tensor], Tensor]]

Step = Callable[[State], tuple[State, StepInfo]]
Out = TypeVar("Out")

FLAT = 16
"""Up to this many steps "checkpoint" keeps the state before each of them; see `_by_segments`."""


class Unrolled(NamedTuple):
    """What a solve of fixed length leaves behind.

    Attributes
    ----------
    x : Tensor
        Last iterate, ``(B, *shape)``.
    iterates : tuple of Tensor
        The first iterate with a graph behind its successors and all that follow, the last one
        being `x`: ``steps + 1`` of them, or ``window + 1`` where truncated, or one for "implicit"
        and without `keep_iterates`.
    values : Tensor
        Objective at every iterate, ``(steps + 1, B)``.
    steps : StepInfo
        What every step did, ``(steps, B)`` each.
    tally : Tally
        Totals, for `UnrolledMM.certificate`.
    """

    x: Tensor
    iterates: tuple[Tensor, ...]
    values: Tensor
    steps: StepInfo
    tally: Tally


class UnrolledMM(nn.Module):
    """A fixed number of steps of `ProjectedMMOptimizer`, as a module that learns.

    The steps are the optimizer's own, safeguard included, in training and in evaluation. What
    is not differentiable in them, accepting and clamping, acts as a mask: gradients flow through
    what was taken. Relaxation factors and norms of network layers count as constants.

    Parameters
    ----------
    energy : callable
        ``energy(data) -> objective`` for a batch of data. Where it is an ``nn.Module``, its
        parameters are learned too.
    preconditioner : LearnedPreconditioner or LearnedDirection, optional
        What proposes the steps.
    start : callable, optional
        ``start(data) -> x0``; a module's parameters are learned too. Without it `forward` needs
        ``x0``.
    modules : sequence of Module
        What else is learned: networks that `energy` or `start` use and that cannot be seen in
        them, such as those a lambda closes over.
    steps : int
        Steps of `forward`.
    backward : {"unroll", "truncated", "checkpoint", "implicit"}
        How gradients are computed. "unroll": through every step. "truncated": through the last
        `window` steps; those before run without a graph. "checkpoint": through every step,
        recomputing each once (beyond 16 steps twice), so that memory holds the states of at most
        16 or ``2 sqrt(steps)`` steps, the iterates, and what one step needs. "implicit": of the
        stationary point that the last iterate is taken for (see `implicit_gradient`), whatever
        path led there; only the energy then gets gradients.
    window : int, optional
        For "truncated".
    keep_iterates : bool
        Whether `Unrolled.iterates` holds all that the gradient passes through. False keeps the
        last alone, for outer losses that need no other.
    **settings
        Of `ProjectedMMOptimizer`, such as `majorant`, `projection`, `safeguard`, `relaxation`.

    Raises
    ------
    TypeError, ValueError
        For settings that cannot work.

    Warns
    -----
    UserWarning
        Once, if gradients reach tensors that are no parameters of this module: nothing that trains
        it would change them, nor would weights hold them.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> A, y = torch.randn(4, 8), torch.randn(2, 4)
    >>> solver = lmm.UnrolledMM(
    ...     lambda y: lmm.least_squares(A, y), lmm.Constant(), steps=5,
    ...     start=lambda y: torch.zeros(len(y), 8),
    ... )
    >>> solved = solver(y)
    >>> solved.values[-1].sum().backward()  # how should the multiplier change?
    >>> solved.x.shape, solved.values.shape
    (torch.Size([2, 8]), torch.Size([6, 2]))
    """

    def __init__(
        self,
        energy: EnergyFor,
        preconditioner: LearnedComponent | None = None,
        *,
        start: Callable[[Any], Tensor] | None = None,
        modules: Iterable[nn.Module] = (),
        steps: int = 10,
        backward: Backward = "unroll",
        window: int | None = None,
        keep_iterates: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__()
        if not callable(energy):
            raise TypeError(f"energy must map data to an objective, got {type(energy).__name__}")
        if start is not None and not callable(start):
            raise TypeError(f"start must map data to iterates, got {type(start).__name__}")
        if backward not in get_args(Backward):
            raise ValueError(f"backward must be one of {get_args(Backward)}, got {backward!r}")
        if (window is None) == (backward == "truncated"):
            raise ValueError(f"window goes with backward='truncated', got {backward!r}, {window}")
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        if not isinstance(keep_iterates, bool):
            raise TypeError(f"keep_iterates must be True or False, got {keep_iterates!r}")
        modules = (modules,) if isinstance(modules, nn.Module) else tuple(modules)
        for module in modules:
            if not isinstance(module, nn.Module):
                raise TypeError(f"modules must be nn.Module, got {type(module).__name__}")
        _check_steps(steps)
        if "max_iter" in settings:
            raise TypeError("UnrolledMM takes steps= in place of max_iter=")
        generator = getattr(settings.get("majorant"), "generator", None)
        if backward == "checkpoint" and isinstance(generator, torch.Generator):
            raise ValueError(
                "backward='checkpoint' computes steps again, which would meet other bounds: a "
                "majorant must not draw from a generator of its own there, but from torch's global "
                "one, which is rewound"
            )
        self.energy = energy
        self.preconditioner = preconditioner
        self.start = start
        majorant = settings.get("majorant")
        self.learned = nn.ModuleList(
            [*modules, majorant] if isinstance(majorant, nn.Module) else modules
        )
        self.steps = steps
        self.backward = backward
        self.window = window
        self.keep_iterates = keep_iterates
        # Tolerances would end some problems of a batch early, which gains nothing here.
        self.settings = {"gtol": 0.0, **settings}
        self._searched = False
        self._checked()

    def optimizer(self, data: Any, **settings: Any) -> ProjectedMMOptimizer:
        """Return the optimizer for a batch of data, as for `ProjectedMMOptimizer.minimize`."""
        return ProjectedMMOptimizer(
            self.energy(data), preconditioner=self.preconditioner, **{**self.settings, **settings}
        )

    def forward(
        self,
        data: Any,
        x0: Tensor | None = None,
        *,
        steps: int | None = None,
        verified: bool = True,
    ) -> Unrolled:
        """Solve a batch.

        Parameters
        ----------
        data : Any
            Whatever `energy` and `start` take.
        x0 : Tensor, optional
            Start ``(B, *shape)`` instead of ``start(data)``.
        steps : int, optional
            Instead of the number given at construction.
        verified : bool
            False switches the safeguard off for this pass: early in training most proposals are
            refused, and what is refused teaches nothing.

        Returns
        -------
        Unrolled
        """
        count = self.steps if steps is None else steps
        _check_steps(count)
        given = x0
        with _without_autocast():
            if x0 is None:
                if self.start is None:
                    raise ValueError("give x0, or start= at construction")
                with watched(data, "start"):
                    x0 = self.start(data)
            unverified = {"safeguard": None, "relaxation": None}
            with watched((data, x0), "energy"):
                optimizer = self.optimizer(data, **({} if verified else unverified))
        free = 0  # steps without a graph
        if self.backward == "implicit":
            free = count
        elif self.window is not None:
            free = max(0, count - self.window)
        recording = torch.is_grad_enabled()
        with torch.set_grad_enabled(recording and free == 0):
            state = optimizer.init(x0)
        initial = state.value
        with torch.no_grad():
            state, before = _repeat(optimizer.step, state, free, keep=False)
        start = state.x
        run = _by_segments if recording and self.backward == "checkpoint" else _repeat
        state, after = run(optimizer.step, state, count - free, keep=self.keep_iterates)
        values = [initial, *before.values, *after.values]
        iterates = (start, *after.iterates) if self.keep_iterates else (state.x,)
        if self.backward == "implicit" and recording:
            iterates = (implicit_gradient(optimizer.objective, state.x),)
            values[-1] = optimizer.objective(iterates[0].clone())
        stacked = torch.stack(values)
        if recording and not self._searched and not torch.compiler.is_compiling():
            self._searched = True
            warn_of_hidden(self, (stacked, iterates[-1]), (data, given))
        return Unrolled(
            x=iterates[-1],
            iterates=iterates,
            values=stacked,
            steps=StepInfo(*map(torch.stack, zip(*before.infos, *after.infos, strict=True))),
            tally=state.tally,
        )

    def certificate(self, solved: Unrolled) -> Certificate:
        """What was promised for a solve, and what happened."""
        return self._checked().certificate(solved.tally)

    def _checked(self) -> ProjectedMMOptimizer:
        """Return an optimizer of these settings for no problem in particular; raises if wrong."""
        return ProjectedMMOptimizer(torch.sum, preconditioner=self.preconditioner, **self.settings)


class _Trace(NamedTuple):
    """What some steps leave behind, in their order; iterates only if they are to be kept."""

    values: tuple[Tensor, ...] = ()
    iterates: tuple[Tensor, ...] = ()
    infos: tuple[StepInfo, ...] = ()

    def then(self, other: _Trace) -> _Trace:
        return _Trace(
            self.values + other.values,
            self.iterates + other.iterates,
            self.infos + other.infos,
        )


def _by_segments(one: Step, state: State, count: int, keep: bool) -> tuple[State, _Trace]:
    """Run some steps, keeping for the backward pass the states of few of them.

    A checkpointed step keeps the state before it and is recomputed. That makes ``K`` states, so a
    longer run is cut into about ``sqrt(K)`` segments, each checkpointed too: while one of them is
    recomputed, its own states join those between segments, ``2 sqrt(K)`` in all (Chen et al. 2016).
    """

    def step(state: State) -> tuple[State, StepInfo]:
        return _recomputed(one, state)

    if count <= FLAT:
        return _repeat(step, state, count, keep)
    trace, length = _Trace(), math.isqrt(count)
    for done in range(0, count, length):
        size = min(length, count - done)
        run = partial(_repeat, step, count=size, keep=keep)
        state, segment = _recomputed(run, state)
        trace = trace.then(segment)
    return state, trace


def _recomputed(run: Callable[[State], tuple[State, Out]], state: State) -> tuple[State, Out]:
    """Checkpoint some steps.

    The tensors of the state are arguments of their own: what is hidden in a tuple, torch would
    hold on to, and a checkpoint within a checkpoint would save nothing.
    """
    # Closures see the nesting of the state, not the tensors of it.
    shell = refill(state, iter([torch.empty(0)] * len(tensors_of(state))))
    result: tuple[State, Out] = checkpoint(
        lambda *tensors: run(refill(shell, iter(tensors))),
        *tensors_of(state),
        use_reentrant=False,
    )
    return result


def _repeat(step: Step, state: State, count: int, keep: bool) -> tuple[State, _Trace]:
    """Run some steps, with their graph where gradients are enabled."""
    trace = _Trace()
    for _ in range(count):
        state, info = step(state)
        detached = StepInfo(*(field.detach() for field in info))
        trace = trace.then(_Trace((state.value,), (state.x,) if keep else (), (detached,)))
    return state, trace


def _without_autocast() -> ExitStack:
    """Objectives are built and started in their own precision; only networks follow autocast."""
    stack = ExitStack()
    for device in ("cpu", "cuda"):
        if torch.is_autocast_enabled(device):
            stack.enter_context(torch.autocast(device, enabled=False))
    return stack


def _check_steps(steps: int) -> None:
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be an integer of at least 1, got {steps!r}")
