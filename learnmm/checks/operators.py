"""Laws of curvature operators, and of multipliers projected in their metric."""

from __future__ import annotations

import torch
from torch import Tensor

from learnmm.checks.laws import (
    TOLERANCE,
    dense,
    require,
    require_equal,
    require_points,
    spectral_norm,
    tolerance,
)
from learnmm.curvature import Curvature
from learnmm.proposers.base import Multipliers
from learnmm.solve.projection import Projection, multiplied_step
from learnmm.vectors import norm

INVERSE_ROUNDING = 32.0
"""Rounding error of an inverse's entries in units of eps times the condition number."""

HOSTILE = (torch.nan, torch.inf, -torch.inf, -1.0, 0.0, 1e-300, 0.5, 1.0, 1e300)
"""Multipliers that a broken network might propose."""


def assert_curvature(curvature: Curvature, like: Tensor) -> None:
    """Check an operator against the dense matrix that its `apply` amounts to.

    Laws: ``B`` is symmetric and positive semidefinite; ``power(power(v, p), q) = power(v, p + q)``;
    ``solve(apply(v)) = v`` on the range; ``quad(v) = <v, B v>``; `diagonal` is that of the matrix;
    ``B <= largest() I``; ``scaled(c)`` is ``c B``; an operator that is finite and not zero is
    `valid`. Each to 1e-10 in float64, relative to the size of what is compared and, for inverses,
    to the condition number.

    Parameters
    ----------
    curvature : Curvature
        One operator per problem.
    like : Tensor
        Gives the shape ``(B, *shape)``, dtype and device of the vectors; a few unknowns, since
        matrices ``(B, n, n)`` are formed.

    Raises
    ------
    LawViolation
        With the law, the worst problem and the size of the error.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm import checks
    >>> curvature = lmm.curvature.ScalarCurvature(torch.tensor([2.0, 3.0]))
    >>> checks.assert_curvature(curvature, torch.ones(2, 4))
    """
    require_points(like, finite=False)
    name = type(curvature).__name__
    v, n = _vectors(like), like[0].numel()
    matrix = dense(curvature.apply, like)
    size = spectral_norm(matrix)
    relative = tolerance(like)
    require(spectral_norm(matrix - matrix.mT), relative * size, f"{name} is symmetric")
    eigenvalues = torch.linalg.eigvalsh((matrix + matrix.mT) / 2)
    require(-eigenvalues[:, 0], relative * size, f"{name} is positive semidefinite")

    applied = (matrix @ v.reshape(len(v), n, 1)).reshape(v.shape)
    require_equal(curvature.apply(v), applied, size * norm(v), f"{name}.apply is linear")
    for p in (0.5, 0.25):
        twice = curvature.power(curvature.power(v, p), 1 - p)
        require_equal(twice, applied, size * norm(v), f"{name}.power({p}) then power({1 - p})")
    tiny = 8 * n * torch.finfo(like.dtype).eps * size[:, None]
    smallest = torch.where(eigenvalues > tiny, eigenvalues, torch.inf).amin(1)
    condition = (size / smallest).clamp(min=1.0)
    # An inverse amplifies rounding by the condition; the rest is the tolerance.
    spread = 1 + INVERSE_ROUNDING * n * condition / TOLERANCE
    again = curvature.apply(curvature.solve(applied))
    require_equal(again, applied, spread * size * norm(v), f"apply after solve of {name}")
    inside = curvature.solve(applied)
    for law, back in (
        ("solve after apply", curvature.solve(curvature.apply(inside))),
        ("power(-1/2) after power(1/2)", curvature.power(curvature.power(inside, 0.5), -0.5)),
    ):
        require_equal(back, inside, spread * norm(v), f"{law} of {name}, on the range")
    roots = curvature.power(curvature.power(applied, -0.5), -0.5)
    require_equal(roots, inside, spread * norm(v), f"power(-1/2) twice of {name} is solve")

    flat = v.reshape(len(v), -1)
    quad = (flat * applied.reshape(len(v), -1)).sum(1)
    scale = size * norm(v) ** 2
    require((curvature.quad(v) - quad).abs(), relative * scale, f"{name}.quad")
    diagonal = torch.diagonal(matrix, dim1=1, dim2=2).reshape(like.shape)
    require_equal(curvature.diagonal(like), diagonal, size * n**0.5, f"{name}.diagonal")
    largest = curvature.largest()
    require(eigenvalues[:, -1] - largest, relative * size, f"{name}.largest is an upper bound")
    factors = torch.linspace(0.5, 2.0, len(v), dtype=v.dtype, device=v.device)
    for factor in (torch.full_like(factors, 3.0), factors):
        scaled = dense(curvature.scaled(factor).apply, like)
        error = spectral_norm(scaled - factor[:, None, None] * matrix)
        require(error, relative * factor * size, f"{name}.scaled")
    proper = torch.isfinite(matrix).all(2).all(1) & (size > 0)
    require((proper & ~curvature.valid()).to(size), 0.0, f"{name}.valid")


def assert_interval(
    projection: Projection, curvature: Curvature, like: Tensor, multipliers: Tensor | None = None
) -> None:
    """Check ``lower B^+ <= P <= upper B^+`` for the step ``P g`` that multipliers lead to.

    Parameters
    ----------
    projection : Projection
        The interval.
    curvature : Curvature
        ``B``, one operator per problem.
    like : Tensor
        Gives the shape ``(B, *shape)``, dtype and device; a few unknowns.
    multipliers : Tensor, optional
        What a component proposes, the shape of `like`. Default: NaN, infinities, negative and
        huge numbers by turns.

    Raises
    ------
    LawViolation
        With the side that fails, the worst problem and the size of the error.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm import checks
    >>> curvature = lmm.curvature.DiagonalCurvature(torch.tensor([[1.0, 4.0, 9.0]]))
    >>> checks.assert_interval(lmm.Projection(0.1, 1.9), curvature, torch.ones(1, 3))
    """
    require_points(like, finite=False)
    if multipliers is None:
        hostile = torch.tensor(HOSTILE, dtype=like.dtype, device=like.device)
        multipliers = hostile[torch.arange(like.numel()) % len(hostile)].reshape(like.shape)
    inside = projection(multipliers)
    step = dense(lambda v: multiplied_step(curvature, v, Multipliers(inside), None).step, like)
    inverse = dense(curvature.solve, like)
    allowed = tolerance(like) * spectral_norm(inverse)
    for law, difference in (
        (f"{projection.lower} B^+ <= P", step - projection.lower * inverse),
        (f"P <= {projection.upper} B^+", projection.upper * inverse - step),
    ):
        least = torch.linalg.eigvalsh((difference + difference.mT) / 2)[:, 0]
        require(-least, allowed, law)
    require(spectral_norm(step - step.mT), allowed, "P is symmetric")


def _vectors(like: Tensor) -> Tensor:
    """One direction per problem that no coordinate is orthogonal to, the same on every run."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(like.shape, dtype=torch.float64, generator=generator)
    return v.to(like)
