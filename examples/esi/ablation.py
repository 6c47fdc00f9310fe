"""What confines the steps of MM-Net: four variants beside the library's methods.

Run with ``python examples/esi/ablation.py train mm-net-a --preset PRESET --out out/a``, the preset
being ``examples/esi/presets/ablation.toml``, and then with ``evaluate out/a/weights.safetensors
--steps 0 --steps 100``: the commands are those of ``learnmm-esi``, which know these methods too
here. MM-Net as the paper trains it is mm-net-a with ``--preset paper``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

import learnmm as lmm
from learnmm.atoms import CosineBound
from learnmm.linear import Form
from learnmm_esi.networks.energy import Bounds
from learnmm_esi.networks.recurrent import RecurrentMethod
from learnmm_esi.networks.registry import register

INTERVAL = lmm.SolveSettings(projection=lmm.Projection(upper=1.9), relaxation=None)


@dataclass(frozen=True)
class Confined(RecurrentMethod):
    """Multipliers in an interval of the majorant."""

    solve = INTERVAL

    def proposer(self, matrix: Tensor, times: int) -> lmm.Proposer:
        """Return the network of MM-Net, whose multipliers act on the gradient."""
        return lmm.proposers.DualConvLSTM(matrix.shape[1], self.hidden, self.kernel)


@register
@dataclass(frozen=True)
class Elementwise(Confined):
    """Uniform in the sense of MM-Net Eq. 16, with the paper's constants."""

    name = "mm-net-a"
    summary = "multipliers in the elementwise interval of the paper's uniform bound"
    bounds = Bounds(Form.UNIFORM, CosineBound.PAPER)


@register
@dataclass(frozen=True)
class Metric(Confined):
    """The interval in the metric of the structured majorant."""

    name = "mm-net-b"
    summary = "multipliers in the metric of the structured majorant"


@register
@dataclass(frozen=True)
class Relaxed(Confined):
    """The uncertain part of the majorant relaxed as far as steps verify."""

    name = "mm-net-c"
    summary = "multipliers in the metric of the structured majorant, with verified relaxation"
    solve = replace(INTERVAL, relaxation=lmm.Relaxation())


@register
@dataclass(frozen=True)
class Free(RecurrentMethod):
    """No interval, any sign; the safeguard alone."""

    name = "mm-net-d"
    summary = "any multipliers on the gradient, every step verified"

    def proposer(self, matrix: Tensor, times: int) -> lmm.Proposer:
        """Return the network of MM-Net, whose multipliers are taken as they are."""
        # From zero the first steps are short, whatever the gradient's scale.
        network = lmm.proposers.DualConvLSTM(matrix.shape[1], self.hidden, self.kernel, initial=0.0)
        return lmm.proposers.Unprojected(network)


if __name__ == "__main__":
    from learnmm_esi.cli.app import app  # its help lists the methods that there are by now

    app(prog_name="python examples/esi/ablation.py")
