"""The mean Hessian of a family on a grid, as far as it is diagonal in cosines."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from learnmm.families.solved import curved_along
from learnmm.objective import as_objective
from learnmm.registry import Instance
from learnmm.spectral import cosines, transformed


class SpectralModel(nn.Module):
    """What is learned of families too large for dense Hessians: one spectrum for all instances.

    Parameters
    ----------
    shape : tuple of int
        Of the unknowns of a problem.
    """

    spectrum: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("spectrum", torch.ones(shape, dtype=torch.float64))


def fitted_spectrum(diagonals: Tensor) -> SpectralModel:
    """Return the model of some instances, from estimates of their spectra, ``(M, *shape)``.

    It is their mean. Where that cannot be told from zero, it is taken to be its standard error: a
    metric has no curvature of zero.
    """
    model = SpectralModel(tuple(diagonals.shape[1:]))
    error = diagonals.std(0) / len(diagonals) ** 0.5
    model.spectrum.copy_(torch.maximum(diagonals.mean(0), error))
    return model


def spectra(instance: Instance, x: Tensor, probes: int, generator: torch.Generator) -> Tensor:
    """Estimate the diagonals of ``C H C^T`` at solutions, ``(B, *shape)``.

    ``z * C H C^T z`` has the diagonal as its mean for random signs ``z`` (Hutchinson 1989; Bekas,
    Kokiopoulou and Saad 2007); what is off the diagonal is noise, which falls with the number of
    probes times that of instances.

    Parameters
    ----------
    instance : Instance
        The problems.
    x : Tensor
        Their solutions, ``(B, *shape)``.
    probes : int
        Hessian-vector products per problem.
    generator : torch.Generator
        Of the signs.
    """
    product = curved_along(as_objective(instance.objective), x)
    basis = [cosines(side).to(x) for side in x.shape[1:]]
    back = [one.mT for one in basis]
    total = torch.zeros_like(x)
    for _ in range(probes):
        signs = 2.0 * torch.randint(0, 2, x.shape, generator=generator).to(x) - 1
        total += signs * transformed(product(transformed(signs, back)), basis)
    return total / probes
