"""The code of the README runs as printed, block after block."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"


def test_readme_runs_as_printed(capsys) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
    assert len(blocks) == 6
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # nothing that learns is hidden, say
        for block in blocks:
            exec(compile(block, str(README), "exec"), names)
    assert "every step verified" in capsys.readouterr().out
    assert set(names["network"].parameters()) <= set(names["solver"].parameters())
