"""Multipliers into their interval, in the metric of the majorant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.curvature import Curvature
from learnmm.nested import mapped
from learnmm.plain import make_plain, require_numbers
from learnmm.proposers.base import Multipliers, Step
from learnmm.vectors import dot, expand, left_multiply, norm


class Proposal(NamedTuple):
    """A step ``d = P g`` that may be tried, and its inner products, per problem ``(B,)``.

    The majorant predicts the decrease ``slope - bend / 2`` for the candidate ``x - d``.

    Attributes
    ----------
    step : Tensor
        ``d``, shape of the iterate.
    slope : Tensor
        ``<g, P g>``.
    bend : Tensor
        ``<P g, B P g>``; an upper bound of it where ``B`` is singular and multipliers are not 1.
    own : Tensor
        ``<g, B^+ g>``, the slope of the majorant's own step.
    most : Tensor
        The largest slope of all steps that there are to be tried at the iterate.
    bounded : Tensor of bool
        Whether the step rests on the bound: the majorant's own, or multipliers of it.
    clipped : Tensor
        Share of multipliers that the projection changed.
    free : Tensor of bool or None
        With a penalty, the unknowns that the step moves, shape of the iterate: the majorant's own
        step takes the others, see :mod:`learnmm.solve.composite`. None: all.
    target : Tensor or None
        Where the prox of a forward step leads.
    """

    step: Tensor
    slope: Tensor
    bend: Tensor
    own: Tensor
    most: Tensor
    bounded: Tensor
    clipped: Tensor
    free: Tensor | None = None
    target: Tensor | None = None

    def detached(self) -> Proposal:
        """The same, with a graph behind the step alone: products decide and report."""
        products: Proposal = mapped(Tensor.detach, self)
        return products._replace(step=self.step, target=self.target)

    def scaled(self, factor: Tensor) -> Proposal:
        """The step times a factor ``(B,)``."""
        return self._replace(
            step=expand(factor, self.step) * self.step,
            slope=factor * self.slope,
            bend=factor**2 * self.bend,
        )


@dataclass(frozen=True)
class Projection:
    """Confines multipliers to ``[lower, upper]``.

    With ``P = B^{-1/2} diag(m) B^{-1/2}`` this gives ``lower B^-1 <= P <= upper B^-1`` by
    construction, whatever proposed ``m``; for a diagonal ``B`` it is the elementwise interval
    ``[lower / b_i, upper / b_i]`` of MM-Net Eq. 13.

    Parameters
    ----------
    lower : float
        Positive; keeps every direction alive (convergence).
    upper : float
        At most 1.9998. Descent with factor ``1 - upper/2`` follows from a valid bound.

    Raises
    ------
    ValueError
        If the interval is not ``0 < lower <= 1 <= upper <= 1.9998``.
    """

    lower: float = 1e-3
    upper: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an interval without descent, or one that excludes the majorant's own step."""
        make_plain(self)
        require_numbers(self)
        if not 0 < self.lower <= 1 <= self.upper <= 1.9998:
            raise ValueError(
                "the interval must satisfy 0 < lower <= 1 <= upper <= 1.9998 (from 2 on no bound "
                f"gives descent), got [{self.lower}, {self.upper}]"
            )

    def __call__(self, multipliers: Tensor) -> Tensor:
        """Clamp; a NaN becomes 1, the majorant's own choice."""
        return torch.nan_to_num(multipliers, nan=1.0, posinf=self.upper, neginf=self.lower).clamp(
            self.lower, self.upper
        )


def own_step(curvature: Curvature, gradient: Tensor) -> Proposal:
    """Step of the majorant itself, ``d = B^+ g``: the minimizer of ``Q``."""
    step = curvature.solve(gradient)
    slope = dot(gradient, step)
    bounded, clipped = torch.ones_like(slope, dtype=torch.bool), torch.zeros_like(slope)
    return Proposal(step, slope, slope, slope, slope, bounded, clipped)


def multiplied_step(
    curvature: Curvature, gradient: Tensor, proposed: Multipliers, projection: Projection | None
) -> Proposal:
    """``d = B^{-1/2} M B^{-1/2} g`` with ``M = diag(m)`` and ``m`` in its interval.

    With a basis ``Q`` the multipliers act on its coordinates and, the last of them, on what lies
    outside of it: ``M = Q diag(m) Q^T + m_last (I - Q Q^T)``. Its eigenvalues are the multipliers
    either way.
    """
    whitened = curvature.power(gradient, -0.5)
    values, basis = proposed.values.to(gradient.dtype), proposed.basis
    multipliers = values if projection is None else projection(values)
    if basis is None:
        scaled = multipliers * whitened
    else:
        inner = left_multiply(basis.mT, whitened)  # (B, r, *rest)
        outside = whitened - left_multiply(basis, inner)
        scaled = left_multiply(basis, multipliers[:, :-1] * inner) + multipliers[:, -1:] * outside
    slope, own = dot(whitened, scaled), dot(whitened, whitened)
    changed = (multipliers != values).reshape(len(values), -1)
    return Proposal(
        step=curvature.power(scaled, -0.5),
        slope=slope,
        bend=dot(scaled, scaled),
        own=own,
        most=torch.fmax(slope, own),
        bounded=torch.ones_like(slope, dtype=torch.bool),
        clipped=changed.to(slope.dtype).mean(1),
    )


def whole_step(
    curvature: Curvature, gradient: Tensor, proposed: Step, *, verified: bool
) -> Proposal:
    """A step from elsewhere, measured by the majorant; `verified`: and beside its own step."""
    step = proposed.values.to(gradient.dtype)
    slope = dot(gradient, step)
    own = dot(gradient, curvature.solve(gradient)) if verified else torch.zeros_like(slope)
    return Proposal(
        step=step,
        slope=slope,
        bend=curvature.quad(step),
        own=own,
        most=torch.fmax(slope, own) if verified else slope,
        bounded=torch.zeros_like(slope, dtype=torch.bool),
        clipped=torch.zeros_like(slope),
    )


def cut(proposal: Proposal, longest: Tensor | None) -> tuple[Proposal, Tensor, Tensor]:
    """Shorten steps longer than ``longest``; also returns their lengths and which ones were."""
    length = norm(proposal.step)
    if longest is None:
        return proposal, length, torch.zeros_like(proposal.bounded)
    long = length > longest
    # Quotients of infinite lengths, though not taken, have no gradient.
    limit, whole = torch.where(long, longest, 1.0), torch.where(long, length, 1.0)
    return proposal.scaled(limit / whole), torch.where(long, longest, length), long
