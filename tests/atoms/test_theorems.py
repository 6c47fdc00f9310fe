"""The theorems on cosines: they hold, they are sharp, and the search sees when they are not."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import learnmm as lmm
from draws import normal
from learnmm.atoms.angles import joint_constant, joint_pointwise
from learnmm.checks import LawViolation, assert_majorant
from learnmm.checks.laws import dense
from learnmm.hessian import hessian_product
from learnmm.vectors import dot, norm

SLIGHTLY = 1 - 1e-3
"""A constant smaller by this factor must not pass."""


def vector(*entries: object) -> Tensor:
    return torch.tensor(entries, dtype=torch.float64)


def unit(v: Tensor) -> Tensor:
    return v / v.norm(dim=-1, keepdim=True)


def at_angles(count: int, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pairs of every cosine from -1 to 1, and of any length."""
    u = unit(normal(count, n, seed=seed))
    w = normal(count, n, seed=seed + 1)
    w = unit(w - (w * u).sum(1, keepdim=True) * u)
    angle = torch.linspace(0.02, math.pi - 0.02, count).double()[:, None]
    lengths = 10 ** normal(2, count, 1, seed=seed + 2)
    return lengths[0] * u, lengths[1] * (angle.cos() * u + angle.sin() * w)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """``1 - cos`` by the plain formula."""
    return 1 - dot(a, b) / (norm(a) * norm(b))


# Theorem 1.


@pytest.mark.parametrize("n", [2, 3, 7])
def test_theorem_1_holds(n):
    z, y = at_angles(150, n)
    assert_majorant(None, lmm.CosineDistance(y), z, points=100, search_steps=60)


def test_theorem_1_is_sharp_everywhere():
    """Next to zero on the side of ``-y`` the majorant is touched, whatever ``s``."""
    z, y = at_angles(100, 3)
    atom = lmm.CosineDistance(y)
    value, gradient, _ = atom.evaluate(z)
    d = -1e-9 * norm(z)[:, None] * unit(y) - z
    needed = 2 * (2 - value - dot(gradient, d)) / dot(d, d)
    assert torch.allclose(atom.bound(z).curvature.largest(), needed, rtol=1e-6)


@pytest.mark.parametrize("s", [0.99, 0.5, 0.0, -0.5, -0.9])
def test_a_smaller_constant_is_caught_from_a_single_point(s):
    y, z = vector(s, math.sqrt(1 - s * s), 0.0)[None], torch.eye(3).double()[:1]
    atom = lmm.CosineDistance(y)
    with pytest.raises(LawViolation, match=r"GLOBAL.*problem 0"):
        assert_majorant(lambda x, aux: atom.bound(x).scaled(SLIGHTLY), atom, z)


def test_a_smaller_constant_is_caught_behind_a_map():
    a = normal(4, 6)
    y, x = normal(40, 4, seed=1), normal(40, 6, seed=2)
    atom = lmm.CosineDistance(y) @ a
    with pytest.raises(LawViolation, match="GLOBAL"):
        assert_majorant(lambda x, aux: atom.bound(x).scaled(SLIGHTLY), atom, x)


def test_the_pointwise_constant_is_not_global():
    """At ``s = 1`` the constant of MM-Net Eq. 14 is too small by a factor ``2 sqrt 3 = 3.46``."""
    y, z = vector(2.0, 0.0)[None], vector(3.0, 0.0)[None]
    atom = lmm.CosineDistance(y, "paper")

    def claimed(x, aux):
        return lmm.Bound(lmm.Kind.GLOBAL, atom.bound(x).curvature)

    with pytest.raises(LawViolation) as caught:
        assert_majorant(claimed, atom, z)
    factor = float(str(caught.value).rsplit(" ", 1)[1])
    assert factor <= 2 * math.sqrt(3)
    # The factor is reached: f(z') = 2 next to zero, where Q has the bend of |z|^2 alone.
    bend = float(atom.bound(z).curvature.quad(z)) / 2
    assert 2 / bend == pytest.approx(2 * math.sqrt(3), rel=1e-12)


# Theorem 2, on pairs stored as (B, 2, n).


def joint(pair: Tensor) -> Tensor:
    return distance(pair[:, 0], pair[:, 1])


def joint_majorant(factor: float = 1.0):
    """``c(s) (|da|^2/|a|^2 + |db|^2/|b|^2)``."""

    def majorant(pair: Tensor, aux: object = None) -> lmm.Bound:
        constant = factor * joint_constant(joint(pair))
        entries = constant[:, None, None] / (pair * pair).sum(2, keepdim=True)
        return lmm.Bound(lmm.Kind.GLOBAL, lmm.curvature.DiagonalCurvature(entries.expand_as(pair)))

    return majorant


def pairs(count: int, n: int, seed: int = 0) -> Tensor:
    return torch.stack(at_angles(count, n, seed), 1)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_theorem_2_holds(n):
    assert_majorant(joint_majorant(), joint, pairs(150, n), points=200, search_steps=100)


