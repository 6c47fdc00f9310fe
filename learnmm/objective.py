"""Evaluating an objective once: value, gradient, what the bound needs; Hessian-vector products."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from learnmm.nested import mapped, refill, tensors_of

BatchFunction = Callable[[Tensor], Tensor]
Route = Literal["auto", "forward", "reverse"]


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

    def check(self, x: Tensor) -> None:  # noqa: B027 - a hook: most objectives accept every x
        """Raise a clear error if ``x`` cannot be evaluated.

        Raises
        ------
        ValueError
            If shape, dtype or device do not fit.
        DomainError
            If they fit, but some problem is undefined at its point.
        """


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
        """Value and gradient by automatic differentiation."""
        return differentiate(lambda z: (self(z), ()), x)

    def __call__(self, x: Tensor) -> Tensor:
        """``f(x)``, shape ``(B,)``."""
        return self.fun(x[0])[None] if self.single else self.fun(x)


def differentiate(fun: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor) -> Evaluation:
    """Evaluate ``fun(x) -> (values, aux)`` with its gradient.

    Problems are independent, so the gradient of the sum holds every problem's own gradient.
    """

    def total(z: Tensor) -> tuple[Tensor, tuple[Tensor, Any]]:
        value, aux = fun(z)
        if not (isinstance(value, Tensor) and value.is_floating_point()):
            what = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"the objective must return a floating-point torch.Tensor, got {what}")
        value = value.to(torch.promote_types(value.dtype, torch.float32))
        return value.sum(), (value, aux)

    keep = torch.is_grad_enabled()
    leaf = None if torch.compiler.is_compiling() or (keep and not _checkpointing()) else _leaf(x)
    if leaf is None:
        brought = []

        def flat(z: Tensor) -> tuple[Tensor, tuple[Tensor, list[Tensor]]]:
            """Tensors alone: torch.func unwraps no dataclasses."""
            summed, (value, aux) = total(z)
            brought.append(aux)
            return summed, (value, tensors_of(aux))

        gradient, (value, parts) = torch.func.grad(flat, has_aux=True)(x)
        return Evaluation(value, gradient, refill(brought[-1], iter(parts)))
    with torch.enable_grad():
        z = x if keep and x.requires_grad else leaf
        summed, (value, aux) = total(z)
        gradient = torch.zeros_like(x)  # as in torch.func, of what does not depend on x
        if summed.requires_grad:
            (gradient,) = torch.autograd.grad(
                summed, z, create_graph=keep, allow_unused=True, materialize_grads=True
            )
    if keep:
        return Evaluation(value, gradient, aux)
    return Evaluation(value.detach(), gradient, mapped(Tensor.detach, aux))


def _leaf(x: Tensor) -> Tensor | None:
    """A leaf of autograd at ``x``; None inside a transform of `torch.func`, where there is none.

    `torch.autograd` takes a third of the time of `torch.func.grad` on small problems.
    """
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


def hessian_product(
    fun: BatchFunction, x: Tensor, route: Route = "auto"
) -> Callable[[Tensor], Tensor]:
    """Return ``v -> H(x) v`` for every problem of the batch; one call serves them all.

    Parameters
    ----------
    fun : callable
        ``(B, *shape) -> (B,)``, problems independent.
    x : Tensor
        Point, ``(B, *shape)``.
    route : {"auto", "forward", "reverse"}
        Forward-over-reverse, or reverse-over-reverse (double backward), which also works for
        operations without a forward-mode rule. "auto" tries forward and falls back.

    Raises
    ------
    ValueError
        If the route is unknown.
    """
    if route not in ("auto", "forward", "reverse"):
        raise ValueError(f"route must be 'auto', 'forward' or 'reverse', got {route!r}")
    gradient = torch.func.grad(lambda z: fun(z).sum())

    def forward(v: Tensor) -> Tensor:
        product: Tensor = torch.func.jvp(gradient, (x,), (v,))[1]
        return product

    if route != "reverse":
        try:
            if route == "auto":
                forward(torch.zeros_like(x))
            return forward
        except (NotImplementedError, RuntimeError):
            pass
    pull = torch.func.vjp(gradient, x)[1]

    def reverse(v: Tensor) -> Tensor:
        product: Tensor = pull(v)[0]
        return product

    return reverse
