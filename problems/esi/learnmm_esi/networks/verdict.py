"""Whether a learned start earns its place, judged by what can be measured of a recording."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from learnmm_esi.networks.components import Components
from learnmm_esi.networks.sight import Look, Sight, linear_maps

__all__ = ["FACTS", "Verdict", "facts", "linear_start"]

FACTS = 6
MARGIN = 0.5  # of a fact's range in training: how far beyond a recording may lie


class Verdict(nn.Module):
    """Accepts a learned start, recording by recording, or has the linear one taken.

    A logistic regression on a few facts (see `facts`) says how probable it is that the learned
    start is farther off than the linear one. It accepts what is below a threshold; and nothing of
    a recording with a fact beyond the range of those that it has learned from, since there nobody
    knows. Before it has learned it accepts everything.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    deviation: Tensor
    slope: Tensor
    threshold: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, value in (("low", -1e4), ("high", 1e4), ("mean", 0.0), ("deviation", 1.0)):
            self.register_buffer(name, torch.full((FACTS,), value))
        self.register_buffer("slope", torch.zeros(FACTS + 1))
        self.register_buffer("threshold", torch.tensor(1.0))

    def risk(self, found: Tensor) -> Tensor:
        """How probable it is that the learned start is the worse one, ``(B,)``.

        Parameters
        ----------
        found : Tensor, shape (B, FACTS)
            From `facts`.
        """
        relative = (found - self.mean) / self.deviation
        return torch.sigmoid(relative @ self.slope[:-1] + self.slope[-1])

    def in_range(self, found: Tensor) -> Tensor:
        """Whether recordings are like those that it has learned from, ``(B,)``."""
        return ((found >= self.low) & (found <= self.high)).all(-1)

    def forward(self, found: Tensor) -> Tensor:
        """Which learned starts are accepted, ``(B,)``."""
        return self.in_range(found) & (self.risk(found) <= self.threshold)

    @torch.no_grad()
    def learn(self, found: Tensor, worse: Tensor, threshold: float) -> None:
        """Fit the regression, and remember the range of the facts.

        Parameters
        ----------
        found : Tensor, shape (N, FACTS)
            Of many recordings.
        worse : Tensor of bool, shape (N,)
            Whether the learned start was the worse one.
        threshold : float
            Largest risk that is taken.
        """
        from sklearn.linear_model import LogisticRegression

        self.mean, self.deviation = found.mean(0), found.std(0).clamp(min=1e-6)
        relative = (found - self.mean) / self.deviation
        model = LogisticRegression(C=1.0).fit(relative.double().numpy(), worse.numpy())
        slope = torch.tensor([*model.coef_[0], model.intercept_[0]], dtype=found.dtype)
        self.slope.copy_(slope)
        self.threshold.fill_(threshold)
        good = found[~worse]
        reach = MARGIN * (good.amax(0) - good.amin(0))
        self.low.copy_(good.amin(0) - reach)
        self.high.copy_(good.amax(0) + reach)


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
        Logarithms of the shares of the recording that the start and the linear estimate leave
        unexplained; how unlike the linear estimate of the recording that of the start's own image
        is; how large the former is where the start is largest, relative to its largest; the
        estimated signal-to-noise ratio; and the number of modes.
    """
    c = seen.coefficients
    linear = linear_maps(sight, c, seen.lambda2)[0]
    image = answer.maps @ sight.projection
    again = linear_maps(sight, image, seen.lambda2)[0]
    values = sight.values / (sight.values + seen.lambda2[:, None])  # (B, modes)
    _, place = answer.maps.square().sum(1).max(1)
    power = linear.square().sum(1)  # (B, sources)
    there = power.gather(1, place[:, None])[:, 0] / power.amax(1)
    modes = (sight.values > 0).sum().to(c).log().expand(len(c))
    found = [
        (_apart(image, c) + 1e-4).log(),
        (_apart(c * values[:, None], c) + 1e-4).log(),
        (_apart(again, linear) + 1e-4).log(),
        (there + 1e-4).log(),
        seen.snr_db / 10,
        modes,
    ]
    return torch.stack(found, -1)


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """``1 - cos(a, b)^2`` over all but the batch."""
    inner = (a * b).sum((1, 2)).square()
    size = a.square().sum((1, 2)) * b.square().sum((1, 2))
    return 1 - inner / size.clamp(min=1e-30)
