"""Measurements on disk, so that a run that was cut off goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from learnmm.storage import write_file


class Cache:
    """A JSON file of measurements by name.

    Parameters
    ----------
    path : Path
        Written after every measurement, as a whole.
    header : dict
        Settings, versions and sources that the measurements depend on. A file with another header
        is started anew.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self._content: dict[str, Any] = {"header": header, "runs": {}}
        if path.exists():
            found = json.loads(path.read_text())
            if found["header"] == json.loads(json.dumps(header)):
                self._content = found

    def __contains__(self, name: str) -> bool:
        """Whether there is a measurement of this name."""
        return name in self._content["runs"]

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """The measurement of this name, made if there is none."""
        runs = self._content["runs"]
        if name not in runs:
            runs[name] = measure()
            write_file(self.path, json.dumps(self._content, indent=0).encode())
        return runs[name]


def fingerprint(paths: Iterable[Path]) -> str:
    """A digest of source files: other sources make other measurements."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
