"""Atoms: objectives that know their majorant, composed with ``+``, ``*`` and ``@``."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learnmm.bound import Bound, map_bound
from learnmm.levels import require_positive, require_tensor
from learnmm.linear.base import LinearMap
from learnmm.linear.complex import complex_matrix
from learnmm.linear.matrix import MatrixMap
from learnmm.objective import Evaluation, Objective, differentiate
from learnmm.plain import plain
from learnmm.vectors import expand, norm


class Atom(Objective):
    """A batch of objectives whose evaluation brings along what their bound needs.

    Subclasses give :meth:`measure` and :meth:`bound_at`; where a gradient in closed form is
    cheaper, they also override :meth:`evaluate`.

    Law (``learnmm.checks.assert_majorant``): the bound at ``x`` holds what its kind says.
    """

    @abstractmethod
    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Differentiable value ``(B,)`` and what the bound needs."""

    @abstractmethod
    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """Bound at ``x`` from what the evaluation there brought along."""

    def restricted(self, rows: Tensor) -> Atom | None:
        """Return the same for some problems of its batch; None where it cannot be told how."""
        return None

    def evaluate(self, x: Tensor) -> Evaluation:
        """Value, gradient and what the bound needs, by automatic differentiation."""
        return differentiate(self.measure, x)

    def __call__(self, x: Tensor) -> Tensor:
        """``f(x)``, shape ``(B,)``."""
        return self.measure(x)[0]

    def bound(self, x: Tensor, aux: Any = None) -> Bound:
        """Bound at ``x``; evaluates the objective there unless `aux` is given."""
        return self.bound_at(x, self.evaluate(x).aux if aux is None else aux)

    def __add__(self, other: Atom) -> Atom:
        """Sum of atoms: values and curvatures add."""
        return Sum(self, other) if isinstance(other, Atom) else NotImplemented

    def __mul__(self, weight: float | Tensor) -> Atom:
        """Atom times a positive number, or one per problem."""
        weight = plain(weight)
        return Scaled(weight, self) if isinstance(weight, int | float | Tensor) else NotImplemented

    __rmul__ = __mul__

    def __matmul__(self, linear: Tensor | LinearMap) -> Atom:
        """Atom after a linear map: ``(f @ A)(x) = f(A x)``."""
        if isinstance(linear, np.ndarray):  # which would take over
            require_tensor("the matrix after @", linear)
        if isinstance(linear, Tensor):
            linear = complex_matrix(linear) if linear.is_complex() else MatrixMap(linear)
        return Composed(self, linear) if isinstance(linear, LinearMap) else NotImplemented


def brought(atom: Atom, aux: Any, parts: int) -> tuple[Any, ...]:
    """Return the first `parts` of what an evaluation brought along, or raise a clear error."""
    if not (isinstance(aux, tuple) and len(aux) >= parts):
        came = f"{len(aux)} parts" if isinstance(aux, tuple) else type(aux).__name__
        raise ValueError(
            f"{type(atom).__name__}.bound_at expects the aux of its own measure or evaluate at x, "
            f"a tuple of {parts} parts, got {came}"
        )
    return aux[:parts]


def require_like(atom: Atom, x: Tensor, targets: Tensor) -> None:
    """Raise `ValueError` unless ``x`` has shape, dtype and device of an atom's targets."""
    if (x.shape, x.dtype, x.device) != (targets.shape, targets.dtype, targets.device):
        raise ValueError(
            f"{type(atom).__name__} has targets of shape {tuple(targets.shape)}, {targets.dtype} "
            f"on {targets.device}; got {tuple(x.shape)}, {x.dtype} on {x.device}"
        )


