"""Steps that a network makes of the gradient alone, without a memory."""

from __future__ import annotations

from torch import Tensor, nn

import learnmm as lmm


class OfTheGradient(lmm.LearnedDirection):
    """``d = network(g)``, for recordings of one length.

    Parameters
    ----------
    network : nn.Module
        Maps gradients free of units, ``(B, sources, times)``, to steps in units of the iterate.
    name : str
        What it is called in messages.
    times : int
        The number of samples that it has weights for.
    """

    def __init__(self, network: nn.Module, name: str, times: int) -> None:
        super().__init__()
        self.network, self.name, self.times = network, name, times

    def init_state(self, x: Tensor) -> None:
        """No memory; a clear error unless iterates have the number of samples trained for."""
        if x.shape[-1] != self.times:
            raise ValueError(
                f"{self.name} was built for recordings of {self.times} samples, got "
                f"{x.shape[-1]}: it has one weight per sample, so cut or resample the recording, "
                "or train it anew"
            )

    def forward(self, features: lmm.Features, state: None) -> tuple[Tensor, None]:
        """Apply the network."""
        return self.network(features.gradient), None
