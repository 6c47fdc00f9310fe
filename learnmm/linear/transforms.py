"""Linear operators that need no matrix: convolutions and subsampled Fourier transforms."""

from __future__ import annotations

import math
from enum import StrEnum
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from learnmm.choices import chosen
from learnmm.linear.operator import LinearOperator, Product

_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Boundary(StrEnum):
    """What lies outside of what is convolved."""

    CIRCULAR = "circular"
    """The other end."""
    ZERO = "zero"
    """Nothing."""


def convolution(
    kernel: Tensor, shape: tuple[int, ...], boundary: Boundary | str = Boundary.CIRCULAR
) -> LinearOperator:
    """Blur signals, images or volumes: ``(A x)_i = sum_j k_j x_{i - j}``, of the size of ``x``.

    The bound is separable and `GLOBAL`; for a kernel without negative entries and with circular
    boundary it is as sharp as the norm.

    Parameters
    ----------
    kernel : Tensor
        ``k``, 1 to 3 dimensions of odd size, its origin in the middle.
    shape : tuple of int
        Shape of one problem; as many dimensions as the kernel, each at least as large.
    boundary : {"circular", "zero"}
        What lies outside of ``x``.

    Raises
    ------
    ValueError
        For kernels and shapes that do not fit.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> blur = lmm.linear.convolution(torch.full((3, 3), 1 / 9), (32, 32))
    >>> y = torch.rand(2, 32, 32)
    >>> result = lmm.minimize(lmm.Quadratic(y) @ blur, y)
    >>> result.certificate.kind.name
    'GLOBAL'
    """
    if kernel.dim() not in _CONVOLVE or not kernel.is_floating_point():
        raise ValueError(
            "convolution expects a floating-point kernel of 1 to 3 dimensions, got shape "
            f"{tuple(kernel.shape)} and dtype {kernel.dtype}"
        )
    if any(size % 2 == 0 for size in kernel.shape) or not bool(torch.isfinite(kernel).all()):
        raise ValueError(
            f"convolution expects a finite kernel of odd sizes, got {tuple(kernel.shape)}"
        )
    if len(shape) != kernel.dim() or any(k > n for k, n in zip(kernel.shape, shape, strict=False)):
        raise ValueError(
            f"convolution: a kernel of shape {tuple(kernel.shape)} does not fit into {shape}"
        )
    boundary = chosen(Boundary, boundary, "convolution: boundary")

    mode = "circular" if boundary is Boundary.CIRCULAR else "constant"  # as torch calls it
    everywhere = tuple(range(kernel.dim()))

    def product(weights: Tensor) -> Product:
        return partial(_convolved, weights.flip(everywhere)[None, None], mode)

    # Odd sizes, and the same rule on both sides: the adjoint is the flipped kernel.
    flipped = kernel.flip(everywhere)
    return LinearOperator(
        product(kernel),
        product(flipped),
        tuple(shape),
        tuple(shape),
        absolute=(product(kernel.abs()), product(flipped.abs())),
        # Young's inequality; the margin covers the rounding of the sum.
        norm=float(kernel.double().abs().sum()) * (1 + 1e-12),
    )


def subsampled_fourier(mask: Tensor) -> LinearOperator:
    """Orthonormal Fourier coefficients of real ``x`` where `mask` holds, as in magnetic resonance.

    Real and imaginary parts are two real numbers: ``(B, *mask.shape) -> (B, 2, m)``. The norm is
    at most 1, so the bound is uniform and `GLOBAL`.

    Parameters
    ----------
    mask : Tensor of bool
        ``m`` frequencies to keep, in the order of ``torch.fft.fftn``.

    Raises
    ------
    ValueError
        For a mask that is not one, or that keeps nothing.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> A = lmm.linear.subsampled_fourier(torch.rand(16, 16) < 0.5)
    >>> lmm.checks.assert_adjoint(A, torch.zeros(1, 16, 16, dtype=torch.float64))
    """
    if mask.dtype != torch.bool or mask.dim() < 1 or not bool(mask.any()):
        raise ValueError(
            "subsampled_fourier expects a mask of bool that keeps some frequency, got shape "
            f"{tuple(mask.shape)} and dtype {mask.dtype}"
        )
    shape = tuple(mask.shape)
    kept = mask.flatten().nonzero().flatten()
    return LinearOperator(
        partial(_coefficients, kept),
        partial(_from_coefficients, kept, shape),
        shape,
        (2, len(kept)),
        norm=1 + 1e-12,
    )


# Functions of the module and not closures, so that operators can be pickled.


def _convolved(stencil: Tensor, mode: str, x: Tensor) -> Tensor:
    """Correlate ``(B, *shape)`` with a stencil ``(1, 1, *sizes)``."""
    sizes = stencil.shape[2:]
    padding = [p for size in reversed(sizes) for p in (size // 2, size // 2)]
    return _CONVOLVE[len(sizes)](F.pad(x[:, None], padding, mode=mode), stencil)[:, 0]


def _coefficients(kept: Tensor, x: Tensor) -> Tensor:
    """Kept frequencies of ``(B, *shape)``, ``(B, 2, m)``."""
    dims = tuple(range(1, x.dim()))
    spectrum = (
        torch.fft.fftn(x, dim=dims, norm="ortho").flatten(1).index_select(1, kept.to(x.device))
    )
    return torch.stack([spectrum.real, spectrum.imag], 1)


def _from_coefficients(kept: Tensor, shape: tuple[int, ...], z: Tensor) -> Tensor:
    """The adjoint of that."""
    coefficients = torch.complex(z[:, 0], z[:, 1])
    spectrum = coefficients.new_zeros(z.shape[0], math.prod(shape))
    spectrum = spectrum.index_copy(1, kept.to(z.device), coefficients).reshape(-1, *shape)
    dims = tuple(range(1, 1 + len(shape)))
    x: Tensor = torch.fft.ifftn(spectrum, dim=dims, norm="ortho").real
    return x
