"""What is known of the Hessian before the first step, for limited memory to correct."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from learnmm.curvature import Curvature
from learnmm.spectral import SpectralCurvature, cosines

LEAST = 1e-10
"""Smallest eigenvalue of a known Hessian that is believed, over its largest."""


LONGEST = 4096
"""Largest side of a grid: there is a square matrix of it."""


class Metric(nn.Module, ABC):
    """An initial Hessian per problem, symmetric and positive definite, under the pairs.

    It may be learned, and wrong: steps are verified whatever it says, and limited memory leaves it
    for the majorant's own curvature where the pairs of a problem speak against it.
    """

    def prepare(self, x: Tensor, gradient: Tensor) -> Any:
        """Return what is known before the first step, from the start given and its gradient.

        A tree of tensors with the batch first, beside constants. By default there is nothing.
        """
        return None

    def observe(self, move: Tensor, change: Tensor, memory: Any) -> Any:
        """Return what is known after a step and its change of gradient, ``(B, *shape)`` each.

        A step of length zero is none: it must change no bit.
        """
        return memory

    @abstractmethod
    def curvature(self, x: Tensor, memory: Any) -> Curvature:
        """Return the operator for iterates ``(B, *shape)``."""


class KnownHessian(Metric):
    """The same Hessian for every problem, such as the mean of many at their solutions.

    That mean is the matrix closest to all of them in the divergence that quasi-Newton updates
    minimize, ``tr(M^-1 H) - log det(M^-1 H)`` (Fletcher 1991).

    Parameters
    ----------
    hessian : Tensor
        ``(n, n)`` for ``n`` unknowns, symmetric. Eigenvalues below ``1e-10`` of the largest are
        raised to that.

    Raises
    ------
    ValueError
        If it is not square, not finite, or has no positive eigenvalue.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> scales = torch.logspace(0, 4, 20, dtype=torch.float64)
    >>> def fun(x):
    ...     return (scales * x**2 / 2 + x.sin()).sum(1)
    >>> metric = lmm.proposers.KnownHessian(torch.diag(scales))
    >>> x0 = torch.ones(4, 20, dtype=torch.float64)
    >>> plain = lmm.minimize(fun, x0)
    >>> known = lmm.minimize(fun, x0, proposer=lmm.LimitedMemory(metric=metric))
    >>> bool((2 * known.iterations < plain.iterations).all())
    True
    """

    values: Tensor
    basis: Tensor

    def __init__(self, hessian: Tensor) -> None:
        super().__init__()
        values, vectors = _decomposed(hessian)
        self.register_buffer("values", values)
        self.register_buffer("basis", vectors.mT)

    def curvature(self, x: Tensor, memory: Any) -> Curvature:
        """Return it for every problem."""
        check_unknowns(x, len(self.values))
        values = self.values.to(x.dtype).expand(len(x), -1)
        return SpectralCurvature(values, (self.basis.to(x.dtype),))


class KnownSpectrum(Metric):
    """The same Hessian for every problem of a grid, diagonal in its cosines.

    For images and signals of many unknowns, of which no dense matrix can be had: a blur and a
    penalty on differences, the same at every pixel, are nearly such, for the cosine transform along
    every dimension; see `learnmm.spectral.SpectralCurvature`.

    Parameters
    ----------
    spectrum : Tensor
        Curvature per frequency, the lowest first, the shape of one problem. Entries below
        ``1e-10`` of the largest are raised to that.

    Raises
    ------
    ValueError
        If it has no dimension, or one of more than 4096, is not finite, or has no positive entry.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> kernel = torch.full((5,), 0.2, dtype=torch.float64)
    >>> blur = lmm.linear.convolution(kernel, (64,))
    >>> y = torch.rand(4, 64, dtype=torch.float64)
    >>> fun = lmm.least_squares(blur, y) + lmm.Quadratic(0 * y, 1e-3)
    >>> response = torch.fft.fft(kernel, 128).abs()[:64] ** 2
    >>> metric = lmm.proposers.KnownSpectrum(response + 1e-3)
    >>> plain = lmm.minimize(fun, 0 * y)
    >>> known = lmm.minimize(fun, 0 * y, proposer=lmm.LimitedMemory(metric=metric))
    >>> bool((known.iterations < plain.iterations).all())
    True
    """

    spectrum: Tensor

    def __init__(self, spectrum: Tensor) -> None:
        super().__init__()
        if spectrum.dim() < 1 or not bool(torch.isfinite(spectrum).all()):
            raise ValueError(
                "a spectrum must be a finite tensor of the shape of one problem, got shape "
                f"{tuple(spectrum.shape)}" + ", NaN or infinite entries" * (spectrum.dim() > 0)
            )
        if max(spectrum.shape) > LONGEST:
            raise ValueError(
                f"a spectrum may have sides of at most {LONGEST}, got shape {tuple(spectrum.shape)}"
            )
        if not bool((spectrum > 0).any()):
            raise ValueError("a spectrum must have a positive entry, to be a metric")
        self.register_buffer("spectrum", spectrum.clamp(min=LEAST * float(spectrum.max())))
        for axis, n in enumerate(spectrum.shape):
            self.register_buffer(f"basis_{axis}", cosines(n).to(spectrum), persistent=False)

    def curvature(self, x: Tensor, memory: Any) -> Curvature:
        """Return it for every problem."""
        if x.shape[1:] != self.spectrum.shape:
            raise ValueError(
                f"the metric is one of unknowns of shape {tuple(self.spectrum.shape)}, "
                f"got iterates of shape {tuple(x.shape[1:])}"
            )
        spectrum = self.spectrum.to(x.dtype).expand(x.shape)
        bases = [getattr(self, f"basis_{axis}").to(x.dtype) for axis in range(spectrum.dim() - 1)]
        return SpectralCurvature(spectrum, tuple(bases))


def roots_of(hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Return the root of a Hessian and its inverse, small eigenvalues raised.

    Raises
    ------
    ValueError
        As :class:`KnownHessian` says.
    """
    values, vectors = _decomposed(hessian)
    size = values.sqrt()
    return (vectors * size) @ vectors.mT, (vectors / size) @ vectors.mT


def _decomposed(hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, small ones raised, and eigenvectors in columns."""
    if hessian.dim() != 2 or hessian.shape[0] != hessian.shape[1]:
        raise ValueError(f"a Hessian must be a square matrix, got shape {tuple(hessian.shape)}")
    if not bool(torch.isfinite(hessian).all()):
        raise ValueError("a Hessian must have no NaN or infinite entries")
    values, vectors = torch.linalg.eigh((hessian + hessian.mT) / 2)
    if not bool(values[-1] > 0):
        raise ValueError("a Hessian must have a positive eigenvalue, to be a metric")
    return values.clamp(min=LEAST * float(values[-1])), vectors


def check_unknowns(x: Tensor, unknowns: int) -> None:
    """Raise ValueError unless iterates have so many unknowns."""
    if x[0].numel() != unknowns:
        raise ValueError(
            f"the metric is one of {unknowns} unknowns, got iterates of shape {tuple(x.shape[1:])}"
        )
