"""The law of borrowed tensors: what a part of an optimizer is given, it leaves as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from learnmm.bound import AdaptiveMajorant
from learnmm.checks.laws import LawViolation, require_points
from learnmm.nested import mapped, tensors_of
from learnmm.plain import integer
from learnmm.proposers.base import Point, Proposer
from learnmm.solve.optimizer import ProjectedMMOptimizer
from learnmm.solve.state import State
from learnmm.solve.validation import written


@contextmanager
def unmodified(tree: Any, who: str) -> Iterator[None]:
    """Raise if a dense tensor of a tree has other values, or another shape, than before."""
    tensors = [tensor for tensor in tensors_of(tree) if tensor.layout == torch.strided]
    before = [tensor.clone() for tensor in tensors]
    yield
    shape = written(tensors, before)
    if shape is not None:
        raise LawViolation(
            f"{who} does not write into what belongs to others: a tensor of shape {shape} was "
            "changed"
        )


def assert_unmodified(optimizer: ProjectedMMOptimizer, x0: Tensor, steps: int = 3) -> None:
    """Check that objective, majorant and proposer write into nothing that they are given.

    Laws: iterates, gradients, ``aux``, curvatures and memories are after a call what they were
    before it, in the start and in some steps; what an evaluation has returned is not changed by the
    next one; a step leaves the state before it as it was. The optimizer hands out copies of
    iterates and gradients, so certificates do not hang on this law; that a step can be taken back,
    taken again, differentiated or compiled does.

    Parameters
    ----------
    optimizer : ProjectedMMOptimizer
        As it will be used.
    x0 : Tensor
        Start, ``(B, *shape)``.
    steps : int
        How many to take.

    Raises
    ------
    LawViolation
        With who wrote, and the shape of what was changed.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm import checks
    >>> checks.assert_unmodified(lmm.ProjectedMMOptimizer(lmm.Quadratic(torch.ones(2, 3))),
    ...     torch.zeros(2, 3))
    """
    require_points(x0)
    steps = integer("steps", steps, 1)
    objective, majorant, proposer = optimizer.objective, optimizer.majorant, optimizer.proposer
    function = f"the objective {type(objective).__name__}"
    with torch.no_grad():
        x = x0.clone()
        with unmodified(x, function):
            objective.check(x)
            first = objective.evaluate(x)
            objective(x)
        with unmodified(first, f"{function}, evaluated again,"):
            objective.evaluate(x - torch.finfo(x.dtype).eps * first.gradient)
        memory = None
        if isinstance(majorant, AdaptiveMajorant):
            with unmodified((x, first.gradient), _name(majorant)):
                memory = majorant.init_memory(x, first.gradient)
        with unmodified((x, first.aux, memory), _name(majorant)):
            optimizer.bound(x, first.aux, memory)
        if proposer is not None:
            with unmodified((x, first.gradient), _name(proposer)):
                proposer.prepare(x, first.gradient)
        state = optimizer.init(x)
        for _ in range(steps):
            with unmodified((state.x, state.aux, state.majorant_memory), _name(majorant)):
                bound = optimizer.bound(state.x, state.aux, state.majorant_memory)
            if proposer is not None:
                _watch(proposer, Point(state.x, state.gradient, bound.curvature), state)
            with unmodified(state, "a step"):
                following, _ = optimizer.step(state)
            if isinstance(majorant, AdaptiveMajorant):
                move, change = following.x - state.x, following.gradient - state.gradient
                with unmodified((state.majorant_memory, move, change), _name(majorant)):
                    majorant.observe(move, change, state.majorant_memory)
            state = following


def _watch(proposer: Proposer, point: Point, state: State) -> None:
    """A proposer may write into the memory that it is given to observe, and into nothing else."""
    memory = mapped(Tensor.clone, state.proposer_memory)
    with unmodified(point, _name(proposer)):
        memory = proposer.observe(point, memory)
    with unmodified((point, memory), _name(proposer)):
        proposer.propose(point, memory)


def _name(part: object) -> str:
    return type(part).__name__
