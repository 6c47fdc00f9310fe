"""Settings of the methods whose steps come from a recurrent convolutional network."""

from __future__ import annotations

from dataclasses import dataclass

from learnmm_esi.networks.method import Method
from learnmm_esi.settings import check_size


@dataclass(frozen=True)
class RecurrentMethod(Method):
    """A method whose network is recurrent over steps and convolutional over time.

    Parameters
    ----------
    hidden : int
        Feature channels (48 in the paper).
    kernel : int
        Odd kernel length in samples.
    """

    hidden: int = 48
    kernel: int = 3

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        super().__post_init__()
        check_size("hidden", self.hidden)
        check_size("kernel", self.kernel, odd=True)
