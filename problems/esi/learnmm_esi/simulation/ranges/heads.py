"""Which heads recordings come from, and which head is known to the one who solves."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from learnmm.progress import Progress
from learnmm_esi.head.scalp import ScalpGain, scalp_gain
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.head.warp import HeadWarp

__all__ = ["DrawnHead", "HeadRange", "Heads", "OtherHeads"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OtherHeads:
    """Heads that differ from the template.

    Attributes
    ----------
    count : int
        How many there are.
    ico : int
        Resolution of their boundaries.
    skull_ratio : (float, float)
        Conductivity of the brain over that of the skull; theirs lie evenly in between, on a
        logarithmic scale.
    surfaces, skulls : tuple of str
        Surfaces of the dipoles and shapes of the skull, which they have in turn.
    stretch, shift, bend : float
        Of their cortex, see `HeadWarp`.

    Raises
    ------
    ValueError
        For what is no such range.
    """

    count: int = 8
    ico: int = 3
    skull_ratio: tuple[float, float] = (15.0, 80.0)
    surfaces: tuple[str, ...] = ("white", "pial")
    skulls: tuple[str, ...] = ("ratio", "half", "constant")
    stretch: float = 0.03
    shift: float = 0.003
    bend: float = 0.002

    def __post_init__(self) -> None:
        for name in ("skull_ratio", "surfaces", "skulls"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not (isinstance(self.count, int) and 0 <= self.count <= 1000):
            raise ValueError(f"OtherHeads: count must be an int in 0..1000, got {self.count!r}")
        ratio = self.skull_ratio
        if not (len(ratio) == 2 and 0 < ratio[0] <= ratio[1] and self.surfaces and self.skulls):
            raise ValueError(
                "OtherHeads: skull_ratio must be 0 < least <= most, with one surface and one "
                f"skull at least, got {ratio}, {self.surfaces}, {self.skulls}"
            )

    def settings(self, number: int, template: HeadModelSettings) -> HeadModelSettings:
        """What one of them is built of."""
        low, high = self.skull_ratio
        place = number / max(1, self.count - 1)
        ratio = round(low * (high / low) ** place, 1)
        brain = template.conductivity[0]
        return replace(
            template,
            ico=self.ico,
            surface=self.surfaces[number % len(self.surfaces)],
            skull=self.skulls[number % len(self.skulls)],
            conductivity=(brain, brain / ratio, brain),
        )

    def warp(self, number: int) -> HeadWarp:
        """How its cortex lies."""
        return HeadWarp(number + 1, self.stretch, self.shift, self.bend)


@dataclass(frozen=True)
class HeadRange:
    """Heads of a simulation: the template, and others that differ from it.

    Attributes
    ----------
    sources, ico : int
        Regions of all heads, and resolution of the template's boundaries.
    others : OtherHeads
        The others.
    template : float
        Share of recordings that come from the template itself.
    known : float
        Share of the rest whose solver is given the head that they come from, as of one's own MRI;
        otherwise it has the template.
    tilt : float
        Largest standard deviation of the dipoles' directions around the normals, as a tangent; half
        of the recordings have less than a quarter of it. Columns of folded regions cancel along
        normals, and what stimulates from within points anywhere.

    Raises
    ------
    ValueError
        For what is no such range.
    """

    sources: int = 994
    ico: int = 4
    others: OtherHeads = field(default_factory=OtherHeads)
    template: float = 0.5
    known: float = 0.3
    tilt: float = 2.0

    def __post_init__(self) -> None:
        for name in ("template", "known"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"HeadRange: {name} must be a share, got {getattr(self, name)!r}")
        if not self.tilt >= 0:
            raise ValueError(f"HeadRange: tilt must not be negative, got {self.tilt!r}")
        for number in range(self.others.count):  # refused before hours are spent
            self.others.settings(number, self.settings)

    @property
    def settings(self) -> HeadModelSettings:
        """The template."""
        return HeadModelSettings(sources=self.sources, ico=self.ico)


@dataclass(frozen=True, eq=False)
class DrawnHead:
    """The head of some recordings.

    Attributes
    ----------
    true : ScalpGain
        Where they come from.
    directions : ndarray, shape (sources, 3)
        What is added to the dipoles along the normals, in the head frame.
    assumed : ScalpGain
        What the one who solves knows.
    """

    true: ScalpGain
    directions: Floats
    assumed: ScalpGain

    def leadfield(self, points: Floats) -> Floats:
        """What electrodes at true places ``(m, 3)`` see, average-referenced."""
        vertices, weights = self.true.corners(points)
        gain = np.einsum("mk,mks->ms", weights, self.true.gain[vertices])
        if self.directions.any():
            tilted = np.einsum("mksa,sa->mks", self.true.free[vertices], self.directions)
            gain += np.einsum("mk,mks->ms", weights, tilted)
        seen: Floats = gain - gain.mean(axis=0)
        return seen


class Heads:
    """The heads of a range, each computed when it is first drawn, and kept on disk.

    Parameters
    ----------
    settings : HeadRange
        Which.
    cache_dir : path, optional
        See `scalp_gain`.
    """

    def __init__(
        self, settings: HeadRange, cache_dir: str | os.PathLike[str] | None = None
    ) -> None:
        self.settings, self.cache_dir = settings, cache_dir
        self._others: dict[int, ScalpGain] = {}

    @cached_property
    def template(self) -> ScalpGain:
        """The template."""
        return scalp_gain(self.settings.settings, cache_dir=self.cache_dir)

    def other(self, number: int) -> ScalpGain:
        """One of the other heads."""
        if number not in self._others:
            others = self.settings.others
            self._others[number] = scalp_gain(
                others.settings(number, self.settings.settings),
                others.warp(number),
                cache_dir=self.cache_dir,
            )
        return self._others[number]

    def prepare(self, progress: bool = False) -> None:
        """Compute all that are not on disk, one after the other, and show how far that is."""
        settings = self.settings
        with Progress(1 + settings.others.count, enabled=progress, title="heads") as bar:
            _ = self.template
            for number in range(settings.others.count):
                bar.show(1 + number, "some minutes, once")
                self.other(number)
            bar.show(1 + settings.others.count, "")

    def draw(self, generator: np.random.Generator) -> DrawnHead:
        """Draw the head of some recordings."""
        settings = self.settings
        is_template = generator.uniform() < settings.template or settings.others.count == 0
        number = int(generator.integers(max(1, settings.others.count)))
        is_known = generator.uniform() < settings.known
        true = self.template if is_template else self.other(number)
        tilt = settings.tilt * generator.uniform() ** 2
        directions = tilt * generator.standard_normal((settings.sources, 3))
        return DrawnHead(true, directions, true if is_known else self.template)
