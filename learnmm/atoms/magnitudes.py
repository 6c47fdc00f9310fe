"""Misfit of magnitudes: phase retrieval, with the smallest majorant that is valid everywhere."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from learnmm.atoms.base import Atom
from learnmm.bound import Bound
from learnmm.curvature import ScalarCurvature
from learnmm.kind import Kind
from learnmm.levels import require_tensor
from learnmm.objective import Evaluation
from learnmm.truth import holds
from learnmm.vectors import summed


class Magnitudes(Atom):
    """``f(z) = 1/2 sum_i (|z_i| - a_i)^2`` of complex ``z`` as pairs of reals, pairs last.

    With ``u_i = z_i / |z_i|`` the term ``-a_i |w_i| <= -a_i <u_i, w_i>`` for every ``w``, so ``f``
    lies below ``1/2 |w|^2 - <a u, w> + 1/2 |a|^2``, which touches it at ``z``: curvature 1 is a
    `GLOBAL` bound, the step of Gerchberg and Saxton (1972; as alternating projections Fienup
    1982). Where ``z_i = 0`` the gradient is taken as zero, and the bound holds too. Not convex:
    what is found depends on the start.

    Parameters
    ----------
    target : Tensor
        ``a >= 0``, shape ``(B, *shape)``, for iterates ``(B, *shape, 2)``.

    Raises
    ------
    ValueError
        If magnitudes are not finite and non-negative.

    Examples
    --------
    >>> import torch, learnmm as lmm
    >>> A = torch.randn(30, 4, dtype=torch.complex128)
    >>> truth = torch.randn(2, 4, dtype=torch.complex128)
    >>> energy = lmm.atoms.Magnitudes((truth @ A.mT).abs()) @ A
    >>> result = lmm.minimize(energy, truth + 0.1)
    >>> overlap = (result.x.conj() * truth).sum(1).abs() / truth.norm(dim=1) ** 2
    >>> bool((overlap - 1).abs().max() < 1e-6), result.certificate.kind.name
    (True, 'GLOBAL')
    """

    def __init__(self, target: Tensor) -> None:
        require_tensor("Magnitudes: target", target)
        if target.dim() < 1 or not target.is_floating_point():
            raise ValueError(
                "Magnitudes expects floating-point magnitudes (B, ...), got shape "
                f"{tuple(target.shape)} and dtype {target.dtype}"
            )
        if not holds(((target >= 0) & torch.isfinite(target)).all()):
            raise ValueError(
                "Magnitudes expects finite magnitudes of at least zero, got numbers from "
                f"{float(target.min()):.6g} to {float(target.max()):.6g}"
            )
        self.target = target

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Half the squared misfit; the bound needs nothing."""
        return summed((_sizes(x) - self.target) ** 2) / 2, ()

    def evaluate(self, x: Tensor) -> Evaluation:
        """Closed form: ``z - a u``."""
        size = _sizes(x)
        misfit = size - self.target
        share = torch.where(size > 0, misfit / torch.where(size > 0, size, 1.0), 0.0)
        return Evaluation(summed(misfit * misfit) / 2, share[..., None] * x)

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """Curvature 1."""
        return Bound(Kind.GLOBAL, ScalarCurvature(x.new_ones(x.shape[0])))

    def check(self, x: Tensor) -> None:
        """Pairs of the shape of the targets, in their dtype, where they are."""
        wanted = (*self.target.shape, 2), self.target.dtype, self.target.device
        if (x.shape, x.dtype, x.device) != wanted:
            raise ValueError(
                f"Magnitudes expects pairs of shape {wanted[0]}, {wanted[1]} on {wanted[2]}; got "
                f"{tuple(x.shape)}, {x.dtype} on {x.device}"
            )

    def restricted(self, rows: Tensor) -> Self:
        """Targets of these problems."""
        return self._with(target=self.target[rows])


def _sizes(pairs: Tensor) -> Tensor:
    """Magnitudes of pairs; their derivatives at zero are zero, and no square overflows."""
    there = (pairs != 0).any(-1)
    safe = torch.where(there[..., None], pairs, 1.0)
    return torch.hypot(safe[..., 0], safe[..., 1]) * there
