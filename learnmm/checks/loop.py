"""Laws of the loop: descent, and problems of a batch that never influence each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from learnmm.checks.laws import require, require_equal, require_points
from learnmm.plain import integer
from learnmm.solve.optimizer import ProjectedMMOptimizer
from learnmm.solve.safeguard import rounding_slack
from learnmm.vectors import norm

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
    require_points(x0)
    steps = integer("steps", steps, 1)
    with torch.no_grad():
        state = optimizer.init(x0)
        start = state.value
        for k in range(1, steps + 1):
            before = state
            state, _ = optimizer.step(before)
            finite = torch.isfinite(state.value) & torch.isfinite(norm(state.x))
            require((~finite).to(start), 0.0, f"step {k}: iterate and value are finite")
            slack = rounding_slack(start) if optimizer.settings.safeguard is None else 0.0
            require(state.value - before.value, slack, f"step {k}: the objective does not rise")
            moved = torch.where(~before.running, norm(state.x - before.x), 0.0)
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
    batch, steps = integer("batch", batch, 2), integer("steps", steps, 1)
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


def _iterates(make: Make, indices: Sequence[int], steps: int) -> list[Tensor]:
    optimizer, x0 = make(indices)
    with torch.no_grad():
        state = optimizer.init(x0)
        iterates = [state.x]
        for _ in range(steps):
            state, _ = optimizer.step(state)
            iterates.append(state.x)
    return iterates
