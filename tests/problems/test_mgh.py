"""The Moré-Garbow-Hillstrom set: equations, starts and minima of the paper, and descent on all 35.

Values of 23 functions come from an independent implementation, sif2jax 0.0.8 (CUTEst in JAX); the
others are compared with the equations of the paper written out as loops.
"""

from __future__ import annotations

from math import cos, exp, sin, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor

import learnmm as lmm
from draws import seeded
from learnmm_problems.mgh import FUNCTIONS, MGHProblem

BATCH = 3
by_name = pytest.mark.parametrize("name", FUNCTIONS)
Point = list[float]


def draw(name: str, unknowns: int | None = None, **settings: Any) -> lmm.Instance:
    return MGHProblem(name, unknowns).instance(BATCH, generator=seeded(), **settings)


def value_and_slope(name: str, x: Tensor) -> tuple[float, float]:
    """Objective and Euclidean norm of the gradient at one point."""
    evaluated = lmm.objective.CallableObjective(FUNCTIONS[name]).evaluate(x[None])
    return float(evaluated.value), float(evaluated.gradient.norm())


# --- values ----------------------------------------------------------------------------------

ELSEWHERE = [
    ("rosenbrock", 24.199999999999996, 232.8676877542266, 26.58054099999999, 256.9511364564087),
    ("freudenstein-roth", 400.5, 1272.3537244021413, 635.6207152812505, 1833.1455918191045),
    (
        "powell-badly-scaled",
        1.13526171734838,
        20000.73556071284,
        329476.071698735,
        13214471.85303913,
    ),
    ("brown-badly-scaled", 999998000003.0, 2000000.0, 999997700003.104, 1999999.2582501376),
    ("beale", 14.203125, 27.75, 20.060458315664068, 47.456788073407026),
    ("jennrich-sampson", 4171.306161960493, 93708.81831993311, 37218.33482678, 655888.9928640616),
    ("helical-valley", 2500.0, 1879.635494200523, 2376.114503581191, 1768.8264327921233),
    ("bard", 41.68169586167801, 84.63081807785564, 35.79723748655102, 63.78264090170124),
    ("gaussian", 3.888106991166884e-06, 0.007451532810877, 0.02205274106014207, 0.5156621270633),
    ("meyer", 1693607809.4361455, 87276693259.76117, 1140683781.2638333, 90151235639.60117),
    ("gulf", 12.110705825569488, 39.73159691401009, 10.665352992854345, 37.572177458609055),
    ("box", 1031.1538106093983, 149.2763739260229, 1277.6084141705685, 164.16131770954962),
    ("wood", 19192.0, 16397.125601763255, 25825.754687500023, 20578.65852383545),
    ("brown-dennis", 7926693.336997432, 2140490.672431666, 12873526.891920708, 3225938.517512646),
    ("osborne-1", 0.8790262935446402, 418.81151151730944, 0.9118260347363247, 11.251270234117815),
    ("biggs-exp6", 0.7790700756559701, 2.5539013641410215, 0.5241361437037967, 1.1978303110833295),
    ("extended-rosenbrock", 120.99999999999999, 520.7079795816461, 132.902705, 574.5602080123542),
    (
        "discrete-integral-equation",
        0.063416841579452,
        0.62187817566,
        0.024145997345,
        0.369522035297,
    ),
    ("broyden-tridiagonal", 21.0, 50.35871324805669, 27.62424999999999, 58.463982929663615),
    ("linear-full-rank", 25.0, 8.94427190999916, 28.11250000000001, 9.615092303249098),
    ("linear-rank-one", 84985.0, 84841.31069237439, 112674.06250000001, 97689.87457126762),
    ("linear-rank-one-zeros", 15886.0, 19386.593305684215, 21117.790000000008, 22352.742081453904),
    ("chebyquad", 0.03861769828593024, 1.5245892161933352, None, None),
]
"""Value and norm of the gradient at the standard start ``x`` and at ``1.1 x + 0.05``."""


