"""Heads that differ from the template: another cortex in the same skull."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from learnmm_esi.head.cortex import Hemisphere

__all__ = ["NO_WARP", "HeadWarp"]

CENTRE = np.array([0.0, -0.020, 0.020])  # metres; about the middle of the brain
WAVES = 6  # of the smooth part, each of a wavelength of 10 to 20 cm


@dataclass(frozen=True)
class HeadWarp:
    """An affine map and a smooth displacement of the cortex, drawn at random.

    Electrodes and boundaries stay: what counts is where the brain lies between them. Vertices that
    come out of the inner skull are moved back inside, as they are in the template.

    Attributes
    ----------
    seed : int
        Of the draw.
    stretch : float
        Standard deviation of the relative change of size along each axis.
    shift : float
        Standard deviation of the shift along each axis in metres.
    bend : float
        Root mean square of the smooth displacement along each axis in metres.
    """

    seed: int = 0
    stretch: float = 0.0
    shift: float = 0.0
    bend: float = 0.0

    def __call__(self, hemisphere: Hemisphere) -> Hemisphere:
        """Return the hemisphere as it lies in this head."""
        if self == NO_WARP:
            return hemisphere
        return replace(
            hemisphere, white=self.moved(hemisphere.white), pial=self.moved(hemisphere.pial)
        )

    def moved(self, points: np.ndarray) -> np.ndarray:
        """Where points ``(n, 3)`` of the template lie, in metres."""
        generator = np.random.default_rng(self.seed)
        size = 1 + self.stretch * generator.standard_normal(3)
        shift = self.shift * generator.standard_normal(3)
        direction = generator.standard_normal((WAVES, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        wave = 2 * np.pi * direction / generator.uniform(0.1, 0.2, (WAVES, 1))
        phase = generator.uniform(0, 2 * np.pi, WAVES)
        towards = self.bend * np.sqrt(2 / WAVES) * generator.standard_normal((WAVES, 3))
        bent = np.sin(points @ wave.T + phase) @ towards
        moved: np.ndarray = CENTRE + (points - CENTRE) * size + shift + bent
        return moved


NO_WARP = HeadWarp()
"""The template as it is."""
