"""What is kept of a training, and what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learnmm.storage import as_json
from learnmm.training.settings import check_number


@dataclass(frozen=True)
class Record:
    """What is kept of a training, and what is shown of it; its numbers depend on none of this.

    Attributes
    ----------
    folder : Path or None
        For ``best.safetensors``, ``last.safetensors``, ``log.jsonl`` and ``curve.png``. It is
        locked as long as the training runs. None: nothing is written.
    config : Mapping
        What JSON can say; stored with the weights, and compared on resume.
    resume : bool
        Go on from a checkpoint in the folder; False removes it.
    checkpoint_minutes : float
        Time between two checkpoints.
    progress : bool or str
        Draw a bar on standard error; a string is what it is called.
    """

    folder: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = True
    checkpoint_minutes: float = 3.0
    progress: bool | str = False

    def __post_init__(self) -> None:
        if self.folder is not None:
            object.__setattr__(self, "folder", Path(self.folder))
        object.__setattr__(self, "config", as_json(self.config, "config"))
        if not isinstance(self.resume, bool):
            raise TypeError(f"resume must be True or False, got {self.resume!r}")
        if not isinstance(self.progress, bool | str):
            raise TypeError(f"progress must be True, False or a name, got {self.progress!r}")
        minutes = self.checkpoint_minutes
        check_number("checkpoint_minutes", minutes, "at least 0", lambda minutes: minutes >= 0)
