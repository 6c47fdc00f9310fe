"""The interface of what proposes: multipliers of the majorant's step, or a whole step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from learnmm.curvature import Curvature
from learnmm.proposers.shortening import parabola
from learnmm.vectors import expand, norm


class Multipliers(NamedTuple):
    """Multipliers ``m`` of the majorant's step; 1 everywhere is that step.

    They are projected into the interval of the majorant, so nothing is required of their values.

    Attributes
    ----------
    values : Tensor
        One per unknown, ``(B, *shape)``; with a basis ``(B, r + 1, *rest)``, one per coordinate,
        and the last for everything outside of it.
    basis : Tensor or None
        Orthonormal columns ``(n, r)`` on the first dimension after the batch, the same for all
        problems. None: the unknowns themselves.
    """

    values: Tensor
    basis: Tensor | None = None


class Step(NamedTuple):
    """A whole step ``d``, in the units of the iterate: the candidate is ``x - d``.

    No interval can confine it, so descent rests on the safeguard alone: what does not lower the
    objective is refused.

    Attributes
    ----------
    values : Tensor
        ``(B, *shape)``.
    """

    values: Tensor


class Features(NamedTuple):
    """What networks see: free of units, each problem scaled by itself alone.

    Attributes
    ----------
    x : Tensor
        Iterate over its root mean square, ``(B, *shape)``; zero where the iterate is zero.
    gradient : Tensor
        Gradient over its root mean square, likewise.
    """

    x: Tensor
    gradient: Tensor


class Point(NamedTuple):
    """What a proposer sees: the iterate in its own units, and how the objective bends there.

    Attributes
    ----------
    x, gradient : Tensor
        ``(B, *shape)``.
    curvature : Curvature
        ``B`` of the majorant, with its relaxation.
    value : Tensor or None
        The objective, ``(B,)``; the loop always tells it.
    free : Tensor of bool or None
        With a penalty, and where a step is to be proposed: the unknowns that it may move,
        ``(B, *shape)``. The gradient is then the way down on its face, and zero elsewhere.
    """

    x: Tensor
    gradient: Tensor
    curvature: Curvature
    value: Tensor | None = None
    free: Tensor | None = None

    def holding(self, held: Tensor) -> Point:
        """The same point, some more unknowns held."""
        free = ~held if self.free is None else self.free & ~held
        return self._replace(gradient=self.gradient.masked_fill(~free, 0.0), free=free)

    @property
    def scale_free(self) -> Features:
        """Iterate and gradient without units."""
        return Features(scale_free(self.x), scale_free(self.gradient))


class Prepared(NamedTuple):
    """What a proposer has ready before the first step.

    Attributes
    ----------
    memory : Any
        Its memory before the first iterate.
    start : Tensor or None
        Where it would start, ``(B, *shape)``. It is evaluated once, and taken for those problems
        whose objective is lower there than at the start that was given.
    """

    memory: Any
    start: Tensor | None = None


class Proposer(nn.Module, ABC):
    """What proposes steps: it observes every iterate once, and proposes there.

    Memories are tensors with the batch first, in tuples, lists, dictionaries or dataclasses, beside
    constants. Because only iterates are observed, what was refused leaves no trace.

    Laws (``learnmm.checks.assert_proposer``): problem ``i`` of a batch gets what it would get
    alone; the memory keeps its structure; `propose` is pure; `observe` may write into the memory
    that it is given, and into nothing else; what `remembers_points` says holds.

    Attributes
    ----------
    trials : int
        Candidates along a proposal before the majorant's own step comes: the proposal, then, each
        shorter than the one refused before it, multiples of it.
    reach : float
        Longest whole step over the last one that was taken.
    curvature_from_steps : bool
        Whether it measures curvature itself, from the steps taken, and needs the majorant's own
        rarely. Then a callable that nobody has named a majorant for is bounded by the secants of
        the steps (`SecantMajorant`) and not by Hessian-vector products, and what it proposes does
        not adapt the relaxation of the bound.
    measures_start : bool
        Whether such secants begin with a Hessian-vector product at the start. Otherwise the first
        step is as long as the iterate, or as the proposer says.
    remembers_points : bool
        Whether the memory tells of points and not of how often they were seen: observing an iterate
        again changes no bit of it. Then those of a batch, of which some have moved on and others
        retry or have stopped, need not be told apart, which costs as much as a step where memories
        are large.
    before_prox : bool
        Whether its steps come before the prox of a penalty, which then needs no faces. The
        curvature that it sees is the diagonal metric of that prox.
    """

    trials: int = 1
    reach: float = math.inf
    curvature_from_steps: bool = False
    measures_start: bool = True
    remembers_points: bool = False
    before_prox: bool = False

    def init_memory(self, x: Tensor) -> Any:
        """Return the memory before the first iterate; None remembers nothing."""
        return None

    def given(self, data: Tensor | None) -> Proposer:
        """Return what proposes for problems with this data, ``(B, d)``; most need none."""
        return self

    def restricted(self, rows: Tensor) -> Proposer | None:
        """Return what proposes for some problems of its batch, ``(b,)``; None where it cannot.

        By default itself: what differs from problem to problem is in the memory.
        """
        return self

    def prepare(self, x: Tensor, gradient: Tensor) -> Prepared:
        """Return that memory, and a start of its own, from the start that was given."""
        return Prepared(self.init_memory(x))

    def observe(self, point: Point, memory: Any) -> Any:
        """Return the memory with an iterate in it; called once for each, the start included."""
        return memory

    @abstractmethod
    def propose(self, point: Point, memory: Any) -> Multipliers | Step:
        """Return what to try from an iterate that was observed."""

    def shorter(self, slope: Tensor, actual: Tensor, after: Tensor) -> Tensor:
        """Return the factor on a step ``d`` that was refused, for its next trial, ``(B,)``.

        Parameters
        ----------
        slope : Tensor
            ``<g, d>`` at the iterate, ``(B,)``.
        actual : Tensor
            ``f(x) - f(x - d)``.
        after : Tensor
            ``<g, d>`` at the candidate.
        """
        return parabola(slope, actual)


class LearnedPreconditioner(Proposer):
    """A network that proposes multipliers, from features without units.

    They are moved into the interval of :class:`learnmm.Projection`, which ends at 1 by default, the
    majorant's own step: a network that is to take longer ones, which descend up to 2, needs
    ``SolveSettings(projection=Projection(upper=1.9))``, in training and after it.
    """

    @abstractmethod
    def propose(self, point: Point, memory: Any) -> Multipliers:
        """Return multipliers at an iterate that was observed."""


def relative_step(x: Tensor, values: Tensor) -> Step:
    """Step of values without units, ``d = rms(x) values``, for iterates ``x``."""
    return Step(expand(rms(x), values) * values.to(x.dtype))


def rms(v: Tensor) -> Tensor:
    """Root mean square over everything after the batch, shape ``(B,)``."""
    return norm(v) / math.sqrt(max(1, v[0].numel()))


def scale_free(v: Tensor) -> Tensor:
    """Divide every problem of ``(B, *shape)`` by its own root mean square."""
    size = rms(v)
    # Divided and not multiplied by the inverse, which may overflow where the size does not.
    return v / expand(torch.where(size > 0, size, 1.0), v)
