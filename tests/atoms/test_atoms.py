"""Atoms: values against plain formulas, gradients three ways, and bounds that must not break."""

from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import learnmm as lmm
from draws import normal
from learnmm.atoms import Loss
from learnmm.checks import LawViolation, assert_majorant
from learnmm.checks.laws import dense
from learnmm.hessian import hessian_product
from learnmm.linear import Form
from learnmm.objective import differentiate

BATCH, N, M = 80, 6, 4
EPS = torch.finfo(torch.float64).eps


def signs(t):
    return torch.where(t > 0, 1.0, -1.0).double()


LEAVES = {
    "cosine": lmm.CosineDistance,
    "cosine floor": lambda y: lmm.CosineDistance(y, floor=0.3),
    "quadratic": lambda y: lmm.Quadratic(y, 0.1 + y.abs()),
    **{loss: lambda y, loss=loss: lmm.HalfQuadratic(y, loss, scale=0.7) for loss in Loss},
    "logistic": lambda y: lmm.Logistic(signs(y)),
    "logistic uniform": lambda y: lmm.Logistic(signs(y), tight=False),
}
A = normal(M, N, seed=1)
TALL = normal(9, N, seed=2)
LOW_RANK = normal(M, 2, seed=3) @ normal(2, N, seed=4)


def mapped(leaf, linear, rest=()):
    return LEAVES[leaf](normal(BATCH, linear.shape[0], *rest, seed=5)) @ linear


COMPOSITIONS = {
    "alone": lambda leaf: LEAVES[leaf](normal(BATCH, N, seed=6)),
    "scaled": lambda leaf: 2.5 * LEAVES[leaf](normal(BATCH, N, seed=6)),
    "weighted": lambda leaf: LEAVES[leaf](normal(BATCH, N, seed=6)) * normal(BATCH).exp(),
    **{
        f"map {form}": lambda leaf, form=form: mapped(leaf, lmm.linear.MatrixMap(A, form=form))
        for form in Form
    },
    "map tall": lambda leaf: mapped(leaf, lmm.linear.MatrixMap(TALL)),
    "map low rank": lambda leaf: mapped(leaf, lmm.linear.MatrixMap(LOW_RANK)),
    "map sparse": lambda leaf: mapped(
        leaf, lmm.linear.MatrixMap(A.to_sparse_coo(), form="uniform")
    ),
    "sum": lambda leaf: (
        mapped(leaf, lmm.linear.MatrixMap(A)) + 0.3 * LEAVES[leaf](normal(BATCH, N, seed=6))
    ),
    "sum shared map": lambda leaf: _shared(leaf, lmm.linear.MatrixMap(A)),
    "times": lambda leaf: mapped(leaf, lmm.linear.MatrixMap(A), rest=(3,)),
}


def _shared(leaf, linear):
    return mapped(leaf, linear) + 0.5 * mapped("huber", linear) + 1e-3 * mapped("cosine", linear)


