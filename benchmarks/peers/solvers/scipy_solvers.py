"""Methods of SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
import torch

from ..recorder import Recorder
from ..suite import Case

UNLIMITED = {"maxiter": 10**9, "maxfun": 10**9, "ftol": 0.0, "gtol": 0.0}


def lbfgsb(case: Case, recorder: Recorder) -> None:
    """L-BFGS-B without bounds."""
    run_lbfgsb(case, recorder, UNLIMITED)


def run_lbfgsb(
    case: Case, recorder: Recorder, options: dict[str, Any], bounds: Any = None
) -> torch.Tensor:
    """L-BFGS-B with its options, in bounds of SciPy if there are any; returns where it ends."""
    shape = case.x0[0].shape

    def fun(flat: np.ndarray) -> tuple[float, np.ndarray]:
        recorder.evaluated()
        x = torch.tensor(flat).reshape(shape).requires_grad_()
        value = case.fun(x)
        value.backward()
        return value.item(), x.grad.reshape(-1).numpy()

    def note(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        recorder.iterate(intermediate_result.fun)

    found = scipy.optimize.minimize(
        fun, case.x0[0].reshape(-1).numpy(), jac=True, method="L-BFGS-B", callback=note,
        bounds=bounds, options=options,
    )  # fmt: skip
    return torch.from_numpy(found.x).reshape(case.x0.shape)
