"""Simulated recordings on disk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from learnmm_esi.simulation.sample_files import write_samples


def test_sources_without_vertices_are_refused_before_anything_is_written(coarse_model, tmp_path):
    bare = replace(coarse_model, vertices=None)
    with pytest.raises(ValueError, match="write_samples: expected a head model on two surfaces"):
        next(write_samples(tmp_path, [], bare, 512.0, "erp"))
    assert not list(tmp_path.iterdir())
