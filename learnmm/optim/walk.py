"""The steps of one call, each decided by the loop on the plane of what can be tried."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from learnmm.bound import Bound
from learnmm.curvature import Curvature, DiagonalCurvature
from learnmm.optim.closure import ClosureMajorant, ClosureObjective
from learnmm.optim.hints import Hints
from learnmm.optim.plane import Along, Plane, inner
from learnmm.optim.ring import Ring
from learnmm.optim.surroundings import Modules
from learnmm.solve.certificate import Certificate
from learnmm.solve.optimizer import ProjectedMMOptimizer
from learnmm.solve.record import StepInfo, Tally
from learnmm.solve.result import Result
from learnmm.solve.safeguard import Relaxation, rounding_slack
from learnmm.solve.settings import SolveSettings
from learnmm.solve.status import Status
from learnmm.solve.validation import check_deterministic
from learnmm.vectors import peak


@dataclass
class Walk:
    """Where a call stands, and how it goes on.

    Parameters
    ----------
    objective, around, majorant, ring
        The loss, what it touches, its curvature ``b``, and the pairs of steps, if any are kept.
    rate : float
        Largest learning rate.
    rates : Tensor or None
        Learning rates ``(1, n)``; None where they are all equal.
    settings, hints
        Of the optimizer.
    x : Tensor
        ``(1, n)``.
    """

    objective: ClosureObjective
    around: Modules
    majorant: ClosureMajorant
    ring: Ring | None
    rate: float
    rates: Tensor | None
    settings: SolveSettings
    hints: Hints
    x: Tensor

    def start(self, memory: dict[str, Any]) -> None:
        """Evaluate where the parameters are, and take what earlier calls have learned."""
        self.there = self.initial = self.objective.evaluate(self.x)
        value = self.there.value
        if self.settings.check_deterministic:
            again = self.objective.evaluate(self.x).value
            check_deterministic(value, again, rounding_slack(value))
        self.tally = Tally.start(value)
        self.factor = torch.ones_like(value)  # of the relaxation
        self.reach = torch.full_like(value, torch.inf)  # of a limited-memory step
        if "tally" in memory:
            self.reach = torch.full_like(value, memory["reach"])
            self.factor = torch.full_like(value, memory["relaxation"])
            totals = self.tally._asdict()
            self.tally = Tally(
                **{k: torch.full_like(t, memory["tally"][k]) for k, t in totals.items()}
            )
        self.info: StepInfo | None = None
        self.certificate = self._certificate()
        self.status = self._status()
        if self.ring is not None:
            self.ring.start(self.x, self.there.gradient)

    def go(self, steps: int) -> None:
        """Take steps until there is no reason to take more."""
        for remaining in reversed(range(steps)):
            if self.status is not Status.RUNNING:
                break
            self.objective.record = self.objective.curvature != "secant" and remaining > 0
            self._descend(final=remaining == 0)

    @property
    def taken(self) -> bool:
        """Whether the last evaluation is that of the iterate."""
        return self.info is not None and bool(self.info.accepted)

    def result(self) -> Result:
        """What the call has come to."""
        return Result(
            x=self.x[0],
            fun=self.there.value[0],
            gradient=self.there.gradient[0],
            gradient_norm=peak(self.there.gradient)[0],
            status=torch.tensor(int(self.status), device=self.x.device),
            iterations=self.tally.iterations[0],
            certificate=self.certificate,
            history=None,
            initial_fun=self.initial.value[0],
        )

    def _certificate(self) -> Certificate:
        """Of all calls; nobody proposes multipliers here."""
        settings = replace(self.settings, projection=None)
        return Certificate.of(self.tally, settings, None if self.ring is None else "LimitedMemory")

    def _status(self) -> Status:
        value, gradient = self.there.value, self.there.gradient
        if not (bool(torch.isfinite(value)) and all_finite(gradient)):
            return Status.NON_FINITE
        gone = float(peak(gradient)) <= (self.settings.gtol or 0.0)
        return Status.GRADIENT if gone else Status.RUNNING

    def _descend(self, *, final: bool) -> None:
        """Try steps from here until one is taken, or none is left."""
        level = self.majorant(self.x).scaled(1 / self.rate)
        direction = None if self.ring is None else self.ring.step(self._rated(level))
        own, metric = self.there.gradient, None
        if self.rates is not None:
            own, metric = self.rates / self.rate * own, self.rate / self.rates
        plane = Plane(self.objective, self.x, self.there, own, direction, metric)
        along = None if direction is None else Along(plane)
        settings = replace(
            self.settings,
            gtol=0.0,
            check_deterministic=False,
            relaxation=self._relaxation(plane),
        )
        solver = ProjectedMMOptimizer(
            plane, majorant=lambda z, aux=None: level, proposer=along, settings=settings
        )
        state = solver.init(plane.start, strict=False)
        state = state._replace(tally=self.tally, relaxation=self.factor, reach=self.reach)
        taken = False
        first = True
        while not taken and bool(state.status == int(Status.RUNNING)):
            before = state
            state, self.info = solver.step(before)
            if self.objective.failure is not None:
                raise self.objective.failure
            taken = bool(self.info.accepted)
            if not taken:
                self.hints.observe(plane, state, first=first)
            first = False
        self.tally, self.factor, self.reach = state.tally, state.relaxation, state.reach
        self.certificate = self._certificate()
        self.status = Status(int(state.status))
        if taken:
            self._move(final=final)
            if self.status in (Status.RUNNING, Status.GRADIENT):
                self.status = self._status()
        if self.info is not None:
            self.info = self.info._replace(gradient_norm=peak(self.there.gradient))

    def _move(self, *, final: bool) -> None:
        """Go to the last point evaluated, and learn what the way there tells."""
        self.around.take()
        x, there = self.objective.at, self.objective.last
        move, change = x - self.x, there.gradient - self.there.gradient
        self.majorant.observe(move, change, self.there.gradient)
        if self.ring is not None:
            self.ring.follow(x, there.gradient, move, change, final=final)
        self.x, self.there = x, there

    def _rated(self, level: Bound) -> Curvature:
        """``b / r_i`` from a bound ``b / r``, relaxed."""
        curvature = level.relaxed(self.factor)
        if self.rates is None:
            return curvature
        return DiagonalCurvature(curvature.largest()[:, None] * (self.rate / self.rates))

    def _relaxation(self, plane: Plane) -> Relaxation | None:
        """Relaxation that measures curvature apart from the rates.

        It compares the curvature along ``d`` with ``<d, B d>``, which the rates ``R`` have raised
        by ``<d, R^-1 d> / |d|^2``, ``= |o|_M^2 / r |o|^2`` for a step ``d`` along ``o``.
        """
        if self.settings.relaxation is None:
            return None
        raised = 1 / self.rate
        if self.rates is not None and plane.size > 0:
            raised *= plane.size**2 / inner(plane.own[0], plane.own[0])
        return replace(self.settings.relaxation, margin=self.settings.relaxation.margin * raised)


def all_finite(v: Tensor) -> bool:
    """Whether all entries are: NaN and infinity come through a sum, which may overflow itself."""
    return bool(torch.isfinite(v.sum())) or bool(torch.isfinite(v).all())
