"""The loss of a `torch.optim` closure as an objective of one flat vector, with its curvature."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Protocol

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.curvature import ScalarCurvature
from learnmm.kind import Kind
from learnmm.majorants.hessian import LanczosMajorant, at_least
from learnmm.majorants.secant import NOISE, PROBE, reach_of
from learnmm.objective import Evaluation, Objective
from learnmm.solve.raising import is_numerical
from learnmm.vectors import norm

Closure = Callable[[], Tensor]


class Source(StrEnum):
    """Where the curvature of a closure's loss comes from."""

    AUTO = "auto"
    """Hessian-vector products where there are any."""
    HESSIAN = "hessian"
    """Hessian-vector products."""
    SECANT = "secant"
    """The gradients before and after the last step."""


CHANGE = 1e3
"""Largest factor by which one secant may change the curvature."""


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Parameters or gradients as one problem, shape ``(1, n)``; complex ones as pairs of reals."""
    parts = [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in tensors]
    return torch.cat([part.detach().reshape(-1) for part in parts])[None]


def unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Pieces of ``(1, n)`` in the shapes of some tensors."""
    pieces = flat[0].split([t.numel() * (2 if t.is_complex() else 1) for t in like])
    return [_shaped(piece, t) for piece, t in zip(pieces, like, strict=True)]


def _shaped(piece: Tensor, like: Tensor) -> Tensor:
    if not like.is_complex():
        return piece.view_as(like)
    pairs = piece.reshape(*like.shape, 2)
    return torch.complex(pairs[..., 0], pairs[..., 1])


class _Refused(Exception):
    """The loss does not exist at a candidate."""


class Surroundings(Protocol):
    """What an evaluation touches beside the parameters: state of modules, other processes."""

    alone: bool
    """Whether no other process evaluates along: what fails in one cannot be refused in all."""

    def before(self) -> None:
        """Prepare an evaluation."""

    def after(self, loss: Tensor) -> None:
        """Look at what came out, and raise if it cannot be used."""

    def take(self) -> None:
        """Keep what the last evaluation has left; otherwise the next `before` undoes it."""


