"""Accept, fall back, enlarge: descent that does not depend on the kind of bound.

A rejected candidate costs one evaluation and nothing else: the problem keeps its iterate, and the
next step tries again more cautiously. So a step evaluates once, whatever happens, and problems of
a batch can be at different trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from learnmm.plain import integer, make_plain, require_numbers

ROUNDING = 16.0
"""Rounding error of a sum of non-negative terms, in units of ``eps`` times the sum."""


def rounding_slack(value: Tensor, noise: float = 0.0, moved: Tensor | float = 0.0) -> Tensor:
    """Size below which a difference of objective values means nothing, ``(B,)``.

    ``16 eps |f| + moved + noise``. The first term is the error of the last sum: torch adds in
    blocks, so it grows with the logarithm of their number. `moved` is by how much the rounding of
    what ``f`` is made of moves it, to first order and without cancellation. For a step ``d`` from
    ``x``, and terms ``f_j(A_j x + c_j)``, the optimizer takes

    ``eps (|g| (|x| + |d|) + sum_j |grad f_j| (|A_j x + c_j| + |A_j|_F (|x| + |d|)))``:

    the point ``x - d``, and every product that makes it (multipliers, singular vectors), is off by
    ``eps`` relatively; so is every row ``a_i x + c_i``, against the size of what it sums, which is
    at most ``|a_i| |x|``. A product of ``n`` terms errs by up to ``n eps``, but errors are as
    often up as down: with high probability it is ``sqrt(n)`` (Higham & Mary 2019), less in blocks,
    and the errors of ``m`` rows add up as a random walk, which leaves ``sqrt(m)`` to spare in the
    sum of their sizes above. Where large terms cancel in a way that only the caller knows, `noise`
    says so.

    Parameters
    ----------
    value : Tensor
        ``f``, ``(B,)``.
    noise : float
        :attr:`Safeguard.noise`.
    moved : Tensor or float
        ``(B,)``, in units of ``f``.
    """
    slack = ROUNDING * torch.finfo(value.dtype).eps * value.abs() + moved
    return slack + noise if noise else slack


@dataclass(frozen=True)
class Safeguard:
    """Verify every step; retry rejected problems with the majorant alone, then enlarged.

    Parameters
    ----------
    sufficient : float
        ``sigma`` in the test ``f(x - d) <= f(x) - sigma max(<g, P g>, lower <g, B^-1 g>)``. The
        second term makes ``sum |g_k|^2`` finite even for proposals without an interval.
    growth : float
        Factor on the curvature from one trial to the next.
    trials : int
        Enlarged trials before a problem is `STALLED`.
    noise : float
        Absolute error of objective values beyond their own rounding. Where large terms cancel in
        ``f``, it is about ``16 eps`` times the largest of them; with 0, steps near such an
        optimum are refused, and counted as violations, for nothing but rounding.

    Notes
    -----
    What is promised is about computed values: no accepted step raises the value that the objective
    returned, in its dtype. The function behind it may rise by as much as that value is off. For
    normal numbers this is relative, about :func:`rounding_slack`. Where values, or what they are
    made of, are subnormal (below 1e-38 in float32, 1e-308 in float64), the spacing of numbers no
    longer shrinks with them, and digits are lost one by one: there float32 values have been seen to
    fall where float64 shows a rise of 1e-46. No promise reaches below that spacing; scale the
    objective if it matters.
    """

    sufficient: float = 1e-4
    growth: float = 2.0
    trials: int = 30
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings without descent or end."""
        make_plain(self)
        require_numbers(self)
        if not 0 < self.sufficient <= 1e-4:
            raise ValueError(f"sufficient must be in (0, 1e-4], got {self.sufficient}")
        if not (self.growth > 1 and math.isfinite(self.growth)):
            raise ValueError(f"growth must be above 1 and finite, got {self.growth}")
        integer("trials", self.trials, 1)
        if self.trials * math.log10(self.growth) > 30:
            raise ValueError(
                "growth ** trials must not exceed 1e30, or curvatures overflow, got "
                f"{self.growth} ** {self.trials}"
            )
        if not (self.noise >= 0 and math.isfinite(self.noise)):
            raise ValueError(f"noise must be non-negative and finite, got {self.noise}")


def accepts(
    safeguard: Safeguard | None, value: Tensor, candidate: Tensor, required: Tensor, slack: Tensor
) -> Tensor:
    """Whether candidates lower the objective by enough, ``(B,)``.

    Parameters
    ----------
    safeguard : Safeguard or None
        None accepts everything.
    value, candidate : Tensor
        Objective at the iterate and at the candidate.
    required : Tensor
        ``max(<g, P g>, lower <g, B^-1 g>)``.
    slack : Tensor
        Rounding error of a difference of values.
    """
    if safeguard is None:
        return torch.ones_like(value, dtype=torch.bool)
    # Strictly no increase; rounding excuses only a missing part of the sufficient decrease.
    enough = candidate <= value - safeguard.sufficient * required + slack
    return enough & (candidate <= value)


@dataclass(frozen=True)
class Relaxation:
    """Adapt a factor on the *uncertain* part of the curvature, per problem.

    After an accepted step the factor moves towards what the step measured: the curvature seen
    along it over the curvature assumed, times a margin, within ``[shrink, grow]`` per step. It
    grows too after a step that was taken but fell short of its prediction: otherwise a run of
    lucky, far too long steps leaves the iterate where nothing works. After an enlarged trial was
    needed it keeps the enlargement.

    Parameters
    ----------
    shrink, grow : float
        Smallest and largest factor of one update.
    margin : float
        On the measured curvature, since the next direction may be more curved.
    least, most : float
        Range of the factor.
    """

    shrink: float = 0.1
    grow: float = 4.0
    margin: float = 1.0
    least: float = 1e-6
    most: float = 1e4

    def __post_init__(self) -> None:
        """Refuse factors that cannot adapt."""
        make_plain(self)
        require_numbers(self)
        if not (
            0 < self.shrink <= 1 <= self.grow
            and self.margin > 0
            and 0 < self.least <= 1 <= self.most
        ):
            raise ValueError(
                "Relaxation expects 0 < shrink <= 1 <= grow, margin > 0 and 0 < least <= 1 <= "
                f"most, got shrink={self.shrink}, grow={self.grow}, margin={self.margin}, "
                f"least={self.least}, most={self.most}"
            )

    def update(
        self,
        factor: Tensor,
        accepted: Tensor,
        enlargement: Tensor,
        seen: Tensor,
        assumed: Tensor,
    ) -> Tensor:
        """Return the next factor, ``(B,)``.

        Parameters
        ----------
        factor : Tensor
            Current factor.
        accepted : Tensor of bool
            Whether the candidate was taken; otherwise the factor stays.
        enlargement : Tensor
            Factor the safeguard had put on the whole curvature, at least 1.
        seen, assumed : Tensor
            ``<d, H d>`` measured along the step and ``<d, B d>``.
        """
        ratio = torch.where(assumed > 0, seen / torch.where(assumed > 0, assumed, 1.0), 1.0)
        ratio = torch.nan_to_num(self.margin * ratio, nan=1.0).clamp(self.shrink, self.grow)
        moved = torch.where(enlargement > 1, enlargement, ratio) * factor
        return torch.where(accepted, moved, factor).clamp(self.least, self.most)
