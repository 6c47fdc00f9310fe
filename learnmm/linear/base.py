"""What a linear map offers: products, a norm, and curvatures pulled back through it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from learnmm.curvature import Curvature
from learnmm.kind import Kind


class LinearMap(ABC):
    """``x -> A x`` for every problem of a batch, ``(B, *domain, ...) -> (B, *image, ...)``.

    Whatever takes a map takes any of its kinds: a :class:`~learnmm.linear.MatrixMap`, which has the
    entries of ``A``, or a :class:`~learnmm.linear.LinearOperator`, which has its products alone.

    Laws: ``learnmm.checks.assert_adjoint`` for products and norm,
    ``learnmm.checks.assert_dominates`` for the curvatures.

    Parameters
    ----------
    domain : tuple of int
        Sizes of the dimensions of ``x`` after the batch that ``A`` acts on.
    image : tuple of int
        Sizes of those that take their place in ``A x``.
    failure_probability : float
        That norm and curvatures are too small; 0 where they are certain.
    """

    def __init__(
        self, domain: tuple[int, ...], image: tuple[int, ...], failure_probability: float = 0.0
    ) -> None:
        self.domain = domain
        self.image = image
        self.failure_probability = failure_probability

    @property
    def kind(self) -> Kind:
        """What norm and curvatures promise: `GLOBAL`, or `PROBABLE` where they may fail."""
        return Kind.PROBABLE if self.failure_probability else Kind.GLOBAL

    @property
    @abstractmethod
    def magnitude(self) -> float:
        """Size of what ``A x`` sums: computed, it is off by about ``eps`` times this times ``|x|``.

        Between the norm of ``|A|`` and the Frobenius norm; 0 where nothing is known.
        """

    @property
    @abstractmethod
    def absolute(self) -> LinearMap | None:
        """``|A|``: the map of the absolute entries, or of larger ones; None where it is unknown."""

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """``A x``."""

    @abstractmethod
    def adjoint(self, z: Tensor) -> Tensor:
        """``A^T z``."""

    @abstractmethod
    def norm(self, like: Tensor) -> float:
        """Upper bound of the spectral norm, for iterates of the dtype and device of `like`."""

    @abstractmethod
    def pull_back(self, curvature: Curvature, x: Tensor) -> Curvature:
        """Curvature that dominates ``A^T C A`` in the coordinates of ``x``."""

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Raise a clear error unless ``A x`` is defined for the iterate ``x``."""

    def __call__(self, x: Tensor) -> Tensor:
        """``A x``."""
        return self.apply(x)

    @property
    def keeps_shape(self) -> bool:
        """Whether ``A x`` has the shape of ``x``."""
        return self.domain == self.image

    def pull_back_radius(self, radius: Tensor | None) -> Tensor | None:
        """Radius around ``x`` whose image stays within ``radius`` of ``A x``."""
        if radius is None:
            return None
        return radius / self.norm(radius.new_zeros(1, *self.domain))
