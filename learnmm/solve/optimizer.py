"""The only loop of the library: init, step, minimize."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from learnmm.atoms.base import Atom
from learnmm.bound import AdaptiveMajorant, Bound, Majorant
from learnmm.majorants.default import DefaultMajorant
from learnmm.majorants.secant import SecantMajorant
from learnmm.nested import mapped
from learnmm.objective import CallableObjective, Evaluation, Objective, as_objective
from learnmm.precision import full_precision
from learnmm.proposers.base import Proposer
from learnmm.proximal import Penalty, apart
from learnmm.proximal.base import inside
from learnmm.shards import shared_out
from learnmm.solve import step as stages
from learnmm.solve.certificate import Certificate
from learnmm.solve.loop import Callback, Loop, run
from learnmm.solve.parts import minimize_in_parts
from learnmm.solve.proposing import check_parts
from learnmm.solve.raising import evaluate_candidates, is_numerical
from learnmm.solve.record import StepInfo, Tally
from learnmm.solve.result import Result
from learnmm.solve.settings import SolveSettings
from learnmm.solve.stages import Outcome
from learnmm.solve.start import start
from learnmm.solve.state import State
from learnmm.solve.stopping import Stopping
from learnmm.solve.validation import check_start, is_single, sparse_gradients_explained


class ProjectedMMOptimizer:
    """Majorize-minimize steps with proposed, projected and verified multipliers.

    Parameters
    ----------
    objective : Objective or callable
        An atom, the sum of one and a penalty, ``f + 0.1 * L1()``, or any differentiable function
        ``(B, *shape) -> (B,)``; `minimize` also takes one of one problem, ``(*shape) -> ()``.
    majorant : Majorant, optional
        Default: the atom's own bound; for a callable, Lanczos on Hessian-vector products
        (`PROBABLE`), or where the proposer asks for it the secants of the steps (`ESTIMATE`).
        Majorants always see batches, ``(1, *shape)`` for one problem.
    proposer : Proposer, optional
        Proposes multipliers, or whole steps. Default: none, the majorant's own steps.
    settings : SolveSettings
        How steps are confined and verified, and when to stop.
    penalty : Penalty, optional
        What is minimized beside the objective: bounds on the unknowns (`learnmm.proximal.Box`), an
        l1 norm and the like. Starts are moved into its bounds, and the objective is evaluated
        nowhere else.

    Raises
    ------
    TypeError, ValueError
        For parts that cannot work, alone or together, naming what came and what was expected.

    Notes
    -----
    `step` is pure: state in, state out, one evaluation, no branching on tensor values. Problems of
    a batch never influence each other. In a loop of your own, solve under ``torch.no_grad()``:
    otherwise a proposer that learns makes every state keep the graph of all steps before it.

    Objective, majorant and proposer see copies of iterate and gradient, so what they write to does
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
        proposer: Proposer | None = None,
        settings: SolveSettings = SolveSettings(),  # noqa: B008 - frozen
        penalty: Penalty | None = None,
    ) -> None:
        objective, penalty = apart(objective, penalty)
        if not callable(objective):
            raise TypeError(
                f"objective must be an Objective or callable, got {type(objective).__name__}"
            )
        if majorant is not None and not callable(majorant):
            raise TypeError(f"majorant must be callable, got {type(majorant).__name__}")
        check_parts(proposer, settings, penalty)
        self.penalty = penalty
        self.objective = as_objective(objective)
        self.proposer = proposer
        self.settings = settings
        self.stopping = Stopping(settings)
        self._given_majorant = majorant
        self._follow(majorant or self._default_majorant(self.objective))

    def init(self, x0: Tensor, *, strict: bool = True) -> State:
        """Check the start, evaluate it, and ask the proposer there.

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
            For a start, or parts, that cannot be used.
        """
        return start(self, x0, strict=strict)

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
            shorter multiple of what was proposed, as often as the proposer says, then the
            majorant's own step, then ever larger curvatures.
        StepInfo
            What happened, per problem.
        """
        state, trial = stages.propose(self, state)
        outcome = stages.evaluate(self, state, trial)
        verdict = stages.judge(self, state, trial, outcome)
        return stages.advance(self, state, trial, outcome, verdict)

    def minimize(
        self,
        x0: Tensor,
        *,
        callback: Callback | None = None,
        progress: bool = False,
        history: bool = False,
        strict: bool = True,
        compiled: bool | Literal["loop"] = False,
    ) -> Result:
        """Step until every problem has stopped; those that have leave the batch where they can.

        Parameters
        ----------
        x0 : Tensor
            Start: a batch ``(B, *shape)``, or one problem for a function that returns ``()``. A
            `DTensor` that is sharded along unknowns is minimized by all its processes together,
            each stepping with its part; the objective sees the whole `DTensor`, and what it holds
            besides is one too, or the same in every process. The result's `x` and `gradient` are
            sharded alike; `callback` sees the parts.
        callback : callable, optional
            ``callback(state, info)`` after every step; returning True stops. It sees copies.
        progress : bool
            Show a progress bar on standard error (needs the extra ``progress``).
        history : bool
            Keep every step's record, ``(iterations, B)`` each.
        strict : bool
            See :meth:`init`.
        compiled : bool or "loop"
            Where `torch.compile` can trace the objective. True: :meth:`compiled_step`, seconds for
            the first, then faster where problems are small. "loop": the whole solve as one graph,
            faster still once made, which takes tens of seconds, once in a process for a function or
            kind of atom, shapes and settings; without callback, history and progress. Numbers that
            a function holds are part of it: what changes is better a tensor. The rest of a large
            batch goes on in a graph of its own once waiting for it has cost as much as making it.

        Returns
        -------
        Result
            Never non-finite, and with the safeguard never worse than the start.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            For misuse, before the first iteration.
        """
        if shared_out(x0):
            options = {"callback": callback, "progress": progress, "history": history}
            return minimize_in_parts(self, x0, strict=strict, compiled=compiled, **options)
        check_start(x0)
        how = Loop(callback, progress, history, compiled).checked()
        if self.penalty is not None:
            if how.compiled and not self.penalty.closed:
                raise ValueError(
                    f"{type(self.penalty).__name__} iterates until its prox is found, which cannot "
                    "be compiled: compiled=False takes the same steps"
                )
            x0 = inside(self.penalty, x0)
        single = isinstance(self.objective, CallableObjective) and is_single(self.objective, x0)
        solver = self._for_one_problem if single else self
        begin = x0.detach().clone()  # the result must not share memory with x0
        with torch.no_grad():
            with sparse_gradients_explained():
                state = solver.init(begin[None] if single else begin, strict=strict)
            initial = state.initial.clone()  # without a step it would be that of the result
            state, record, raised, seconds = run(solver, state, how)

        def first(t: Tensor) -> Tensor:
            return t[0] if single else t

        return Result(
            x=first(state.x),
            fun=first(state.value),
            gradient=first(state.gradient),
            gradient_norm=first(state.gradient_norm),
            status=first(state.status),
            iterations=first(state.tally.iterations),
            certificate=self.certificate(state.tally),
            history=record,
            initial_fun=first(initial),
            raised=raised,
            compile_seconds=seconds,
        )

    def certificate(self, tally: Tally) -> Certificate:
        """Read a certificate off the totals of a state, ``state.tally``."""
        return certificate_of(tally, self.settings, self.proposer)

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: all but what torch has compiled."""
        return {k: v for k, v in vars(self).items() if k not in ("_compiled", "_for_one_problem")}

    def compiled_step(self, state: State) -> tuple[State, StepInfo]:
        """`step`, compiled in one graph by `torch.compile` when it is first called."""
        return self._compiled(self, state)

    def restricted(
        self, rows: Tensor, x: Tensor, objective: Objective | None = None
    ) -> ProjectedMMOptimizer | None:
        """Return the same for some problems of its batch; None where a part cannot be restricted.

        Parameters
        ----------
        rows : Tensor of int
            Numbers of the problems that stay, ``(b,)``.
        x : Tensor
            Iterates of all of them, ``(B, *shape)``.
        objective : Objective, optional
            Of these problems. Default: asked for.
        """
        objective = objective or self.objective.restricted(rows)
        penalty = None if self.penalty is None else self.penalty.restricted(rows, x)
        majorant, proposer = self._given_majorant, self.proposer
        if majorant is not None:
            majorant = getattr(majorant, "restricted", lambda rows: None)(rows)
        if proposer is not None:
            proposer = proposer.restricted(rows)
        lost = (majorant is None) > (self._given_majorant is None)
        lost = lost or (proposer is None) > (self.proposer is None)
        if objective is None or lost:
            return None
        return self.with_parts(objective, majorant, proposer, penalty)

    def bound(self, x: Tensor, aux: Any, memory: Any) -> Bound:
        """Ask the majorant, which may write into all that it is given.

        Parameters
        ----------
        x : Tensor
            ``(B, *shape)``.
        aux : Any
            Of the objective's evaluation there.
        memory : Any
            Of an `AdaptiveMajorant`.

        Raises
        ------
        TypeError
            If it returns no `Bound`.
        """
        with full_precision(x):
            adaptive = self.adaptive
            bound = self.majorant(x, aux) if adaptive is None else adaptive(x, aux, memory)
        if not isinstance(bound, Bound):
            raise TypeError(f"a majorant must return a Bound, got {type(bound).__name__}")
        return bound

    def evaluate(self, candidate: Tensor, state: State) -> Evaluation:
        """Evaluate candidates of a state; those where the objective raises get NaN."""
        if torch.compiler.is_compiling():  # where nothing raises, see `compiled_or_not`
            return self.evaluate_at(candidate)
        known = Evaluation(state.value, state.gradient, state.aux)
        return evaluate_candidates(self.evaluate_at, candidate, state.x, known, state.running)

    def evaluate_at(self, x: Tensor) -> Evaluation:
        """Evaluate at a copy: what an objective writes to is not the iterate."""
        with full_precision(x):
            return self.penalized(self.objective.evaluate(x.clone()), x)

    def penalized(self, there: Evaluation, x: Tensor) -> Evaluation:
        """An evaluation of the objective with the value of the penalty on top."""
        if self.penalty is None:
            return there
        return there._replace(value=there.value + self.penalty.value(x))

    def feasible(self, x: Tensor) -> Tensor:
        """Nearest point inside of the bounds, if there are any."""
        return x if self.penalty is None else self.penalty.feasible(x)

    def observed(self, state: State, outcome: Outcome) -> Any:
        """What an `AdaptiveMajorant` remembers once a candidate is taken."""
        if self.adaptive is None:
            return None
        with full_precision(state.x):
            return self.adaptive.observe(
                outcome.x - state.x,
                outcome.there.gradient - state.gradient,
                mapped(Tensor.clone, state.majorant_memory),
            )

    def compiled_or_not(self, state: State) -> tuple[State, StepInfo]:
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
        fun = self.objective.fun  # type: ignore[attr-defined]
        return self.with_parts(
            CallableObjective(fun, single=True), self._given_majorant, self.proposer, self.penalty
        )

    def with_parts(
        self,
        objective: Objective,
        majorant: Majorant | None,
        proposer: Proposer | None,
        penalty: Penalty | None,
    ) -> ProjectedMMOptimizer:
        """The same with other parts."""
        solver = copy.copy(self)
        solver.__dict__.pop("_for_one_problem", None)  # that of the other objective
        solver.penalty = penalty
        solver.objective, solver.proposer, solver._given_majorant = objective, proposer, majorant
        solver._follow(majorant or solver._default_majorant(objective))
        return solver

    def _follow(self, majorant: Majorant) -> None:
        """Take a majorant; telling whether it adapts is too slow for every step."""
        self.majorant = majorant
        self.adaptive = majorant if isinstance(majorant, AdaptiveMajorant) else None

    def _default_majorant(self, objective: Objective) -> Majorant:
        if isinstance(objective, Atom):
            return objective.bound
        within = None if self.penalty is None else self.penalty.feasible
        if self.proposer is not None and self.proposer.curvature_from_steps:
            self.settings.check_secants()
            measured = self.proposer.measures_start
            return SecantMajorant(objective, measured=measured, within=within)
        return DefaultMajorant(objective, within)


def certificate_of(tally: Tally, settings: SolveSettings, proposer: Proposer | None) -> Certificate:
    """Read a certificate off the totals of a run."""
    name = None if proposer is None else type(proposer).__name__
    return Certificate.of(tally, settings, name)
