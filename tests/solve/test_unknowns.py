"""Unknowns of any kind, arguments and extra outputs of `minimize`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from learnmm.solve.unknowns import Unknowns

DTYPE = torch.float64


def valley(x: Tensor) -> Tensor:
    return (100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2).sum(-1)


class Pair(NamedTuple):
    first: Any
    second: Any


# --- what comes in, and what comes out ------------------------------------------------------------

shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
dtypes = st.sampled_from([torch.float64, torch.complex128])


@st.composite
def trees(draw: st.DrawFn, batch: tuple[int, ...]) -> Any:
    """A tree of random tensors and arrays."""

    def leaf() -> Any:
        tensor = torch.randn((*batch, *draw(shapes)), dtype=draw(dtypes))
        return tensor.numpy() if draw(st.booleans()) else tensor

    return draw(
        st.sampled_from(
            [
                lambda: leaf(),
                lambda: {"a": leaf(), "b": [leaf()]},
                lambda: (leaf(), Pair(leaf(), {"c": leaf()})),
            ]
        )
    )()


def flat(tree: Any) -> list[Tensor]:
    """All reals of a tree, one leaf after the other."""
    if isinstance(tree, Tensor | np.ndarray):
        tensor = torch.as_tensor(tree)
        return [torch.stack([tensor.real, tensor.imag], -1) if tensor.is_complex() else tensor]
    parts = tree.values() if isinstance(tree, dict) else tree
    return [leaf for part in parts for leaf in flat(part)]


def alike(one: Any, other: Any) -> bool:
    """Whether two trees have one structure, with leaves of one kind, shape and dtype."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor | np.ndarray):
        return tuple(one.shape) == tuple(other.shape) and one.dtype == other.dtype
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    return len(one) == len(other) and all(map(alike, one, other))


@settings(max_examples=12)
@given(data=st.data(), batch=st.sampled_from([(), (3,)]))
def test_a_tree_is_stepped_as_the_vector_of_its_reals(
    data: st.DataObject, batch: tuple[int, ...]
) -> None:
    x0 = data.draw(trees(batch))
    seen = []

    def vector(tree: Any) -> Tensor:
        return torch.cat([part.reshape(*batch, -1) for part in flat(tree)], -1)

    def fun(x: Any) -> Tensor:
        seen.append(x)
        return (1 + (vector(x) - 1) ** 2).log().sum(-1)

    short = lmm.SolveSettings(max_iter=3)
    result = lmm.minimize(fun, x0, settings=short)
    plain = lmm.minimize(lambda x: (1 + (x - 1) ** 2).log().sum(-1), vector(x0), settings=short)
    for name in ("x", "gradient"):
        assert alike(getattr(result, name), x0), name
        assert torch.allclose(vector(getattr(result, name)), getattr(plain, name), rtol=1e-8)
    assert torch.equal(torch.as_tensor(result.status), plain.status)
    assert str(result).splitlines()[0].startswith(str(plain).split(" of ")[0])
    unknowns = Unknowns.of(x0)
    assert alike(seen[0], unknowns.tree)


def test_arrays_come_back_as_arrays() -> None:
    x0 = np.array([[-1.2, 1.0], [0.0, 0.0]])
    before = x0.copy()
    result = lmm.minimize(valley, x0)
    for name in ("x", "gradient", "fun", "initial_fun", "status", "iterations", "success"):
        assert isinstance(getattr(result, name), np.ndarray), name
    assert np.array_equal(x0, before)
    assert result.success.all()
    assert result.message(1) == "The gradient has vanished, within gtol."
    assert "2 problems of shape (2,)" in str(result)
    tensors = lmm.minimize(valley, torch.tensor(x0))
    assert np.array_equal(result.x, tensors.x.numpy())
    assert isinstance(tensors.status, Tensor)


