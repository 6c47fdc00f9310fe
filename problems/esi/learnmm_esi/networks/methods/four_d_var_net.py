"""4DVarNet: a recurrent network on the gradient gives the step (Fablet et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

import learnmm as lmm
from learnmm.proposers import CellMemory, ConvLSTMCell, relative_step
from learnmm_esi.networks.method import UNVERIFIED
from learnmm_esi.networks.recurrent import RecurrentMethod


@dataclass(frozen=True)
class FourDVarNet(RecurrentMethod):
    """``d_k = net(g) / (k + 1) + 1e-3 (k + 1) / K g`` for steps ``k = 0, 1, ...`` of ``K``.

    ``K`` are the steps trained for.
    """

    name = "4dvarnet"
    summary = "a ConvLSTM on the gradient, not verified"
    solve = UNVERIFIED

    def proposer(self, matrix: Tensor, times: int) -> lmm.Proposer:
        """Return the network."""
        return Steps(GradientLSTM(matrix.shape[1], self.hidden, self.kernel), self.steps)


class GradientLSTM(nn.Module):
    """A ConvLSTM on the gradient, and a convolution of what it remembers.

    Parameters
    ----------
    channels : int
        Sources.
    hidden : int
        Feature channels.
    kernel : int
        Odd kernel length in samples.
    """

    def __init__(self, channels: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.cell = ConvLSTMCell(channels, hidden, kernel)
        self.decode = nn.Conv1d(hidden, channels, kernel, padding=kernel // 2)
        nn.init.zeros_(self.decode.get_parameter("bias"))

    def memory(self, x: Tensor) -> CellMemory:
        """Zeros, for iterates ``(B, channels, T)``."""
        zero = x.new_zeros(x.shape[0], self.hidden, x.shape[2])
        return CellMemory(zero, zero)

    def forward(self, gradient: Tensor, memory: CellMemory) -> CellMemory:
        """Run the cell on the gradient."""
        observed: CellMemory = self.cell(gradient, memory)
        return observed


class Memory(NamedTuple):
    """Of the network, and how many iterates it has seen, ``(B,)``."""

    cell: CellMemory
    seen: Tensor


class Steps(lmm.Proposer):
    """What the network gives, fading into the gradient.

    Both parts are in units of the iterate, the gradient being free of units.
    """

    def __init__(self, network: GradientLSTM, steps: int) -> None:
        super().__init__()
        self.network, self.steps = network, steps

    def init_memory(self, x: Tensor) -> Memory:
        """Zeros."""
        return Memory(self.network.memory(x), x.new_zeros(x.shape[0]))

    def observe(self, point: lmm.Point, memory: Memory) -> Memory:
        """Run the network on the gradient."""
        return Memory(self.network(point.scale_free.gradient, memory.cell), memory.seen + 1)

    def propose(self, point: lmm.Point, memory: Memory) -> lmm.Step:
        """Decode, and add some of the gradient."""
        gradient, number = point.scale_free.gradient, memory.seen[:, None, None]
        learned = self.network.decode(memory.cell.hidden).to(gradient.dtype)
        step = learned / number + 1e-3 * number / self.steps * gradient
        return relative_step(point.x, step)
