"""Head models that cannot serve: too many sources, and sources that no sensor sees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from eeg_learning import small
from learnmm_esi.inverse.energy import LARGEST, SourceEnergy
from learnmm_esi.inverse.evidence import EvidenceEnergy
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.recordings.apply import MMInverse, apply_mm


class Huge:
    """A head model of which only the size is asked."""

    def __init__(self, sources):
        self.leadfield = np.broadcast_to(np.float64(1.0), (90, sources))


def test_too_many_sources_are_refused_before_memory_is_taken(coarse_model):
    with pytest.raises(ValueError, match=r"at most 10000 sources, got 20484: .* about 31 GiB"):
        SourceEnergy(Huge(20484))
    many = dataclasses.replace(coarse_model, positions=np.zeros((LARGEST + 1, 3)))
    with pytest.raises(ValueError, match="spacing='oct5'"):
        MMInverse(many)


def test_sources_that_no_sensor_sees_are_named_early(coarse_model, evoked):
    gain = coarse_model.leadfield.copy()
    gain[:, [3, 41]] = 0.0
    blind = dataclasses.replace(coarse_model, leadfield=gain)
    message = r"2 of 60 sources that no sensor sees .*: number 3, 41 \(from 0\)"
    with pytest.raises(ValueError, match=message):
        apply_mm(evoked, blind)
    with pytest.raises(ValueError, match=message):
        SourceSolver(blind, small("mm-net"))
    with pytest.raises(ValueError, match="60 of 60 sources"):
        SourceEnergy(dataclasses.replace(coarse_model, leadfield=np.ones((90, 60))))
    gain[:, 3] = 7e3  # the same at every sensor: nothing after average reference
    with pytest.raises(ValueError, match=message):
        SourceEnergy(blind)
    with pytest.raises(ValueError, match=message):
        EvidenceEnergy(blind)
