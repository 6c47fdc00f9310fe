"""Complex matrices as maps of pairs of reals."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from learnmm.linear.operator import LinearOperator


def complex_matrix(matrix: Tensor) -> LinearOperator:
    """``z -> A z`` for complex ``z`` as pairs of reals, ``(B, n, 2) -> (B, m, 2)``.

    Pairs come last, as in ``torch.view_as_real``. Among reals ``A`` is a matrix of twice the size
    with the same spectral norm, so the bound is uniform and `GLOBAL`. ``f @ A`` takes a complex
    matrix as one of these.

    Parameters
    ----------
    matrix : Tensor
        ``A``, shape ``(m, n)``, complex64 or complex128, dense.

    Raises
    ------
    ValueError
        If it is not a finite complex matrix.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> A = torch.tensor([[1j, 2.0], [0.0, 1.0]])
    >>> y = torch.view_as_real(torch.tensor([[3.0 + 0j, 1j]]))
    >>> result = lmm.minimize(lmm.Quadratic(y) @ A, torch.zeros(1, 2, dtype=torch.complex64))
    >>> bool((result.x @ A.mT - torch.view_as_complex(y)).abs().max() < 1e-3)
    True
    """
    if not isinstance(matrix, Tensor) or matrix.dim() != 2 or not matrix.is_complex():
        what = f"shape {tuple(matrix.shape)} and dtype {matrix.dtype}"
        raise ValueError(f"complex_matrix expects a complex matrix (m, n), got {what}")
    if matrix.layout != torch.strided or not bool(torch.isfinite(matrix).all()):
        raise ValueError("complex_matrix expects a dense, finite matrix, got another")
    wide = matrix.detach().to(torch.complex128)
    # The relative margin covers the rounding error of the decomposition.
    margin = 1 + max(matrix.shape) * torch.finfo(torch.float64).eps
    return LinearOperator(
        partial(_product, matrix),
        partial(_product, matrix.mH.resolve_conj().contiguous()),
        (matrix.shape[1], 2),
        (matrix.shape[0], 2),
        norm=float(torch.linalg.matrix_norm(wide, 2)) * margin,
    )


# A function of the module and not a closure, so that operators can be pickled.


def _product(matrix: Tensor, pairs: Tensor) -> Tensor:
    """``A z`` for pairs ``(B, n, 2)``."""
    image = torch.complex(pairs[..., 0], pairs[..., 1]) @ matrix.mT
    return torch.stack([image.real, image.imag], -1)
