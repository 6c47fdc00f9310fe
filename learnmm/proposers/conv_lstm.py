"""The dual ConvLSTM of MM-Net: two recurrent paths, one for the iterate, one for the gradient."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from learnmm.proposers.base import LearnedPreconditioner, Multipliers, Point


class CellMemory(NamedTuple):
    """What a cell remembers, ``(B, hidden, T)`` each."""

    hidden: Tensor
    cell: Tensor


class DualMemory(NamedTuple):
    """Memory of :class:`DualConvLSTM`: hidden and cell state of both paths, ``(B, hidden, T)``."""

    x: CellMemory
    gradient: CellMemory


class ConvLSTMCell(nn.Module):
    """Convolutional LSTM (Shi et al. 2015): gates from a convolution of input and hidden state.

    Parameters
    ----------
    inputs, hidden : int
        Channels of the input and of the memory.
    kernel : int
        Odd kernel length in time samples.
    """

    def __init__(self, inputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.gates = nn.Conv1d(inputs + hidden, 4 * hidden, kernel, padding=kernel // 2)

    def forward(self, inputs: Tensor, memory: CellMemory) -> CellMemory:
        """One step: the next memory, whose hidden part is the output."""
        gates = self.gates(torch.cat([inputs, memory.hidden], 1))
        enter, forget, leave, new = gates.chunk(4, 1)
        cell = forget.sigmoid() * memory.cell + enter.sigmoid() * new.tanh()
        return CellMemory(leave.sigmoid() * cell.tanh(), cell)


class DualConvLSTM(LearnedPreconditioner):
    """Multipliers ``m = decode_x(h_x) * decode_g(h_g)`` (MM-Net Eq. 12), in one dimension (time).

    The gradient's path runs first; the iterate's path sees the gradient's features too. Works for
    any number of time samples.

    Parameters
    ----------
    channels : int
        Unknowns per time sample: iterates have shape ``(B, channels, T)``.
    hidden : int
        Feature channels (48 in the paper).
    kernel : int
        Odd kernel length in time samples.
    initial : float
        What an untrained network proposes on average, by the biases of its decoders. One is the
        majorant's own step.

    Raises
    ------
    ValueError
        For an even kernel, or iterates of another shape.
    """

    def __init__(
        self, channels: int, hidden: int = 48, kernel: int = 3, initial: float = 1.0
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd to keep the length, got {kernel}")
        self.channels = channels
        self.hidden = hidden
        pad = kernel // 2
        self.encode_x = nn.Conv1d(channels, hidden, kernel, padding=pad)
        self.encode_g = nn.Conv1d(channels, hidden, kernel, padding=pad)
        self.cell_g = ConvLSTMCell(hidden, hidden, kernel)
        self.cell_x = ConvLSTMCell(2 * hidden, hidden, kernel)
        self.decode_x = nn.Conv1d(hidden, channels, kernel, padding=pad)
        self.decode_g = nn.Conv1d(hidden, channels, kernel, padding=pad)
        nn.init.constant_(self.decode_x.get_parameter("bias"), initial)
        nn.init.ones_(self.decode_g.get_parameter("bias"))

    def init_memory(self, x: Tensor) -> DualMemory:
        """Zeros."""
        if x.dim() != 3 or x.shape[1] != self.channels:
            raise ValueError(
                f"DualConvLSTM expects iterates (B, {self.channels}, T), got {tuple(x.shape)}"
            )
        dtype = self.encode_x.weight.dtype
        # Each its own tensor: torch.compile would take shared ones for a special case.
        zeros = [x.new_zeros(x.shape[0], self.hidden, x.shape[2], dtype=dtype) for _ in range(4)]
        return DualMemory(CellMemory(*zeros[:2]), CellMemory(*zeros[2:]))

    def observe(self, point: Point, memory: DualMemory) -> DualMemory:
        """Encode iterate and gradient, and run both cells."""
        features, dtype = point.scale_free, self.encode_x.weight.dtype
        encoded_x = self.encode_x(features.x.to(dtype))
        encoded_g = self.encode_g(features.gradient.to(dtype))
        gradient = self.cell_g(encoded_g, memory.gradient)
        x = self.cell_x(torch.cat([encoded_x, gradient.hidden], 1), memory.x)
        return DualMemory(x, gradient)

    def propose(self, point: Point, memory: DualMemory) -> Multipliers:
        """Multiply what both paths decode."""
        return Multipliers(self.decode_x(memory.x.hidden) * self.decode_g(memory.gradient.hidden))