def starts(composition):
    """Points from 1e-9 to 100 times the size of the targets away from zero."""
    rest = (3,) if composition == "times" else ()
    x = normal(BATCH, N, *rest, seed=8)
    scale = 10 ** torch.linspace(-9, 2, BATCH, dtype=torch.float64)[torch.randperm(BATCH)]
    return x * scale.reshape(-1, *([1] * (x.dim() - 1)))


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("leaf", LEAVES)
def test_no_point_lies_above_the_majorant(leaf, composition):
    """Fourteen thousand points per case, random and adversarial."""
    atom, x = COMPOSITIONS[composition](leaf), starts(composition)
    atom.check(x)
    assert atom.bound(x).kind is lmm.Kind.GLOBAL
    assert_majorant(None, atom, x, points=50, search_steps=25)
    if composition in ("alone", "scaled"):  # at and next to the target
        near = normal(BATCH, N, seed=6) + 1e-3 * x
        assert_majorant(None, atom, near, points=50, search_steps=25)


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("leaf", LEAVES)
def test_gradient_is_the_derivative(leaf, composition):
    atom = COMPOSITIONS[composition](leaf)
    x = normal(*starts(composition).shape, seed=9)
    value, gradient, _ = atom.evaluate(x)
    assert torch.allclose(atom(x), value, rtol=1e-14)
    derived = differentiate(atom.measure, x).gradient
    assert torch.allclose(gradient, derived, rtol=1e-11, atol=1e-13)
    direction, h = normal(*x.shape, seed=10), 1e-5
    slope = (atom(x + h * direction) - atom(x - h * direction)) / (2 * h)
    expected = (gradient * direction).flatten(1).sum(1)
    assert torch.allclose(slope, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("leaf", LEAVES)
def test_an_evaluation_leaves_no_graph_that_nobody_asked_for(leaf):
    """In any mode of autograd, inside and outside of transforms, by one function or another."""
    atom, x = LEAVES[leaf](normal(BATCH, N, seed=6)), normal(BATCH, N, seed=9)
    ways = {"with a graph": differentiate(atom.measure, x)}
    with torch.no_grad():
        ways["without"] = differentiate(atom.measure, x)
    ways["mapped"] = torch.func.vmap(lambda z: differentiate(atom.measure, z))(x[None])
    for name, found in ways.items():
        assert not found.value.requires_grad
        assert not found.gradient.requires_grad
        for a, b in zip(found[:2], atom.evaluate(x)[:2], strict=True):
            torch.testing.assert_close(a[0] if name == "mapped" else a, b, rtol=1e-11, atol=1e-13)
    wanted = differentiate(atom.measure, x.clone().requires_grad_())
    assert wanted.value.requires_grad
    assert wanted.gradient.requires_grad


def test_what_does_not_depend_on_x_has_no_gradient():
    """As in torch.func, whether or not something else has a graph."""
    x, weight = normal(3, N), normal(3).requires_grad_()
    for constant in (torch.ones(3, dtype=torch.float64), weight):
        for mode in (torch.no_grad, torch.enable_grad):
            with mode():
                found = differentiate(lambda _, c=constant: (2 * c, ()), x)
            assert torch.equal(found.gradient, torch.zeros_like(x))
            assert torch.equal(found.value, 2 * constant)


def exact(name, t):
    """Loss and half-quadratic weight at one residual, to sixty digits."""
    with localcontext() as context:
        context.prec = 60
        d = Decimal(float(t))
        up, down = d.exp(), (-d).exp()
        loss, weight = {
            "huber": lambda: (
                (d * d / 2, Decimal(1)) if abs(d) <= 1 else (abs(d) - Decimal("0.5"), 1 / abs(d))
            ),
            "hyperbolic": lambda: ((1 + d * d).sqrt() - 1, 1 / (1 + d * d).sqrt()),
            "logcosh": lambda: (((up + down) / 2).ln(), (up - down) / (up + down) / d),
            "cauchy": lambda: ((1 + d * d).ln() / 2, 1 / (1 + d * d)),
            "geman_mcclure": lambda: (d * d / (1 + d * d) / 2, 1 / (1 + d * d) ** 2),
            "welsch": lambda: (1 - (-d * d / 2).exp(), (-d * d / 2).exp()),
            "logistic": lambda: ((1 + down).ln(), (1 - down) / (1 + down) / (2 * d)),
        }[name]()
        return float(loss), float(weight)


@given(
    name=st.sampled_from([*Loss, "logistic"]),
    exponent=st.floats(-12, 2),
    sign=st.sampled_from([-1, 1]),
)
@example(name="geman_mcclure", exponent=2.0, sign=-1)
def test_losses_and_weights_keep_their_digits(name, exponent, sign):
    """Relative accuracy down to tiny residuals: the descent test lives from it."""
    t = torch.tensor([[sign * 10**exponent]], dtype=torch.float64)
    if name == "logistic":
        atom = lmm.Logistic(torch.ones_like(t))
    else:
        atom = lmm.HalfQuadratic(torch.zeros_like(t), name)
    loss, weight = exact(name, t)
    assert float(atom(t)) == pytest.approx(loss, rel=16 * EPS, abs=1e-300)
    # Rounding t^2 inside an exponential costs t^2 eps.
    allowed = 16 * EPS * max(1.0, float(t) ** 2 if name == "welsch" else 1.0)
    assert float(atom.curvatures(t)) == pytest.approx(weight, rel=allowed, abs=1e-300)
    if name != "logistic":
        derivative = float(atom.evaluate(t).gradient)
        assert derivative == pytest.approx(weight * float(t), rel=4 * allowed, abs=1e-300)


def test_logistic_is_continuous_far_from_the_boundary():
    z = torch.linspace(-25, -15, 4001, dtype=torch.float64)[:, None]
    values = lmm.Logistic(torch.ones_like(z))(z)
    assert (values.diff().diff().abs() < 1e-10).all()


def test_scale_and_weight_are_where_they_belong():
    z, y = normal(2, 3, seed=1), normal(2, 3, seed=2)
    scaled = lmm.HalfQuadratic(y, "cauchy", scale=0.5)(z)
    plain = 0.25 * torch.log1p(((z - y) / 0.5) ** 2).sum(1) / 2
    assert torch.allclose(scaled, plain, rtol=1e-14)
    weight = torch.tensor([1.0, 2.0, 3.0]).double()
    assert torch.allclose(lmm.Quadratic(y, weight)(z), (weight * (z - y) ** 2).sum(1) / 2)
    b = normal(2, M, seed=3)
    assert torch.allclose(lmm.least_squares(A, b)(normal(2, N)), _half(normal(2, N) @ A.mT - b))


def _half(r):
    return (r * r).sum(1) / 2


def test_exact_majorants_are_exact():
    """For quadratics ``Q`` is ``f``: the bound's dense matrix is the Hessian."""
    x = normal(2, N)
    for atom in (lmm.least_squares(A, normal(2, M)), lmm.Quadratic(normal(2, N), 3.0)):
        hessian = dense(hessian_product(atom, x), x)
        assert torch.allclose(dense(atom.bound(x).curvature.apply, x), hessian, atol=1e-12)


# The cosine.


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_cosine_value_matches_the_formula(floor):
    z, y = normal(50, 3, 2, seed=1), normal(50, 3, 2, seed=2)
    inner = (z * y).flatten(1).sum(1)
    sizes = ((z**2).flatten(1).sum(1) + floor**2) * ((y**2).flatten(1).sum(1) + floor**2)
    expected = 1 - inner / sizes.sqrt()
    assert torch.allclose(lmm.CosineDistance(y, floor=floor)(z), expected, rtol=1e-13)


@given(exponent=st.floats(-9, 0), angle=st.floats(0, 6.3), size=st.sampled_from([1e-5, 1.0, 1e5]))
def test_cosine_is_accurate_at_both_ends(exponent, angle, size):
    """``1 - cos`` keeps its digits near zero, where ``1 - s`` would keep none, and near two."""
    t = 10**exponent
    along = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).double()
    turned = along + t * torch.tensor([[0.0, 1.0]]).double()
    c, s = torch.tensor(angle).double().cos(), torch.tensor(angle).double().sin()
    rotation = torch.stack([torch.stack([c, -s]), torch.stack([s, c])])
    y = along[:1].expand(2, 2) @ rotation.mT
    near, far = lmm.CosineDistance(y)(size * turned @ rotation.mT).tolist()
    root = (1 + t * t) ** 0.5
    expected = t * t / (root * (1 + root))
    # The unit vectors are rounded, which turns them by a few eps.
    assert near == pytest.approx(expected, rel=16 * EPS * (1 + 1 / t), abs=0)
    assert far == pytest.approx(2 - expected, rel=8 * EPS)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("bound", ["pointwise", "paper"])
