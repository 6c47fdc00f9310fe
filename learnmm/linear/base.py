"""What an affine map offers: products, the size of the map, curvatures pulled back through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from learnmm.curvature import Curvature
from learnmm.kind import Kind


class AffineMap(ABC):
    """``x -> A x + c`` for every problem of a batch, ``(B, *domain) -> (B, *image)``.

    Laws: ``learnmm.checks.assert_adjoint`` for products and norm,
    ``learnmm.checks.assert_dominates`` for the curvatures.

    Attributes
    ----------
    kind : Kind
        What norm and curvatures promise: `GLOBAL`, or `PROBABLE` with `failure_probability`.
    """

    kind: Kind = Kind.GLOBAL
    failure_probability: float = 0.0

    @property
    @abstractmethod
    def shape(self) -> tuple[Any, Any]:
        """Sizes of image and domain: ``(m, n)`` of a matrix, or two shapes."""

    @property
    @abstractmethod
    def keeps_shape(self) -> bool:
        """Whether the image has the shape of ``x`` and there is no offset."""

    @property
    @abstractmethod
    def magnitude(self) -> float:
        """Size of what ``A x`` sums: computed, it is off by about ``eps`` times this times ``|x|``.

        Between the norm of ``|A|`` and the Frobenius norm; 0 where nothing is known.
        """

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """``A x + c``."""

    @abstractmethod
    def adjoint(self, z: Tensor) -> Tensor:
        """``A^T z``: the transpose of the derivative, so the offset does not enter."""

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Raise a clear error unless ``A x`` is defined for the iterate ``x``."""

    @abstractmethod
    def norm_at(self, like: Tensor) -> float:
        """Upper bound of the spectral norm, for iterates of the dtype and device of `like`."""

    @abstractmethod
    def pull_back(self, curvature: Curvature, x: Tensor) -> Curvature:
        """Curvature that dominates ``A^T C A`` in the coordinates of ``x``."""

    @abstractmethod
    def pull_back_radius(self, radius: Tensor | None) -> Tensor | None:
        """Radius around ``x`` whose image stays within ``radius`` of ``A x``."""
