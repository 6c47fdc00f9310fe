"""Vectors of a batch: what is summed, scaled or multiplied per problem, with the batch first.

A vector ``v`` has shape ``(B, *shape)``; numbers per problem have shape ``(B,)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from learnmm.shards import alone, largest, total

__all__ = ["dot", "expand", "left_multiply", "norm", "peak", "power_of_two", "summed"]


def expand(value: Tensor, like: Tensor) -> Tensor:
    """Reshape a per-problem ``(B,)`` scalar so that it broadcasts against ``(B, *shape)``."""
    return value.reshape(value.shape[0], *([1] * (like.dim() - 1)))


def summed(a: Tensor) -> Tensor:
    """Sum over everything after the batch, shape ``(B,)``."""
    return total(a.flatten(1).sum(1) if a.dim() > 1 else a)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product over everything after the batch, shape ``(B,)``."""
    return summed(a * b)


def norm(a: Tensor) -> Tensor:
    """Euclidean norm over everything after the batch, shape ``(B,)``.

    Squares are taken of ``a`` over a power of two near its largest entry, per problem. So nothing
    is lost to overflow or underflow that the norm itself survives, and nothing changes elsewhere.
    """
    flat = a.reshape(a.shape[0], -1)
    size = _of_all(torch.linalg.vector_norm(flat, dim=1))
    if _holds_squares(size, flat.shape[1]):
        return size
    scale = power_of_two(peak(flat))
    return scale * _of_all(torch.linalg.vector_norm(flat / scale[:, None], dim=1))


def _of_all(size: Tensor) -> Tensor:
    """Norms of whole vectors, of the norms of this process' parts."""
    return size if alone() else total(size * size).sqrt()


def _holds_squares(size: Tensor, terms: int) -> bool:
    """Whether norms of so many terms can be seen to be right without scaling.

    This only saves time: with a power of two as scale both ways give the same number. Where values
    are hidden (compiled, under vmap) or far away (on another device), nothing is seen.
    """
    if torch.compiler.is_compiling() or size.device.type != "cpu":
        return False
    limits = torch.finfo(size.dtype)
    least = math.sqrt(terms * limits.tiny / limits.eps)
    try:
        return bool(((size > least) & (size < math.inf)).all())
    except RuntimeError:
        return False


def peak(v: Tensor) -> Tensor:
    """Largest absolute entry per problem, ``(B,)``, without a gradient. NaN comes through."""
    flat = v.detach().reshape(v.shape[0], -1)
    if flat.shape[1] == 0:
        return largest(flat.new_zeros(flat.shape[0]))
    # Two reductions: the infinity norm of torch is over ten times slower.
    return largest(torch.maximum(flat.amax(1), -flat.amin(1)))


def power_of_two(size: Tensor) -> Tensor:
    """A power of two next to every ``size``; 1 where that is zero or not finite."""
    limits = torch.finfo(size.dtype)
    usual = (size > 0) & torch.isfinite(size)
    inside = torch.where(usual, size, 1.0).clamp(limits.tiny, limits.max / 4)
    return inside.log2().floor().exp2()


def left_multiply(matrix: Tensor, v: Tensor) -> Tensor:
    """``matrix @ v`` on the first dimension after the batch: ``(B, n, *rest) -> (B, m, *rest)``."""
    if v.dim() == 2:
        return v @ matrix.mT
    flat = v.flatten(2)
    # One product per problem: matmul would otherwise fold the batch and copy it transposed.
    out = torch.bmm(matrix.expand(v.shape[0], *matrix.shape), flat)
    return out.reshape(v.shape[0], matrix.shape[0], *v.shape[2:])
