"""The law of pulled-back curvatures: ``A^T C A <= B``, however many unknowns there are."""

from __future__ import annotations

import torch
from torch import Tensor

from learnmm.checks.laws import LawViolation, require_points
from learnmm.curvature import Curvature, ScalarCurvature
from learnmm.linear.base import LinearMap
from learnmm.plain import integer
from learnmm.vectors import expand, norm

ROUNDING = 64.0
"""Rounding error of ``A v`` in units of ``eps |A| |v|``."""

POWERS = 5
"""Products by which the largest ``|A v|`` is found."""


def assert_dominates(
    curvature: Curvature,
    linear: LinearMap,
    x: Tensor,
    inner: Curvature | None = None,
    *,
    steps: int = 20,
    generator: torch.Generator | None = None,
) -> None:
    """Look for a direction in which ``B`` is smaller than ``A^T C A``.

    Law: ``<A v, C A v>^1/2 <= <v, B v>^1/2`` for every ``v``, up to the rounding of ``A v``, which
    is 64 ``eps`` times the largest ``<A u, C A u>^1/2`` found times ``|v|``. The law is one of
    lengths: forms ``<v, B v>`` may differ by ``1e-8`` of the largest and be wrong by far.

    The directions are random at first, and then improved as in Lanczos's method, by the product
    ``(B + mu I)^-1 A^T C A``, which strengthens those in which ``B`` is too small: the weakest in a
    few steps, from products alone. So it works with thousands of unknowns and in float32.

    Parameters
    ----------
    curvature : Curvature
        ``B``, one operator per problem.
    linear : LinearMap
        ``A``.
    x : Tensor
        Gives shape ``(B, *shape)``, dtype and device of the directions. More problems are more
        directions.
    inner : Curvature, optional
        ``C``. Default: the identity.
    steps : int
        Products to use.
    generator : torch.Generator, optional
        Of the first directions. Default: the same on every run.

    Raises
    ------
    LawViolation
        With the worst problem, and both lengths.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm import checks
    >>> A, x = lmm.linear.MatrixMap(torch.tensor([[1.0, 0.0], [0.0, 0.01]])), torch.zeros(1, 2)
    >>> one = lmm.curvature.ScalarCurvature(torch.ones(1))
    >>> checks.assert_dominates(A.pull_back(one, x), A, x)
    >>> dropped = lmm.curvature.DiagonalCurvature(torch.tensor([[1.0, 0.0]]))
    >>> checks.assert_dominates(dropped, A, x)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    learnmm.checks.laws.LawViolation: A^T C A <= B: problem 0 has |A v| = 0.01 ...
    """
    require_points(x, finite=False)
    steps = integer("steps", steps, 1)
    if generator is None:
        generator = torch.Generator(x.device).manual_seed(0)
    if inner is None:
        inner = ScalarCurvature(x.new_ones(x.shape[0]))
    eps = torch.finfo(x.dtype).eps
    with torch.no_grad():
        v = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        largest = _largest(linear, inner, v)
        for _ in range(steps):
            v = v * expand(1 / norm(v).clamp(min=torch.finfo(x.dtype).tiny), v)
            image = linear(v)
            length = inner.quad(image).clamp(min=0).sqrt()
            largest = torch.maximum(largest, length)
            allowed = curvature.quad(v).clamp(min=0).sqrt() + ROUNDING * eps * largest
            _require(length, allowed)
            pulled = linear.adjoint(inner.apply(image))
            # (B + mu I)^-1, with mu at the square of what rounding hides. What B takes for flat is
            # left after its range is taken out, and the rounding of that, and the rounding of that.
            # Roots double the digits in which the weak part of the range can be told apart.
            flat = pulled
            for _ in range(3):
                flat = flat - curvature.power(curvature.power(flat, 0.5), -0.5)
            level = (ROUNDING * eps * largest).square().clamp(min=torch.finfo(x.dtype).tiny)
            v = curvature.solve(pulled) + expand(1 / level, flat) * flat


def _largest(linear: LinearMap, inner: Curvature, v: Tensor) -> Tensor:
    """About the largest ``<A u, C A u>^1/2`` for unit ``u``, by the power method, ``(B,)``.

    What rounding hides is a share of it; a random direction may chance to be one that ``A`` hardly
    sees, and the next ones are looked for where ``B`` is weak.
    """
    largest = v.new_zeros(v.shape[0])
    for _ in range(POWERS):
        v = v * expand(1 / norm(v).clamp(min=torch.finfo(v.dtype).tiny), v)
        image = linear(v)
        largest = torch.maximum(largest, inner.quad(image).clamp(min=0).sqrt())
        v = linear.adjoint(inner.apply(image))
    return largest


def _require(length: Tensor, allowed: Tensor) -> None:
    broken = ~(length <= allowed)
    if bool(broken.any()):
        i = int(torch.where(broken, torch.nan_to_num(length / allowed, nan=torch.inf), 0).argmax())
        raise LawViolation(
            f"A^T C A <= B: problem {i} has |A v| = {float(length[i]):.6g} in the norm of C for a "
            f"unit v, where B and rounding allow {float(allowed[i]):.6g} ({int(broken.sum())} of "
            f"{len(length)} problems)"
        )
