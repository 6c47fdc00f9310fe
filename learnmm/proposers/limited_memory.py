"""Limited-memory quasi-Newton steps, on top of a majorant's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learnmm.curvature import Curvature
from learnmm.plain import integer
from learnmm.precision import full_precision
from learnmm.proposers.base import Point, Prepared, Proposer, Step
from learnmm.proposers.faces import on_face
from learnmm.proposers.metric import Metric
from learnmm.shards import total
from learnmm.truth import known
from learnmm.vectors import dot, expand, norm

STRETCH = 2.0
"""Factor on the step after each one that has seen no positive curvature."""

REACH = 4.0
"""Longest step over the one before. What was measured there says little of what is far away, and a
step across a valley may end on plains that no gradient leads back from."""


class Pairs(NamedTuple):
    """Memory of :class:`LimitedMemory`: a ring per problem, where the newest pair takes the place
    of the oldest.

    Attributes
    ----------
    x, gradient : Tensor
        Where the last step started, ``(B, *shape)``.
    moves, changes : Tensor
        ``s_i`` and ``y_i``, ``(B, history, *shape)``; zero where there is no pair yet.
    inverse : Tensor
        ``R^-1`` for ``R_ij = <s_i, y_j>`` with pair ``i`` no newer than ``j``, zero elsewhere and
        where there is no pair; ``(B, history, history)``.
    products : Tensor
        ``<s_i, y_i>``, ``(B, history)``.
    newest : Tensor of int
        Place of the newest pair, ``(B,)``.
    stretch : Tensor
        Factor on the step, ``(B,)``; above 1 after steps without positive curvature.
    metric : Any
        Of the metric, if there is one.
    favour : Tensor or None
        By how much the pairs speak for the metric and against the majorant, ``(B,)``.
    """

    x: Tensor
    gradient: Tensor
    moves: Tensor
    changes: Tensor
    inverse: Tensor
    products: Tensor
    newest: Tensor
    stretch: Tensor
    metric: Any = None
    favour: Tensor | None = None


class LimitedMemory(Proposer):
    """L-BFGS steps ``d = H g`` from the last steps of each problem (Nocedal 1980).

    ``H`` starts from the majorant's inverse, scaled to the newest pair:
    ``H_0 = <s, y> / <y, B^+ y> B^+``, which is ``<s, y> / |y|^2 I`` for a scalar ``B``. So
    structure that a majorant knows is not learned again, and the first step is the majorant's own.
    Pairs that have seen no positive curvature, ``<s, y> <= eps |s| |y|``, are left out, so ``H``
    is positive definite without conditions on the length of steps; as long as there is none, a
    step is twice as long as ``H`` says, then four times, and so on.

    Nothing confines such steps: they are verified, and shortened where they are refused, twice
    before the majorant's own step comes. None is longer than four times the one before it.

    With a metric, its operator ``M`` takes the place of ``B`` in ``H_0``, and the first step is
    ``M^-1 g``. The pairs judge it, per problem: ``<s, y>^2 / (<s, M s> <y, M^-1 y>)`` is 1 where
    ``M`` has the Hessian's action along a pair up to a factor, and less elsewhere, whatever the
    units. Where the product of these over all pairs is smaller than that of ``B``, ``B`` is taken.

    Parameters
    ----------
    history : int
        Pairs to keep, at least 1. Each costs two copies of the iterate.
    metric : Metric, optional
        What is known of the Hessian beforehand. Default: the majorant's ``B``.

    Raises
    ------
    ValueError
        If the history is not a positive integer.
    TypeError
        If the metric is no `Metric`.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> def rosenbrock(x):
    ...     return 100 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2
    >>> x0 = torch.tensor([[-1.2, 1.0], [2.0, 2.0]], dtype=torch.float64)
    >>> optimizer = lmm.ProjectedMMOptimizer(rosenbrock, proposer=lmm.LimitedMemory())
    >>> result = optimizer.minimize(x0)
    >>> bool((result.fun < 1e-9).all()), bool(result.certificate.monotone.all())
    (True, True)
    """

    trials = 3
    reach = REACH
    curvature_from_steps = True
    remembers_points = True

    def __init__(self, history: int = 10, metric: Metric | None = None) -> None:
        super().__init__()
        if not (metric is None or isinstance(metric, Metric)):
            raise TypeError(f"metric must be a Metric, got {type(metric).__name__}")
        self.history = integer("history", history, 1)
        self.metric = metric

    def prepare(self, x: Tensor, gradient: Tensor) -> Prepared:
        """No pairs, and what the metric has ready."""
        if self.metric is None:
            return Prepared(self.init_memory(x))
        with full_precision(x):
            return Prepared(self.knowing(x, self.metric.prepare(x, gradient)))

    def knowing(self, x: Tensor, known: Any) -> Pairs:
        """No pairs, and a memory of the metric, which nothing speaks for or against yet."""
        return self.init_memory(x)._replace(metric=known, favour=x.new_zeros(len(x)))

    def init_memory(self, x: Tensor) -> Pairs:
        """No pairs."""
        batch, history = x.shape[0], self.history
        none = x.new_zeros(batch, history, *x.shape[1:])
        return Pairs(
            x=x.clone(),  # torch.compile would take a shared tensor for a special case
            gradient=torch.zeros_like(x),
            moves=none,
            changes=none.clone(),
            inverse=x.new_zeros(batch, history, history),
            products=x.new_zeros(batch, history),
            newest=torch.full((batch,), history - 1, device=x.device),
            stretch=x.new_ones(batch),
        )

    def observe(self, point: Point, memory: Pairs) -> Pairs:
        """Put the pair of the step to this iterate in place of the oldest."""
        with full_precision(point.x):
            move, change = point.x - memory.x, point.gradient - memory.gradient
            pairs = extend(memory, point.x, point.gradient, move, change)
            if self.metric is None or memory.favour is None:
                return pairs
            known = self.metric.curvature(point.x, memory.metric)
            return pairs._replace(
                metric=self.metric.observe(move, change, memory.metric),
                favour=memory.favour + judged(move, change, point.curvature, known),
            )

    def propose(self, point: Point, memory: Pairs) -> Step:
        """Apply ``H``, on the unknowns that are free that of their face."""
        with full_precision(point.x):
            if point.free is not None:
                memory = on_face(memory, point.free)
            if self.metric is None:
                return Step(step_from(memory, point))
            known = self.metric.curvature(point.x, memory.metric)
            return Step(step_from(memory, point, known))


def judged(move: Tensor, change: Tensor, own: Curvature, known: Curvature) -> Tensor:
    """How much a pair speaks for a metric ``M`` and against the majorant's ``B``, ``(B,)``.

    ``log (<s, B s> <y, B^-1 y>) - log (<s, M s> <y, M^-1 y>)``; zero for pairs that are not kept.
    """
    seen = dot(move, change) > 0
    spread = []
    for curvature in (own, known):
        # Two logarithms: the product of the two may overflow.
        along, back = curvature.quad(move), dot(change, curvature.solve(change).to(change.dtype))
        seen = seen & (along > 0) & (back > 0) & torch.isfinite(along) & torch.isfinite(back)
        spread.append(torch.where(seen, along, 1.0).log() + torch.where(seen, back, 1.0).log())
    return torch.where(seen, spread[0] - spread[1], 0.0).to(move.dtype)


def step_from(pairs: Pairs, point: Point, known: Curvature | None = None) -> Tensor:
    """``H g`` of the pairs there are, stretched, from the majorant's curvature or a known one."""
    along = torch.take_along_dim(pairs.products, pairs.newest[:, None], 1).squeeze(1)

    def initial(rest: Tensor) -> Tensor:
        step = initial_step(pairs, point.curvature, rest, along)
        if known is None or pairs.favour is None:
            return step
        believed = expand(pairs.favour >= 0, step)
        return torch.where(believed, initial_step(pairs, known, rest, along), step)

    return two_loops(pairs, point.gradient, initial)


