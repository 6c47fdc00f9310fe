"""Whether a learned start earns its place, judged by what can be measured of a recording."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from learnmm_esi.networks.components import Components
from learnmm_esi.networks.sight import Look, Sight, linear_maps

__all__ = ["FACTS", "Verdict", "facts", "linear_start"]

JUDGED, CONTEXT = 3, 3
FACTS = JUDGED + CONTEXT
TERMS = 1 + 2 * CONTEXT + CONTEXT * (CONTEXT - 1) // 2  # of a polynomial of second degree
QUANTILE = 0.99  # of right starts that pass each limit
MARGIN = 0.05  # of what was seen of the context, beyond which nobody knows
ROUNDED = 2.0**-10  # relative, twice what storing in float16 does to a number
LEAST = 1e-4  # share that is as good as none


class Verdict(nn.Module):
    """Accepts a learned start, recording by recording, or has the linear one taken.

    Three facts tell of a start (see `facts`): how much of the recording it leaves unexplained, how
    unlike its own image is to the recording once both are estimated linearly, and how weak the
    linear estimate is where it is strongest. What is usual hangs on three others: the same share
    of the linear estimate, the signal-to-noise ratio and the number of modes. From starts that
    were right it learns what is usual, as polynomials of second degree, and how far right starts
    deviate. A start that deviates farther is refused, and any start of a recording whose context is
    beyond what was seen in training: there nobody knows. Before it has learned it accepts
    everything.
    """

    low: Tensor
    high: Tensor
    usual: Tensor
    limits: Tensor
    learned: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(CONTEXT))
        self.register_buffer("high", torch.zeros(CONTEXT))
        self.register_buffer("usual", torch.zeros(TERMS, JUDGED))
        self.register_buffer("limits", torch.zeros(JUDGED))
        self.register_buffer("learned", torch.tensor(False))

    def forward(self, found: Tensor) -> Tensor:
        """Which learned starts are accepted, ``(B,)``.

        Parameters
        ----------
        found : Tensor, shape (B, FACTS)
            From `facts`.
        """
        judged, context = found[:, :JUDGED], found[:, JUDGED:]
        # One cap has one number of modes: there low is high, which a file may have rounded.
        low, high = self.low - ROUNDED * self.low.abs(), self.high + ROUNDED * self.high.abs()
        known = ((context >= low) & (context <= high)).all(1)
        usual = (judged - _terms(context) @ self.usual <= self.limits).all(1)
        return (known & usual) | ~self.learned

    @torch.no_grad()
    def learn(self, found: Tensor, right: Tensor) -> None:
        """Learn what is usual, unless hardly any start was right.

        Parameters
        ----------
        found : Tensor, shape (N, FACTS)
            Of recordings as those of the training, some hundred or more.
        right : Tensor of bool, shape (N,)
            Whose starts were right.
        """
        if int(right.sum()) < 10 * TERMS:
            return
        judged, context = found[right, :JUDGED], found[right, JUDGED:]
        # Products of single precision are exact in double: what is constant, as the modes of one
        # cap, leaves terms that depend on each other exactly, and the smallest solution is taken.
        terms, judged = _terms(context.double()), judged.double()
        usual = torch.linalg.lstsq(terms, judged).solution
        self.usual.copy_(usual)
        self.limits.copy_((judged - terms @ usual).quantile(QUANTILE, dim=0))
        low, high = found[:, JUDGED:].amin(0), found[:, JUDGED:].amax(0)
        self.low.copy_(low - MARGIN * (high - low))
        self.high.copy_(high + MARGIN * (high - low))
        self.learned.fill_(True)


def _terms(context: Tensor) -> Tensor:
    """All products of two entries and one, ``(B, TERMS)``."""
    one = torch.ones_like(context[:, :1])
    extended = torch.cat([one, context], 1)
    rows, columns = torch.triu_indices(CONTEXT + 1, CONTEXT + 1)
    return extended[:, rows] * extended[:, columns]


def linear_start(sight: Sight, seen: Look) -> Components:
    """The resolution-normalised linear estimate of the leading components."""
    return Components(linear_maps(sight, seen.coefficients, seen.lambda2)[0], seen.courses)


def facts(sight: Sight, seen: Look, answer: Components) -> Tensor:
    """What can be measured of a learned start, without the truth.

    Parameters
    ----------
    sight : Sight
        The cap.
    seen : Look
        Recordings.
    answer : Components
        Their learned starts.

    Returns
    -------
    Tensor, shape (B, FACTS)
        What is judged: logarithms of the share of the recording that the start leaves unexplained,
        of how unlike the linear estimate of the recording that of the start's image is, and of how
        weak it is where the start is strongest, relative to its largest. The context: logarithm of
        the share that the linear estimate leaves, the estimated signal-to-noise ratio in 10 dB, and
        the logarithm of the number of modes.
    """
    c = seen.coefficients
    linear = linear_maps(sight, c, seen.lambda2)[0]
    image = answer.maps @ sight.projection
    again = linear_maps(sight, image, seen.lambda2)[0]
    passed = sight.values / (sight.values + seen.lambda2[:, None])  # (B, modes)
    _, place = answer.maps.square().sum(1).max(1)
    power = linear.square().sum(1)  # (B, sources)
    there = power.gather(1, place[:, None])[:, 0] / power.amax(1)
    modes = (sight.values > 0).sum().to(c).log().expand(len(c))
    found = [
        (_apart(image, c) + LEAST).log(),
        (_apart(again, linear) + LEAST).log(),
        -(there + LEAST).log(),
        (_apart(c * passed[:, None], c) + LEAST).log(),
        seen.snr_db / 10,
        modes,
    ]
    return torch.stack(found, -1)


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """``1 - cos(a, b)^2`` over all but the batch."""
    inner = (a * b).sum((1, 2)).square()
    size = a.square().sum((1, 2)) * b.square().sum((1, 2))
    return 1 - inner / size.clamp(min=1e-30)