@pytest.mark.parametrize("row", ELSEWHERE, ids=lambda row: row[0])
def test_values_and_gradients_are_those_of_sif2jax(row: Any) -> None:
    name, *expected = row
    x = draw(name).x0[0]
    found = *value_and_slope(name, x), *value_and_slope(name, 1.1 * x + 0.05)
    for mine, theirs in zip(found, expected, strict=True):
        if theirs is not None:
            assert mine == pytest.approx(theirs, rel=2e-10)


def powell(x: Point) -> Point:
    a, b, c, d = x
    return [a + 10 * b, sqrt(5) * (c - d), (b - 2 * c) ** 2, sqrt(10) * (a - d) ** 2]


def kowalik(x: Point) -> Point:
    y = [0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
    u = [4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625]
    a, b, c, d = x
    return [y[i] - a * (u[i] ** 2 + u[i] * b) / (u[i] ** 2 + u[i] * c + d) for i in range(11)]


def watson(x: Point) -> Point:
    n, r = len(x), []
    for i in range(1, 30):
        t = i / 29
        slope = sum((j - 1) * x[j - 1] * t ** (j - 2) for j in range(2, n + 1))
        r.append(slope - sum(x[j - 1] * t ** (j - 1) for j in range(1, n + 1)) ** 2 - 1)
    return [*r, x[0], x[1] - x[0] ** 2 - 1]


def extended_powell(x: Point) -> Point:
    return [entry for k in range(0, len(x), 4) for entry in powell(x[k : k + 4])]


def penalty_1(x: Point) -> Point:
    return [*(sqrt(1e-5) * (t - 1) for t in x), sum(t * t for t in x) - 0.25]


def penalty_2(x: Point) -> Point:
    n, root, r = len(x), sqrt(1e-5), [x[0] - 0.2]
    for i in range(2, 2 * n):
        if i <= n:
            y = exp(i / 10) + exp((i - 1) / 10)
            r.append(root * (exp(x[i - 1] / 10) + exp(x[i - 2] / 10) - y))
        else:
            r.append(root * (exp(x[i - n] / 10) - exp(-1 / 10)))
    return [*r, sum((n - j + 1) * x[j - 1] ** 2 for j in range(1, n + 1)) - 1]


def variably_dimensioned(x: Point) -> Point:
    total = sum(j * (t - 1) for j, t in enumerate(x, 1))
    return [*(t - 1 for t in x), total, total**2]


def trigonometric(x: Point) -> Point:
    total = sum(cos(t) for t in x)
    return [len(x) - total + i * (1 - cos(t)) - sin(t) for i, t in enumerate(x, 1)]


def brown_almost_linear(x: Point) -> Point:
    return [*(t + sum(x) - (len(x) + 1) for t in x[:-1]), float(np.prod(x)) - 1]


def boundary_value(x: Point) -> Point:
    n = len(x)
    h, padded = 1 / (n + 1), [0.0, *x, 0.0]
    return [
        2 * padded[i] - padded[i - 1] - padded[i + 1] + h**2 * (padded[i] + i * h + 1) ** 3 / 2
        for i in range(1, n + 1)
    ]


def broyden_banded(x: Point) -> Point:
    n, r = len(x), []
    for i in range(1, n + 1):
        near = [j for j in range(max(1, i - 5), min(n, i + 1) + 1) if j != i]
        band = sum(x[j - 1] * (1 + x[j - 1]) for j in near)
        r.append(x[i - 1] * (2 + 5 * x[i - 1] ** 2) + 1 - band)
    return r


def chebyquad(x: Point) -> Point:
    """With ``T_i(cos a) = cos(i a)``, for points inside (0, 1)."""
    angles = np.arccos(2 * np.array(x) - 1)
    integral = [0.0 if i % 2 else -1 / (i**2 - 1) for i in range(1, len(x) + 1)]
    return [float(np.cos(i * angles).mean()) - integral[i - 1] for i in range(1, len(x) + 1)]


LOOPS = {
    "powell-singular": powell,
    "kowalik-osborne": kowalik,
    "watson": watson,
    "extended-powell": extended_powell,
    "penalty-1": penalty_1,
    "penalty-2": penalty_2,
    "variably-dimensioned": variably_dimensioned,
    "trigonometric": trigonometric,
    "brown-almost-linear": brown_almost_linear,
    "discrete-boundary-value": boundary_value,
    "broyden-banded": broyden_banded,
    "chebyquad": chebyquad,
}


@pytest.mark.parametrize("name", LOOPS)
def test_residuals_are_the_equations_of_the_paper(name: str) -> None:
    for x in draw(name).x0:
        expected = torch.tensor(LOOPS[name](x.tolist()), dtype=torch.float64)
        residuals = FUNCTIONS[name].residuals(x[None])[0]
        assert residuals.shape == expected.shape
        sizes = zip(residuals.sort().values, expected.sort().values, strict=True)  # any order
        for mine, theirs in sizes:
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def test_every_function_has_its_values_checked() -> None:
    checked = {row[0] for row in ELSEWHERE} | set(LOOPS)
    assert set(FUNCTIONS) - checked == {"osborne-2"}  # whose data its minimum checks
    # The norm that MINPACK's own tests print at the start.
    start, _ = value_and_slope("osborne-2", draw("osborne-2").x0[0])
    assert sqrt(start) == pytest.approx(1.446865, rel=1e-6)
    assert [function.number for function in FUNCTIONS.values()] == list(range(1, 36))
    assert all(name == function.name for name, function in FUNCTIONS.items())


# --- minima ----------------------------------------------------------------------------------

PUBLISHED = {
    "jennrich-sampson": 124.362,
    "bard": 8.21487e-3,
    "gaussian": 1.12793e-8,
    "meyer": 87.9458,
    "kowalik-osborne": 3.07505e-4,
    "brown-dennis": 85822.2,
    "osborne-1": 5.46489e-5,
    "osborne-2": 4.01377e-2,
    ("watson", 6): 2.28767e-3,
    ("watson", 9): 1.39976e-6,
    ("watson", 12): 4.72238e-10,
    ("penalty-1", 4): 2.24997e-5,
    ("penalty-1", 10): 7.08765e-5,
    ("penalty-2", 4): 9.37629e-6,
    ("penalty-2", 10): 2.93660e-4,
    ("chebyquad", 8): 3.51687e-3,
}
NEAR = {  # where the standard start leads elsewhere, or only Newton's method from afar gets through
    "freudenstein-roth": [6.0, 5.0],
    "trigonometric": [1e-3] * 10,
    "brown-dennis": [-11.6, 13.2, -0.4, 0.23],
}
SOLVED = [*FUNCTIONS, *(key for key in PUBLISHED if isinstance(key, tuple))]


@pytest.mark.parametrize("key", SOLVED, ids=str)
def test_the_optimum_is_what_levenberg_marquardt_reaches(key: Any) -> None:
    name, unknowns = key if isinstance(key, tuple) else (key, None)
    drawn = draw(name, unknowns)
    function = FUNCTIONS[name]

    def residuals(z: NDArray[np.float64]) -> NDArray[np.float64]:
        out: NDArray[np.float64] = function.residuals(torch.from_numpy(z)[None])[0].numpy()
        return out

    def jacobian(z: NDArray[np.float64]) -> NDArray[np.float64]:
        point = torch.from_numpy(z)
        rows = torch.func.jacrev(lambda t: function.residuals(t[None])[0])(point)
        out: NDArray[np.float64] = rows.numpy()
        return out

    start = np.array(NEAR.get(name, drawn.x0[0].tolist()))
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 3000}
    found = 2 * least_squares(residuals, start, jacobian, method="lm", **tight).cost
    assert drawn.optimum is not None
    optimum = float(drawn.optimum[0])
    assert found == pytest.approx(optimum, rel=1e-7 if optimum else 0, abs=1e-15)
    published = PUBLISHED.get(key)
    if published is not None:  # truncated to six digits, some rounded
        assert optimum == pytest.approx(published, rel=1e-5)


