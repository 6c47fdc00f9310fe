"""The training of the start: its loss, and what the autoencoder sees of a recording."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eeg_learning import TIMES, build, factored
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.training.data import FactoredRecordings
from learnmm_esi.training.losses import distance
from learnmm_esi.training.pretrain import Preparing, preparation_loss, start_loss


@pytest.mark.parametrize("patches", [1, 2])
def test_the_loss_in_factors_is_the_dense_one(head, patches) -> None:
    batch = factored(head, PatchSettings(patches))
    found = Preparing(build(head, "mm-net", start="learned").energy)(batch).start
    dense = distance(found.sum(), batch["maps"].mT @ batch["courses"])
    torch.testing.assert_close(start_loss(found, batch), dense)


def test_the_autoencoder_sees_windows_as_it_sees_whole_recordings(head) -> None:
    """What is compared of a window does not depend on where the window ends."""
    energy = build(head, "mm-net", start="learned", reach=3).energy
    model, batch = Preparing(energy), factored(head, count=8)
    long = {**batch, "courses": torch.cat([batch["courses"]] * 4, 2)}
    long["sensors"] = torch.cat([batch["sensors"]] * 4, 2)
    for _ in range(5):
        found = model(long)
        whole = long["maps"][:2].mT @ long["courses"][:2]
        phi = energy.autoencoder(whole)
        for i in range(2):
            # Where the window lies in the recording.
            fits = [
                t
                for t in range(whole.shape[2] - found.truth.shape[2] + 1)
                if torch.equal(whole[i, :, t : t + found.truth.shape[2]], found.truth[i])
            ]
            assert fits
            cut = phi[i, :, fits[0] : fits[0] + found.truth.shape[2]]
            torch.testing.assert_close(found.from_truth[i], cut, rtol=1e-4, atol=1e-6)
            peak = int(long["courses"][i, 0].abs().argmax())
            assert any(t <= peak < t + found.truth.shape[2] for t in fits)
    assert set(preparation_loss(found, long)[1]) == {"start", "prior", "truth"}


@pytest.mark.parametrize("patches", [1, 2])
def test_factors_are_those_of_the_sample(head, patches) -> None:
    made = ERPSimulator(head, seed=3, times=TIMES, patches=PatchSettings(patches))
    data = FactoredRecordings(made)
    data.set_epoch(2)
    item, sample = data[4], made.sample(4, draw=2)
    np.testing.assert_array_equal(item["sensors"].numpy(), sample.sensors)
    product = (item["maps"].mT @ item["courses"]).numpy()
    scale = np.abs(sample.sources).max() / np.abs(product).max()
    np.testing.assert_allclose(product * scale, sample.sources, rtol=1e-5, atol=1e-6 * scale)
    fixed = FactoredRecordings(made, fresh=False)
    fixed.set_epoch(2)
    np.testing.assert_array_equal(fixed[4]["sensors"].numpy(), made.sample(4).sensors)


def test_an_energy_whose_start_is_not_learned_is_refused(head) -> None:
    with pytest.raises(ValueError, match="a start that is learned is needed, got 'sLORETA'"):
        Preparing(build(head, "mm-net").energy)
