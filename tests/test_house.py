"""Modules, functions, parameters and test files stay small enough to be read at one sitting."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Callable, Iterator

import pytest

from packages import PACKAGES, Functions, defined, fields, modules, parameters

MEDIAN, LONGEST = 200, 400  # lines of a module, of each package and of any
FUNCTION = 60  # lines of code of a function: docstrings, comments and blank lines not counted
PARAMETERS = 8  # of a public function or constructor
TEST_FILE = 500  # lines

Found = Iterator[tuple[int, str]]


def height(text: str) -> int:
    return len(text.splitlines())


def code_lines(node: Functions, text: str) -> int:
    """Lines of a function that are code, its decorators and its signature among them."""
    silent = {n for n, line in enumerate(text.splitlines(), 1) if line.strip()[:1] in ("", "#")}
    for inner in ast.walk(node):
        value = inner.value if isinstance(inner, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            silent.update(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return sum(n not in silent for n in range(first, (node.end_lineno or node.lineno) + 1))


def chosen(node: ast.ClassDef) -> int:
    """Fields that somebody fills in.

    A dataclass or named tuple most of whose fields have no default is a record: it is filled in
    where it is made, by the code that owns it.
    """
    defaults = list(fields(node).values())
    return len(defaults) if 2 * sum(one is not None for one in defaults) > len(defaults) else 0


def named(node: Functions, outer: ast.AST) -> list[str]:
    """Parameters that have a name of their own: none of those behind stars."""
    return [name for name in parameters(node, outer) if name[0] != "*"]


def public(name: str) -> bool:
    return all(part == "__init__" or not part.startswith("_") for part in name.split("."))


def tall(path: str, text: str) -> Found:
    if height(text) > LONGEST:
        yield height(text), f"{path} (lines, at most {LONGEST})"


def long(path: str, text: str) -> Found:
    for name, (node, _) in defined(text).items():
        if isinstance(node, Functions) and (lines := code_lines(node, text)) > FUNCTION:
            yield lines, f"{path}: {name} (lines of code, at most {FUNCTION})"


def wide(path: str, text: str) -> Found:
    for name, (node, outer) in defined(text).items():
        if not public(name) or isinstance(outer, Functions):
            continue
        is_class = isinstance(node, ast.ClassDef)
        count = chosen(node) if is_class else len(named(node, outer))
        if count > PARAMETERS:
            yield count, f"{path}: {name} (parameters, at most {PARAMETERS})"


def listed(found: list[tuple[int, str]]) -> str:
    return "".join(f"\n{number:5}  {where}" for number, where in sorted(found, reverse=True))


@pytest.mark.parametrize("rule", [tall, long, wide], ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_holds_can_be_read(package: str, rule: Callable[[str, str], Found]) -> None:
    texts = modules(package)
    found = [one for path, text in texts.items() for one in rule(path, text)]
    assert texts
    assert not found, listed(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_most_modules_are_short(package: str) -> None:
    assert statistics.median(map(height, modules(package).values())) <= MEDIAN


def test_test_files_can_be_read() -> None:
    heights = {path: height(text) for path, text in modules("tests").items()}
    found = [(lines, path) for path, lines in heights.items() if lines > TEST_FILE]
    assert heights
    assert not found, listed(found)


# --- that it counts ------------------------------------------------------------------------------

SAMPLE = '''
@app.command()
def command(context, a: Annotated[int, Option()] = 0, *rest, b=1, **more):
    """Say what it does.

    At length.
    """
    # why

    def inner(c):
        """Not code."""
        return c

    return inner(a)


class Solver:
    def __init__(self, x, *, y): ...
    @staticmethod
    def static(x): ...
    def _hidden(self, x): ...


@dataclass(frozen=True)
class Settings:
    """What is chosen."""
    kind: ClassVar[str] = "x"
    steps: int
    seed: int = 0
    rate: float = 0.1
    made: int = field(init=False)


class Tally(NamedTuple):
    accepted: int
    rejected: int
    kind: Kind | None = None
'''


def test_it_counts() -> None:
    nodes = defined(SAMPLE)
    functions = {name: node for name, node in nodes.items() if isinstance(node[0], Functions)}
    lines = {name: code_lines(node, SAMPLE) for name, (node, _) in functions.items()}
    assert lines["command"] == 5
    assert lines["command.inner"] == 2
    assert lines["Solver.static"] == 2
    counts = {name: len(named(node, outer)) for name, (node, outer) in functions.items()}
    assert (counts["command"], counts["Solver.__init__"], counts["Solver.static"]) == (3, 2, 1)
    classes = {name: node for name, (node, _) in nodes.items() if isinstance(node, ast.ClassDef)}
    assert {name: chosen(node) for name, node in classes.items()} == {
        "Solver": 0,
        "Settings": 3,
        "Tally": 0,
    }
    assert [name for name in nodes if not public(name)] == ["Solver._hidden"]


def test_it_names_offenders_with_their_numbers() -> None:
    body = "\n".join(f"    x = {k}" for k in range(FUNCTION))
    many = ", ".join(f"a{k}" for k in range(PARAMETERS + 1))
    text = f"def long():\n{body}\n\n\ndef wide({many}): ...\n" + "\n" * LONGEST
    assert listed(list(tall("m.py", text))) == f"\n  {height(text)}  m.py (lines, at most 400)"
    assert [*long("m.py", text)] == [(FUNCTION + 1, "m.py: long (lines of code, at most 60)")]
    assert [*wide("m.py", text)] == [(PARAMETERS + 1, "m.py: wide (parameters, at most 8)")]
