"""The whole solve as one differentiable forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from learnmm.bound import Majorant
from learnmm.nested import refill, tensors_of
from learnmm.objective import Objective
from learnmm.plain import integer
from learnmm.proposers.base import Proposer
from learnmm.solve.certificate import Certificate
from learnmm.solve.optimizer import ProjectedMMOptimizer, certificate_of
from learnmm.solve.proposing import check_parts
from learnmm.solve.record import StepInfo, Tally
from learnmm.solve.settings import SolveSettings
from learnmm.solve.state import State
from learnmm.solve.validation import watched
from learnmm.unroll.backward import Backward, Path
from learnmm.unroll.hidden import warn_of_hidden
from learnmm.unroll.implicit import implicit_gradient

EnergyFor = Callable[[Any], Objective | Callable[[Tensor], Tensor]]

Step = Callable[[State], tuple[State, StepInfo]]
Out = TypeVar("Out")

UNVERIFIED: dict[str, Any] = {"safeguard": None, "relaxation": None}

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
    verified : bool
        Whether this pass had the safeguard that its settings name.
    """

    x: Tensor
    iterates: tuple[Tensor, ...]
    values: Tensor
    steps: StepInfo
    tally: Tally
    verified: bool


class UnrolledMM(nn.Module):
    """A fixed number of steps of `ProjectedMMOptimizer`, as a module that learns.

    The steps are the optimizer's own, safeguard included, in training and in evaluation. What
    is not differentiable in them, accepting and clamping, acts as a mask: gradients flow through
    what was taken. Relaxation factors and norms of network layers count as constants.

    Parameters
    ----------
    energy : callable
        ``energy(data) -> objective`` for a batch of data, the sum of an atom and a penalty among
        them: gradients flow through proxes in closed form. Where it is an ``nn.Module``, its
        parameters are learned too.
    proposer : Proposer, optional
        What proposes the steps.
    start : callable, optional
        ``start(data) -> x0``; a module's parameters are learned too. Without it `forward` needs
        ``x0``.
    modules : sequence of Module
        What else is learned: networks that `energy` or `start` use and that cannot be seen in
        them, such as those a lambda closes over.
    steps : int
        Steps of `forward`.
    backward : Backward or str
        How gradients are computed; a name stands for ``Backward(name)``.
    majorant : Majorant, optional
        As for `ProjectedMMOptimizer`, for all data. Where it is an ``nn.Module``, its parameters
        are learned too.
    settings : SolveSettings
        How steps are confined and verified. A `gtol` that is not given is 0: tolerances end some
        problems of a batch early, which gains nothing here.

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
    ...     lambda y: lmm.least_squares(A, y), lmm.proposers.Constant(), steps=5,
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
        proposer: Proposer | None = None,
        *,
        start: Callable[[Any], Tensor] | None = None,
        modules: Iterable[nn.Module] = (),
        steps: int = 10,
        backward: Backward | str = Backward(),  # noqa: B008 - frozen
        majorant: Majorant | None = None,
        settings: SolveSettings = SolveSettings(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        if not callable(energy):
            raise TypeError(f"energy must map data to an objective, got {type(energy).__name__}")
        if start is not None and not callable(start):
            raise TypeError(f"start must map data to iterates, got {type(start).__name__}")
        modules = (modules,) if isinstance(modules, nn.Module) else tuple(modules)
        for module in modules:
            if not isinstance(module, nn.Module):
                raise TypeError(f"modules must be nn.Module, got {type(module).__name__}")
        integer("steps", steps, 1)
        check_parts(proposer, settings)
        if settings.max_iter is not None:
            raise ValueError(f"UnrolledMM takes steps= in place of max_iter={settings.max_iter}")
        self.backward = backward if isinstance(backward, Backward) else Backward(backward)
        generator = getattr(majorant, "generator", None)
        if self.backward.path is Path.CHECKPOINT and isinstance(generator, torch.Generator):
            raise ValueError(
                "backward='checkpoint' computes steps again, which would meet other bounds: a "
                "majorant must not draw from a generator of its own there, but from torch's global "
                "one, which is rewound"
            )
        self.energy = energy
        self.proposer = proposer
        self.start = start
        self.learned = nn.ModuleList(
            [*modules, majorant] if isinstance(majorant, nn.Module) else modules
        )
        self.steps = steps
        self.majorant = majorant
        self.settings = settings if settings.gtol is not None else replace(settings, gtol=0.0)
        self._searched = False

    def optimizer(self, data: Any, settings: SolveSettings | None = None) -> ProjectedMMOptimizer:
        """Return the optimizer for a batch of data, with these or other settings."""
        solver = ProjectedMMOptimizer(
            self.energy(data),
            majorant=self.majorant,
            proposer=self.proposer,
            settings=settings or self.settings,
        )
        if self.backward.path is Path.IMPLICIT and solver.penalty is not None:
            raise ValueError(
                "backward='implicit' needs a vanishing gradient, which a penalty does not leave: "
                f"take another, got {type(solver.penalty).__name__}"
            )
        return solver

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
        integer("steps", count, 1)
        optimizer, begin = self._begin(data, x0, verified)
        free, recording = self.backward.free(count), torch.is_grad_enabled()
        with torch.set_grad_enabled(recording and free == 0):
            state = optimizer.init(begin)
        initial = state.value
        with torch.no_grad():
            state, before = _repeat(optimizer.step, state, free, keep=False)
        first, path, keep = state.x, self.backward.path, self.backward.keep_iterates
        run = _by_segments if recording and path is Path.CHECKPOINT else _repeat
        state, after = run(optimizer.step, state, count - free, keep=keep)
        values = [initial, *before.values, *after.values]
        iterates = (first, *after.iterates) if keep else (state.x,)
        if path is Path.IMPLICIT and recording:
            iterates = (implicit_gradient(optimizer.objective, state.x),)
            values[-1] = optimizer.objective(iterates[0].clone())
        stacked = torch.stack(values)
        if recording and not self._searched and not torch.compiler.is_compiling():
            self._searched = True
            warn_of_hidden(self, (stacked, iterates[-1]), (data, x0))
        return Unrolled(
            x=iterates[-1],
            iterates=iterates,
            values=stacked,
            steps=StepInfo(*map(torch.stack, zip(*before.infos, *after.infos, strict=True))),
            tally=state.tally,
            verified=verified,
        )

    def certificate(self, solved: Unrolled) -> Certificate:
        """What was promised for a solve, and what happened."""
        return certificate_of(solved.tally, self._settings(solved.verified), self.proposer)

    def _settings(self, verified: bool) -> SolveSettings:
        """Those of a pass."""
        return self.settings if verified else replace(self.settings, **UNVERIFIED)

    def _begin(
        self, data: Any, x0: Tensor | None, verified: bool
    ) -> tuple[ProjectedMMOptimizer, Tensor]:
        """Optimizer and start for some data."""
        settings = self._settings(verified)
        with _without_autocast():
            if x0 is None:
                if self.start is None:
                    raise ValueError("give x0, or start= at construction")
                with watched(data, "start"):
                    x0 = self.start(data)
            with watched((data, x0), "energy"):
                return self.optimizer(data, settings), x0


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
