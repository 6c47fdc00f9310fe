"""The law that the problems of a batch are independent."""

from __future__ import annotations

import torch
from torch import Tensor

from learnmm.checks.laws import LawViolation, require_points
from learnmm.objective import BatchFunction, CallableObjective, Objective
from learnmm.solve.raising import is_numerical
from learnmm.solve.safeguard import rounding_slack
from learnmm.solve.validation import listed
from learnmm.vectors import expand, peak

SHARES = (1e-2, 1e-4, 1e-6)
"""By how much a problem is moved to see who follows, relative to its largest entry."""


def assert_independent(objective: Objective | BatchFunction, x: Tensor) -> None:
    """Check that no problem's value follows when others are moved.

    For every binary digit of the number of a problem, those with a one are moved while those with
    a zero stay, and the other way round: each two problems are told apart by some digit. That is
    about ``2 log2(B)`` evaluations.

    Parameters
    ----------
    objective : Objective or callable
        ``(B, *shape) -> (B,)``.
    x : Tensor
        ``(B, *shape)``.

    Raises
    ------
    LawViolation
        With the problems that follow.

    Examples
    --------
    >>> import torch
    >>> from learnmm import checks
    >>> checks.assert_independent(lambda x: x.square().sum(1), torch.ones(3, 2))
    """
    require_points(x, least=2)
    if not isinstance(objective, Objective):
        objective = CallableObjective(objective)
    with torch.no_grad():
        value = objective.evaluate(x.clone()).value
        follow = torch.zeros_like(value, dtype=torch.bool)
        numbers = torch.arange(len(x), device=x.device)
        for digit in range((len(x) - 1).bit_length()):
            ones = (numbers >> digit) % 2 == 1
            for moved in (ones, ~ones):
                follow = follow | _followers(objective, x, value, moved)
    if bool(follow.any()):
        raise LawViolation(
            "the problems of a batch are independent, but the values of problems "
            f"{listed(follow)} change when others are moved; an objective (B, *shape) -> (B,) must "
            "not mix problems, as means over the batch and batch normalisation do"
        )


def _followers(objective: Objective, x: Tensor, value: Tensor, moved: Tensor) -> Tensor:
    """Which values change although only others are moved, ``(B,)``."""
    seeded = torch.Generator().manual_seed(0)
    noise = torch.randn(x.shape, generator=seeded, dtype=torch.float64).to(x)
    size = peak(x)
    for share in SHARES:
        step = share * expand(torch.where(size > 0, size, 1.0), noise) * noise
        try:
            there = objective.evaluate(torch.where(expand(moved, x), x + step, x)).value
        except Exception as error:
            if not is_numerical(error):
                raise
            continue  # outside of its domain: not so far
        # What is undefined at the start says nothing.
        same = ((there - value).abs() <= rounding_slack(value)) | ~torch.isfinite(value)
        return ~(same | moved)
    return torch.zeros_like(moved)
