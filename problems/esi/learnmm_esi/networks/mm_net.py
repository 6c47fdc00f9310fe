"""MM-Net and its variants: what proposes the steps, and what confines them."""

from __future__ import annotations

from typing import Any

import learnmm as lmm
from learnmm.atoms import AutoencoderBound, CosineBound
from learnmm.linear import Form
from learnmm_esi.networks.energy import LearnedEnergy
from learnmm_esi.networks.settings import MethodSettings

# What each variant asks of the energy's bounds.
BOUNDS: dict[str, dict[str, Any]] = {
    # Uniform in the sense of MM-Net Eq. 16, with the paper's constants.
    "mm-net-a": {
        "form": Form.UNIFORM,
        "cosine_bound": CosineBound.PAPER,
        "prior_bound": AutoencoderBound.SCALAR,
    },
}


def build(
    settings: MethodSettings, energy: LearnedEnergy
) -> tuple[lmm.LearnedComponent, dict[str, Any]]:
    """Return what proposes the steps, and the settings of the optimizer.

    - ``mm-net-a``: multipliers in the elementwise interval of the paper's uniform bound.
    - ``mm-net-b``: multipliers in the metric of the structured majorant.
    - ``mm-net-c``: the same, the uncertain part of the majorant relaxed as far as steps verify.
    - ``mm-net-d``: no interval, any sign; the safeguard alone.
    - ``mm-net``: as d, on the gradient after a damped inverse of the data term's curvature.
    - ``r-mm-net``: as ``mm-net``, without the safeguard: the paper's relaxed variant.
    """
    name = settings.method
    sources = energy.matrix.shape[1]
    if name in ("mm-net-a", "mm-net-b", "mm-net-c"):
        network = lmm.DualConvLSTM(sources, settings.hidden, settings.kernel)
        relaxation = lmm.Relaxation() if name == "mm-net-c" else None
        return network, {"projection": lmm.Projection(upper=1.9), "relaxation": relaxation}
    # From zero the first steps are short, whatever the gradient's scale.
    network = lmm.DualConvLSTM(sources, settings.hidden, settings.kernel, initial=0.0)
    metric = None if name == "mm-net-d" else lmm.DampedInverse(energy.matrix)
    safeguard = None if name == "r-mm-net" else lmm.Safeguard()
    return lmm.Unprojected(network, metric), {"safeguard": safeguard}
