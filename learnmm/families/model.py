"""What a network says of a problem of a family: where to start, and how its Hessian differs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from learnmm.families.solved import Solved
from learnmm.families.space import HessianSpace, coefficients_of

FAR = 10.0
"""Features further from their mean, in units of their spread, are taken to lie here."""

RIDGES = (1e-8, 1e-6, 1e-4, 1e-2, 1e0, 1e2)
"""Tried for the linear maps, relative to the mean square of the features."""


@dataclass(frozen=True)
class Sizes:
    """What a model is built from.

    Attributes
    ----------
    shape : tuple of int
        Of the unknowns of a problem.
    data : int or None
        Numbers that tell a problem from others; None where gradient and start do.
    directions : int
        Of the space of Hessians.
    hidden : int
        Width of the network.
    """

    shape: tuple[int, ...]
    data: int | None
    directions: int
    hidden: int

    @property
    def unknowns(self) -> int:
        """How many there are."""
        return int(torch.Size(self.shape).numel())

    @property
    def features(self) -> int:
        """Numbers that the network sees."""
        return 2 * self.unknowns + (self.data or 0)


class FamilyModel(nn.Module):
    """Start and coefficients of the Hessian from what tells a problem from its family.

    With features ``z`` (the data, the start given and its gradient, each over its spread in
    training), both are a linear map of ``z`` plus a perceptron.

    Parameters
    ----------
    sizes : Sizes
        Of everything.
    """

    centre: Tensor
    spread: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.shape = sizes.shape
        n, d, k = sizes.unknowns, sizes.features, sizes.directions
        self.space = HessianSpace(n, k)
        for name, shape in (("centre", (d,)), ("spread", (d,)), ("mean", (n,)), ("scale", ())):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.linear = nn.Linear(d, n + k, dtype=torch.float64)
        last = nn.Linear(sizes.hidden, n + k, dtype=torch.float64)
        self.network = nn.Sequential(
            nn.Linear(d, sizes.hidden, dtype=torch.float64),
            nn.SiLU(),
            nn.Linear(sizes.hidden, sizes.hidden, dtype=torch.float64),
            nn.SiLU(),
            last,
        )
        nn.init.zeros_(last.weight)  # it begins with the linear map alone
        nn.init.zeros_(last.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return starts ``(B, n)`` and coefficients ``(B, k)`` for features ``(B, d)``."""
        seen = self.standard(features)
        start, told = (self.linear(seen) + self.network(seen)).split(
            [self.sizes.unknowns, self.sizes.directions], 1
        )
        return self.mean + self.scale * start, self._unit() * told

    def _unit(self) -> Tensor:
        """Of coefficients: the spread of the first."""
        return self.space.variance[:1].sqrt()

    def standard(self, features: Tensor) -> Tensor:
        """Features over their spread; zero where training has seen none."""
        spread = torch.where(self.spread > 0, self.spread, 1.0)
        return ((features - self.centre) / spread * (self.spread > 0)).clamp(-FAR, FAR)


def features_of(x0: Tensor, gradient: Tensor, data: Tensor | None) -> Tensor:
    """What tells a problem from others, ``(B, d)``, in float64."""
    parts = [x0.flatten(1), gradient.flatten(1)]
    return torch.cat(parts if data is None else [data, *parts], 1).double()


@torch.no_grad()
def fitted_model(
    space: HessianSpace, coefficients: Tensor, solved: Solved, held: Solved, hidden: int
) -> FamilyModel:
    """Return a model with all that has a closed form; its perceptron adds nothing yet.

    Parameters
    ----------
    space, coefficients : HessianSpace, Tensor
        Of the Hessians of the instances.
    solved, held : Solved
        Where maps come from, and where their ridges are chosen.
    hidden : int
        Width of the network.
    """
    data = None if solved.data is None else solved.data.shape[1]
    model = FamilyModel(Sizes(tuple(solved.x0.shape[1:]), data, space.directions, hidden))
    model.space.load_state_dict(space.state_dict())
    features = features_of(solved.x0, solved.gradient, solved.data)
    spread = features.std(0)
    solutions = solved.minimizer.flatten(1)
    model.centre.copy_(features.mean(0))
    model.spread.copy_(spread * (spread > 1e-10 * spread.amax()))
    model.mean.copy_(solutions.mean(0))
    model.scale.copy_(solutions.std(0).amax().clamp(min=torch.finfo(torch.float64).tiny))
    seen = model.standard(features)
    held_seen = model.standard(features_of(held.x0, held.gradient, held.data))
    unit = space.variance[:1].sqrt()
    weight, bias = _ridge(
        (seen, (solutions - model.mean) / model.scale),
        (held_seen, (held.minimizer.flatten(1) - model.mean) / model.scale),
    )
    known, kept = len(coefficients), coefficients_of(space, held.hessians)
    more, other = _ridge((seen[:known], coefficients / unit), (held_seen[: len(kept)], kept / unit))
    model.linear.weight.copy_(torch.cat([weight, more], 1).mT)
    model.linear.bias.copy_(torch.cat([bias, other]))
    return model


def _ridge(train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Linear map and offset with the ridge that predicts held-out targets best, or no map."""
    features, targets = train
    offset = targets.mean(0)
    left, values, right = torch.linalg.svd(features, full_matrices=False)
    turned, level = left.mT @ (targets - offset), features.square().mean().clamp(min=1e-300)
    best = float((offset - held[1]).square().mean())
    chosen = targets.new_zeros(features.shape[1], targets.shape[1])
    for ridge in RIDGES:
        gain = values / (values.square() + ridge * len(features) * level)
        weight = right.mT @ (gain[:, None] * turned)
        error = float((held[0] @ weight + offset - held[1]).square().mean())
        if error < best:
            best, chosen = error, weight
    return chosen, offset
