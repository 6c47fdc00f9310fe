"""Every atom, proposer and problem, once: a line here puts it under all the laws.

`tests/core/test_catalogue.py` fails when something public is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

import learnmm as lmm
from learnmm.atoms import Loss

UNKNOWNS = 6
ROWS = 4


@dataclass(frozen=True)
class Draw:
    """Random data of some problems; those of a problem depend on its number and the seed alone.

    `rows` are the numbers of the problems, by default ``0, ..., batch - 1``; `scales` multiplies
    the data of a problem.
    """

    batch: int
    dtype: torch.dtype
    seed: int = 0
    rows: Sequence[int] | None = None
    scales: Mapping[int, float] = field(default_factory=dict)
    device: str = "cpu"

    def normal(self, *shape: int, key: int) -> Tensor:
        """Gaussian ``(B, *shape)``; other keys give other data."""
        rows = range(self.batch) if self.rows is None else self.rows
        drawn = [self.scales.get(row, 1.0) * self._gaussian(shape, key, row) for row in rows]
        return torch.stack(drawn).to(self.device, self.dtype)

    def shared(self, *shape: int, key: int) -> Tensor:
        """Gaussian of a shape, the same for every batch."""
        return self._gaussian(shape, key, 0).to(self.device, self.dtype)

    def _gaussian(self, shape: tuple[int, ...], key: int, row: int) -> Tensor:
        generator = torch.Generator().manual_seed(10_000 * self.seed + 100 * key + row)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def point(self, *shape: int) -> Tensor:
        """A start for the iterate."""
        return self.normal(*(shape or (UNKNOWNS,)), key=0)

    def target(self, *shape: int) -> Tensor:
        """Data to fit."""
        return self.normal(*(shape or (UNKNOWNS,)), key=1)

    def matrix(self) -> Tensor:
        """A wide matrix, shared by the batch."""
        return self.shared(ROWS, UNKNOWNS, key=2)


@dataclass(frozen=True)
class AtomCase:
    """An atom for iterates of a shape; `kind` is what its bound must say.

    ``build(draw)`` makes the atom for a batch, ``case.point(draw)`` a start.
    """

    name: str
    build: Callable[[Draw], lmm.Atom]
    kind: lmm.Kind = lmm.Kind.GLOBAL
    shape: tuple[int, ...] = (UNKNOWNS,)

    def point(self, draw: Draw) -> Tensor:
        return draw.point(*self.shape)


def _network(draw: Draw) -> nn.Sequential:
    """A fixed autoencoder with layers of norm below 1."""
    network = nn.Sequential(
        nn.Linear(UNKNOWNS, 3),
        nn.Tanh(),
        nn.Linear(3, UNKNOWNS),
    )
    network = network.to(draw.device, draw.dtype).requires_grad_(False)
    for key, weight in enumerate(network.parameters()):
        weight.copy_(draw.shared(*weight.shape, key=10 + key) / 4)
    return network


def _products(matrix: Tensor) -> lmm.linear.LinearOperator:
    """A matrix known by its products alone."""
    return lmm.linear.LinearOperator(
        lambda x: x @ matrix.mT, lambda z: z @ matrix, (UNKNOWNS,), (ROWS,)
    )


def _smoother(draw: Draw) -> Tensor:
    """Mean with the neighbours on a ring."""
    eye = torch.eye(UNKNOWNS, dtype=draw.dtype, device=draw.device)
    return (eye.roll(1, 0) + eye.roll(-1, 0)) / 2


def _frequencies() -> Tensor:
    return torch.tensor([[True, True, False], [False, True, True]])


def _signs(draw: Draw) -> Tensor:
    return torch.where(draw.target() > 0, 1.0, -1.0).to(draw.dtype)


def _classes(scores: Tensor) -> Tensor:
    """One-hot rows for the largest of the last dimension."""
    classes = torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1])
    return classes.to(scores.dtype)


POINTWISE = lmm.Kind.POINTWISE

ATOMS = [
    AtomCase("quadratic", lambda d: lmm.Quadratic(d.target())),
    AtomCase("weighted", lambda d: lmm.Quadratic(d.target(), d.target().abs() + 0.1)),
    AtomCase("least-squares", lambda d: lmm.least_squares(d.matrix(), d.target(ROWS))),
    *(AtomCase(loss, lambda d, k=loss: lmm.HalfQuadratic(d.target(), k)) for loss in Loss),
    AtomCase("logistic", lambda d: lmm.Logistic(_signs(d))),
    AtomCase("logistic-uniform", lambda d: lmm.Logistic(_signs(d), tight=False)),
    AtomCase("softmax", lambda d: lmm.Softmax(_classes(d.target(ROWS, 3))), shape=(ROWS, 3)),
    AtomCase("softmax-chances", lambda d: lmm.Softmax(d.target(5).softmax(1)), shape=(5,)),
    AtomCase(
        "softmax-map",
        lambda d: lmm.Softmax(_classes(d.target(ROWS, 3))) @ d.matrix(),
        shape=(UNKNOWNS, 3),
    ),
    AtomCase("cosine", lambda d: lmm.CosineDistance(d.target())),
    AtomCase("cosine-floor", lambda d: lmm.CosineDistance(d.target(), floor=0.5)),
    AtomCase("cosine-pointwise", lambda d: lmm.CosineDistance(d.target(), "pointwise"), POINTWISE),
    AtomCase("cosine-paper", lambda d: lmm.CosineDistance(d.target(), "paper"), POINTWISE),
    AtomCase("cosine-map", lambda d: lmm.CosineDistance(d.target(ROWS)) @ d.matrix()),
    AtomCase(
        "cosine-uniform",
        lambda d: (
            lmm.CosineDistance(d.target(ROWS)) @ lmm.linear.MatrixMap(d.matrix(), form="uniform")
        ),
    ),
    AtomCase(
        "huber-separable",
        lambda d: (
            lmm.HalfQuadratic(d.target(ROWS)) @ lmm.linear.MatrixMap(d.matrix(), form="separable")
        ),
    ),
    AtomCase(
        "huber-sparse",
        lambda d: (
            lmm.HalfQuadratic(d.target(ROWS))
            @ lmm.linear.MatrixMap(d.matrix().to_sparse_coo(), form="separable")
        ),
    ),
    AtomCase(
        "cauchy-blur",
        lambda d: (
            lmm.HalfQuadratic(d.target(2, 3), "cauchy")
            @ lmm.linear.convolution(d.shared(1, 3, key=3), (2, 3), "zero")
        ),
        shape=(2, 3),
    ),
    AtomCase(
        "huber-fourier",
        lambda d: (
            lmm.HalfQuadratic(d.target(2, ROWS)) @ lmm.linear.subsampled_fourier(_frequencies())
        ),
        shape=(2, 3),
    ),
    AtomCase(
        "huber-products",
        lambda d: lmm.HalfQuadratic(d.target(ROWS)) @ _products(d.matrix()),
        lmm.Kind.PROBABLE,
    ),
    AtomCase(
        "cosine-times",
        lambda d: lmm.CosineDistance(d.target(ROWS, 3)) @ d.matrix(),
        shape=(UNKNOWNS, 3),
    ),
    AtomCase("magnitudes", lambda d: lmm.atoms.Magnitudes(d.target(3).abs()), shape=(3, 2)),
    AtomCase(
        "magnitudes-complex",
        lambda d: (
            lmm.atoms.Magnitudes(d.target(ROWS).abs())
            @ torch.complex(d.shared(ROWS, 3, key=3), d.shared(ROWS, 3, key=4))
        ),
        shape=(3, 2),
    ),
    AtomCase("autoencoder", lambda d: lmm.AutoencoderPrior(_network(d), bound="global")),
    AtomCase("autoencoder-scalar", lambda d: lmm.AutoencoderPrior(_network(d)), POINTWISE),
    AtomCase(
        "autoencoder-elementwise",
        lambda d: lmm.AutoencoderPrior(_network(d), bound="elementwise"),
        POINTWISE,
    ),
    AtomCase("smoother", lambda d: lmm.LinearSmootherPrior(_smoother(d))),
    AtomCase(
        "sum",
        lambda d: lmm.CosineDistance(d.target(ROWS)) @ d.matrix() + 0.3 * lmm.Quadratic(d.target()),
    ),
    AtomCase(
        "sum-mixed",
        lambda d: (
            lmm.least_squares(d.matrix(), d.target(ROWS))
            + 0.5 * lmm.AutoencoderPrior(_network(d), bound="scalar")
        ),
        POINTWISE,
    ),
]


@dataclass(frozen=True)
class ProposerCase:
    """A proposer for iterates of a shape."""

    name: str
    build: Callable[[torch.dtype], lmm.Proposer]
    shape: tuple[int, ...] = (UNKNOWNS,)


def _operator(dtype: torch.dtype) -> Tensor:
    return Draw(1, dtype).matrix()


PROPOSERS = [
    ProposerCase("constant", lambda dtype: lmm.proposers.Constant(initial=0.7).to(dtype)),
    ProposerCase("constant-each", lambda dtype: lmm.proposers.Constant((UNKNOWNS,), 0.5).to(dtype)),
    ProposerCase(
        "dual-conv-lstm",
        lambda dtype: lmm.proposers.DualConvLSTM(UNKNOWNS, 4).to(dtype),
        (UNKNOWNS, 3),
    ),
    ProposerCase("coordinatewise", lambda dtype: lmm.proposers.CoordinatewiseLSTM(4).to(dtype)),
    ProposerCase(
        "spectral", lambda dtype: lmm.proposers.SpectralLSTM(_operator(dtype), 4).to(dtype)
    ),
    ProposerCase(
        "spectral-times",
        lambda dtype: lmm.proposers.SpectralLSTM(_operator(dtype), 4).to(dtype),
        (UNKNOWNS, 3),
    ),
    ProposerCase("limited-memory", lambda dtype: lmm.LimitedMemory(3)),
    ProposerCase("extrapolated", lambda dtype: lmm.proposers.Extrapolated()),
    ProposerCase("dense-bfgs", lambda dtype: lmm.proposers.DenseBFGS()),
    ProposerCase("bfgs", lambda dtype: lmm.proposers.BFGS()),
    ProposerCase(
        "quasi-newton", lambda dtype: lmm.proposers.LearnedQuasiNewton.pretrained(3).to(dtype)
    ),
    ProposerCase(
        "unprojected",
        lambda dtype: lmm.proposers.Unprojected(lmm.proposers.CoordinatewiseLSTM(4)).to(dtype),
    ),
    ProposerCase(
        "unprojected-damped",
        lambda dtype: lmm.proposers.Unprojected(
            lmm.proposers.DualConvLSTM(UNKNOWNS, 4), lmm.proposers.DampedInverse(_operator(dtype))
        ).to(dtype),
        (UNKNOWNS, 3),
    ),
]


def _varied(name: str, **settings: Any) -> lmm.Problem:
    """A problem with other settings than its defaults."""
    return replace(lmm.problem(name), **settings)  # type: ignore[type-var]


@dataclass(frozen=True)
class ProblemCase:
    """An installed problem, or a variant of one; `certain` says that its bound is `GLOBAL`.

    The bound of a `costly` one takes many Hessian-vector products through a long computation: the
    laws of problems hold for it, those of the optimizer are tried on others of its kind.
    """

    label: str
    load: Callable[[], lmm.Problem]
    certain: bool = True
    costly: bool = False


PROBLEMS = [
    ProblemCase("quadratic", lambda: lmm.problem("quadratic")),
    ProblemCase("quadratic-structured", lambda: _varied("quadratic", form="structured")),
    ProblemCase("quadratic-separable", lambda: _varied("quadratic", form="separable")),
    ProblemCase("rosenbrock", lambda: lmm.problem("rosenbrock"), certain=False),
    ProblemCase("mgh", lambda: lmm.problem("mgh"), certain=False),
    ProblemCase("logistic-regression", lambda: lmm.problem("logistic-regression")),
    ProblemCase("softmax-regression", lambda: lmm.problem("softmax-regression")),
    ProblemCase("logistic-digits", lambda: lmm.problem("logistic-digits")),
    ProblemCase("signal-deconvolution", lambda: lmm.problem("signal-deconvolution")),
    ProblemCase("signal-cauchy", lambda: _varied("signal-deconvolution", loss="cauchy")),
    ProblemCase("image-deconvolution", lambda: lmm.problem("image-deconvolution")),
    ProblemCase("image-huber", lambda: _varied("image-deconvolution", loss="huber")),
    ProblemCase(
        "image-photographs",
        lambda: _varied("image-deconvolution", images="photographs", noise=0.02),
    ),
    ProblemCase("tomography", lambda: lmm.problem("tomography")),
    ProblemCase("template-matching", lambda: lmm.problem("template-matching")),
    ProblemCase("matrix-factorisation", lambda: lmm.problem("matrix-factorisation"), certain=False),
    ProblemCase("cosine-regression", lambda: lmm.problem("cosine-regression")),
    ProblemCase("autoencoder-inverse", lambda: lmm.problem("autoencoder-inverse")),
    ProblemCase(
        "autoencoder-pointwise",
        lambda: _varied("autoencoder-inverse", bound="elementwise"),
        certain=False,
    ),
    ProblemCase("sparse-deconvolution", lambda: lmm.problem("sparse-deconvolution")),
    ProblemCase("lasso", lambda: lmm.problem("lasso")),
    ProblemCase(
        "inverse-kinematics", lambda: lmm.problem("inverse-kinematics"), certain=False, costly=True
    ),
    ProblemCase(
        "spectral-peaks", lambda: lmm.problem("spectral-peaks"), certain=False, costly=True
    ),
    ProblemCase(
        "phase-retrieval", lambda: lmm.problem("phase-retrieval"), certain=False, costly=True
    ),
    ProblemCase("pendulum", lambda: lmm.problem("pendulum"), certain=False, costly=True),
    ProblemCase(
        "poisson-regression", lambda: lmm.problem("poisson-regression"), certain=False, costly=True
    ),
    ProblemCase("smoothing", lambda: lmm.problem("smoothing")),
    ProblemCase(
        "matrix-completion", lambda: lmm.problem("matrix-completion"), certain=False, costly=True
    ),
    ProblemCase("camera-pose", lambda: lmm.problem("camera-pose"), certain=False, costly=True),
    ProblemCase("photograph-deblurring", lambda: lmm.problem("photograph-deblurring")),
]
