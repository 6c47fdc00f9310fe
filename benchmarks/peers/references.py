"""Least values of problems for which none is published: long runs of two solvers."""

from __future__ import annotations

import numpy as np
import scipy.optimize
import torch

from .suite import Case

LONG = 20_000


def least_value(case: Case) -> float:
    """The smaller of the ends of L-BFGS-B and of a trust-region Newton method, both run out."""

    def as_tensor(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x).reshape(case.x0[0].shape)

    def flat(x: torch.Tensor) -> torch.Tensor:
        return case.fun(x.reshape(case.x0[0].shape))

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        z = as_tensor(x).requires_grad_()
        value = case.fun(z)
        return value.item(), torch.autograd.grad(value, z)[0].reshape(-1).numpy()

    def hessian(x: np.ndarray) -> np.ndarray:
        return torch.func.hessian(flat)(torch.from_numpy(x)).numpy()

    x0 = case.x0[0].reshape(-1).numpy()
    quasi = scipy.optimize.minimize(
        both, x0, jac=True, method="L-BFGS-B",
        options={"maxiter": LONG, "maxfun": LONG, "ftol": 0, "gtol": 0, "maxcor": 50},
    )  # fmt: skip
    newton = scipy.optimize.minimize(
        both, x0, jac=True, hess=hessian, method="trust-exact",
        options={"maxiter": 1000, "gtol": 1e-12},
    )  # fmt: skip
    return float(min(quasi.fun, newton.fun))
