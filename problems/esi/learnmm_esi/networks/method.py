"""What a learned method is: its settings, its energy, and what proposes and holds its steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, get_args

from torch import Tensor

import learnmm as lmm
from learnmm.storage import short
from learnmm_esi.networks.energy import Bounds, PriorSettings, Start
from learnmm_esi.settings import MOST_STEPS, check_integer, check_positive, check_size

UNVERIFIED = lmm.SolveSettings(safeguard=None)
"""Settings of a solve that takes steps as they are proposed."""


@dataclass(frozen=True)
class Recordings:
    """What the recordings of a training are like.

    Parameters
    ----------
    times : int
        Samples of a recording, or of the windows that were cut out of it.
    sfreq : float, optional
        Sampling rate in Hz. None: of any rate and length, and of any channels.
    """

    times: int = 64
    sfreq: float | None = 512.0

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        check_size("times", self.times)
        if self.sfreq is not None:
            check_positive("sfreq", self.sfreq)

    @property
    def any(self) -> bool:
        """Whether they were over ranges."""
        return self.sfreq is None


@dataclass(frozen=True)
class Method(ABC):
    """A learned source-imaging method.

    All methods run in one loop, that of `learnmm.ProjectedMMOptimizer`. A concrete subclass says
    what is its own: a name, one line for ``--help``, settings as further fields, what proposes the
    steps, and what holds them. `learnmm_esi.register` adds it to those that can be trained; a file
    in ``networks/methods`` is found without.

    Parameters
    ----------
    steps : int
        Steps of a reconstruction (10 in the paper), at most 10 000.
    start : {"learned", "evidence", "sLORETA", "MNE", "noise"}
        First iterate; "learned" is trained before the steps are, "evidence" is what the library
        estimates without weights, "noise" is the paper's. A method may have another default.
    prior : PriorSettings
        The learned prior of the energy.

    Attributes
    ----------
    name : str
        What it is called in files and on the command line; given as it stands, by a literal.
    summary : str
        The line for ``--help``, likewise.
    any_length : bool
        Whether it serves recordings of another length than those it was trained on.
    bounds : Bounds
        Of the energy.
    solve : SolveSettings
        What confines and verifies the steps.

    Raises
    ------
    ValueError
        For what is no such setting.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    any_length: ClassVar[bool] = True
    bounds: ClassVar[Bounds] = Bounds()
    solve: ClassVar[lmm.SolveSettings] = lmm.SolveSettings()

    steps: int = 10
    start: Start = "sLORETA"
    prior: PriorSettings = field(default_factory=PriorSettings)

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        check_integer("steps", self.steps, 1, MOST_STEPS)
        if self.start not in get_args(Start):
            raise ValueError(f"start must be one of {get_args(Start)}, got {short(self.start)}")
        if not isinstance(self.prior, PriorSettings):
            raise ValueError(f"prior must be PriorSettings, got {short(self.prior)}")
        weight = self.prior.first_weight(self.start)  # so that files say it
        reference = self.prior.reference_weight(self.start)
        object.__setattr__(self, "prior", replace(self.prior, weight=weight, reference=reference))

    @abstractmethod
    def proposer(self, matrix: Tensor, times: int) -> lmm.Proposer:
        """Return what proposes the steps, untrained.

        Parameters
        ----------
        matrix : Tensor, shape (sensors, sources)
            The lead field, of norm one. Its entries may be used, but no module may be larger than
            its sources and the settings make it: the sizes of a file's tensors are found out with
            one sensor, before anything is allocated.
        times : int
            Samples of the recordings of the training.
        """

    @property
    def verified(self) -> bool:
        """Whether every step is."""
        return self.solve.safeguard is not None

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for a file."""
        return asdict(self)
