"""The function of the library: minimize an objective from a start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict, Unpack, cast

from learnmm.bound import Majorant
from learnmm.objective import Objective
from learnmm.proposers.base import Proposer
from learnmm.proposers.bfgs import BFGS
from learnmm.proposers.extrapolated import Extrapolated
from learnmm.proximal import Penalty, Within, apart
from learnmm.solve.given import given
from learnmm.solve.loop import Callback
from learnmm.solve.optimizer import ProjectedMMOptimizer
from learnmm.solve.result import Result
from learnmm.solve.settings import SolveSettings

BY_DEFAULT = BFGS()  # it has no state


class Running(TypedDict, total=False):
    """How a run is watched, see :meth:`ProjectedMMOptimizer.minimize`."""

    callback: Callback | None
    progress: bool
    history: bool
    strict: bool
    compiled: bool | Literal["loop"]


class More(Running, total=False):
    """What else a call may say, see :func:`minimize`."""

    has_aux: bool


def minimize(
    fun: Objective | Callable[..., Any],
    x0: Any,
    *,
    args: tuple[Any, ...] = (),
    bounds: tuple[Any, Any] | None = None,
    penalty: Penalty | None = None,
    majorant: Majorant | None = None,
    proposer: Proposer | None = BY_DEFAULT,
    settings: SolveSettings = SolveSettings(),  # noqa: B008 - frozen
    **more: Unpack[More],
) -> Result:
    """Minimize an objective, for one problem or for a batch of independent ones.

    By default it takes :class:`~learnmm.proposers.BFGS` steps: of a matrix per problem for up to 32
    unknowns, of limited memory above. Each is verified, shortened where it is refused, and followed
    by the majorant's own step if that does not help. ``proposer=None``
    takes the majorant's own steps alone: where an atom has a `GLOBAL` bound, their descent is
    proved before they are tried and none is refused until rounding hides the decrease, but more of
    them are needed.

    Parameters
    ----------
    fun : Objective or callable
        ``(B, *shape) -> (B,)``, or for one problem ``(*shape) -> ()``, of torch operations. A sum
        of an atom and a penalty, ``f + 0.1 * L1()``, brings its `penalty` along.
    x0 : Tensor, array, number, or a dictionary, list or tuple of these
        Start; also a `DTensor`, see :meth:`ProjectedMMOptimizer.minimize`. What `fun` takes is made
        of tensors as `x0` is made of its parts, and so are the result's `x` and `gradient`; for a
        batch every part has the batch in front. Dtypes are the widest among the parts: float32 or
        float64, or complex64 or complex128 for those that are complex; every other kind of number,
        Python's among them, becomes float64 (complex128). Where all parts are arrays of NumPy, the
        result consists of arrays. Complex unknowns are stepped as pairs of reals, the last
        dimension of what majorants and atoms see; gradients are torch's, the direction of steepest
        ascent.
    args : tuple
        More arguments, ``fun(x, *args)``. Tensors with the batch in front are per problem,
        everything else is shared; a function of one problem gets them as they are.
    bounds : pair, optional
        ``(lower, upper)``, the ends of a :class:`~learnmm.proximal.Box`: numbers, tensors or arrays
        that broadcast to `x0`, None for no bound, or trees of these like `x0`. A start outside is
        moved to the nearest point inside, every iterate keeps the bounds to the bit, and `fun` is
        evaluated nowhere else.
    penalty : Penalty, optional
        What is added to `fun` and need not be differentiable, from :mod:`learnmm.proximal`. Bounds
        are one, and go with one of single unknowns, such as `L1`. What has no faces is minimized by
        :class:`~learnmm.proposers.Extrapolated` steps. Of a tree it sees all numbers in one tensor.
    majorant, proposer, settings
        See :class:`ProjectedMMOptimizer`.
    **more
        ``has_aux``: whether `fun` returns a value and anything else, which comes back as the
        result's `aux`, from one more evaluation at the end. ``callback``, ``progress``,
        ``history``, ``strict`` and ``compiled``: see :meth:`ProjectedMMOptimizer.minimize`. With
        ``compiled=True`` every call compiles anew; an optimizer does once.

    Returns
    -------
    Result
        Its ``fun`` is the sum of `fun` and the penalty, its ``gradient`` that of `fun`.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        For misuse, before the first iteration.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> result = lmm.minimize(lambda x: ((x - 3) ** 2).sum(), torch.zeros(4))
    >>> result.x.round(decimals=3).tolist()
    [3.0, 3.0, 3.0, 3.0]
    >>> lmm.minimize(lambda x: ((x - 3) ** 2).sum(), torch.zeros(2), bounds=(0, 2)).x.tolist()
    [2.0, 2.0]
    >>> def fit(line, t, y):
    ...     return ((line["slope"] * t + line["offset"] - y) ** 2).sum()
    >>> t = torch.arange(5.0)
    >>> result = lmm.minimize(fit, {"slope": 0.0, "offset": 0.0}, args=(t, 2 * t + 1))
    >>> {name: round(float(part), 3) for name, part in result.x.items()}
    {'slope': 2.0, 'offset': 1.0}
    """
    fun, penalty = apart(fun, penalty)
    asked = given(fun, x0, args, more.pop("has_aux", False), bounds)
    if asked.box is not None:
        penalty = asked.box if penalty is None else Within(penalty, asked.box)
    if proposer is BY_DEFAULT and isinstance(penalty, Penalty) and not penalty.faces:
        proposer = Extrapolated()
    optimizer = ProjectedMMOptimizer(
        asked.objective, majorant=majorant, proposer=proposer, settings=settings, penalty=penalty
    )
    return asked.returned(optimizer.minimize(asked.start, **cast(Running, more)))
