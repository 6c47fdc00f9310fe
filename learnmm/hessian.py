"""Hessian-vector products of a batch, however an objective can be differentiated."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import Any

import torch
from torch import Tensor

from learnmm.choices import chosen
from learnmm.objective import BatchFunction, gradient_of, leaf_at, wide

__all__ = ["HessianProduct", "Route", "SecondDerivativeError", "hessian_product"]


class Route(StrEnum):
    """How Hessian-vector products are differentiated."""

    AUTO = "auto"
    """Forward over reverse, and where that fails reverse over reverse."""
    FORWARD = "forward"
    """Forward over reverse."""
    REVERSE = "reverse"
    """Reverse over reverse, which also works for operations without a forward-mode rule."""


class SecondDerivativeError(RuntimeError):
    """The objective has no Hessian-vector products: it can be differentiated only once."""


FORWARD_MODE = threading.RLock()
"""Held by every product in forward mode: torch keeps the level of nested ones per process, and
products of two threads at once are refused, or mixed up without a word. Reentrant, since an
objective may take products of its own."""


def hessian_product(
    fun: BatchFunction, x: Tensor, route: Route | str = Route.AUTO
) -> Callable[[Tensor], Tensor]:
    """Return ``v -> H(x) v`` for every problem of the batch; one call serves them all.

    Parameters
    ----------
    fun : callable
        ``(B, *shape) -> (B,)``, problems independent.
    x : Tensor
        Point, ``(B, *shape)``; products have its shape and dtype, whatever the values have.
    route : {"auto", "forward", "reverse"}
        Forward-over-reverse, or reverse-over-reverse (double backward), which also works for
        operations without a forward-mode rule. "auto" tries forward and falls back.

    Raises
    ------
    ValueError
        If the route is unknown.
    SecondDerivativeError
        A `RuntimeError`, at the first product, where "auto" or "reverse" finds that torch cannot
        differentiate the gradient. Errors of `fun` itself come through.

    Notes
    -----
    An `autograd.Function` whose backward leaves torch, or detaches what it computes with, hides
    its curvature: its part of the product is zero, and nothing can tell.

    Products may be taken in several threads; those in forward mode wait for each other.
    """
    return HessianProduct(fun, x, route)


class HessianProduct:
    """``v -> H(x) v``, see :func:`hessian_product`.

    Attributes
    ----------
    gradient : Tensor or None
        Gradient at ``x``, ``(B, *shape)``, which every product comes by; None before the first.
    """

    def __init__(self, fun: BatchFunction, x: Tensor, route: Route | str = Route.AUTO) -> None:
        route = chosen(Route, route, "hessian_product: route")
        self.gradient: Tensor | None = None
        self._x = x
        self._sum: BatchFunction = lambda z: wide(fun(z)).sum()
        self._pull: Callable[[Tensor], Tensor] | None = None
        self._fallback = route is Route.AUTO and not torch.compiler.is_compiling()
        if route is Route.REVERSE:
            self._pull = self._double_backward()
        elif self._fallback:
            self._tried(torch.zeros_like(x))

    def __call__(self, v: Tensor) -> Tensor:
        """``H v`` for ``(B, *shape)``."""
        v = v.to(self._x.dtype)
        if self._pull is None:
            product = self._tried(v) if self._fallback else self._pushed(v)
            if product is not None:
                return product
        assert self._pull is not None  # what was tried has failed
        try:
            return self._pull(v)
        except Exception as error:
            raise _only_once(error) from error

    def _tried(self, v: Tensor) -> Tensor | None:
        """Forward over reverse; None where it fails, and from then on the other way."""
        try:
            return self._pushed(v)
        # What a function raises inside a transformation of torch can be anything; an error of its
        # own comes again, where it is called as everywhere else.
        except Exception:
            self._pull = self._double_backward()
            return None

    def _pushed(self, v: Tensor) -> Tensor:
        """Forward over reverse."""

        def both() -> tuple[Tensor, Tensor]:
            gradient = torch.func.grad(self._sum)
            at, along = torch.func.jvp(gradient, (self._x,), (v,))[:2]
            return at, along

        if torch.compiler.is_compiling():  # traced for one thread
            gradient, product = both()
        else:
            with FORWARD_MODE:
                _load_forward_mode()
                gradient, product = both()
        self.gradient = gradient
        # Tangents of entries without a dimension come in the default dtype of Python's numbers.
        return product.to(self._x.dtype)

    def _double_backward(self) -> Callable[[Tensor], Tensor]:
        """Reverse over reverse: one evaluation, whose gradient is differentiated again and again.

        As in `differentiate`, `torch.autograd` is left to where there is no graph to spare:
        `torch.func` refuses many functions that can be differentiated twice without it.
        """
        keep = torch.is_grad_enabled()
        leaf = None if torch.compiler.is_compiling() else leaf_at(self._x)
        if leaf is None or keep:
            try:
                self.gradient, pull = _vjp(torch.func.grad(self._sum), self._x)
            except Exception:
                if leaf is None:
                    raise
            else:
                return lambda v: pull(v)[0].to(v.dtype)
        with torch.enable_grad():
            z = self._x if leaf is None or (keep and self._x.requires_grad) else leaf
            total = self._sum(z)
            try:
                gradient = gradient_of(total, z, create_graph=True)
            except Exception as error:
                raise _only_once(error) from error
        self.gradient = gradient if keep else gradient.detach()
        return lambda v: gradient_of(gradient, z, create_graph=keep, outer=v, retain_graph=True)


@cache
def _load_forward_mode() -> None:
    """Let torch load its rules of forward mode, without what it says about how it does that.

    It scripts them, which it warns its users not to do. They cannot act on that.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script")
        nothing = torch.zeros(1)
        torch.func.jvp(torch.sin, (nothing,), (nothing,))


def _vjp(fun: BatchFunction, x: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    found: Any = torch.func.vjp(fun, x)
    return found[0], found[1]


def _only_once(error: Exception) -> SecondDerivativeError:
    return SecondDerivativeError(
        f"the objective has no Hessian-vector products ({type(error).__name__}: {error}); a "
        "function that can be differentiated only once is minimized by the default steps, or with "
        "majorant=lmm.majorants.SecantMajorant(fun)"
    )
