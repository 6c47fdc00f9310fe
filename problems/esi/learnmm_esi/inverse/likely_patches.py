"""Which patches of cortex a recording's evidence asks for, and how sure their places are."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from learnmm_esi.inverse.background import background_variance
from learnmm_esi.inverse.marginal import MarginalLikelihood

__all__ = ["Dictionary", "Patches", "likely_patches"]

MOST = 6
"""Patches of a recording at most."""

PLACES = 32
"""Places and widths that a patch is thought to have, the most probable ones."""

TRUST = 0.5
"""Power of the evidence, and of what is expected. Heads and patches are never quite those of the
model, and the evidence for a place counts their errors as if they were none."""

FALL = 4.0
"""Power with which probability falls where sources are stronger than those of the patch that is
seen best. Current densities of cortex have a limit, much the same over structures and species
(Murakami & Okada 2015). The evidence knows of none: for a trace in the recording, a region hidden
in a fold would often have the largest source of all."""

_LEAST = 0.01  # of the noise: power of a patch where a recording has no more power than its noise

_PART_VALUES = 2**22
"""Numbers of a working array: recordings are taken in parts of this size (32 MiB in float64)."""


class Dictionary(NamedTuple):
    """Patches that are thought possible, and what the sensors see of them.

    Attributes
    ----------
    matrix : Tensor, shape (r, n)
        ``A``: columns of norm one, what is seen of each patch with a moment of one.
    peaks : Tensor, shape (n,)
        The strongest source of each with a moment of one, in any unit.
    everywhere : Tensor, shape (r,)
        Variances that sources everywhere alike have, with a variance of one.
    """

    matrix: Tensor
    peaks: Tensor
    everywhere: Tensor


class Patches(NamedTuple):
    """Patches of recordings, each spread over places and widths that are probable.

    Attributes
    ----------
    places : Tensor of int64, shape (batch, patches, places)
        Columns of the dictionary.
    deviations : Tensor, shape (batch, patches, places)
        Of each column's moment: the square root of its variance times its probability.
    asked : Tensor of bool, shape (batch, patches)
        Which patches a recording asks for, the first always.
    background : Tensor, shape (batch,)
        Variance of sources everywhere alike, beside the patches; often zero.
    """

    places: Tensor
    deviations: Tensor
    asked: Tensor
    background: Tensor

    def of(self, rows: Tensor) -> Patches:
        """Those of some recordings."""
        return Patches(*(v[rows] for v in self))

    def columns(self, matrix: Tensor) -> Tensor:
        """What the sensors see of each, by a dictionary: ``(batch, r, patches, places)``."""
        return matrix[:, self.places].movedim(1, 0) * self.deviations[:, None]

    def floor(self, noise: Tensor, everywhere: Tensor) -> Tensor:
        """Variances of what lies beside them: of the noise, and of the background."""
        return noise + self.background[:, None] * everywhere


def likely_patches(
    dictionary: Dictionary,
    samples: Tensor,
    count: Tensor,
    floor: Tensor,
    expected: Tensor | None = None,
) -> Patches:
    """Take one patch after another, while each raises the evidence by more than its choice costs.

    Beside them there may be a background: sources everywhere alike, as strong as is most probable.

    Parameters
    ----------
    dictionary : Dictionary
        Of patches.
    samples : Tensor, shape (B, r, k)
        ``Y``, padded by columns of zeros.
    count : Tensor, shape (B,)
        How many samples each recording has, K.
    floor : Tensor, shape (B, r)
        Variances of the noise.
    expected : Tensor, shape (B, n), optional
        Logarithm of how probable a patch is at each column before the recording is looked at, up to
        a constant. Default: all are alike.

    Returns
    -------
    Patches

    Notes
    -----
    Beside patches that explain the covariance ``C``, one more of variance ``g`` at column ``a``
    changes ``K`` times the logarithm of the evidence by ``(log(1 + g w) - e g / (1 + g w)) / -2``,
    with ``w = a^T C^-1 a`` and ``e = |a^T C^-1 Y|^2 / K``; its best variance is
    ``(e - w) / w^2``, and gains ``K (t - 1 - log t) / 2`` with ``t = e / w`` (Tipping and Faul
    2003, "Fast marginal likelihood maximisation for sparse Bayesian models"). A patch is taken
    where the best column gains more than ``log n``, the price of telling one of ``n`` apart. Then
    every patch is placed anew beside the others.

    Ongoing activity of a strength that nobody told would be taken for patches, and several patches
    look like ongoing activity as long as none of them is known. So where there may be a background
    patches are looked for twice, without and with one whose variance is estimated after each; it
    costs as much as a patch. What has the larger evidence then is returned.

    The place of a patch is no more certain than the evidence: all that are probable stay, each
    with its probability (as in the sum of single effects, Wang et al. 2020). There what was
    expected counts, and how strong its sources would have to be (`FALL`). Whether there is one more
    patch is for the evidence alone.
    """
    size = max(1, _PART_VALUES // dictionary.matrix.numel())
    if expected is None:
        expected = samples.new_zeros(1, 1).expand(len(samples), len(dictionary.peaks))
    whole = samples, count, floor, expected
    split = zip(*(v.split(size) for v in whole), strict=True)
    parts = [_best(dictionary, *part) for part in split]
    return Patches(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))


def _best(
    dictionary: Dictionary,
    samples: Tensor,
    count: Tensor,
    floor: Tensor,
    expected: Tensor,
) -> Patches:
    """Without a background, or beside one where that has the larger evidence."""
    matrix, _, everywhere = dictionary
    price = math.log(matrix.shape[1])
    found = _search(dictionary, samples, count, floor, expected, beside=False)
    variance = background_variance(
        _covariance(matrix, found, floor), everywhere, samples, count, price
    )
    rows = torch.nonzero((variance > 0) | (found.asked.sum(1) > 1))[:, 0]
    if not len(rows):
        return found
    samples, count, floor, expected = (v[rows] for v in (samples, count, floor, expected))
    other = _search(dictionary, samples, count, floor, expected, beside=True)
    gained = torch.zeros_like(other.background)
    for sign, one in ((1, other), (-1, found.of(rows))):
        level = one.floor(floor, everywhere)
        objective = MarginalLikelihood(one.columns(matrix), samples, count, level)
        evidence = -count / 2 * objective(one.asked.to(level))
        gained += sign * (evidence - price * one.asked.sum(1))
    better = (other.background > 0) & (gained > price)
    for whole, part in zip(found, other, strict=True):
        whole[rows[better]] = part[better]
    return found


def _search(
    dictionary: Dictionary,
    samples: Tensor,
    count: Tensor,
    floor: Tensor,
    expected: Tensor,
    *,
    beside: bool,
) -> Patches:
    """One patch after another, beside a background that is estimated anew after each, or none."""
    matrix, _, everywhere = dictionary
    batch, columns = len(samples), matrix.shape[1]
    kept = min(PLACES, columns)
    found = Patches(
        torch.zeros(batch, MOST, kept, dtype=torch.int64, device=matrix.device),
        matrix.new_ones(batch, MOST, kept),
        torch.zeros(batch, MOST, dtype=torch.bool, device=matrix.device),
        matrix.new_zeros(batch),
    )
    price = math.log(columns)
    rows = torch.arange(batch, device=matrix.device)  # recordings that ask for more
    for latest in range(MOST):
        # The first one is placed anew as well where it leaves a background.
        turns = [latest, *range(latest + 1)] if latest or beside else [0]
        for number, patch in enumerate(turns):
            some = found.of(rows)
            some.asked[:, patch] = False
            covariance = _covariance(matrix, some, some.floor(floor[rows], everywhere))
            gain, variance = _alone(matrix, covariance, samples[rows], count[rows])
            if latest and not number:
                more = gain.amax(1) > price
                rows, some, gain, variance = rows[more], some.of(more), gain[more], variance[more]
                if not len(rows):
                    return found
            odds = TRUST * (gain + expected[rows]) + _likely(dictionary.peaks, some, variance)
            best, places = odds.topk(kept, dim=1)
            share = torch.softmax(best, 1)
            found.places[rows, patch] = places
            found.deviations[rows, patch] = (share * variance.gather(1, places)).sqrt()
            found.asked[rows, patch] = True
            if beside:
                covariance = _covariance(matrix, found.of(rows), floor[rows])
                found.background[rows] = background_variance(
                    covariance, everywhere, samples[rows], count[rows], price
                )
    return found


def _likely(peaks: Tensor, others: Patches, variance: Tensor) -> Tensor:
    """How likely, beside the others, sources are as strong as a patch at each column needs them.

    The logarithm, ``(B, n)``, of ``(1 + p^2)^-FALL`` with the ratio ``p`` of the strongest source
    to that of the patch that is seen best; zero for a patch that is seen better itself.
    """
    power = others.deviations.square() * others.asked[..., None]
    seen = power.sum(2)
    strength = (power * peaks[others.places].square()).sum(2)
    best = seen.argmax(1, keepdim=True)
    weaker = variance < seen.gather(1, best)
    known = torch.where(weaker, strength.gather(1, best), 1.0)
    return torch.where(weaker, -FALL * (variance * peaks.square() / known).log1p(), 0.0)


def _covariance(matrix: Tensor, patches: Patches, floor: Tensor) -> Tensor:
    """Of the samples, with the patches that are asked for."""
    columns = (patches.columns(matrix) * patches.asked[:, None, :, None]).flatten(2)
    covariance: Tensor = torch.diag_embed(floor) + columns @ columns.mT
    return covariance


def _alone(
    matrix: Tensor, covariance: Tensor, samples: Tensor, count: Tensor
) -> tuple[Tensor, Tensor]:
    """What a patch at each column gains by itself, ``(B, n)``, and at what variance."""
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(
        factor, torch.cat([matrix.expand(len(samples), -1, -1), samples], 2), upper=False
    )
    columns, rest = white.split([matrix.shape[1], samples.shape[2]], 2)
    spread = columns.square().sum(1)
    power = (columns.mT @ rest).square().sum(2) / count[:, None]
    ratio = (power / spread).clamp(min=1 + _LEAST)
    return count[:, None] / 2 * (ratio - 1 - ratio.log()), (ratio - 1) / spread
