"""Limited-memory steps from one call of an optimizer to the next, their pairs written in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learnmm.curvature import Curvature
from learnmm.proposers.base import Point
from learnmm.proposers.limited_memory import LimitedMemory, Pairs, extend, step_from

NUMBERS = ("newest", "stretch")
"""Parts of `Pairs` that are kept as plain numbers: loading a state casts every tensor."""

KEPT = tuple(name for name in Pairs._fields if name not in ("x", "gradient", "metric", "favour"))
"""Parts of `Pairs` that are kept: the next call knows where it starts, and there is no metric."""


class Ring:
    """Limited-memory steps of one problem under learning rates.

    The metric of the majorant has the rates in it. With pairs, ``H`` is scaled to the curvature
    they have seen and knows only the ratios of the rates, so the largest becomes a factor.

    Parameters
    ----------
    history : int
        Pairs to keep.
    rate : float
        Largest learning rate.
    kept : dict or None
        What :meth:`kept` returned at the end of the last call.
    lent : bool
        Whether somebody else holds the tensors of `kept`, which must not change then.
    """

    def __init__(
        self, history: int, rate: float, kept: dict[str, Any] | None = None, *, lent: bool = False
    ) -> None:
        self.history = history
        self.rate = rate
        self.pairs: Pairs
        self._kept = kept
        self._lent = lent
        self._overwritten: list[tuple[int, Tensor, Tensor]] = []

    def start(self, x: Tensor, gradient: Tensor) -> None:
        """Take pairs of earlier calls; the next starts here, from the loss of this call."""
        if self._kept is None:
            fresh = LimitedMemory(self.history).init_memory(x)
            self.pairs = fresh._replace(gradient=gradient)
            return
        parts = dict(self._kept)
        for name in ("moves", "changes") if self._lent else ():
            parts[name] = parts[name].clone()
        parts["newest"] = torch.tensor([parts["newest"]], device=x.device)
        parts["stretch"] = x.new_tensor([parts["stretch"]])
        self.pairs = Pairs(x=x, gradient=gradient, **parts)

    def step(self, curvature: Curvature) -> Tensor | None:
        """``d``, ``(1, n)``; None where it is the majorant's own step."""
        seen = bool((self.pairs.products > 0).any())
        if not seen and float(self.pairs.stretch) == 1:
            return None
        step = step_from(self.pairs, Point(self.pairs.x, self.pairs.gradient, curvature))
        return self.rate * step if seen and self.rate < 1 else step

    def follow(
        self, x: Tensor, gradient: Tensor, move: Tensor, change: Tensor, *, final: bool
    ) -> None:
        """Put the pair of a step that was taken into the ring; `final`: nothing can fail now."""
        if not final:
            place = (int(self.pairs.newest) + 1) % self.history
            rows = self.pairs.moves[0, place].clone(), self.pairs.changes[0, place].clone()
            self._overwritten.append((place, *rows))
        self.pairs = extend(self.pairs, x, gradient, move, change)

    def undo(self) -> None:
        """Put back what :meth:`follow` has overwritten."""
        while self._overwritten:
            place, move, change = self._overwritten.pop()
            self.pairs.moves[0, place].copy_(move)
            self.pairs.changes[0, place].copy_(change)

    def kept(self) -> dict[str, Any]:
        """What a call leaves to the next."""
        return {
            name: part.item() if name in NUMBERS else part
            for name, part in self.pairs._asdict().items()
            if name in KEPT
        }
