"""BFGS steps for any number of unknowns: what `minimize` takes by default."""

from __future__ import annotations

from torch import Tensor

from learnmm.proposers.base import Point, Proposer, Step
from learnmm.proposers.dense_bfgs import DenseBFGS, Inverse
from learnmm.proposers.limited_memory import LimitedMemory, Pairs

FEW = 32
"""Up to so many unknowns a matrix is taken. It needs about as many evaluations as limited memory up
to 8 unknowns, and fewer above; a step of one problem takes less time whatever their number, one of
1024 problems less up to 16 and half as long again at most up to 32
(``python -m benchmarks.acceleration``)."""


class BFGS(Proposer):
    """:class:`DenseBFGS` for up to 32 unknowns per problem, :class:`~learnmm.LimitedMemory` above.

    Parameters
    ----------
    history : int
        Pairs to keep above.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> x0 = torch.zeros(2, 3)
    >>> type(lmm.proposers.BFGS().init_memory(x0)).__name__
    'Inverse'
    """

    trials = LimitedMemory.trials
    reach = LimitedMemory.reach
    curvature_from_steps = True
    remembers_points = True

    def __init__(self, history: int = 10) -> None:
        super().__init__()
        self.few, self.many = DenseBFGS(), LimitedMemory(history)

    def init_memory(self, x: Tensor) -> Inverse | Pairs:
        """No pairs; what kind of memory it is decides from here on."""
        return (self.few if x.shape[1:].numel() <= FEW else self.many).init_memory(x)

    def observe(self, point: Point, memory: Inverse | Pairs) -> Inverse | Pairs:
        """Put the pair of the step to this iterate in."""
        if isinstance(memory, Inverse):
            return self.few.observe(point, memory)
        return self.many.observe(point, memory)

    def propose(self, point: Point, memory: Inverse | Pairs) -> Step:
        """Apply ``H``."""
        if isinstance(memory, Inverse):
            return self.few.propose(point, memory)
        return self.many.propose(point, memory)
