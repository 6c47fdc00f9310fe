"""BFGS steps with a matrix per problem, for few unknowns."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.curvature import Curvature, DiagonalCurvature, ScalarCurvature
from learnmm.precision import full_precision
from learnmm.proposers.base import Point, Proposer, Step
from learnmm.proposers.limited_memory import LimitedMemory, has_curvature, stretched
from learnmm.truth import known
from learnmm.vectors import expand, norm


class Inverse(NamedTuple):
    """Memory of :class:`DenseBFGS`, for ``n`` unknowns per problem.

    Attributes
    ----------
    x, gradient : Tensor
        Where the last step started, ``(B, *shape)``.
    matrix : Tensor
        ``H``, ``(B, n, n)``; zero before the first pair.
    known : Tensor of bool
        Whether there is a pair, ``(B,)``.
    stretch : Tensor
        Factor on the step, ``(B,)``; above 1 after steps without positive curvature.
    """

    x: Tensor
    gradient: Tensor
    matrix: Tensor
    known: Tensor
    stretch: Tensor


class DenseBFGS(Proposer):
    """BFGS steps ``d = H g`` with the whole matrix of each problem (Nocedal & Wright 2006, 6.17).

    ``H`` starts from the majorant's inverse, scaled to the first pair that has seen curvature:
    ``H_0 = c B^+`` with ``c = <s, y> / <y, B^+ y>`` (their Eq. 6.20); the first step is the
    majorant's own. Before each later update it is multiplied by ``c = <s, y> / <y, H y>`` where
    that is above 1: BFGS corrects curvature that is too small by itself, and one that is too large
    slowly (Al-Baali 1998 scales by this side alone, too). Unlike :class:`~learnmm.LimitedMemory`
    it forgets nothing: fewer steps, for memory and work of ``n^2`` per problem.

    Pairs without positive curvature are left out, and steps that follow are stretched, verified
    and shortened, as those of `LimitedMemory` are. Should rounding have spoilt ``H``, so that
    ``<y, H y>`` is not positive, it starts again from that pair. Where bounds hold unknowns, the
    step is that of the others with their block of ``H^-1``.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> def rosenbrock(x):
    ...     return 100 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2
    >>> x0 = torch.tensor([[-1.2, 1.0], [2.0, 2.0]], dtype=torch.float64)
    >>> result = lmm.minimize(rosenbrock, x0, proposer=lmm.proposers.DenseBFGS())
    >>> bool((result.fun < 1e-9).all()), bool(result.certificate.monotone.all())
    (True, True)
    """

    trials = LimitedMemory.trials
    reach = LimitedMemory.reach
    curvature_from_steps = True
    remembers_points = True

    def init_memory(self, x: Tensor) -> Inverse:
        """No pair."""
        batch, unknowns = len(x), x.shape[1:].numel()
        return Inverse(
            x=x.clone(),  # torch.compile would take a shared tensor for a special case
            gradient=torch.zeros_like(x),
            matrix=x.new_zeros(batch, unknowns, unknowns),
            known=torch.zeros(batch, dtype=torch.bool, device=x.device),
            stretch=x.new_ones(batch),
        )

    def observe(self, point: Point, memory: Inverse) -> Inverse:
        """Update with the pair of the step to this iterate."""
        with full_precision(point.x):
            move, change = point.x - memory.x, point.gradient - memory.gradient
            return updated(memory, point, move, change)

    def propose(self, point: Point, memory: Inverse) -> Step:
        """Apply ``H``, or take the majorant's own step before the first pair."""
        with full_precision(point.x):
            gradient = point.gradient
            step = times(memory.matrix, rows(gradient))
            if point.free is not None:
                step = kept_on_face(memory.matrix, step, rows(point.free))
            step = step.reshape(gradient.shape)
            if known(memory.known.all()) is not True:
                own = point.curvature.solve(gradient).to(gradient.dtype)
                step = torch.where(expand(memory.known, step), step, own)
            return Step(expand(memory.stretch, step) * step)


