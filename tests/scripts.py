"""Scripts of ``examples``, imported as Python runs them: each finds those beside it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[1] / "examples"


def script(folder: str, name: str) -> ModuleType:
    """Return the script ``examples/FOLDER/NAME.py`` as a module."""
    place = str(EXAMPLES / folder)
    sys.path.insert(0, place)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(place)
