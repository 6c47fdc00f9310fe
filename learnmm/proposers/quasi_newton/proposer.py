"""Quasi-Newton steps with learned factors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learnmm.precision import full_precision
from learnmm.proposers.base import Point, Proposer, Step
from learnmm.proposers.limited_memory import (
    LimitedMemory,
    Pairs,
    extend,
    initial_step,
    two_loops,
)
from learnmm.proposers.quasi_newton import features
from learnmm.proposers.quasi_newton.features import AHEAD, BEHIND, COUNT, Taken
from learnmm.proposers.quasi_newton.rule import Factors, Rule
from learnmm.proposers.shortening import cubic
from learnmm.storage import load_weights, save_weights
from learnmm.truth import known
from learnmm.vectors import dot, expand, norm

PRETRAINED = Path(__file__).with_name("pretrained.safetensors")
HISTORY = 50
LARGEST_PART = 10.0
"""Of the step before, in the pair of a step."""

LEAST_CURVATURE = 1e-2
"""Of such a pair, over that of the step alone."""

CONFIG = {"proposer": "LearnedQuasiNewton", "behind": BEHIND, "ahead": AHEAD}


class QuasiNewtonMemory(NamedTuple):
    """Memory of :class:`LearnedQuasiNewton`.

    Attributes
    ----------
    pairs : Pairs
        As those of `LimitedMemory`; its changes of gradient have their factors in them.
    weights : Tensor
        Factor on what each pair has measured, ``(B, history)``.
    level : Tensor
        Logarithm of the inverse curvature that ``H_0`` has along the newest change, ``(B,)``.
    value : Tensor
        Objective at the last iterate, ``(B,)``.
    seen : Tensor
        Iterates seen, ``(B,)``.
    behind : Tensor
        Features of the last step, ``(B, BEHIND)``.
    step : Tensor
        What is proposed at the last iterate, ``(B, *shape)``.
    move, change : Tensor
        The last step and its change of gradient, likewise.
    """

    pairs: Pairs
    weights: Tensor
    level: Tensor
    value: Tensor
    seen: Tensor
    behind: Tensor
    step: Tensor
    move: Tensor
    change: Tensor


class LearnedQuasiNewton(Proposer):
    """BFGS steps of all pairs, with a few factors that were learned over many kinds of problems.

    Per step, a rule of 64 weights sees thirteen numbers without units (slopes and decrease over the
    step behind, angles and lengths of the step ahead, steps so far) and gives six: a factor on the
    newest change of gradient ``y``, one on what older pairs have measured, how fast the scale of
    ``H_0`` follows the newest pair, how far to trust the cubic through both ends of a step in place
    of the secant (Biggs 1973), how much of the step before the pair of a step takes in (Ford &
    Moghrabi 1994), and a factor on the step. All are numbers per problem: nothing depends on the
    order of unknowns or the units of unknowns and objective, and any number of unknowns will do.

    Such steps are verified. One that is refused comes again at the minimum of the cubic through
    what is known, five times before the majorant's own; none is longer than ten times the one
    before. The first is as long as the iterate, times a factor that is learned too, so a solve of a
    plain function takes no Hessian-vector product.

    Parameters
    ----------
    rule : Rule
        What was learned.
    history : int
        Pairs to keep, at least 1. Each costs two copies of the iterate.

    Raises
    ------
    ValueError
        If the history is not a positive integer.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> def rosenbrock(x):
    ...     return 100 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2
    >>> x0 = torch.tensor([[-1.2, 1.0], [2.0, 2.0]], dtype=torch.float64)
    >>> learned = lmm.proposers.LearnedQuasiNewton.pretrained()
    >>> result = lmm.minimize(rosenbrock, x0, proposer=learned)
    >>> bool((result.fun < 1e-9).all()), bool(result.certificate.monotone.all())
    (True, True)
    """

    trials = 6
    reach = 10.0
    curvature_from_steps = True
    measures_start = False
    remembers_points = True

    def __init__(self, rule: Rule, history: int = HISTORY) -> None:
        super().__init__()
        self.rule = rule
        self._limited = LimitedMemory(history)

    @property
    def history(self) -> int:
        """Pairs to keep."""
        return self._limited.history

    @classmethod
    def pretrained(cls, history: int = HISTORY) -> LearnedQuasiNewton:
        """Return the one that was trained over families of random problems.

        Parameters
        ----------
        history : int
            Pairs to keep.

        Raises
        ------
        ImportError
            Without safetensors, of the extra ``train``.
        """
        return cls.load(PRETRAINED, history)

    @classmethod
    def load(cls, path: str | os.PathLike[str], history: int = HISTORY) -> LearnedQuasiNewton:
        """Return one from a file of :meth:`save`.

        Parameters
        ----------
        path : path
            The file.
        history : int
            Pairs to keep.

        Raises
        ------
        FileNotFoundError, ImportError, ValueError
            As :func:`learnmm.load_weights`, and for a file of something else.
        """
        rule = Rule()
        load_weights(path, rule, expect=CONFIG)
        return cls(rule, history)

    def save(self, path: str | os.PathLike[str], notes: Mapping[str, Any] | None = None) -> None:
        """Write the rule and its configuration to a safetensors file.

        Parameters
        ----------
        path : path
            The file.
        notes : Mapping, optional
            What is known about them.

        Raises
        ------
        ImportError, TypeError, ValueError
            As :func:`learnmm.save_weights`.
        """
        save_weights(path, self.rule, CONFIG, notes=notes)

    def init_memory(self, x: Tensor) -> QuasiNewtonMemory:
        """No pairs."""
        batch = len(x)
        behind = x.new_zeros(batch, BEHIND)
        behind[:, COUNT] = 1
        return QuasiNewtonMemory(
            pairs=self._limited.init_memory(x),
            weights=x.new_ones(batch, self.history),
            level=x.new_zeros(batch),
            value=x.new_zeros(batch),
            seen=x.new_zeros(batch),
            behind=behind,
            step=torch.zeros_like(x),
            move=torch.zeros_like(x),
            change=torch.zeros_like(x),
        )

    def observe(self, point: Point, memory: QuasiNewtonMemory) -> QuasiNewtonMemory:
        """Keep the pair of the step to this iterate, and plan the next."""
        with full_precision(point.x):
            return self._observed(point, memory)

    def propose(self, point: Point, memory: QuasiNewtonMemory) -> Step:
        """The step that was planned when the iterate was observed."""
        return Step(memory.step)

    def shorter(self, slope: Tensor, actual: Tensor, after: Tensor) -> Tensor:
        """Where the cubic through both ends of a refused step has its minimum."""
        return cubic(slope, actual, after)

    def _observed(self, point: Point, memory: QuasiNewtonMemory) -> QuasiNewtonMemory:
        pairs = memory.pairs
        move, change = point.x - pairs.x, point.gradient - pairs.gradient
        starts = memory.seen == 0
        moved = (norm(move) > 0) & ~starts
        slopes = dot(pairs.gradient, move), dot(point.gradient, move)
        drop = features.decrease(memory.value, point.value, slopes)
        taken = Taken(move, change, point.gradient, pairs.gradient, drop)
        # Levels have units: without a pair before, or a new one, there is none to compare.
        found = features.measured(move, change)
        paired = (pairs.products > 0).any(1) & (slopes[1] > slopes[0])
        rise = torch.where(paired, found - memory.level, 0.0)
        behind = features.behind(taken, norm(memory.step), rise, memory.seen)
        behind = torch.where(moved[:, None], behind, memory.behind)

        kept = self._kept(point, memory, taken, behind)
        direction = _direction(kept, point)
        ahead = features.ahead(direction, taken) * moved[:, None]
        planned = expand(self.rule.length(behind, ahead), direction) * direction
        fresh = moved | starts
        value = memory.value if point.value is None else point.value.to(memory.value.dtype)
        return kept._replace(
            value=torch.where(fresh, value, memory.value),
            seen=memory.seen + fresh,
            behind=behind,
            step=torch.where(expand(fresh, planned), planned, memory.step),
            move=torch.where(expand(moved, move), move, memory.move),
            change=torch.where(expand(moved, change), change, memory.change),
        )

    def _kept(
        self, point: Point, memory: QuasiNewtonMemory, taken: Taken, behind: Tensor
    ) -> QuasiNewtonMemory:
        """The memory with the pair of a step, and what its factors make of the others."""
        factors = self.rule.factors(behind)
        move, change = _joined(taken, memory, factors)
        others = (memory.pairs.products > 0).any(1)
        pairs = memory.pairs
        if known(torch.isfinite(move).all()) is None:
            # Under `vmap` over weights the pair is mapped, so what it is written to must be, too.
            nothing = torch.zeros_like(move)[:, None]
            pairs = pairs._replace(moves=pairs.moves + nothing, changes=pairs.changes + nothing)
        pairs = extend(pairs, point.x, point.gradient, move, change)
        # Of a single place nobody sees whether it was taken again.
        new = pairs.newest != memory.pairs.newest if self.history > 1 else dot(move, change) > 0
        weights = memory.weights * factors.older[:, None]
        weights = weights.scatter(1, pairs.newest[:, None], 1.0)
        found = features.measured(move, change)
        level = torch.where(others, memory.level + factors.pace * (found - memory.level), found)
        return memory._replace(
            pairs=pairs,
            weights=torch.where(new[:, None], weights, memory.weights),
            level=torch.where(new, level, memory.level),
        )


def _joined(taken: Taken, memory: QuasiNewtonMemory, factors: Factors) -> tuple[Tensor, Tensor]:
    """The pair to keep of a step: that of the parabola through this iterate and the two before.

    Its tangent at this iterate is ``s - p s_0`` with ``p = b r^2 / (1 + 2 r)``, ``s_0`` the step
    before and ``r = |s| / |s_0|``; the change of gradient likewise (Ford & Moghrabi 1994). ``b`` is
    1 there and learned here. Where that loses the curvature of the step, its own pair is kept.
    """
    move, change = taken.move, expand(factors.change, taken.change) * taken.change
    last = norm(memory.move)
    ratio = norm(move) / torch.where(last > 0, last, 1.0)
    part = torch.where(last > 0, factors.blend * ratio * ratio / (1 + 2 * ratio), 0.0)
    part = expand(part.clamp(max=LARGEST_PART), move)
    tangent, bent = move - part * memory.move, change - part * memory.change
    curved = expand(dot(tangent, bent) > LEAST_CURVATURE * dot(move, change).abs(), move)
    return torch.where(curved, tangent, move), torch.where(curved, bent, change)


def _direction(memory: QuasiNewtonMemory, point: Point) -> Tensor:
    """``H g``, as of limited memory, with weights of pairs as factors on what they measured, and
    ``H_0`` scaled so that ``<y, H_0 y> / |y|^2`` has its level for the newest ``y``.
    """
    pairs = memory.pairs
    newest = pairs.changes[torch.arange(len(point.x), device=point.x.device), pairs.newest]
    along = memory.level.exp() * dot(newest, newest)

    def initial(rest: Tensor) -> Tensor:
        return initial_step(pairs, point.curvature, rest, along)

    return two_loops(pairs, point.gradient, initial, memory.weights)
