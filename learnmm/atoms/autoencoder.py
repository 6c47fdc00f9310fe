"""Autoencoder prior: the cosine distance between ``x`` and its reconstruction by a network."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from learnmm.atoms.activations import bend_of
from learnmm.atoms.angles import (
    Cosine,
    cosine,
    cosine_gradients,
    joint_constant,
    joint_pointwise,
    require_direction,
    sine,
)
from learnmm.atoms.base import Atom
from learnmm.atoms.networks import (
    layers_of,
    linear_absolute,
    linear_adjoint,
    linear_norm,
    network_constants,
)
from learnmm.bound import Bound
from learnmm.choices import chosen
from learnmm.curvature import DiagonalCurvature, ScalarCurvature
from learnmm.kind import Kind
from learnmm.levels import not_negative
from learnmm.objective import Evaluation
from learnmm.vectors import expand


class AutoencoderBound(StrEnum):
    """Which curvature bounds the prior of an autoencoder."""

    GLOBAL = "global"
    """Theorem 3: valid everywhere."""
    SCALAR = "scalar"
    """A number at the point (MM-Net Eq. 21)."""
    ELEMENTWISE = "elementwise"
    """A number per unknown at the point (as MM-Net Eq. 20)."""


class _Pass(NamedTuple):
    """One forward pass: the input of every layer, and the output."""

    inputs: list[Tensor]
    output: Tensor


class AutoencoderPrior(Atom):
    """``f(x) = 1 - cos(x, Phi(x))`` with a feed-forward network ``Phi`` (prior of MM-Net Eq. 8).

    Value, gradient and everything the bound needs come from one forward and one backward pass.

    Parameters
    ----------
    network : nn.Module
        Sequential of Conv1d, Linear, SoftReLU, Softplus, Tanh, Sigmoid, with an output of the
        input's shape ``(B, *shape)``.
    bound : {"global", "scalar", "elementwise"}
        "global": Theorem 3, valid everywhere; needs small layer norms to be of use. "scalar" and
        "elementwise": Gauss-Newton part plus residual part at the point, `POINTWISE`, as a number
        (MM-Net Eq. 21) or per unknown (as Eq. 20; one more pass back, with absolute weights, and
        nowhere larger than "scalar"). The Gauss-Newton part uses the exact joint curvature of the
        cosine, the residual part only its positive entries, and both use the slopes of the
        activations at the point.
    floor : float
        Length below which ``|x|`` and ``|Phi(x)|`` are smoothed; 0 makes zero an error.

    Raises
    ------
    TypeError
        For a layer without a known bound, naming it and what to do.
    ValueError
        For an unknown bound or a negative floor.

    Notes
    -----
    Layer norms are computed when the prior is built, and again at the start of a solve if the
    weights have changed.
    """

    def __init__(
        self,
        network: nn.Module,
        bound: AutoencoderBound | str = AutoencoderBound.SCALAR,
        floor: float = 0.0,
    ) -> None:
        self.mode = chosen(AutoencoderBound, bound, "AutoencoderPrior: bound")
        self.floor = not_negative("AutoencoderPrior: floor", floor)
        self.network = network
        self._layers = layers_of(network)
        self._bends = [bend_of(layer) for layer in self._layers]
        self._refresh()

    def _refresh(self) -> None:
        """Compute layer norms and remember the weights they belong to."""
        self._norms = {
            index: linear_norm(layer)
            for index, (layer, bend) in enumerate(zip(self._layers, self._bends, strict=True))
            if bend is None
        }
        self._weights = [weight.detach().clone() for weight in self.network.parameters()]
        self.constants = network_constants(self._layers, self._norms)

    def _forward(self, x: Tensor) -> _Pass:
        inputs, v = [], x
        for layer in self._layers:
            inputs.append(v)
            v = layer(v)
        return _Pass(inputs, v)

    def __call__(self, x: Tensor) -> Tensor:
        """``f(x)``, shape ``(B,)``, from the forward pass alone."""
        return cosine(x, self._forward(x).output, self.floor).distance

    def measure(self, x: Tensor) -> tuple[Tensor, Any]:
        """Distance and curvature, which rests on the backward pass too."""
        evaluation = self.evaluate(x)
        return evaluation.value, evaluation.aux

    def evaluate(self, x: Tensor) -> Evaluation:
        """One forward pass, one backward pass, and from them the curvature."""
        passed = self._forward(x)
        pieces = cosine(x, passed.output, self.floor)
        direct, delta = cosine_gradients(x, passed.output, pieces)
        # Backwards: delta is the gradient at a layer's output; at activations, s'' delta is the
        # residual curvature.
        slopes: dict[int, Tensor] = {}
        residuals: dict[int, Tensor] = {}
        for index in reversed(range(len(self._layers))):
            z, bend = passed.inputs[index], self._bends[index]
            if bend is None:
                delta = linear_adjoint(self._layers[index], delta, z)
                continue
            slopes[index] = bend.slope(z)
            if self.mode is not AutoencoderBound.GLOBAL:
                residuals[index] = (bend.bend(z) * delta).clamp(min=0)
            delta = slopes[index] * delta
        if self.mode is AutoencoderBound.GLOBAL:
            curvature = self._everywhere(pieces)
        elif self.mode is AutoencoderBound.SCALAR:
            curvature = self._scalar(pieces, slopes, residuals)
        else:
            curvature = self._elementwise(pieces, slopes, passed, residuals)
        return Evaluation(pieces.distance, direct + delta, curvature)

    def _everywhere(self, pieces: Cosine) -> Tensor:
        """Theorem 3: ``c(s)(1/|x|^2 + L^2/|Phi|^2) + M sqrt(1 - s^2)/|Phi|``, ``(B,)``."""
        distance, norm_x, norm_out, _ = pieces
        lipschitz, smoothness = self.constants
        gauss_newton = joint_constant(distance) * ((1 / norm_x) ** 2 + (lipschitz / norm_out) ** 2)
        return gauss_newton + smoothness * sine(distance) / norm_out

    def _scalar(
        self, pieces: Cosine, slopes: dict[int, Tensor], residuals: dict[int, Tensor]
    ) -> Tensor:
        """``lam (1/|x|^2 + |J|^2/|Phi|^2) + sum_l max(s'' delta)_+ |J_l|^2``, ``(B,)``."""
        distance, norm_x, norm_out, _ = pieces
        jacobian = torch.ones_like(distance)
        residual = torch.zeros_like(distance)
        for index in range(len(self._layers)):
            if index in slopes:
                residual = residual + _peak(residuals[index]) * jacobian**2
                jacobian = jacobian * _peak(slopes[index])
            else:
                jacobian = jacobian * self._norms[index]
        gauss_newton = (1 / norm_x) ** 2 + (jacobian / norm_out) ** 2
        return joint_pointwise(distance) * gauss_newton + residual

    def _elementwise(
        self, pieces: Cosine, slopes: dict[int, Tensor], passed: _Pass, residuals: dict[int, Tensor]
    ) -> Tensor:
        """Diagonal that dominates the same matrices, pulled back layer by layer from the output.

        A diagonal ``C`` behind a linear layer ``W`` becomes ``|W|^2 max(C) I`` or, row by row as
        in `learnmm.linear.MatrixMap`, ``diag(|W|^T C |W| 1)``: per problem the one whose largest
        entry is smaller. Row sums win where few outputs bend and reach few inputs, the norm in
        dense layers. The norm alone would give :meth:`_scalar`, so no entry exceeds that bound.
        """
        distance, norm_x, norm_out, _ = pieces
        level = joint_pointwise(distance)
        curvature = expand(level / norm_out / norm_out, passed.output).expand_as(passed.output)
        for index in reversed(range(len(self._layers))):
            layer, z = self._layers[index], passed.inputs[index]
            if index in slopes:
                curvature = slopes[index] ** 2 * curvature + residuals[index]
                continue
            rows = linear_absolute(layer, torch.ones_like(z[:1]))
            by_row = linear_adjoint(layer, curvature * rows, z, absolute=True)
            by_norm = _peak(curvature) * self._norms[index] ** 2
            smaller = expand(_peak(by_row) <= by_norm, z)
            curvature = torch.where(smaller, by_row, expand(by_norm, z))
        return curvature + expand(level / norm_x / norm_x, curvature)

    def bound_at(self, x: Tensor, aux: Any) -> Bound:
        """Bound from the curvature that the evaluation brought along."""
        if not isinstance(aux, Tensor):
            raise ValueError(
                "AutoencoderPrior.bound_at expects the aux of its own measure or evaluate at x, a "
                f"tensor of curvatures, got {type(aux).__name__}"
            )
        if self.mode is AutoencoderBound.ELEMENTWISE:
            return Bound(Kind.POINTWISE, DiagonalCurvature(aux))
        kind = Kind.GLOBAL if self.mode is AutoencoderBound.GLOBAL else Kind.POINTWISE
        return Bound(kind, ScalarCurvature(aux))

    def check(self, x: Tensor) -> None:
        """The network maps ``x`` to its own shape, and both vectors have a direction."""
        weights = list(self.network.parameters())
        for weight in weights:
            if weight.dtype != x.dtype or weight.device != x.device:
                raise ValueError(
                    "AutoencoderPrior expects x where the network's weights are, "
                    f"{weight.dtype} on {weight.device}, got {x.dtype} on {x.device}"
                )
        if not all(
            weight.device == known.device and torch.equal(weight, known)
            for weight, known in zip(weights, self._weights, strict=True)
        ):
            self._refresh()
        with torch.no_grad():
            output = self._forward(x).output
        if output.shape != x.shape:
            raise ValueError(
                "AutoencoderPrior expects a network that keeps the shape of x, got one by which "
                f"{tuple(x.shape)} became {tuple(output.shape)}"
            )
        require_direction("x", x, self.floor)
        require_direction("Phi(x)", output, self.floor)

    def restricted(self, rows: Tensor) -> Self:
        """All problems share it."""
        return self


def _peak(v: Tensor) -> Tensor:
    return v.reshape(v.shape[0], -1).amax(1)