def test_pointwise_cosine_bounds_dominate_the_hessian(bound, n):
    y, z = normal(200, n, seed=1), 10 * normal(200, n, seed=2)
    z[:50] = y[:50] * 2 + 1e-3 * z[:50]  # aligned
    z[50:100] = -y[50:100] + 1e-3 * z[50:100]  # opposed
    atom = lmm.CosineDistance(y, bound)
    assert_majorant(None, atom, z)
    curvature = atom.bound(z).curvature.largest()
    largest = torch.linalg.eigvalsh(dense(hessian_product(atom, z), z))[:, -1]
    if bound == "pointwise" and n > 1:
        scale = (z * z).sum(1)
        assert torch.allclose(curvature * scale, largest * scale, atol=1e-7, rtol=1e-7)
        aligned = slice(0, 50)
        assert torch.allclose(curvature[aligned], largest[aligned], rtol=1e-12)


@pytest.mark.parametrize("bound", ["pointwise", "paper"])
@pytest.mark.parametrize("smaller", [0.999])
def test_a_pointwise_bound_that_is_too_small_is_caught(bound, smaller):
    # The paper's constant is attained at s = 1/sqrt(3).
    y, z = torch.tensor([[1.0, 2**0.5]]).double(), torch.tensor([[2.0, 0.0]]).double()
    atom = lmm.CosineDistance(y, bound)
    with pytest.raises(LawViolation, match="POINTWISE"):
        assert_majorant(lambda x, aux: atom.bound(x).scaled(smaller), atom, z)


