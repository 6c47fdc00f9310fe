"""Refusing misuse before the first iteration, with what came and what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.nested import mapped, tensors_of
from learnmm.objective import CallableObjective
from learnmm.truth import holds

SPARSE = "embeddings give dense gradients with sparse=False"


def check_start(x0: Tensor) -> None:
    """Raise unless ``x0`` is a dense, finite, non-empty float32 or float64 tensor."""
    if not isinstance(x0, Tensor):
        raise TypeError(f"x0 must be a torch.Tensor, got {type(x0).__name__}")
    if x0.layout != torch.strided:
        raise TypeError(f"x0 must be a dense tensor, got {x0.layout}")
    if x0.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x0 must be float32 or float64, got {x0.dtype}")
    if x0.numel() == 0:
        raise ValueError(f"x0 is empty: shape {tuple(x0.shape)}")
    if not holds(torch.isfinite(x0).all()):
        raise ValueError("x0 has NaN or infinite entries")


def is_single(objective: CallableObjective, x0: Tensor) -> bool:
    """Tell one problem from a batch by the shape of the objective."""
    try:
        with torch.enable_grad(), lent(x0.detach(), "the objective") as given:
            value = objective(given.requires_grad_())
    except RuntimeError as error:
        if "numpy()" not in str(error):
            raise
        # What torch suggests, to detach, would make every gradient zero.
        raise TypeError(
            "the objective must return a torch.Tensor made of torch operations from "
            "x0 on, but it calls numpy()"
        ) from error
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
    """Raise unless there is one value per problem and a gradient like ``x0``, where ``x0`` is."""
    if x0.dim() == 0 or value.shape != x0.shape[:1]:
        raise ValueError(
            f"the objective must return one value per problem, shape ({x0.shape[:1].numel()},), "
            f"got {tuple(value.shape)} for x0 of shape {tuple(x0.shape)}; `minimize` also takes "
            "functions of one problem"
        )
    for name, given in (("values", value), ("gradient", gradient)):
        if given.device != x0.device:
            raise ValueError(
                f"the objective's {name} must be on the device of x0, {x0.device}, got "
                f"{given.device}"
            )
    if gradient.layout != torch.strided:
        raise RuntimeError(f"the gradient must be dense, got {gradient.layout}; {SPARSE}")
    if gradient.shape != x0.shape or gradient.dtype != x0.dtype:
        raise ValueError(
            f"the gradient has shape {tuple(gradient.shape)} and dtype {gradient.dtype}, "
            f"expected {tuple(x0.shape)} and {x0.dtype}"
        )


def check_deterministic(first: Tensor, second: Tensor, slack: Tensor) -> None:
    """Raise unless two evaluations at the same point agree for every problem, up to `slack`.

    Raises
    ------
    RuntimeError
        With both values of the first problem that differs.
    """
    same = (first - second).abs() <= slack
    differ = (torch.isfinite(first) & ~same).nonzero().flatten().tolist()
    if differ:
        raise RuntimeError(
            f"the objective is not deterministic: it returned {float(first[differ[0]])!r} and then "
            f"{float(second[differ[0]])!r} at the same point (problem {differ[0]}); descent "
            "compares values of one function, so draw minibatches and dropout masks outside it"
        )


@contextmanager
def lent(tree: Any, borrower: str) -> Iterator[Any]:
    """Hand out a copy of nested tensors, and raise if it was written to.

    Raises
    ------
    RuntimeError
        With who wrote.
    """
    copies = mapped(Tensor.clone, tree)
    handed = tensors_of(copies)
    yield copies
    _require_untouched(handed, tensors_of(tree), borrower)


@contextmanager
def watched(tree: Any, reader: str) -> Iterator[None]:
    """Raise if dense tensors of a tree were written to.

    Raises
    ------
    RuntimeError
        With who wrote.
    """
    tensors = [tensor for tensor in tensors_of(tree) if tensor.layout == torch.strided]
    before = [tensor.detach().clone() for tensor in tensors]
    yield
    _require_untouched(tensors, before, reader)


def _require_untouched(now: list[Tensor], before: list[Tensor], who: str) -> None:
    shape = written(now, before)
    if shape is not None:
        raise RuntimeError(
            f"{who} wrote into a tensor that it was given, of shape {shape}: "
            "compute new tensors instead of modifying those that belong to others"
        )


def written(now: list[Tensor], before: list[Tensor]) -> tuple[int, ...] | None:
    """Shape of the first tensor that is not what it was; None where all are.

    Values are compared, which sees what version counters do not: `Tensor.data`, NumPy.
    """
    for tensor, original in zip(now, before, strict=True):
        same = tensor.shape == original.shape and holds(
            ((tensor == original) | ((tensor != tensor) & (original != original))).all()
        )
        if not same:
            return tuple(original.shape)
    return None


@contextmanager
def sparse_gradients_explained() -> Iterator[None]:
    """Say in one sentence what torch says about operators that sparse tensors lack."""
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        if "Sparse" not in str(error) and "sparse tensors" not in str(error):
            raise
        raise RuntimeError(f"the objective's gradient must be dense; {SPARSE}") from error


def check_bound(bound: Bound, valid: Tensor, gradient: Tensor) -> None:
    """Raise unless the bound is one of this batch; a wrong shape would broadcast silently."""
    batch = gradient.shape[:1]
    for name, level in (("curvature", valid), ("radius", bound.radius)):
        if level is not None and level.shape != batch:
            raise ValueError(
                f"a majorant must return one {name} per problem, shape {tuple(batch)}, got "
                f"{tuple(level.shape)}"
            )
        if level is not None and level.device != gradient.device:
            raise ValueError(
                f"a majorant must return its {name} on the device of x0, {gradient.device}, got "
                f"{level.device}"
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
        raise ValueError(f"{complaint} for problems {listed(~condition)}")


def listed(mask: Tensor) -> str:
    """Numbers of the first ten problems for which a mask holds."""
    rows = mask.nonzero().flatten().tolist()
    return f"{rows[:10]}{' ...' if len(rows) > 10 else ''}"