def two_loops(
    pairs: Pairs,
    gradient: Tensor,
    initial: Callable[[Tensor], Tensor],
    factors: Tensor | float = 1.0,
) -> Tensor:
    """``H g``, stretched: the two loops of Nocedal & Wright (2006, Algorithm 7.4) as triangular
    systems.

    The first computes ``a`` with ``R a = S^T g``, the second ``b`` with
    ``R^T b = D a - Y^T r`` for ``r = H_0 (g - Y a)`` and ``D`` the diagonal of ``R``; then
    ``H g = r + S b``. So a step is a few products for all pairs at once. Factors ``w_i`` on ``D``
    are on what the pairs measured: ``w_i s_i s_i^T / <s_i, y_i>`` in each update.

    Parameters
    ----------
    pairs : Pairs
        What was measured.
    gradient : Tensor
        ``g``, ``(B, *shape)``.
    initial : callable
        ``H_0``, stretched.
    factors : Tensor or float
        ``w``, ``(B, history)``.
    """
    weights = _times(pairs.inverse, _inner(pairs.moves, gradient))
    step = initial(_combined(gradient, pairs.changes, -weights))
    weights = pairs.stretch[:, None] * pairs.products * factors * weights
    second = _times(pairs.inverse.mT, weights - _inner(pairs.changes, step))
    return _combined(step, pairs.moves, second)


