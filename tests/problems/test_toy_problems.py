"""Toy problems keep their word: reproducible, in both dtypes, with the facts they state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize as scipy_minimize
from torch import Tensor

import learnmm as lmm
from catalogue import PROBLEMS, ProblemCase
from draws import seeded
from learnmm_problems.stencils import differences, gaussian_blur, image_differences

by_problem = pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: case.label)
BATCH = 3


def draw(name: str, seed: int = 0, **settings: Any) -> lmm.Instance:
    problem = replace(lmm.problem(name), **settings)  # type: ignore[type-var]
    return problem.instance(BATCH, generator=seeded(seed))


def scipy_optimum(drawn: lmm.Instance, row: int) -> float:
    """Minimum of one problem of the batch by SciPy's L-BFGS from the same start."""
    objective = drawn.optimizer().objective

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        full = drawn.x0.clone()
        full[row] = torch.from_numpy(x).reshape(full[row].shape)
        value, gradient, _ = objective.evaluate(full)
        return float(value[row]), gradient[row].numpy().ravel()

    options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-9}
    start = drawn.x0[row].numpy().ravel()
    return float(scipy_minimize(fun, start, jac=True, method="L-BFGS-B", options=options).fun)


@by_problem
def test_the_generator_decides(case: ProblemCase) -> None:
    problem = case.load()
    first, same = (problem.instance(BATCH, generator=seeded()) for _ in range(2))
    other = problem.instance(BATCH, generator=seeded(1))
    x = first.x0 + 0.1
    mine, again = (drawn.optimizer().objective.evaluate(x).value for drawn in (first, same))
    theirs = other.optimizer().objective.evaluate(x).value
    assert torch.equal(first.x0, same.x0)
    assert torch.equal(mine, again)
    assert not torch.equal(mine, theirs) or not torch.equal(first.x0, other.x0)


@by_problem
def test_both_dtypes_are_the_same_problem(case: ProblemCase) -> None:
    problem = case.load()
    wide, narrow = (
        problem.instance(BATCH, generator=seeded(), dtype=dtype)
        for dtype in (torch.float64, torch.float32)
    )
    a = wide.optimizer().objective.evaluate(wide.x0)
    b = narrow.optimizer().objective.evaluate(narrow.x0)
    assert narrow.x0.dtype == b.value.dtype == b.gradient.dtype == torch.float32
    torch.testing.assert_close(b.value.double(), a.value, rtol=1e-4, atol=1e-5)
    for name in ("optimum", "minimizer"):
        known, rounded = getattr(wide, name), getattr(narrow, name)
        if known is not None:
            assert rounded.dtype == torch.float32
            torch.testing.assert_close(rounded.double(), known, rtol=1e-4, atol=1e-4)


@by_problem
def test_the_known_minimizer_attains_the_known_optimum(case: ProblemCase) -> None:
    drawn = case.load().instance(BATCH, generator=seeded())
    assert (drawn.optimum is None) == (drawn.minimizer is None)
    if drawn.optimum is None or drawn.minimizer is None:
        assert not drawn.facts["convex"] or "truth" in drawn.facts
        return
    value, gradient, _ = drawn.optimizer().objective.evaluate(drawn.minimizer)
    torch.testing.assert_close(value, drawn.optimum, rtol=1e-10, atol=1e-12)
    assert gradient.abs().max() < 1e-9
    assert (drawn.optimizer().objective.evaluate(drawn.x0).value > drawn.optimum).all()


@by_problem
def test_solving_descends_to_the_optimum(case: ProblemCase) -> None:
    drawn = case.load().instance(BATCH, generator=seeded())
    steps = 10 if drawn.optimum is None else 100  # how far down is known, or that it is down
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=steps)).minimize(drawn.x0)
    assert (result.fun < result.initial_fun).all()
    if drawn.optimum is not None:
        assert (result.fun >= drawn.optimum - 1e-12).all()
        done = result.initial_fun - result.fun
        assert (done > 0.9 * (result.initial_fun - drawn.optimum)).all()


def test_the_quadratic_has_its_condition_number() -> None:
    drawn = draw("quadratic", condition=250.0)
    fun = drawn.optimizer().objective
    eye = torch.eye(12, dtype=torch.float64)
    product = lmm.hessian.hessian_product(fun, drawn.x0)
    hessian = torch.stack([product(unit.expand_as(drawn.x0))[0] for unit in eye])
    eigenvalues = torch.linalg.eigvalsh(hessian)
    assert float(eigenvalues[-1] / eigenvalues[0]) == pytest.approx(250.0)
    assert float(eigenvalues[-1]) == pytest.approx(1.0)


def test_the_quadratic_converges_at_the_rate_of_its_condition_number() -> None:
    drawn = draw("quadratic", condition=30.0)
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=60, gtol=0)).minimize(
        drawn.x0, history=True
    )
    assert result.history is not None
    steps = torch.arange(1, 61, dtype=torch.float64)[:, None]
    limit = (1 - 1 / 30.0) ** (2 * steps) * result.initial_fun
    assert (result.history.value <= limit * (1 + 1e-9)).all()


