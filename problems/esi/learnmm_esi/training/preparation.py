"""What can learn before there are steps, on what caps have seen: the prior, and a learned start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from learnmm_esi.networks.components import Components
from learnmm_esi.networks.energy import PREPARED, LearnedEnergy
from learnmm_esi.networks.sight import Look, Sight
from learnmm_esi.networks.verdict import linear_start
from learnmm_esi.training.losses import distance

__all__ = ["Prepared", "Preparing", "preparation_loss"]

FIRST_STAGE = 0.3  # of the loss of the second


class Prepared(NamedTuple):
    """What recordings start from, and what the autoencoder makes of it and of the truth.

    `first` and `final` are maps of components, (..., members, rank, sources); the last three are
    samples of some of the recordings, (recordings, sources, samples).
    """

    first: Tensor
    final: Tensor
    from_start: Tensor
    from_truth: Tensor
    truth: Tensor


class Preparing(nn.Module):
    """The parts of an energy that can learn before there are steps.

    They are its prior and, where that is learned, its start. The prior is shown what recordings
    start from; in place of a start from the evidence, which takes far longer than the rest, the
    linear estimate.

    Parameters
    ----------
    energy : LearnedEnergy
        With a start of `PREPARED`, and a prior that looks at one sample at a time.

    Raises
    ------
    ValueError
        If it has none of these.
    """

    def __init__(self, energy: LearnedEnergy) -> None:
        super().__init__()
        if energy.initial not in PREPARED:
            raise ValueError(
                f"a start that is learned or from the evidence is needed, got {energy.initial!r}"
            )
        reach = max(m.kernel_size[0] for m in energy.autoencoder if isinstance(m, nn.Conv1d))
        if reach > 1:
            raise ValueError(
                "with such a start the prior learns from single samples: expected a reach of "
                f"1, got {reach}"
            )
        self.sharpener, self.autoencoder = energy.sharpener, energy.autoencoder

    def forward(self, batch: Mapping[str, Tensor]) -> Prepared:
        """Start from every recording; show the autoencoder some samples of some."""
        sight = Sight(batch["projection"], batch["values"])
        none = batch["coefficients"].new_zeros(0)
        seen = Look(batch["coefficients"], none, batch["snr_db"], batch["lambda2"])
        if self.sharpener is None:
            first = final = linear_start(sight, seen).maps
        else:
            first, final = (part.maps for part in self.sharpener.stages(sight, seen))
        few = batch["seen_samples"].shape[-3]
        start = Components(final[..., :few, :, :].detach(), batch["seen_samples"]).sum()
        truth = Components(batch["maps"][..., :few, :, :], batch["true_samples"]).sum()
        start, truth = (_peak_one(x.flatten(0, -3)) for x in (start, truth))
        return Prepared(first, final, self.autoencoder(start), self.autoencoder(truth), truth)


def preparation_loss(found: Prepared, batch: Mapping[str, Tensor]) -> Any:
    """``[1 - cos(x_0, x)] + 1/2 [1 - cos(Phi(x_0), x)] + 1/2 [1 - cos(Phi(x), x)]``.

    The answer of the start's first stage counts a third besides. An autoencoder that maps the
    start and the truth to the truth makes the truth nearly a minimizer of its prior. What a start
    that is not learned adds is constant.
    """
    start, first = _distance(found.final, batch), _distance(found.first, batch)
    prior = distance(found.from_start, found.truth)
    truth = distance(found.from_truth, found.truth)
    loss = start + FIRST_STAGE * first + (prior + truth) / 2
    return loss, {"start": start, "first": first, "prior": prior, "truth": truth}


def _distance(maps: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean of ``1 - cos(x_0, x)``, from the factors of both.

    With ``x_0 = sum_r f_r v_r^T`` and ``x = sum_p w_p c_p^T`` it is ``<x_0, x> = sum_rp
    <f_r, w_p> <v_r, c_p>``: neither array is formed, whatever the number of samples.
    """
    true = batch["maps"]
    inner = ((maps @ true.mT) * batch["along"]).sum((-2, -1))
    mine = maps.square().sum((-2, -1))
    theirs = ((true @ true.mT) * batch["among"]).sum((-2, -1))
    return (1 - inner * torch.rsqrt((mine * theirs).clamp(min=1e-20))).mean()


def _peak_one(x: Tensor) -> Tensor:
    """Scale every array to a largest entry of one; zero stays zero."""
    return x / x.abs().amax((1, 2), keepdim=True).clamp(min=1e-12)
