"""Curvature operators against dense matrices that are built without them."""

import dataclasses

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from learnmm.checks import LawViolation, assert_curvature
from learnmm.checks.laws import dense
from learnmm.curvature import CONDITION, DiagonalCurvature, LowRankCurvature, ScalarCurvature, add
from learnmm.vectors import left_multiply

RELATIVE = 1e-10
KINDS = ("scalar", "diagonal", "low rank", "singular diagonal", "singular low rank", "full rank")


@dataclasses.dataclass
class Case:
    """An operator with its eigensystem, known by construction: ``B = U diag(values) U^T``."""

    operator: object
    vectors: torch.Tensor  # (N, N), orthonormal
    values: torch.Tensor  # (B, N)
    like: torch.Tensor  # (B, *shape)

    def matrix(self, power=1.0):
        positive = self.values > 0
        powered = torch.where(positive, self.values.where(positive, 1.0) ** power, 0.0)
        return self.vectors @ torch.diag_embed(powered) @ self.vectors.mT


def build(kind, batch, n, rest, seed, span, basis=None):
    """Operator of a kind with eigenvalues over `span` orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)

    def spread(*shape):
        return 10 ** (span * (torch.rand(*shape, generator=generator, dtype=torch.float64) - 0.5))

    like = torch.randn(batch, n, *rest, generator=generator, dtype=torch.float64)
    copies = like[0, 0].numel()
    if kind == "scalar":
        b = spread(batch)
        every = b[:, None].expand(-1, n * copies)
        return Case(ScalarCurvature(b), torch.eye(n * copies).double(), every, like)
    if kind.endswith("diagonal"):
        entries = spread(*like.shape)
        if kind.startswith("singular"):
            entries[:, 0] = 0.0
        vectors = torch.eye(n * copies).double()
        return Case(DiagonalCurvature(entries), vectors, entries.reshape(batch, -1), like)
    square = torch.randn(n, n, generator=generator, dtype=torch.float64)
    full = torch.linalg.qr(square)[0] if basis is None else basis
    rank = n if kind == "full rank" else max(1, n // 2)
    tau = torch.zeros(batch).double() if kind.startswith("singular") else spread(batch)
    spectrum = spread(batch, rank)
    # The least positive shift is part of the operator's definition.
    least = CONDITION * torch.finfo(torch.float64).eps * spectrum.amax(1)
    tau = torch.where(tau > 0, torch.maximum(tau, least), tau)
    values = tau[:, None].repeat(1, n)
    values[:, :rank] += spectrum
    operator = LowRankCurvature(tau, spectrum, full[:, :rank])
    vectors = torch.kron(full.contiguous(), torch.eye(copies).double())
    return Case(operator, vectors, values.repeat_interleave(copies, 1), like)


cases = st.builds(
    build,
    kind=st.sampled_from(KINDS),
    batch=st.integers(1, 3),
    n=st.integers(2, 6),
    rest=st.sampled_from([(), (3,), (2, 2)]),
    seed=st.integers(0, 2**16),
    span=st.sampled_from([0.0, 3.0, 24.0]),
)


def size(matrix):
    return torch.linalg.matrix_norm(matrix, 2)


@given(case=cases, power=st.sampled_from([1.0, 0.5, 0.25, -0.5, -1.0, 2.0]))
def test_powers_match_the_dense_matrix(case, power):
    reference = case.matrix(power)
    error = size(dense(lambda v: case.operator.power(v, power), case.like) - reference)
    assert (error <= RELATIVE * size(reference)).all()


@given(case=cases)
def test_the_rest_matches_the_dense_matrix(case):
    operator, v = case.operator, case.like
    reference, flat = case.matrix(), v.reshape(len(v), -1, 1)
    scale = size(reference)
    quad = (flat.mT @ reference @ flat)[:, 0, 0]
    assert ((operator.quad(v) - quad).abs() <= RELATIVE * scale * flat.square().sum((1, 2))).all()
    diagonal = torch.diagonal(reference, dim1=1, dim2=2).reshape(v.shape)
    assert operator.diagonal(v).shape == v.shape
    error = (operator.diagonal(v) - diagonal).reshape(len(v), -1).abs().amax(1)
    assert (error <= RELATIVE * scale).all()
    assert ((operator.largest() - scale).abs() <= RELATIVE * scale).all()
    assert operator.valid().all()


@given(case=cases)
def test_one_direction_at_a_time_keeps_its_own_accuracy(case):
    """Along an eigenvector the error is relative to the operator there plus one rounding."""
    for power in (0.5, -0.5, -1.0):
        reference = case.matrix(power)
        values = torch.linalg.vector_norm(reference @ case.vectors, dim=1)  # (B, N)
        for k in range(case.vectors.shape[1]):
            unit = case.vectors[:, k].reshape(case.like.shape[1:]).expand_as(case.like)
            expected = (reference @ case.vectors[:, k]).reshape(case.like.shape)
            error = (case.operator.power(unit, power) - expected).reshape(len(unit), -1).norm(dim=1)
            assert (error <= RELATIVE * values[:, k] + 64e-16 * size(reference)).all()


@given(case=cases)
def test_laws_hold(case):
    positive = case.values[case.values > 0]
    # From here on the range itself is a matter of rounding.
    assume(positive.max() < 1e13 * positive.min())
    assert_curvature(case.operator, case.like)


@given(case=cases, seed=st.integers(0, 2**16))
def test_scaled(case, seed):
    factor = torch.rand(len(case.like), generator=torch.Generator().manual_seed(seed)).double()
    for given_factor, column in ((factor, factor), (2.5, factor * 0 + 2.5), (factor[0], factor[0])):
        scaled = dense(case.operator.scaled(given_factor).apply, case.like)
        reference = column.reshape(-1, 1, 1) * case.matrix()
        assert (size(scaled - reference) <= RELATIVE * size(reference)).all()


EXACT = {
    ("scalar", "scalar"),
    ("scalar", "diagonal"),
    ("diagonal", "diagonal"),
    ("scalar", "low rank"),
    ("low rank", "low rank, same basis"),
}


@given(
    first=st.sampled_from(["scalar", "diagonal", "low rank", "singular low rank"]),
    second=st.sampled_from(["scalar", "diagonal", "low rank", "low rank, same basis"]),
    rest=st.sampled_from([(), (3,)]),
    seed=st.integers(0, 2**16),
    span=st.sampled_from([1.0, 8.0]),
)
def test_add_dominates_the_sum_and_is_exact_where_it_claims(first, second, rest, seed, span):
    shared = second.endswith("same basis")
    assume(not shared or first.endswith("low rank"))
    a = build(first, 2, 5, rest, seed, span)
    b = build(second.split(",")[0], 2, 5, rest, seed + 1, span, _basis(a) if shared else None)
    if shared:
        b.operator = dataclasses.replace(b.operator, basis=a.operator.basis)
    exact = {(first, second), (second, first)} & EXACT
    for total in (add(a.operator, b.operator), add(b.operator, a.operator)):
        matrix, reference = dense(total.apply, a.like), a.matrix() + b.matrix()
        least = torch.linalg.eigvalsh(matrix - reference)[:, 0]
        assert (least >= -RELATIVE * size(matrix)).all()
        if exact:
            assert (size(matrix - reference) <= RELATIVE * size(reference)).all()


def _basis(case):
    """The eigenvectors on the first dimension of a low-rank case."""
    n, copies = case.like.shape[1], case.like[0, 0].numel()
    return case.vectors.reshape(n, copies, n, copies)[:, 0, :, 0]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -1.0, 0.0])
def test_valid_tells_problems_apart(bad):
    good = torch.tensor([2.0, 2.0])
    value = torch.tensor([2.0, bad])
    basis = torch.eye(3)[:, :2]
    row = torch.tensor([[1.0, 2.0], [bad, 2.0]])
    expected = [True, False]
    assert ScalarCurvature(value).valid().tolist() == expected
    entries_valid = bad == 0.0  # one zero entry among positive ones is a singular operator
    assert DiagonalCurvature(row).valid().tolist() == [True, entries_valid]
    assert DiagonalCurvature(value[:, None].expand(2, 3)).valid().tolist() == expected
    assert LowRankCurvature(value, torch.zeros(2, 2), basis).valid().tolist() == expected
    assert LowRankCurvature(good * 0, row, basis).valid().tolist() == [True, entries_valid]


@pytest.mark.parametrize("rest", [(), (4,), (2, 3)])
def test_left_multiply_acts_on_the_first_dimension_after_the_batch(rest):
    matrix, v = torch.randn(3, 5).double(), torch.randn(2, 5, *rest).double()
    expected = torch.einsum("mn,bn...->bm...", matrix, v)
    assert torch.allclose(left_multiply(matrix, v), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [2, 4])
def test_a_tiny_shift_is_raised_until_the_inverse_keeps_the_large_directions(dtype, rank):
    basis = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0][:, :rank].to(dtype)
    spectrum = torch.tensor([[1e6, 1.0, 1.0, 1.0]], dtype=dtype)[:, :rank]
    v = basis[:, 0][None]
    for shift in (1e-30, 1e-9, 1.0, 1e9):
        tau = torch.tensor([shift], dtype=dtype)
        operator = LowRankCurvature(tau, spectrum, basis)
        # Never smaller than what was asked for, hence still a bound. With a square basis (rank 4)
        # nothing lies outside that could drown the large directions.
        least = CONDITION * torch.finfo(dtype).eps * 1e6 if rank < 4 else 0.0
        expected = max(shift, least)
        assert float(operator.shift) == pytest.approx(expected, rel=1e-6)
        error = torch.linalg.vector_norm(operator.solve(v) * (shift + 1e6) - v)
        assert error < 0.1


def test_a_basis_without_vectors_is_a_scalar():
    operator = LowRankCurvature(
        torch.ones(2).double(), torch.zeros(2, 0).double(), torch.zeros(3, 0).double()
    )
    assert_curvature(operator, torch.ones(2, 3).double())


# The checks themselves: each broken operator must be caught, by the law it breaks.


class Broken(ScalarCurvature):
    def scaled(self, factor):
        return type(self)(self.value * factor)


class WrongQuad(Broken):
    def quad(self, v):
        return 1.001 * super().quad(v)


class WrongDiagonal(Broken):
    def diagonal(self, like):
        return 1.001 * super().diagonal(like)


class LowLargest(Broken):
    def largest(self):
        return 0.999 * super().largest()


class WrongSolve(Broken):
    def solve(self, v):
        return 1.001 * super().solve(v)


class WrongRoot(Broken):
    def power(self, v, exponent):
        return super().power(v, exponent) * (1.001 if exponent == 0.5 else 1.0)


class WrongInverseRoot(Broken):
    def power(self, v, exponent):
        return super().power(v, exponent) * (1.001 if exponent == -0.5 else 1.0)


class Negative(Broken):
    def power(self, v, exponent):
        return -super().power(v, exponent)


class Skew(Broken):
    def apply(self, v):
        return super().apply(v) + 1e-3 * v.roll(1, -1)


class NeverValid(Broken):
    def valid(self):
        return self.value < 0


class WrongScaled(Broken):
    def scaled(self, factor):
        return type(self)(self.value * factor * 1.001)


class Crosstalk(Broken):
    def apply(self, v):
        return super().apply(v.flip(0))


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (WrongQuad, "quad"),
        (WrongDiagonal, "diagonal"),
        (LowLargest, "largest"),
        (WrongSolve, "solve"),
        (WrongRoot, "power"),
        (WrongInverseRoot, "power"),
        (Negative, "semidefinite"),
        (Skew, "symmetric"),
        (NeverValid, "valid"),
        (WrongScaled, "scaled"),
        (Crosstalk, "apply"),
    ],
)
def test_assert_curvature_catches(broken, law):
    like = torch.ones(2, 4).double()
    value = torch.tensor([1.0, 3.0]).double()
    assert_curvature(Broken(value), like)
    with pytest.raises(LawViolation, match=law):
        assert_curvature(broken(value), like)