@pytest.mark.parametrize(
    ("x0", "dtype"),
    [
        (3, torch.float64),
        (True, torch.float64),
        (2.5, torch.float64),
        ([1, 2.0], torch.float64),
        ([[1, 2], [3, 4]], torch.float64),
        (1 + 2j, torch.complex128),
        (np.float32(2), torch.float64),
        (np.arange(3), torch.float64),
        (np.ones(3, dtype=np.float16), torch.float64),
        (np.ones(3, dtype=">f4"), torch.float32),
        (np.ones(3, dtype=np.complex64), torch.complex64),
        (torch.ones(3, dtype=torch.bool), torch.float64),
        (torch.ones(3, dtype=torch.bfloat16), torch.float64),
        (torch.ones(3), torch.float32),
        ({"a": torch.ones(3), "b": torch.ones(2) * 1j}, torch.float32),
        ({"a": torch.ones(3), "b": np.ones(2)}, torch.float64),
        ([torch.ones(3), 2], torch.float64),
    ],
)
def test_numbers_have_one_working_dtype(x0: Any, dtype: torch.dtype) -> None:
    def fun(x: Any) -> Tensor:
        parts = x.values() if isinstance(x, dict) else x if isinstance(x, list) else [x]
        return sum((part - 0.5).abs().square().sum() for part in parts)

    result = lmm.minimize(fun, x0)
    first = result.x
    while isinstance(first, dict | list):
        first = first["a"] if isinstance(first, dict) else first[0]
    assert torch.as_tensor(first).dtype == dtype
    assert bool(abs(torch.as_tensor(first) - 0.5).max() < 1e-3)
    width = torch.float32 if dtype in (torch.float32, torch.complex64) else torch.float64
    assert torch.as_tensor(result.fun).dtype == width


# --- complex unknowns ------------------------------------------------------------------------


def test_complex_unknowns_find_what_has_these_magnitudes() -> None:
    generator = torch.Generator().manual_seed(1)
    matrix, truth = (
        torch.randn(*shape, generator=generator, dtype=torch.complex128)
        for shape in ((30, 4), (6, 4))
    )
    magnitudes = (truth @ matrix.mT).abs() ** 2

    def misfit(z: Tensor, magnitudes: Tensor) -> Tensor:
        return (((z @ matrix.mT).abs() ** 2 - magnitudes) ** 2).mean(1)

    z0 = truth + 0.3 * torch.randn(6, 4, generator=generator, dtype=torch.complex128)
    result = lmm.minimize(misfit, z0, args=(magnitudes,))
    assert result.x.shape == (6, 4)
    assert result.x.dtype == torch.complex128
    # Up to a phase each.
    overlap = (result.x.conj() * truth).sum(1).abs() / truth.norm(dim=1) ** 2
    assert bool((overlap - 1).abs().max() < 1e-6)


def test_the_gradient_of_complex_unknowns_is_that_of_torch() -> None:
    z0 = torch.tensor([1 + 2j, -0.5 - 1j])
    weight = torch.tensor([0.3 + 1j, 2.0 - 1j])

    def fun(z: Tensor) -> Tensor:
        return (z.abs() ** 4 / 4).sum() + (weight * z).real.sum()

    result = lmm.minimize(fun, z0, settings=lmm.SolveSettings(max_iter=1))
    z = result.x.clone().requires_grad_()
    fun(z).backward()
    assert torch.allclose(result.gradient, z.grad, rtol=1e-5)
    small = 1e-3 * result.gradient  # steepest ascent
    assert float(fun(result.x + small)) > float(fun(result.x)) > float(fun(result.x - small))


# --- arguments -------------------------------------------------------------------------------


def fit(x: Tensor, data: dict[str, Any], matrix: Tensor, power: int) -> Tensor:
    misfit = data["y"] - x @ matrix
    return (data["w"][:, None] * misfit.abs() ** power).sum(1)


def test_arguments_with_the_batch_in_front_leave_with_their_problems() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(3, 5, generator=generator, dtype=DTYPE)
    data = {
        "y": torch.randn(40, 5, generator=generator, dtype=DTYPE),
        "w": torch.linspace(0.5, 2, 40, dtype=DTYPE),
    }
    x0 = 10 ** torch.linspace(-3, 3, 40, dtype=DTYPE)[:, None] * torch.ones(3, dtype=DTYPE)
    asked = []

    def counted(x: Tensor, *args: Any) -> Tensor:
        asked.append(len(x))
        return fit(x, *args)

    arrays = {name: part.numpy() for name, part in data.items()}
    seen = []
    result = lmm.minimize(
        counted, x0, args=(arrays, matrix, 4), callback=lambda state, _: seen.append(len(state.x))
    )
    assert min(asked) < 5
    assert set(seen) == {40}  # the callback sees all
    for row in (0, 17, 39):
        mine = {name: part[row : row + 1] for name, part in data.items()}
        alone = lmm.minimize(lambda x, d=mine: fit(x, d, matrix, 4), x0[row : row + 1])
        assert torch.allclose(result.x[row], alone.x[0], rtol=1e-2, atol=1e-3)
        assert float(result.fun[row]) <= float(alone.fun[0]) * (1 + 1e-6)


