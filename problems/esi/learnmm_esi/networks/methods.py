"""Names of the methods: for settings, and for help that must be at hand at once."""

from __future__ import annotations

METHODS: dict[str, str] = {
    "mm-net": "any multipliers on the damped gradient, every step verified",
    "mm-net-a": "multipliers in the elementwise interval of the uniform bound",
    "mm-net-b": "multipliers in the metric of the structured majorant",
    "mm-net-c": "the same, with verified relaxation",
    "mm-net-d": "any multipliers on the gradient, every step verified",
    "r-mm-net": "MM-Net without safeguard",
    "4dvarnet": "4DVarNet: a ConvLSTM on the gradient, not verified",
    "meta-curvature": "Meta-Curvature: two matrices around the gradient, not verified",
    "modgrad": "ModGrad: a low-rank mask on the gradient, not verified",
}
