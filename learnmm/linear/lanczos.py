"""Lanczos's method on a batch of symmetric operators, and what its Ritz values bound."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from learnmm.vectors import dot, expand, norm

SHARE = 0.25
"""Largest share of the top eigenvalue that `top_bound` may have to add."""


def log_term(n: int, failure_probability: float) -> float:
    """``ln(1.648 sqrt(n) / delta)`` of Kuczynski & Wozniakowski 1992, Theorem 4.2."""
    return math.log(1.648 * math.sqrt(n) / failure_probability)


def top_bound(
    product: Callable[[Tensor], Tensor], start: Tensor, failure_probability: float
) -> Tensor:
    """Upper bound of the largest eigenvalue of positive semidefinite operators, ``(B,)``.

    With probability ``1 - delta`` over a Gaussian start, ``k`` steps on order ``n`` leave
    ``lmax <= ritz_max / (1 - eps)``, ``sqrt(eps) = ln(1.648 sqrt(n) / delta) / (2 k - 1)``
    (Kuczynski & Wozniakowski 1992, Theorem 4.2). Steps are taken until ``eps <= 1/4``; after ``n``
    of them the Ritz values are exact.

    Parameters
    ----------
    product : callable
        ``v -> H v`` for ``(B, *shape)``.
    start : Tensor
        Gaussian, ``(B, *shape)``.
    failure_probability : float
        ``delta`` in (0, 1).
    """
    n = start[0].numel()
    term = log_term(n, failure_probability)
    steps = math.ceil((term / math.sqrt(SHARE) + 1) / 2)
    if steps >= n:
        return ritz_extremes(product, start, n)[1]
    share = (term / (2 * steps - 1)) ** 2
    return ritz_extremes(product, start, steps)[1] / (1 - share)


def start_vector(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gaussian direction, the same for every problem of the batch, shape ``(B, *shape)``."""
    device = x.device if generator is None else generator.device
    v = torch.randn(x.shape[1:], dtype=x.dtype, device=device, generator=generator)
    return v.to(x.device).expand_as(x)


def ritz_extremes(
    product: Callable[[Tensor], Tensor], start: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Smallest and largest Ritz value after Lanczos with full reorthogonalization, ``(B,)`` each.

    Parameters
    ----------
    product : callable
        ``v -> H v`` for ``(B, *shape)``.
    start : Tensor
        ``(B, *shape)``, not zero.
    steps : int
        Products to use.
    """
    batch = start.shape[0]
    basis = (start / expand(norm(start), start)).reshape(batch, 1, -1)
    diagonal: list[Tensor] = []
    off_diagonal: list[Tensor] = []
    alive = torch.ones(batch, dtype=torch.bool, device=start.device)
    for k in range(steps):
        v = basis[:, -1]
        w = product(v.reshape(start.shape)).reshape(batch, -1)
        diagonal.append(torch.where(alive, dot(v, w), diagonal[0] if diagonal else dot(v, w)))
        if k + 1 == steps:
            break
        for _ in range(2):  # twice is enough for orthogonality to rounding
            w = w - ((basis @ w[:, :, None]).mT @ basis)[:, 0]
        size = norm(w)
        scale = torch.stack(diagonal).abs().amax(0) + torch.finfo(w.dtype).tiny
        if off_diagonal:
            scale = torch.maximum(scale, torch.stack(off_diagonal).amax(0))
        # An exhausted Krylov space: what follows is padded with a copy of the first Rayleigh
        # quotient, which lies between the extremes and changes neither.
        alive = alive & (size > 10 * torch.finfo(w.dtype).eps * scale)
        off_diagonal.append(torch.where(alive, size, 0.0))
        following = w * torch.where(alive, 1 / torch.where(alive, size, 1.0), 0.0)[:, None]
        basis = torch.cat([basis, following[:, None]], 1)
    tridiagonal = torch.diag_embed(torch.stack(diagonal, 1))
    if off_diagonal:
        side = torch.stack(off_diagonal, 1)
        tridiagonal = tridiagonal + torch.diag_embed(side, 1) + torch.diag_embed(side, -1)
    finite = torch.isfinite(tridiagonal).all(-1).all(-1)
    eigenvalues = torch.linalg.eigvalsh(torch.where(finite[:, None, None], tridiagonal, 0.0))
    broken = torch.where(finite, 0.0, torch.nan)
    return eigenvalues[:, 0] + broken, eigenvalues[:, -1] + broken
