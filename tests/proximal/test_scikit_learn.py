"""Sparse regression beside scikit-learn: objectives agree to the gaps that bound both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.proximal import L1, GroupL2

ROWS, UNKNOWNS = 40, 15
A, Y = normal(ROWS, UNKNOWNS), normal(1, ROWS, seed=1) + 2 * normal(ROWS, UNKNOWNS)[:, :3].sum(1)
START = torch.zeros(1, UNKNOWNS, dtype=torch.float64)
LEVEL, RIDGE = 5.0, 3.0


def gap(x: Tensor, ridge: float, *, positive: bool) -> float:
    """Primal minus dual value of ``1/2 |A x - y|^2 + ridge/2 |x|^2 + level |x|_1``.

    The dual of rows ``[A; sqrt(ridge) I]``: ``1/2 |t|^2 - 1/2 |t - u|^2`` for any ``u`` with
    ``|A^T u| <= level``, one-sided for non-negative ``x``. It bounds what ``x`` is above the least.
    """
    rows = torch.cat([A, ridge**0.5 * torch.eye(UNKNOWNS, dtype=A.dtype)])
    target = torch.cat([Y[0], torch.zeros(UNKNOWNS, dtype=A.dtype)])
    residual = target - rows @ x[0]
    slopes = rows.T @ residual
    steepest = float(slopes.max() if positive else slopes.abs().max())
    u = residual * min(1.0, LEVEL / steepest)
    primal = residual.square().sum() / 2 + LEVEL * x.abs().sum()
    return float(primal - target.square().sum() / 2 + (target - u).square().sum() / 2)


@pytest.mark.parametrize("ridge", [0.0, RIDGE])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("proposer", [None, lmm.LimitedMemory()], ids=["own", "memory"])
def test_lasso_and_elastic_net(ridge: float, positive: bool, proposer: Any) -> None:
    energy: Any = lmm.least_squares(A, Y) + LEVEL * L1()
    options: dict[str, Any] = {"alpha": LEVEL / ROWS, "tol": 1e-12, "max_iter": 100_000}
    options |= {"fit_intercept": False, "positive": positive}
    model = Lasso(**options)
    if ridge:
        energy = energy + ridge * lmm.Quadratic(START)
        total = LEVEL + ridge
        model = ElasticNet(**options | {"alpha": total / ROWS, "l1_ratio": LEVEL / total})
    model.fit(A.numpy(), Y[0].numpy())
    theirs = torch.tensor(model.coef_)[None]
    bounds = (0, None) if positive else None
    exact = lmm.SolveSettings(gtol=1e-10)
    ours = lmm.minimize(energy, START, bounds=bounds, proposer=proposer, settings=exact)
    assert bool(ours.success.all())
    mine, other = (gap(x, ridge, positive=positive) for x in (ours.x, theirs))
    size = float(ours.fun)
    rounding = 64 * np.finfo(float).eps * float(Y.square().sum())
    assert abs(size - float(energy(theirs))) <= max(mine, other) + rounding
    # Slopes are off by the residual r, so the gap is at most 2 r |x|_1 + (r |y| / level)^2 / 2.
    off = float(ours.gradient_norm)
    assert mine <= 3 * off * float(ours.x.abs().sum()) + (off / LEVEL) ** 2 * size + rounding
    assert off <= 1e-5
    assert 0 < int((ours.x == 0).sum()) < UNKNOWNS
    assert torch.equal(ours.x == 0, theirs.abs() < 1e-9)


def test_logistic_regression() -> None:
    labels = torch.where(Y[0] > 0, 1.0, -1.0).double()
    named = LogisticRegression().get_params()["penalty"] == "l2"  # before scikit-learn 1.8
    options: Any = {"penalty": "l1"} if named else {"l1_ratio": 1.0}
    options |= {"solver": "liblinear", "C": 1 / LEVEL, "tol": 1e-10, "max_iter": 10_000}
    model = LogisticRegression(fit_intercept=False, **options)
    model.fit(A.numpy(), labels.numpy())
    theirs = torch.tensor(model.coef_)

    def fun(x: Tensor) -> Tensor:
        return torch.nn.functional.softplus(-labels * (x @ A.T)).sum(1)

    ours = lmm.minimize(fun, START, penalty=L1(LEVEL))
    # The dual of softplus is entropy, at shares s of the labels with |A^T (s labels)| <= level.
    gaps = []
    for x in (ours.x, theirs):
        shares = torch.sigmoid(-labels * (x[0] @ A.T))
        shares = shares * min(1.0, LEVEL / float((A.T @ (shares * labels)).abs().max()))
        entropy = -(torch.xlogy(shares, shares) + torch.xlogy(1 - shares, 1 - shares)).sum()
        gaps.append(float(fun(x)[0] + LEVEL * x.abs().sum() - entropy))
    assert abs(float(ours.fun - fun(theirs) - LEVEL * theirs.abs().sum())) <= max(gaps) + 1e-12
    assert gaps[0] <= 1e-8 * float(ours.fun)
    assert bool(ours.success.all())


def test_groups_of_an_orthogonal_design_have_a_closed_form() -> None:
    basis = torch.linalg.qr(normal(ROWS, 12)).Q
    y = normal(1, ROWS, seed=3)
    target = (y @ basis).reshape(1, 4, 3)
    # Between the second norm and the third: at a norm, rounding says whether a group is zero.
    level = float(target.norm(dim=2).sort().values[0, 1:3].mean())
    found = lmm.minimize(
        lambda x: (x.reshape(1, 12) @ basis.T - y).square().sum(1) / 2,
        torch.zeros(1, 4, 3, dtype=y.dtype),
        penalty=GroupL2(level),
    )
    expected = (1 - level / target.norm(dim=2, keepdim=True)).clamp(min=0) * target
    # Curvature one, and a metric of at least half of that: the residual leaves (1 + 1 / w) of it.
    assert float((found.x - expected).norm()) <= 3 * 12**0.5 * float(found.gradient_norm) + 1e-12
    assert found.certificate.kind is lmm.Kind.ESTIMATE
    assert int((found.x == 0).all(2).sum()) == 2
