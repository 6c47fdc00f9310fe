"""A function as its user gave it: unknowns of any kind, arguments, and extra outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from learnmm.nested import mapped, parts_of, rebuilt
from learnmm.objective import CallableObjective, Objective
from learnmm.proximal import Box
from learnmm.solve.limits import box_of
from learnmm.solve.result import Result
from learnmm.solve.unknowns import Unknowns, batch_of
from learnmm.solve.validation import check_start

OF_NUMBERS = ("x", "gradient")  # what a result holds of every unknown


@dataclass(frozen=True, eq=False)
class Given:
    """A function of real numbers in one tensor, made of one of unknowns and arguments.

    Attributes
    ----------
    fun : callable
        ``fun(unknowns, *args)``, a value or with `has_aux` a pair of a value and anything.
    unknowns : Unknowns
        How numbers are unknowns.
    args : tuple
        Tensors with the batch in front are per problem, everything else is shared.
    has_aux : bool
        Whether something comes beside the value.
    size : int
        Problems, if it takes a batch.
    """

    fun: Callable[..., Any]
    unknowns: Unknowns
    args: tuple[Any, ...]
    has_aux: bool
    size: int

    def __call__(self, x: Tensor) -> Tensor:
        """Value alone."""
        return self.both(x)[0]

    def both(self, x: Tensor) -> tuple[Tensor, Any]:
        """Value, and what comes beside it: None if nothing does."""
        returned = self.fun(self.unknowns.seen(x), *self.args)
        if not self.has_aux:
            return returned, None
        if not (isinstance(returned, tuple) and len(returned) == 2):
            came = type(returned).__name__
            if isinstance(returned, tuple):
                came += f" of {len(returned)}"
            raise TypeError(
                f"with has_aux=True the objective must return a tuple (value, aux), got {came}"
            )
        return returned

    def restricted(self, rows: Tensor) -> Given | None:
        """The same for some problems of a batch; None where no argument could tell them apart."""
        if not self.args:
            return None

        def some(tensor: Tensor) -> Tensor:
            own = tensor.layout == torch.strided and tensor.shape[:1] == (self.size,)
            return tensor[rows.to(tensor.device)] if own else tensor

        return replace(self, args=mapped(some, self.args), size=len(rows))


class Call(NamedTuple):
    """A call in terms of the loop.

    Attributes
    ----------
    objective : Objective or callable
        Of real numbers in one tensor.
    start : Any
        Those it starts from.
    box : Box or None
        Their bounds.
    returned : callable
        Makes a result in the user's terms of its result.
    """

    objective: Objective | Callable[[Tensor], Tensor]
    start: Any
    box: Box | None
    returned: Callable[[Result], Result]


def given(fun: Any, x0: Any, args: Any, has_aux: bool, bounds: Any = None) -> Call:
    """Take a call apart.

    Raises
    ------
    TypeError, ValueError
        For unknowns and arguments that cannot be.
    """
    if not isinstance(args, tuple):
        raise TypeError(f"args must be a tuple, such as args=(y,), got {type(args).__name__}")
    if not isinstance(has_aux, bool):
        raise TypeError(f"has_aux must be True or False, got {has_aux!r}")
    if isinstance(fun, Objective) and (args or has_aux):
        raise TypeError(
            "args and has_aux are for functions: an Objective has its data and returns values, got "
            f"{type(fun).__name__}"
        )
    unknowns = Unknowns.of(x0)
    size = math.prod(unknowns.leaves[0].shape[:1])
    asked = Given(fun, unknowns, _tensors(args), has_aux, size)
    if isinstance(fun, Objective):
        if not unknowns.alone:
            raise TypeError(f"{type(fun).__name__} takes one tensor, got a {type(x0).__name__}")
        objective: Objective | Callable[[Tensor], Tensor] = fun
    elif not callable(fun) or (unknowns.plain and not args and not has_aux):
        objective = fun
    else:
        if not unknowns.alone:
            unknowns = replace(unknowns, batch=_takes_batch(asked, box_of(bounds, unknowns)))
        asked = replace(asked, unknowns=unknowns)
        objective = CallableObjective(asked)
    box = box_of(bounds, unknowns)
    return Call(objective, unknowns.start(), box, lambda result: _returned(asked, result))


def _takes_batch(asked: Given, box: Box | None) -> bool:
    """Whether a function of a tree takes a batch, asked where it starts."""
    unknowns = asked.unknowns
    start = unknowns.start()
    check_start(start)
    if box is not None:
        box.check(start)
        start = box.feasible(start)
    with torch.enable_grad():
        value = asked(start.requires_grad_())
    if not isinstance(value, Tensor):
        raise TypeError(f"the objective must return a torch.Tensor, got {type(value).__name__}")
    return batch_of(unknowns, value)


def _returned(asked: Given, result: Result) -> Result:
    """The result in the user's terms, with what came beside the last value."""
    unknowns = asked.unknowns
    if asked.has_aux:
        with torch.no_grad():
            result = replace(result, aux=asked.both(result.x.clone())[1])
    if unknowns.plain and not unknowns.arrays:
        return result
    changed = {name: unknowns.returned(getattr(result, name)) for name in OF_NUMBERS}
    if unknowns.arrays:
        rest = {k: v for k, v in vars(result).items() if k not in OF_NUMBERS}
        changed |= {k: v.numpy(force=True) for k, v in rest.items() if isinstance(v, Tensor)}
    return replace(result, **changed)


def _tensors(tree: Any) -> Any:
    """A tree in which arrays of NumPy are tensors."""
    if isinstance(tree, np.ndarray):
        return torch.tensor(tree)
    parts = parts_of(tree)
    return tree if parts is None else rebuilt(tree, [_tensors(part) for part in parts.values()])
