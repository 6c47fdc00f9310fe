"""The learned start: components, the network on their maps, and what it is shipped for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from eeg_learning import TIMES, build, recordings, small_head
from learnmm_esi.inverse.classical import apply_kernel, inverse_kernel
from learnmm_esi.metrics import Evaluator
from learnmm_esi.networks.components import leading_components
from learnmm_esi.networks.files import load_solver, save_solver
from learnmm_esi.networks.sight import RANK, look, sight_of
from learnmm_esi.networks.start import LearnedStart
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.simulation.erp import ERPSimulator


@pytest.mark.parametrize(("m", "times"), [(7, 12), (12, 7), (5, 2)])
def test_components_are_those_of_the_singular_value_decomposition(m, times) -> None:
    y = torch.randn(3, m, times, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left, right = leading_components(y, RANK)
    u, s, vh = torch.linalg.svd(y, full_matrices=False)
    best = (u[..., :RANK] * s[:, None, :RANK]) @ vh[:, :RANK]
    torch.testing.assert_close(left.mT @ right, best)
    torch.testing.assert_close(left.norm(dim=-1), s[:, :RANK])
    eye = torch.eye(right.shape[1], dtype=y.dtype).expand(3, -1, -1)
    torch.testing.assert_close(right @ right.mT, eye)


def test_the_network_is_odd_free_of_units_and_of_the_order_of_channels(head) -> None:
    start = LearnedStart(80)
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(3, len(head.leadfield), TIMES, generator=generator)
    y = y - y.mean(1, keepdim=True)
    y = y / torch.linalg.vector_norm(y, dim=(1, 2), keepdim=True)
    order = torch.randperm(len(head.leadfield), generator=generator)

    def first(leadfield: np.ndarray, y: torch.Tensor) -> torch.Tensor:
        modes, sight = sight_of(leadfield)
        return start(sight, look(y, modes)).sum().detach()

    x = first(head.leadfield, y)
    size = float(x.abs().max())
    close = {"rtol": 0, "atol": 2e-3 * size}  # single precision, through eigenvectors and divisions
    torch.testing.assert_close(first(head.leadfield, -y), -x, **close)
    torch.testing.assert_close(first(1e-6 * head.leadfield, y), x, **close)
    torch.testing.assert_close(first(head.leadfield[order], y[:, order]), x, **close)


@pytest.mark.parametrize("times", [1, 2, 3, 40])
def test_recordings_of_any_length_have_a_start(head, times) -> None:
    energy = build(head, "mm-net", start="learned").energy
    y = torch.randn(2, len(head.leadfield), times, generator=torch.Generator().manual_seed(0))
    x = energy.start(y - y.mean(1, keepdim=True)).detach()
    assert x.shape == (2, 80, times)
    assert bool(torch.isfinite(x).all())
    torch.testing.assert_close(x.abs().amax((1, 2)), torch.ones(2))


def test_filling_up_modes_changes_nothing(head) -> None:
    """Caps of one batch have as many modes as the largest; what they lack is zero."""
    modes, sight = sight_of(head.leadfield)
    y = recordings(head, 4)["sensors"]
    seen = look(y / torch.linalg.vector_norm(y, dim=(1, 2), keepdim=True), modes)
    start = LearnedStart(80)
    x = start(sight, seen).maps.detach()
    filled = [torch.nn.functional.pad(part, (0, 5)) for part in (*sight, seen.coefficients)]
    wide = start(type(sight)(*filled[:2]), seen._replace(coefficients=filled[2])).maps.detach()
    torch.testing.assert_close(wide, x, rtol=1e-4, atol=1e-4 * float(x.abs().max()))


def test_a_start_follows_the_sign_of_the_recording_and_no_neighbour(head) -> None:
    energy = build(head, "mm-net", start="learned").energy
    y = recordings(head, 6)["sensors"]
    with torch.no_grad():
        together = energy.start(y)
        alone = energy.start(-1e3 * y[2:3])
    torch.testing.assert_close(alone, -together[2:3], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(together.abs().amax((1, 2)), torch.ones(len(y)))


def test_a_start_serves_other_channels(head, small_model, tmp_path) -> None:
    """The network knows maps of sources: half of the channels give a similar first iterate."""
    solver = build(head, "mm-net", start="learned")
    save_solver(tmp_path / "w.safetensors", solver, {"data": "erp"}, {}, half=False)
    fewer = small_head(small_model, slice(0, None, 2))
    other = load_solver(tmp_path / "w.safetensors", fewer, transfer=True)
    made = ERPSimulator(fewer, seed=3, times=TIMES)
    with torch.no_grad():
        x = other(torch.from_numpy(made.batch(range(3)).sensors)).x
    assert x.shape == (3, len(small_model.positions), TIMES)
    assert bool(torch.isfinite(x).all())


@pytest.mark.parametrize("channels", [slice(None), slice(0, None, 4)], ids=["90", "23"])
def test_the_shipped_weights_do_what_they_are_shipped_for(fsaverage_model, channels) -> None:
    """Any cap, on a coarser model of the head than most of the training, and beyond its steps."""
    gain = fsaverage_model.leadfield[channels]
    names = fsaverage_model.channel_names[channels]
    model = replace(fsaverage_model, leadfield=gain - gain.mean(axis=0), channel_names=tuple(names))
    solver = load_solver(find_weights("mm-net"), model)
    batch = ERPSimulator(model, seed=2).batch(range(16))
    compare = Evaluator(model, 512.0)
    linear = apply_kernel(inverse_kernel(model.leadfield), batch.sensors)
    usual = compare(batch.sources, linear, batch.seed_source).summary()
    for steps in (2, 20):
        found = solver.reconstruct(batch.sensors, steps=steps)
        metrics = compare(batch.sources, found.sources, batch.seed_source).summary()
        half = usual["localization_error_global"] / 2
        assert metrics["localization_error_global"] < half
        assert metrics["auc"] > 0.98 > usual["auc"]
        assert metrics["psnr"] > usual["psnr"] + 6
        assert found.refused is not None
        assert found.refused.mean() < 0.1
        assert found.result is not None
        assert bool(found.result.certificate.monotone.all())
