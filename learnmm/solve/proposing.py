"""Asking a proposer, once at every iterate, and measuring what it proposes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learnmm.curvature import Curvature, DiagonalCurvature
from learnmm.nested import mapped, select
from learnmm.precision import full_precision
from learnmm.proposers.base import Multipliers, Point, Proposer, Step
from learnmm.proximal import Penalty
from learnmm.solve.composite import Composite
from learnmm.solve.projection import Proposal, cut, multiplied_step, whole_step
from learnmm.solve.settings import SolveSettings
from learnmm.solve.state import State
from learnmm.truth import known


def check_parts(proposer: object, settings: object, penalty: object = None) -> None:
    """Raise unless these are a proposer, or None, settings, and a penalty that goes with it."""
    if not isinstance(proposer, Proposer | None):
        raise TypeError(f"proposer must be a Proposer or None, got {type(proposer).__name__}")
    if not isinstance(settings, SolveSettings):
        raise TypeError(f"settings must be SolveSettings, got {type(settings).__name__}")
    if not isinstance(penalty, Penalty | None):
        raise TypeError(f"penalty must be a Penalty or None, got {type(penalty).__name__}")
    if penalty is None or penalty.faces or proposer is None:
        return
    if not proposer.before_prox:
        raise ValueError(
            f"{type(penalty).__name__} has no faces on which a proposer could step: leave the "
            f"proposer out, or pass Extrapolated() or None, got {type(proposer).__name__}"
        )


def ask(
    proposer: Proposer,
    settings: SolveSettings,
    iterate: tuple[Tensor, Tensor, Tensor],
    curvature: Curvature,
    memory: Any,
    penalty: Penalty | None = None,
    reach: Tensor | None = None,
    seen: Any = None,
) -> tuple[Proposal, Any]:
    """Let a proposer observe an iterate and propose there.

    Parameters
    ----------
    proposer : Proposer
        It may write into what it is shown, and into its memory.
    settings : SolveSettings
        The interval of multipliers, and whether a safeguard will judge steps.
    iterate : tuple of Tensor
        The iterate and its gradient, ``(B, *shape)`` each, and its value, ``(B,)``.
    curvature : Curvature
        ``B`` of the majorant there, relaxed.
    memory : nested
        Of the iterates before; nobody else needs it.
    penalty : Penalty or None
        What is minimized beside the objective; it has faces, unless the proposer goes forward.
    reach : Tensor or None
        Longest whole step that will be tried, ``(B,)``: with a penalty one that is longer would
        bend elsewhere.
    seen : Any
        What the penalty remembers.

    Returns
    -------
    Proposal
        What to try, with its inner products.
    memory : nested
        With the iterate in it.

    Raises
    ------
    TypeError, ValueError
        If the proposal cannot be used, or does not go with the settings.
    """
    x, gradient, value = iterate
    at = None if penalty is None else Composite(penalty, x, gradient, curvature, seen)
    metric = DiagonalCurvature(at.weights) if at and proposer.before_prox else curvature
    shown = _copied(Point(x, gradient, metric, value.detach()))
    memory = proposer.observe(shown, memory)
    if at is None or proposer.before_prox:
        proposal = _measured(proposer, settings, shown, (gradient, metric), memory)
        with full_precision(x):
            return (proposal if at is None else at.ahead(proposal)).detached(), memory
    point = at.facing(value.detach())

    def heard() -> Proposal:
        shown, of = _copied(point), (point.gradient, curvature)
        return _within(reach, _measured(proposer, settings, shown, of, memory))

    proposal = heard()
    blocked = at.blocked(proposal.step, point)
    if known(blocked.any()) is not False:
        point = point.holding(blocked)
        proposal = heard()
    with full_precision(x):
        return at.proposed(proposal._replace(free=point.free)).detached(), memory


def _copied(point: Point) -> Point:
    """The same for somebody who may write into it."""
    return point._replace(
        x=point.x.clone(),
        gradient=point.gradient.clone(),
        curvature=point.curvature.scaled(1.0),
        value=None if point.value is None else point.value.clone(),
    )


def _measured(
    proposer: Proposer,
    settings: SolveSettings,
    shown: Point,
    of: tuple[Tensor, Curvature],
    memory: Any,
) -> Proposal:
    """What a proposer says at a point, with its products with this gradient and curvature."""
    gradient, curvature = of
    proposed = proposer.propose(shown, memory)
    name = type(proposer).__name__
    _check(proposed, name, gradient)
    with full_precision(gradient):
        if isinstance(proposed, Multipliers):
            proposal = multiplied_step(curvature, gradient, proposed, settings.projection)
        else:
            settings.check_whole_steps(name)
            verified = settings.safeguard is not None
            proposal = whole_step(curvature, gradient, proposed, verified=verified)
    return proposal.detached()


def _within(reach: Tensor | None, proposal: Proposal) -> Proposal:
    """A whole step no longer than the reach."""
    if reach is None:
        return proposal
    return cut(proposal, torch.where(proposal.bounded, torch.inf, reach))[0]


def ask_anew(
    proposer: Proposer | None,
    settings: SolveSettings,
    state: State,
    curvature: Curvature,
    penalty: Penalty | None = None,
) -> State:
    """Ask at the iterates where the proposer was not asked before; a retry calls no network."""
    new = state.running & ~state.asked
    if proposer is None or known(new.any()) is False:
        return state
    iterate = state.x, state.gradient, state.value
    memory = mapped(Tensor.clone, state.proposer_memory)
    proposal, memory = ask(
        proposer, settings, iterate, curvature, memory, penalty, state.reach, state.penalty_memory
    )
    # Who retries or has stopped keeps what it remembers, whatever its neighbours do.
    mask = None if known(new.all()) else new
    apart = None if proposer.remembers_points else mask
    owner = f"the memory of {type(proposer).__name__}"
    return state._replace(
        proposer_memory=select(apart, memory, state.proposer_memory, owner),
        proposal=select(mask, proposal, state.proposal),
        asked=state.asked | new,
    )


def _check(proposed: Any, name: str, x: Tensor) -> None:
    """Raise unless a proposal is one for iterates of this shape."""
    if not isinstance(proposed, Multipliers | Step):
        raise TypeError(f"{name} must propose Multipliers or a Step, got {type(proposed).__name__}")
    values = proposed.values
    if not (isinstance(values, Tensor) and values.is_floating_point()):
        what = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(f"{name} must propose a floating-point tensor, got {what}")
    shape, whose = tuple(x.shape), "the iterate's shape"
    if isinstance(proposed, Multipliers) and proposed.basis is not None:
        _check_basis(proposed.basis, name, x)
        shape, whose = (shape[0], proposed.basis.shape[1] + 1, *shape[2:]), "its basis' shape"
    if values.shape != shape:
        got = tuple(values.shape)
        raise ValueError(f"{name} must propose a tensor of {whose} {shape}, got {got}")


def _check_basis(basis: Any, name: str, x: Tensor) -> None:
    """Raise unless these are columns on the first dimension after the batch."""
    if isinstance(basis, Tensor) and basis.dim() == 2 and basis.shape[:1] == x.shape[1:2]:
        return
    got = tuple(basis.shape) if isinstance(basis, Tensor) else type(basis).__name__
    rows = ", ".join(map(str, x.shape[1:2]))
    raise ValueError(
        f"{name} must propose a basis of shape ({rows}, r) for iterates {tuple(x.shape)}, got {got}"
    )