def test_pointwise_is_never_looser_than_the_papers():
    y, z = normal(500, 4, seed=1), normal(500, 4, seed=2)
    sharp, paper = (
        lmm.CosineDistance(y, mode).bound(z).curvature for mode in ("pointwise", "paper")
    )
    assert (sharp.largest() <= paper.largest() * (1 + 1e-15)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lmm.CosineDistance(torch.zeros(2, 3)), r"\[0, 1\]"),
        (lambda: lmm.CosineDistance(torch.full((1, 3), torch.nan)), r"\[0\]"),
        (lambda: lmm.CosineDistance(torch.ones(2, 3), "sharp"), "'sharp'"),
        (lambda: lmm.CosineDistance(torch.ones(2, 3), floor=-1.0), "-1.0"),
        (lambda: lmm.CosineDistance(torch.ones(3)), r"\(3,\)"),
        (lambda: lmm.CosineDistance(torch.ones(2, 3, dtype=torch.int64)), "int64"),
        (lambda: lmm.HalfQuadratic(torch.ones(2, 3), "l1"), "'l1'"),
        (lambda: lmm.HalfQuadratic(torch.ones(2, 3), scale=0.0), "0.0"),
        (lambda: lmm.HalfQuadratic(torch.ones(2, 3), scale=float("inf")), "inf"),
        (lambda: lmm.Quadratic(torch.ones(2, 3, dtype=torch.int64)), "int64"),
        (lambda: lmm.Quadratic(torch.full((2, 3), torch.inf)), "finite targets, got NaN or inf"),
        (lambda: lmm.Quadratic(torch.ones(2, 3), 0.0), "weight must be positive and finite, got 0"),
        (lambda: lmm.Logistic(torch.zeros(2, 3)), r"labels -1 or \+1, got .* 0 to 0"),
        (lambda: 0.0 * lmm.Quadratic(torch.ones(2, 3)), "positive"),
        (lambda: lmm.Quadratic(torch.ones(2, 3)) * torch.ones(2, 3), r"\(2, 3\)"),
    ],
)
def test_misuse_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("atom", "x", "message"),
    [
        (lmm.CosineDistance(torch.ones(2, 3)), torch.ones(2, 4), r"\(2, 4\)"),
        (lmm.CosineDistance(torch.ones(2, 3)), torch.ones(2, 3).double(), "float64"),
        (lmm.CosineDistance(torch.ones(2, 3)), torch.ones(2, 3, device="meta"), "meta"),
        (lmm.CosineDistance(torch.ones(2, 3)), torch.eye(3)[:2] * torch.tensor([[1.0], [0]]), "1"),
        (lmm.Quadratic(torch.ones(2, 3)), torch.ones(2, 4), r"\(2, 4\)"),
        (lmm.Logistic(torch.ones(2, 3)), torch.ones(2, 3).double(), "float64"),
        (lmm.Quadratic(torch.ones(2, 3)) * torch.ones(3), torch.ones(2, 3), "3 weights"),
        (lmm.Quadratic(torch.ones(2, 3)) @ torch.ones(3, 5), torch.ones(2, 4), r"\(3, 5\)"),
        (
            lmm.Quadratic(torch.ones(2, 3)) + lmm.CosineDistance(torch.ones(2, 3)),
            torch.zeros(2, 3),
            "undefined at zero",
        ),
    ],
)
def test_points_that_do_not_fit_are_refused(atom, x, message):
    with pytest.raises(ValueError, match=message):
        atom.check(x)


@pytest.mark.parametrize("other", [1.0, "f", None])
def test_atoms_combine_with_atoms_alone(other):
    atom = lmm.Quadratic(torch.ones(2, 3))
    with pytest.raises(TypeError):
        atom + other
    with pytest.raises(TypeError):
        atom @ other
    if not isinstance(other, float):
        with pytest.raises(TypeError):
            atom * other
