"""Pages that are committed elsewhere in the repository, and shown on the site as they are."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs"
RESULTS = {
    "Optimization": sorted((ROOT / "benchmarks/results").glob("*.md")),
    "Small problems": sorted((ROOT / "examples/toy/results").glob("*.md")),
    "EEG source imaging": sorted((ROOT / "examples/esi/results").glob("*.md")),
}
WEIGHTS = [
    ROOT / "problems/esi/learnmm_esi/weights/mm-net.md",
    ROOT / "learnmm/proposers/quasi_newton/pretrained.md",
]
PROJECT = [ROOT / name for name in ("CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")]
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")

CARDS = """# Weights

What was learned and comes with the library: on which data, for how long, how good, where it fails.

"""

INDEX = """# Results

What was measured. Pages that a command prints name it; notes were written by hand.

"""


def show(folder: Path) -> None:
    """Copy the pages and their pictures into one folder, with a list of the results."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = [page for group in RESULTS.values() for page in group] + WEIGHTS + PROJECT
    names = [page.name for page in pages]
    if len(set(names)) < len(names):
        raise ValueError(f"two committed pages have one name: {sorted(names)}")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        (folder / page.name).write_text(linked(text, page, pages, folder), encoding="utf-8")
    lists = [f"## {name}\n\n{contents(group)}" for name, group in RESULTS.items()]
    (folder / "weights.md").write_text(CARDS + contents(WEIGHTS), encoding="utf-8")
    (folder / "results.md").write_text(INDEX + "\n".join(lists), encoding="utf-8")


def contents(pages: list[Path]) -> str:
    """A list of pages, as Sphinx has them."""
    stems = "\n".join(page.stem for page in pages)
    return f"```{{toctree}}\n:maxdepth: 1\n\n{stems}\n```\n"


def linked(text: str, page: Path, pages: list[Path], folder: Path) -> str:
    """The text with links that work on the site; what is not there becomes its name."""

    def replaced(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        path, mark, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        where = (page.parent / path).resolve()
        if not where.exists():
            raise FileNotFoundError(f"{page}: a link to {target}, which does not exist")
        if where.suffix == ".png":
            shutil.copy(where, folder)
        elif where.parent == SITE and where.suffix == ".md":
            return f"[{words}](../../{where.name}{mark}{anchor})"
        elif where not in pages:
            return words
        return f"{picture}[{words}]({where.name}{mark}{anchor})"

    return LINK.sub(replaced, text)
