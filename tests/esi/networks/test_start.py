"""The learned start: components, the network on their maps, and its training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fitting import flat
from learnmm_esi.head.from_leadfield import head_model_from_leadfield
from learnmm_esi.metrics import Evaluator
from learnmm_esi.networks.files import load_solver, save_solver
from learnmm_esi.networks.settings import MethodSettings
from learnmm_esi.networks.solver import SourceSolver
from learnmm_esi.networks.start import RANK, LearnedStart, leading_components
from learnmm_esi.recordings.learned import find_weights
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.training.losses import distance
from learnmm_esi.training.presets import Preset, TrainingSettings
from learnmm_esi.training.pretrain import (
    FactoredRecordings,
    Preparing,
    preparation_loss,
    start_loss,
)
from learnmm_esi.training.train import train

TIMES = 16


def make_head(model, rows=slice(None)):
    leadfield = model.leadfield[rows]
    leadfield = leadfield - leadfield.mean(axis=0)
    return head_model_from_leadfield(
        leadfield,
        model.positions,
        model.neighbours,
        [f"E{i}" for i in range(len(model.leadfield))][rows],
        distances=model.distances,
    )


@pytest.fixture(scope="module")
def head(small_model):
    return make_head(small_model)


def solver_on(head, **settings) -> SourceSolver:
    torch.manual_seed(0)
    small = {"hidden": 6, "width": 8, "times": TIMES, "steps": 3, **settings}
    return SourceSolver(head, MethodSettings("mm-net", **small))


def batch_of(head, count: int = 6, **settings) -> dict[str, torch.Tensor]:
    data = FactoredRecordings(ERPSimulator(head, seed=3, times=TIMES, **settings))
    return torch.utils.data.default_collate([data[i] for i in range(count)])


def preset(**settings) -> Preset:
    return Preset(
        method={"hidden": 6, "width": 8, "steps": 3},
        start=flat(**{"steps": 30, "batch_size": 16, "lr": 3e-3, "warmup": 2, **settings}),
        fit=flat(steps=2, batch_size=4, warmup=1),
        training=TrainingSettings(train_size=32, validation_size=8, horizons=(2, 3)),
    )


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


def test_the_network_is_odd_and_zero_at_zero() -> None:
    start = LearnedStart(torch.randn(20, 5))
    maps = torch.randn(2, 3, 20)
    torch.testing.assert_close(start.sharpen(-maps), -start.sharpen(maps))
    assert float(start.sharpen(torch.zeros(1, 1, 20)).detach().abs().max()) == 0.0


def test_a_start_follows_the_sign_of_the_recording_and_no_neighbour(head) -> None:
    energy = solver_on(head).energy
    y = batch_of(head)["sensors"]
    with torch.no_grad():
        together = energy.start(y)
        alone = energy.start(-1e3 * y[2:3])
    torch.testing.assert_close(alone, -together[2:3], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(together.abs().amax((1, 2)), torch.ones(len(y)))


@pytest.mark.parametrize("patches", [1, 2])
def test_the_loss_in_factors_is_the_dense_one(head, patches) -> None:
    batch = batch_of(head, patches=PatchSettings(patches))
    found = Preparing(solver_on(head).energy)(batch).start
    dense = distance(found.sum(), batch["maps"].mT @ batch["courses"])
    torch.testing.assert_close(start_loss(found, batch), dense)


def test_the_autoencoder_sees_windows_as_it_sees_whole_recordings(head) -> None:
    """What is compared of a window does not depend on where the window ends."""
    energy = solver_on(head, reach=3).energy
    model, batch = Preparing(energy), batch_of(head, count=8)
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


def test_the_start_is_trained_first_and_then_left_alone(head, tmp_path) -> None:
    solver, result, known = train(head, "mm-net", "erp", preset(), tmp_path / "a", progress=False)
    assert known["step"] > 0
    assert known["loss"] < 1.3, "untrained networks have about 2"
    assert result.steps == 2
    sharpener = solver.energy.sharpener
    assert sharpener is not None
    assert not any(p.requires_grad for p in sharpener.parameters())

    first = tmp_path / "a" / "start" / "best.safetensors"
    again, _, taken = train(
        head, "r-mm-net", "erp", preset(), tmp_path / "b", start=first, progress=False
    )
    assert taken["step"] == known["step"]
    assert not (tmp_path / "b" / "start").exists()
    for name, value in sharpener.state_dict().items():
        torch.testing.assert_close(again.energy.sharpener.state_dict()[name], value)


def test_a_training_can_be_repeated(head, tmp_path) -> None:
    """First weights included, whatever was drawn from the global generator before."""
    losses = []
    for name in ("a", "b"):
        torch.rand(len(losses) + 1)
        _, result, _ = train(head, "mm-net", "erp", preset(), tmp_path / name, progress=False)
        losses.append([row["loss"] for row in result.history if "loss" in row])
    assert losses[0] == losses[1]


def test_a_start_of_other_data_or_for_a_method_without_one_is_refused(head, tmp_path) -> None:
    train(head, "mm-net", "erp", preset(), tmp_path / "a", progress=False)
    first = tmp_path / "a" / "start" / "best.safetensors"
    other = replace(preset(), training=replace(preset().training, seed=7))
    with pytest.raises(ValueError, match=r"another configuration: .*seed"):
        train(head, "mm-net", "erp", other, tmp_path / "b", start=first, progress=False)
    linear = replace(preset(), method={**preset().method, "start": "sLORETA"})
    with pytest.raises(ValueError, match="learns no start"):
        train(head, "mm-net", "erp", linear, tmp_path / "c", start=first, progress=False)


def test_a_start_serves_other_channels(head, small_model, tmp_path) -> None:
    """The network knows maps of sources: half of the channels give a similar first iterate."""
    solver = solver_on(head)
    save_solver(tmp_path / "w.safetensors", solver, {"data": "erp"}, {}, half=False)
    fewer = make_head(small_model, slice(0, None, 2))
    other = load_solver(tmp_path / "w.safetensors", fewer, transfer=True)
    made = ERPSimulator(fewer, seed=3, times=TIMES)
    with torch.no_grad():
        x = other(torch.from_numpy(made.batch(range(3)).sensors)).x
    assert x.shape == (3, len(small_model.positions), TIMES)
    assert bool(torch.isfinite(x).all())


def test_the_shipped_weights_do_what_they_are_shipped_for(fsaverage_model) -> None:
    """On a coarser model of the head than they were trained on, and far beyond ten steps."""
    solver = load_solver(find_weights("mm-net-erp"), fsaverage_model, transfer=True)
    batch = ERPSimulator(fsaverage_model, seed=2).batch(range(12))
    compare = Evaluator(fsaverage_model, 512.0)
    for steps in (10, 60):
        found = solver.reconstruct(batch.sensors, steps=steps)
        metrics = compare(batch.sources, found.sources, batch.seed_source).summary()
        assert metrics["localization_error_global"] < 4.0  # mm; sLORETA has about 14
        assert metrics["auc"] > 0.995
        assert metrics["psnr"] > 36.0
        assert bool(found.result.certificate.monotone.all())
