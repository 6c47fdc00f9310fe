"""One problem larger than one machine: every process steps with its part of the unknowns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from learnmm.majorants.hessian import HessianMajorant
from learnmm.objective import CallableObjective
from learnmm.proposers.bfgs import BFGS
from learnmm.proposers.limited_memory import LimitedMemory
from learnmm.shards import Shards, everywhere, over_all
from learnmm.solve.result import Result

if TYPE_CHECKING:
    from learnmm.solve.optimizer import ProjectedMMOptimizer


def minimize_in_parts(solver: ProjectedMMOptimizer, x0: Any, **options: Any) -> Result:
    """See :meth:`ProjectedMMOptimizer.minimize`, for a `DTensor`.

    Parameters
    ----------
    solver : ProjectedMMOptimizer
        Its objective is a function of the whole `DTensor`.
    x0 : DTensor
        Start, sharded along unknowns.
    **options
        Of `minimize`.

    Raises
    ------
    TypeError, ValueError
        On every process, for what cannot be taken in parts.
    """
    shards, part = Shards(x0), x0.to_local()
    objective = solver.objective
    if not isinstance(objective, CallableObjective):
        raise TypeError(
            "unknowns of several processes need a function of the whole DTensor, got "
            f"{type(objective).__name__}"
        )
    _check_steps(solver)
    if options.get("compiled"):
        raise ValueError("unknowns of several processes cannot be compiled: leave compiled out")
    with over_all(shards.group):
        if not bool(everywhere(torch.isfinite(part).all())):
            raise ValueError("x0 has NaN or infinite entries")
        ours = CallableObjective(shards.function(objective.fun))
        proposer = solver.proposer
        if isinstance(proposer, BFGS):  # a matrix needs all unknowns in one process
            proposer = proposer.many
        result = solver.with_parts(ours, solver._given_majorant, proposer, None).minimize(
            part, **options
        )
    whole = {name: shards.together(getattr(result, name)) for name in ("x", "gradient")}
    return replace(result, **whole)


def _check_steps(solver: ProjectedMMOptimizer) -> None:
    """Raise unless steps are made of sums over unknowns."""
    proposer, majorant = solver.proposer, solver._given_majorant
    if solver.penalty is not None:
        raise TypeError(
            "unknowns of several processes take no bounds or penalty, got "
            f"{type(solver.penalty).__name__}"
        )
    summed = type(proposer) is BFGS or (type(proposer) is LimitedMemory and proposer.metric is None)
    if not (proposer is None or summed):
        raise TypeError(
            "unknowns of several processes are moved by LimitedMemory() or, with proposer=None, by "
            f"the majorant's own steps, got {type(proposer).__name__}"
        )
    if isinstance(majorant or solver.majorant, HessianMajorant) or (
        majorant is None and proposer is None
    ):
        raise TypeError(
            "bounds from Hessian-vector products need all unknowns in one process: give a majorant "
            "such as majorants.LipschitzMajorant, or leave proposer out"
        )
