"""Laws of what proposes steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learnmm.checks.laws import LawViolation, require, require_equal, require_points, tolerance
from learnmm.checks.unmodified import unmodified
from learnmm.curvature import ScalarCurvature
from learnmm.nested import check, mapped, select, tensors_of
from learnmm.plain import integer
from learnmm.proposers.base import Multipliers, Point, Proposer, Step
from learnmm.vectors import norm


def assert_proposer(proposer: Proposer, x: Tensor, steps: int = 3) -> None:
    """Check what a proposer proposes and remembers.

    Laws: it proposes `Multipliers` of the shape of the iterate or of their basis, whose columns are
    orthonormal, or a `Step` of the shape of the iterate, in floating point; every tensor of its
    memory has the batch first, and the memory keeps its structure; problem ``i`` of a batch gets
    what it gets alone; to propose twice is to propose the same; where it `remembers_points`, to
    observe twice is to observe once; what it is shown is not written to, and neither is the memory
    by proposing. Values are free: projection and safeguard take care of them.

    Parameters
    ----------
    proposer : Proposer
        In the mode in which it will be used.
    x : Tensor
        Iterates ``(B, *shape)`` with at least two problems.
    steps : int
        Iterates through which the memory is followed.

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
    >>> checks.assert_proposer(lmm.proposers.DualConvLSTM(3, hidden=4), torch.randn(2, 3, 8))
    """
    require_points(x, least=2)
    steps = integer("steps", steps, 1)
    everyone = list(range(len(x)))
    x = x.clone()
    with torch.no_grad():
        together = _proposals(proposer, x, steps)
        for indices in (everyone[::-1], *([i] for i in everyone)):
            apart = _proposals(proposer, x[indices], steps)
            for k, (actual, expected) in enumerate(zip(apart, together, strict=True)):
                law = f"proposals for problems {indices} at step {k} do not depend on neighbours"
                a, b = torch.nan_to_num(actual), torch.nan_to_num(expected[indices])
                require_equal(a, b, norm(b) + 1, law)


def _proposals(proposer: Proposer, x: Tensor, steps: int) -> list[Tensor]:
    """Proposals of a few steps, at points that differ from step to step."""
    name = type(proposer).__name__
    begin = _point(x, 0)
    with unmodified(begin, name):
        memory, start = proposer.prepare(begin.x, begin.gradient)
    proposals = [] if start is None else [start]
    for k in range(steps):
        _batch_first(memory, x)
        point, before = _point(x, k), memory
        with unmodified(point, name):
            memory = proposer.observe(point, mapped(Tensor.clone, before))
        _batch_first(memory, x)
        try:
            select(torch.ones_like(x.reshape(len(x), -1)[:, 0], dtype=torch.bool), memory, before)
        except TypeError as error:
            raise LawViolation(
                f"the memory keeps its structure and shapes, not so at step {k}: {error}"
            ) from error
        with unmodified((point, memory), name):
            proposed, again = proposer.propose(point, memory), proposer.propose(point, memory)
        _check_proposed(proposed, x, k)
        if not torch.equal(torch.nan_to_num(proposed.values), torch.nan_to_num(again.values)):
            raise LawViolation(f"to propose twice is to propose the same, not so at step {k}")
        if proposer.remembers_points:
            again_seen = proposer.observe(point, mapped(Tensor.clone, memory))
            _require_same(again_seen, memory, k)
        proposals.append(proposed.values)
    return proposals


def _require_same(again: Any, memory: Any, k: int) -> None:
    for one, other in zip(tensors_of(again), tensors_of(memory), strict=True):
        if not torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)):
            raise LawViolation(
                f"what remembers points remembers nothing of a point seen again, not so at step {k}"
            )


def _point(x: Tensor, k: int) -> Point:
    """What is shown at step `k`: a path through curved country."""
    gradient = torch.sin((k + 1) * x)
    return Point(x + 0.1 * gradient, gradient, ScalarCurvature(1 + norm(gradient)))


def _check_proposed(proposed: Any, x: Tensor, k: int) -> None:
    if not isinstance(proposed, Multipliers | Step):
        raise LawViolation(
            f"proposals are Multipliers or a Step, got {type(proposed).__name__} at step {k}"
        )
    if not proposed.values.is_floating_point():
        raise LawViolation(
            f"proposals are in floating point, got {proposed.values.dtype} at step {k}"
        )
    wanted = tuple(x.shape)
    if isinstance(proposed, Multipliers) and proposed.basis is not None:
        _check_basis(proposed.basis, x, k)
        wanted = (x.shape[0], proposed.basis.shape[1] + 1, *x.shape[2:])
    if proposed.values.shape != wanted:
        raise LawViolation(
            f"proposals have shape {wanted}, got {tuple(proposed.values.shape)} at step {k}"
        )


def _check_basis(basis: Tensor, x: Tensor, k: int) -> None:
    """The interval of multipliers in a basis rests on this."""
    if basis.dim() != 2 or basis.shape[0] != x.shape[1]:
        raise LawViolation(
            f"a basis has shape ({x.shape[1]}, r), got {tuple(basis.shape)} at step {k}"
        )
    products = basis.mT @ basis
    off = norm((products - torch.eye(len(products)).to(products))[None])
    require(off, tolerance(basis), f"a basis has orthonormal columns at step {k}")


def _batch_first(memory: Any, x: Tensor) -> None:
    """Raise unless a memory can be carried on per problem."""
    try:
        check(memory, x.shape[0], "the memory")
    except TypeError as error:
        raise LawViolation(str(error)) from error
