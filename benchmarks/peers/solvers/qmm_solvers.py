"""The memory gradient of qmm, on the problems that it can express.

Its objectives are sums of ``mu sum_i phi((V x - w)_i)`` with ``phi`` even and ``phi(sqrt .)``
concave: what our atoms `Quadratic` and `HalfQuadratic` say after a linear map.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import qmm

import learnmm as lmm
from learnmm.atoms import Atom, Composed, Scaled, Sum

from ..recorder import Recorder
from ..suite import Case

Term = tuple[float, Any, lmm.linear.MatrixMap, np.ndarray]


def terms(objective: Any, weight: float = 1.0) -> list[Term] | None:
    """Weight, loss, map and data of every term for a batch of one; None if qmm has no such loss."""
    if isinstance(objective, Sum):
        parts = [terms(part, weight) for part in objective.parts]
        return None if any(p is None for p in parts) else [term for p in parts for term in p]
    if isinstance(objective, Scaled):
        return terms(objective.atom, weight * float(objective.weight))
    if not isinstance(objective, Composed):
        return None
    found = _loss(objective.atom)
    if found is None:
        return None
    factor, loss = found
    return [(weight * factor, loss, objective.linear, objective.atom.target[0].numpy())]


def _loss(atom: Atom) -> tuple[float, Any] | None:
    """Factor and loss of qmm that make up an atom."""
    if isinstance(atom, lmm.Quadratic) and atom.weight.numel() == 1:
        return float(atom.weight), qmm.Square()
    if not isinstance(atom, lmm.HalfQuadratic):
        return None
    s = atom.scale
    losses = {
        "huber": lambda: (1.0, qmm.Huber(s)),
        "hyperbolic": lambda: (1.0, qmm.Hyperbolic(s)),
        "cauchy": lambda: (s**2 / 2, qmm.HebertLeahy(s)),
        "geman_mcclure": lambda: (s**2 / 2, qmm.GemanMcClure(s / 2**0.5)),
    }
    return losses[atom.loss]() if atom.loss in losses else None


def suits(case: Case) -> bool:
    """Whether every term can be translated."""
    return terms(case.objective) is not None


def mmmg(case: Case, recorder: Recorder) -> None:
    """Majorize-minimize memory gradient (Chouzenoux, Idier & Moussaoui 2011)."""
    with recorder.paused():
        objectives = _objectives(case, recorder)
        value = sum(part.value(case.x0[0].numpy()) for part in objectives)
        ours = case.fun(case.x0[0]).item()
        if not np.isclose(value, ours, rtol=1e-10, atol=0):
            raise ValueError(f"{case.name} as qmm sees it is {value} at x0, not {ours}")

    def note(result: Any) -> None:
        with recorder.paused():
            now = case.fun(case.x0.new_tensor(result.x).reshape(case.x0[0].shape)).item()
        recorder.iterate(now)

    # It moves on before it evaluates where it arrived; others are charged on arrival.
    recorder.evaluated()
    qmm.mmmg(objectives, case.x0[0].numpy(), tol=0.0, max_iter=10**9, callback=note)


def _objectives(case: Case, recorder: Recorder) -> list[Any]:
    """Terms of qmm; the first counts gradients, each of which applies its adjoint once."""
    objectives = []
    for k, (weight, loss, linear, data) in enumerate(terms(case.objective)):
        matrix = linear.matrix.to_dense().numpy()

        def adjoint(e: np.ndarray, matrix: np.ndarray = matrix, first: bool = k == 0) -> np.ndarray:
            if first:
                recorder.evaluated()
            return matrix.T @ e

        objectives.append(
            qmm.Objective(lambda x, m=matrix: m @ x, adjoint, loss, data=data, hyper=weight)
        )
    return objectives