def extend(pairs: Pairs, x: Tensor, gradient: Tensor, move: Tensor, change: Tensor) -> Pairs:
    """Put the pair of the step to `x` in the place of the oldest, if it has seen curvature.

    The rings are written to: with many unknowns a copy of them costs more than the step. Without
    the row and the column of the oldest pair ``R^-1`` is the inverse of what is left of ``R``; a
    last column ``(c, p)`` of ``R`` adds the column ``(-R^-1 c, 1) / p`` to it.
    """
    length, product = norm(move), _inner(move[:, None], change)[:, 0]
    useful = has_curvature(product, length, norm(change))
    product = torch.where(useful, product, 1.0)[:, None]

    batch, history = pairs.products.shape
    oldest = (pairs.newest + 1) % history
    others = torch.arange(history, device=oldest.device) != oldest[:, None]  # (B, history)
    # A graph keeps what its products were made of, and the ring is written to below.
    before = pairs.moves.clone() if torch.is_grad_enabled() else pairs.moves
    along = _inner(before, change) * others
    column = -_times(pairs.inverse, along) * others / product
    column = column.scatter(1, oldest[:, None], 1 / product)
    useful = useful & torch.isfinite(column).all(1)

    place = torch.arange(batch, device=oldest.device), oldest
    put(pairs.moves, place, move, useful)
    put(pairs.changes, place, change, useful)
    rows = (others | ~useful[:, None]).to(pairs.inverse.dtype)
    columns = (pairs.inverse * rows[:, :, None]).mT.contiguous()
    columns[place] = torch.where(useful[:, None], column, columns[place])
    kept = torch.take_along_dim(pairs.products, oldest[:, None], 1)
    products = torch.where(useful[:, None], product, kept)
    return Pairs(
        x=x,
        gradient=gradient,
        moves=pairs.moves,
        changes=pairs.changes,
        inverse=columns.mT,
        products=pairs.products.scatter(1, oldest[:, None], products),
        newest=torch.where(useful, oldest, pairs.newest),
        stretch=stretched(pairs.stretch, useful, length),
        metric=pairs.metric,
        favour=pairs.favour,
    )


def put(ring: Tensor, place: tuple[Tensor, Tensor], new: Tensor, useful: Tensor) -> None:
    """Write vectors ``(B, *shape)`` to a place of each problem's ring where they are useful.

    Where all are, none is read back: with many unknowns that costs more than writing.

    Parameters
    ----------
    ring : Tensor
        ``(B, history, *shape)``.
    place : pair of Tensor of int
        Problem and place in its ring, ``(B,)`` each.
    new : Tensor
        What is written.
    useful : Tensor of bool
        ``(B,)``.
    """
    if not known(useful.all()):
        new = torch.where(expand(useful, new), new, ring[place])
    ring[place] = new


def has_curvature(product: Tensor, length: Tensor, grown: Tensor) -> Tensor:
    """Whether a pair has seen positive curvature beyond rounding, ``(B,)``.

    Parameters
    ----------
    product : Tensor
        ``<s, y>``, ``(B,)``.
    length, grown : Tensor
        ``|s|`` and ``|y|``.
    """
    return product > torch.finfo(product.dtype).eps * length * grown


def stretched(stretch: Tensor, useful: Tensor, length: Tensor) -> Tensor:
    """Factor on the next step: larger after each that has seen no curvature, ``(B,)``."""
    # The start, which no step has led to, is no step without curvature.
    return torch.where(useful, 1.0, torch.where(length > 0, STRETCH * stretch, stretch))


def initial_step(pairs: Pairs, curvature: Curvature, v: Tensor, along: Tensor) -> Tensor:
    """``H_0 v``, stretched: a curvature's inverse, scaled to ``<y, H_0 y> = along``, ``(B,)``, for
    the newest change ``y``.
    """
    # Not take_along_dim, which makes an index of the size of the iterate.
    newest = pairs.changes[torch.arange(len(v), device=v.device), pairs.newest]
    bend = _inner(newest[:, None], curvature.solve(newest).to(v.dtype))[:, 0]
    scale = torch.where(bend > 0, along / torch.where(bend > 0, bend, 1.0), 1.0)
    # A curvature may be as wide as the values of the objective; the pairs are not.
    return curvature.scaled(1 / (pairs.stretch * scale)).solve(v).to(v.dtype)


def _inner(stack: Tensor, v: Tensor) -> Tensor:
    """Inner products of ``v`` with a stack ``(B, history, *shape)``, ``(B, history)``."""
    return total(_times(stack.reshape(*stack.shape[:2], -1), v.reshape(v.shape[0], -1)))


def _combined(base: Tensor, stack: Tensor, weights: Tensor) -> Tensor:
    """``base`` plus a weighted sum of a stack ``(B, history, *shape)``, ``(B, *shape)``."""
    flat = stack.reshape(*stack.shape[:2], -1)
    summed = torch.baddbmm(base.reshape(len(base), 1, -1), weights[:, None], flat)
    return summed.reshape(base.shape)


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """``(B, m, n)`` times ``(B, n)``."""
    return torch.bmm(matrices, vectors[:, :, None]).squeeze(2)
