"""All entries of the comparison, one line each: a solver added here is measured and tabulated."""

from __future__ import annotations

from . import (
    learnmm_solvers,
    qmm_solvers,
    scipy_solvers,
    torch_solvers,
    torchmin_solvers,
)
from .base import Solver

BASELINE = "torch LBFGS, strong Wolfe"

SOLVERS: tuple[Solver, ...] = (
    Solver("learnmm minimize", learnmm_solvers.minimize(), batched=True, ours=True),
    Solver("learnmm minimize, compiled", learnmm_solvers.compiled, batched=True, ours=True),
    Solver(
        "learnmm minimize, own steps",
        learnmm_solvers.minimize(proposer=None),
        batched=True,
        ours=True,
    ),
    Solver("learnmm ProjectedMM", learnmm_solvers.projected_mm(), ours=True),
    *(
        Solver(
            f"learnmm ProjectedMM, {curvature}",
            learnmm_solvers.projected_mm(curvature=curvature),
            ours=True,
        )
        for curvature in ("hessian", "secant")
    ),
    Solver(BASELINE, torch_solvers.lbfgs),
    Solver("torch Adam, lr 0.1", torch_solvers.adam(0.1)),
    Solver("torch Adam, lr 0.01", torch_solvers.adam(0.01)),
    Solver("torchmin l-bfgs", torchmin_solvers.method("l-bfgs")),
    Solver("torchmin newton-cg", torchmin_solvers.method("newton-cg")),
    Solver("torchmin trust-ncg", torchmin_solvers.method("trust-ncg")),
    Solver("SciPy L-BFGS-B", scipy_solvers.lbfgsb),
    Solver("qmm mmmg", qmm_solvers.mmmg, suits=qmm_solvers.suits),
)

IN_BATCHES = (*(solver.name for solver in SOLVERS if solver.batched), BASELINE, "SciPy L-BFGS-B")
"""Entries of the comparison of batches; those that are not batched go from problem to problem."""
