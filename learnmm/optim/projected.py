"""Majorize-minimize steps where people expect a `torch.optim` optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from learnmm.choices import chosen
from learnmm.majorants.hessian import LanczosMajorant
from learnmm.optim.closure import (
    Closure,
    ClosureMajorant,
    ClosureObjective,
    Source,
    check_loss,
    flatten,
    unflatten,
)
from learnmm.optim.hints import Hints
from learnmm.optim.parameters import require_entries, sort
from learnmm.optim.ring import Ring
from learnmm.optim.saved import Place, check_entry
from learnmm.optim.settings import check_settings
from learnmm.optim.surroundings import Modules, listed
from learnmm.optim.walk import Walk, all_finite
from learnmm.plain import flag, integer
from learnmm.precision import full_precision
from learnmm.solve.record import StepInfo
from learnmm.solve.result import Result
from learnmm.solve.settings import SolveSettings

__all__ = ["ProjectedMM"]

HISTORY = 10
"""Pairs to keep unless told otherwise."""

SETTINGS = (
    "history",
    "curvature",
    "settings",
    "modules",
    "compare_ranks",
    "last_step",
    "last_result",
    "_generator",
    "_lanczos",
    "_lent",
    "_hints",
)
"""What a copy needs beside what every optimizer of `torch.optim` copies."""


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
    Draw minibatches and dropout masks before the step.

    Parameters
    ----------
    params : iterable
        Parameters, parameter groups or named parameters, as everywhere in `torch.optim`:
        float32 or float64, all of one dtype on one device, or complex with parts of that dtype,
        which are stepped as pairs of reals. Those without ``requires_grad`` stay.
    lr : float
        Factor on the step, in [0, 1]: 1 is the majorant's own step, and less is a shorter step
        under the same guarantee. Groups may have their own, schedulers may change it; 0 freezes.
    history : int, optional
        Pairs of steps and changes of gradient from which L-BFGS steps are made (see
        :class:`~learnmm.LimitedMemory`); each costs two copies of the parameters. They are taken
        within a call, so those of minibatches compare one loss with itself. They are written in
        place; a call of ``k`` steps keeps up to ``k - 1`` more, to undo them. 0: the majorant's
        own steps. Default: 10, or 0 where `curvature` is named.
    curvature : {"auto", "hessian", "secant"}
        "hessian": Lanczos on Hessian-vector products, a `PROBABLE` bound; some 15 products a step,
        each worth two gradients, and as many copies of the parameters. The closure must return the
        loss without calling ``backward``. "secant": an `ESTIMATE` from the gradients before and
        after the last step, at no cost. "auto": "secant" with a `history` and for closures that
        call ``backward``, otherwise "hessian". With a history it serves the first step, and where
        all others are refused.
    settings : SolveSettings
        How steps are verified, in the first place. `max_iter` is the number of steps per call, each
        one more evaluation; not given it is one, which is right for minibatches, where 20 fit each
        batch at the expense of the others. On all data ``max_iter=20``, as `LBFGS` has, saves the
        evaluation at the start of each call. Twenty calls are 20 steps here and up to 400 there.
        `gtol`: make no step where the largest absolute gradient entry is at most this; not given
        it is 0. `relaxation` is for the bound of "hessian". `check_deterministic` evaluates the
        closure twice at the start of every call. There are no multipliers to project, steps are
        always verified, and losses do not stop a run: such settings are refused.
    generator : torch.Generator, optional
        Of the start vectors of Lanczos. Default: one of its own, seeded with 0.
    modules : nn.Module or iterable of them, optional
        Modules that the closure evaluates and that cannot be found. Those that it names, in its
        variables, globals, defaults and arguments, as attributes, in containers or in functions
        that it calls, are.
    compare_ranks : bool, optional
        Whether losses of all processes of `torch.distributed` must be equal. Default: those that
        share a `DistributedDataParallel` module of the closure with some of the parameters.

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
    the gradient at the new parameters. Weight decay belongs in the loss, where it is verified with
    the rest. What can be differentiated just once has no curvature for "hessian".

    A closure that raises at the parameters leaves everything as it was. Elsewhere a numerical
    exception (`ArithmeticError`, `ValueError`, `RuntimeError` such as
    ``torch.linalg.LinAlgError``) or a loss that is not finite refuses what was tried, and every
    other exception comes through and leaves everything as it was. A closure must not write into
    the parameters: its loss would be that of others.

    Buffers of modules, such as the statistics of batch normalisation, become those of evaluations
    that were taken, the one at the start of a call included; what refused ones have left is undone.
    Random numbers drawn by a refused evaluation stay drawn. Buffers on which the loss depends,
    such as those of spectral normalisation in training mode, make it another function every time.

    Gradients and loss must be of one function. With a scaled gradient (`torch.amp.GradScaler`)
    return the scaled loss; a warning tells where refused steps give the factor away, or a wrong
    gradient. Under `DistributedDataParallel` call ``backward`` on the local loss, which averages
    gradients, and return the average of the losses::

        def closure():
            loss = loss_of(model)
            loss.backward()
            mean = loss.detach().clone()
            torch.distributed.all_reduce(mean)
            return mean / torch.distributed.get_world_size()

    All ranks then take the same steps. Where their losses differ, all of them raise; there an
    exception of one rank ends all, since the others cannot know of it.

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
        history: int | None = None,
        curvature: Source | str = Source.AUTO,
        settings: SolveSettings = SolveSettings(),  # noqa: B008 - frozen
        generator: torch.Generator | None = None,
        modules: nn.Module | Iterable[nn.Module] | None = None,
        compare_ranks: bool | None = None,
    ) -> None:
        curvature = chosen(Source, curvature, "curvature")
        check_settings(settings)
        if history is None:
            history = HISTORY if curvature is Source.AUTO else 0
        history = integer("history", history, 0)
        self.settings = settings
        self.history = history
        self.curvature = Source.SECANT if history and curvature is Source.AUTO else curvature
        self.modules = listed(modules)
        self.compare_ranks = None if compare_ranks is None else flag("compare_ranks", compare_ranks)
        self._generator = generator or torch.Generator().manual_seed(0)
        # Only its settings are used: a closure has Hessian-vector products of its own.
        self._lanczos = LanczosMajorant(torch.sum, generator=self._generator)
        self.last_step: StepInfo | None = None
        self.last_result: Result | None = None
        self._lent = False
        self._hints = Hints()
        super().__init__(params, {"lr": lr})
        require_entries(p for group in self.param_groups for p in group["params"])

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
            sort(self.param_groups)
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    def state_dict(self) -> dict[str, Any]:
        """All that the run has learned; later steps do not change it."""
        saved = super().state_dict()
        saved["state"] = {key: dict(entry) for key, entry in saved["state"].items()}
        self._lent = True
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from what :meth:`state_dict` returned, the random start vectors included.

        Raises
        ------
        ValueError
            If it comes from another optimizer, another version or other parameter groups, or lacks
            something; nothing has changed then.
        """
        shapes = [tuple(p.shape) for group in self.param_groups for p in group["params"]]
        for entry in state_dict["state"].values():
            check_entry(entry, self.history, shapes)
        super().load_state_dict(state_dict)
        self._lent = True
        self.last_step = self.last_result = None
        saved = self._memory().get("generator")
        if saved is not None:
            self._generator.set_state(torch.frombuffer(bytearray(saved), dtype=torch.uint8))

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold; `torch.optim.Optimizer` leaves settings out."""
        self._lent = True
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
        moving, frozen = sort(self.param_groups)
        if not moving:
            return _evaluated(closure, frozen)
        parameters = list(moving)
        require_entries(parameters)
        around = Modules(closure, self.modules, parameters, self.compare_ranks)
        objective = ClosureObjective(closure, parameters, frozen, self.curvature, around)
        with torch.no_grad():
            x = flatten(parameters)
            if not all_finite(x):
                raise ValueError("the parameters have NaN or infinite entries")
            drawn = self._generator.get_state()
            walk = self._walk(objective, around, moving, x)
            try:
                with full_precision(x):
                    walk.start(self._memory())
                    walk.go(self.settings.max_iter or 1)
            except BaseException:
                objective.write(x)
                around.undo()
                self._generator.set_state(drawn)
                if walk.ring is not None:
                    walk.ring.undo()
                raise
            if not walk.taken:
                objective.write(walk.x)
                around.before()
            pieces = unflatten(walk.there.gradient, parameters)
            for p, gradient in zip(parameters, pieces, strict=True):
                p.grad = gradient.clone()
            self._remember(walk, moving)
        hint = self._hints.draw()
        if hint is not None:
            warnings.warn(f"ProjectedMM: {hint}", stacklevel=3)
        return walk.initial.value[0]

    def _walk(
        self, objective: ClosureObjective, around: Modules, moving: dict[Tensor, float], x: Tensor
    ) -> Walk:
        """A call from ``x``, with what earlier ones have learned."""
        memory = self._memory()
        rate, rates = max(moving.values()), None
        if min(moving.values()) < rate:
            # Both parts of a complex entry have the rate.
            rates = flatten(
                [torch.full_like(p, r + r * 1j if p.is_complex() else r) for p, r in moving.items()]
            )
        ring = None
        if self.history:
            pairs: dict[str, Any] | None = memory.get("pairs")
            same = memory.get("moving") == self._places(moving)  # else of other unknowns
            if pairs is not None and not (same and pairs["moves"].device == x.device):
                pairs = None
            ring = Ring(self.history, rate, pairs, lent=self._lent)
        return Walk(
            objective=objective,
            around=around,
            majorant=ClosureMajorant(objective, memory.get("level"), self._lanczos),
            ring=ring,
            rate=rate,
            rates=rates,
            settings=self.settings,
            hints=self._hints,
            x=x,
        )

    def _places(self, moving: dict[Tensor, float]) -> list[Place]:
        """Which of all parameters move, and what they are."""
        varied = {id(p) for p in moving}
        return [
            [p.element_size(), int(p.is_complex()), *p.shape] if id(p) in varied else None
            for group in self.param_groups
            for p in group["params"]
        ]

    def _remember(self, walk: Walk, moving: dict[Tensor, float]) -> None:
        """Keep what a call has learned."""
        memory = self._memory()
        memory.update(
            level=walk.majorant.level,
            reach=walk.reach.item(),
            relaxation=walk.factor.item(),
            tally={name: total.item() for name, total in walk.tally._asdict().items()},
            generator=self._generator.get_state().numpy().tobytes(),
            moving=self._places(moving),
        )
        if walk.ring is not None:
            memory["pairs"] = walk.ring.kept()
            self._lent = False
        self.last_step = walk.info
        self.last_result = walk.result()

    def _memory(self) -> dict[str, Any]:
        """What is kept between calls, with the first parameter as `LBFGS` does: plain numbers,
        since loading would cast tensors to the dtype of the parameter.
        """
        memory: dict[str, Any] = self.state[self.param_groups[0]["params"][0]]
        return memory


def _evaluated(closure: Closure, frozen: list[Tensor]) -> Tensor:
    """The loss where all learning rates are zero."""
    if not any(p.requires_grad for p in frozen):
        raise ValueError(
            f"none of the {len(frozen)} parameters requires a gradient, so none can move; to "
            "freeze all of them for a while, set their learning rates to 0"
        )
    with torch.enable_grad():
        loss = closure()
    check_loss(loss)
    return loss.detach().reshape(())
