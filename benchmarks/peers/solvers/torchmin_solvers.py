"""Methods of pytorch-minimize."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchmin
from torch import Tensor

from ..recorder import Recorder, tapped
from ..suite import Case

OFF = {
    "l-bfgs": {"gtol": 0.0, "xtol": 0.0, "gtd_tol": 0.0},
    "newton-cg": {"xtol": 0.0},
    "trust-ncg": {"gtol": 0.0},
}
"""Every tolerance of a method, at zero."""

SECOND_ORDER = ("newton-cg", "trust-ncg")


def method(name: str) -> Callable[[Case, Recorder], None]:
    """One of its methods."""

    def run(case: Case, recorder: Recorder) -> None:
        shape = case.x0[0].shape

        def fun(x: Tensor) -> Tensor:
            recorder.evaluated()
            seen = tapped(x, recorder) if name in SECOND_ORDER else x
            return case.fun(seen.reshape(shape))

        def note(x: Tensor) -> None:
            with recorder.paused(), torch.no_grad():
                value = case.fun(x.reshape(shape)).item()
            recorder.iterate(value)

        x0 = case.x0[0].reshape(-1)
        torchmin.minimize(fun, x0, name, max_iter=10**9, options=dict(OFF[name]), callback=note)

    return run
