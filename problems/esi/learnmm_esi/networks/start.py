"""A learned first iterate: what a cap has seen of a few components, sharpened by a network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learnmm.precision import full_precision
from learnmm_esi.networks.components import Components
from learnmm_esi.networks.sight import Look, Sight, linear_maps

__all__ = ["LearnedStart"]

FACTS = 4  # of a component: size, noise, channels, resolution
CONTEXT = 64


class LearnedStart(nn.Module):
    """``x_0 = sum_r f(z)_r v_r^T``: linear maps of the leading components, sharpened twice.

    The first stage sees the resolution-normalised estimate of a component. The second sees what
    the sensors say of the first one's answer: the estimate of what it leaves unexplained, beside
    the answer itself. Both are odd in the component, as its sign means nothing, and free of
    scale: bias-free layers around soft thresholds relative to the layer's size. What is known of
    cap and noise steers them from the side, as even features do: the diagonal of the resolution
    matrix, the estimated signal-to-noise ratio, the number of modes, and how large a component is.

    Parameters
    ----------
    sources : int
        Regions.
    first, second : int
        Units per layer of the two stages.

    Notes
    -----
    The weights belong to the sources alone: any cap on any head with these sources will do.
    """

    def __init__(self, sources: int, first: int = 384, second: int = 320) -> None:
        super().__init__()
        self.resolution = nn.Linear(sources, CONTEXT)
        self.facts = nn.Linear(FACTS, CONTEXT)
        self.first = _Stage(sources, sources, first)
        self.second = _Stage(2 * sources, sources, second)
        with torch.no_grad():  # at first the second stage leaves the answer nearly as it is
            self.second.leave.weight *= 0.1

    def forward(self, sight: Sight, seen: Look) -> Components:
        """Return the components of the first iterate."""
        return self.stages(sight, seen)[1]

    def stages(self, sight: Sight, seen: Look) -> tuple[Components, Components]:
        """Return the answers of both stages."""
        with full_precision(seen.coefficients):
            maps, resolution = linear_maps(sight, seen.coefficients, seen.lambda2)
        scale = _size(maps)
        size = _rms(maps / scale)
        context = self._context(size, resolution, seen, sight.values)
        relative = maps / scale / size.clamp(min=1e-6)
        answer = size * self.first(relative, context).to(maps)
        answer = answer / _size(answer)
        with full_precision(answer):
            rest = _unexplained(sight, seen, answer) / scale
        both = torch.cat([rest, answer], -1) / size.clamp(min=1e-2)
        final = answer + size * self.second(both, context).to(maps)
        return Components(answer, seen.courses), Components(final, seen.courses)

    def _context(self, size: Tensor, resolution: Tensor, seen: Look, values: Tensor) -> Tensor:
        """What steers the stages, per component, ``(..., members, rank, context)``."""
        logarithm = resolution.log()
        mean = logarithm.mean(-1, keepdim=True)
        modes = (values > 0).sum(-1).to(size).log()[..., None].expand(mean.shape[:-1])
        shared = torch.stack([seen.snr_db / 10, modes - math.log(64), mean[..., 0] + 3], -1)
        shared = shared[..., None, :].expand(*size.shape[:-1], FACTS - 1)
        facts = torch.cat([size.clamp(min=1e-3).log(), shared], -1)
        cap = self.resolution(logarithm - mean)[..., None, :]
        return torch.tanh(cap + self.facts(facts))


def _unexplained(sight: Sight, seen: Look, answer: Tensor) -> Tensor:
    """Linear maps of what an answer leaves of a recording, as large as explains it best."""
    image = (answer.flatten(-3, -2) @ sight.projection).unflatten(-2, answer.shape[-3:-1])
    along = (image * seen.coefficients).sum((-2, -1), keepdim=True)
    best = along / image.square().sum((-2, -1), keepdim=True).clamp(min=1e-12)
    return linear_maps(sight, seen.coefficients - best * image, seen.lambda2)[0]


class _Stage(nn.Module):
    """Layers on maps whose thresholds and gains follow from the context."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.enter = nn.Linear(inputs, hidden, bias=False)
        self.middle = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(2))
        self.leave = nn.Linear(hidden, outputs, bias=False)
        self.steer = nn.Linear(CONTEXT, 6 * hidden)
        with torch.no_grad():
            self.steer.weight *= 0.5
            self.steer.bias.zero_()
            self.steer.bias[: 3 * hidden] = torch.rand(3 * hidden) - 0.5

    def forward(self, inputs: Tensor, context: Tensor) -> Tensor:
        """Apply the layers to ``(..., inputs)``."""
        thresholds, gains = self.steer(context).unflatten(-1, (2, 3, self.hidden)).unbind(-3)
        thresholds, gains = F.softplus(thresholds), 1 + gains
        h = self.enter(inputs)
        for k, layer in enumerate(self.middle):
            h = h + layer(_soft(h * gains[..., k, :], thresholds[..., k, :]))
        left: Tensor = self.leave(_soft(h * gains[..., 2, :], thresholds[..., 2, :]))
        return left


def _soft(h: Tensor, threshold: Tensor) -> Tensor:
    """Soft threshold of entries relative to their root mean square; zero stays zero."""
    relative = h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6)
    return F.relu(relative - threshold) - F.relu(-relative - threshold)


def _rms(maps: Tensor) -> Tensor:
    """Root mean square over sources, ``(..., 1)``."""
    return maps.square().mean(-1, keepdim=True).sqrt()


def _size(maps: Tensor) -> Tensor:
    """Root mean square over sources of all components together, ``(..., 1, 1)``."""
    return maps.square().mean(-1, keepdim=True).sum(-2, keepdim=True).sqrt().clamp(min=1e-12)
