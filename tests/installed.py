"""Try what a package index would hand out: ``python -I tests/installed.py core`` or ``all``.

It runs in an environment that has the wheels and what they require, and nothing of the checkout:
with ``core`` learnmm without its extras, with ``all`` learnmm-esi and what it brings along. The
blocks of the README run, and what is missing says how to get it. With ``TAG=v1.2.3`` in the
environment, that has to be the version, and the changelog has to have a section of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import learnmm as lmm

ROOT = Path(__file__).parents[1]


def readme_blocks(training: bool) -> list[str]:
    """Code of the README, with what trains or without."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), flags=re.S)
    return [block for block in blocks if training or "lmm.fit(" not in block]


def run(blocks: list[str]) -> None:
    """Run them one after another, with warnings to the user as errors."""
    assert blocks
    names: dict[str, Any] = {"__name__": "readme"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)


def assert_names_extra(extra: str, call: Callable[[], Any]) -> None:
    """Check that without an extra an error says how to install it."""
    said = None
    try:
        call()
    except ImportError as error:
        said = str(error)
    assert said, f"nothing of {extra} was needed"
    assert f"pip install '{extra}'" in said, f"{extra} is not named: {said}"


def assert_outside(*modules: str) -> None:
    """Check that packages come from the environment and not from the checkout."""
    for name in modules:
        path = Path(str(__import__(name).__file__)).resolve()
        assert path.is_relative_to(Path(sys.prefix).resolve()), f"{name} comes from {path}"


def assert_released(tag: str) -> None:
    """Check that a tag is the version, and that the changelog tells of it."""
    assert tag == f"v{lmm.__version__}", f"the tag {tag} is not of version {lmm.__version__}"
    section = f"## [{lmm.__version__}] - "
    assert section in (ROOT / "CHANGELOG.md").read_text("utf-8"), f"no section {section!r}"


def core() -> None:
    """Try learnmm with torch and NumPy alone."""
    assert_outside("learnmm", "learnmm_problems")
    run(readme_blocks(training=False))
    x = torch.zeros(1, 2)
    assert_names_extra("learnmm[train]", lambda: lmm.load_weights("none.safetensors"))
    assert_names_extra("learnmm[train]", lambda: lmm.proposers.LearnedQuasiNewton.pretrained())
    assert_names_extra("learnmm[train]", lambda: lmm.learn(lmm.problem("rosenbrock")))
    assert_names_extra(
        "learnmm[progress]", lambda: lmm.minimize(lambda x: (x**2).sum(-1), x, progress=True)
    )
    assert_names_extra("learnmm[toy]", lambda: lmm.problem("logistic-digits").instance(1))


def everything() -> None:
    """Try learnmm-esi, which brings the extra ``train``."""
    assert_outside("learnmm", "learnmm_problems", "learnmm_esi")
    assert metadata.version("learnmm") == metadata.version("learnmm-esi") == lmm.__version__
    run(readme_blocks(training=True))
    assert "eeg-erp" in lmm.problems()
    command = Path(sys.executable).with_name("learnmm-esi")
    subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL)
    lmm.proposers.LearnedQuasiNewton.pretrained()


if __name__ == "__main__":
    {"core": core, "all": everything}[sys.argv[1]]()
    if tag := os.environ.get("TAG"):
        assert_released(tag)
    print(f"learnmm {lmm.__version__} works as installed ({sys.argv[1]})")
