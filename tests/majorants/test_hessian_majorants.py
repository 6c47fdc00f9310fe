"""Curvature from Hessian-vector products: what Lanczos promises, how often it fails, its cost."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import learnmm as lmm
from draws import normal
from learnmm.checks import LawViolation, assert_majorant
from learnmm.linear.lanczos import ritz_extremes
from learnmm.majorants import hessian
from learnmm.majorants.hessian import CONCAVE_SHARE

STARTS = 1000
UNKNOWNS = 300


def quadratic(eigenvalues):
    """``f`` with the Hessian ``diag(eigenvalues)``, ``(n,)`` or one per problem ``(B, n)``."""
    return lambda x: (eigenvalues * x * x).sum(1) / 2


def chebyshev(width):
    """A spectrum that Lanczos finds hard: extremes of a Chebyshev polynomial, and 1 above them."""
    nodes = torch.cos(math.pi * torch.arange(UNKNOWNS, dtype=torch.float64) / (UNKNOWNS - 1))
    spectrum = width * (1 + nodes) / 2
    spectrum[0] = 1.0
    return spectrum


LINE = torch.linspace(0, 1, UNKNOWNS, dtype=torch.float64)
SPECTRA = {
    "positive": LINE,
    "indefinite": 2 * LINE - 1,
    "negative": LINE - 1.5,
    "clustered": (LINE > 0.5).double(),
    "alone at the top": (LINE == 1).double(),
    "tiny gap": torch.where(LINE == 1, 1 + 1e-9, LINE.clamp(max=1 - 1e-9)),
    "far from zero": 1000 + LINE,
    "gap": torch.where(LINE == 1, 1.0, 0.99 * LINE),
    "hard 0.95": chebyshev(0.95),
    "hard 0.9": chebyshev(0.9),
    "hard 0.75": chebyshev(0.75),
}


def share_below(levels, largest):
    return float((levels < largest - 1e-12).double().mean())


@pytest.mark.parametrize("steps", [1, 12])
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_lanczos_fails_no_more_often_than_it_says(delta, steps, monkeypatch):
    """Every problem of the batch draws its own start: a thousand experiments in one call."""
    generator = torch.Generator().manual_seed(1)
    extremes = []

    def own_start(x, _):
        return torch.randn(x.shape, dtype=x.dtype, generator=generator)

    def recorded(*arguments):
        extremes.append(ritz_extremes(*arguments))
        return extremes[-1]

    monkeypatch.setattr(hessian, "start_vector", own_start)
    monkeypatch.setattr(hessian, "ritz_extremes", recorded)
    x = torch.zeros(STARTS, UNKNOWNS).double()
    failures, weaker, plain = {}, {}, {}
    for name, spectrum in SPECTRA.items():
        majorant = lmm.majorants.LanczosMajorant(quadratic(spectrum), steps, delta)
        bound = majorant(x)
        assert bound.kind is lmm.Kind.PROBABLE
        assert bound.failure_probability == delta
        least, most = extremes[-1]
        quarter = most + majorant.plan(UNKNOWNS)[1] / 4 * (most - least)
        failures[name] = share_below(bound.curvature.largest(), spectrum.max())
        weaker[name] = share_below(quarter, spectrum.max())
        plain[name] = share_below(most, spectrum.max())
    assert max(failures.values()) <= delta
    # Ritz values are lower bounds, always; a quarter of the margin is too little somewhere.
    assert plain["positive"] == plain["hard 0.95"] == 1.0
    assert max(weaker.values()) > min(delta, 0.1)


@given(n=st.integers(1, 12), seed=st.integers(0, 2**16), steps=st.sampled_from([12, 40]))
def test_lanczos_is_exact_with_as_many_steps_as_unknowns(n, seed, steps):
    matrix = normal(3, n, n, seed=seed)
    matrix = matrix + matrix.mT
    majorant = lmm.majorants.LanczosMajorant(
        lambda x: torch.einsum("bi,bij,bj->b", x, matrix, x) / 2,
        steps,
        generator=torch.Generator().manual_seed(seed),
    )
    eigenvalues = torch.linalg.eigvalsh(matrix)
    radius = eigenvalues.abs().amax(1)
    expected = torch.maximum(eigenvalues[:, -1], CONCAVE_SHARE * radius)
    level = majorant(torch.zeros(3, n).double()).curvature.largest()
    assert torch.allclose(level, expected, rtol=1e-10)


def rosenbrock(x):
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


@pytest.mark.parametrize("n", [2, 8, 300])
def test_bounds_hold_at_many_points(n):
    majorant = lmm.majorants.LanczosMajorant(rosenbrock, generator=torch.Generator().manual_seed(0))
    assert_majorant(majorant, rosenbrock, 2 * normal(20, n))


@pytest.mark.parametrize("n", [5, 300])  # densely, and by Lanczos on the difference
def test_a_probable_bound_that_is_too_small_is_caught(n):
    fun, x = quadratic(torch.linspace(0, 1, n).double()), normal(1, n)

    def claim(level):
        curvature = lmm.curvature.ScalarCurvature(torch.full((1,), level).double())
        return lambda x, aux: lmm.Bound(lmm.Kind.PROBABLE, curvature)

    assert_majorant(claim(1.0), fun, x)
    with pytest.raises(LawViolation, match=r"PROBABLE.*semidefinite"):
        assert_majorant(claim(0.99), fun, x)


@pytest.mark.parametrize("distinct", [1, 2, 5])
def test_exhausted_krylov_spaces(distinct):
    """With few distinct eigenvalues the iteration ends early, for each problem on its own."""
    n, steps = 60, 30
    levels = 10 ** normal(4, distinct, seed=distinct)
    few = levels[:, torch.arange(n) % distinct]
    few[3] = normal(n, seed=9)  # a neighbour that needs every step
    start = normal(4, n, seed=2)
    least, most = ritz_extremes(lambda v: few * v, start, steps)
    assert torch.allclose(most[:3], few[:3].amax(1), rtol=1e-10)
    assert torch.allclose(least[:3], few[:3].amin(1), rtol=1e-10)
    alone = ritz_extremes(lambda v: few[3:] * v, start[3:], steps)
    assert torch.allclose(most[3], alone[1][0], rtol=1e-12)
    majorant = lmm.majorants.LanczosMajorant(quadratic(few), steps)
    assert (majorant(torch.zeros(4, n).double()).curvature.largest() >= few.amax(1) - 1e-12).all()


def test_flat_concave_and_broken_points():
    spectra = torch.stack([LINE * 0, -1 - LINE, LINE * torch.nan, LINE, LINE * 1e-200])
    bound = lmm.majorants.LanczosMajorant(quadratic(spectra), steps=15)(
        torch.zeros(5, UNKNOWNS).double()
    )
    level = bound.curvature.largest()
    assert bound.curvature.valid().tolist() == [True, True, False, True, True]
    assert level[0] == torch.finfo(torch.float64).eps
    # Concave: above the largest eigenvalue, and a share of the spectral radius.
    assert 0 < CONCAVE_SHARE * 1.9 < level[1] < 1
    assert 1 <= level[3] < 1.5


@pytest.mark.parametrize("name", ["lanczos", "power"])
def test_problems_do_not_influence_each_other(name):
    curvatures = 10 ** normal(6, 30, seed=1)

    def level(indices):
        generator = torch.Generator().manual_seed(5)
        fun = lambda x: (curvatures[indices] * torch.cosh(x)).sum(1)  # noqa: E731
        majorant = (
            lmm.majorants.LanczosMajorant(fun, 12, generator=generator)
            if name == "lanczos"
            else lmm.majorants.PowerIterationMajorant(fun, 12, generator=generator)
        )
        return majorant(normal(6, 30, seed=2)[indices]).curvature.largest()

    together = level(list(range(6)))
    assert torch.allclose(level([5, 3, 1, 0, 2, 4]), together[[5, 3, 1, 0, 2, 4]], rtol=1e-12)
    for i in range(6):
        assert torch.allclose(level([i]), together[i], rtol=1e-12)


@pytest.mark.parametrize("route", ["auto", "forward", "reverse"])
def test_one_product_serves_the_batch(route):
    calls = 0

    def fun(x):
        nonlocal calls
        calls += 1
        return (x**4).sum(1)

    counts = []
    for batch in (1, 50):
        calls = 0
        majorant = lmm.majorants.LanczosMajorant(fun, steps=20, route=route)
        majorant(normal(batch, 100))
        counts.append(calls)
    # Reverse differentiates one evaluation again and again; auto tries the forward route once.
    expected = {"auto": 21, "forward": 20, "reverse": 1}[route]
    assert counts == [expected, expected]


@given(seed=st.integers(0, 2**16), steps=st.integers(1, 30), margin=st.sampled_from([1.0, 1.5]))
def test_power_iteration_stays_below_its_margin(seed, steps, margin):
    spectrum = normal(2, 20, seed=seed)
    majorant = lmm.majorants.PowerIterationMajorant(
        quadratic(spectrum), steps, margin, generator=torch.Generator().manual_seed(seed)
    )
    bound = majorant(torch.zeros(2, 20).double())
    radius = spectrum.abs().amax(1)
    assert bound.kind is lmm.Kind.ESTIMATE
    assert (bound.curvature.largest() <= margin * radius * (1 + 1e-12)).all()
    if steps == 30 and margin == 1.0:
        assert (bound.curvature.largest() >= 0.8 * radius).all()


def test_nothing_is_checked_where_nothing_is_promised():
    fun = quadratic(LINE)
    tiny = lmm.Bound(
        lmm.Kind.ESTIMATE, lmm.curvature.ScalarCurvature(torch.full((1,), 1e-9).double())
    )
    assert_majorant(lambda x, aux: tiny, fun, normal(1, UNKNOWNS))


def test_lipschitz_bound_is_global_on_the_callers_word():
    fun, x = quadratic(torch.tensor([1.0, 3.0]).double()), normal(4, 2)
    for constant in (3.0, torch.full((4,), 3.0)):
        majorant = lmm.majorants.LipschitzMajorant(constant)
        assert majorant(x).kind is lmm.Kind.GLOBAL
        assert majorant(x).curvature.largest().tolist() == [3.0] * 4
        assert_majorant(majorant, fun, x)
    with pytest.raises(LawViolation, match="GLOBAL"):
        assert_majorant(lmm.majorants.LipschitzMajorant(2.999), fun, x)


def test_the_same_generator_gives_the_same_bound():
    x, fun = normal(2, 100), quadratic(LINE[:100])
    first, second = (
        lmm.majorants.LanczosMajorant(fun, generator=torch.Generator().manual_seed(3))(x)
        for _ in range(2)
    )
    assert torch.equal(first.curvature.largest(), second.curvature.largest())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: lmm.majorants.LanczosMajorant(LINE.sum, steps=0),
            "steps must be an integer of at least 1, got 0",
        ),
        (
            lambda: lmm.majorants.LanczosMajorant(LINE.sum, failure_probability=0.0),
            r"in \(0, 1\), got 0.0",
        ),
        (lambda: lmm.majorants.LanczosMajorant(LINE.sum, failure_probability=1.0), "got 1.0"),
        (
            lambda: lmm.majorants.PowerIterationMajorant(LINE.sum, steps=0),
            "steps must be an integer of at least 1, got 0",
        ),
        (
            lambda: lmm.majorants.PowerIterationMajorant(LINE.sum, margin=0.9),
            "margin must be .*, got 0.9",
        ),
        (lambda: lmm.majorants.LipschitzMajorant(0.0), "positive and finite, got 0.0"),
        (lambda: lmm.majorants.LipschitzMajorant(-1.0), "got -1.0"),
        (lambda: lmm.majorants.LipschitzMajorant(float("inf")), "got inf"),
        (lambda: lmm.majorants.LipschitzMajorant(float("nan")), "got nan"),
        (lambda: lmm.majorants.LipschitzMajorant(torch.ones(2, 2)), "one or"),
    ],
)
def test_misuse_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
