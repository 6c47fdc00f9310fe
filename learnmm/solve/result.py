"""The outcome of a minimization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learnmm.nested import parts_of
from learnmm.solve.certificate import REFUSED_HINT, Certificate
from learnmm.solve.record import StepInfo
from learnmm.solve.status import Status


@dataclass(frozen=True)
class Result:
    """Outcome of a minimization.

    Attributes
    ----------
    x : Tensor
        Final iterates, the shape of ``x0``; always finite.
    fun : Tensor
        Objective there, with its penalty: ``(B,)`` for a batch, ``()`` for one problem.
    gradient : Tensor
        Gradient there, the shape of ``x0``; with a penalty, that of the objective alone.
    gradient_norm : Tensor
        Largest absolute entry of what must vanish, ``(B,)`` or ``()``: of the gradient, or with a
        penalty of `Penalty.residual`, in which a gradient that points out of the bounds counts for
        nothing.
    status : Tensor of int
        A :class:`Status` code per problem (``()`` for one problem).
    iterations : Tensor of int
        Steps tried per problem until it stopped; one evaluation of value and gradient each.
    certificate : Certificate
        What was promised and what happened; shapes ``(B,)``.
    history : StepInfo or None
        Every step's record stacked to ``(iterations, B)``, if asked for.
    initial_fun : Tensor
        Objective at ``x0``.
    raised : Mapping
        By the number of a problem, the exception that the objective raised at its last candidate;
        empty where it raised none.
    aux : Any
        What a function with ``has_aux=True`` returned beside its value at `x`.
    compile_seconds : float
        What ``compiled="loop"`` took to make its graph; 0 otherwise, and where there was one.

    Notes
    -----
    Where unknowns are a tree, `x` and `gradient` are one like it; where they are arrays of NumPy,
    so is everything here but the certificate.
    """

    x: Tensor
    fun: Tensor
    gradient: Tensor
    gradient_norm: Tensor
    status: Tensor
    iterations: Tensor
    certificate: Certificate
    history: StepInfo | None
    initial_fun: Tensor
    raised: Mapping[int, str] = field(default_factory=dict)
    aux: Any = None
    compile_seconds: float = 0.0

    @property
    def success(self) -> Tensor:
        """Whether each problem reached a tolerance or the precision of its dtype."""
        good = [code for code in Status if code.success]
        codes = self._codes
        found = torch.isin(codes, torch.tensor(good, device=codes.device))
        return found if isinstance(self.status, Tensor) else found.numpy()

    @property
    def _codes(self) -> Tensor:
        return torch.as_tensor(self.status)

    def message(self, problem: int = 0) -> str:
        """Return why a problem stopped, what its objective raised, and a hint to misuse."""
        status = Status(int(self._codes.reshape(-1)[problem]))
        sentences = [status.message]
        if status.success and int(self.iterations.reshape(-1)[problem]) == 0:
            sentences.insert(0, "No step was needed.")
        raised = self.raised.get(problem % self._codes.numel())
        if raised is not None and not status.success:
            sentences.append(f"At the last candidate the objective raised {raised}")
        if bool(self.certificate.mostly_refused[problem]):
            sentences.append(REFUSED_HINT)
        return " ".join(sentences)

    def __str__(self) -> str:
        """A line for each status, what became of the objective, and the certificate."""
        codes, first = self._codes.reshape(-1), self._codes.dim()
        shapes = ", ".join(str(tuple(part.shape[first:])) for part in _parts(self.x))
        lines = [
            f"{_counted(codes.numel(), 'problem')} of shape {shapes}",
            *(
                f"  {here} {status.name}: {status.message}"
                for status in Status
                if (here := int((codes == status).sum()))
            ),
            f"objective {_span(self.fun)}, from {_span(self.initial_fun)} at the start",
            f"largest gradient entry {_span(self.gradient_norm)}",
            f"iterations {_span(self.iterations)}",
            str(self.certificate),
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        """What `str` says, for sessions that print what they are given."""
        return f"<Result: {self}>"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _span(values: Tensor) -> str:
    """Least and largest of some numbers, or the only one."""
    least, most = (f"{float(end):.6g}" for end in (values.min(), values.max()))
    return least if least == most else f"{least} to {most}"


def _parts(tree: Any) -> list[Tensor]:
    """Tensors of unknowns, of whatever kind."""
    if isinstance(tree, Tensor | np.ndarray | np.generic):
        return [torch.as_tensor(tree)]
    return [part for branch in (parts_of(tree) or {}).values() for part in _parts(branch)]
