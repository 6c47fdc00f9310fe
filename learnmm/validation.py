"""Refusing misuse before the first iteration, with what came and what was expected."""

from __future__ import annotations

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.objective import CallableObjective
from learnmm.truth import holds


def check_start(x0: Tensor) -> None:
    """Raise unless ``x0`` is a finite, non-empty float32 or float64 tensor."""
    if not isinstance(x0, Tensor):
        raise TypeError(f"x0 must be a torch.Tensor, got {type(x0).__name__}")
    if x0.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x0 must be float32 or float64, got {x0.dtype}")
    if x0.numel() == 0:
        raise ValueError(f"x0 is empty: shape {tuple(x0.shape)}")
    if not holds(torch.isfinite(x0).all()):
        raise ValueError("x0 has NaN or infinite entries")


def is_single(objective: CallableObjective, x0: Tensor) -> bool:
    """Tell one problem from a batch by the shape of the objective."""
    with torch.no_grad():
        value = objective(x0)
    if not isinstance(value, Tensor):
        raise TypeError(f"the objective must return a torch.Tensor, got {type(value).__name__}")
    if value.shape == ():
        return True
    if x0.dim() > 0 and value.shape == x0.shape[:1]:
        return False
    raise ValueError(
        "the objective must return shape () for one problem, or (B,) for a batch with "
        f"x0.shape[0] == B; got shape {tuple(value.shape)} for x0 of shape {tuple(x0.shape)}"
    )


def check_evaluation(x0: Tensor, value: Tensor, gradient: Tensor) -> None:
    """Raise unless there is one value per problem and a gradient like ``x0``."""
    if x0.dim() == 0 or value.shape != x0.shape[:1]:
        raise ValueError(
            f"the objective must return one value per problem, shape ({x0.shape[:1].numel()},), "
            f"got {tuple(value.shape)} for x0 of shape {tuple(x0.shape)}; `minimize` also takes "
            "functions of one problem"
        )
    if gradient.shape != x0.shape or gradient.dtype != x0.dtype:
        raise ValueError(
            f"the gradient has shape {tuple(gradient.shape)} and dtype {gradient.dtype}, "
            f"expected {tuple(x0.shape)} and {x0.dtype}"
        )


def check_bound(bound: Bound, valid: Tensor, gradient: Tensor) -> None:
    """Raise unless the bound is one of this batch; a wrong shape would broadcast silently."""
    batch = gradient.shape[:1]
    for name, level in (("curvature", valid), ("radius", bound.radius)):
        if level is not None and level.shape != batch:
            raise ValueError(
                f"a majorant must return one {name} per problem, shape {tuple(batch)}, got "
                f"{tuple(level.shape)}"
            )
    step = bound.curvature.solve(gradient)
    if step.shape != gradient.shape:
        raise ValueError(
            f"the majorant's curvature must act on iterates of shape {tuple(gradient.shape)}, but "
            f"gives {tuple(step.shape)}"
        )


def require(condition: Tensor, complaint: str) -> None:
    """Raise with the numbers of the problems for which something does not hold."""
    if not holds(condition.all()):
        bad = (~condition).nonzero().flatten().tolist()
        raise ValueError(f"{complaint} for problems {bad[:10]}{' ...' if len(bad) > 10 else ''}")
