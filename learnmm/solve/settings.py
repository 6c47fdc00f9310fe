"""How a solve takes, confines and verifies its steps, and when it stops."""

from __future__ import annotations

from dataclasses import dataclass

from learnmm.plain import flag, is_integer, make_plain, number
from learnmm.solve.projection import Projection
from learnmm.solve.safeguard import Relaxation, Safeguard

MAX_ITER = 1000
"""Steps of a solve that is not told how many."""


@dataclass(frozen=True)
class SolveSettings:
    """Settings of a solve, the same for `minimize`, `UnrolledMM` and `optim.ProjectedMM`.

    Parameters
    ----------
    projection : Projection or None
        Interval for multipliers; None leaves them as proposed. Whole steps have none, and refuse
        one that is not the default.
    safeguard : Safeguard or None
        With it every accepted step lowers the computed objective, whatever else is chosen.
    relaxation : Relaxation or None
        Adaptive factor on bounds that are not proved; None: factor 1. It needs the safeguard, and
        is None without.
    max_iter : int or None
        Limit on steps, each one evaluation of value and gradient. None: 1000, or one for each call
        of `optim.ProjectedMM`. `UnrolledMM` has a number of steps of its own.
    gtol : float or None
        Stop when the largest absolute gradient entry is at most this. None is 0 for `UnrolledMM`,
        where nothing is gained by stopping early, and for `optim.ProjectedMM`; elsewhere it is free
        of units and of the start: stop when that entry is at most 1e-5 of the largest seen, did not
        halve in the step just taken, and that step had promised at most 1e-10 of ``|f|`` and of the
        decrease so far. The promise is half the largest slope of the steps that there are to be
        tried, and what the parabola through the slopes at both ends of that step says. Where ``f``
        goes to zero, it is enough that ``f`` and the promise have fallen to 1e-30 of the decrease
        so far (1e-20 in float32), halving gradient or not.
    rtol, atol : float
        Stop when a step lowers ``f`` by at most ``atol + rtol |f|``; both 0 switch this off.
    check_deterministic : bool
        Evaluate twice at the start, and raise if the values differ by more than rounding: an
        objective that draws at random is another function each time, and descent says nothing.

    Raises
    ------
    TypeError, ValueError
        For settings that cannot work, alone or together, naming what came and what was expected.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> settings = lmm.SolveSettings(max_iter=3, gtol=1e-8)
    >>> result = lmm.minimize(lmm.Quadratic(torch.ones(1, 2)), torch.zeros(1, 2), settings=settings)
    >>> result.x.tolist()
    [[1.0, 1.0]]
    """

    projection: Projection | None = Projection()  # noqa: RUF009 - frozen
    safeguard: Safeguard | None = Safeguard()  # noqa: RUF009 - frozen
    relaxation: Relaxation | None = Relaxation()  # noqa: RUF009 - frozen
    max_iter: int | None = None
    gtol: float | None = None
    rtol: float = 0.0
    atol: float = 0.0
    check_deterministic: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work, alone or together."""
        make_plain(self)
        for name, kind in (
            ("projection", Projection),
            ("safeguard", Safeguard),
            ("relaxation", Relaxation),
        ):
            setting = getattr(self, name)
            if setting is not None and not isinstance(setting, kind):
                raise TypeError(f"{name} must be a {kind.__name__} or None, got {setting!r}")
        if not (self.max_iter is None or is_integer(self.max_iter)):
            raise TypeError(f"max_iter must be an integer, got {self.max_iter!r}")
        if self.max_iter is not None and self.max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")
        for name in ("gtol", "rtol", "atol"):
            tolerance = getattr(self, name)
            if tolerance is None and name == "gtol":
                continue
            if not number(name, tolerance) >= 0:
                raise ValueError(f"{name} must be non-negative, got {tolerance}")
        flag("check_deterministic", self.check_deterministic)
        if self.safeguard is None:
            if self.relaxation not in (None, Relaxation()):
                raise ValueError(
                    "relaxation needs the safeguard, which is None: leave it out, got "
                    f"{self.relaxation}"
                )
            object.__setattr__(self, "relaxation", None)

    @property
    def lower(self) -> float:
        """Least multiplier that a sufficient decrease is measured by."""
        return (self.projection or Projection()).lower

    @property
    def steps(self) -> int:
        """Limit on steps."""
        return MAX_ITER if self.max_iter is None else self.max_iter

    def check_whole_steps(self, proposer: str) -> None:
        """Raise if settings that are not the defaults would be dropped by whole steps."""
        if self.projection not in (None, Projection()):
            raise ValueError(
                f"projection confines multipliers, but {proposer} proposes whole steps, which have "
                f"no interval: leave it out, got {self.projection}"
            )

    def check_secants(self) -> None:
        """Raise if settings that are not the defaults would be dropped by bounds from secants."""
        if self.relaxation not in (None, Relaxation()):
            raise ValueError(
                "relaxation scales bounds that are not proved, but without a majorant= curvature "
                "is measured anew after each step, and nothing is scaled: leave it out, or name "
                f"a majorant, got {self.relaxation}"
            )
