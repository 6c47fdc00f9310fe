"""A candidate's step: what a component proposes, made safe to try."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learnmm.curvature import Curvature, dot, expand
from learnmm.nested import mapped
from learnmm.proposers.base import (
    Direction,
    Features,
    LearnedComponent,
    LearnedDirection,
    LearnedPreconditioner,
    Point,
    rms,
    scale_free,
)
from learnmm.solve.projection import Projection, Proposal, given_step, own_step, scaled_step
from learnmm.solve.state import State

Component = LearnedComponent | Direction


def propose(
    component: Component | None,
    state: State,
    curvature: Curvature,
    learned: Tensor,
    *,
    projection: Projection | None,
    verified: bool,
) -> tuple[Proposal, Any, Tensor]:
    """Ask for a step.

    Parameters
    ----------
    component : LearnedComponent, Direction or None
        What proposes. None: the majorant's own step.
    state : State
        Where the problems stand.
    curvature : Curvature
        ``B`` of the majorant, relaxed and enlarged.
    learned : Tensor of bool
        Whose turn it is, ``(B,)``: True for the component, False for the majorant's own step.
    projection : Projection or None
        Interval for multipliers.
    verified : bool
        Whether a safeguard will judge the step.

    Returns
    -------
    Proposal
        The step and its inner products.
    memory : Any
        The component's next memory.
    clipped : Tensor
        Share of multipliers that the projection changed, ``(B,)``.
    """
    none = torch.zeros_like(state.value)
    if component is None:
        with full_precision(state.x):
            return own_step(curvature, state.gradient), None, none
    if isinstance(component, Direction):
        with full_precision(state.x):
            # Copies, that may be written to; of its memory it has the only use.
            point = Point(state.x.clone(), state.gradient.clone(), curvature.scaled(1.0))
            proposed, memory = _ask(component, point, state.memory, state)
            return _whole(state, curvature, learned, proposed, verified), memory, none
    features = Features(scale_free(state.x), scale_free(state.gradient))
    # A copy: the memory must be as it was where the proposal is refused.
    proposed, memory = _ask(component, features, mapped(Tensor.clone, state.memory), state)
    with full_precision(state.x):
        if isinstance(component, LearnedDirection):
            step = expand(rms(state.x), proposed) * proposed
            return _whole(state, curvature, learned, step, verified), memory, none
        multipliers = proposed if projection is None else projection(proposed)
        changed = (multipliers != proposed).reshape(len(proposed), -1)
        clipped = torch.where(learned, changed.to(proposed.dtype).mean(1), 0.0)
        multipliers = torch.where(expand(learned, proposed), multipliers, 1.0)
        scaled = scaled_step(curvature, state.gradient, multipliers, _basis(component))
        return scaled, memory, clipped


def trials(component: Component | None) -> int:
    """Candidates that a component has at an iterate before the majorant's own step."""
    if isinstance(component, Direction):
        return component.trials
    return 0 if component is None else 1


def full_precision(x: Tensor) -> torch.autocast:
    """Switch autocast off: what decides about descent is computed in the dtype of ``x``."""
    return torch.autocast(x.device.type, enabled=False)


def _whole(
    state: State, curvature: Curvature, learned: Tensor, proposed: Tensor, verified: bool
) -> Proposal:
    """Return a whole step, and the majorant's own where the safeguard asked for it."""
    slope = dot(state.gradient, proposed)
    if not verified:  # nothing is ever refused
        none = torch.zeros_like(state.value)
        return given_step(curvature, state.gradient, proposed, none, slope)
    own = own_step(curvature, state.gradient)
    step = expand(state.shortening, proposed) * proposed
    step = torch.where(expand(learned, step), step, own.step)
    return given_step(curvature, state.gradient, step, own.slope, slope)


def _ask(
    component: Component, seen: Features | Point, memory: Any, state: State
) -> tuple[Tensor, Any]:
    """Return a component's proposal in the dtype of the iterate, and its next memory."""
    name = type(component).__name__
    returned = component(seen, memory)
    if not (isinstance(returned, tuple) and len(returned) == 2):
        raise TypeError(f"{name} must return (proposal, memory), got {type(returned).__name__}")
    proposed, memory = returned
    if not (isinstance(proposed, Tensor) and proposed.is_floating_point()):
        what = proposed.dtype if isinstance(proposed, Tensor) else type(proposed).__name__
        raise TypeError(f"{name} must propose a floating-point tensor, got {what}")
    shape, basis = tuple(state.x.shape), _basis(component)
    if basis is not None:
        shape = (shape[0], basis.shape[1] + 1, *shape[2:])
    if proposed.shape != shape:
        what = "the iterate's shape" if basis is None else "its basis' shape"
        raise ValueError(
            f"{name} must propose a tensor of {what} {shape}, got {tuple(proposed.shape)}"
        )
    return proposed.to(state.x.dtype), memory


def _basis(component: Component) -> Tensor | None:
    return component.basis() if isinstance(component, LearnedPreconditioner) else None
