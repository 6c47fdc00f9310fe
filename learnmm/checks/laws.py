"""What all checks share: the error they raise, their tolerance, dense matrices of operators."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from learnmm.levels import require_tensor
from learnmm.vectors import norm

TOLERANCE = 4.5e5
"""Relative tolerance of linear algebra in units of eps: 1e-10 in float64."""

DENSE_UNKNOWNS = 200
"""Up to this many unknowns the checks form matrices ``(B, n, n)`` where they have a choice."""


class LawViolation(AssertionError):
    """A law of the library does not hold; the message says for which problem and by how much."""


def tolerance(like: Tensor) -> float:
    """Relative tolerance for the dtype of `like`."""
    return TOLERANCE * torch.finfo(like.dtype).eps


def require_points(x: Tensor, *, finite: bool = True, least: int = 1) -> None:
    """Raise unless there is something to check: a check of nothing would pass.

    Raises
    ------
    TypeError
        If ``x`` is no tensor of real or complex floating-point numbers.
    ValueError
        If it has fewer than so many problems, or no unknowns; or numbers that are not finite,
        unless only its shape is of use.
    """
    require_tensor("x", x)
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"x must have floating-point numbers, got {x.dtype}")
    if x.dim() == 0 or len(x) < least or x.numel() == 0:
        raise ValueError(
            f"x must be (B, *shape), of at least {least} problems with unknowns, or nothing is "
            f"checked, got shape {tuple(x.shape)}"
        )
    if finite and not bool(torch.isfinite(x).all()):
        bad = (~torch.isfinite(x)).reshape(len(x), -1).any(1)
        raise ValueError(
            "x must be finite, or nothing is checked, got NaN or infinity in problems "
            f"{bad.nonzero().flatten().tolist()}"
        )


def require(error: Tensor, allowed: Tensor | float, law: str) -> None:
    """Raise unless ``error <= allowed`` for every problem, shape ``(B,)``; NaN counts as broken."""
    bound = torch.as_tensor(allowed, dtype=error.dtype, device=error.device).expand_as(error)
    broken = ~(error <= bound)
    if bool(broken.any()):
        worst = int(
            torch.where(broken, torch.nan_to_num(error - bound, nan=torch.inf), -1).argmax()
        )
        raise LawViolation(
            f"{law}: problem {worst} is off by {float(error[worst]):.3g}, "
            f"allowed {float(bound[worst]):.3g} ({int(broken.sum())} of {len(error)} problems)"
        )


def dense(operator: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Matrices ``(B, n, n)`` of a linear operator on ``(B, *shape)``, column by column."""
    batch, n = like.shape[0], like[0].numel()
    units = torch.eye(n, dtype=like.dtype, device=like.device).reshape(n, *like.shape[1:])
    columns = [operator(unit.expand_as(like)).reshape(batch, n) for unit in units]
    return torch.stack(columns, -1)


def spectral_norm(matrices: Tensor) -> Tensor:
    """Largest singular value of each matrix, ``(B,)``."""
    size: Tensor = torch.linalg.matrix_norm(matrices, 2)
    return size


def require_equal(actual: Tensor, expected: Tensor, scale: Tensor, law: str) -> None:
    """Raise unless both agree per problem to the relative tolerance of `scale`, ``(B,)``."""
    if actual.shape != expected.shape:
        raise LawViolation(f"{law}: got {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    require(norm(actual - expected), tolerance(actual) * scale, law)
