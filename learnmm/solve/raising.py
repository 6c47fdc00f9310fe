"""Exceptions that an objective raises at a candidate: numerical ones refuse it, per problem."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from learnmm.objective import Evaluation
from learnmm.vectors import expand

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMERICAL = (ArithmeticError, ValueError, RuntimeError)
"""What libraries raise where numbers fail them.

`torch.linalg.LinAlgError` and the ``NotPSDError`` of Gaussian processes are `RuntimeError`, the
`LinAlgError` of NumPy, the argument checks of `torch.distributions` and ``math.log(-1)`` are
`ValueError`, division by zero and overflow are `ArithmeticError`. The same classes tell of
misuse, but the same function with the same shapes has worked at ``x0``.
"""

OTHERWISE = (
    NotImplementedError,
    RecursionError,
    UnicodeError,
    torch.OutOfMemoryError,
    *(
        getattr(owner, name)
        for owner, name in ((torch, "AcceleratorError"), (torch.distributed, "DistError"))
        if hasattr(owner, name)  # by version and build of torch
    ),
)
"""Derived from those, and about programs and machines."""

_Raised = dict[int, str]
_raised: ContextVar[_Raised | None] = ContextVar("raised", default=None)


def is_numerical(error: BaseException) -> bool:
    """Whether an exception at a candidate counts as a refused candidate.

    Parameters
    ----------
    error : BaseException
        What came out of the objective.

    Examples
    --------
    >>> is_numerical(torch.linalg.LinAlgError()), is_numerical(TypeError())
    (True, False)
    """
    compiler = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
    return isinstance(error, NUMERICAL) and not isinstance(error, OTHERWISE) and not compiler


def evaluate_candidates(
    evaluate: Callable[[Tensor], Evaluation],
    candidate: Tensor,
    x: Tensor,
    known: Evaluation,
    running: Tensor,
) -> Evaluation:
    """Evaluate a batch of candidates; those that raise have value and gradient NaN.

    A batch that raises is halved until it is known who did: problems that are not asked about stay
    at their iterate, where the objective has worked, so it always sees the whole batch. Finding
    ``k`` of ``B`` costs about ``2 k log2(B)`` evaluations.

    Parameters
    ----------
    evaluate : callable
        ``x -> Evaluation`` for the whole batch.
    candidate, x : Tensor
        Candidates and iterates, ``(B, *shape)``.
    known : Evaluation
        At the iterates.
    running : Tensor of bool
        Whose candidates matter, ``(B,)``.
    """
    raised: _Raised = {}
    try:
        evaluation = evaluate(candidate)
    except Exception as error:
        if not is_numerical(error):
            raise
        evaluation = _apart(evaluate, candidate, x, known, running, error, raised)
    _report(raised, running)
    return evaluation


def _apart(
    evaluate: Callable[[Tensor], Evaluation],
    candidate: Tensor,
    x: Tensor,
    known: Evaluation,
    running: Tensor,
    error: Exception,
    raised: _Raised,
) -> Evaluation:
    batch = len(x)

    def trying(rows: list[int]) -> tuple[Evaluation | None, Exception | None]:
        mask = torch.zeros(batch, dtype=torch.bool, device=x.device)
        mask[rows] = True
        try:
            return evaluate(torch.where(expand(mask, x), candidate, x)), None
        except Exception as raised_now:
            if not is_numerical(raised_now):
                raise
            return None, raised_now

    def search(rows: list[int], error: Exception | None) -> None:
        """Tell who raises among some who do, if `error` says so, or who are yet to be tried."""
        if error is None:
            _, error = trying(rows)
        if error is None:
            return
        if len(rows) == 1:
            raised[rows[0]] = _text(error)
            return
        half = len(rows) // 2
        search(rows[:half], None)
        search(rows[half:], None)

    asked = _where(running)
    if asked:
        search(asked, error if len(asked) == batch else None)
    good = [row for row in asked if row not in raised]
    evaluation, together = trying(good) if good else (None, None)
    if evaluation is None:  # nobody is left, or they raise together only
        text = "" if together is None else _text(together)
        raised.update(dict.fromkeys(good, text))
        good, evaluation = [], known
    value, gradient, aux = evaluation
    bad = torch.ones(batch, dtype=torch.bool, device=x.device)
    bad[good] = False
    return Evaluation(
        value.masked_fill(bad, torch.nan),
        gradient.masked_fill(expand(bad, gradient), torch.nan),
        aux,
    )


def _text(error: Exception) -> str:
    return f"{type(error).__name__.lstrip('_')}: {error}"


def _where(mask: Tensor) -> list[int]:
    """Numbers of the problems for which a mask holds; all of them where `vmap` hides it."""
    try:
        rows: list[int] = mask.nonzero().flatten().tolist()
    except RuntimeError:
        return list(range(len(mask)))
    return rows


@contextmanager
def reported() -> Iterator[_Raised]:
    """Collect, per problem, what its last candidate raised, if it did."""
    raised: _Raised = {}
    token = _raised.set(raised)
    try:
        yield raised
    finally:
        _raised.reset(token)


def _report(raised: _Raised, running: Tensor) -> None:
    notes = _raised.get()
    if notes:  # of those who have stopped the last candidate stays the last
        for row in _where(running):
            notes.pop(row, None)
    if notes is not None:
        notes.update(raised)
