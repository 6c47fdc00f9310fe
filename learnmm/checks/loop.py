"""Laws of the loop: descent, and problems of a batch that never influence each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from learnmm.checks.laws import LawViolation, require, require_equal
from learnmm.checks.unmodified import unmodified
from learnmm.curvature import ScalarCurvature, norm
from learnmm.nested import check, select, tensors_of
from learnmm.proposers.base import (
    Direction,
    Features,
    LearnedComponent,
    LearnedPreconditioner,
    Point,
    scale_free,
)
from learnmm.solve.optimizer import ProjectedMMOptimizer
from learnmm.solve.result import Status
from learnmm.solve.safeguard import rounding_slack

Make = Callable[[Sequence[int]], tuple[ProjectedMMOptimizer, Tensor]]


def assert_descent(optimizer: ProjectedMMOptimizer, x0: Tensor, steps: int = 50) -> None:
    """Check that no step raises the objective or leaves the finite numbers.

    Laws, per problem: values and iterates stay finite; no step raises the value (without a
    safeguard: by more than rounding); the value reported is that of the iterate; a problem that
    has stopped moves no more.

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
        With the step, the worst problem and the size of the error.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm import checks
    >>> atom = lmm.HalfQuadratic(torch.zeros(2, 3), "welsch")
    >>> checks.assert_descent(lmm.ProjectedMMOptimizer(atom), torch.ones(2, 3))
    """
    with torch.no_grad():
        state = optimizer.init(x0)
        start = state.value
        for k in range(1, steps + 1):
            before = state
            state, _ = optimizer.step(before)
            finite = torch.isfinite(state.value) & torch.isfinite(norm(state.x))
            require((~finite).to(start), 0.0, f"step {k}: iterate and value are finite")
            slack = rounding_slack(start) if optimizer.safeguard is None else 0.0
            require(state.value - before.value, slack, f"step {k}: the objective does not rise")
            stopped = before.status != Status.RUNNING
            moved = torch.where(stopped, norm(state.x - before.x), 0.0)
            require(moved, 0.0, f"step {k}: a stopped problem keeps its iterate")
        again = optimizer.objective.evaluate(state.x).value
        require((again - state.value).abs(), rounding_slack(start), "values belong to iterates")


def assert_batch_independent(make: Make, batch: int, steps: int = 5) -> None:
    """Check that a problem's iterates do not depend on its neighbours.

    Law: alone, or among all in another order, every problem takes the steps it takes in the batch,
    up to rounding.

    Parameters
    ----------
    make : callable
        ``make(indices)`` returns an optimizer and a start for those problems, in that order. What
        is random inside must not depend on the indices: build generators there, with fixed seeds.
    batch : int
        Number of problems.
    steps : int
        How many to compare; few, since rounding grows along a run.

    Raises
    ------
    LawViolation
        With the step, the problem, and how it was run.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm import checks
    >>> y = torch.eye(3, dtype=torch.float64)
    >>> def make(indices):
    ...     atom = lmm.CosineDistance(y[indices])
    ...     return lmm.ProjectedMMOptimizer(atom), torch.ones_like(y[indices])
    >>> checks.assert_batch_independent(make, 3)
    """
    everyone = list(range(batch))
    together = _iterates(make, everyone, steps)
    scale = torch.stack([norm(x) for x in together]).amax(0)
    for indices in (everyone[::-1], everyone[1:] + everyone[:1], *([i] for i in everyone)):
        how = "alone" if len(indices) == 1 else "permuted"
        for k, (x, reference) in enumerate(
            zip(_iterates(make, indices, steps), together, strict=True)
        ):
            law = f"problems {indices} {how} take the steps of the batch (step {k})"
            require_equal(x, reference[indices], scale[indices], law)


def assert_preconditioner(
    preconditioner: LearnedComponent | Direction, x: Tensor, steps: int = 3
) -> None:
    """Check shapes and batch independence of what a preconditioner proposes and remembers.

    Laws: proposals have the shape of the iterate, or that of the component's basis; every tensor of
    the memory has the batch first, and the memory keeps its structure; problem ``i`` of a batch
    gets what it gets alone; a `Direction` gives the same step and keeps the same memory when it
    sees a point again; what it is shown, its memory included, is not written to. Values are free:
    projection and safeguard take care of them.

    Parameters
    ----------
    preconditioner : LearnedPreconditioner, LearnedDirection or Direction
        In the mode in which it will be used.
    x : Tensor
        Iterates ``(B, *shape)`` with at least two problems.
    steps : int
        Steps through which the memory is followed.

    Raises
    ------
    LawViolation
        With the step and the problem.
    ValueError
        For fewer than two problems.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm import checks
    >>> checks.assert_preconditioner(lmm.DualConvLSTM(3, hidden=4), torch.randn(2, 3, 8))
    """
    batch = x.shape[0]
    if batch < 2:
        raise ValueError("independence of a batch needs at least two problems")
    everyone = list(range(batch))
    x = x.clone()
    with torch.no_grad():
        together = _proposals(preconditioner, x, steps)
        for indices in (everyone[::-1], *([i] for i in everyone)):
            apart = _proposals(preconditioner, x[indices], steps)
            for k, (actual, expected) in enumerate(zip(apart, together, strict=True)):
                law = f"multipliers of problems {indices} at step {k} do not depend on neighbours"
                a, b = torch.nan_to_num(actual), torch.nan_to_num(expected[indices])
                require_equal(a, b, norm(b) + 1, law)


def _iterates(make: Make, indices: Sequence[int], steps: int) -> list[Tensor]:
    optimizer, x0 = make(indices)
    with torch.no_grad():
        state = optimizer.init(x0)
        iterates = [state.x]
        for _ in range(steps):
            state, _ = optimizer.step(state)
            iterates.append(state.x)
    return iterates


def _proposals(preconditioner: LearnedComponent | Direction, x: Tensor, steps: int) -> list[Tensor]:
    """Proposals of a few steps, with features that differ from step to step."""
    name = type(preconditioner).__name__
    with unmodified(x, name):
        memory = preconditioner.init_state(x)
    wanted = x.shape
    basis = preconditioner.basis() if isinstance(preconditioner, LearnedPreconditioner) else None
    if basis is not None:
        wanted = torch.Size((x.shape[0], basis.shape[1] + 1, *x.shape[2:]))
    proposals = []
    for k in range(steps):
        _batch_first(memory, x)
        seen = _seen(preconditioner, x, k)
        before = memory
        with unmodified((seen, before), name):
            multipliers, memory = preconditioner(seen, before)
        if multipliers.shape != wanted:
            raise LawViolation(
                f"proposals have shape {tuple(wanted)}, got {tuple(multipliers.shape)} at step {k}"
            )
        _batch_first(memory, x)
        try:
            select(torch.ones_like(x.reshape(len(x), -1)[:, 0], dtype=torch.bool), memory, before)
        except TypeError as error:
            raise LawViolation(
                f"the memory keeps its structure and shapes, not so at step {k}: {error}"
            ) from error
        if isinstance(preconditioner, Direction):
            both = zip(
                tensors_of((multipliers, memory)),
                tensors_of(preconditioner(seen, memory)),
                strict=True,
            )
            if not all(torch.equal(*map(torch.nan_to_num, pair)) for pair in both):
                raise LawViolation(
                    "a point seen again gives the same step and the same memory, not so at step "
                    f"{k}"
                )
        proposals.append(multipliers)
    return proposals


def _seen(preconditioner: LearnedComponent | Direction, x: Tensor, k: int) -> Features | Point:
    """What a component is shown at step `k`: a path through curved country."""
    gradient = torch.sin((k + 1) * x)
    if isinstance(preconditioner, Direction):
        return Point(x + 0.1 * gradient, gradient, ScalarCurvature(1 + norm(gradient)))
    return Features(scale_free(x), scale_free(gradient))


def _batch_first(memory: Any, x: Tensor) -> None:
    """Raise unless a memory can be carried on per problem."""
    try:
        check(memory, x.shape[0], "the memory")
    except TypeError as error:
        raise LawViolation(str(error)) from error
