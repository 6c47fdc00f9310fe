"""MM-Net: a dual ConvLSTM proposes multipliers on the damped gradient, every step verified."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

import learnmm as lmm
from learnmm_esi.networks.energy import Start
from learnmm_esi.networks.recurrent import RecurrentMethod


@dataclass(frozen=True)
class MMNet(RecurrentMethod):
    """Multipliers of any size and sign, the safeguard alone holding the steps.

    The paper's own has its multipliers in an interval, on the gradient as it is.
    """

    name = "mm-net"
    summary = "any multipliers on the damped gradient, every step verified"

    start: Start = "learned"

    def proposer(self, matrix: Tensor, times: int) -> lmm.Proposer:
        """Return the network of `damped_multipliers`."""
        return damped_multipliers(matrix, self.hidden, self.kernel)


def damped_multipliers(matrix: Tensor, hidden: int, kernel: int) -> lmm.Proposer:
    """Return a network whose multipliers act on ``(t I + A^T A)^-1 g``, ``t`` learned.

    The inverse is a damped one of the data term's curvature.
    """
    # From zero the first steps are short, whatever the gradient's scale.
    network = lmm.proposers.DualConvLSTM(matrix.shape[1], hidden, kernel, initial=0.0)
    return lmm.proposers.Unprojected(network, lmm.proposers.DampedInverse(matrix))
