"""R-MM-Net: MM-Net whose steps are taken as they are proposed, the paper's relaxed variant."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

import learnmm as lmm
from learnmm_esi.networks.energy import Start
from learnmm_esi.networks.method import UNVERIFIED
from learnmm_esi.networks.methods.mm_net import damped_multipliers
from learnmm_esi.networks.recurrent import RecurrentMethod


@dataclass(frozen=True)
class RelaxedMMNet(RecurrentMethod):
    """The network of MM-Net, trained and used without a safeguard."""

    name = "r-mm-net"
    summary = "MM-Net without safeguard"
    solve = UNVERIFIED

    start: Start = "learned"

    def proposer(self, matrix: Tensor, times: int) -> lmm.LearnedComponent:
        """Return the network of MM-Net."""
        return damped_multipliers(matrix, self.hidden, self.kernel)
