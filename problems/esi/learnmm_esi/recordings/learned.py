"""Learned weights on recordings: whether they fit one, and the solve."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import mne
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

import learnmm as lmm
from learnmm.storage import Pretrained, peek_weights
from learnmm_esi.head.fsaverage import fsaverage_head_model
from learnmm_esi.head.model import HeadModel, Registration
from learnmm_esi.head.registration import template_regions
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.inverse.energy import Reconstruction
from learnmm_esi.networks.configuration import HOW_TO_TRAIN, Configuration
from learnmm_esi.networks.files import load_solver
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.recordings.channels import ChannelMatch
from learnmm_esi.recordings.settings import InverseSettings

SHIPPED = Path(__file__).parents[1] / "weights"
"""Weights that come with the library, ``NAME.safetensors``."""

BEST = "mm-net"
"""Weights for the electrodes of any recording."""

MM_NET = Pretrained(
    load_solver,
    lambda config: {"method", "leadfield"} <= config.keys(),
    SHIPPED / f"{BEST}.safetensors",
)
"""What `learnmm.load_pretrained` finds under their name."""

LENGTHS = (0.5, 2.0)  # of a recording, relative to training, from where on a warning says so
RATE_TOLERANCE = 0.02  # relative; what a kernel of three samples sees changes no more than this


def find_weights(name: str | os.PathLike[str]) -> Path:
    """Return the file of shipped weights, such as ``"mm-net"``, or a path as it is.

    Raises
    ------
    FileNotFoundError
        If it is neither, naming what there is.
    """
    shipped = SHIPPED / f"{name}.safetensors"
    if shipped.is_file():
        return shipped
    if Path(name).is_file():
        return Path(name)
    known = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.safetensors"))) or "none"
    raise FileNotFoundError(
        f"no weights and no file are called {str(name)!r}; shipped with the library: {known}"
    )


def best_settings(head: HeadModelSettings | None, max_iter: int | None = None) -> InverseSettings:
    """Return how recordings on the template are solved by default.

    Parameters
    ----------
    head : HeadModelSettings, optional
        Of the template. With as many sources as it has by default, the weights `BEST` guide, if
        these are there.
    max_iter : int, optional
        Limit on steps.
    """
    same = head is None or head.sources == HeadModelSettings().sources
    shipped = (SHIPPED / f"{BEST}.safetensors").is_file()
    weights = BEST if same and shipped else None
    return InverseSettings(max_iter=max_iter, weights=weights, guided=weights is not None)


def model_for_weights(
    model: HeadModel, weights: str | os.PathLike[str]
) -> tuple[HeadModel, csr_matrix | None]:
    """Bring a forward solution to the sources that weights were trained on.

    Parameters
    ----------
    model : HeadModel
        On any sources.
    weights : str or path
        See `find_weights`.

    Returns
    -------
    model : HeadModel
        On the template's regions, if `model` is that of a forward solution and the weights were
        trained on the template; else as it is.
    shares : csr_matrix, shape (regions, sources), optional
        What brings estimates back (see `Registration`), if it is another one.
    """
    path = find_weights(weights)
    head = Configuration.of(path, peek_weights(path)[1]).head
    if head is None or not isinstance(model.origin, mne.Forward):
        return model, None
    template = fsaverage_head_model(head, progress=True)
    reduced = template_regions(model.origin, template)
    assert isinstance(reduced.origin, Registration)
    return reduced, reduced.origin.shares


class LearnedInverse:
    """A trained method for the recordings of one head model.

    Parameters
    ----------
    weights : str or path
        See `find_weights`.
    model : HeadModel
        Must be the one that the weights were trained on.
    transfer : bool
        Or, with True, another one with the same sources and channels.
    """

    def __init__(
        self, weights: str | os.PathLike[str], model: HeadModel, transfer: bool = False
    ) -> None:
        self.path = find_weights(weights)
        self.solver = load_solver(self.path, model, transfer=transfer)

    @property
    def any(self) -> bool:
        """Whether the weights serve any channels, lengths and rates."""
        return self.solver.recordings.any

    def seeing(self, leadfield: NDArray[np.float64]) -> SeeingInverse:
        """Return what reconstructs recordings of the channels in use.

        Parameters
        ----------
        leadfield : ndarray, shape (channels, sources)
            Theirs, projected and whitened as they are. Weights for one head model have that of
            their own, which is the same (see `check`).
        """
        return SeeingInverse(self.solver, leadfield if self.any else self.solver.head.leadfield)

    @property
    def times(self) -> int:
        """Samples of the recordings that the weights were trained on."""
        return self.solver.recordings.times

    def check(self, info: mne.Info, match: ChannelMatch, matrix: NDArray[np.float64]) -> None:
        """Raise a clear error unless the weights serve a recording.

        Parameters
        ----------
        info : mne.Info
            Of the recording.
        match : ChannelMatch
            Channels in use.
        matrix : ndarray, shape (channels, channels)
            What projectors and whitening do to them.
        """
        trained, names = self.solver.recordings, self.solver.channel_names
        if trained.sfreq is None:
            return
        lacking = [name for row, name in enumerate(names) if row not in match.rows]
        if lacking:
            raise ValueError(
                f"the weights {self.path.name} are for all {len(names)} channels of their head "
                f"model, and the recording has no good {', '.join(lacking)}. Interpolate bad "
                "channels (evoked.interpolate_bads()), leave out the weights (no training is "
                f"needed then), or train for your channels: {HOW_TO_TRAIN}"
            )
        count = len(names)
        if not np.allclose(matrix, np.eye(count) - 1 / count, atol=1e-9):
            raise ValueError(
                f"the weights {self.path.name} are for recordings with the average reference and "
                "nothing else: this one has further projectors or a noise covariance. Leave them "
                "out, or leave out the weights"
            )
        if abs(info["sfreq"] / trained.sfreq - 1) > RATE_TOLERANCE:
            raise ValueError(
                f"the weights {self.path.name} are for recordings at {trained.sfreq:g} Hz, this "
                f"one has {info['sfreq']:g} Hz: resample it (evoked.resample({trained.sfreq:g})), "
                "or leave out the weights"
            )

    def check_length(self, times: int) -> None:
        """Warn if recordings are much shorter or longer than those of the training.

        Parameters
        ----------
        times : int
            Samples of a recording.

        Raises
        ------
        ValueError
            If the method serves one length alone.
        """
        trained, method = self.solver.recordings, self.solver.method
        if trained.sfreq is None:
            return
        told = f"{trained.times} samples ({1e3 * trained.times / trained.sfreq:.0f} ms)"
        if not method.any_length and times != trained.times:
            raise ValueError(
                f"the weights {self.path.name} ({method.name}) are for recordings of {told} alone, "
                f"this one has {times}: crop it, or leave out the weights"
            )
        if not LENGTHS[0] <= times / trained.times <= LENGTHS[1]:
            warnings.warn(
                f"the weights {self.path.name} were trained on recordings of {told}, this one "
                f"has {times}: sources may be far off. Crop it to the response of interest, or "
                "leave out the weights",
                RuntimeWarning,
                stacklevel=2,
            )


class SeeingInverse:
    """A trained method on the channels of one recording.

    Several share the solver of one `LearnedInverse`, in turns: a generator of epochs may rest while
    another recording is solved.

    Parameters
    ----------
    solver : SourceSolver
        The method.
    leadfield : ndarray, shape (channels, sources)
        See `LearnedInverse.seeing`.
    """

    def __init__(self, solver: SourceSolver, leadfield: NDArray[np.float64]) -> None:
        self._solver, self._seen = solver, leadfield

    @property
    def solver(self) -> SourceSolver:
        """The method, with this lead field."""
        if self._solver.seen is not self._seen:
            self._solver.see(self._seen)
        return self._solver

    @property
    def leadfield(self) -> lmm.linear.MatrixMap:
        """What the sensors see, divided by its norm."""
        return self.solver.energy.leadfield

    def reconstruct(
        self, sensors: ArrayLike, *, max_iter: int | None = None, progress: bool = False
    ) -> Reconstruction:
        """Estimate sources of recordings ``(batch, channels, times)`` in V."""
        return self.solver.reconstruct(sensors, steps=max_iter, progress=progress)
