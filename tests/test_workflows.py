"""What runs elsewhere runs here: workflows and hooks call the Makefile, with what it knows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([\w-]+):(?!=)", MAKEFILE, flags=re.M))
VARIABLES = set(re.findall(r"^(\w+) \?=", MAKEFILE, flags=re.M))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ISSUES = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = sorted({*ISSUES.glob("*.yml")} - {ISSUES / "config.yml"})
NOT_OURS = {"choco install make --no-progress"}
"""What a machine needs before it can call make."""


def loaded(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


def wrong(command: str) -> list[str]:
    """Words of a command that the Makefile does not know."""
    make, *words = command.split()
    known = TARGETS | VARIABLES
    return [w for w in words if w.split("=")[0] not in known] if make == "make" else [command]


def test_every_pattern_of_tests_that_are_left_out_finds_some() -> None:
    (patterns,) = re.findall(r"^ANYWHERE := ((?:.*\\\n)*.*)", MAKEFILE, flags=re.M)
    for pattern in patterns.replace("\\", "").split():
        within, _, name = pattern.rpartition("/")
        assert list((ROOT / (within or "tests")).rglob(name)), pattern


def test_unknown_words_are_seen() -> None:
    assert wrong("make test PYTHON=python") == []
    assert wrong("make tets PYTHN=python") == ["tets", "PYTHN=python"]
    assert wrong("pytest") == ["pytest"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_the_makefile(path: Path) -> None:
    workflow = loaded(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"], name
        ran = {step["run"] for step in job["steps"] if "run" in step} - NOT_OURS
        assert not [word for command in ran for word in wrong(command)], name
        publishes = any("pypi-publish" in step.get("uses", "") for step in job["steps"])
        assert ran or publishes, f"{name} does nothing"
        assert publishes == (job.get("permissions") == {"id-token": "write"}), name


def test_hooks_call_the_makefile() -> None:
    ours, workflows = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    assert ours["repo"] == "local"
    assert ours["hooks"]
    assert not [word for hook in ours["hooks"] for word in wrong(hook["entry"])]
    assert [hook["id"] for hook in workflows["hooks"]] == ["actionlint"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"])
def test_pages_name_targets_that_there_are(page: str) -> None:
    named = set(re.findall(r"(?:^|`)(?:\w+=\w+ )?make ([\w-]+)", (ROOT / page).read_text(), re.M))
    assert named
    assert named <= TARGETS


def test_every_version_of_python_that_is_claimed_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    claimed = set(re.findall(r":: (3\.\d+)", "\n".join(project["classifiers"])))
    (suite,) = (loaded(path)["jobs"]["suite"] for path in WORKFLOWS if path.stem == "tests")
    assert claimed | {project["requires-python"].removeprefix(">=")} <= set(
        suite["strategy"]["matrix"]["python"]
    )


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_complete(path: Path) -> None:
    form = loaded(path)
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] in ("textarea", "input")]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)
