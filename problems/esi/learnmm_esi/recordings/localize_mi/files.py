"""Which files of a BIDS folder belong to a run, found by the entities in their names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BidsFile", "RunFiles", "find_runs"]

EPOCHS = (("epochs", ".npy"), ("epo", ".fif"), ("epochs", ".fif"))
FORWARD = (("fwd", ".fif"),)
# The frame of a forward solution's surfaces; others, as T1w, have another origin or another head.
SPACES = ("surface", "fsnative", None)
EXAMPLE = "derivatives/epochs/sub-01/eeg/sub-01_task-seegstim_run-01_epochs.npy"
_SHOWN = 6  # files in a message


@dataclass(frozen=True)
class BidsFile:
    """A file whose name says what it holds: ``sub-01_task-rest_run-02_epochs.npy``.

    Attributes
    ----------
    path : Path
    entities : mapping of str to str
        ``{"sub": "01", "task": "rest", "run": "02"}``.
    kind : tuple of str
        Suffix and extension, ``("epochs", ".npy")``; ``.gz`` is left out.
    """

    path: Path
    entities: Mapping[str, str]
    kind: tuple[str, str]

    @classmethod
    def read(cls, path: Path) -> BidsFile:
        """Read the name; MNE-Python's own ``sub-01-epo.fif`` is taken as ``sub-01_epo.fif``."""
        stem, dot, rest = path.name.removesuffix(".gz").partition(".")
        stem = re.sub(r"-(epo|epochs|fwd)$", r"_\1", stem)
        *parts, suffix = stem.split("_")
        pairs = [part.split("-", 1) for part in parts if "-" in part]
        return cls(path, dict(pairs), (suffix, dot + rest.lower()))

    @property
    def label(self) -> str:
        """What the run is called within its subject."""
        rest = {key: value for key, value in self.entities.items() if key not in ("sub", "task")}
        return "_".join(f"{key}-{value}" for key, value in rest.items()) or "run"


@dataclass(frozen=True)
class RunFiles:
    """The files of one run.

    Attributes
    ----------
    subject, run : str
        As ``sub-01`` and ``run-01``.
    epochs, contacts, forward : Path
        Recording, table of the intracerebral contacts, forward solution.
    channels, metadata, epochs_table, events, units : Path or None
        Tables and descriptions beside them that there are: ``_channels.tsv``, ``_epochs.json``,
        ``_epochs.tsv``, ``_events.tsv``, and the contacts' ``_coordsystem.json``.
    """

    subject: str
    run: str
    epochs: Path
    contacts: Path
    forward: Path
    channels: Path | None = None
    metadata: Path | None = None
    epochs_table: Path | None = None
    events: Path | None = None
    units: Path | None = None

    @property
    def name(self) -> str:
        """Subject and run."""
        return f"{self.subject} {self.run}"


def find_runs(folder: Path) -> list[RunFiles]:
    """Find every run of a folder with all that belongs to it.

    A file belongs to a run if all entities of its name but the space are the run's; of several,
    the one with most of them (BIDS' principle of inheritance).

    Parameters
    ----------
    folder : Path
        The data set, or its derivatives.

    Returns
    -------
    list of RunFiles
        By subject and run.

    Raises
    ------
    NotADirectoryError
        If `folder` is none.
    FileNotFoundError
        If there are no epochs, or a run lacks a file; all that lack are listed, with the pattern
        of their names. Files that ``git annex`` has not fetched count as lacking.
    ValueError
        If several files could be meant.
    """
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{folder} is no folder: expected that of the Localize-MI data set"
        )
    files = _index(folder)
    epochs: dict[tuple[tuple[str, str], ...], BidsFile] = {}
    for kind in EPOCHS:
        for file in files:
            if file.kind == kind and "ieeg" not in file.path.parts:
                epochs.setdefault(tuple(sorted(file.entities.items())), file)
    if not epochs:
        raise FileNotFoundError(
            f"{folder} has no epochs: expected files sub-*_epochs.npy, sub-*_epo.fif or "
            f"sub-*-epo.fif, as {EXAMPLE} of Localize-MI; of its files {len(files)} begin with sub-"
            f"{_some([file.path for file in files], folder)}"
        )
    missing: list[str] = []
    runs = [_run(file, files, folder, missing) for file in epochs.values()]
    if missing:
        listed = "; ".join(missing[:_SHOWN]) + ("; ..." if len(missing) > _SHOWN else "")
        raise FileNotFoundError(f"{folder} lacks {len(missing)} files: {listed}")
    return sorted((run for run in runs if run is not None), key=lambda run: (run.subject, run.run))


