"""4DVarNet: a recurrent network on the gradient gives the step (Fablet et al. 2021)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import learnmm as lmm
from learnmm.proposers.conv_lstm import CellState, ConvLSTMCell
from learnmm_esi.networks.energy import LearnedEnergy
from learnmm_esi.networks.settings import MethodSettings


class _Memory(NamedTuple):
    cell: CellState
    step: Tensor  # (B,) steps taken


class FourDVarNet(lmm.LearnedDirection):
    """``d_k = net(g) / (k + 1) + 1e-3 (k + 1) / K g`` for steps ``k = 0, 1, ...``.

    ``net`` is a ConvLSTM on the gradient and a convolution. Both parts are in units of the
    iterate, the gradient being free of units.

    Parameters
    ----------
    channels : int
        Sources.
    hidden : int
        Feature channels.
    kernel : int
        Odd kernel length in samples.
    steps : int
        ``K``, the number of steps trained for.
    """

    def __init__(self, channels: int, hidden: int, kernel: int, steps: int) -> None:
        super().__init__()
        self.hidden, self.steps = hidden, steps
        self.cell = ConvLSTMCell(channels, hidden, kernel)
        self.decode = nn.Conv1d(hidden, channels, kernel, padding=kernel // 2)

    def init_state(self, x: Tensor) -> _Memory:
        """Zeros."""
        zero = x.new_zeros(x.shape[0], self.hidden, x.shape[2])
        return _Memory(CellState(zero, zero), x.new_zeros(x.shape[0]))

    def forward(self, features: lmm.Features, state: _Memory) -> tuple[Tensor, _Memory]:
        """Run the cell on the gradient."""
        cell = self.cell(features.gradient, state.cell)
        number = (state.step + 1)[:, None, None]
        learned = self.decode(cell.hidden).to(features.gradient.dtype)
        step = learned / number + 1e-3 * number / self.steps * features.gradient
        return step, _Memory(cell, state.step + 1)


def build(
    settings: MethodSettings, energy: LearnedEnergy
) -> tuple[lmm.LearnedComponent, dict[str, Any]]:
    """Return the network, and an optimizer that does not verify its steps."""
    sources = energy.matrix.shape[1]
    network = FourDVarNet(sources, settings.hidden, settings.kernel, settings.steps)
    torch.nn.init.zeros_(network.decode.get_parameter("bias"))
    return network, {"safeguard": None}