@by_name
def test_the_minimizer_attains_the_optimum(name: str) -> None:
    drawn = draw(name)
    if drawn.minimizer is None:
        return
    assert drawn.minimizer.shape == drawn.x0.shape
    evaluated = drawn.optimizer().objective.evaluate(drawn.minimizer)
    torch.testing.assert_close(evaluated.value, drawn.optimum, rtol=1e-12, atol=1e-18)
    assert evaluated.gradient.abs().max() < 1e-8


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("brown-almost-linear", [*[0.0] * 9, 11.0]),
        ("freudenstein-roth", [11.412779013085439, -0.8968052512181562]),
        ("bard", [12.61 / 15, -1e8, -1e8]),
    ],
)
def test_other_minima_are_where_the_paper_says(name: str, point: Point) -> None:
    (other,) = FUNCTIONS[name].facts["other_minima"]
    value, slope = value_and_slope(name, torch.tensor(point, dtype=torch.float64))
    assert value == pytest.approx(other, rel=1e-5)
    assert slope < 1e-3


@pytest.mark.parametrize("n", [3, 5, 8])
@pytest.mark.parametrize("name", ["linear-full-rank", "linear-rank-one", "linear-rank-one-zeros"])
def test_linear_functions_have_their_minimum_in_every_size(name: str, n: int) -> None:
    drawn = draw(name, n)
    assert drawn.facts["convex"]
    assert drawn.minimizer is not None
    value, gradient, _ = drawn.optimizer().objective.evaluate(drawn.minimizer)
    torch.testing.assert_close(value, drawn.optimum, rtol=1e-12, atol=0)
    assert gradient.abs().max() < 1e-8


