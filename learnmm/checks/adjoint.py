"""The law of linear maps: the adjoint is one, and what their bounds rest on is large enough."""

from __future__ import annotations

import torch
from torch import Tensor

from learnmm.checks.laws import require, require_points, tolerance
from learnmm.linear.base import LinearMap
from learnmm.vectors import dot, norm

PROBES = 8
"""Pairs of random vectors."""


def assert_adjoint(
    linear: LinearMap, x: Tensor, *, generator: torch.Generator | None = None
) -> None:
    """Check the products of a linear map by dot tests with random vectors.

    Laws, each up to rounding: ``<A u, v> = <u, A^T v>``; ``A (u + 2 w) = A u + 2 A w``; a norm
    that no ``u`` exceeds; and where ``|A|`` is known, ``|A u| <= |A| |u|`` entry by entry and
    ``<|A| u, v> = <u, |A|^T v>``.

    Parameters
    ----------
    linear : LinearMap
        The map.
    x : Tensor
        Gives shape ``(B, *shape)``, dtype and device of iterates; its values are not used. In
        float32 rounding hides more.
    generator : torch.Generator, optional
        Of the vectors. Default: the same on every run.

    Raises
    ------
    LawViolation
        With the law and the size of the error.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> roll = lambda x: x.roll(1, 1)
    >>> A = lmm.linear.LinearOperator(roll, roll, (5,), (5,), norm=1.0)
    >>> lmm.checks.assert_adjoint(A, torch.zeros(1, 5).double())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    learnmm.checks.laws.LawViolation: <A u, v> = <u, A^T v>: problem ...
    """
    require_points(x, finite=False)
    if generator is None:
        generator = torch.Generator(x.device).manual_seed(0)

    def gaussian(shape: torch.Size) -> Tensor:
        return torch.randn(PROBES, *shape[1:], dtype=x.dtype, device=x.device, generator=generator)

    with torch.no_grad():
        u, w = gaussian(x.shape), gaussian(x.shape)
        image = linear(u)
        v = gaussian(image.shape)
        relative = tolerance(x)
        _require_adjoint("A", u, v, image, linear.adjoint(v))
        both = linear(u + 2 * w) - image - 2 * linear(w)
        size = norm(image) + norm(linear(w))
        require(norm(both), relative * size, "A (u + 2 w) = A u + 2 A w")
        excess = norm(image) - linear.norm(u) * norm(u)
        require(excess, relative * norm(image), "|A u| <= norm |u|")
        if linear.absolute is not None:
            apply, adjoint = linear.absolute.apply, linear.absolute.adjoint
            above = image.abs() - apply(u.abs())
            largest = above.reshape(PROBES, -1).amax(1)
            require(largest, relative * norm(image), "|A u| <= |A| |u| in every entry")
            _require_adjoint("|A|", u, v, apply(u), adjoint(v))


def _require_adjoint(name: str, u: Tensor, v: Tensor, image: Tensor, back: Tensor) -> None:
    error = (dot(image, v) - dot(u, back)).abs()
    size = norm(image) * norm(v) + norm(u) * norm(back)
    require(error, tolerance(u) * size, f"<{name} u, v> = <u, {name}^T v>")
