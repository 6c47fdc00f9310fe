"""Every atom, map and majorant, with every bound it offers, on small problems in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

import learnmm as lmm
from learnmm.atoms import AutoencoderBound, CosineBound, Loss, SmootherBound
from learnmm.linear import Form
from learnmm_problems.matrix_factorisation import Factorisation

SEED = 7
BATCH, ROWS, UNKNOWNS, CLASSES = 16, 12, 24, 3
RIDGE = 0.1
COMPOSITE = "cosine of A x + autoencoder"


class Case(NamedTuple):
    """An objective with one of its bounds; `products` are Hessian products per bound.

    `twin` is the same objective where second derivatives of `energy` are not to be had.
    """

    objective: str
    bound: str
    energy: lmm.Atom | Callable[[Tensor], Tensor]
    x0: Tensor
    majorant: lmm.Majorant | None = None
    products: int = 0
    twin: lmm.Atom | None = None


def cases() -> Iterator[Case]:
    """All of them; those of one objective follow each other."""
    yield from cosines()
    yield from losses()
    yield from operators()
    yield from likelihoods()
    yield from priors()
    yield from composites()
    yield from factorisations()


def cosines() -> Iterator[Case]:
    """Cosine distance, alone and behind a matrix."""
    start = normal(BATCH, UNKNOWNS, key=2)
    target = normal(BATCH, UNKNOWNS, key=4)
    for bound in CosineBound:
        yield Case("cosine", bound, lmm.CosineDistance(target, bound), start)
    matrix, y = wide(), normal(BATCH, ROWS, key=3)
    for bound, form in [*(("global", form) for form in Form), ("pointwise", "structured"),
                        ("paper", "structured"), ("paper", "uniform")]:  # fmt: skip
        energy = lmm.CosineDistance(y, bound) @ lmm.linear.MatrixMap(matrix, form=form)
        yield Case("cosine of A x", f"{bound}, {form}", energy, start)


def losses() -> Iterator[Case]:
    """Quadratic and half-quadratic losses."""
    matrix, target = tall(), noisy()
    start = torch.zeros(BATCH, UNKNOWNS, dtype=torch.float64)
    weight = normal(UNKNOWNS, key=20).exp()
    quadratic = lmm.Quadratic(normal(BATCH, UNKNOWNS, key=5), weight)
    yield Case("weighted quadratic", "exact", quadratic, start)
    for form in Form:
        energy = lmm.least_squares(lmm.linear.MatrixMap(matrix, form=form), target)
        yield Case("least squares", form, energy, start)
    for loss in Loss:
        for form in Form:
            energy = lmm.HalfQuadratic(target, loss) @ lmm.linear.MatrixMap(matrix, form=form)
            yield Case(f"{loss} of A x", form, energy, start)


def operators() -> Iterator[Case]:
    """The same blur known by more or less, and a map that has no matrix."""
    kernel = torch.tensor([-0.2, 0.3, 0.8, 0.3, -0.2], dtype=torch.float64)
    blur = lmm.linear.convolution(kernel, (UNKNOWNS,), "zero")
    matrix = blur(torch.eye(UNKNOWNS, dtype=torch.float64)).mT
    start = torch.zeros(BATCH, UNKNOWNS, dtype=torch.float64)
    y = blur(2 * normal(BATCH, UNKNOWNS, key=5)) + 0.1 * normal(BATCH, UNKNOWNS, key=6)
    loss, shape = lmm.HalfQuadratic(y), (UNKNOWNS,)
    seeded = torch.Generator().manual_seed(SEED)
    known = lmm.linear.MatrixMap(matrix).norm(matrix)
    for bound, operator in (
        ("products with absolute entries", blur),
        (
            "known norm",
            lmm.linear.LinearOperator(blur.apply, blur.adjoint, shape, shape, norm=known),
        ),
        (
            "Lanczos norm",
            lmm.linear.LinearOperator(
                blur.apply, blur.adjoint, shape, shape,
                failure_probability=1e-3, generator=seeded,
            ),
        ),
        ("matrix, structured", lmm.linear.MatrixMap(matrix)),
    ):  # fmt: skip
        yield Case("huber of a blur", bound, loss @ operator, start)
    for form in ("separable", "uniform"):
        sparse = lmm.linear.MatrixMap(matrix.to_sparse_coo(), form=form)
        twin = loss @ matrix
        yield Case("huber of a blur", f"sparse matrix, {form}", loss @ sparse, start, twin=twin)

    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(SEED)) < 0.6
    fourier = lmm.linear.subsampled_fourier(mask)
    truth = normal(BATCH, 4, 6, key=5)
    coefficients = fourier(truth)
    energy = lmm.HalfQuadratic(coefficients + 0.1 * normal(*coefficients.shape, key=6)) @ fourier
    energy = energy + lmm.Quadratic(torch.zeros_like(truth), RIDGE)
    yield Case("huber of Fourier coefficients, ridge", "norm 1", energy, 0 * truth)


def likelihoods() -> Iterator[Case]:
    """Logistic and softmax regression, and softmax alone."""
    matrix, labels = tall(), clean().sign()
    start = torch.zeros(BATCH, UNKNOWNS, dtype=torch.float64)
    ridge = lmm.Quadratic(start, RIDGE)
    for name, tight in (("tanh(z/2)/2z", True), ("1/4", False)):
        for form in ("structured", "separable"):
            energy = lmm.Logistic(labels, tight) @ lmm.linear.MatrixMap(matrix, form=form) + ridge
            yield Case("logistic, ridge", f"{name}, {form}", energy, start)
    yield from measured("logistic, ridge", energy, start)
    constant = lmm.linear.MatrixMap(matrix).norm(matrix) ** 2 / 4 + RIDGE
    lipschitz = lmm.majorants.LipschitzMajorant(constant)
    yield Case("logistic, ridge", "Lipschitz constant", energy.__call__, start, lipschitz)

    scores = matrix @ normal(BATCH, UNKNOWNS, CLASSES, key=7)
    classes = nn.functional.one_hot(scores.argmax(-1), CLASSES).double()
    flat = torch.zeros(BATCH, UNKNOWNS, CLASSES, dtype=torch.float64)
    for form in Form:
        energy = lmm.Softmax(classes) @ lmm.linear.MatrixMap(matrix, form=form)
        yield Case("softmax, ridge", f"Boehning, {form}", energy + lmm.Quadratic(flat, RIDGE), flat)
    chances = normal(BATCH, 8, CLASSES, key=7).softmax(-1)
    yield Case("softmax", "Boehning", lmm.Softmax(chances), 0 * chances)


def priors() -> Iterator[Case]:
    """Autoencoders, dense and convolutional, and a smoother."""
    start = normal(BATCH, UNKNOWNS, key=2)
    signals = normal(BATCH, 6, 8, key=2)
    for name, network, x0 in (
        ("autoencoder", autoencoder(), start),
        ("convolutional autoencoder", convolutional(), signals),
    ):
        for bound in AutoencoderBound:
            yield Case(name, bound, lmm.AutoencoderPrior(network, bound), x0)
    eye = torch.eye(UNKNOWNS, dtype=torch.float64)
    smoother = (eye.roll(1, 0) + eye.roll(-1, 0)) / 2  # mean with the neighbours on a ring
    for bound in SmootherBound:
        yield Case("smoother", bound, lmm.LinearSmootherPrior(smoother, bound), start)


def composites() -> Iterator[Case]:
    """Data term plus network prior: every kind but `REGION`."""
    start, y = normal(BATCH, UNKNOWNS, key=2), normal(BATCH, ROWS, key=3)
    matrix, network = wide(), autoencoder()
    for data, bound in (("global", "global"), ("global", "scalar"), ("global", "elementwise"),
                        ("pointwise", "scalar")):  # fmt: skip
        energy = lmm.CosineDistance(y, data) @ matrix + lmm.AutoencoderPrior(network, bound)
        yield Case(COMPOSITE, f"{data} + {bound}", energy, start)
    yield from measured(COMPOSITE, energy, start)


def factorisations() -> Iterator[Case]:
    """A polynomial of degree four, which no curvature bounds everywhere."""
    left, right = normal(BATCH, 5, 2, key=12), normal(BATCH, 7, 2, key=13)
    y = left @ right.mT + 0.1 * normal(BATCH, 5, 7, key=14)
    energy = Factorisation(y, RIDGE)
    start = normal(BATCH, 12, 2, key=15) / 10
    yield Case("matrix factorisation", "region", energy, start)
    yield from measured("matrix factorisation", energy, start)


def measured(name: str, energy: lmm.Atom, x0: Tensor) -> Iterator[Case]:
    """The same energy as a plain callable, its curvature measured by Hessian products."""
    fun = energy.__call__
    for steps in (5, 20):
        for margin in (1.0, 1.1):
            seeded = torch.Generator().manual_seed(SEED)
            majorant = lmm.majorants.PowerIterationMajorant(fun, steps, margin, generator=seeded)
            label = f"power iteration, {steps} products, margin {margin}"
            yield Case(name, label, fun, x0, majorant, steps)
    lanczos = lmm.majorants.LanczosMajorant(fun, generator=torch.Generator().manual_seed(SEED))
    steps, _ = lanczos.plan(x0[0].numel())
    yield Case(name, f"Lanczos, {steps} products", fun, x0, lanczos, steps)
    yield Case(name, "secant of the last step", fun, x0, lmm.majorants.SecantMajorant(fun))


def normal(*shape: int, key: int) -> Tensor:
    """Gaussian; other keys give other data."""
    generator = torch.Generator().manual_seed(100 * SEED + key)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def wide() -> Tensor:
    """A matrix of less rows than columns."""
    return normal(ROWS, UNKNOWNS, key=0) / UNKNOWNS**0.5


def tall() -> Tensor:
    """A matrix of full rank whose columns differ in length by a factor of ten."""
    scales = 10 ** torch.linspace(-1, 0, UNKNOWNS).double()
    return normal(3 * UNKNOWNS, UNKNOWNS, key=1) * scales


def clean() -> Tensor:
    """What the tall matrix makes of some truth."""
    return normal(BATCH, UNKNOWNS, key=5) @ tall().mT


def noisy() -> Tensor:
    """The same with noise."""
    image = clean()
    return image + 0.1 * normal(*image.shape, key=6)


def autoencoder() -> nn.Sequential:
    """A network whose layers have norm one, so that its global bound means something."""
    basis = torch.linalg.qr(normal(UNKNOWNS, 8, key=8)).Q
    network = nn.Sequential(
        nn.Linear(UNKNOWNS, 8, dtype=torch.float64), nn.Tanh(),
        nn.Linear(8, UNKNOWNS, dtype=torch.float64),
    ).requires_grad_(False)  # fmt: skip
    network[0].weight.copy_(basis.mT)
    network[2].weight.copy_(basis)
    for index in (0, 2):
        network[index].bias.copy_(0.1 * normal(len(network[index].bias), key=9 + index))
    return network


def convolutional() -> nn.Sequential:
    """A network of short kernels and sharp bends, unconstrained."""
    network = nn.Sequential(
        nn.Conv1d(6, 4, 3, padding=1), lmm.SoftReLU(), nn.Conv1d(4, 4, 3, padding=1),
        lmm.SoftReLU(), nn.Conv1d(4, 6, 3, padding=1),
    ).double().requires_grad_(False)  # fmt: skip
    for key, weight in enumerate(network.parameters()):
        fan = weight[0].numel() if weight.dim() > 1 else 10
        weight.copy_(normal(*weight.shape, key=30 + key) / fan**0.5)
    return network
