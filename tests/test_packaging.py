"""What is installed is what the files say: versions, floors, types, contents, nothing idle."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata, resources
from pathlib import Path

import pytest

import learnmm as lmm
import learnmm_esi

ROOT = Path(__file__).parents[1]
PROBLEMS = ROOT / "problems"
PROJECT, ESI = (
    tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    for folder in (ROOT, PROBLEMS / "esi")
)
EXTRAS = PROJECT["optional-dependencies"]

USED_BY_OTHERS = {
    "pillow": "scikit-learn reads its photographs with it",
    "rtree": "trimesh asks it where triangles are",
    "learnmm[progress]": "an extra of our own",
}
"""What is needed and imported nowhere here, and why."""

IMPORTED_AS = {"scikit-learn": "sklearn", "lightning-fabric": "lightning_fabric"}


def floors() -> dict[str, str]:
    """Packages with the oldest version that is admitted."""
    extras = [line for name in ("progress", "toy", "train") for line in EXTRAS[name]]
    given = [*PROJECT["dependencies"], *extras, *ESI["dependencies"]]
    return dict(line.split(">=") for line in given if ">=" in line)


def test_both_distributions_have_one_version() -> None:
    assert metadata.version("learnmm") == lmm.__version__
    assert metadata.version("learnmm-esi") == learnmm_esi.__version__ == lmm.__version__
    assert f"learnmm[train]=={lmm.__version__}" in ESI["dependencies"]


@pytest.mark.parametrize("package", ["learnmm", "learnmm_problems", "learnmm_esi"])
def test_packages_say_that_they_are_typed(package: str) -> None:
    assert resources.files(package).joinpath("py.typed").is_file()


def test_the_pages_of_installing_name_every_extra_and_no_other() -> None:
    pages = [ROOT / "docs" / "start.md", ROOT / "README.md", PROBLEMS / "esi" / "README.md"]
    text = "".join(page.read_text("utf-8") for page in pages)
    assert set(re.findall(r"learnmm\[([\w,]+)\]", text)) == set(EXTRAS)


def test_the_oldest_versions_are_those_that_are_tried() -> None:
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    tried = dict(line.split("==") for line in lines if not line.startswith("#"))
    for name, floor in floors().items():
        if name != "torch":  # see the file
            assert re.fullmatch(rf"{re.escape(floor)}(\.0)*", tried[name]), name


def test_nothing_is_required_that_nothing_imports() -> None:
    sources = [*(ROOT / "learnmm").rglob("*.py"), *PROBLEMS.rglob("*.py")]
    text = "\n".join(path.read_text() for path in sources)
    for name in floors():
        module = IMPORTED_AS.get(name, name.replace("-", "_"))
        imported = re.search(rf"^\s*(import|from) {module}\b", text, flags=re.M)
        assert imported or name in USED_BY_OTHERS, name


def held(packages: list[Path]) -> set[str]:
    """Every file of some packages, as a wheel should name it."""
    files = [(package, file) for package in packages for file in package.rglob("*")]
    return {
        str(file.relative_to(package.parent))
        for package, file in files
        if file.is_file() and "__pycache__" not in file.parts
    }


@pytest.mark.parametrize(
    ("project", "packages", "data"),
    [
        (ROOT, [ROOT / "learnmm", PROBLEMS / "learnmm_problems"], {".md", ".safetensors", ".toml"}),
        (PROBLEMS / "esi", [PROBLEMS / "esi" / "learnmm_esi"], {".md", ".safetensors", ".toml"}),
    ],
)
def test_a_wheel_holds_its_packages_and_their_weights(
    tmp_path: Path, project: Path, packages: list[Path], data: set[str]
) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=project, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = set(archive.namelist()) & {
            f"{wheel.stem.rsplit('-', 3)[0]}.dist-info/METADATA"
        }
        description = archive.read(metadata).decode().partition("\n\n")[2]
    assert description.startswith("# learnmm")
    relative = re.findall(r"\]\((?!https://)[^)]*\)", description)
    assert not relative, "beside what a package index shows there is no file"
    assert names == held(packages)
    assert {Path(name).suffix for name in names} == {".py", *data, ".typed"}
