"""The only loop of the library: init, step, minimize."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from learnmm.atoms.base import Atom
from learnmm.bound import AdaptiveMajorant, Bound, Majorant
from learnmm.curvature import dot, expand, norm, peak
from learnmm.majorants.default import DefaultMajorant
from learnmm.majorants.secant import SecantMajorant
from learnmm.nested import check, mapped, select
from learnmm.objective import CallableObjective, DomainError, Evaluation, Objective
from learnmm.progress import Progress
from learnmm.proposers.base import Direction, LearnedComponent, LearnedDirection
from learnmm.proposers.limited_memory import LimitedMemory
from learnmm.proposers.simple import Identity
from learnmm.solve.projection import Projection, Proposal, cut_to_region
from learnmm.solve.proposing import full_precision, propose, trials
from learnmm.solve.raising import evaluate_candidates, is_numerical, reported
from learnmm.solve.result import Certificate, Result, Status, StepInfo, Tally
from learnmm.solve.safeguard import Relaxation, Safeguard, judge, rounding_slack, shorter
from learnmm.solve.settings import check_settings
from learnmm.solve.state import State, count, stop
from learnmm.solve.stopping import Stopping
from learnmm.solve.validation import (
    check_bound,
    check_deterministic,
    check_evaluation,
    check_independent,
    check_start,
    is_single,
    lent,
    require,
    sparse_gradients_explained,
)

Callback = Callable[[State, StepInfo], bool | None]

REACH = 4.0
"""Longest step of a `Direction` over the one before. What was measured there says little of what is
far away, and a step across a valley may end on plains that no gradient leads back from."""

BEYOND = 0.45
"""Power of the largest number from which on an iterate, or minus its value, has no end."""


class ProjectedMMOptimizer:
    """Majorize-minimize steps with proposed, projected and verified multipliers.

    Parameters
    ----------
    objective : Objective or callable
        An atom, or any differentiable function ``(B, *shape) -> (B,)``; `minimize` also takes a
        function of one problem, ``(*shape) -> ()``.
    majorant : Majorant, optional
        Default: the atom's own bound; for a callable, Lanczos on Hessian-vector products
        (`PROBABLE`), or below a `Direction` the secants of its steps (`ESTIMATE`). Majorants
        always see batches, ``(1, *shape)`` for one problem.
    preconditioner : LearnedPreconditioner, LearnedDirection or Direction, optional
        Proposes multipliers, or whole steps. Default: none, the majorant's own steps.
    projection : Projection or None
        Interval for the multipliers; None leaves them as proposed. Whole steps have none, and
        refuse one that is not the default.
    safeguard : Safeguard or None
        With it every accepted step lowers the computed objective, whatever else is chosen.
    relaxation : Relaxation or None
        Adaptive factor on bounds that are not proved; needs the safeguard. None: factor 1. Below
        a `Direction` own steps are rare, and nothing but the default or None is taken.
    max_iter : int
        Limit on steps, each one evaluation of value and gradient.
    gtol : float or None
        Stop when the largest absolute gradient entry is at most this. None, the default, is free of
        units and of the start: stop when that entry is at most 1e-5 of the largest seen, did not
        halve in the step just taken, and that step had promised at most 1e-10 of ``|f|`` and of the
        decrease so far. The promise is half the largest slope of the steps that there are to be
        tried, and what the parabola through the slopes at both ends of that step says. Where ``f``
        goes to zero, it is enough that ``f`` and the promise have fallen to 1e-30 of the decrease
        so far (1e-20 in float32).
    rtol, atol : float
        Stop when a step lowers ``f`` by at most ``atol + rtol |f|``; both 0 switch this off.
    check_deterministic : bool
        Evaluate twice at the start, and raise if the values differ by more than rounding: an
        objective that draws at random is another function each time, and descent says nothing.
    check_independent : bool
        Move problems at the start, and raise if the values of others follow: an objective with
        a mean over the batch, as in batch normalisation, is none of independent problems. About
        ``2 log2(B)`` evaluations.

    Raises
    ------
    TypeError, ValueError
        For settings that cannot work, naming what came and what was expected.

    Notes
    -----
    `step` is pure: state in, state out, one evaluation, no branching on tensor values. Problems of
    a batch never influence each other. In a loop of your own, solve under ``torch.no_grad()``:
    otherwise a component that learns makes every state keep the graph of all steps before it.

    Objective, majorant and component see copies of iterate and gradient, so what they write to does
    not reach the state; writing at the start is an error. Where the objective raises a numerical
    exception at a candidate (`ArithmeticError`, `ValueError`, `RuntimeError` such as
    ``torch.linalg.LinAlgError``), the candidate is refused, for those problems alone that raise. At
    ``x0`` it comes through, and so does everything else.

    A run has succeeded where a tolerance is reached, or the precision of the dtype
    (`Status.PRECISION`). That is claimed where the step of the largest slope was tried, at full
    length; neither its slope nor the parabola through the slopes at both of its ends promises more
    than the rounding error of ``f``; the value did not fall by more than that; and the gradient did
    not halve. A run that ends otherwise with a larger gradient than asked for has not succeeded.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> y = torch.tensor([[1.0, 2.0], [0.0, 5.0]])
    >>> result = lmm.ProjectedMMOptimizer(lmm.Quadratic(y)).minimize(torch.zeros(2, 2))
    >>> result.x.tolist(), result.certificate.kind.name
    ([[1.0, 2.0], [0.0, 5.0]], 'GLOBAL')
    """

    def __init__(
        self,
        objective: Objective | Callable[[Tensor], Tensor],
        *,
        majorant: Majorant | None = None,
        preconditioner: LearnedComponent | Direction | None = None,
        projection: Projection | None = Projection(),  # noqa: B008 - frozen
        safeguard: Safeguard | None = Safeguard(),  # noqa: B008 - frozen
        relaxation: Relaxation | None = Relaxation(),  # noqa: B008 - frozen
        max_iter: int = 1000,
        gtol: float | None = None,
        rtol: float = 0.0,
        atol: float = 0.0,
        check_deterministic: bool = False,
        check_independent: bool = False,
    ) -> None:
        if not callable(objective):
            raise TypeError(
                f"objective must be an Objective or callable, got {type(objective).__name__}"
            )
        if majorant is not None and not callable(majorant):
            raise TypeError(f"majorant must be callable, got {type(majorant).__name__}")
        if not isinstance(preconditioner, LearnedComponent | Direction | None):
            raise TypeError(
                "preconditioner must be a LearnedPreconditioner, a LearnedDirection or a "
                f"Direction, got {type(preconditioner).__name__}"
            )
        for name, setting, kind in (
            ("projection", projection, Projection),
            ("safeguard", safeguard, Safeguard),
            ("relaxation", relaxation, Relaxation),
        ):
            if setting is not None and not isinstance(setting, kind):
                raise TypeError(f"{name} must be a {kind.__name__} or None, got {setting!r}")
        if not isinstance(max_iter, int):
            raise TypeError(f"max_iter must be an integer, got {max_iter!r}")
        if max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, got {max_iter}")
        check_settings(preconditioner, projection, safeguard, relaxation)
        self.stopping = Stopping(gtol, rtol, atol, safeguard.trials if safeguard else None)
        self.objective = (
            objective if isinstance(objective, Objective) else CallableObjective(objective)
        )
        self._given_majorant = majorant
        plain = isinstance(preconditioner, Identity)
        self.preconditioner = None if plain else preconditioner
        self._follow(majorant or self._default_majorant(self.objective))
        given_whole = isinstance(preconditioner, LearnedDirection | Direction)
        self.projection = None if given_whole else projection
        self.safeguard = safeguard
        self.relaxation = relaxation if safeguard is not None else None
        self.max_iter = max_iter
        self.check_deterministic = check_deterministic
        self.check_independent = check_independent

    def init(self, x0: Tensor, *, strict: bool = True) -> State:
        """Check the start and evaluate it.

        Parameters
        ----------
        x0 : Tensor
            ``(B, *shape)``, float32 or float64, finite. It is never modified.
        strict : bool
            Raise if some problem cannot start because its objective, gradient or curvature is not
            finite there; otherwise freeze such problems with a status and run the others.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            For a start or an objective that cannot be used.
        """
        check_start(x0)
        x0 = x0.clone()  # what the caller does to it later is nothing to the state
        with lent(x0, "the objective") as x:
            try:
                with full_precision(x):
                    self.objective.check(x)
            except DomainError:
                if strict:
                    raise
            with full_precision(x):
                value, gradient, aux = self.objective.evaluate(x)
            # An objective may use its buffers again.
            value, gradient, aux = value.clone(), gradient.clone(), mapped(Tensor.clone, aux)
        check_evaluation(x0, value, gradient)
        check(aux, len(x0), f"the aux of the objective {type(self.objective).__name__}")
        if self.check_deterministic:
            check_deterministic(value, self._evaluate(x0).value, rounding_slack(value))
        if self.check_independent:
            check_independent(self._evaluate, x0, value, rounding_slack(value))
        gradient_norm = peak(gradient)
        finite = torch.isfinite(value) & torch.isfinite(gradient_norm)
        name, known = type(self.majorant).__name__, None
        if self._adaptive is not None:
            with lent((x0, gradient), f"the majorant {name}") as (x, g):
                known = mapped(Tensor.clone, self._adaptive.start(x, g))
            check(known, len(x0), f"what the majorant {name} knows")
        with lent((x0, aux if known is None else known), f"the majorant {name}") as (x, brought):
            bound = self._bound(x, brought)
        valid = bound.curvature.valid()
        with full_precision(x0):
            check_bound(bound, valid, gradient)
        if strict:
            require(finite, "the objective or its gradient is not finite at x0")
            require(
                valid | (gradient_norm <= self.stopping.at_start),
                "the majorant returned a curvature that is not finite and positive at x0",
            )
        memory = None
        if self.preconditioner is not None:
            name = type(self.preconditioner).__name__
            with lent(x0, f"the preconditioner {name}") as x:
                memory = self.preconditioner.init_state(x)
            check(memory, len(x0), f"the memory of {name}")
        status = torch.full_like(value, Status.RUNNING, dtype=torch.int64)
        status = torch.where(valid, status, int(Status.BAD_BOUND))
        status = torch.where(gradient_norm <= self.stopping.at_start, int(Status.GRADIENT), status)
        status = torch.where(finite, status, int(Status.NON_FINITE))
        return State(
            x=x0,
            value=value,
            gradient=gradient,
            aux=aux,
            known=known,
            memory=memory,
            trial=torch.zeros_like(status),
            shortening=torch.ones_like(value),
            reach=torch.full_like(value, torch.inf),
            relaxation=torch.ones_like(value),
            gradient_norm=gradient_norm,
            steepest=gradient_norm.clone(),
            initial=value.detach().clone(),
            status=status,
            tally=Tally.start(value),
        )

    def step(self, state: State) -> tuple[State, StepInfo]:
        """One candidate per running problem, evaluated once, taken or refused.

        Parameters
        ----------
        state : State
            From `init` or an earlier step.

        Returns
        -------
        State
            The next state. Refused problems keep their iterate and count a trial: next comes a
            shorter step along a `Direction`, or the majorant's own step, then ever larger
            curvatures.
        StepInfo
            What happened, per problem.
        """
        running = state.status == int(Status.RUNNING)
        first_plain = trials(self.preconditioner)
        learned = running & (state.trial < first_plain)
        retries = state.trial - first_plain
        enlargements = retries.clamp(min=0) * running
        growth = 1.0 if self.safeguard is None else self.safeguard.growth
        enlargement = growth ** enlargements.to(state.value.dtype)

        bound = self._bound(state.x.clone(), state.aux if self._adaptive is None else state.known)
        curvature = bound.relaxed(state.relaxation).scaled(enlargement)
        valid = curvature.valid()
        proposal, memory, clipped = propose(
            self.preconditioner,
            state,
            curvature,
            learned,
            projection=self.projection,
            verified=self.safeguard is not None,
        )
        step_norm = norm(proposal.step)
        cut = torch.zeros_like(running)
        # Whole steps in the units of the problem, from a memory of points.
        directed = isinstance(self.preconditioner, Direction)
        if bound.radius is not None:
            radius = bound.radius
            if directed and self.safeguard is not None:
                # Its descent is verified and does not rest on the bound, so no region confines it.
                radius = radius.masked_fill(learned, torch.inf)
            proposal, cut = cut_to_region(proposal, step_norm, radius)
            step_norm = torch.minimum(step_norm, radius)
        if directed and self.safeguard is not None:
            long = learned & (step_norm > state.reach)
            # Without infinite radii, whose quotients have no gradient.
            longest = torch.where(long, state.reach, torch.where(step_norm > 0, step_norm, 1.0))
            proposal, _ = cut_to_region(proposal, step_norm, longest)
            step_norm = torch.where(long, longest, step_norm)
        reach = torch.where(step_norm > 0, REACH * step_norm, state.reach)
        # What decides and reports needs no gradient; a graph behind it would keep arrays alive.
        step_norm = step_norm.detach()
        proposal = Proposal(proposal.step, *(product.detach() for product in proposal[1:]))

        candidate = state.x - proposal.step.to(state.x.dtype)
        accepted: Tensor
        if torch.is_grad_enabled():
            # What a stopped or broken problem computes is discarded below, but its NaN would
            # spoil the gradients of the whole batch.
            moving = running & valid & torch.isfinite(step_norm)
            candidate = torch.where(expand(moving, candidate), candidate, state.x)
            if candidate.requires_grad and not torch.compiler.is_compiling():
                # The same for a candidate refused below: zero times an infinite slope is NaN.
                candidate.register_hook(
                    lambda g: None if g is None else torch.where(expand(accepted, g), g, 0.0)
                )
        value, gradient, aux = self._try(candidate, state, running)
        known = state.known
        if self._adaptive is not None:
            known = self._adaptive.follow(
                mapped(Tensor.clone, known), candidate - state.x, gradient - state.gradient
            )
        gradient_norm = peak(gradient)
        # An objective can be finite, and flat, at infinity.
        seen = (step_norm, value.detach(), gradient_norm, peak(candidate))
        finite = running & valid & torch.isfinite(torch.stack(seen)).all(0)
        limit = torch.finfo(value.dtype).max ** BEYOND
        beyond = (-seen[1] > limit * state.initial.abs().clamp(min=1.0)) | (seen[3] > limit)
        still = (candidate == state.x).reshape(len(value), -1).all(1)
        after = dot(gradient.detach(), proposal.step.detach())
        predicted = proposal.slope - proposal.bend / 2
        actual = (state.value - value).detach()
        least = (self.projection or Projection()).lower
        required = torch.maximum(proposal.slope, least * proposal.own)
        slack = self._slack(state, step_norm)
        accepted, above = judge(
            state.value, value, finite, predicted, required, slack, self.safeguard
        )

        if self.safeguard is not None:
            accepted = accepted & ~still  # it would be proposed for ever

        if bound.radius is not None:
            above = above & (step_norm <= bound.radius)  # beyond, the bound says nothing
        relaxation = state.relaxation
        if self.relaxation is not None and bound.uncertain is not None:
            # f(x - d) = f(x) - <g, d> + <d, H d> / 2. The factor steers; no gradient through it.
            measured = 2 * (proposal.slope - actual)
            measurable = predicted > 8 * slack
            if directed:
                # It goes where the curvature is small, which says little about the own step.
                measurable = measurable & ~learned
            relaxation = self.relaxation.update(
                relaxation, accepted & measurable, enlargement, measured, proposal.bend
            )
        info = StepInfo(
            value=torch.where(accepted, value, state.value),
            gradient_norm=torch.where(accepted, gradient_norm, state.gradient_norm),
            accepted=accepted,
            learned=learned,
            enlargements=enlargements,
            predicted=predicted,
            actual=actual,
            step_norm=step_norm,
            relaxation=relaxation,
            clipped=clipped,
            cut=cut & running,
        )
        shortening = state.shortening
        if directed:  # it remembers points and not steps, so a refusal leaves nothing to forget
            factor = shorter(proposal.slope, actual)
            shortening = (shortening * factor).masked_fill(accepted, 1.0)
            tried = torch.where(learned, factor * step_norm, state.reach)
            reach = torch.where(accepted, reach, torch.minimum(state.reach, tried))
        else:  # a refused proposal is forgotten: a broken memory cannot spoil what follows
            owner = f"the memory of {type(self.preconditioner).__name__}"
            memory = select(accepted, memory, state.memory, owner)
        following = State(
            x=select(accepted, candidate, state.x),
            value=info.value,
            gradient=select(accepted, gradient, state.gradient),
            aux=select(accepted, aux, state.aux, "the aux of the objective"),
            known=select(accepted, known, state.known, "what the majorant knows"),
            memory=memory,
            trial=(state.trial + running).masked_fill(accepted, 0),
            shortening=shortening,
            reach=torch.where(running, reach, state.reach),
            relaxation=relaxation,
            gradient_norm=info.gradient_norm,
            steepest=torch.maximum(state.steepest, info.gradient_norm),
            initial=state.initial,
            status=self.stopping.decide(
                state, info, proposal, after, running, valid, finite, beyond, still, slack, retries
            ),
            tally=count(state.tally, info, running, above, bound, directed=directed),
        )
        return following, info

    def minimize(
        self,
        x0: Tensor,
        *,
        callback: Callback | None = None,
        progress: bool = False,
        history: bool = False,
        strict: bool = True,
        compiled: bool = False,
    ) -> Result:
        """Step until every problem has stopped.

        Parameters
        ----------
        x0 : Tensor
            Start: a batch ``(B, *shape)``, or one problem for a function that returns ``()``.
        callback : callable, optional
            ``callback(state, info)`` after every step; returning True stops. It sees copies.
        progress : bool
            Show a progress bar on standard error (needs the extra ``progress``).
        history : bool
            Keep every step's record, ``(iterations, B)`` each.
        strict : bool
            See :meth:`init`.
        compiled : bool
            Take :meth:`compiled_step`: seconds for the first step, then several times faster where
            problems are small. The objective must be one that `torch.compile` can trace.

        Returns
        -------
        Result
            Never non-finite, and with the safeguard never worse than the start.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            For misuse, before the first iteration.
        """
        check_start(x0)
        single = isinstance(self.objective, CallableObjective) and is_single(self.objective, x0)
        solver = self._for_one_problem if single else self
        step = solver._compiled_or_not if compiled else solver.step
        bar = Progress(self.max_iter, enabled=progress)
        with torch.no_grad(), reported() as raised, bar:
            start = x0.detach().clone()  # the result must not share memory with x0
            with sparse_gradients_explained():
                state = solver.init(start[None] if single else start, strict=strict)
            initial = state.value.clone()  # without a step it would be that of the result
            steps: list[StepInfo] = []
            for _ in range(self.max_iter):
                if not bool((state.status == int(Status.RUNNING)).any()):
                    break
                state, info = step(state)
                if history:
                    steps.append(info)
                bar.update(state.value, state.status)
                if callback is not None and callback(*mapped(Tensor.clone, (state, info))):
                    state = stop(state, Status.STOPPED)
                    break
        state = stop(state, Status.MAX_ITER)

        def first(t: Tensor) -> Tensor:
            return t[0] if single else t

        return Result(
            x=first(state.x),
            fun=first(state.value),
            gradient=first(state.gradient),
            status=first(state.status),
            iterations=first(state.tally.iterations),
            certificate=self.certificate(state.tally),
            history=StepInfo(*map(torch.stack, zip(*steps, strict=True))) if steps else None,
            initial_fun=first(initial),
            raised=raised,
        )

    def certificate(self, tally: Tally) -> Certificate:
        """Read a certificate off the totals of a state, ``state.tally``."""
        return Certificate.of(
            tally,
            safeguarded=self.safeguard is not None,
            projected=self.projection is not None,
        )

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: all but what torch has compiled."""
        return {k: v for k, v in vars(self).items() if k not in ("_compiled", "_for_one_problem")}

    def compiled_step(self, state: State) -> tuple[State, StepInfo]:
        """`step`, compiled in one graph by `torch.compile` when it is first called."""
        return self._compiled(self, state)

    def _compiled_or_not(self, state: State) -> tuple[State, StepInfo]:
        """`compiled_step`, or `step` where an exception has to be told apart per problem."""
        try:
            return self.compiled_step(state)
        except Exception as error:
            if not is_numerical(error):
                raise
        return self.step(state)

    @cached_property
    def _compiled(self) -> Callable[[ProjectedMMOptimizer, State], tuple[State, StepInfo]]:
        # Where torch can: each optimizer has a limit on recompilations of its own.
        apart = "isolate_recompiles" in inspect.signature(torch.compile).parameters
        options: dict[str, Any] = {"isolate_recompiles": True} if apart else {}
        return torch.compile(type(self).step, fullgraph=True, **options)

    @cached_property
    def _for_one_problem(self) -> ProjectedMMOptimizer:
        """The same for a function without a batch dimension."""
        solver = copy.copy(self)
        fun = self.objective.fun  # type: ignore[attr-defined]
        solver.objective = CallableObjective(fun, single=True)
        solver._follow(self._given_majorant or self._default_majorant(solver.objective))
        return solver

    def _follow(self, majorant: Majorant) -> None:
        """Take a majorant; telling whether it adapts is too slow for every step."""
        self.majorant = majorant
        self._adaptive = majorant if isinstance(majorant, AdaptiveMajorant) else None

    def _default_majorant(self, objective: Objective) -> Majorant:
        if isinstance(objective, Atom):
            return objective.bound
        if isinstance(self.preconditioner, Direction):
            # Own steps are rare then: the gradients seen are curvature enough for them.
            return SecantMajorant(objective)
        return DefaultMajorant(objective)

    def _slack(self, state: State, step_norm: Tensor) -> Tensor:
        """Rounding error of a difference of values over a step; see `rounding_slack`."""
        noise = 0.0 if self.safeguard is None else self.safeguard.noise
        value, gradient, x = (t.detach() for t in (state.value, state.gradient, state.x))
        length = norm(x) + step_norm
        terms = norm(gradient) * length + self.objective.rounding(state.aux, length)
        return rounding_slack(value, noise, torch.finfo(x.dtype).eps * terms)

    def _evaluate(self, x: Tensor) -> Evaluation:
        """Evaluate at a copy: what an objective writes to is not the iterate."""
        with full_precision(x):
            return self.objective.evaluate(x.clone())

    def _try(self, candidate: Tensor, state: State, running: Tensor) -> Evaluation:
        """Evaluate candidates; those where the objective raises get NaN."""
        if torch.compiler.is_compiling():  # where nothing raises, see `_compiled_or_not`
            return self._evaluate(candidate)
        known = Evaluation(state.value, state.gradient, state.aux)
        return evaluate_candidates(self._evaluate, candidate, state.x, known, running)

    def _bound(self, x: Tensor, aux: Any) -> Bound:
        with full_precision(x):
            bound = self.majorant(x, aux)
        if not isinstance(bound, Bound):
            raise TypeError(f"a majorant must return a Bound, got {type(bound).__name__}")
        return bound