def test_what_is_shared_and_looks_like_the_batch_stays_shared() -> None:
    """A vector for all problems, as long as there are problems."""
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=DTYPE)
    x0 = torch.zeros(4, 4, dtype=DTYPE)
    x0[1] = torch.arange(1.0, 5.0)

    def fun(x: Tensor, weights: Tensor) -> Tensor:
        return (weights * (1 + x**2).log()).sum(1)

    result = lmm.minimize(fun, x0, args=(weights,))
    plain = lmm.minimize(lambda x: fun(x, weights), x0)
    assert torch.equal(result.x, plain.x)
    assert torch.equal(result.iterations, plain.iterations)


def test_a_function_of_one_problem_gets_its_arguments_as_they_are() -> None:
    y = torch.tensor([1.0, 2.0, 3.0], dtype=DTYPE)
    given_to = []

    def fun(x: Tensor, y: Tensor, name: str) -> Tensor:
        given_to.append((y, name))
        return ((x - y) ** 2).sum()

    result = lmm.minimize(fun, torch.zeros(3, dtype=DTYPE), args=(y, "mine"))
    assert torch.allclose(result.x, y)
    assert all(one is y and name == "mine" for one, name in given_to)


# --- what comes beside the value -----------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (5,)])
def test_what_comes_beside_the_value_is_that_of_the_last_iterate(batch: tuple[int, ...]) -> None:
    x0 = torch.zeros(*batch, 2, dtype=DTYPE)

    def fun(x: Tensor, shift: float) -> tuple[Tensor, dict[str, Any]]:
        return valley(x - shift), {"point": x, "twice": 2 * x, "said": "so"}

    result = lmm.minimize(fun, x0, args=(0.5,), has_aux=True)
    assert result.aux["said"] == "so"
    assert torch.equal(result.aux["point"], result.x)
    assert torch.equal(result.aux["twice"], 2 * result.x)
    assert not result.aux["twice"].requires_grad
    assert lmm.minimize(valley, x0).aux is None


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fun", "x0", "how", "error", "complaint"),
    [
        (valley, "text", {}, TypeError, "x0 must be tensors.* got str"),
        (valley, None, {}, TypeError, "got NoneType"),
        (valley, {"a": "text"}, {}, TypeError, "got str"),
        (valley, {"a": {1.0}}, {}, TypeError, "got set"),
        (valley, {}, {}, ValueError, "x0 holds no unknowns"),
        (valley, [], {}, ValueError, "x0 holds no unknowns"),
        (valley, [[1.0, 2.0], [3.0]], {}, ValueError, "x0 must be tensors"),
        (valley, np.array(["a"]), {}, TypeError, "numbers, got an array of <U1"),
        (valley, np.array([None]), {}, TypeError, "numbers, got an array of object"),
        (valley, np.array([np.nan]), {}, ValueError, "x0 has NaN or infinite entries"),
        (valley, {"a": torch.zeros(0)}, {}, ValueError, "x0 is empty"),
        (
            lambda t: t["a"].sum(1) ** 2 + t["b"].sum() ** 2,
            {"a": torch.ones(3, 2), "b": torch.ones(2, 2)},
            {},
            ValueError,
            r"got shape \(3,\) for unknowns of shapes \(3, 2\), \(2, 2\)",
        ),
        (lambda t: 1.0, {"a": torch.ones(3, 2)}, {}, TypeError, "a torch.Tensor, got float"),
        (valley, torch.ones(2), {"args": torch.ones(2)}, TypeError, r"args=\(y,\), got Tensor"),
        (valley, torch.ones(2), {"args": [1]}, TypeError, "args must be a tuple.* got list"),
        (valley, torch.ones(2), {"has_aux": 1}, TypeError, "has_aux must be True or False, got 1"),
        (valley, torch.ones(2), {"has_aux": True}, TypeError, r"\(value, aux\), got Tensor"),
        (
            lambda x: (valley(x), 1, 2),
            torch.ones(2),
            {"has_aux": True},
            TypeError,
            r"\(value, aux\), got tuple of 3",
        ),
        (
            lmm.Quadratic(torch.ones(1, 2)),
            torch.ones(1, 2),
            {"args": (1,)},
            TypeError,
            "args and has_aux are for functions.* got Quadratic",
        ),
        (
            lmm.Quadratic(torch.ones(1, 2)),
            {"a": torch.ones(1, 2)},
            {},
            TypeError,
            "Quadratic takes one tensor, got a dict",
        ),
        (valley, torch.ones(2), {"nonsense": 1}, TypeError, "nonsense"),
        (valley, [torch.ones(2), torch.ones(2, device="meta")], {}, ValueError, "one device"),
    ],
)
def test_what_cannot_be_unknown_or_given_is_refused(
    fun: Any, x0: Any, how: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        lmm.minimize(fun, x0, **how)
