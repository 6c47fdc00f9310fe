"""The simulator of a data set, from a small file of its settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from learnmm_esi.settings import read_toml, settings_of
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.nmm import NMMSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.simulation.ranges.mixture import Mixture
from learnmm_esi.simulation.ranges.simulator import Ranges, RangeSimulator
from learnmm_esi.simulation.simulator import PatchSimulator
from learnmm_esi.simulation.spiking import SpikeSettings, SpikeSimulator
from learnmm_esi.sources import SourceModel

__all__ = [
    "DATA",
    "ERPSettings",
    "NMMSettings",
    "Protocol",
    "SpikeSimulatorSettings",
    "load_protocol",
    "simulator",
]

FOLDER = Path(__file__).parent / "protocols"
DATA = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
"""Event-related potentials, interictal spikes of neural masses, these two by two, and recordings
over ranges."""


@dataclass(frozen=True)
class ERPSettings:
    """What an `ERPSimulator` takes."""

    times: int = 64
    sfreq: float = 512.0
    snr_db: float | tuple[float, float] = 5.0
    waveform: str = "gaussian"
    patches: PatchSettings = field(default_factory=PatchSettings)

    make = ERPSimulator


@dataclass(frozen=True)
class NMMSettings:
    """What an `NMMSimulator` takes."""

    snr_db: float | tuple[float, float] = (5.0, 15.0)
    source_snr_db: float | tuple[float, float] = (10.0, 20.0)
    choice: str = "isolated"
    patches: PatchSettings = field(default_factory=PatchSettings)

    make = NMMSimulator


@dataclass(frozen=True)
class SpikeSimulatorSettings:
    """What a `SpikeSimulator` takes."""

    snr_db: float | tuple[float, float] = (8.0, 17.0)
    spikes: SpikeSettings = field(default_factory=SpikeSettings)
    patches: PatchSettings = field(default_factory=PatchSettings)

    make = SpikeSimulator


OneHeadSettings = ERPSettings | NMMSettings | SpikeSimulatorSettings
KINDS: dict[str, type[Any]] = {
    "erp": ERPSettings,
    "nmm": NMMSettings,
    "ranges": Ranges,
    "spikes": SpikeSimulatorSettings,
}


@dataclass(frozen=True)
class Protocol:
    """What is simulated.

    Attributes
    ----------
    name : str
        Of the data set.
    settings : ERPSettings, NMMSettings, SpikeSimulatorSettings or Ranges
        Of its simulator.
    also : tuple of (float, Ranges)
        Further ranges, each with its share.
    training : settings of the same kind, optional
        Of what is trained on, where that differs from what is tested on.
    """

    name: str
    settings: OneHeadSettings | Ranges
    also: tuple[tuple[float, Ranges], ...] = ()
    training: OneHeadSettings | None = None

    def for_training(self) -> Protocol:
        """Return the protocol of what is trained on."""
        return self if self.training is None else replace(self, settings=self.training)

    def groups(self, seed: int, size: int) -> Mixture:
        """Return the simulator of recordings over ranges.

        Parameters
        ----------
        seed : int
            Names the data set.
        size : int
            Number of recordings.

        Raises
        ------
        ValueError
            If the recordings are not over ranges.
        """
        if not isinstance(self.settings, Ranges):
            raise ValueError(f"the recordings of {self.name} are of one head, not over ranges")
        count = max(1, size // self.settings.together)
        parts = (self.settings, *(ranges for _, ranges in self.also))
        shares = [share for share, _ in self.also]
        return Mixture(
            [RangeSimulator(part, seed, count) for part in parts], [1 - sum(shares), *shares]
        )

    def simulator(self, model: SourceModel, seed: int, size: int, **changes: Any) -> PatchSimulator:
        """Return the simulator on one head model.

        Parameters
        ----------
        model : SourceModel
            The head model. Patches fall off with the geodesic distance where it is known.
        seed : int
            Names the data set.
        size : int
            Number of samples.
        **changes
            Of the settings.

        Raises
        ------
        ValueError
            If the recordings are over ranges, which have heads of their own.
        """
        if isinstance(self.settings, Ranges):
            raise ValueError(
                f"the recordings of {self.name} are over ranges of heads: on one head model there "
                "are erp, nmm and nmm-two"
            )
        unknown = {name for name in changes if not hasattr(self.settings, name)}
        if unknown:
            raise TypeError(f"{self.name} has no {', '.join(sorted(unknown))} to change")
        settings = replace(self.settings, **changes)
        given = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
        if model.distances is None:
            given["patches"] = replace(settings.patches, distance="euclidean")
        made: PatchSimulator = type(settings).make(model, seed, size, **given)
        return made


def load_protocol(name: str | Path) -> Protocol:
    """Read a data set's settings by its name, or any TOML file of the same form.

    Raises
    ------
    FileNotFoundError
        If there is none, naming those that come with the library.
    ValueError
        For an unknown simulator or setting, or one that is not possible.
    """
    path = FOLDER / f"{name}.toml" if str(name) in DATA else Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"no data set and no file is called {str(name)!r}; there are {', '.join(DATA)}"
        )
    content = read_toml(path)
    kind = content.pop("simulator", None)
    if kind not in KINDS:
        raise ValueError(f"{path}: simulator must be one of {', '.join(KINDS)}, got {kind!r}")
    other = "also" if kind == "ranges" else "training"
    unknown = sorted(set(content) - {"settings", other})
    if unknown:
        raise ValueError(f"{path}: unknown section '{unknown[0]}'")
    given, differing = content.get("settings", {}), content.get("training")
    settings = settings_of(KINDS[kind], given, path, "settings")
    training = (
        None
        if differing is None
        else settings_of(KINDS[kind], _merged(given, differing), path, "training")
    )
    also = []
    for name, table in content.get("also", {}).items():
        share = table.pop("share", None) if isinstance(table, dict) else None
        if not isinstance(share, float) or not 0 < share < 1:
            raise ValueError(f"{path}: [also.{name}] must have a share between 0 and 1")
        also.append((share, settings_of(Ranges, table, path, f"also.{name}")))
    return Protocol(path.stem, settings, tuple(also), training)


def _merged(table: Any, changes: Any) -> Any:
    """Return a table with what differs in another, tables within it likewise."""
    if not (isinstance(table, dict) and isinstance(changes, dict)):
        return changes
    return {**table, **{name: _merged(table.get(name), value) for name, value in changes.items()}}


def simulator(
    model: SourceModel, data: str, seed: int, size: int, **changes: Any
) -> PatchSimulator:
    """Return the simulator of a data set on one head model.

    Parameters
    ----------
    model : SourceModel
        See `Protocol.simulator`.
    data : str
        See `load_protocol`.
    seed, size : int
        See `Protocol.simulator`.
    **changes
        Of its settings.
    """
    return load_protocol(data).simulator(model, seed, size, **changes)