@given(
    angle=st.floats(0.0, math.pi),
    e=st.floats(0, 2 * math.pi),
    h=st.floats(0, 2 * math.pi),
    tilt=st.floats(0, 1.5),
)
def test_theorem_2_holds_at_the_best_lengths(angle, e, h, tilt):
    """For any directions of ``a', b'`` the lengths that bring the two sides closest."""
    u = vector(1.0, 0.0, 0.0)
    v = vector(math.cos(angle), math.sin(angle), 0.0)
    s = math.cos(angle)
    c = float(joint_constant(vector(1 - s)))
    first = vector(math.cos(e), math.sin(e), 0.0)
    second = vector(math.cos(h), math.sin(h), math.tan(tilt))
    second = second / second.norm()

    def length(direction: Tensor, start: Tensor, other: Tensor) -> float:
        # Minimizes c r^2 / 2 - r <direction, c start + other - s start> over r >= 0.
        return max(float(direction @ ((c - s) * start + other)) / max(c, 1e-30), 0.0)

    rho, tau = length(first, u, v), length(second, v, u)
    da, db = rho * first - u, tau * second - v
    majorant = 1 - s - float((v - s * u) @ da + (u - s * v) @ db)
    majorant += c / 2 * float(da @ da + db @ db)
    value = 1 - float(first @ second)
    assert value <= majorant + 1e-13 * (1 + c + majorant)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, 2.0, 3.0])
def test_theorem_2_is_sharp(angle):
    """``a' -> 0`` from the side of ``-b'``, ``b' = b + t (u - s v)`` with ``t = 1 / c``."""
    u = vector(1.0, 0.0)
    v = vector(math.cos(angle), math.sin(angle))
    s = math.cos(angle)
    c = float(joint_constant(vector(1 - s)))
    b = v + (u - s * v) / c
    linear = 1 - s - float((v - s * u) @ (0 * u - u) + (u - s * v) @ (b - v))
    needed = 2 * (2 - linear) / float(u @ u + (b - v) @ (b - v))
    assert needed == pytest.approx(c, rel=1e-10)


@pytest.mark.parametrize("angle", [0.1, 1.0, 2.0])
def test_a_smaller_joint_constant_is_caught(angle):
    u, v = [1.0, 0.0], [3 * math.cos(angle), 3 * math.sin(angle)]
    pair = vector(u, v)[None].repeat(8, 1, 1)
    with pytest.raises(LawViolation, match="GLOBAL"):
        assert_majorant(joint_majorant(SLIGHTLY), joint, pair, points=200, search_steps=200)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_joint_pointwise_curvature(n):
    """``max(1 + s, sqrt(1 - s^2))`` in the coordinates ``a/|a|, b/|b|``; a bound in the plane."""
    pair = pairs(60, n)
    scale = pair.norm(dim=2, keepdim=True)
    hessian = dense(hessian_product(lambda v: joint(v * scale), pair / scale), pair)
    largest = torch.linalg.eigvalsh(hessian)[:, -1]
    expected = joint_pointwise(joint(pair))
    s = 1 - joint(pair)
    assert torch.allclose(expected, torch.maximum(1 + s, (1 - s * s).sqrt()), atol=1e-7)
    assert (largest <= expected + 1e-10).all()
    if n > 2:  # in the plane there is no direction orthogonal to both
        assert torch.allclose(largest, expected, atol=1e-7)


# Theorem 3, with a network whose constants are known by hand: Phi(x) = W sin(V x) + k.


@pytest.mark.parametrize("strength", [0.05, 1.0, 5.0])
def test_theorem_3_holds(strength):
    generator_v, w, k = normal(5, 4, seed=1), strength * normal(4, 5, seed=2), normal(4, seed=3)
    v = 0.5 * generator_v
    lipschitz = float(torch.linalg.matrix_norm(w, 2) * torch.linalg.matrix_norm(v, 2))
    smoothness = lipschitz * float(torch.linalg.matrix_norm(v, 2))

    def phi(x: Tensor) -> Tensor:
        return torch.sin(x @ v.mT) @ w.mT + k

    def majorant(x: Tensor, aux: object = None) -> lmm.Bound:
        d, size, out = distance(x, phi(x)), norm(x), norm(phi(x))
        level = joint_constant(d) * (size**-2 + (lipschitz / out) ** 2)
        level = level + smoothness * (d * (2 - d)).clamp(min=0).sqrt() / out
        return lmm.Bound(lmm.Kind.GLOBAL, lmm.curvature.ScalarCurvature(level))

    x = normal(60, 4) * 10 ** torch.linspace(-3, 2, 60).double()[:, None]
    assert_majorant(majorant, lambda x: distance(x, phi(x)), x, points=60, search_steps=60)


def test_theorem_3_needs_every_term():
    """With ``Phi`` constant the theorem is Theorem 2 with ``b' = b``; half of it must fail."""
    k = normal(3, seed=3)

    def majorant(x: Tensor, aux: object = None) -> lmm.Bound:
        d = distance(x, k.expand_as(x))
        return lmm.Bound(
            lmm.Kind.GLOBAL, lmm.curvature.ScalarCurvature(0.49 * joint_constant(d) / norm(x) ** 2)
        )

    with pytest.raises(LawViolation):
        assert_majorant(majorant, lambda x: distance(x, k.expand_as(x)), normal(20, 3))