class Sum(Atom):
    """``f + g``."""

    def __init__(self, *parts: Atom) -> None:
        self.parts: tuple[Atom, ...] = tuple(
            leaf for part in parts for leaf in (part.parts if isinstance(part, Sum) else (part,))
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Sum of the values."""
        return torch.stack([part(x) for part in self.parts]).sum(0)

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Sum of the values; every part's auxiliary."""
        measured = [part.measure(x) for part in self.parts]
        return torch.stack([value for value, _ in measured]).sum(0), tuple(a for _, a in measured)

    def evaluate(self, x: Tensor) -> Evaluation:
        """Sums of values and gradients."""
        first, *rest = (part.evaluate(x) for part in self.parts)
        value, gradient, aux = first.value, first.gradient, [first.aux]
        for other in rest:
            value, gradient = value + other.value, gradient + other.gradient
            aux.append(other.aux)
        return Evaluation(value, gradient, tuple(aux))

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """Sum of the bounds."""
        aux = brought(self, aux, len(self.parts))
        bound = self.parts[0].bound_at(x, aux[0])
        for part, its in zip(self.parts[1:], aux[1:], strict=True):
            bound = bound + part.bound_at(x, its)
        return bound

    def rounding(self, aux: Any, length: Tensor) -> Tensor | float:
        """Sum over the parts."""
        return sum(part.rounding(its, length) for part, its in zip(self.parts, aux, strict=True))

    def check(self, x: Tensor) -> None:
        """Check every part."""
        for part in self.parts:
            part.check(x)

    def restricted(self, rows: Tensor) -> Sum | None:
        """Restrict every part."""
        parts = [part.restricted(rows) for part in self.parts]
        return None if None in parts else self._with(parts=tuple(parts))


class Scaled(Atom):
    """``weight * f``.

    Parameters
    ----------
    weight : float or Tensor
        Positive: a number, or one per problem of shape ``(B,)``.
    atom : Atom
        ``f``.
    """

    def __init__(self, weight: float | Tensor, atom: Atom) -> None:
        require_positive("an atom's weight", weight)
        if isinstance(weight, Tensor) and weight.dim() > 1:
            raise ValueError(f"a weight has shape () or (B,), got {tuple(weight.shape)}")
        self.weight = weight
        self.atom = atom

    def __call__(self, x: Tensor) -> Tensor:
        """Weighted value."""
        return self.weight * self.atom(x)

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Weighted value."""
        value, aux = self.atom.measure(x)
        return self.weight * value, aux

    def evaluate(self, x: Tensor) -> Evaluation:
        """Weighted value and gradient."""
        value, gradient, aux = self.atom.evaluate(x)
        weight = self.weight
        if isinstance(weight, Tensor) and weight.dim() == 1:
            return Evaluation(weight * value, expand(weight, gradient) * gradient, aux)
        if isinstance(weight, float | int) and weight == 1:
            return Evaluation(value, gradient, aux)
        return Evaluation(weight * value, weight * gradient, aux)

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """Weighted bound."""
        return self.atom.bound_at(x, aux).scaled(self.weight)

    def rounding(self, aux: Any, length: Tensor) -> Tensor | float:
        """Weighted."""
        return self.weight * self.atom.rounding(aux, length)

    def check(self, x: Tensor) -> None:
        """Check the atom and the number of weights."""
        if (
            isinstance(self.weight, Tensor)
            and self.weight.dim() == 1
            and self.weight.shape[0] != x.shape[0]
        ):
            raise ValueError(f"{self.weight.shape[0]} weights for a batch of {x.shape[0]} problems")
        self.atom.check(x)

    def restricted(self, rows: Tensor) -> Scaled | None:
        """Restrict the atom and the weights."""
        atom = self.atom.restricted(rows)
        weight = self.weight
        if isinstance(weight, Tensor) and weight.dim() == 1:
            weight = weight[rows]
        return None if atom is None else self._with(atom=atom, weight=weight)


class Composed(Atom):
    """``f(A x)``: the bound is pulled back through the map, in the map's form."""

    def __init__(self, atom: Atom, linear: LinearMap) -> None:
        self.atom = atom
        self.linear = linear

    def __call__(self, x: Tensor) -> Tensor:
        """Value at the image."""
        return self.atom(self.linear(x))

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Value at the image, and the image for the bound."""
        image = self.linear(x)
        value, aux = self.atom.measure(image)
        return value, (image, aux)

    def evaluate(self, x: Tensor) -> Evaluation:
        """Chain rule with the adjoint: the gradient is ``A^T grad f(A x)``."""
        image = self.linear(x)
        value, gradient, aux = self.atom.evaluate(image)
        steepness = norm(gradient.detach())
        return Evaluation(value, self.linear.adjoint(gradient), (image, aux, steepness))

    def rounding(self, aux: Any, length: Tensor) -> Tensor | float:
        """The terms of ``A x``, times how steep ``f`` is there, and what ``f`` adds."""
        image, inner, steepness = aux
        terms = norm(image.detach()) + self.linear.magnitude * length
        own: Tensor = steepness * terms
        return own + self.atom.rounding(inner, terms)

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """``A^T C A`` or a coarser form."""
        image, inner = brought(self, aux, 2)
        bound = self.atom.bound_at(image, inner)
        linear = self.linear
        radius = linear.pull_back_radius(bound.radius)
        pulled = map_bound(bound, lambda curvature: linear.pull_back(curvature, x), radius)
        return pulled.weakened(linear.kind, linear.failure_probability)

    def check(self, x: Tensor) -> None:
        """Check the map, then the atom at the image."""
        self.linear.check(x)
        self.atom.check(self.linear(x))

    def restricted(self, rows: Tensor) -> Composed | None:
        """Restrict the atom; all problems share the map."""
        atom = self.atom.restricted(rows)
        return None if atom is None else self._with(atom=atom)
