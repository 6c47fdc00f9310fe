"""Energies have no units: recordings come in at norm one, estimates go out in A m."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

import learnmm as lmm
from learnmm.vectors import expand, norm


def unit_norm(v: Tensor) -> Tensor:
    """Divide every array of ``(batch, rows, times)`` by its norm."""
    return v / _norm(v)


def normalized(name: str, sensors: ArrayLike | Tensor, leadfield: lmm.linear.MatrixMap) -> Tensor:
    """Check recordings ``(batch, sensors, times)`` and scale each to norm one.

    Raises
    ------
    ValueError
        If their shape does not fit, or one is zero or not finite; `name` is who complains.
    """
    matrix = leadfield.matrix
    y = torch.as_tensor(sensors, dtype=matrix.dtype, device=matrix.device)
    m = matrix.shape[0]
    if y.dim() != 3 or y.shape[1] != m:
        raise ValueError(
            f"{name}: recordings must have shape (batch, {m}, times), got {tuple(y.shape)}"
        )
    size = _norm(y)
    if not bool(((size > 0) & torch.isfinite(size)).all()):
        raise ValueError(f"{name}: every recording must be finite and not zero")
    return y / size


def amplitude(
    x: Tensor, sensors: ArrayLike | Tensor, leadfield: lmm.linear.MatrixMap, gain: float
) -> NDArray[np.float32]:
    """Scale estimates to the recordings by least squares, giving A m.

    Parameters
    ----------
    x : Tensor, shape (batch, sources, times)
        Estimates in any unit.
    sensors : array or Tensor, shape (batch, sensors, times)
        Recordings in V.
    leadfield : learnmm.MatrixMap
        Lead field divided by `gain`, V/(A m).
    gain : float
        What it was divided by.
    """
    y = torch.as_tensor(sensors, dtype=x.dtype, device=x.device)
    image = leadfield(x)
    size = _norm(image)
    factor = (image / size * y).sum((1, 2), keepdim=True) / size  # the square may overflow
    scaled: NDArray[np.float32] = (x * factor / gain).cpu().numpy().astype(np.float32)
    return scaled


def _norm(v: Tensor) -> Tensor:
    return expand(norm(v), v)


class OnLeadfield:
    """An energy on a lead field that is divided by its norm.

    That keeps iterates, recordings and gradients near one, whatever the units were.

    Parameters
    ----------
    leadfield : ndarray, shape (sensors, sources)
        V/(A m).
    dtype : torch.dtype
        Working precision.

    Attributes
    ----------
    leadfield : MatrixMap
        Divided by its norm.
    """

    def __init__(self, leadfield: NDArray[np.float64], dtype: torch.dtype) -> None:
        self._gain = float(np.linalg.norm(leadfield, 2))
        self.leadfield = lmm.linear.MatrixMap(torch.tensor(leadfield / self._gain, dtype=dtype))

    def normalized(self, sensors: ArrayLike | Tensor) -> Tensor:
        """Check recordings and scale each to norm one.

        Raises
        ------
        ValueError
            If their shape does not fit, or one is zero or not finite.
        """
        return normalized(type(self).__name__, sensors, self.leadfield)

    def amplitude(self, x: Tensor, sensors: ArrayLike | Tensor) -> NDArray[np.float32]:
        """Scale estimates to the recordings by least squares, giving A m."""
        return amplitude(x, sensors, self.leadfield, self._gain)
