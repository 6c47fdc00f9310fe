"""What the packages are made of, read as text: modules, functions, classes and their parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("learnmm", "problems/learnmm_problems", "problems/esi/learnmm_esi")

Functions = ast.FunctionDef | ast.AsyncFunctionDef
Defined = Functions | ast.ClassDef


def modules(folder: str) -> dict[str, str]:
    """Text of every module below a folder, by its path."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


def defined(text: str) -> dict[str, tuple[Defined, ast.AST]]:
    """Functions and classes of a module with what they stand in, by their full names."""
    return dict(_defined(ast.parse(text), ""))


def _defined(outer: ast.AST, before: str) -> Iterator[tuple[str, tuple[Defined, ast.AST]]]:
    for child in _children(outer):
        yield before + child.name, (child, outer)
        yield from _defined(child, f"{before}{child.name}.")


def _children(node: ast.AST) -> Iterator[Defined]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Defined):
            yield child
        else:
            yield from _children(child)


def parameters(node: Functions, outer: ast.AST) -> list[str]:
    """Names as a docstring has them: with their stars, without what a method is bound to."""
    given = node.args
    names = [one.arg for one in (*given.posonlyargs, *given.args)]
    static = any(ast.unparse(one) == "staticmethod" for one in node.decorator_list)
    if isinstance(outer, ast.ClassDef) and not static:
        names = names[1:]
    names += [f"*{given.vararg.arg}"] if given.vararg else []
    names += [one.arg for one in given.kwonlyargs]
    return names + ([f"**{given.kwarg.arg}"] if given.kwarg else [])


def fields(node: ast.ClassDef) -> dict[str, ast.expr | None]:
    """Fields that the constructor of a dataclass or named tuple takes, with their defaults."""
    made = [ast.unparse(one).split("(")[0] for one in (*node.decorator_list, *node.bases)]
    if not any(name.endswith(("dataclass", "NamedTuple")) for name in made):
        return {}
    return {
        one.target.id: one.value
        for one in node.body
        if isinstance(one, ast.AnnAssign)
        and isinstance(one.target, ast.Name)
        and "ClassVar" not in ast.unparse(one.annotation)
        and "init=False" not in (ast.unparse(one.value) if one.value else "")
    }
