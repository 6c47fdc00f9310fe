"""The law of problems: what is drawn depends on the generator alone, and what is known is true."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from learnmm.checks.laws import LawViolation, require
from learnmm.checks.loop import assert_descent
from learnmm.plain import integer
from learnmm.registry import Instance, Problem
from learnmm.solve.safeguard import rounding_slack

SEED = 0


def assert_problem(problem: Problem, batch: int = 3, steps: int = 10) -> None:
    """Check a problem of the registry as its users will meet it.

    Laws: the class says in its docstring what is minimized; the same state of the generator gives
    the same instance, and other states another; starts, values and gradients are finite, in the
    dtype that was asked for, one per problem of the batch; float32 is the same problem as float64,
    up to the square root of its precision; no start lies below the known optimum, and the known
    minimizer attains it with a gradient of rounding size; a few steps descend.

    Parameters
    ----------
    problem : Problem
        As an entry point would make it.
    batch : int
        How many problems to draw.
    steps : int
        How many steps to follow.

    Raises
    ------
    LawViolation
        With the law, the worst problem of the batch and the size of the error.

    Examples
    --------
    >>> import learnmm as lmm
    >>> lmm.checks.assert_problem(lmm.problem("quadratic"))
    """
    batch, steps = integer("batch", batch, 1), integer("steps", steps, 1)
    if not (isinstance(problem.name, str) and problem.name):
        raise LawViolation(f"a problem has a name, got {problem.name!r}")
    if not (type(problem).__doc__ or "").strip():
        raise LawViolation(f"{type(problem).__name__} states its objective in a docstring")
    drawn, again, other = (_draw(problem, batch, seed=s) for s in (SEED, SEED, SEED + 1))
    narrow = _draw(problem, batch, dtype=torch.float32)
    for instance, dtype in ((drawn, torch.float64), (narrow, torch.float32)):
        _check_shapes(instance, batch, dtype)
    _check_randomness(drawn, again, other)
    _check_precision(drawn, narrow)
    _check_facts(drawn)
    assert_descent(drawn.optimizer(), drawn.x0, steps)


def _draw(
    problem: Problem, batch: int, seed: int = SEED, dtype: torch.dtype = torch.float64
) -> Instance:
    generator = torch.Generator().manual_seed(seed)
    instance = problem.instance(batch, generator=generator, dtype=dtype)
    if not isinstance(instance, Instance):
        raise LawViolation(f"a problem draws an Instance, got {type(instance).__name__}")
    return instance


def _evaluated(instance: Instance, x: Tensor) -> tuple[Tensor, Tensor]:
    value, gradient, _ = instance.optimizer().objective.evaluate(x)
    return value.detach(), gradient.detach()


def _check_shapes(instance: Instance, batch: int, dtype: torch.dtype) -> None:
    x0 = instance.x0
    value, gradient = _evaluated(instance, x0)
    wanted = {"x0": (x0, (batch, *x0.shape[1:])), "gradient": (gradient, x0.shape)}
    wanted["value"] = (value, (batch,))
    if instance.data is not None:
        wanted["data"] = (instance.data, (batch, *instance.data.shape[1:2]))
    if instance.optimum is not None:
        wanted["optimum"] = (instance.optimum, (batch,))
    if instance.minimizer is not None:
        wanted["minimizer"] = (instance.minimizer, x0.shape)
    for name, (tensor, shape) in wanted.items():
        if tuple(tensor.shape) != tuple(shape) or tensor.dtype != dtype:
            raise LawViolation(
                f"{name} has shape {tuple(shape)} and dtype {dtype}, got {tuple(tensor.shape)} and "
                f"{tensor.dtype}"
            )
        broken = (~torch.isfinite(tensor)).reshape(batch, -1).any(1)
        require(broken.double(), 0.0, f"{name} is finite")


def _check_randomness(drawn: Instance, again: Instance, other: Instance) -> None:
    """Compare values away from the start, where all instances may agree."""
    x = drawn.x0 + 0.1
    value, same = _evaluated(drawn, x)[0], _evaluated(again, x)[0]
    repeated = torch.equal(drawn.x0, again.x0) and torch.equal(value, same)
    if not repeated:
        raise LawViolation("the same state of the generator gives the same instance")
    if other.x0.shape == x.shape and torch.equal(drawn.x0, other.x0):
        differs = not torch.equal(value, _evaluated(other, x)[0])
        if not (differs or drawn.facts.get("deterministic")):
            raise LawViolation(
                "another state of the generator gives another instance, unless the facts say "
                "deterministic=True"
            )


def _check_precision(wide: Instance, narrow: Instance) -> None:
    half = math.sqrt(torch.finfo(torch.float32).eps)
    a, b = _evaluated(wide, wide.x0)[0], _evaluated(narrow, narrow.x0)[0].double()
    require((a - b).abs(), half * (1 + a.abs()), "float32 is the same problem as float64")


def _check_facts(instance: Instance) -> None:
    optimum, minimizer = instance.optimum, instance.minimizer
    value, gradient = _evaluated(instance, instance.x0)
    if optimum is not None:
        below = optimum - value
        require(below, rounding_slack(optimum), "no start lies below the optimum")
    if minimizer is None:
        return
    at, flat = _evaluated(instance, minimizer)
    half = math.sqrt(torch.finfo(at.dtype).eps)
    if optimum is not None:
        off = (at - optimum).abs()
        require(off, half * (1 + optimum.abs()), "the minimizer attains the optimum")
    slope, start = (g.reshape(len(at), -1).abs().amax(1) for g in (flat, gradient))
    require(slope, half * (1 + start), "the gradient vanishes at the minimizer")
