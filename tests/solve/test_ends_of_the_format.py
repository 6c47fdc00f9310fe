"""To the ends of the format: norms, values and curvatures are right or not finite."""

import math

import pytest
import torch

import learnmm as lmm
from adversaries import Returning
from catalogue import ATOMS, Draw
from learnmm.checks import LawViolation, assert_rays
from learnmm.proposers.base import rms, scale_free
from learnmm.vectors import norm, peak, power_of_two

by_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
by_atom = pytest.mark.parametrize("case", ATOMS, ids=lambda case: case.name)


@by_atom
@by_dtype
def test_values_follow_their_gradient_along_rays(case, dtype):
    draw = Draw(2, dtype)
    assert_rays(case.build(draw), case.point(draw))


@by_atom
def test_float32_agrees_with_float64_along_rays(case):
    draw = Draw(2, torch.float32)
    assert_rays(case.build(draw), case.point(draw), reference=case.build(Draw(2, torch.float64)))


def squares(x):
    """``|x|`` by a sum of squares."""
    return (x * x).sum(1).sqrt()


CARELESS = {
    # Plain sums of squares, and what they make of a cosine: 1 - 0, or 1 - inf / inf.
    "cosine": lambda x: 1 - (x / squares(x)[:, None])[:, 0],
    "norm": lambda x: torch.where(torch.isfinite(squares(x)), squares(x), 0.0),
}


@pytest.mark.parametrize("name", CARELESS)
@by_dtype
def test_careless_squares_are_caught(name, dtype):
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=dtype)
    with pytest.raises(LawViolation, match=r"f\(t x\) is right or not finite: problem \d has"):
        assert_rays(CARELESS[name], x)


def test_a_reference_is_compared_with():
    x = torch.ones(1, 2)
    assert_rays(lambda x: x.sin().sum(1), x, reference=lambda x: x.float().sin().sum(1))
    with pytest.raises(LawViolation, match="2 is expected"):
        assert_rays(lambda x: 0 * x.sum(1) + 1, x, reference=lambda x: 0 * x.sum(1) + 2)


@pytest.mark.parametrize(
    ("x", "fun", "message"),
    [
        (torch.zeros(1, 2), squares, "none of them zero"),
        (torch.full((1, 2), torch.inf), squares, "x must be finite"),
        (torch.ones(1, 2), lambda x: x.sum(1) / 0, "f is finite"),
    ],
)
def test_rays_need_directions(x, fun, message):
    with pytest.raises(ValueError, match=message):
        assert_rays(fun, x)


@by_dtype
def test_norms_scale(dtype):
    """Exactly by powers of two, as far as the entries are normal numbers."""
    limits = torch.finfo(dtype)
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x.to(dtype)
    expected = torch.linalg.vector_norm(x.flatten(1), dim=1)
    assert torch.equal(norm(x), expected)
    for exponent in (-60, -20, 20, 60, *(() if dtype == torch.float32 else (-900, 900))):
        assert torch.equal(norm(2.0**exponent * x), 2.0**exponent * expected)
    mixed = torch.stack([x[0], 2.0**60 * x[1], 0 * x[2]])  # neighbours do not matter
    assert torch.equal(
        norm(mixed), torch.stack([expected[0], 2.0**60 * expected[1], expected[0] * 0])
    )
    assert torch.equal(norm(x[:, :, :0]), torch.zeros(3, dtype=dtype))
    assert torch.isinf(norm(torch.full((1, 100), limits.max, dtype=dtype))).all()
    assert torch.isnan(norm(torch.tensor([[torch.nan, 1.0]], dtype=dtype))).all()
    assert torch.isinf(norm(torch.tensor([[torch.inf, 1.0]], dtype=dtype))).all()


