"""Every public name is what it says, whatever was imported before it."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import learnmm as lmm

ROOT = Path(__file__).parents[2]

WALK = """
import importlib, json, pkgutil, sys, types
order = sys.argv[1]
found, broken = {}, []
modules = []
for root in ("learnmm", "learnmm_problems"):
    package = importlib.import_module(root)
    modules.append(root)
    modules += [m.name for m in pkgutil.walk_packages(package.__path__, root + ".")]
modules = [name for name in modules if not name.endswith("__main__")]
if order == "modules first":
    for name in modules:
        importlib.import_module(name)
for name in modules:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if isinstance(value, types.ModuleType):
            found[f"{name}.{public}"] = f"module {value.__name__}"
        else:
            home = getattr(value, "__module__", "") or ""
            found[f"{name}.{public}"] = f"{type(value).__name__} {home}"
if order == "names first":  # and again, now that every module has been imported
    for name in modules:
        importlib.import_module(name)
    for key, was in found.items():
        name, _, public = key.rpartition(".")
        if isinstance(getattr(sys.modules[name], public), types.ModuleType) != (
            was.startswith("module ")
        ):
            broken.append(key)
print(json.dumps([found, broken]))
"""

MODULES = {  # public names that are modules, and meant to be
    f"learnmm.{name}"
    for name in ("checks", "curvature", "linear", "majorants", "optim", "proposers")
}
PLUGINS = [ROOT / "problems", ROOT / "examples", ROOT / "docs"]


def walk(order: str) -> tuple[dict[str, str], list[str]]:
    ran = subprocess.run(
        [sys.executable, "-c", WALK, order], capture_output=True, text=True, check=True
    )
    found, broken = json.loads(ran.stdout.splitlines()[-1])
    return found, broken


@pytest.fixture(scope="module")
def names_first():
    return walk("names first")


def test_no_submodule_takes_the_place_of_a_name(names_first):
    found, broken = names_first
    assert len(found) > 100
    assert not broken
    assert {key for key, what in found.items() if what.startswith("module ")} <= MODULES


def test_names_are_the_same_when_all_modules_were_imported_before(names_first):
    found, _ = walk("modules first")
    assert found == names_first[0]


def test_fifty_names_at_most_are_there_at_once() -> None:
    assert len(lmm.__all__) <= 50
    assert len(set(lmm.__all__)) == len(lmm.__all__)
    assert all(hasattr(lmm, name) for name in lmm.__all__)


def test_what_problems_and_examples_use_is_public() -> None:
    """They are plug-ins and scripts as anybody's: no name that is not in an `__all__`."""
    private = []
    for path in (path for folder in PLUGINS for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            home = node.module if isinstance(node, ast.ImportFrom) else None
            if home is None or not (home == "learnmm" or home.startswith("learnmm.")):
                continue
            public = getattr(importlib.import_module(home), "__all__", ())
            deep = home.count(".") > 1  # a module within a package, which offers what is public
            private += [
                f"{path.name}: {home}.{alias.name}"
                for alias in node.names
                if deep or alias.name not in (*public, "__version__")
            ]
    assert not private