def minimize(
    fun: Objective | Callable[[Tensor], Tensor],
    x0: Tensor,
    *,
    callback: Callback | None = None,
    progress: bool = False,
    history: bool = False,
    strict: bool = True,
    compiled: bool = False,
    **settings: Any,
) -> Result:
    """Minimize an objective, for one problem or for a batch of independent ones.

    Unless `settings` name a preconditioner, it takes :class:`~learnmm.LimitedMemory` steps. Each
    is verified, shortened where it is refused, and followed by the majorant's own step if that
    does not help. ``preconditioner=None`` takes the majorant's own steps alone: where an atom has
    a `GLOBAL` bound, their descent is proved before they are tried and none is refused until
    rounding hides the decrease, but more of them are needed.

    Parameters
    ----------
    fun : Objective or callable
        ``(B, *shape) -> (B,)``, or for one problem ``(*shape) -> ()``.
    x0 : Tensor
        Start, float32 or float64.
    callback, progress, history, strict, compiled
        See :meth:`ProjectedMMOptimizer.minimize`. Every call compiles anew; an optimizer does once.
    **settings
        Of :class:`ProjectedMMOptimizer`.

    Returns
    -------
    Result

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> result = lmm.minimize(lambda x: ((x - 3) ** 2).sum(), torch.zeros(4))
    >>> result.x.round(decimals=3).tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    if "preconditioner" not in settings:
        settings["preconditioner"] = LimitedMemory()
    optimizer = ProjectedMMOptimizer(fun, **settings)
    return optimizer.minimize(
        x0,
        callback=callback,
        progress=progress,
        history=history,
        strict=strict,
        compiled=compiled,
    )
