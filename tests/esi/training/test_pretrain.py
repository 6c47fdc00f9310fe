"""The training of the start: what it learns from, and its loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eeg_learning import TIMES, build, factored
from learnmm_esi.networks.components import Components
from learnmm_esi.networks.sight import look
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.training.losses import distance
from learnmm_esi.training.preparation import FIRST_STAGE, Preparing, preparation_loss
from learnmm_esi.training.seen import SHOWN, OneHead, SeenRecordings


@pytest.mark.parametrize("patches", [1, 2])
def test_the_loss_in_factors_is_the_dense_one(head, patches) -> None:
    """And the start that is trained is the start that is used."""
    energy = build(head, "mm-net", start="learned").energy
    batch = factored(head, PatchSettings(patches))
    found = Preparing(energy)(batch)
    loss, parts = preparation_loss(found, batch)
    samples = ERPSimulator(head, seed=3, size=6, times=TIMES, patches=PatchSettings(patches)).batch(
        range(6)
    )
    y, truth = torch.from_numpy(samples.sensors), torch.from_numpy(samples.sources)
    truth = truth / truth.abs().amax((1, 2), keepdim=True)
    torch.testing.assert_close(parts["start"], distance(energy.start(y), truth))
    seen = look(energy.normalized(y), energy.modes)
    assert energy.sharpener is not None
    first, _ = energy.sharpener.stages(energy.sight, seen)
    torch.testing.assert_close(parts["first"], distance(first.sum(), truth))
    whole = parts["start"] + FIRST_STAGE * parts["first"] + (parts["prior"] + parts["truth"]) / 2
    torch.testing.assert_close(loss, whole)


@pytest.mark.parametrize("patches", [1, (1, 2)])
def test_a_group_holds_the_samples_of_its_simulator(head, patches) -> None:
    made = ERPSimulator(head, seed=3, size=7, times=TIMES, patches=PatchSettings(patches))
    groups = OneHead(made, head, 3)
    assert len(groups) == 2  # what is left over is not used
    group = groups.group(1, draw=2)
    turned = np.roll(range(3, 6), -2 * SHOWN)  # others are first in every draw
    for member, index in enumerate(turned):
        sample = made.sample(index, draw=2)
        np.testing.assert_array_equal(group.sensors[member], sample.sensors)
        np.testing.assert_array_equal(group.seed_sources[member], sample.seed_sources)
        product = group.sources[member]
        scale = np.abs(sample.sources).max() / np.abs(product).max()
        np.testing.assert_allclose(product * scale, sample.sources, rtol=1e-5, atol=1e-6 * scale)


def test_noise_is_fresh_in_every_epoch_of_training_alone(head) -> None:
    groups = OneHead(ERPSimulator(head, seed=3, size=4, times=TIMES), head, 4)
    for fresh in (True, False):
        data = SeenRecordings(groups, fresh=fresh)
        first = data[0]["coefficients"]
        data.set_epoch(1)
        assert torch.equal(data[0]["coefficients"], first) is not fresh


def test_the_autoencoder_is_shown_every_recording_in_turn(head) -> None:
    """It knew an eighth of the recordings by heart when it was shown the same in every epoch."""
    many = 4 * SHOWN
    groups = OneHead(ERPSimulator(head, seed=3, size=many, times=TIMES), head, many)
    order = list(groups.group(0).seed_sources[:, 0])
    shown = [list(groups.group(0, draw).seed_sources[:SHOWN, 0]) for draw in range(4)]
    assert [seed for turn in shown for seed in turn] == order


def test_the_samples_that_the_autoencoder_sees_are_of_the_recording(head) -> None:
    batch = factored(head)
    truth = Components(batch["maps"], batch["true_samples"])
    shown = truth.maps[0, : len(truth.courses[0])].mT @ truth.courses[0]
    sources = OneHead(ERPSimulator(head, seed=3, size=6, times=TIMES), head, 6).group(0).sources
    for one, whole in zip(shown, torch.from_numpy(sources), strict=False):
        assert torch.equal(one.abs().max(), one[:, 0].abs().max())
        torch.testing.assert_close(one[:, 0].abs().max(), whole.abs().max())
        apart = (one[:, :, None] - whole[:, None]).abs().amax(0).amin(1)
        assert float(apart.max()) < 1e-6


def test_an_energy_that_cannot_be_prepared_is_refused(head) -> None:
    with pytest.raises(ValueError, match="learned or from the evidence is needed, got 'sLORETA'"):
        Preparing(build(head, "mm-net").energy)
    with pytest.raises(ValueError, match="learns from single samples: expected a reach of 1, got"):
        Preparing(build(head, "mm-net", start="learned", reach=3).energy)
