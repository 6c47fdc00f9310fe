"""The law of majorants: a bound at ``x`` holds what its kind says."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from learnmm.atoms.base import Atom
from learnmm.bound import Bound, Majorant
from learnmm.checks.laws import (
    DENSE_UNKNOWNS,
    dense,
    require,
    require_points,
    spectral_norm,
    tolerance,
)
from learnmm.checks.search import Search
from learnmm.checks.unmodified import unmodified
from learnmm.hessian import hessian_product
from learnmm.kind import Kind
from learnmm.linear.lanczos import ritz_extremes, start_vector
from learnmm.objective import Objective, as_objective
from learnmm.plain import integer

LANCZOS_STEPS = 60
"""Steps that look for a direction in which a large Hessian exceeds its bound."""


def assert_majorant(
    majorant: Majorant | None,
    fun: Objective | Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    points: int = 60,
    search_steps: int = 100,
    generator: torch.Generator | None = None,
) -> None:
    """Try to break a bound at ``x``, as hard as its kind deserves.

    `GLOBAL`: ``f(z) <= Q(z; x) = f(x) + <g, z - x> + <z - x, B (z - x)> / 2`` at random points
    (from 1e-6 to 1e6 times ``|x|`` away, along the gradient, along the majorant's step, in
    directions that the bound takes for flat, towards and through the origin, and next to it, where
    scale-free functions are singular), and at the worst of them after a search uphill on the
    violation. Where ``f`` or ``Q`` is not finite, the point says nothing. `REGION`: the same within
    the radius. `POINTWISE` and `PROBABLE`: ``B - H(x)`` is positive semidefinite (so a `PROBABLE`
    bound may fail, as often as it says). `ESTIMATE` promises nothing, and nothing is checked.
    Whatever its kind, neither it nor the objective writes into what it is given.

    The excess allowed is rounding: ``32 eps`` times what the two sides are made of, counting that
    ``f`` is evaluated as if at a point that is off by ``eps`` relatively.

    Parameters
    ----------
    majorant : Majorant or None
        None: the atom's own bound.
    fun : Objective or callable
        ``f``, ``(B, *shape) -> (B,)``. Where it is not finite it counts as undefined.
    x : Tensor
        Points at which the bound is taken, ``(B, *shape)``. More problems cost little.
    points, search_steps : int
        Random points per problem, and steps of each of the six searches.
    generator : torch.Generator, optional
        Of the random points. Default: the same points on every run.

    Raises
    ------
    LawViolation
        With the kind, the worst problem, the point, and by which factor the curvature is too small.
    TypeError
        Without a majorant, if `fun` is no atom; or if the majorant returns no bound.
    ValueError
        If nothing can be checked: no points, or none where ``f`` is finite.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> from learnmm import checks
    >>> atom = lmm.CosineDistance(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    >>> x = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    >>> checks.assert_majorant(None, atom, x)
    >>> checks.assert_majorant(lmm.majorants.LipschitzMajorant(1e-3), atom, x)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    learnmm.checks.laws.LawViolation: GLOBAL bound broken for problem 0: ...
    """
    objective = as_objective(fun)
    if majorant is None:
        if not isinstance(fun, Atom):
            raise TypeError(f"without a majorant an Atom is needed, got {type(fun).__name__}")
        majorant = fun.bound
    require_points(x)
    points, search_steps = integer("points", points, 1), integer("search_steps", search_steps, 0)
    x = x.clone()
    with torch.no_grad():
        with unmodified(x, f"the objective {type(objective).__name__}"):
            base = objective.evaluate(x)
        if not bool(torch.isfinite(base.value).all() & torch.isfinite(base.gradient).all()):
            raise ValueError("a bound is checked where f and its gradient are finite; here not")
        with unmodified((x, base.aux), f"the majorant {type(majorant).__name__}"):
            bound = majorant(x, base.aux)
        if not isinstance(bound, Bound):
            raise TypeError(f"a majorant must return a Bound, got {type(bound).__name__}")
        if bound.kind in (Kind.GLOBAL, Kind.REGION):
            if generator is None:
                generator = torch.Generator(x.device).manual_seed(0)
            Search(objective, x, base, bound).run(points, search_steps, generator)
        elif bound.kind in (Kind.POINTWISE, Kind.PROBABLE):
            _assert_pointwise(objective, x, bound)


def _assert_pointwise(objective: Objective, x: Tensor, bound: Bound) -> None:
    """``B - H(x)`` has no negative eigenvalue."""
    hessian = hessian_product(objective, x)
    law = f"{bound.kind.name} bound: B - H(x) is positive semidefinite"
    if x[0].numel() <= DENSE_UNKNOWNS:
        matrix, curvature = dense(hessian, x), dense(bound.curvature.apply, x)
        size = spectral_norm(matrix) + spectral_norm(curvature)
        least = torch.linalg.eigvalsh(curvature - (matrix + matrix.mT) / 2)[:, 0]
        require(-least, tolerance(x) * size, law)
        return
    # Ritz values lie inside the spectrum: a negative one proves a violation, none proves nothing.
    start = start_vector(x, torch.Generator(x.device).manual_seed(0))
    steps = min(LANCZOS_STEPS, x[0].numel())
    least, most = ritz_extremes(lambda v: bound.curvature.apply(v) - hessian(v), start, steps)
    require(-least, tolerance(x) * (most.abs() + bound.curvature.largest()), law)
