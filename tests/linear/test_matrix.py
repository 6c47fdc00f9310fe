"""Maps by a matrix: its layouts, norms, decomposition, and the exact form of its bounds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import learnmm as lmm
from learnmm import checks
from learnmm.checks.laws import dense
from learnmm.hessian import hessian_product
from learnmm.linear import Form
from maps import matrix_of, normal

RELATIVE = 1e-10

# Torch says once per process that CSR is in beta; MatrixMap keeps that from its users.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")


def matrix(rows, columns, rank, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, rank, generator=generator, dtype=torch.float64)
    return left @ torch.randn(rank, columns, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("rest", [(), (3,), (2, 3)])
@pytest.mark.parametrize("layout", ["dense", "sparse_csr", "sparse_coo"])
def test_products_and_adjoint(layout, rest):
    dense_matrix = matrix(4, 6, 3)
    dense_matrix[dense_matrix.abs() < 0.5] = 0
    stored = getattr(dense_matrix, f"to_{layout}")()
    linear = lmm.linear.MatrixMap(stored, form="uniform")
    x, z = torch.randn(2, 6, *rest).double(), torch.randn(2, 4, *rest).double()
    assert torch.allclose(linear(x), torch.einsum("mn,bn...->bm...", dense_matrix, x))
    assert torch.allclose(linear.adjoint(z), torch.einsum("mn,bm...->bn...", dense_matrix, z))
    checks.assert_adjoint(linear, x)


@given(
    shape=st.sampled_from([(3, 5, 3), (5, 3, 3), (4, 4, 4), (4, 5, 2), (5, 4, 1), (3, 4, 0)]),
    rest=st.sampled_from([(), (2,), (2, 2)]),
    seed=st.integers(0, 2**16),
)
def test_the_structured_form_is_exact_for_a_number(shape, rest, seed):
    linear, x = lmm.linear.MatrixMap(matrix(*shape, seed)), torch.ones(2, shape[1], *rest).double()
    level = normal(2, seed=seed).exp()
    a = matrix_of(linear, x)
    exact = level[:, None, None] * (a.mT @ a)
    bound = dense(linear.pull_back(lmm.curvature.ScalarCurvature(level), x).apply, x)
    scale = torch.linalg.matrix_norm(bound, 2)
    assert (torch.linalg.matrix_norm(bound - exact, 2) <= RELATIVE * scale).all()


def test_sparse_separable_is_dense_separable():
    a = normal(4, 6)
    a[a.abs() < 0.5] = 0
    maps = [
        lmm.linear.MatrixMap(m, form="separable") for m in (a, a.to_sparse_coo(), a.to_sparse_csr())
    ]
    for rest in ((), (2,)):
        x, weights = normal(3, 6, *rest), normal(3, 4, *rest, seed=1).exp()
        for curvature in (
            lmm.curvature.DiagonalCurvature(weights),
            lmm.curvature.ScalarCurvature(weights.amax(1).flatten()[:3]),
        ):
            expected, *others = (m.pull_back(curvature, x).diagonal(x) for m in maps)
            for other in others:
                torch.testing.assert_close(other, expected)


@given(
    shape=st.sampled_from([(3, 5, 3), (5, 3, 2), (4, 4, 1), (3, 4, 0)]),
    sparse=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_norm_is_an_upper_bound(shape, sparse, seed):
    a = matrix(*shape, seed)
    largest = float(torch.linalg.matrix_norm(a, 2))
    norm = lmm.linear.MatrixMap(a.to_sparse_csr() if sparse else a, form="uniform").norm(a)
    assert norm >= largest
    if not sparse:
        assert norm <= largest * (1 + 1e-12)


@pytest.mark.filterwarnings("error")
def test_a_sparse_map_is_silent():
    lmm.linear.MatrixMap(torch.eye(3).to_sparse_coo(), form="uniform").adjoint(torch.ones(1, 3))


@pytest.mark.parametrize("route", ["auto", "forward", "reverse"])
def test_sparse_maps_differentiate_twice(route):
    """Curvature can be measured through a sparse map, whichever way products are differentiated."""
    a, x, v = matrix(4, 6, 4), torch.randn(3, 6).double(), torch.randn(3, 6).double()
    target = torch.randn(3, 4).double()
    sparse = lmm.HalfQuadratic(target) @ lmm.linear.MatrixMap(a.to_sparse_coo(), form="uniform")
    plain = lmm.HalfQuadratic(target) @ a
    product, expected = (hessian_product(f.__call__, x, route)(v) for f in (sparse, plain))
    assert torch.allclose(product, expected, atol=1e-12)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(sparse(leaf).sum(), leaf, create_graph=True)
    assert torch.allclose(torch.autograd.grad(gradient, leaf, v)[0], expected, atol=1e-12)


def test_sparse_norm_is_sharp_for_a_permutation():
    a = torch.eye(5).double()[torch.tensor([3, 1, 0, 4, 2])]
    assert lmm.linear.MatrixMap(a.to_sparse_csr(), form="uniform").norm(a) == pytest.approx(1.0)


def test_svd_leaves_out_what_rounding_made():
    values, basis = lmm.linear.MatrixMap(matrix(6, 8, 3)).svd
    assert values.shape == (3,)
    assert basis.shape == (8, 3)
    assert torch.allclose(basis.mT @ basis, torch.eye(3).double(), atol=1e-12)


@pytest.mark.parametrize("form", Form)
def test_a_zero_matrix_has_a_zero_curvature(form):
    linear = lmm.linear.MatrixMap(torch.zeros(2, 3).double(), form=form)
    x = torch.ones(2, 3).double()
    pulled = linear.pull_back(lmm.curvature.ScalarCurvature(torch.ones(2).double()), x)
    assert (pulled.largest() == 0).all()
    assert (pulled.solve(x) == 0).all()
    assert not pulled.valid().any()
    assert torch.isinf(linear.pull_back_radius(torch.ones(2))).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lmm.linear.MatrixMap([[1.0]]), TypeError, "torch.Tensor, got list"),
        (lambda: lmm.linear.MatrixMap(torch.ones(3)), ValueError, r"got shape \(3,\)"),
        (lambda: lmm.linear.MatrixMap(torch.ones(2, 2, dtype=torch.int64)), ValueError, "int64"),
        (
            lambda: lmm.linear.MatrixMap(torch.ones(2, 2, dtype=torch.complex64)),
            ValueError,
            "complex64",
        ),
        (
            lambda: lmm.linear.MatrixMap(torch.ones(2, 2), form="exact"),
            ValueError,
            "MatrixMap: form must be 'structured', 'uniform' or 'separable', got 'exact'",
        ),
        (
            lambda: lmm.linear.MatrixMap(torch.ones(2, 2).to_sparse_csr()),
            ValueError,
            "sparse.*or 'separable'",
        ),
        (lambda: lmm.linear.MatrixMap(torch.full((2, 2), torch.nan)), ValueError, "NaN"),
        (
            lambda: lmm.linear.MatrixMap(
                torch.full((2, 2), torch.inf).to_sparse_coo(), form="uniform"
            ),
            ValueError,
            "infinite",
        ),
    ],
)
def test_misuse_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(2, 4).double(), r"\(2, 3\).*got x of shape \(2, 4\)"),
        (torch.ones(3).double(), r"\(3,\)"),
        (torch.ones(2, 3), "float32.*float64"),
        (torch.ones(2, 3, device="meta").double(), "meta.*cpu"),
    ],
)
def test_iterates_that_do_not_fit_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        lmm.linear.MatrixMap(torch.ones(2, 3).double()).check(x)


@pytest.mark.parametrize("form", ["structured", "uniform", "separable"])
def test_a_matrix_that_changes_is_bounded_anew(form):
    matrix, y = normal(8, 5, seed=1), normal(1, 8, seed=2)
    energy = lmm.least_squares(lmm.linear.MatrixMap(matrix, form), y)
    start = matrix.new_zeros(1, 5)
    lmm.minimize(energy, start, proposer=None)
    matrix.mul_(10)
    fresh = lmm.least_squares(lmm.linear.MatrixMap(matrix, form), y)
    found, expected = (lmm.minimize(e, start, proposer=None) for e in (energy, fresh))
    assert torch.equal(found.x, expected.x)
    assert int(found.certificate.violations.sum()) == 0


def test_a_map_of_a_trained_matrix_serves_every_pass():
    """Whether or not the matrix has moved between two passes."""
    matrix, y = torch.nn.Parameter(normal(5, 3, seed=1)), normal(4, 5, seed=2)
    shared = lmm.linear.MatrixMap(matrix)

    def gradient(map_):
        solver = lmm.UnrolledMM(
            lambda y: lmm.HalfQuadratic(y, "cauchy") @ map_,
            start=lambda y: y.new_zeros(len(y), 3),
            steps=3,
        )
        matrix.grad = None
        solver(y).values[-1].sum().backward()
        assert matrix.grad is not None
        return matrix.grad

    for _ in range(2):
        for _ in range(2):
            torch.testing.assert_close(
                gradient(shared), gradient(lmm.linear.MatrixMap(matrix)), rtol=0, atol=0
            )
        with torch.no_grad():
            matrix.add_(0.1)
