"""Multipliers into their interval, in the metric of the majorant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from learnmm.curvature import Curvature, dot, expand, left_multiply


class Proposal(NamedTuple):
    """A step ``d = P g`` and its inner products, per problem ``(B,)``.

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
    """

    step: Tensor
    slope: Tensor
    bend: Tensor
    own: Tensor
    most: Tensor


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
    return Proposal(step, slope, slope, slope, slope)


def scaled_step(
    curvature: Curvature, gradient: Tensor, multipliers: Tensor, basis: Tensor | None = None
) -> Proposal:
    """``d = B^{-1/2} M B^{-1/2} g`` with ``M = diag(m)``.

    With a `basis` ``Q`` of orthonormal columns ``(n, r)``, multipliers ``(B, r + 1, *rest)`` act
    on its coordinates and, the last of them, on what lies outside of it:
    ``M = Q diag(m) Q^T + m_last (I - Q Q^T)``. Its eigenvalues are the multipliers either way.
    """
    whitened = curvature.power(gradient, -0.5)
    if basis is None:
        scaled = multipliers * whitened
    else:
        inner = left_multiply(basis.mT, whitened)  # (B, r, *rest)
        outside = whitened - left_multiply(basis, inner)
        scaled = left_multiply(basis, multipliers[:, :-1] * inner) + multipliers[:, -1:] * outside
    slope, own = dot(whitened, scaled), dot(whitened, whitened)
    return Proposal(
        step=curvature.power(scaled, -0.5),
        slope=slope,
        bend=dot(scaled, scaled),
        own=own,
        most=torch.fmax(slope, own),
    )


def given_step(
    curvature: Curvature, gradient: Tensor, step: Tensor, own: Tensor, unshortened: Tensor
) -> Proposal:
    """A step from elsewhere, measured by the majorant.

    `own` is ``<g, B^+ g>``, `unshortened` the slope of what was proposed at first.
    """
    slope = dot(gradient, step)
    return Proposal(step, slope, curvature.quad(step), own, torch.fmax(unshortened, own))


def cut_to_region(proposal: Proposal, step_norm: Tensor, radius: Tensor) -> tuple[Proposal, Tensor]:
    """Shorten steps longer than ``radius``; also says which ones were."""
    cut = step_norm > radius
    factor = torch.where(cut, radius / step_norm, 1.0)
    step, slope, bend, *rest = proposal
    shorter = Proposal(expand(factor, step) * step, factor * slope, factor**2 * bend, *rest)
    return shorter, cut