def _index(folder: Path) -> list[BidsFile]:
    """Every file of a subject, hidden folders as those of git left out."""
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            BidsFile.read(Path(base) / name) for name in sorted(names) if name.startswith("sub-")
        ]
    return found


def _run(
    epochs: BidsFile, files: Sequence[BidsFile], folder: Path, missing: list[str]
) -> RunFiles | None:
    """Collect the files of a run, or tell which of them lack."""
    near = [file for file in files if _belongs(file, epochs)]
    scalp = [file for file in near if "ieeg" not in file.path.parts]
    inside = [file for file in near if file.kind == ("electrodes", ".tsv") and file not in scalp]
    contacts = _only([f for f in inside if f.entities.get("space") in SPACES], "contacts", folder)
    forward = _only([f for f in near if f.kind in FORWARD], "forward solution", folder)
    known = {
        "channels": _only([f for f in scalp if f.kind == ("channels", ".tsv")], "channels", folder),
        "metadata": _only([f for f in scalp if f.kind == ("epochs", ".json")], "epochs", folder),
        "epochs_table": _only([f for f in scalp if f.kind == ("epochs", ".tsv")], "epochs", folder),
        "events": _only([f for f in scalp if f.kind == ("events", ".tsv")], "events", folder),
    }
    subject = f"sub-{epochs.entities.get('sub', '')}"
    run = epochs.label
    lacking = {
        f"forward solution {subject}_fwd.fif or {subject}-fwd.fif": forward,
        f"contacts ieeg/{subject}_*_space-surface_electrodes.tsv{_spaces(inside)}": contacts,
        f"recording {epochs.path.name}": epochs.path,
    }
    if epochs.kind[1] == ".npy":
        stem = epochs.path.name.removesuffix("_epochs.npy")
        lacking[f"table of channels {stem}_channels.tsv"] = known["channels"]
        lacking[f"table of epochs {stem}_epochs.tsv"] = known["epochs_table"]
    told = [f"{what}{_not_fetched(path)}" for what, path in lacking.items() if not _there(path)]
    missing += [f"{subject} {run}: {what}" for what in told]
    if told or forward is None or contacts is None:
        return None
    space = BidsFile.read(contacts).entities.get("space")
    systems = [f for f in near if f.kind == ("coordsystem", ".json") and f not in scalp]
    units = _only([f for f in systems if f.entities.get("space") == space], "units", folder)
    return RunFiles(subject, run, epochs.path, contacts, forward, units=units, **known)


def _belongs(file: BidsFile, run: BidsFile) -> bool:
    own = {key: value for key, value in file.entities.items() if key != "space"}
    return own.items() <= run.entities.items()


def _only(files: Sequence[BidsFile], what: str, folder: Path) -> Path | None:
    """Return the file that tells most entities, None for no file."""
    if not files:
        return None
    most = max(len(file.entities) for file in files)
    best = [file.path for file in files if len(file.entities) == most]
    if len(best) > 1:
        raise ValueError(
            f"{folder} has several files for the {what} of one run{_some(best, folder)}: leave one"
        )
    return best[0]


def _there(path: Path | None) -> bool:
    return path is not None and path.is_file()


def _not_fetched(path: Path | None) -> str:
    return "" if path is None else " (a link to nothing: fetch it with git annex get)"


def _spaces(contacts: Sequence[BidsFile]) -> str:
    spaces = sorted({file.entities.get("space", "none") for file in contacts})
    return f" (there are other spaces: {', '.join(spaces)})" if spaces else ""


def _some(paths: Sequence[Path], folder: Path) -> str:
    names = [str(path.relative_to(folder)) for path in paths[:_SHOWN]]
    return f", {', '.join(names)}{', ...' if len(paths) > _SHOWN else ''}" if names else ""
