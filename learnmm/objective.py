"""Evaluating an objective once: value, gradient, and what the bound needs."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from learnmm.nested import mapped, refill, tensors_of
from learnmm.truth import known

__all__ = [
    "BatchFunction",
    "CallableObjective",
    "DomainError",
    "Evaluation",
    "Objective",
    "as_objective",
    "differentiate",
    "gradient_of",
    "leaf_at",
    "wide",
]

BatchFunction = Callable[[Tensor], Tensor]

LOST = (
    "the objective's values have no graph back to x0, so every gradient would be zero: "
    "compute them from x0 by torch operations, without detach, no_grad or NumPy"
)
"""Of a function whose finite value does not come from its argument."""


class DomainError(ValueError):
    """Some problems of a batch are undefined at the point given; the others are not affected."""


class Evaluation(NamedTuple):
    """One evaluation at ``x``.

    Attributes
    ----------
    value : Tensor
        ``f(x)`` per problem, shape ``(B,)``, float32 or wider.
    gradient : Tensor
        ``(B, *shape)``.
    aux : Any
        What the bound needs: tensors with the batch first, in tuples, lists, dictionaries or
        dataclasses, beside constants such as None, numbers and strings.
    """

    value: Tensor
    gradient: Tensor
    aux: Any = ()


class Objective(ABC):
    """A batch of independent objectives ``(B, *shape) -> (B,)``."""

    @abstractmethod
    def evaluate(self, x: Tensor) -> Evaluation:
        """Value, gradient and what the bound needs, from one pass."""

    def __call__(self, x: Tensor) -> Tensor:
        """``f(x)``, shape ``(B,)``."""
        return self.evaluate(x).value

    def rounding(self, aux: Any, length: Tensor) -> Tensor | float:
        """What sums inside ``f`` would move it by if they were off by a share of one, ``(B,)``.

        Times ``eps`` it is rounding that the value hides: where ``A x - y`` cancels, ``f`` and its
        gradient are small, and the terms of ``A x`` are not. Zero where nothing is known of them.

        Parameters
        ----------
        aux : Any
            From `evaluate`.
        length : Tensor
            Norm of the iterates in question, ``(B,)``.
        """
        return 0.0

    def check(self, x: Tensor) -> None:  # noqa: B027 - a hook: most objectives accept every x
        """Raise a clear error if ``x`` cannot be evaluated.

        Raises
        ------
        ValueError
            If shape, dtype or device do not fit.
        DomainError
            If they fit, but some problem is undefined at its point.
        """

    def restricted(self, rows: Tensor) -> Objective | None:
        """Return the same for some problems of its batch; None where it cannot be told how.

        So problems that have finished leave the batch. Values, gradients and `aux` are those of
        these problems up to rounding.

        Parameters
        ----------
        rows : Tensor of int
            Numbers of the problems that stay, ``(b,)``.
        """
        return None

    def _with(self, **changed: Any) -> Self:
        """The same with other attributes."""
        twin = copy.copy(self)
        vars(twin).update(changed)
        return twin


class CallableObjective(Objective):
    """An objective from any differentiable callable of torch operations.

    Parameters
    ----------
    fun : callable
        ``(B, *shape) -> (B,)``, or ``(*shape) -> ()`` if `single`.
    single : bool
        Whether `fun` takes one problem without a batch dimension.
    """

    def __init__(self, fun: BatchFunction, *, single: bool = False) -> None:
        self.fun = fun
        self.single = single

    def evaluate(self, x: Tensor) -> Evaluation:
        """Value and gradient by automatic differentiation; see `LOST` for what has none."""
        return differentiate(lambda z: (self(z), ()), x, needed=True)

    def __call__(self, x: Tensor) -> Tensor:
        """``f(x)``, shape ``(B,)``."""
        return self.fun(x[0])[None] if self.single else self.fun(x)

    def restricted(self, rows: Tensor) -> CallableObjective | None:
        """Ask the function, which may have a method of that name for arguments of its own."""
        method = getattr(self.fun, "restricted", None)
        fun = None if method is None or self.single else method(rows)
        return None if fun is None else CallableObjective(fun)


def as_objective(fun: Objective | BatchFunction) -> Objective:
    """Return an objective as it is, and a function of a batch as one."""
    return fun if isinstance(fun, Objective) else CallableObjective(fun)


def differentiate(
    fun: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor, *, needed: bool = False
) -> Evaluation:
    """Evaluate ``fun(x) -> (values, aux)`` with its gradient.

    Problems are independent, so the gradient of the sum holds every problem's own gradient. Where
    it is `needed`, finite values that do not depend on ``x`` are an error; what `torch.func`
    differentiates cannot tell.
    """

    def total(z: Tensor) -> tuple[Tensor, tuple[Tensor, Any]]:
        value, aux = fun(z)
        value = wide(value)
        return value.sum(), (value, aux)

    keep = torch.is_grad_enabled()
    leaf = None if torch.compiler.is_compiling() or (keep and not _checkpointing()) else leaf_at(x)
    if leaf is None:
        brought = []

        def flat(z: Tensor) -> tuple[Tensor, tuple[Tensor, list[Tensor]]]:
            """Tensors alone: torch.func unwraps no dataclasses."""
            summed, (value, aux) = total(z)
            brought.append(aux)
            return summed, (value, tensors_of(aux))

        try:
            gradient, (value, parts) = torch.func.grad(flat, has_aux=True)(x)
            return Evaluation(value, gradient, refill(brought[-1], iter(parts)))
        except Exception:  # `torch.func` refuses functions that `torch.autograd` differentiates
            leaf = None if torch.compiler.is_compiling() else leaf_at(x)
            if leaf is None:
                raise
    with torch.enable_grad():
        z = x if keep and x.requires_grad else leaf
        summed, (value, aux) = total(z)
        gradient = gradient_of(summed, z, create_graph=keep, needed=needed)
    if keep:
        return Evaluation(value, gradient, aux)
    return Evaluation(value.detach(), gradient, mapped(Tensor.detach, aux))


def leaf_at(x: Tensor) -> Tensor | None:
    """A leaf of autograd at ``x``; None where there is none, and `torch.func` has to do.

    That is inside its transforms, and in inference mode. Elsewhere `torch.autograd` takes a third
    of the time of `torch.func.grad` on small problems.
    """
    if torch.is_inference_mode_enabled():
        return None
    try:
        return x.detach().requires_grad_()
    except RuntimeError:
        return None


def _checkpointing() -> bool:
    """Whether saved tensors are intercepted, as `torch.utils.checkpoint` does.

    `torch.func` refuses to run then. Otherwise it alone can differentiate with respect to ``x``
    without leaving a trace of that in the graph of everything else.
    """
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(""):
            return False
    except RuntimeError:
        return True


def wide(value: Any) -> Tensor:
    """Values in float32 at least; what is no floating-point tensor is refused."""
    if not (isinstance(value, Tensor) and value.is_floating_point()):
        what = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"the objective must return a floating-point torch.Tensor, got {what}")
    return value.to(torch.promote_types(value.dtype, torch.float32))


def gradient_of(
    y: Tensor,
    z: Tensor,
    *,
    create_graph: bool,
    outer: Tensor | None = None,
    retain_graph: bool | None = None,
    needed: bool = False,
) -> Tensor:
    """Gradient of ``<outer, y>``; zeros, as in `torch.func`, of what does not depend on ``z``.

    Raises
    ------
    ValueError
        If it is `needed`, and a finite ``y`` does not depend on ``z``.
    """
    gradient: Tensor | None = None
    if y.requires_grad:
        (gradient,) = torch.autograd.grad(
            y, z, outer, create_graph=create_graph, retain_graph=retain_graph, allow_unused=True
        )
    if gradient is not None:
        return gradient
    if needed and known(torch.isfinite(y).all()) is True:  # a constant for "not here" is none
        raise ValueError(LOST)
    return torch.zeros_like(z)