# --- descent ---------------------------------------------------------------------------------


@by_name
def test_every_function_descends_under_the_safeguard(name: str) -> None:
    drawn = draw(name)
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=15)).minimize(
        drawn.x0, history=True
    )
    assert result.certificate.monotone.all()
    assert (result.fun < result.initial_fun).all()
    assert result.history is not None
    values = torch.cat([result.initial_fun[None], result.history.value])
    assert (values.diff(dim=0) <= 0).all()
    assert torch.isfinite(values).all()
    assert drawn.optimum is not None
    assert (result.fun >= drawn.optimum * (1 - 1e-9)).all()


# --- batches, sizes, dtypes ------------------------------------------------------------------


@by_name
def test_the_first_start_is_standard_and_the_others_are_around_it(name: str) -> None:
    drawn = draw(name)
    function = FUNCTIONS[name]
    standard = function.start(function.unknowns)
    assert torch.equal(drawn.x0[0], standard)
    away = (drawn.x0[1:] - standard).abs()
    assert (away > 0).all()
    assert (away <= 0.5 * standard.abs().clamp(min=standard.abs().mean().clamp(min=1))).all()
    assert torch.isfinite(drawn.objective(drawn.x0)).all()


@by_name
def test_problems_do_not_influence_each_other(name: str) -> None:
    x = draw(name).x0
    together = FUNCTIONS[name](x)
    alone = torch.cat([FUNCTIONS[name](row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-13, atol=0)


@by_name
def test_single_precision_is_the_same_function(name: str) -> None:
    wide, narrow = draw(name), draw(name, dtype=torch.float32)
    values = narrow.objective(narrow.x0)
    assert narrow.x0.dtype == values.dtype == torch.float32
    torch.testing.assert_close(values.double(), wide.objective(wide.x0), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("name", [n for n, f in FUNCTIONS.items() if len(f.sizes) > 1])
def test_functions_scale(name: str) -> None:
    sizes = FUNCTIONS[name].sizes
    for n in (*sizes[:3], sizes[min(10, len(sizes) - 1)]):
        drawn = draw(name, n)
        assert drawn.x0.shape == (BATCH, n)
        assert torch.isfinite(drawn.objective(drawn.x0)).all()
        if drawn.minimizer is not None:
            values = drawn.objective(drawn.minimizer)
            torch.testing.assert_close(values, drawn.optimum, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"function": "ackley"}, "function must be one of rosenbrock, .*chebyquad, got 'ackley'"),
        ({"function": "beale", "unknowns": 3}, "beale has 2 unknowns, got 3"),
        ({"function": "extended-powell", "unknowns": 6}, r"has 4, 8, 12, \.\.\. unknowns, got 6"),
        ({"function": "watson", "unknowns": 32}, r"watson has 2, 3, 4, \.\.\. unknowns, got 32"),
    ],
)
def test_functions_and_sizes_that_do_not_exist_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MGHProblem(**settings)
