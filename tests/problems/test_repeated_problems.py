"""Problems that people solve again and again: each against what is known elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal
from scipy.optimize import minimize as scipy_minimize
from torch import Tensor

import learnmm as lmm
from draws import seeded
from learnmm_problems.camera_pose import DISTANCE, CameraPoseProblem, picture, skew
from learnmm_problems.inverse_kinematics import REST, hand
from learnmm_problems.pendulum import GRAVITY, PendulumProblem
from learnmm_problems.phase_retrieval import PhaseRetrievalProblem
from learnmm_problems.photograph_deblurring import (
    PhotographDeblurringProblem,
    averaging,
    gaussian_window,
    neighbours,
)
from learnmm_problems.smoothing import second_differences
from learnmm_problems.sparse_deconvolution import ricker
from learnmm_problems.spectral_peaks import SpectralPeaksProblem

BATCH = 3


def draw(name: str, **settings: Any) -> lmm.Instance:
    problem = replace(lmm.problem(name), **settings)  # type: ignore[type-var]
    return problem.instance(BATCH, generator=seeded())


def solve(drawn: lmm.Instance, steps: int = 200) -> lmm.Result:
    settings = lmm.SolveSettings(max_iter=steps)
    return drawn.optimizer(proposer=lmm.LimitedMemory(), settings=settings).minimize(drawn.x0)


def smoothed(x: Tensor, edge: float) -> Tensor:
    """Sum of smoothed absolute values."""
    return ((x * x + edge**2).sqrt() - edge).flatten(1).sum(1)


def value(drawn: lmm.Instance, x: Tensor) -> Tensor:
    return drawn.optimizer().objective.evaluate(x).value


# --- the objectives are those of the docstrings ------------------------------------------------


def test_sparse_deconvolution_is_what_scipy_convolves() -> None:
    drawn = draw("sparse-deconvolution")
    x = drawn.x0 + torch.randn(drawn.x0.shape, generator=seeded(), dtype=torch.float64)
    wavelet = ricker(2.0, 16)
    seen = np.stack([signal.convolve(row, wavelet.numpy(), "same") for row in x.numpy()])
    assert drawn.data is not None
    expected = (torch.from_numpy(seen) - drawn.data).square().sum(1) / 2 + 0.1 * smoothed(x, 0.05)
    torch.testing.assert_close(value(drawn, x), expected)


def test_a_wavelet_has_its_zeros_and_no_mean() -> None:
    wavelet = ricker(3.0, 49)
    middle = len(wavelet) // 2
    assert wavelet[middle] == 1
    assert float(wavelet[middle + 3].abs()) < 1e-15
    assert float(wavelet.sum().abs()) < 1e-9


def test_lasso_is_least_squares_with_a_smoothed_penalty() -> None:
    drawn = draw("lasso")
    x = drawn.x0 + torch.randn(drawn.x0.shape, generator=seeded(), dtype=torch.float64)
    fit = drawn.objective.parts[0]  # type: ignore[union-attr]
    matrix = fit.linear.matrix
    torch.testing.assert_close(matrix.norm(dim=0), torch.ones(32, dtype=torch.float64))
    assert drawn.data is not None
    missed = (x @ matrix.mT - drawn.data).square().sum(1) / 2
    torch.testing.assert_close(value(drawn, x), missed + 0.05 * smoothed(x, 0.02))


def test_smoothing_weighs_jerks_and_forgives_errors() -> None:
    drawn = draw("smoothing", noise=2.0)
    assert drawn.data is not None
    x = drawn.x0 + torch.randn(drawn.x0.shape, generator=seeded(), dtype=torch.float64)
    bend = x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]
    torch.testing.assert_close(second_differences(12) @ x, bend)
    t = (x - drawn.x0) / 2
    huber = torch.nn.functional.huber_loss(t, torch.zeros_like(t), reduction="none").sum((1, 2))
    expected = huber + bend.square().sum((1, 2)) / (2 * 0.3**2)
    torch.testing.assert_close(value(drawn, x), expected)


def test_a_line_has_its_height_place_and_width() -> None:
    problem = SpectralPeaksProblem(lines=3, channels=3001, width=0.02)
    x = torch.zeros(1, 3, 3, dtype=torch.float64)
    x[0, 1] = torch.tensor([0.3, 0.5, 0.7])
    spectrum = problem.spectrum(x)[0, 1100:1900]
    axis = torch.linspace(0, 3, 3001, dtype=torch.float64)[1100:1900]
    assert float(spectrum.max()) == pytest.approx(np.exp(0.3), rel=1e-2)
    assert float(axis[spectrum.argmax()]) == pytest.approx(1.5 + 0.3 * 0.5, abs=2e-3)
    above = axis[spectrum > np.exp(0.3) / 2]
    assert float(above[-1] - above[0]) == pytest.approx(2 * 0.02 * np.exp(0.7), abs=5e-3)


def test_intensities_do_not_show_the_sign() -> None:
    drawn = PhaseRetrievalProblem(noise=0.0).instance(BATCH, generator=seeded())
    truth = drawn.facts["truth"]
    for x in (truth, -truth):
        torch.testing.assert_close(value(drawn, x), torch.zeros(BATCH, dtype=torch.float64))


def test_known_ratings_alone_count() -> None:
    drawn = draw("matrix-completion", ridge=1e-9, noise=0.0, rank=6, items=6)
    assert drawn.data is not None
    x = torch.zeros(BATCH, 14, 6, dtype=torch.float64)
    expected = drawn.data.square().sum(1) / 2
    torch.testing.assert_close(value(drawn, x), expected)
    x[:, :8] = drawn.facts["truth"]  # U V^T = Y with V the identity
    x[:, 8:] = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(value(drawn, x), torch.zeros_like(expected), rtol=0, atol=1e-6)


# --- geometry and dynamics ---------------------------------------------------------------------


def test_a_straight_arm_reaches_its_length() -> None:
    turn = 0.7
    angles = torch.tensor([turn, 0.0, 0.0, 0.0], dtype=torch.float64)
    expected = torch.tensor([np.cos(turn), np.sin(turn)])
    torch.testing.assert_close(hand(angles), expected)
    folded = torch.tensor([turn, np.pi], dtype=torch.float64)  # back to where it started
    torch.testing.assert_close(hand(folded), torch.zeros(2, dtype=torch.float64))


def test_the_hand_follows_its_path_smoothly() -> None:
    drawn = draw("inverse-kinematics", noise=0.0, smooth=1e-4, rest=1e-5)
    assert drawn.data is not None
    result = solve(drawn)
    path = drawn.data.reshape(BATCH, -1, 2)
    before = (hand(drawn.x0) - path).norm(dim=2).amax(1)
    after = (hand(result.x) - path).norm(dim=2).amax(1)
    assert (after < 0.05 * before).all()
    assert float((drawn.x0 - REST).abs().max()) == 0


def test_the_pendulum_falls_as_the_equation_of_motion_says() -> None:
    problem = PendulumProblem(horizon=2000, step=1e-3, damping=0.0)
    first = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    angle, speed = problem.motion(first, torch.zeros(1, 2000, dtype=torch.float64))
    energy = speed.square() / 2 + GRAVITY * angle.cos()  # semi-implicit steps keep it nearly
    torch.testing.assert_close(
        energy, torch.full_like(energy, GRAVITY * np.cos(0.5)), rtol=0, atol=0.05
    )
    assert float(angle.max()) > 3  # it has fallen


def test_the_torque_found_brings_the_pendulum_upright() -> None:
    problem = PendulumProblem(horizon=30, angle=0.8)
    drawn = problem.instance(BATCH, generator=seeded())
    result = solve(drawn)
    assert drawn.data is not None
    fallen, _ = problem.motion(drawn.data, drawn.x0)
    angle, speed = problem.motion(drawn.data, result.x)
    assert (angle[:, -1].abs() < 0.05).all()
    assert (speed[:, -1].abs() < 0.5).all()
    assert (fallen[:, -1].abs() > 0.5).all()


def test_rotations_are_those_of_rodrigues() -> None:
    axis = torch.randn(BATCH, 3, generator=seeded(), dtype=torch.float64)
    v = torch.randn(BATCH, 3, generator=seeded(1), dtype=torch.float64)
    crossed = (skew(axis) @ v[..., None])[..., 0]
    torch.testing.assert_close(crossed, torch.linalg.cross(axis, v))
    quarter = torch.tensor([[0.0, 0.0, np.pi / 2, 0.0, 0.0, 0.0]], dtype=torch.float64)
    points = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[[0.0, 1 / DISTANCE]]], dtype=torch.float64)
    torch.testing.assert_close(picture(points, quarter), expected)


def test_the_pose_is_found_despite_points_that_are_elsewhere() -> None:
    drawn = CameraPoseProblem(points=30, depth=1.0).instance(BATCH, generator=seeded())
    truth = drawn.facts["truth"]
    error = (solve(drawn).x - truth).norm(dim=1)
    assert (error < 0.05 * truth.norm(dim=1)).all()


# --- photographs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operator", [averaging(gaussian_window(1.2, 2), 9), neighbours(7)], ids=["blur", "differences"]
)
def test_products_of_images_are_adjoint_and_bounded(operator: lmm.linear.LinearOperator) -> None:
    zero = torch.zeros(1, *operator.domain, dtype=torch.float64)
    lmm.checks.assert_adjoint(operator, zero)
    n = zero.numel()
    units = torch.eye(n, dtype=torch.float64).reshape(n, *operator.domain)
    matrix = operator.apply(units).flatten(1).mT
    assert float(torch.linalg.matrix_norm(matrix, 2)) <= operator.norm(zero)
    assert operator.absolute is not None
    torch.testing.assert_close(operator.absolute.apply(units).flatten(1).mT, matrix.abs())


def test_deblurring_sharpens_photographs() -> None:
    problem = PhotographDeblurringProblem(side=32, blur=1.5, reach=4)
    drawn = problem.instance(BATCH, generator=seeded())
    truth = drawn.facts["truth"]
    found = solve(drawn, 50).x
    before, after = ((x - truth)[:, 4:-4, 4:-4].square().mean() for x in (drawn.x0, found))
    assert float(after) < 0.7 * float(before)
    x = drawn.x0 + truth
    assert drawn.data is not None
    blurred = averaging(gaussian_window(1.5, 4), 32)(x).flatten(1)
    jumps = torch.cat([x.diff(dim=1).flatten(1), x.diff(dim=2).flatten(1)], 1)
    expected = (blurred - drawn.data).square().sum(1) / 2 + 1e-3 * smoothed(jumps, 0.01)
    torch.testing.assert_close(value(drawn, x), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"images": "paintings"}, "images must be"), ({"reach": 6}, "reach must be")],
)
def test_deblurring_refuses_what_it_cannot_draw(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PhotographDeblurringProblem(**settings)


# --- optima ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["lasso", "sparse-deconvolution", "smoothing", "poisson-regression"]
)
def test_convex_ones_reach_the_optimum_of_scipy(name: str) -> None:
    drawn = draw(name)
    result = solve(drawn)

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        full = drawn.x0.clone()
        full[0] = torch.from_numpy(x).reshape(full[0].shape)
        at = drawn.optimizer().objective.evaluate(full)
        return float(at.value[0]), at.gradient[0].numpy().ravel()

    start = drawn.x0[0].numpy().ravel()
    options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-9}
    found = scipy_minimize(fun, start, jac=True, method="L-BFGS-B", options=options).fun
    assert float(result.fun[0]) == pytest.approx(float(found), rel=1e-8)
