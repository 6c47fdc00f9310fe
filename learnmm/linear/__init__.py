"""Linear maps of unknowns, known by a matrix or by their products."""

from learnmm.linear.base import LinearMap
from learnmm.linear.complex import complex_matrix
from learnmm.linear.forms import Form, absolute_sums, separable, uniform
from learnmm.linear.matrix import MatrixMap
from learnmm.linear.operator import LinearOperator
from learnmm.linear.transforms import Boundary, convolution, subsampled_fourier

__all__ = [
    "Boundary",
    "Form",
    "LinearMap",
    "LinearOperator",
    "MatrixMap",
    "absolute_sums",
    "complex_matrix",
    "convolution",
    "separable",
    "subsampled_fourier",
    "uniform",
]