def test_the_structured_bound_solves_the_quadratic_in_one_step() -> None:
    drawn = draw("quadratic", condition=1e6, form="structured")
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=1)).minimize(drawn.x0)
    torch.testing.assert_close(result.x, drawn.minimizer, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("unknowns", [2, 5])
def test_rosenbrock_agrees_with_scipy(unknowns: int) -> None:
    from scipy.optimize import rosen, rosen_hess

    drawn = draw("rosenbrock", unknowns=unknowns)
    values = [rosen(x.numpy()) for x in drawn.x0]
    torch.testing.assert_close(drawn.objective(drawn.x0), torch.tensor(values))
    if unknowns == 2:
        assert np.linalg.cond(rosen_hess(np.ones(2))) == pytest.approx(2508, abs=1)


def test_rosenbrock_is_solved_without_a_majorant() -> None:
    # Gradient steps follow a curved valley of condition 2508: slow, but down.
    drawn = draw("rosenbrock", unknowns=2)
    assert drawn.majorant is None
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=150)).minimize(drawn.x0)
    assert result.certificate.monotone.all()
    assert (result.fun < 0.1 * result.initial_fun).all()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("name", "settings"),
    [("logistic-regression", {}), ("cosine-regression", {}), ("quadratic", {"condition": 20.0})],
)
def test_the_known_optimum_is_that_of_scipy(name: str, settings: Any, seed: int) -> None:
    drawn = draw(name, seed, **settings)
    assert drawn.optimum is not None
    for row in range(BATCH):
        assert scipy_optimum(drawn, row) == pytest.approx(float(drawn.optimum[row]), abs=1e-7)


@pytest.mark.parametrize(
    ("name", "loss"),
    [("signal-deconvolution", "huber"), ("image-deconvolution", "hyperbolic")],
)
def test_convex_deconvolution_reaches_the_optimum_of_scipy(name: str, loss: str) -> None:
    drawn = draw(name, loss=loss)
    assert drawn.facts["convex"]
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=600, gtol=1e-8)).minimize(drawn.x0)
    reference = scipy_optimum(drawn, 0)
    assert float(result.fun[0]) == pytest.approx(reference, rel=1e-3)
    assert float(result.fun[0]) >= reference * (1 - 1e-9)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("signal-deconvolution", "huber"),
        ("image-deconvolution", "huber"),
        ("image-deconvolution", "cauchy"),  # not convex, but it starts at the data
    ],
)
def test_deconvolution_forgives_outliers(name: str, loss: str) -> None:
    drawn = draw(name, loss=loss)
    truth = drawn.facts["truth"]
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=200)).minimize(drawn.x0)
    data = drawn.optimizer().objective.parts[0].atom.target  # type: ignore[attr-defined]
    error, worse = ((x - truth).square().mean(1).sqrt() for x in (result.x, data))
    assert (error < 0.7 * worse).all()
    assert drawn.facts["convex"] == (loss == "huber")


def test_the_gain_has_no_influence_on_the_cosine() -> None:
    drawn = draw("cosine-regression")
    assert float(drawn.facts["gain"].max() / drawn.facts["gain"].min()) > 10
    result = drawn.optimizer(settings=lmm.SolveSettings(gtol=1e-9)).minimize(drawn.x0)
    assert drawn.minimizer is not None
    cosine = torch.nn.functional.cosine_similarity(result.x, drawn.minimizer)
    torch.testing.assert_close(cosine, torch.ones(BATCH, dtype=torch.float64))


def test_the_autoencoder_finds_what_the_matrix_cannot_see() -> None:
    drawn = draw("autoencoder-inverse", noise=0.01)
    result = drawn.optimizer(settings=lmm.SolveSettings(max_iter=300)).minimize(drawn.x0)
    cosine = torch.nn.functional.cosine_similarity(result.x, drawn.facts["truth"])
    assert (cosine > 0.98).all()
    data_alone = lmm.minimize(drawn.optimizer().objective.parts[0], drawn.x0)  # type: ignore[attr-defined]
    without = torch.nn.functional.cosine_similarity(data_alone.x, drawn.facts["truth"])
    assert (without < cosine).all()


def total(matrix: Tensor, x: Tensor) -> Tensor:
    return (matrix @ x.reshape(-1)).square().sum()


def test_stencils_keep_constants_and_count_every_neighbour() -> None:
    torch.testing.assert_close(gaussian_blur(9, 1.5).sum(1), torch.ones(9, dtype=torch.float64))
    assert not (differences(5) @ torch.ones(5, dtype=torch.float64)).any()
    image = torch.arange(12, dtype=torch.float64).reshape(3, 4)
    expected = image.diff(dim=0).square().sum() + image.diff(dim=1).square().sum()
    torch.testing.assert_close(total(image_differences(3, 4), image), expected)
