"""The laws of the core on a device: its tests of bounds, steps and restarts, run there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.pages import line, table

TESTS = ("tests/core/test_devices.py", "tests/solve/test_transforms.py")


def laws(device: str, seconds: float) -> list[str]:
    """Run the tests that take a device, and tell how many hold.

    Parameters
    ----------
    device : str
        Where.
    seconds : float
        After which they are stopped, and what is not known is said.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-k", device]
        try:
            subprocess.run(
                [*command, f"--junitxml={report}", *TESTS],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(["tests", *sys.path])},
                timeout=seconds,
                check=False,
                stdout=sys.stderr,
            )
        except subprocess.TimeoutExpired:
            return [f"The laws did not end within {seconds:.0f} s.", ""]
        suite = next(ElementTree.parse(report).iter("testsuite"))
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    held = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    rows = [line([f"{held} of {counts['tests'] - counts['skipped']}"])]
    broken = [
        line([f"broken: {case.get('name')}"])
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return table([f"laws that hold on {device}, every atom, float32 and float64"], rows + broken)
