"""Limited-memory steps from one call of an optimizer to the next, their pairs written in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learnmm.preconditioners.base import Point
from learnmm.preconditioners.limited_memory import LimitedMemory, Pairs, append, step_from

NUMBERS = ("newest", "stretch")
"""Parts of `Pairs` that are kept as plain numbers: loading a state casts every tensor."""


class Ring(LimitedMemory):
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
        super().__init__(history)
        self.rate = rate
        self._kept = kept
        self._lent = lent
        self._overwritten: list[tuple[Pairs, int, Tensor, Tensor]] = []
        self._asked: tuple[Pairs, Tensor] | None = None

    def init_state(self, x: Tensor) -> Pairs:
        """Pairs of earlier calls, without the point from which the next starts."""
        if self._kept is None:
            return super().init_state(x)
        parts = dict(self._kept)
        for name in ("moves", "changes") if self._lent else ():
            parts[name] = parts[name].clone()
        parts["newest"] = torch.tensor([parts["newest"]], device=x.device)
        parts["stretch"] = x.new_tensor([parts["stretch"]])
        return Pairs(x=x, gradient=x, **parts)

    def forward(self, point: Point, state: Pairs) -> tuple[Tensor, Pairs]:
        """The step, computed once for all trials at a point: pairs are new after each that is
        taken, see :meth:`follow`.
        """
        if self._asked is None or self._asked[0] is not state:
            step = step_from(state, point)
            if self.rate < 1 and bool((state.products > 0).any()):
                step = self.rate * step
            self._asked = state, step
        return self._asked[1], state

    def follow(self, pairs: Pairs, x: Tensor, gradient: Tensor, *, final: bool) -> Pairs:
        """Put the pair of a step that was taken into the ring; `final`: nothing can fail now."""
        if not final:
            place = (int(pairs.newest) + 1) % self.history
            rows = pairs.moves[0, place].clone(), pairs.changes[0, place].clone()
            self._overwritten.append((pairs, place, *rows))
        return append(pairs, x, gradient, in_place=True)

    def undo(self) -> None:
        """Put back what :meth:`follow` has overwritten."""
        while self._overwritten:
            pairs, place, move, change = self._overwritten.pop()
            pairs.moves[0, place].copy_(move)
            pairs.changes[0, place].copy_(change)

    @staticmethod
    def kept(pairs: Pairs) -> dict[str, Any]:
        """What a call leaves to the next."""
        parts = pairs._asdict()
        return {
            name: part.item() if name in NUMBERS else part
            for name, part in parts.items()
            if name not in ("x", "gradient")
        }
