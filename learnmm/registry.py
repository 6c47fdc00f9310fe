"""Problems that packages plug in through the entry-point group ``learnmm.problems``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

import torch
from torch import Tensor

from learnmm.bound import Majorant
from learnmm.objective import BatchFunction, Objective
from learnmm.plain import is_integer, plain
from learnmm.plugins import Plugins
from learnmm.proposers.base import Proposer
from learnmm.solve.optimizer import ProjectedMMOptimizer
from learnmm.solve.settings import SolveSettings

__all__ = ["Instance", "Problem", "problem", "problems"]

GROUP = "learnmm.problems"
PLUGINS = Plugins(GROUP, "problem", "problems")
DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class Instance:
    """A batch of problems ready to solve, with what is known about their solutions.

    Attributes
    ----------
    objective : Objective or callable
        ``(B, *shape) -> (B,)``.
    x0 : Tensor
        Start, ``(B, *shape)``.
    majorant : Majorant or None
        None for the default: an atom's own bound, or Lanczos for a callable.
    optimum : Tensor or None
        Smallest value of every problem, ``(B,)``, where it is known.
    minimizer : Tensor or None
        A point where it is taken, the shape of `x0`. Facts say if others exist.
    data : Tensor or None
        What tells each problem from the others of its family, ``(B, d)``, such as its
        measurements; learned starts and metrics see it. None: they see the gradient at `x0`.
    facts : Mapping
        Whatever else is known, such as a condition number or convexity.
    """

    objective: Objective | BatchFunction
    x0: Tensor
    majorant: Majorant | None = None
    optimum: Tensor | None = None
    minimizer: Tensor | None = None
    data: Tensor | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def optimizer(
        self,
        *,
        majorant: Majorant | None = None,
        proposer: Proposer | None = None,
        settings: SolveSettings = SolveSettings(),  # noqa: B008 - frozen
    ) -> ProjectedMMOptimizer:
        """Return an optimizer for this batch, by default with the majorant of the instance.

        A proposer that looks at the data of problems is given those of this batch.
        """
        return ProjectedMMOptimizer(
            self.objective,
            majorant=majorant or self.majorant,
            proposer=None if proposer is None else proposer.given(self.data),
            settings=settings,
        )


class Problem(ABC):
    """A family of optimization problems that draws batches of itself.

    A plug-in names a concrete subclass, or an instance of one, in its entry point; a class is
    called with the parameters given to :func:`problem`, all of which have defaults. The class
    docstring states the objective and the known facts.

    Law (``learnmm.checks.assert_problem``): the same `generator` state gives the same instance, in
    every dtype up to rounding, and what an instance says about its solutions is true.

    Examples
    --------
    In the plug-in's ``pyproject.toml``::

        [project.entry-points."learnmm.problems"]
        quadratic = "learnmm_problems.quadratic:QuadraticProblem"
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in the registry, equal to that of the entry point."""

    @property
    def shares(self) -> str:
        """What all its instances have in common, whoever draws them, such as an operator.

        This is what can be learned. Empty where each is a new one.
        """
        return ""

    def shifted(self) -> Mapping[str, Problem]:
        """The same kind of problem drawn from elsewhere, by what is shifted.

        What was learned for a family is tried on these too. By default there is none.
        """
        return {}

    def instance(
        self,
        batch: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Instance:
        """Draw `batch` independent problems.

        Parameters
        ----------
        batch : int
            Number of problems, at least 1.
        generator : torch.Generator, optional
            Of everything random. Default: torch's global one.
        dtype : torch.dtype
            float32 or float64.

        Raises
        ------
        TypeError, ValueError
            For a batch that is no such number, or another dtype.
        """
        batch = plain(batch)
        if not is_integer(batch):
            raise TypeError(f"Problem: batch must be an integer, got {batch!r}")
        if batch < 1:
            raise ValueError(f"Problem: batch must be at least 1, got {batch}")
        if dtype not in DTYPES:
            raise ValueError(f"Problem: dtype must be one of {DTYPES}, got {dtype}")
        return self.draw(batch, dtype, generator)

    @abstractmethod
    def draw(self, batch: int, dtype: torch.dtype, generator: torch.Generator | None) -> Instance:
        """Draw what :meth:`instance` returns; its arguments have been checked."""


def problems() -> list[str]:
    """Sorted names of the installed problems.

    Nothing is imported, so a broken plug-in is listed too.
    """
    return sorted(PLUGINS.entries())


def problem(name: str, **parameters: Any) -> Problem:
    """Load an installed problem.

    Parameters
    ----------
    name : str
        One of :func:`problems`.
    **parameters
        Of the class that the entry point names, such as its number of unknowns.

    Raises
    ------
    KeyError
        If no problem of this name is installed; the message lists those that are.
    ImportError
        If the plug-in fails to import or to construct, or several plug-ins claim the name.
    TypeError
        If the entry point names something that is not a :class:`Problem`, or the problem does not
        take these parameters.
    ValueError
        If the problem has another name than its entry point, or refuses a parameter.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> seeded = torch.Generator().manual_seed(0)
    >>> drawn = lmm.problem("cosine-regression").instance(2, generator=seeded)
    >>> bool((drawn.optimizer().minimize(drawn.x0).fun - drawn.optimum < 1e-6).all())
    True
    >>> lmm.problem("quadratic", unknowns=5).instance(1).x0.shape
    torch.Size([1, 5])
    """
    entry = PLUGINS.entry(name)
    if entry is None:
        raise KeyError(
            f"no problem is called {name!r}; installed problems: {', '.join(problems()) or 'none'}"
        )
    what = f"the problem {name!r}"
    loaded = PLUGINS.load(entry)
    if isinstance(loaded, type):
        made = _made(entry, loaded, parameters)
    elif parameters:
        raise TypeError(
            f"{what} takes no parameters, since its entry point {entry.value!r} names an instance; "
            f"got {', '.join(sorted(parameters))}"
        )
    else:
        made = loaded
    if not isinstance(made, Problem):
        raise TypeError(
            f"the entry point of {what}, {entry.value!r}, must name a Problem, "
            f"got {type(made).__name__}"
        )
    if made.name != name:
        raise ValueError(
            f"the entry point {name!r} names the problem {made.name!r} ({entry.value!r}): "
            "both must be the same"
        )
    return made


def _made(entry: EntryPoint, kind: type, parameters: dict[str, Any]) -> Any:
    try:
        return kind(**parameters)
    except (TypeError, ValueError) as error:
        if not parameters:
            raise PLUGINS.not_loaded(entry, error) from error
        given = ", ".join(f"{key}={value!r}" for key, value in sorted(parameters.items()))
        raise type(error)(f"the problem {entry.name!r} refuses {given}: {error}") from error
    except Exception as error:
        raise PLUGINS.not_loaded(entry, error) from error
