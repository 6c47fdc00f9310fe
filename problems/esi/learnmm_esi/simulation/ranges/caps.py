"""Where the electrodes of a recording are, and where they are thought to be."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import mne
import numpy as np
from numpy.typing import NDArray

from learnmm_esi.head.electrodes import head_to_mri, montage_info, montage_name
from learnmm_esi.head.farthest import farthest_points
from learnmm_esi.head.scalp import ScalpGain

__all__ = ["CapRange", "DrawnCap", "electrodes_of"]

Floats = NDArray[np.float64]

ANYWHERE, TEN_FIVE = "anywhere", "standard_1005"
NEAR = 0.015  # metres from an electrode of the 10-05 system: where caps can have some
APART = 0.004  # metres between two electrodes at least


class DrawnCap(NamedTuple):
    """A cap.

    `assumed` and `true`, shape (m, 3) in metres, surface RAS, are where its electrodes are thought
    to be and where they are.
    """

    assumed: Floats
    true: Floats


@dataclass(frozen=True)
class CapRange:
    """Caps of a simulation.

    Attributes
    ----------
    montages : tuple of str
        MNE-Python's names of the montages that electrodes are chosen from; ``"anywhere"`` is all of
        the scalp.
    electrodes : (int, int)
        Fewest and most, drawn evenly on a logarithmic scale; a montage with fewer gives all it has.
    spread : float
        Share of caps whose electrodes keep their distance from each other, as caps are made; the
        others' are chosen at random.
    bad : float
        Largest share of channels that are left out.
    jitter : float
        Standard deviation of an electrode's place along each axis in metres, unknown to the one
        who solves.

    Raises
    ------
    ValueError
        For what is no such range.
    """

    montages: tuple[str, ...] = (
        TEN_FIVE,
        "biosemi256",
        "GSN-HydroCel-256",
        ANYWHERE,
    )
    electrodes: tuple[int, int] = (16, 256)
    spread: float = 0.8
    bad: float = 0.1
    jitter: float = 0.002

    def __post_init__(self) -> None:
        object.__setattr__(self, "montages", tuple(self.montages))
        object.__setattr__(self, "electrodes", tuple(self.electrodes))
        known = (*mne.channels.get_builtin_montages(), ANYWHERE)
        for name in self.montages:
            if montage_name(name) not in known:
                raise ValueError(f"CapRange: there is no montage {name!r}; there are {known}")
        if not self.montages:
            raise ValueError("CapRange: montages must name one at least")
        whole = all(isinstance(count, int) for count in self.electrodes)
        if not (whole and len(self.electrodes) == 2):
            raise ValueError(f"CapRange: electrodes must be two ints, got {self.electrodes!r}")
        if not 4 <= self.electrodes[0] <= self.electrodes[1]:
            raise ValueError(
                f"CapRange: electrodes must be 4 <= fewest <= most, got {self.electrodes}"
            )
        for name in ("spread", "bad"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"CapRange: {name} must be a share, got {getattr(self, name)!r}")
        if not 0 <= self.jitter < 0.05:
            raise ValueError(f"CapRange: jitter must be in metres, got {self.jitter!r}")

    def draw(self, scalp: ScalpGain, generator: np.random.Generator) -> DrawnCap:
        """Draw a cap on the scalp of a head."""
        fewest, most = self.electrodes
        montage = self.montages[int(generator.integers(len(self.montages)))]
        places = electrodes_of(scalp, montage)
        count = round(np.exp(generator.uniform(np.log(fewest), np.log(most))))
        count = min(count, len(places))
        if generator.uniform() < self.spread:
            chosen = farthest_points(places, count, int(generator.integers(len(places))))
        else:
            chosen = generator.permutation(len(places))[:count]
        left_out = int(generator.uniform(0, self.bad) * count)
        kept = max(fewest, count - left_out)
        assumed = places[generator.permutation(chosen)[:kept]]
        moved = self.jitter * generator.standard_normal(assumed.shape)
        return DrawnCap(assumed, assumed + moved if self.jitter else assumed)


@functools.lru_cache(maxsize=64)
def electrodes_of(scalp: ScalpGain, montage: str) -> Floats:
    """Places of a montage's electrodes on the skin, ``(m, 3)`` in metres, surface RAS.

    Parameters
    ----------
    scalp : ScalpGain
        The head.
    montage : str
        MNE-Python's name of one, or ``"anywhere"``: all vertices near an electrode of the 10-05
        system.
    """
    if montage == ANYWHERE:
        system = electrodes_of(scalp, TEN_FIVE)
        vertices = np.asarray(scalp.skin.vertices)
        apart = np.linalg.norm(vertices[:, None] - system[None], axis=2).min(axis=1)
        near: Floats = vertices[apart < NEAR]
        return near
    placed, _ = scalp.place(_in_mri(montage))
    apart = np.linalg.norm(placed[:, None] - placed[None], axis=2)
    # Of names for one place the first is kept.
    repeated = (np.tril(apart < APART, k=-1)).any(axis=1)
    kept: Floats = placed[~repeated]
    return kept


@functools.cache
def _in_mri(montage: str) -> Floats:
    """Electrodes of a montage on the template, before they are placed on its skin."""
    places = np.array([channel["loc"][:3] for channel in montage_info(montage)["chs"]])
    in_mri: Floats = mne.transforms.apply_trans(head_to_mri(), places)
    return in_mri
