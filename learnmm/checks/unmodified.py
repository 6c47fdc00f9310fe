"""The law of borrowed tensors: what a part of an optimizer is given, it leaves as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from learnmm.bound import AdaptiveMajorant
from learnmm.checks.laws import LawViolation
from learnmm.nested import tensors_of
from learnmm.proposers.base import Direction, Features, Point, scale_free
from learnmm.solve.optimizer import ProjectedMMOptimizer
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
    """Check that objective, majorant and preconditioner write into nothing that they are given.

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
    objective, majorant = optimizer.objective, optimizer.majorant
    component = optimizer.preconditioner
    function = f"the objective {type(objective).__name__}"
    with torch.no_grad():
        x = x0.clone()
        with unmodified(x, function):
            objective.check(x)
            first = objective.evaluate(x)
            objective(x)
        with unmodified(first, f"{function}, evaluated again,"):
            objective.evaluate(x - torch.finfo(x.dtype).eps * first.gradient)
        if isinstance(majorant, AdaptiveMajorant):
            with unmodified((x, first.gradient), _name(majorant)):
                brought = majorant.start(x, first.gradient)
        else:
            brought = first.aux
        with unmodified((x, brought), _name(majorant)):
            majorant(x, brought)
        if component is not None:
            with unmodified(x, _name(component)):
                component.init_state(x)
        state = optimizer.init(x)
        for _ in range(steps):
            brought = state.known if isinstance(majorant, AdaptiveMajorant) else state.aux
            with unmodified((state.x, brought), _name(majorant)):
                bound = majorant(state.x, brought)
            if component is not None:
                seen: Features | Point = Features(scale_free(state.x), scale_free(state.gradient))
                if isinstance(component, Direction):
                    seen = Point(state.x, state.gradient, bound.curvature)
                with unmodified((seen, state.memory), _name(component)):
                    component(seen, state.memory)
            with unmodified(state, "a step"):
                following, _ = optimizer.step(state)
            if isinstance(majorant, AdaptiveMajorant):
                move, change = following.x - state.x, following.gradient - state.gradient
                with unmodified((state.known, move, change), _name(majorant)):
                    majorant.follow(state.known, move, change)
            state = following


def _name(part: object) -> str:
    return type(part).__name__
