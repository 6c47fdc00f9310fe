"""The law of gradients: they are what differences of values say they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from learnmm.checks.laws import LawViolation
from learnmm.levels import not_negative
from learnmm.objective import BatchFunction, CallableObjective, Objective
from learnmm.optim.closure import Closure, ClosureObjective, Source, flatten
from learnmm.precision import full_precision
from learnmm.solve.safeguard import ROUNDING
from learnmm.solve.validation import check_evaluation, check_start, is_single
from learnmm.vectors import dot, expand, norm

ENTRIES = 50
"""Up to this many unknowns every entry is looked at; beyond, random directions."""

DIRECTIONS = 8
"""Random directions."""

LENGTHS = 12
"""Lengths of a difference, each a quarter of the one before."""

SAFETY = 4.0
"""Factor on what the differences of several lengths differ by."""

LONGEST = 0.25
"""The longest, relative to the iterate."""


def assert_gradient(
    fun: Objective | BatchFunction | Closure,
    x: Tensor | Sequence[Tensor],
    *,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> None:
    """Compare the gradient at ``x`` with central differences of values.

    Law: ``<g, d> = (f(x + h d) - f(x - h d)) / (2 h)``, up to the rounding of the values and a
    remainder of second order in ``h``. Both are measured: of a dozen lengths ``h`` that one decides
    at which the rounding (``16 eps |f|`` and ``eps |x| |g|``) and the change of the difference to
    the next lengths are least together. So no tolerance has to be set, and functions that are
    undefined or have kinks farther off can be checked too. Up to 50 unknowns every entry is looked
    at, with more of them eight random directions, and the worst entry is found by halving.

    A backward that is wrong, or that leaves out how something depends on ``x``, lets
    :func:`~learnmm.minimize` stall: steps along such a gradient do not lower the values.

    Parameters
    ----------
    fun : Objective, callable or closure
        ``(B, *shape) -> (B,)``, ``(*shape) -> ()`` for one problem, or a closure ``() -> loss`` of
        the parameters `x`, as :class:`learnmm.optim.ProjectedMM` takes it. It must be
        deterministic.
    x : Tensor, or sequence of Tensor for a closure
        Where to look; float64 shows far smaller errors than float32. Parameters and their
        gradients are left as they were.
    noise : float
        Absolute error of values beyond their own rounding, as in :class:`~learnmm.Safeguard`:
        where large terms cancel in ``f``, values that do not move say nothing.
    generator : torch.Generator, optional
        Of the random directions. Default: the same on every run.

    Raises
    ------
    LawViolation
        With the problem, the entry, what the gradient says there and what the differences say.
    TypeError, ValueError
        For a function or a start that :func:`~learnmm.minimize` would refuse too.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> class Square(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         return ctx.saved_tensors[0] * gradient  # the factor 2 is missing
    >>> x = torch.tensor([1.0, 3.0], dtype=torch.float64)
    >>> lmm.checks.assert_gradient(lambda x: (x * x).sum(), x)
    >>> lmm.checks.assert_gradient(lambda x: Square.apply(x).sum(), x)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    learnmm.checks.laws.LawViolation: ... entry (1,) is 3, differences say 6 +- ...
    """
    noise = not_negative("noise", noise)
    if isinstance(x, Tensor):
        check_start(x)
        x = x.detach().clone()
        given = cast(BatchFunction, fun)
        objective = fun if isinstance(fun, Objective) else CallableObjective(given)
        if isinstance(objective, CallableObjective) and is_single(objective, x):
            objective, x = CallableObjective(objective.fun, single=True), x[None]
        _Check(objective, x, noise).run(generator)
        return
    parameters = list(x) if isinstance(x, Iterable) else []
    if not parameters or not all(isinstance(p, Tensor) for p in parameters):
        raise TypeError("assert_gradient takes a tensor, or for a closure its parameters")
    closure = ClosureObjective(cast(Closure, fun), parameters, curvature=Source.SECANT)
    kept = [p.grad for p in parameters]
    start = flatten(parameters)
    names = [
        f"{tuple(index)} of parameter {k}"
        for k, p in enumerate(parameters)
        for index in _indices(p.shape)
    ]
    try:
        _Check(closure, start, noise, names).run(generator)
    finally:
        closure.write(start)
        for p, grad in zip(parameters, kept, strict=True):
            p.grad = grad


class _Comparison(NamedTuple):
    """Slopes along a direction, ``(B,)`` each.

    Attributes
    ----------
    claimed : Tensor
        ``<g, d>``.
    measured : Tensor
        By differences; NaN where none could be taken.
    allowed : Tensor
        How far the measured one may be off.
    """

    claimed: Tensor
    measured: Tensor
    allowed: Tensor

    @property
    def error(self) -> Tensor:
        """Error where it exceeds what is allowed, otherwise zero."""
        error = (self.claimed - self.measured).abs()
        return torch.where(error > self.allowed, error, 0.0)


@dataclass
class _Check:
    """Everything about one point.

    Parameters
    ----------
    objective, x, noise
        What is checked, and where.
    names : list of str, optional
        Of the entries. Default: their indices.
    """

    objective: Objective
    x: Tensor
    noise: float
    names: list[str] | None = None

    def run(self, generator: torch.Generator | None) -> None:
        """Look along all directions."""
        x = self.x
        with torch.no_grad(), full_precision(x):
            self.objective.check(x)
            self.here = self.objective.evaluate(x)
            check_evaluation(x, self.here.value, self.here.gradient)
            for name, part in (("value", self.here.value), ("gradient", self.here.gradient)):
                finite = torch.isfinite(part.reshape(len(x), -1)).all(1)
                if not bool(finite.all()):
                    raise LawViolation(f"the {name} of problem {_first(~finite)} is not finite")
            silent = torch.ones(len(x), dtype=torch.bool, device=x.device)
            worst, where = 0.0, None
            for d in _directions(x, generator):
                found = self.compare(d)
                silent = silent & torch.isnan(found.measured)
                error, problem = found.error.max(0)
                if float(error) > worst:
                    worst, where = float(error), (d, int(problem))
            if where is not None:
                raise LawViolation(self.described(*where))
            if bool(silent.any()):
                raise LawViolation(f"problem {_first(silent)} has no finite values next to x")

    def compare(self, d: Tensor) -> _Comparison:
        """Compare slopes along ``d``."""
        x, gradient = self.x, self.here.gradient
        size = norm(x) / math.sqrt(x[0].numel())
        size = torch.where(size > 0, size, 1.0)
        # Values wider than x do not make the gradient, which has the dtype of x, more exact.
        eps = max(torch.finfo(x.dtype).eps, torch.finfo(self.here.value.dtype).eps)
        slopes, noises = [], []
        for k in range(LENGTHS):
            length = expand(LONGEST * 4.0**-k * size, x)
            plus, minus = x + length * d, x - length * d
            ahead = self.objective.evaluate(plus).value
            behind = self.objective.evaluate(minus).value
            # What was moved, rounding included, against what it did.
            moved = plus - minus
            span = norm(moved) / norm(d)
            bent = dot(gradient, moved / expand(span, x) - d)
            slopes.append((ahead - behind) / span - bent)
            terms = ROUNDING * (ahead.abs() + behind.abs()) + norm(x * d) * norm(gradient * d)
            noises.append((eps * terms + 2 * self.noise) / span)
        slope, noise = torch.stack(slopes), torch.stack(noises)
        measured, allowed = _settled(slope, noise)
        return _Comparison(dot(gradient, d).to(measured.dtype), measured, allowed)

    def described(self, d: Tensor, problem: int) -> str:
        """Halve a direction until the entry is left that is most wrong; say what is there."""
        x = self.x
        flat = d.reshape(len(x), -1)[problem]
        inside = flat.nonzero().flatten()
        found = self.compare(d)
        while len(inside) > 1:
            halves = []
            for part in inside.chunk(2):
                kept = torch.zeros_like(flat)
                kept[part] = flat[part]
                compared = self.compare(kept.reshape(x.shape[1:]).expand_as(x))
                halves.append((float(compared.error[problem]), part, compared))
            error, part, compared = max(halves, key=lambda half: half[0])
            if error == 0:  # the error is spread too thinly to be seen in a part
                break
            inside, found = part, compared
        claimed, measured, allowed = (float(t[problem]) for t in found)
        name = self._name(inside[0])
        if len(inside) > 1:
            what = f"the slope along {len(inside)} entries, from {name} on,"
        else:
            claimed, measured = float(flat[inside[0]]) * claimed, float(flat[inside[0]]) * measured
            what = f"entry {name}"
        hint = "" if len(x) == 1 else " (or the problems of the batch influence each other)"
        return (
            f"gradient of problem {problem}: {what} is {claimed:.6g}, differences say "
            f"{measured:.6g} +- {allowed:.2g}{hint}"
        )

    def _name(self, place: Tensor) -> str:
        if self.names is not None:
            return self.names[int(place)]
        return str(tuple(int(i) for i in torch.unravel_index(place, self.x.shape[1:])))


def _directions(x: Tensor, generator: torch.Generator | None) -> Iterator[Tensor]:
    """Directions to look along, ``(B, *shape)``, entries 0 or 1, or signs."""
    n = x[0].numel()
    if n <= ENTRIES:
        for i in range(n):
            unit = torch.zeros(n, dtype=x.dtype, device=x.device)
            unit[i] = 1
            yield unit.reshape(x.shape[1:]).expand_as(x)
        return
    if generator is None:
        generator = torch.Generator(x.device).manual_seed(0)
    for _ in range(DIRECTIONS):
        draw = torch.rand(x.shape[1:], dtype=x.dtype, device=x.device, generator=generator)
        yield torch.where(draw < 0.5, -1.0, 1.0).to(x).expand_as(x)


def _settled(slope: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Of slopes by differences of falling length, the best and how far it may be off, ``(B,)``.

    Parameters
    ----------
    slope, noise : Tensor
        Slopes and their rounding, ``(LENGTHS, B)``.
    """
    # The remainder falls by 16 from one length to the next. Where all shorter ones differ by more
    # than rounding, it has not begun to: a period, a kink or noise.
    change = torch.nan_to_num((slope[1:] - slope[:-1]).abs(), nan=torch.inf)
    allowed = torch.full_like(slope, torch.inf)
    for k in range(1, LENGTHS - 1):
        remainder = torch.maximum(change[k - 1], change[k])
        apart = (slope[k + 1 :] - slope[k]).abs() - noise[k + 1 :]
        remainder = torch.maximum(remainder, apart.amax(0).clamp(min=0))
        allowed[k] = noise[k] + SAFETY * remainder
    allowed = torch.nan_to_num(allowed, nan=torch.inf)
    least, best = allowed.min(0)
    measured = slope.gather(0, best[None])[0]
    measured = torch.where(torch.isfinite(least), measured, torch.nan)
    return measured, least.clamp(min=torch.finfo(least.dtype).tiny)


def _first(mask: Tensor) -> int:
    return int(mask.nonzero()[0])


def _indices(shape: torch.Size) -> list[list[int]]:
    every: list[list[int]] = torch.ones(shape).nonzero().tolist()
    return every
