"""Optimizers of `torch.optim`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..recorder import Recorder
from ..suite import Case

Run = Callable[[Case, Recorder], None]


def adam(lr: float) -> Run:
    """Adam at a fixed learning rate."""

    def run(case: Case, recorder: Recorder) -> None:
        x = torch.nn.Parameter(case.x0[0].clone())
        optimizer = torch.optim.Adam([x], lr=lr)
        while True:
            recorder.evaluated()
            optimizer.zero_grad()
            value = case.fun(x)
            value.backward()
            recorder.iterate(value.item())
            optimizer.step()

    return run


def lbfgs(case: Case, recorder: Recorder) -> None:
    """L-BFGS with the strong Wolfe line search, one iteration a call.

    One call of many iterations takes the same steps, but shows none of its iterates. What a call
    evaluates anew, the point where the last one ended, is remembered and not charged.
    """
    x = torch.nn.Parameter(case.x0[0].clone())
    optimizer = torch.optim.LBFGS(
        [x], max_iter=1, max_eval=10**6, tolerance_grad=0, tolerance_change=0,
        history_size=100, line_search_fn="strong_wolfe",
    )  # fmt: skip
    seen: dict[bytes, tuple[Tensor, Tensor]] = {}

    def key() -> bytes:
        return x.detach().numpy().tobytes()

    def closure() -> Tensor:
        if key() in seen:
            value, gradient = seen[key()]
            x.grad = gradient.clone()
            return value
        recorder.evaluated()
        optimizer.zero_grad()
        value = case.fun(x)
        value.backward()
        seen[key()] = value.detach(), x.grad.clone()
        return value.detach()

    while True:
        before = key()
        optimizer.step(closure)
        if key() not in seen:  # a step that was never evaluated: the search gave up
            with recorder.paused():
                seen[key()] = case.fun(x.detach()), torch.zeros_like(x)
            recorder.iterate(seen.pop(key())[0].item())
        else:
            recorder.iterate(seen[key()][0].item())
            seen = {key(): seen[key()]}
        if key() == before:
            return
