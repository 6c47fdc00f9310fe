"""Run the suite on every path that this processor knows: ``python tests/everywhere.py``.

MKL and torch choose their kernels by processor, and rounding differs between them. A test that
holds on one path only is a test of the machine. Arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

import torch

PLAIN = {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ATEN_CPU_CAPABILITY": "default"}
"""The path that is farthest from the one that a processor of today takes by itself."""


def paths() -> dict[str, dict[str, str]]:
    """Settings of the environment by name, none that this processor lacks."""
    known = ["DEFAULT", "AVX2", "AVX512"]
    best = torch.backends.cpu.get_cpu_capability()
    sets = known[1 : known.index(best) + 1] if best in known else []
    found: dict[str, dict[str, str]] = {"default": {}, "plain": PLAIN}
    for name in ("SSE4_2", *sets):
        found[f"MKL {name}"] = {"MKL_ENABLE_INSTRUCTIONS": name}
    for name in ("default", *(name.lower() for name in sets)):
        found[f"torch {name}"] = {"ATEN_CPU_CAPABILITY": name}
    found["two threads"] = {"LEARNMM_TEST_THREADS": "2"}
    return found


def start(settings: dict[str, str], cache: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    """One run of the suite in an environment of its own.

    What torch compiles for one path does not compile on another, so each has a cache of its own.
    """
    command = [sys.executable, "-m", "pytest", "-n", "auto", *arguments]
    return subprocess.Popen(command, env=os.environ | settings | {"TORCHINDUCTOR_CACHE_DIR": cache})


def main() -> None:
    """Run all, and print which failed."""
    arguments = sys.argv[1:]
    runs = {name: [settings] for name, settings in paths().items()}
    runs["under load"] = [{}, {}]  # two suites at once
    results = {}
    for name, together in runs.items():
        print(f"\n=== {name}: {together}", flush=True)
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as cache:
            started = [
                start(settings, f"{cache}/{k}", arguments) for k, settings in enumerate(together)
            ]
            code = max(run.wait() for run in started)
        results[name] = (code, time.perf_counter() - begin)
    print()
    for name, (code, seconds) in results.items():
        print(f"{'passed' if code == 0 else 'FAILED':8}{name:16}{seconds:6.0f} s")
    sys.exit(max(code for code, _ in results.values()))


if __name__ == "__main__":
    main()
