"""The interfaces of what proposes: multipliers of the majorant's step, or a whole step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from learnmm.curvature import Curvature, expand, norm


class Features(NamedTuple):
    """What a preconditioner sees: free of units, each problem scaled by itself alone.

    Attributes
    ----------
    x : Tensor
        Iterate over its root mean square, ``(B, *shape)``; zero where the iterate is zero.
    gradient : Tensor
        Gradient over its root mean square, likewise.
    """

    x: Tensor
    gradient: Tensor


def rms(v: Tensor) -> Tensor:
    """Root mean square over everything after the batch, shape ``(B,)``."""
    return norm(v) / math.sqrt(max(1, v[0].numel()))


def scale_free(v: Tensor) -> Tensor:
    """Divide every problem of ``(B, *shape)`` by its own root mean square."""
    size = rms(v)
    # Divided and not multiplied by the inverse, which may overflow where the size does not.
    return v / expand(torch.where(size > 0, size, 1.0), v)


class LearnedComponent(nn.Module, ABC):
    """What learns inside an optimizer: sees features, keeps a memory, proposes.

    It must treat the problems of a batch independently (no batch statistics).

    Law (``learnmm.checks.assert_preconditioner``): a proposal has the shape of the iterate, and
    problem ``i`` of a batch gets what it would get alone.
    """

    @abstractmethod
    def init_state(self, x: Tensor) -> Any:
        """Return the memory before the first step: tensors with the batch first, in tuples, lists,
        dictionaries or dataclasses, or None.
        """

    @abstractmethod
    def forward(self, features: Features, state: Any) -> tuple[Tensor, Any]:
        """Return a proposal ``(B, *shape)`` and the next memory."""


class LearnedPreconditioner(LearnedComponent):
    """Proposes one multiplier per unknown; 1 everywhere is the majorant's own step.

    The optimizer projects the proposal into the interval of its majorant, so nothing is required
    of its values.
    """

    def basis(self) -> Tensor | None:
        """Return orthonormal columns ``(n, r)`` to multiply in, or None for the unknowns.

        They act on the first dimension after the batch. With a basis, proposals have shape
        ``(B, r + 1, *rest)``: a multiplier per coordinate, and the last for everything outside.
        """
        return None


class LearnedDirection(LearnedComponent):
    """Proposes the whole step ``d`` in units of the iterate: the candidate is ``x - rms(x) d``.

    No interval can confine it, so descent rests on the safeguard alone: what does not lower the
    objective is refused, and the majorant's own step comes next.
    """


class Point(NamedTuple):
    """What a `Direction` sees: the iterate in its own units, and how the objective bends there.

    Attributes
    ----------
    x, gradient : Tensor
        ``(B, *shape)``.
    curvature : Curvature
        ``B`` of the majorant, with its relaxation.
    """

    x: Tensor
    gradient: Tensor
    curvature: Curvature


class Direction(nn.Module, ABC):
    """Computes the whole step ``d`` from what it has seen: the candidate is ``x - d``.

    In contrast to a :class:`LearnedDirection` it sees and answers in the units of the problem.
    Descent rests on the safeguard alone. A direction that is refused comes again, shorter, up to
    `trials` times; then comes the majorant's own step.

    Laws (``learnmm.checks.assert_preconditioner``): a step has the shape of the iterate, problem
    ``i`` of a batch gets what it would get alone, and the same point seen twice in a row gives the
    same step and the same memory. For the memory is kept when a step is refused: it may tell of the
    points seen, all of them accepted, and not of the steps proposed.
    """

    trials: int = 3

    @abstractmethod
    def init_state(self, x: Tensor) -> Any:
        """Return the memory before the first step: tensors with the batch first, in tuples, lists,
        dictionaries or dataclasses, or None.
        """

    @abstractmethod
    def forward(self, point: Point, state: Any) -> tuple[Tensor, Any]:
        """Return a step ``(B, *shape)`` and the next memory."""
