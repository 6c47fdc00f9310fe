"""Template matching when neither the gain of a signal nor the phases of its parts are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from learnmm import CosineDistance
from learnmm.linear import Form, MatrixMap
from learnmm.registry import Instance, Problem
from learnmm_problems.checked import CheckedProblem
from learnmm_problems.cosine_regression import closest

WAVES = 2.5
"""Periods of the slowest template within one standard deviation of its window."""


@dataclass(frozen=True)
class TemplateMatchingProblem(CheckedProblem):
    """``f(x) = 1 - cos(A x, y)``, columns of ``A`` being quadrature pairs of windowed waves.

    Template ``k`` has a place, a frequency, and two columns, a cosine and a sine under the same
    Gaussian window: a wave of amplitude ``r`` and phase ``p`` is ``x = r (cos p, sin p)``, so the
    amplitude ``(x_c^2 + x_s^2)^(1/2)`` of a match does not depend on the phase. Nor does it depend
    on the gain of ``y = gain (A x_true + noise)``, up to a factor common to all templates. Windows
    overlap, so templates compete. ``x`` has shape ``(B, 2 places tones)``, all cosines first.
    Optimum, minimizers and critical values are those of
    :class:`~learnmm_problems.cosine_regression.CosineRegressionProblem`.

    Parameters
    ----------
    length : int
        Samples of the signal.
    places, tones : int
        Windows, spread evenly, and frequencies in each, half an octave apart. Twice their product
        is at most the length.
    active : float
        Share of templates in a signal.
    noise : float
        Standard deviation of the noise relative to the signal, before the gain.
    form : {"structured", "uniform", "separable"}
        Form of the bound, see :class:`learnmm.linear.MatrixMap`: the first needs a decomposition.
    """

    name: ClassVar[str] = "template-matching"
    length: int = 96
    places: int = 8
    tones: int = 2
    active: float = 0.2
    noise: float = 0.1
    form: Form | str = Form.STRUCTURED
    shares: ClassVar[str] = "operator"

    def __post_init__(self) -> None:
        """Refuse more columns than samples: every signal would be matched."""
        super().__post_init__()
        if not 1 <= 2 * self.places * self.tones <= self.length:
            raise ValueError(
                "TemplateMatchingProblem needs 1 to length/2 templates, got places * tones = "
                f"{self.places * self.tones} for {self.length} samples"
            )

    def shifted(self) -> Mapping[str, Problem]:
        """More templates at once; three times the noise."""
        return {
            "data": replace(self, active=min(1.0, 3 * self.active)),
            "noise": replace(self, noise=3 * self.noise),
        }

    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw amplitudes, phases, noise and gains; start at the correlations ``A^T y``."""
        matrix = quadrature_pairs(self.length, self.places, self.tones)
        m, k = self.length, self.places * self.tones
        chance, size, turn = torch.rand(3, batch, k, generator=generator, dtype=torch.float64)
        noise = torch.randn(batch, m, generator=generator, dtype=torch.float64)
        gain = 10 ** (6 * torch.rand(batch, 1, generator=generator, dtype=torch.float64) - 3)
        present = (chance < self.active) | (chance == chance.amin(1, keepdim=True))
        amplitude = torch.where(present, 0.5 + size, 0.0)
        phase = 2 * math.pi * turn
        truth = torch.cat([amplitude * phase.cos(), amplitude * phase.sin()], 1)
        clean = truth @ matrix.mT
        y = gain * (clean + self.noise * clean.square().mean(1, keepdim=True).sqrt() * noise)
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        optimum, minimizer = closest(left, values, right, y)
        return Instance(
            objective=CosineDistance(y.to(dtype)) @ MatrixMap(matrix.to(dtype), form=self.form),
            x0=torch.nn.functional.normalize(y @ matrix, dim=1).to(dtype),
            optimum=optimum.to(dtype),
            minimizer=minimizer.to(dtype),
            data=torch.nn.functional.normalize(y, dim=1).to(dtype),
            facts={"convex": False, "amplitude": amplitude.to(dtype), "phase": phase.to(dtype)},
        )


def quadrature_pairs(length: int, places: int, tones: int) -> Tensor:
    """Windowed cosines, then sines, as columns of norm one, ``(length, 2 places tones)``."""
    time = torch.arange(length, dtype=torch.float64)
    spacing = length / places
    centre = spacing * (torch.arange(places, dtype=torch.float64) + 0.5)
    since = (time[:, None] - centre)[..., None]  # (length, places, 1)
    frequency = WAVES / spacing * 2 ** (torch.arange(tones, dtype=torch.float64) / 2)
    window = torch.exp(-((since / spacing) ** 2) / 2)
    waves = torch.cat(
        [
            (window * torch.cos(2 * math.pi * frequency * since)).flatten(1),
            (window * torch.sin(2 * math.pi * frequency * since)).flatten(1),
        ],
        1,
    )
    return torch.nn.functional.normalize(waves, dim=0)
