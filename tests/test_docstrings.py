"""Docstrings name the parameters that there are, all of them, in their order."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator

import pytest

from packages import PACKAGES, Defined, defined, fields, modules, parameters

Classes = dict[str, ast.ClassDef]


def section(docstring: str, title: str) -> list[str] | None:
    """Names in a section of numpydoc, such as ``a, b : Tensor``; None without that section."""
    lines = inspect.cleandoc(docstring).splitlines()
    heads = [k for k, line in enumerate(lines[1:]) if re.fullmatch(r"-{3,}", line)]
    for head in heads:
        if lines[head] == title:
            end = min([after for after in heads if after > head], default=len(lines))
            entries = [line for line in lines[head + 2 : end] if line and line[0] != " "]
            return [name for line in entries for name in line.split(" :")[0].split(", ")]
    return None


def told(docstring: str, node: Defined) -> list[str] | None:
    """Names that a docstring gives the parameters; those of a record may be attributes."""
    names = section(docstring, "Parameters")
    if names is None and isinstance(node, ast.ClassDef) and fields(node):
        return section(docstring, "Attributes")
    return names


def inherited(node: ast.ClassDef, classes: Classes) -> set[str]:
    bases = [classes[name] for base in node.bases if (name := ast.unparse(base)) in classes]
    return {name for base in bases for name in (*fields(base), *inherited(base, classes))}


def taken(node: Defined, outer: ast.AST, classes: Classes) -> list[str] | None:
    """Parameters of a function or constructor; None where they are another class's."""
    if not isinstance(node, ast.ClassDef):
        return parameters(node, outer)
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name in ("__init__", "__new__"):
            return parameters(one, node)
    known = inherited(node, classes)
    return [n for n in fields(node) if n not in known and n[0] != "_"] if fields(node) else None


def disagreements(text: str, classes: Classes) -> Iterator[str]:
    for name, (node, outer) in defined(text).items():
        names = told(ast.get_docstring(node) or "", node)
        there = taken(node, outer, classes)
        if names is not None and there is not None and names != there:
            yield f"{name} (line {node.lineno}) tells of {names}, and takes {there}"


def classes_of(*texts: str) -> Classes:
    nodes = [node for text in texts for node, _ in defined(text).values()]
    return {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_tell_of_the_parameters_there_are(package: str) -> None:
    texts = modules(package)
    classes = classes_of(*texts.values())
    found = [f"{path}: {one}" for path in texts for one in disagreements(texts[path], classes)]
    assert texts
    assert not found, "\n".join(["", *found])


SAMPLE = '''
@dataclass
class Base:
    """Say what it is.

    Parameters
    ----------
    {base}
        Both.
    """
    kind: ClassVar[str] = "x"
    a: int
    b: int = 0

@dataclass
class Settings(Base):
    """Say more.

    Attributes
    ----------
    c : int
        More.
    """
    b: int = 1
    c: int = 2

class Solver:
    """Solve.

    Parameters
    ----------
    x : Tensor
        Start.
    """
    def __init__(self, x): ...

    def step(self, x, *rest, y, **more):
        """Step.

        Parameters
        ----------
        {step}

        Returns
        -------
        z : Tensor
            A name that is no parameter.
        """
'''


@pytest.mark.parametrize(
    ("base", "step", "wrong"),
    [
        ("a, b : int", "x\n        *rest\n        y, **more", []),
        ("a : int", "x\n        *rest\n        y, **more", ["Base"]),
        ("b, a : int", "x, *rest, y, **more", ["Base"]),
        ("a, b : int", "x, y, **more", ["Solver.step"]),
        ("a, b, gone : int", "x, *rest, y, **more, gone", ["Base", "Solver.step"]),
    ],
)
def test_it_finds_what_disagrees(base: str, step: str, wrong: list[str]) -> None:
    text = SAMPLE.format(base=base, step=step)
    assert [one.split()[0] for one in disagreements(text, classes_of(text))] == wrong
