"""The methods that are compared: each is a name, the values of its free setting, and a function.

A further method is one line of `METHODS`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import mne
import numpy as np
from numpy.typing import NDArray

from learnmm_esi.networks.files import describe
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.recordings.localize_mi.heads import Regions, SubjectHead, regions_of
from learnmm_esi.recordings.localize_mi.responses import Response
from learnmm_esi.recordings.settings import InverseSettings, SensorSettings

__all__ = ["METHODS", "Method", "SourceMap", "choose_methods"]

Value: TypeAlias = float | str


@dataclass(frozen=True, eq=False)
class SourceMap:
    """How strong every source of a head is estimated to be.

    Attributes
    ----------
    positions : ndarray, shape (sources, 3)
        Metres, surface RAS of the subject.
    left : ndarray of bool, shape (sources,)
        Which of them lie in the left hemisphere.
    strength : ndarray, shape (sources,)
        Root of the sum of squares over the times, in any unit.
    warned : bool
        Whether the method itself said that the estimate is not to be trusted.
    """

    positions: NDArray[np.float64]
    left: NDArray[np.bool_]
    strength: NDArray[np.float64]
    warned: bool = False


Estimate: TypeAlias = Callable[[mne.Evoked, Value], SourceMap]


@dataclass(frozen=True)
class Method:
    """A method with its one free setting.

    Attributes
    ----------
    name : str
    setting : str
        What the values are called.
    values : tuple of float or str
        From which one is chosen, on other subjects.
    prepare : callable
        Given a head and a response with the channels in use, returns what estimates the sources of
        a part of that response for a value.
    """

    name: str
    setting: str
    values: tuple[Value, ...]
    prepare: Callable[[SubjectHead, Response], Estimate]


def linear(free: bool, method: str, head: SubjectHead, response: Response) -> Estimate:
    """Prepare an inverse of MNE-Python, whitened by the noise; values are amplitude SNRs.

    Parameters
    ----------
    free : bool
        Sources point anywhere, instead of along the normal of the cortex.
    method : str
        Of `mne.minimum_norm.apply_inverse`.
    head : SubjectHead
    response : Response

    Raises
    ------
    ValueError
        If orientations are to be free and the forward solution has fixed them.
    """
    if free and mne.forward.is_fixed_orient(head.forward):
        raise ValueError(
            f"{method} of free orientation needs a forward solution of free orientation, and this "
            "one has fixed them: leave the method out"
        )
    operator = mne.minimum_norm.make_inverse_operator(
        response.evoked.info,
        head.forward if free else head.model.forward(),
        response.noise,
        loose=1.0 if free else 0.0,
        depth=0.0,
        verbose="ERROR",
    )

    @functools.lru_cache(maxsize=1)
    def prepared(lambda2: float) -> mne.minimum_norm.InverseOperator:
        return mne.minimum_norm.prepare_inverse_operator(
            operator, response.evoked.nave, lambda2, method, verbose="ERROR"
        )

    def estimate(evoked: mne.Evoked, snr: Value) -> SourceMap:
        lambda2 = 1.0 / float(snr) ** 2
        stc = mne.minimum_norm.apply_inverse(
            evoked, prepared(lambda2), lambda2, method, prepared=True, verbose="ERROR"
        )
        return _source_map(head, stc.data)

    return estimate


def reconstruction(
    settings: Callable[[Value], InverseSettings], head: SubjectHead, response: Response
) -> Estimate:
    """Prepare `MMInverse`, whitened by the noise.

    Parameters
    ----------
    settings : callable
        Makes settings of a value.
    head : SubjectHead
    response : Response
    """

    @functools.lru_cache(maxsize=1)
    def inverse(value: Value) -> MMInverse:
        sensors = SensorSettings(noise_cov=response.noise)
        return MMInverse(head.model, settings(value), sensors=sensors)

    def estimate(evoked: mne.Evoked, value: Value) -> SourceMap:
        return _source_map(head, *_applied(inverse(value), evoked))

    return estimate


def learned(head: SubjectHead, response: Response, guided: bool = False) -> Estimate:
    """Prepare `MMInverse` with weights, the values, on the template's regions in the head.

    Parameters
    ----------
    head : SubjectHead
    response : Response
    guided : bool
        See `InverseSettings`.

    Raises
    ------
    ValueError
        If weights were trained on another head than the template.
    """

    @functools.lru_cache(maxsize=1)
    def inverse(weights: Value) -> tuple[MMInverse, Regions]:
        path = find_weights(str(weights))
        template = describe(path).config.head
        if template is None:
            raise ValueError(f"weights {path.name} must be of the template head, these are of none")
        regions = regions_of(head, template)
        settings = InverseSettings(weights=path, guided=guided)
        sensors = SensorSettings(noise_cov=response.noise)
        return MMInverse(regions.model, settings, sensors=sensors), regions

    def estimate(evoked: mne.Evoked, weights: Value) -> SourceMap:
        solver, regions = inverse(weights)
        data, warned = _applied(solver, evoked)
        return SourceMap(regions.positions, regions.left, _strength(data), warned)

    return estimate


def _applied(inverse: MMInverse, evoked: mne.Evoked) -> tuple[NDArray[np.float32], bool]:
    """Return sources and whether a warning says that they are not to be trusted."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        data = inverse.apply(evoked, verbose="ERROR").data
    return data, any(issubclass(one.category, RuntimeWarning) for one in told)


def _strength(sources: NDArray[Any]) -> NDArray[np.float64]:
    strength: NDArray[np.float64] = np.linalg.norm(sources.astype(np.float64), axis=1)
    return strength


def _source_map(
    head: SubjectHead, sources: NDArray[np.floating], warned: bool = False
) -> SourceMap:
    return SourceMap(head.model.positions, head.left, _strength(sources), warned)


def plain(value: Value) -> InverseSettings:
    """Return settings without learning; the value is the reach of its patches, or several."""
    return InverseSettings(diffusion=None if value == SEVERAL else float(value))


SEVERAL = "several"
SNRS = (3.0, 1.0, 10.0)
METHODS = (
    Method("sLORETA", "snr", SNRS, functools.partial(linear, False, "sLORETA")),
    Method("sLORETA-free", "snr", SNRS, functools.partial(linear, True, "sLORETA")),
    Method("MM", "diffusion", (SEVERAL, 3.0, 10.0), functools.partial(reconstruction, plain)),
    Method("mm-net", "weights", ("mm-net",), learned),
    Method("guided", "weights", ("mm-net",), functools.partial(learned, guided=True)),
)
"""What is compared unless some are chosen. First values are those of a folder of one subject."""


def choose_methods(names: tuple[str, ...]) -> tuple[Method, ...]:
    """Return methods by their names, all of them for no name.

    Raises
    ------
    ValueError
        If one is unknown.
    """
    known = {method.name: method for method in METHODS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"methods are {', '.join(known)}; there is no {unknown[0]!r}")
    return tuple(known[name] for name in dict.fromkeys(names)) or METHODS
