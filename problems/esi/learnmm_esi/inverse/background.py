"""How strong the ongoing activity of a cortex is, beside what stands out of it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["background_variance"]

LEAST, POINTS, FINER = 1e-4, 65, 33  # of the largest variance; of both grids


def background_variance(
    covariance: Tensor, everywhere: Tensor, samples: Tensor, count: Tensor, price: float
) -> Tensor:
    """Estimate the variance of sources everywhere alike, or zero where the evidence needs none.

    Parameters
    ----------
    covariance : Tensor, shape (B, r, r)
        ``C`` of the samples without a background.
    everywhere : Tensor, shape (r,)
        ``d > 0``: the variances that a background of variance one has.
    samples : Tensor, shape (B, r, k)
        ``Y``, padded by columns of zeros.
    count : Tensor, shape (B,)
        How many samples each recording has, K.
    price : float
        What a background has to gain, in units of the logarithm of the evidence.

    Returns
    -------
    Tensor, shape (B,)
        The variance ``g`` of largest evidence for ``C + g diag(d)``, up to that at which a
        background has all of the recording's power.

    Notes
    -----
    With ``C = R R^T``, the eigenvalues ``m_j`` of ``R^-1 diag(d) R^-T``, and the energy ``e_j`` of
    ``R^-1 Y`` along its eigenvectors, the logarithm of the evidence grows by
    ``1/2 sum_j (e_j g m_j / (1 + g m_j) - K log(1 + g m_j))``: one decomposition for all ``g``. The
    maximum is looked for on a grid, and on a finer one around its best point.
    """
    factor = torch.linalg.cholesky(covariance)
    sides = torch.cat([torch.diag_embed(everywhere.sqrt().expand(len(samples), -1)), samples], 2)
    shape, white = torch.linalg.solve_triangular(factor, sides, upper=False).split(
        [len(everywhere), samples.shape[2]], 2
    )
    values, vectors = torch.linalg.eigh(shape @ shape.mT)
    values = values.clamp(min=0.0)
    energy = (vectors.mT @ white).square().sum(2)

    def gain(variance: Tensor) -> Tensor:
        """Of variances ``(B, points)``."""
        more = variance[..., None] * values[:, None]
        terms: Tensor = energy[:, None] * more / (1 + more) - count[:, None, None] * more.log1p()
        return terms.sum(2) / 2

    most = samples.square().sum((1, 2)) / (count * everywhere.sum())
    steps = torch.linspace(0, 1, POINTS, dtype=values.dtype, device=values.device)
    grid = most[:, None] * LEAST ** (1 - steps)
    best = gain(grid).argmax(1, keepdim=True)
    ends = [grid.gather(1, (best + step).clamp(0, POINTS - 1)) for step in (-1, 1)]
    steps = torch.linspace(0, 1, FINER, dtype=values.dtype, device=values.device)
    grid = ends[0] * (ends[1] / ends[0]) ** steps
    top = gain(grid).max(1)
    found = grid.gather(1, top.indices[:, None])[:, 0]
    return torch.where(top.values > price, found, torch.zeros_like(found))
