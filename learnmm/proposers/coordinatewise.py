"""One small recurrent network for every coordinate, as in learning to learn by gradient descent."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learnmm.levels import require_tensor
from learnmm.plain import integer
from learnmm.proposers.base import LearnedPreconditioner, Multipliers, Point, scale_free
from learnmm.vectors import left_multiply


class CoordinateMemory(NamedTuple):
    """Memory per coordinate: hidden and cell state, ``(B, *shape, hidden)`` each."""

    hidden: Tensor
    cell: Tensor


class CoordinateLSTM(nn.Module):
    """An LSTM shared by all coordinates: features ``(..., inputs)`` to one multiplier ``(...)``."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = integer("hidden", hidden, 1)
        self.cell = nn.LSTMCell(inputs, hidden)
        self.decode = nn.Linear(hidden, 1)
        nn.init.ones_(self.decode.bias)  # untrained: around the majorant's own step

    def start(self, like: Tensor) -> CoordinateMemory:
        """Zeros for coordinates of this shape."""
        zero = like.new_zeros(*like.shape, self.hidden, dtype=self.decode.weight.dtype)
        return CoordinateMemory(zero, zero.clone())  # torch.compile takes shared ones for special

    def forward(self, inputs: Tensor, memory: CoordinateMemory) -> CoordinateMemory:
        """Return the next memory: the equations of nn.LSTMCell, whose fused kernel
        `torch.func.vmap` cannot map.
        """
        inputs = inputs.to(self.decode.weight.dtype)
        gates = F.linear(inputs, self.cell.weight_ih, self.cell.bias_ih)
        gates = gates + F.linear(memory.hidden, self.cell.weight_hh, self.cell.bias_hh)
        enter, forget, new, leave = gates.chunk(4, -1)
        cell = forget.sigmoid() * memory.cell + enter.sigmoid() * new.tanh()
        return CoordinateMemory(leave.sigmoid() * cell.tanh(), cell)

    def multipliers(self, memory: CoordinateMemory) -> Tensor:
        """One per coordinate."""
        decoded: Tensor = self.decode(memory.hidden)
        return decoded.squeeze(-1)


class CoordinatewiseLSTM(LearnedPreconditioner):
    """The same LSTM for every unknown (Andrychowicz et al. 2016), on its value and its gradient.

    Works for iterates of any shape, other than the one trained on too.

    Parameters
    ----------
    hidden : int
        Size of the memory per unknown.
    """

    def __init__(self, hidden: int = 20) -> None:
        super().__init__()
        self.network = CoordinateLSTM(2, hidden)

    def init_memory(self, x: Tensor) -> CoordinateMemory:
        """Zeros."""
        return self.network.start(x)

    def observe(self, point: Point, memory: CoordinateMemory) -> CoordinateMemory:
        """Run the LSTM on every unknown."""
        observed: CoordinateMemory = self.network(torch.stack(point.scale_free, -1), memory)
        return observed

    def propose(self, point: Point, memory: CoordinateMemory) -> Multipliers:
        """Decode a multiplier for every unknown."""
        return Multipliers(self.network.multipliers(memory))


class SpectralLSTM(LearnedPreconditioner):
    """The same LSTM for every singular coordinate of an operator ``A``.

    It sees the coordinates of iterate and gradient and the logarithm of the singular value, and
    proposes one multiplier per coordinate and one for what the operator does not see.

    Parameters
    ----------
    matrix : Tensor
        ``A``, shape ``(m, n)``, on the first dimension after the batch.
    hidden : int
        Size of the memory per coordinate.

    Raises
    ------
    ValueError
        If the matrix is zero and has no coordinates.

    Notes
    -----
    Singular values that rounding may have made, those below ``max(m, n) eps`` times the largest,
    have no coordinate of their own; what lies there shares the last multiplier. That is safe: the
    interval of the multipliers is the same in any basis, and the bound is not built from this one.
    """

    vectors: Tensor
    spectrum: Tensor

    def __init__(self, matrix: Tensor, hidden: int = 20) -> None:
        super().__init__()
        require_tensor("SpectralLSTM: matrix", matrix)
        _, sigma, right = torch.linalg.svd(matrix.detach(), full_matrices=False)
        if not bool(sigma.max() > 0):
            raise ValueError("SpectralLSTM expects a matrix with an entry other than zero")
        seen = sigma > sigma[0] * max(matrix.shape) * torch.finfo(sigma.dtype).eps
        self.register_buffer("vectors", right[seen].mT.contiguous())
        # The outside comes last, marked by a value below all others.
        levels = (sigma[seen] / sigma[0]).log()
        self.register_buffer("spectrum", torch.cat([levels, levels[-1:] - 1]))
        self.network = CoordinateLSTM(3, hidden)

    def init_memory(self, x: Tensor) -> CoordinateMemory:
        """Zeros."""
        return self.network.start(self._coordinates(x))

    def observe(self, point: Point, memory: CoordinateMemory) -> CoordinateMemory:
        """Run the LSTM on every coordinate."""
        x, gradient = (scale_free(self._coordinates(v)) for v in point.scale_free)
        level = self.spectrum.reshape(-1, *([1] * (x.dim() - 2))).expand_as(x)
        observed: CoordinateMemory = self.network(torch.stack([x, gradient, level], -1), memory)
        return observed

    def propose(self, point: Point, memory: CoordinateMemory) -> Multipliers:
        """Decode a multiplier for every right singular vector of ``A``, and one for the rest."""
        return Multipliers(self.network.multipliers(memory), self.vectors)

    def _coordinates(self, v: Tensor) -> Tensor:
        """``Q^T v``, and the root mean square of what lies outside: ``(B, r + 1, *rest)``."""
        inner = left_multiply(self.vectors.mT, v)
        outside = (v - left_multiply(self.vectors, inner)).square().mean(1, keepdim=True)
        positive = outside > 0
        size = torch.where(positive, torch.where(positive, outside, 1.0).sqrt(), 0.0)
        return torch.cat([inner, size], 1)