@pytest.mark.parametrize("size", [1.0, 1e-300, 1e300])
def test_norms_differentiate_at_every_scale(size):
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = x / torch.linalg.vector_norm(x, dim=1, keepdim=True)
    gradient = torch.func.grad(lambda v: norm(v).sum())(size * x)
    torch.testing.assert_close(gradient, unit)
    tangent = torch.func.jvp(norm, (size * x,), (x,))[1]
    torch.testing.assert_close(tangent, torch.linalg.vector_norm(x, dim=1))
    mapped = torch.func.vmap(norm)(size * torch.stack([x, 2 * x]))
    torch.testing.assert_close(mapped[1] / mapped[0], torch.full((2,), 2.0, dtype=x.dtype))


def test_scales_are_powers_of_two():
    size = torch.tensor([0.0, 1.0, 3.0, 1e-45, 3e38, torch.inf, torch.nan])
    scale = power_of_two(size)
    assert torch.equal(scale.log2(), scale.log2().round())
    assert (1 / scale >= torch.finfo(scale.dtype).tiny).all()
    assert scale[[0, 5, 6]].tolist() == [1.0, 1.0, 1.0]
    assert peak(torch.tensor([[-3.0, 2.0], [torch.nan, 1.0]])).isnan().tolist() == [False, True]


@by_dtype
@pytest.mark.parametrize("exponent", [-100, 0, 100])
def test_features_have_no_units(dtype, exponent):
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    assert torch.equal(scale_free(2.0**exponent * x), scale_free(x))
    assert torch.equal(rms(2.0**exponent * x), 2.0**exponent * rms(x))


@by_dtype
def test_cosines_keep_their_value_where_a_square_overflows(dtype):
    far = 1e25 if dtype == torch.float32 else 1e200
    y = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=dtype)
    z = torch.tensor([[3.0, 4.0], [3.0, 4.0]], dtype=dtype)
    atom = lmm.CosineDistance(y)
    for scale in (far, 1 / far):
        evaluation = atom.evaluate(scale * z)
        torch.testing.assert_close(evaluation.value, torch.tensor([0.4, 0.2], dtype=dtype))
        expected = atom.evaluate(z).gradient
        torch.testing.assert_close(scale * evaluation.gradient, expected, rtol=1e-5, atol=0)


@by_dtype
@pytest.mark.parametrize("proposer", [lmm.LimitedMemory(), None], ids=["default", "own"])
def test_large_gradients_are_followed(dtype, proposer):
    """Gradients near 1e20, whose squares overflow in float32."""
    result = lmm.minimize(
        lambda x: 1e20 * ((x - 3) ** 2).sum(),
        torch.zeros(4, dtype=dtype),
        proposer=proposer,
        settings=lmm.SolveSettings(gtol=0),
    )
    torch.testing.assert_close(result.x, torch.full((4,), 3.0, dtype=dtype))


def test_a_far_step_is_not_reported_as_success():
    """|z|^2 overflows for a step of 1e30: its value is right, so it is refused for being worse."""
    far = Returning(lambda point: lmm.Step(torch.full_like(point.x, 1e30)))
    y = torch.tensor([[1.0, 1.0]])
    result = lmm.minimize(lmm.CosineDistance(y), y + torch.tensor([[0.5, -0.3]]), proposer=far)
    assert not result.certificate.proposed.any()
    torch.testing.assert_close(result.fun, lmm.CosineDistance(y)(result.x))
    assert float(result.fun) < 1e-3


@pytest.mark.parametrize("loss", lmm.atoms.Loss)
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_the_square_of_a_scale_does_not_overflow(loss, scale):
    target = torch.zeros(1, 2)
    z = scale * torch.tensor([[0.5, 2.0]])
    found = lmm.HalfQuadratic(target, loss, scale)(z)
    exact = lmm.HalfQuadratic(target.double(), loss, scale)(z.double())
    if math.isfinite(float(found)):
        assert float(found) == pytest.approx(float(exact), rel=1e-5, abs=1e-44)
    small = lmm.HalfQuadratic(target, loss, 1e25)(torch.tensor([[1e-10, 0.0]]))
    assert float(small) == pytest.approx(5e-21, rel=1e-5)
