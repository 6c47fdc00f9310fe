"""Problems are found by entry point, and errors say what is there."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch

import learnmm as lmm
from learnmm import plugins, registry

QUADRATIC = "learnmm_problems.quadratic:QuadraticProblem"


def plug_in(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Replace the installed entry points."""
    entries = [EntryPoint(name, value, registry.GROUP) for name, value in values.items()]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)


class Parabola(lmm.Problem):
    """``f(x) = x^2``."""

    name = "parabola"

    def draw(self, batch, dtype, generator):
        return lmm.Instance(lambda x: (x * x).sum(1), torch.ones(batch, 1, dtype=dtype))


class Demanding(Parabola):
    def __init__(self, needed: int) -> None:
        self.needed = needed


class Failing(Parabola):
    def __init__(self) -> None:
        raise OSError("the data are gone")


PARABOLA = Parabola()


def test_names_are_sorted() -> None:
    names = lmm.problems()
    assert names == sorted(names)
    assert {"quadratic", "rosenbrock", "autoencoder-inverse"} <= set(names)


def test_problems_have_the_name_of_their_entry_point() -> None:
    for name in lmm.problems():
        problem = lmm.problem(name)
        assert isinstance(problem, lmm.Problem)
        assert problem.name == name
        assert type(problem).__doc__


def test_unknown_names_list_what_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, b="b:B", a="a:A")
    assert lmm.problems() == ["a", "b"]
    with pytest.raises(KeyError, match="no problem is called 'c'; installed problems: a, b"):
        lmm.problem("c")
    plug_in(monkeypatch)
    assert lmm.problems() == []
    with pytest.raises(KeyError, match="installed problems: none"):
        lmm.problem("c")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package.problems:Problem", "ModuleNotFoundError: No module named"),
        ("learnmm.registry:NoSuchProblem", "AttributeError: .*NoSuchProblem"),
        (f"{__name__}:Demanding", "TypeError: .*needed"),
        (f"{__name__}:Failing", "OSError: the data are gone"),
    ],
)
def test_a_broken_plug_in_is_named_and_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    plug_in(monkeypatch, broken=value, quadratic=QUADRATIC)
    assert lmm.problems() == ["broken", "quadratic"]
    assert lmm.problem("quadratic").name == "quadratic"
    with pytest.raises(
        ImportError, match=f"'broken' could not be loaded from '{value}': {message}"
    ) as caught:
        lmm.problem("broken")
    assert caught.value.__cause__ is not None


def test_an_entry_point_names_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, wrong="learnmm.registry:GROUP")
    with pytest.raises(TypeError, match=r"'wrong', 'learnmm\.registry:GROUP', must name a Problem"):
        lmm.problem("wrong")


@pytest.mark.parametrize("name", ["Parabola", "PARABOLA"])
def test_entry_points_name_classes_or_instances(monkeypatch, name) -> None:
    plug_in(monkeypatch, parabola=f"{__name__}:{name}")
    drawn = lmm.problem("parabola").instance(2)
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=50)).minimize(drawn.x0)
    assert result.success.all()


def test_settings_of_the_optimizer_prevail_over_the_instance() -> None:
    own, other = lmm.majorants.LipschitzMajorant(2.0), lmm.majorants.LipschitzMajorant(3.0)
    drawn = lmm.Instance(lambda x: (x * x).sum(1), torch.ones(1, 1), majorant=own)
    assert drawn.optimizer().majorant is own
    assert drawn.optimizer(majorant=other).majorant is other


def test_a_name_claimed_twice_is_refused_and_hides_no_other(monkeypatch) -> None:
    values = [f"{__name__}:Parabola", f"{__name__}:Demanding"]
    entries = [EntryPoint("parabola", value, registry.GROUP) for value in values]
    entries.append(EntryPoint("quadratic", QUADRATIC, registry.GROUP))
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    assert lmm.problems() == ["parabola", "quadratic"]
    with pytest.raises(ImportError, match=r"several problems are called 'parabola': .*Demanding.*"):
        lmm.problem("parabola")
    assert lmm.problem("quadratic").name == "quadratic"


def test_one_plug_in_listed_twice_is_one(monkeypatch) -> None:
    twice = [EntryPoint("quadratic", QUADRATIC, registry.GROUP) for _ in range(2)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: twice)
    assert lmm.problem("quadratic").name == "quadratic"


def test_entry_point_and_problem_have_one_name(monkeypatch) -> None:
    plug_in(monkeypatch, paraboloid=f"{__name__}:Parabola")
    with pytest.raises(ValueError, match="entry point 'paraboloid' names the problem 'parabola'"):
        lmm.problem("paraboloid")


def test_parameters_reach_the_problem(monkeypatch) -> None:
    assert lmm.problem("quadratic", unknowns=5, condition=10.0).instance(2).x0.shape == (2, 5)
    with pytest.raises(TypeError, match=r"'quadratic' refuses size=5: .*size"):
        lmm.problem("quadratic", size=5)
    with pytest.raises(ValueError, match=r"'image-deconvolution' refuses images='faces': images"):
        lmm.problem("image-deconvolution", images="faces")
    plug_in(monkeypatch, parabola=f"{__name__}:PARABOLA")
    with pytest.raises(TypeError, match=r"takes no parameters.* names an instance; got unknowns"):
        lmm.problem("parabola", unknowns=5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch": 0}, ValueError, "Problem: batch must be at least 1, got 0"),
        ({"batch": 2.0}, TypeError, r"Problem: batch must be an integer, got 2\.0"),
        ({"batch": True}, TypeError, "Problem: batch must be an integer, got True"),
        ({"batch": 1, "dtype": torch.float16}, ValueError, r"dtype must be one of .*float16"),
    ],
)
def test_batches_that_cannot_be_drawn(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Parabola().instance(**arguments)