def updated(memory: Inverse, point: Point, move: Tensor, change: Tensor) -> Inverse:
    """The matrix with one more pair in it, where that has seen curvature.

    ``c H + s w^T + w s^T`` with ``w = ((1 + c <y, H y> / <s, y>) s / 2 - c H y) / <s, y>``.
    """
    length, grown = norm(move), norm(change)
    s, y = rows(move), rows(change)
    product = (s * y).sum(1)
    useful = has_curvature(product, length, grown)
    divisor = torch.where(useful, product, 1.0)
    matrix, along = memory.matrix, times(memory.matrix, y)
    bend = (y * along).sum(1)
    anew = useful & ~(memory.known & (bend > 0))
    if known(anew.any()) is not False:
        first = rows(point.curvature.solve(change).to(s.dtype))
        matrix = torch.where(anew[:, None, None], inverse_of(point.curvature, move), matrix)
        along = torch.where(anew[:, None], first, along)
        bend = torch.where(anew, (y * first).sum(1), bend)
    scale = torch.where(bend > 0, divisor / torch.where(bend > 0, bend, 1.0), 1.0)
    scale = torch.where(anew, scale, scale.clamp(min=1.0))
    share = (1 + scale * (bend / divisor))[:, None] / 2
    w = (share * s - scale[:, None] * along) / divisor[:, None]
    useful = useful & torch.isfinite(w).all(1) & torch.isfinite(scale)
    return Inverse(
        x=point.x,
        gradient=point.gradient,
        matrix=_risen(matrix, scale, s, w, useful),
        known=memory.known | useful,
        stretch=stretched(memory.stretch, useful, length),
    )


def _risen(matrix: Tensor, scale: Tensor, s: Tensor, w: Tensor, useful: Tensor) -> Tensor:
    """``c H + s w^T + w s^T`` where a pair is useful, ``H`` elsewhere."""
    s, w = (torch.where(useful[:, None], v, 0.0) for v in (s, w))
    scaled = torch.where(useful, scale, 1.0)[:, None, None] * matrix
    if torch.compiler.is_compiling():
        return scaled + (s[:, :, None] * w[:, None] + w[:, :, None] * s[:, None])
    return torch.baddbmm(scaled, torch.stack((s, w), 2), torch.stack((w, s), 1))


def inverse_of(curvature: Curvature, like: Tensor) -> Tensor:
    """``B^+`` on the flattened iterate, ``(B, n, n)``."""
    eye = torch.eye(like.shape[1:].numel(), dtype=like.dtype, device=like.device)
    if isinstance(curvature, ScalarCurvature | DiagonalCurvature):
        entries = curvature.solve(torch.ones_like(like)).to(like.dtype)
        return rows(entries)[:, :, None] * eye
    units = (row.expand(len(like), -1).reshape(like.shape) for row in eye)
    return torch.stack([rows(curvature.solve(e).to(like.dtype)) for e in units], 2)


def kept_on_face(matrix: Tensor, step: Tensor, free: Tensor) -> Tensor:
    """The step ``H g`` without moves of what is held, ``(B, n)``.

    ``H (g - l)`` for the ``l`` on what is held with ``H_hh l = (H g)_h``: a step of the inverse of
    that block of ``H^-1`` that belongs to what is free, for it is the block's Schur complement
    ``H_ff - H_fh H_hh^-1 H_hf``.

    Parameters
    ----------
    matrix : Tensor
        ``H``, ``(B, n, n)``.
    step : Tensor
        ``H g``, ``(B, n)``, for a ``g`` that is zero on what is held.
    free : Tensor of bool
        ``(B, n)``.
    """
    held = ~free
    both = held[:, :, None] & held[:, None, :]
    ones = torch.diag_embed(free).to(matrix.dtype)  # they leave what is free out
    block = torch.where(both, matrix, 0.0) + ones
    push, _ = torch.linalg.solve_ex(block, torch.where(held, step, 0.0))
    return torch.where(held, 0.0, step - times(matrix, push))


def rows(v: Tensor) -> Tensor:
    """``(B, *shape)`` as ``(B, n)``; of one unknown the shape may be ``()``."""
    return v.reshape(len(v), -1)


def times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """``(B, n, n)`` times ``(B, n)``; a sum where compiled, which fuses with what is around it."""
    if torch.compiler.is_compiling():
        return (matrices * vectors[:, None]).sum(2)
    return torch.bmm(matrices, vectors[:, :, None]).squeeze(2)