class ClosureObjective(Objective):
    """What a closure returns, as a function of the parameters that it reads.

    Evaluating at ``x`` writes ``x`` into the parameters and calls the closure once. A closure that
    calls ``backward`` leaves gradients alone; one that does not leaves its graph too, and with it
    Hessian-vector products at this point.

    Where a closure that has worked at the first point raises a numerical exception (see
    :func:`~learnmm.solve.raising.is_numerical`), loss and gradient are NaN. Every other exception
    is kept as `failure` for the caller: the loop cannot tell it from what it may take for a
    refusal.

    Parameters
    ----------
    closure : callable
        ``() -> loss``.
    parameters : sequence of Tensor
        What to vary, in this order.
    others : sequence of Tensor
        Parameters that stay, whose gradients are cleared like those of the first.
    curvature : Source
        Whether the graph is needed.
    around : Surroundings, optional
        What else an evaluation touches.
    """

    def __init__(
        self,
        closure: Closure,
        parameters: Sequence[Tensor],
        others: Sequence[Tensor] = (),
        curvature: Source = Source.AUTO,
        around: Surroundings | None = None,
    ) -> None:
        self.closure = closure
        self.parameters = parameters
        self.others = others
        self.curvature = curvature
        self.around = around
        self.at: Tensor  # the point of the last evaluation
        self.last: Evaluation
        self.started = False
        self.failure: Exception | None = None
        self.record = curvature is not Source.SECANT
        self.product: Callable[[Tensor], Tensor] | None = None

    def write(self, x: Tensor) -> None:
        """Put ``x`` into the parameters."""
        with torch.no_grad():
            for p, piece in zip(self.parameters, unflatten(x, self.parameters), strict=True):
                if p.dtype != piece.dtype:  # the closure has changed it
                    p.data = torch.empty_like(p, dtype=piece.dtype)
                p.copy_(piece)

    def evaluate(self, x: Tensor) -> Evaluation:
        """Loss and gradient from one call of the closure."""
        self.at = x
        try:
            self.last = self._evaluated(x)
        except _Refused:
            nowhere = torch.full_like(x, math.nan)
            self.last = Evaluation(nowhere[:, 0], nowhere)
        except Exception as error:
            self.failure = error
            raise
        if not self.started and self.around is not None and bool(torch.isfinite(self.last.value)):
            self.around.take()
        self.started = True
        return self.last

    def _evaluated(self, x: Tensor) -> Evaluation:
        self.product = None
        self.write(x)
        for p in (*self.parameters, *self.others):
            p.grad = None
        if self.around is not None:
            self.around.before()
        with torch.enable_grad():
            with self._refusing():
                loss = self.closure()
            check_loss(loss)
            self._check_parameters(x)
            if self.around is not None:
                self.around.after(loss)
            gradients = self._gradients(loss)
        for g in gradients:
            if g is not None and g.layout != torch.strided:
                raise RuntimeError(
                    f"ProjectedMM takes dense gradients, got {g.layout}; embeddings give them with "
                    "sparse=False"
                )
        dense = [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(self.parameters, gradients, strict=True)
        ]
        gradient = flatten(dense)
        return Evaluation(loss.detach().reshape(1).to(x.device), gradient)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Around what the user computes: its numerical exceptions refuse a candidate."""
        try:
            yield
        except Exception as error:
            alone = self.around is None or self.around.alone
            if self.started and alone and is_numerical(error):
                raise _Refused from error
            raise

    def _check_parameters(self, x: Tensor) -> None:
        """Raise unless the closure has left the parameters alone: its loss would be of others."""
        for p, piece in zip(self.parameters, unflatten(x, self.parameters), strict=True):
            if p.dtype == piece.dtype and torch.equal(p.detach(), piece):
                continue
            if bool(torch.isfinite(x).all()):  # NaN is unequal to itself, and never taken
                raise RuntimeError(
                    f"the closure wrote into a parameter of shape {tuple(p.shape)}: the loss that "
                    "it returned belongs to other values than those that were tried; write before "
                    "or after the step, or compute from a copy, as p.clamp(min=0) is one of p"
                )

    def _gradients(self, loss: Tensor) -> Sequence[Tensor | None]:
        if any(p.grad is not None for p in self.parameters):
            if self.curvature is Source.HESSIAN:
                raise RuntimeError(
                    "curvature='hessian' needs the graph of the loss, but the closure called "
                    "backward, which frees it; return the loss alone, or use curvature='secant'"
                )
            return [p.grad for p in self.parameters]
        if not loss.requires_grad:
            if not bool(torch.isfinite(loss)):  # a constant for "not here" needs no graph
                return [torch.full_like(p, math.nan) for p in self.parameters]
            raise RuntimeError(
                "the closure returned a loss without a graph and left no gradients: compute the "
                "loss from the parameters, with gradients enabled"
            )
        with self._refusing():
            try:
                gradients = torch.autograd.grad(
                    loss, self.parameters, create_graph=self.record, allow_unused=True
                )
            except Exception:  # a backward without one of its own may fail already here
                if not self.record or self.curvature is Source.HESSIAN:
                    raise
                return torch.autograd.grad(loss, self.parameters, allow_unused=True)
        if self.record:
            self.product = self._product(gradients)
        return gradients

    def _product(self, gradients: Sequence[Tensor | None]) -> Callable[[Tensor], Tensor]:
        """Return ``v -> H v`` for ``(1, n)`` by differentiating the gradient."""
        curved = [g is not None and g.requires_grad for g in gradients]
        outputs = [g for g, bent in zip(gradients, curved, strict=True) if g is not None and bent]

        def product(v: Tensor) -> Tensor:
            if not outputs:  # a gradient that does not depend on the parameters
                return torch.zeros_like(v)
            pieces = unflatten(v, self.parameters)
            rows = torch.autograd.grad(
                outputs,
                self.parameters,
                [piece for piece, bent in zip(pieces, curved, strict=True) if bent],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            return flatten(rows)

        return product


def check_loss(loss: Any) -> None:
    """Raise unless a closure returned one real number in working precision."""
    if not isinstance(loss, Tensor):
        raise TypeError(f"the closure must return the loss as a tensor, got {type(loss).__name__}")
    if loss.numel() != 1:
        raise ValueError(
            f"the closure must return a scalar loss, got shape {tuple(loss.shape)}; sum or average"
        )
    if loss.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"the closure must return a float32 or float64 loss, got {loss.dtype}: descent cannot "
            "be verified in less"
        )


class ClosureMajorant:
    """Curvature ``b`` of a closure's loss.

    ``b`` is Lanczos's bound (`PROBABLE`, see `learnmm.majorants.LanczosMajorant`) where there
    are Hessian-vector products that do not vanish to rounding. Elsewhere it is an `ESTIMATE`: the
    secant ``|dg|^2 / <dx, dg>`` of the last accepted step (Barzilai & Borwein 1988, their shorter
    step), which on a convex quadratic lies between the least and the largest curvature.

    Parameters
    ----------
    objective : ClosureObjective
        The loss.
    level : float or None
        Secant of an earlier step; None measures one with a short probe, at one evaluation.
    lanczos : LanczosMajorant
        Its settings.
    """

    def __init__(
        self,
        objective: ClosureObjective,
        level: float | None,
        lanczos: LanczosMajorant,
    ) -> None:
        self.objective = objective
        self.level = level
        self.lanczos = lanczos
        self._here: Bound | None = None

    def __call__(self, x: Tensor, aux: Any = None) -> Bound:
        """Bound at ``x``, computed once for all trials there; `x` must be the last evaluated."""
        if self._here is None:
            self._here = self._measure(x)
        return self._here

    def observe(self, move: Tensor, change: Tensor, gradient: Tensor) -> None:
        """Learn the secant of a step from where `gradient` is; the next bound is at its end."""
        self._here = None
        s, y = move[0], change[0]
        along, length, grown = float(s @ y), float(norm(move)), float(norm(change))
        secant = grown * grown / along if along > 0 else grown / length if length else math.nan
        noise = NOISE * torch.finfo(y.dtype).eps * (2 * float(norm(gradient)) + grown)
        if 0 < secant < math.inf and grown > noise:
            old = self.level or secant
            self.level = min(max(secant, old / CHANGE), old * CHANGE)

    def _measure(self, x: Tensor) -> Bound:
        product, self.objective.product = self.objective.product, None
        if product is not None:
            largest = self._largest(product, x)
            del product  # and the graph with it
            gradient = self.objective.last.gradient
            noise = NOISE * torch.finfo(x.dtype).eps * norm(gradient) / reach_of(x)
            if not bool(largest <= noise):
                curvature = ScalarCurvature(at_least(largest, x, gradient))
                failure = self.lanczos.failure_probability
                return Bound(Kind.PROBABLE, curvature, failure_probability=failure)
        level = self._probe(x) if self.level is None else self.level
        curvature = ScalarCurvature(x.new_tensor([level]))
        # Measured anew after every step; relaxation would measure it a second time.
        return Bound(Kind.ESTIMATE, curvature, certain=curvature)

    def _largest(self, product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Lanczos's bound of the largest curvature, ``(1,)``; zero where none is known."""
        try:
            return self.lanczos.largest(product, x)
        except RuntimeError as error:
            if self.objective.curvature is not Source.HESSIAN:
                return torch.zeros_like(x[:, 0])
            error.add_note("ProjectedMM: curvature='secant' needs no second derivatives.")
            raise

    def _probe(self, x: Tensor) -> float:
        """Secant along the gradient; where there is none, what makes a step double the iterate."""
        gradient = self.objective.last.gradient
        size = float(norm(gradient))
        reach = float(norm(x)) or 1.0
        self.level = level = size / reach if 0 < size < math.inf else 1.0
        move = -PROBE / level * gradient
        self.observe(move, self.objective.evaluate(x + move).gradient - gradient, gradient)
        self.objective.product = None
        return self.level
