"""A bound: how curved an objective can be around a point, and what kind of promise that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from learnmm.curvature import Curvature, add, require_real
from learnmm.kind import Kind

__all__ = ["AdaptiveMajorant", "Bound", "Majorant", "map_bound"]


@dataclass(frozen=True, eq=False)
class Bound:
    """Curvature ``B`` with the promise that comes with it.

    Parameters
    ----------
    kind : Kind
        What holds.
    curvature : Curvature
        ``B``, one operator per problem.
    radius : Tensor, optional
        For `REGION`: validity radius around ``x`` per problem, shape ``(B,)``. None: no limit.
    failure_probability : float
        For `PROBABLE`: probability that the bound fails at this point.
    certain, uncertain : Curvature, optional
        The proved part of ``B`` and the rest, which relaxation may scale. By default all of
        ``B`` is certain for `GLOBAL` and `REGION`, and uncertain otherwise.
    """

    kind: Kind
    curvature: Curvature
    radius: Tensor | None = None
    failure_probability: float = 0.0
    certain: Curvature | None = field(default=None, repr=False)
    uncertain: Curvature | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no bound; sort the curvature into its certain and uncertain part."""
        if not isinstance(self.kind, Kind):
            raise TypeError(f"Bound.kind must be a Kind, got {self.kind!r}")
        for name in ("curvature", "certain", "uncertain"):
            part = getattr(self, name)
            if not isinstance(part, Curvature) and (part is not None or name == "curvature"):
                raise TypeError(f"Bound.{name} must be a Curvature, got {type(part).__name__}")
        if self.radius is not None:
            require_real("Bound", "radius", self.radius, 1, "one radius per problem, shape (B,)")
        if not 0 <= self.failure_probability <= 1:
            raise ValueError(
                f"Bound.failure_probability must be in [0, 1], got {self.failure_probability}"
            )
        if self.kind is Kind.REGION and self.radius is None:
            raise ValueError("a REGION bound needs its radius, shape (B,)")
        if self.certain is None and self.uncertain is None:
            proved = self.kind in (Kind.GLOBAL, Kind.REGION)
            object.__setattr__(self, "certain" if proved else "uncertain", self.curvature)

    def __add__(self, other: Bound) -> Bound:
        """Bound of a sum of objectives: curvatures add, the weakest kind survives."""
        if not isinstance(other, Bound):
            return NotImplemented
        return _assemble(
            Kind(max(self.kind, other.kind)),
            _add(self.certain, other.certain),
            _add(self.uncertain, other.uncertain),
            _smaller(self.radius, other.radius),
            min(1.0, self.failure_probability + other.failure_probability),
        )

    def scaled(self, factor: Tensor | float) -> Bound:
        """Bound of ``factor * f`` for a positive number, or one per problem ``(B,)``."""
        return map_bound(self, lambda curvature: curvature.scaled(factor), self.radius)

    def weakened(self, kind: Kind, failure_probability: float) -> Bound:
        """Bound that also rests on something of a `kind` of its own, such as a norm."""
        if kind <= self.kind and failure_probability == 0:
            return self
        failure = min(1.0, self.failure_probability + failure_probability)
        return Bound(Kind(max(self.kind, kind)), self.curvature, self.radius, failure)

    def relaxed(self, factor: Tensor) -> Curvature:
        """Curvature with the uncertain part multiplied by ``factor``, shape ``(B,)``."""
        if self.uncertain is None:
            return self.curvature
        scaled = self.uncertain.scaled(factor)
        return scaled if self.certain is None else add(self.certain, scaled)


def _add(a: Curvature | None, b: Curvature | None) -> Curvature | None:
    if a is None or b is None:
        return b if a is None else a
    return add(a, b)


def _smaller(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return torch.minimum(a, b)


def _assemble(
    kind: Kind,
    certain: Curvature | None,
    uncertain: Curvature | None,
    radius: Tensor | None,
    failure_probability: float,
) -> Bound:
    whole = _add(certain, uncertain)
    if whole is None:
        raise ValueError("a bound needs a certain or an uncertain curvature")
    return Bound(kind, whole, radius, failure_probability, certain, uncertain)


def map_bound(
    bound: Bound, curvature_map: Callable[[Curvature], Curvature], radius: Tensor | None
) -> Bound:
    """Apply a monotone map to both parts of a bound's curvature, with a new radius."""
    return _assemble(
        bound.kind,
        None if bound.certain is None else curvature_map(bound.certain),
        None if bound.uncertain is None else curvature_map(bound.uncertain),
        radius,
        bound.failure_probability,
    )


@runtime_checkable
class Majorant(Protocol):
    """Anything that maps a point to a bound there.

    ``x`` has shape ``(B, *shape)``; ``aux`` is what the objective's evaluation brought along for
    the bound (an empty tuple for a plain callable). Problems of a batch must not influence each
    other, and nothing that is handed over may be written to
    (``learnmm.checks.assert_unmodified``).

    A method ``restricted(rows)``, if there is one, returns the majorant of some problems of the
    batch, by their numbers ``(b,)``, or None. Without it finished problems stay in the batch.
    """

    def __call__(self, x: Tensor, aux: Any = None) -> Bound:
        """Return the bound at ``x``."""
        ...


@runtime_checkable
class AdaptiveMajorant(Protocol):
    """A majorant that learns from the steps taken, and remembers.

    Its memory consists of tensors with the batch first, in tuples, lists, dictionaries or
    dataclasses, beside constants.
    """

    def init_memory(self, x: Tensor, gradient: Tensor) -> Any:
        """Return what is known before the first step, ``(B, *shape)`` each."""
        ...

    def observe(self, move: Tensor, change: Tensor, memory: Any) -> Any:
        """Return what is known after ``x`` has moved, and its gradient changed, by these."""
        ...

    def __call__(self, x: Tensor, aux: Any = None, memory: Any = None) -> Bound:
        """Return the bound at ``x``; without a memory as before the first step."""
        ...
