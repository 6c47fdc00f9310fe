"""Majorize-minimize steps where people expect a `torch.optim` optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from learnmm.closure import (
    SOURCES,
    Closure,
    ClosureMajorant,
    ClosureObjective,
    Source,
    flatten,
    unflatten,
)
from learnmm.curvature import dot, expand
from learnmm.majorants.hessian import LanczosMajorant
from learnmm.optimizer import ProjectedMMOptimizer
from learnmm.preconditioners.base import Point
from learnmm.preconditioners.limited_memory import LimitedMemory, Pairs, append
from learnmm.result import Certificate, Result, Status, StepInfo, Tally
from learnmm.safeguard import Relaxation, Safeguard
from learnmm.state import State

__all__ = ["ProjectedMM"]

HISTORY = 10
"""Pairs to keep unless told otherwise."""

SETTINGS = (
    "max_iter",
    "history",
    "curvature",
    "gtol",
    "safeguard",
    "relaxation",
    "check_deterministic",
    "last_step",
    "last_result",
    "_generator",
    "_lanczos",
)
"""What a copy needs beside what every optimizer of `torch.optim` copies."""

MEMORY = {"level", "reach", "relaxation", "tally", "generator", "pairs", "moving"}
"""What is kept between calls."""

NUMBERS = ("newest", "stretch")
"""Parts of `Pairs` that are kept as plain numbers."""


class ProjectedMM(torch.optim.Optimizer):
    """Steps that lower the loss, verified one by one, behind the interface of `torch.optim`.

    Like :class:`torch.optim.LBFGS` it needs ``step(closure)``. Every call evaluates the closure at
    the parameters, proposes a step of the length that the curvature allows, and shortens it until
    the loss has gone down; if no trial lowers it, the parameters are left as they were, bit by bit.

    Descent is verified **on the function that the closure computes during one call**. With a
    deterministic closure on all data that is the training loss, and the sequence of losses never
    rises. With a minibatch it is the loss of that minibatch: nothing is promised for the others,
    and the certificate counts minibatch by minibatch. A closure that draws at random (dropout, a
    fresh minibatch in every call) compares different functions; ``check_deterministic`` finds out.

    Parameters
    ----------
    params : iterable
        Parameters, parameter groups or named parameters, as everywhere in `torch.optim`: real,
        float32 or float64, all of one dtype on one device. Those without ``requires_grad`` stay.
    lr : float
        Factor on the step, in [0, 1]: 1 is the majorant's own step, and less is a shorter step
        under the same guarantee. Groups may have their own, schedulers may change it; 0 freezes.
    max_iter : int
        Steps per call, each one more evaluation. `LBFGS` takes 20; one is right for minibatches.
    history : int, optional
        Pairs of steps and changes of gradient from which L-BFGS steps are made (see
        :class:`~learnmm.LimitedMemory`); each costs two copies of the parameters. They are taken
        within a call, so those of minibatches compare one loss with itself. 0: the majorant's own
        steps. Default: 10, or 0 where `curvature` is named.
    curvature : {"auto", "hessian", "secant"}
        "hessian": Lanczos on Hessian-vector products, a `PROBABLE` bound; some 15 products a step,
        each worth two gradients, and as many copies of the parameters. The closure must return the
        loss without calling ``backward``. "secant": an `ESTIMATE` from the gradients before and
        after the last step, at no cost. "auto": "secant" with a `history` and for closures that
        call ``backward``, otherwise "hessian". With a history it serves the first step, and where
        all others are refused.
    gtol : float
        Make no step where the largest absolute gradient entry is at most this.
    safeguard : Safeguard
        How steps are verified.
    relaxation : Relaxation or None
        Adaptive factor on the bound of "hessian"; None takes the steps that the bound allows.
    generator : torch.Generator, optional
        Of the start vectors of Lanczos. Default: one of its own, seeded with 0.
    check_deterministic : bool
        Evaluate the closure twice at the start of every call, and raise if the losses differ by
        more than rounding.

    Attributes
    ----------
    last_step : StepInfo or None
        Record of the last trial, shapes ``(1,)``.
    last_result : Result or None
        Loss, gradient and status after the last call, with the certificate of all calls so far.

    Raises
    ------
    TypeError, ValueError
        For parameters and settings that cannot work, naming what came and what was expected.

    Notes
    -----
    The closure may call ``backward`` or not, with or without ``zero_grad``: gradients are cleared
    before each of its calls, so several ``backward`` in one call add up. Afterwards ``.grad`` is
    the gradient at the new parameters. A closure that raises leaves the parameters as they were.
    Weight decay belongs in the loss, where it is verified with the rest. What can be differentiated
    just once hides its curvature from "hessian": descent holds, the bound's probability may not.

    ``state_dict`` holds all that a run has learned, the certificate included; a run resumed from
    it, with the same settings, takes the same steps.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> x = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    >>> optimizer = lmm.optim.ProjectedMM([x])
    >>> losses = []
    >>> for _ in range(30):
    ...     loss = optimizer.step(lambda: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)
    ...     losses.append(float(loss))
    >>> losses == sorted(losses, reverse=True)
    True
    >>> bool(optimizer.last_result.certificate.monotone)
    True
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]],
        lr: float | Tensor = 1.0,
        *,
        max_iter: int = 1,
        history: int | None = None,
        curvature: Source = "auto",
        gtol: float = 0.0,
        safeguard: Safeguard = Safeguard(),  # noqa: B008 - frozen
        relaxation: Relaxation | None = Relaxation(),  # noqa: B008 - frozen
        generator: torch.Generator | None = None,
        check_deterministic: bool = False,
    ) -> None:
        if curvature not in SOURCES:
            raise ValueError(f"curvature must be one of {SOURCES}, got {curvature!r}")
        if not isinstance(safeguard, Safeguard):
            raise TypeError(f"safeguard must be a Safeguard, got {safeguard!r}")
        if history is None:
            history = HISTORY if curvature == "auto" else 0
        if not (isinstance(history, int) and history >= 0):
            raise ValueError(f"history must be an integer of at least 0, got {history!r}")
        # The loop checks the rest of the settings it is given.
        ProjectedMMOptimizer(torch.sum, relaxation=relaxation, max_iter=max_iter, gtol=gtol)
        self.max_iter = max_iter
        self.history = history
        self.curvature: Source = "secant" if history and curvature == "auto" else curvature
        self.gtol = gtol
        self.safeguard = safeguard
        self.relaxation = relaxation
        self.check_deterministic = check_deterministic
        self._generator = generator or torch.Generator().manual_seed(0)
        # Only its settings are used: a closure has Hessian-vector products of its own.
        self._lanczos = LanczosMajorant(torch.sum, generator=self._generator)
        self.last_step: StepInfo | None = None
        self.last_result: Result | None = None
        super().__init__(params, {"lr": lr})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with a learning rate of their own.

        Parameters
        ----------
        param_group : dict
            ``{"params": ..., "lr": ...}``.

        Raises
        ------
        TypeError, ValueError
            If they do not fit those that are there, or the group asks for what would change the
            loss behind the closure's back.
        """
        for option in ("weight_decay", "maximize"):
            if param_group.get(option):
                raise ValueError(
                    f"ProjectedMM has no {option}: put it in the loss that the closure returns, "
                    "where it is verified with the rest"
                )
        super().add_param_group(param_group)
        try:
            self._sorted_parameters()
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from what :meth:`state_dict` returned, the random start vectors included.

        Raises
        ------
        ValueError
            If it comes from another optimizer, or from other parameter groups.
        """
        foreign = {name for entry in state_dict["state"].values() for name in entry} - MEMORY
        if foreign:
            raise ValueError(
                "the state_dict is that of another optimizer: ProjectedMM keeps no "
                f"{', '.join(sorted(foreign))}"
            )
        for entry in state_dict["state"].values():
            kept = entry["pairs"]["products"].shape[1] if "pairs" in entry else 0
            if "level" in entry and kept != self.history:
                raise ValueError(
                    f"the state_dict is that of a run with history={kept}, this optimizer has "
                    f"history={self.history}"
                )
        super().load_state_dict(state_dict)
        self.last_step = self.last_result = None
        saved = self._memory().get("generator")
        if saved is not None:
            self._generator.set_state(torch.frombuffer(bytearray(saved), dtype=torch.uint8))

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold; `torch.optim.Optimizer` leaves settings out."""
        return super().__getstate__() | {name: getattr(self, name) for name in SETTINGS}

    def step(self, closure: Closure | None = None) -> Tensor:  # type: ignore[override]
        """Lower the loss, or leave the parameters alone.

        Parameters
        ----------
        closure : callable
            Computes the loss from the parameters and returns it, ``() -> ()``; it may call
            ``backward``. It is called at least twice.

        Returns
        -------
        Tensor
            The loss before the step, as `LBFGS` returns it, detached.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            For a closure or parameters that cannot be used; the parameters are left as they were.
        """
        if not callable(closure):
            raise TypeError(
                "ProjectedMM.step needs a closure that returns the loss, as LBFGS does, got "
                f"{type(closure).__name__}"
            )
        moving, others = self._sorted_parameters()
        if not moving:
            with torch.enable_grad():
                return closure().detach()
        parameters = list(moving)
        objective = ClosureObjective(closure, parameters, others, self.curvature)
        with torch.no_grad():
            x = flatten(parameters)
            if not bool(torch.isfinite(x).all()):
                raise ValueError("the parameters have NaN or infinite entries")
            rates = flatten([torch.full_like(p, rate) for p, rate in moving.items()])
            try:
                start, end = self._run(objective, x, rates)
            except BaseException:
                objective.write(x)
                raise
            objective.write(end.x)
            for p, gradient in zip(parameters, unflatten(end.gradient, parameters), strict=True):
                p.grad = gradient.clone()
        return start.value[0]

    def _run(self, objective: ClosureObjective, x: Tensor, rates: Tensor) -> tuple[State, State]:
        """Take the steps of one call; return the states before and after them."""
        memory = self._memory()
        varied = {id(p) for p in objective.parameters}
        moving = [id(p) in varied for group in self.param_groups for p in group["params"]]
        if memory.get("moving", moving) != moving:
            memory.pop("pairs", None)  # of other unknowns
        majorant = ClosureMajorant(objective, rates, memory.get("level"), self._lanczos)
        solver = ProjectedMMOptimizer(
            objective,
            majorant=majorant,
            preconditioner=Rated(self.history, rates) if self.history else None,
            safeguard=self.safeguard,
            gtol=self.gtol,
            check_deterministic=self.check_deterministic,
        )
        start = state = _resumed(solver.init(x, strict=False), memory)
        info = None
        for remaining in reversed(range(self.max_iter)):
            objective.record = self.curvature != "secant" and remaining > 0
            solver.relaxation = self._relaxation(state.gradient, rates)
            before = state
            while _undecided(state, before):
                state, info = solver.step(state)
            if _accepted(state, before):
                majorant.observe(before.x, before.gradient, state.x, state.gradient)
        if self.history:
            memory["pairs"] = _stored(append(state.memory, state.x, state.gradient))
        memory.update(
            level=majorant.level,
            reach=state.reach.item(),
            relaxation=state.relaxation.item(),
            tally={name: total.item() for name, total in state.tally._asdict().items()},
            generator=bytes(self._generator.get_state().tolist()),
            moving=moving,
        )
        self.last_step = info
        self.last_result = _result(start, state)
        return start, state

    def _relaxation(self, gradient: Tensor, rates: Tensor) -> Relaxation | None:
        """Relaxation that measures curvature apart from the rates.

        It compares the curvature along ``d`` with ``<d, B d>``, which the rates ``R`` have raised
        by ``<d, R^-1 d> / |d|^2``, ``= <g, R g> / <g, R^2 g>`` for a step ``d`` along ``R g``.
        """
        if self.relaxation is None:
            return None
        shorter = rates * gradient
        raised = float(dot(gradient, shorter) / dot(shorter, shorter))
        if not 0 < raised < math.inf:
            return self.relaxation
        return replace(self.relaxation, margin=self.relaxation.margin * raised)

    def _memory(self) -> dict[str, Any]:
        """What is kept between calls, with the first parameter as `LBFGS` does: plain numbers,
        since loading would cast tensors to the dtype of the parameter.
        """
        memory: dict[str, Any] = self.state[self.param_groups[0]["params"][0]]
        return memory

    def _sorted_parameters(self) -> tuple[dict[Tensor, float], list[Tensor]]:
        """Parameters to move with their rates, and those that stay; checked."""
        moving: dict[Tensor, float] = {}
        others: list[Tensor] = []
        for group in self.param_groups:
            rate = _number(group["lr"])
            if not 0 <= rate <= 1:
                raise ValueError(
                    f"lr is a factor on the step and must be in [0, 1], got {rate}: a longer step "
                    "than the curvature allows has no guarantee"
                )
            for p in group["params"]:
                if rate > 0 and p.requires_grad:
                    moving[p] = rate
                else:
                    others.append(p)
        for p in (*moving, *others):
            if p.layout != torch.strided:
                raise TypeError(f"parameters must be dense, got {p.layout}")
        kinds = {(p.dtype, p.device) for p in (*moving, *others)}
        for dtype, _ in kinds:
            if dtype not in (torch.float32, torch.float64):
                raise TypeError(f"parameters must be float32 or float64, got {dtype}")
        if len(kinds) > 1:
            found = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise ValueError(f"parameters must share one dtype and one device, got {found}")
        return moving, others


class Rated(LimitedMemory):
    """Limited-memory steps under learning rates.

    The metric of the majorant has the rates in it. With pairs, ``H`` is scaled to the curvature
    they have seen and knows only the ratios of the rates, so the largest becomes a factor.
    """

    def __init__(self, history: int, rates: Tensor) -> None:
        super().__init__(history)
        self.rate = rates.amax()

    def forward(self, point: Point, state: Pairs) -> tuple[Tensor, Pairs]:
        """Scale the step."""
        step, pairs = super().forward(point, state)
        seen = (pairs.products > 0).any(1)
        return expand(torch.where(seen, self.rate, 1.0), step) * step, pairs


def _number(lr: Any) -> float:
    try:
        return float(lr)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"lr must be a number, got {lr!r}") from error


def _undecided(state: State, before: State) -> bool:
    return not _accepted(state, before) and bool(state.status == int(Status.RUNNING))


def _accepted(state: State, before: State) -> bool:
    return bool(state.tally.accepted > before.tally.accepted)


def _resumed(state: State, memory: dict[str, Any]) -> State:
    """Carry the relaxation, the totals and the pairs of earlier calls on."""
    if "tally" not in memory:
        return state
    totals = Tally(
        **{
            name: torch.full_like(total, memory["tally"].get(name, 0))
            for name, total in state.tally._asdict().items()
        }
    )
    relaxation = torch.full_like(state.relaxation, memory["relaxation"])
    reach = torch.full_like(state.reach, memory.get("reach", math.inf))
    state = state._replace(reach=reach, relaxation=relaxation, tally=totals)
    stored = memory.get("pairs")
    if stored is None:
        return state
    numbers = {name: torch.full_like(getattr(state.memory, name), stored[name]) for name in NUMBERS}
    # The pair to come starts here: between two calls the loss may have become another function.
    pairs = Pairs(x=state.x, gradient=state.gradient, **(stored | numbers))
    return state._replace(memory=pairs)


def _stored(pairs: Pairs) -> dict[str, Any]:
    """What a call leaves to the next; numbers as such, since loading casts every tensor."""
    kept = {name: part for name, part in pairs._asdict().items() if name not in ("x", "gradient")}
    return kept | {name: getattr(pairs, name).item() for name in NUMBERS}


def _result(start: State, end: State) -> Result:
    return Result(
        x=end.x[0],
        fun=end.value[0],
        gradient=end.gradient[0],
        status=end.status[0],
        iterations=end.tally.iterations[0],
        certificate=Certificate.of(end.tally, safeguarded=True, projected=True),
        history=None,
        initial_fun=start.value[0],
    )
