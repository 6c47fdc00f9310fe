"""Learned source imaging: methods, losses, data, presets, files, training, evaluation."""

from __future__ import annotations

import json
from dataclasses import replace

import mne
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import learnmm as lmm
from fitting import flat
from learnmm_esi.cli.app import app
from learnmm_esi.head.from_forward import head_model_from_forward
from learnmm_esi.head.from_leadfield import head_model_from_leadfield
from learnmm_esi.metrics import Evaluator
from learnmm_esi.networks.files import load_solver, save_solver
from learnmm_esi.networks.settings import FIXED_LENGTH, METHODS, UNVERIFIED, MethodSettings
from learnmm_esi.networks.solver import SourceSolver, fingerprint, same_leadfield
from learnmm_esi.recordings.apply import MMInverse
from learnmm_esi.recordings.settings import InverseSettings
from learnmm_esi.simulation.data_sets import simulator
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.training.data import SimulatedRecordings
from learnmm_esi.training.evaluate import evaluate
from learnmm_esi.training.losses import LOSSES, deep_loss, distance, paper_loss
from learnmm_esi.training.presets import PRESETS, Preset, TrainingSettings, load_preset
from learnmm_esi.training.train import train
from scripts import script

TIMES = 16


@pytest.fixture(scope="module")
def head(small_model):
    """Eighty sources on a sphere: enough to have patches, few enough to learn in seconds."""
    names = [f"E{i}" for i in range(len(small_model.leadfield))]
    return head_model_from_leadfield(
        small_model.leadfield,
        small_model.positions,
        small_model.neighbours,
        names,
        distances=small_model.distances,
    )


def small(method: str, **settings) -> MethodSettings:
    return MethodSettings(
        method,
        **{"hidden": 6, "width": 8, "times": TIMES, "steps": 4, "start": "sLORETA", **settings},
    )


def build(head, method: str, seed: int = 0, **settings) -> SourceSolver:
    torch.manual_seed(seed)
    return SourceSolver(head, small(method, **settings))


def recordings(head, count: int = 4) -> dict[str, torch.Tensor]:
    data = SimulatedRecordings(ERPSimulator(head, seed=3, times=TIMES))
    return torch.utils.data.default_collate([data[i] for i in range(count)])


# --- methods -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_from_both_losses(head, method) -> None:
    """A few steps on one batch lower the loss, and every weight that proposes takes part."""
    batch = recordings(head)
    for name in LOSSES:
        solver = build(head, method)
        outer = LOSSES[name](solver)
        adam = torch.optim.Adam(solver.parameters(), lr=5e-3)
        values = []
        for _ in range(6):
            loss, scalars = outer(solver(batch, verified=False), batch)
            adam.zero_grad()
            loss.backward()
            adam.step()
            values.append(float(loss.detach()))
            assert set(scalars) == {"estimate", "prior"}
        assert values[-1] < values[0]
        idle = [n for n, p in solver.named_parameters() if p.requires_grad and p.grad is None]
        assert not idle


@pytest.mark.parametrize("method", METHODS)
def test_verified_methods_descend_at_any_horizon(head, method) -> None:
    """Untrained, so what is proposed is bad; 60 steps are six times the paper's."""
    solver = build(head, method)
    with torch.no_grad():
        for parameter in solver.unrolled.preconditioner.parameters():
            parameter.mul_(3.0)
        solved = solver(recordings(head), steps=60)
    assert bool(torch.isfinite(solved.x).all())
    rise = solved.values.diff(dim=0).max()
    certificate = solver.unrolled.certificate(solved)
    if method in UNVERIFIED:
        assert not certificate.safeguarded
        assert float(rise) > 0, "the comparison says nothing if this one descends by itself"
    else:
        assert float(rise) <= 0
        assert bool(certificate.monotone.all())


@pytest.mark.parametrize("method", METHODS)
def test_recordings_of_a_batch_do_not_see_each_other_nor_units(head, method) -> None:
    solver, batch = build(head, method), recordings(head)
    with torch.no_grad():
        together = solver(batch).x
        alone = solver(batch["sensors"][2:3] * 1e3).x
    torch.testing.assert_close(
        together[2:3], alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max())
    )


@pytest.mark.parametrize("method", [m for m in METHODS if m not in FIXED_LENGTH])
def test_networks_take_recordings_of_any_length(head, method) -> None:
    sensors = recordings(head)["sensors"]
    longer = torch.cat([sensors, sensors], 2)
    assert build(head, method)(longer).x.shape[2] == 2 * TIMES


@pytest.mark.parametrize("method", FIXED_LENGTH)
def test_methods_tied_to_a_length_say_so(head, method) -> None:
    sensors = recordings(head)["sensors"][:, :, :-1]
    with pytest.raises(ValueError, match=f"built for recordings of {TIMES} samples, got 15"):
        build(head, method)(sensors)


def test_parameter_counts_are_those_of_the_paper_where_it_tells(fsaverage_model) -> None:
    """Kernels over time alone have a third of the 3 x 3 kernels' weights (MM-Net, 4DVarNet)."""
    counts = {
        m: SourceSolver(
            fsaverage_model, MethodSettings(m, start="noise", width=128, reach=3)
        ).parameter_counts()
        for m in METHODS
    }
    for count in counts.values():
        assert count["energy"] in (812_544, 812_545)  # with the weight of the prior
    assert round(counts["meta-curvature"]["all"] / 1e6, 2) == 1.80
    assert round(counts["modgrad"]["all"] / 1e6, 1) == 1.3
    network = counts["mm-net"]["proposes"]
    assert abs(3 * network + 812_544 - 2.95e6) < 0.05e6
    assert abs(3 * counts["4dvarnet"]["proposes"] + 812_544 - 3.01e6) < 0.05e6


def test_noise_start_is_the_papers_and_the_same_for_all(head) -> None:
    solver = build(head, "mm-net", start="noise")
    start = solver.energy.start(recordings(head)["sensors"])
    assert torch.equal(start[0], start[1])
    assert float(start.abs().max()) == pytest.approx(1e-3)


def test_weights_of_the_energy_can_be_fixed(head) -> None:
    solver = build(head, "mm-net", weight=3.0, learn_weight=False)
    assert not solver.energy.log_weight.requires_grad
    assert float(solver.energy.weight.detach()) == pytest.approx(3.0)


# --- losses, data, presets ---------------------------------------------------------------------


def test_paper_loss_is_equation_11(head) -> None:
    solver, batch = build(head, "mm-net"), recordings(head)
    solved = solver(batch)
    x, truth = solved.x.flatten(1), batch["sources"].flatten(1)
    phi = solver.energy.autoencoder(solved.x).flatten(1)
    cos = torch.nn.functional.cosine_similarity
    expected = (1 - cos(x, truth)).mean() + (1 - cos(x, phi)).mean()
    torch.testing.assert_close(paper_loss(solver)(solved, batch)[0], expected)


def test_deep_loss_is_zero_for_a_perfect_solver_alone(head) -> None:
    solver, batch = build(head, "mm-net"), recordings(head)
    truth = batch["sources"]
    perfect = solver(batch)._replace(x=truth, iterates=(truth,) * 5)
    solver.energy.autoencoder = torch.nn.Identity()
    assert float(deep_loss(solver)(perfect, batch)[0]) < 1e-6
    worse = perfect._replace(iterates=(truth,) * 4 + (torch.ones_like(truth),))
    early = perfect._replace(iterates=(truth, torch.ones_like(truth)) + (truth,) * 3)
    late, soon = (float(deep_loss(solver)(s, batch)[0].detach()) for s in (worse, early))
    assert late > soon > 0.01
    assert float(distance(truth, -truth)) == pytest.approx(2.0)


def test_noise_is_fresh_in_every_epoch_of_training_alone(head) -> None:
    made = ERPSimulator(head, seed=3, times=TIMES)
    training, testing = SimulatedRecordings(made), SimulatedRecordings(made, fresh=False)
    first, fixed = training[1], testing[1]
    training.set_epoch(1)
    testing.set_epoch(1)
    assert torch.equal(first["sources"], training[1]["sources"])
    assert not torch.equal(first["sensors"], training[1]["sensors"])
    assert torch.equal(fixed["sensors"], testing[1]["sensors"])
    training.set_epoch(0)
    assert torch.equal(first["sensors"], training[1]["sensors"])


def test_windows_hold_the_peak_of_the_source(head) -> None:
    made = ERPSimulator(head, seed=3, times=64)
    windows, whole = SimulatedRecordings(made, window=TIMES), SimulatedRecordings(made)
    begins = set()
    for epoch in range(3):
        windows.set_epoch(epoch)
        whole.set_epoch(epoch)
        for index in range(4):
            part, full = windows[index], whole[index]
            assert part["sources"].shape == (80, TIMES)
            assert float(part["sources"].abs().max()) == 1.0
            places = [
                begin
                for begin in range(64 - TIMES + 1)
                if torch.equal(part["sensors"], full["sensors"][:, begin : begin + TIMES])
            ]
            assert len(places) == 1
            begins.add(places[0])
    assert len(begins) > 4


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load(name) -> None:
    preset = load_preset(name)
    assert preset.fit.steps > 0
    assert json.dumps(preset.as_dict())


def test_the_papers_preset_is_the_papers() -> None:
    preset = load_preset("paper")
    assert preset.fit.steps == 500 * 8000 // 32
    assert (preset.fit.adam.lr, preset.fit.adam.lr_factors["unrolled.energy"]) == (5e-5, 0.5)
    assert (preset.fit.adam.clip, preset.fit.adam.final_lr, preset.training.loss) == (
        0.5,
        1.0,
        "paper",
    )
    paper = {"start": "noise", "width": 128, "reach": 3, "weight": 1.0, "learn_weight": False}
    assert preset.method == paper


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[nothing]\na = 1", "unknown section 'nothing'"),
        ("[fit]\nstep = 3", r"unknown setting 'step' in \[fit\]"),
        ("[fit]\nsteps = 30\n[training]\nloss = 'mse'", "loss must be one of deep, paper"),
        ("[fit]\nsteps = 30\n[training]\nhorizons = [3, 2]", "1 <= fewest <= most"),
        ("[fit]\nsteps = 30\n[method]\nhidden = 0", "hidden must be a positive integer"),
        ("[fit", "not valid TOML"),
    ],
)
def test_faulty_presets_are_refused(tmp_path, text, message) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_preset(path)


def test_unknown_names_are_told_with_what_there_is(head) -> None:
    with pytest.raises(FileNotFoundError, match="presets: cpu, paper, quick, smoke"):
        load_preset("fast")
    with pytest.raises(ValueError, match="method must be one of mm-net, "):
        MethodSettings("unet")
    with pytest.raises(ValueError, match="data must be one of erp, nmm, got 'meg'"):
        simulator(head, "meg", 0, 1)


# --- files -------------------------------------------------------------------------------------


def test_weights_come_back_with_everything(head, tmp_path) -> None:
    solver = build(head, "mm-net")
    batch = recordings(head)
    path = tmp_path / "w.safetensors"
    save_solver(path, solver, {"data": "erp", "training": {}}, {"minutes": 1}, half=False)
    again = load_solver(path, head)
    assert again.settings == solver.settings
    assert torch.equal(again(batch).x, solver(batch).x)
    save_solver(path, solver, {"data": "erp", "training": {}}, {"minutes": 1})
    half = load_solver(path, head)
    assert float(distance(half(batch).x, solver(batch).x).detach()) < 1e-3


def test_weights_are_refused_for_another_head(head, tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    save_solver(path, build(head, "mm-net"), {"data": "erp", "training": {}}, {})
    other = replace(head, leadfield=head.leadfield * (1 + 1e-3 * np.sin(np.arange(80))))
    with pytest.raises(ValueError, match=r"another lead field.*learnmm-esi train"):
        load_solver(path, other)
    fewer = replace(head, channel_names=head.channel_names[:-1], leadfield=head.leadfield[:-1])
    with pytest.raises(ValueError, match=rf"it lacks {head.channel_names[-1]}"):
        load_solver(path, fewer)
    with pytest.raises(ValueError, match="a head model of somebody's own"):
        load_solver(path)
    lmm.save_weights(path, torch.nn.Linear(2, 2), {"some": "thing"})
    with pytest.raises(ValueError, match="not those of a source-imaging method"):
        load_solver(path, head)


def test_fingerprint_survives_rounding_and_sees_changes(fsaverage_model) -> None:
    matrix = fsaverage_model.leadfield
    rng = np.random.default_rng(0)
    known = fingerprint(matrix)
    rounded = matrix * (1 + 1e-7 * rng.standard_normal(matrix.shape))
    assert same_leadfield(known, fingerprint(rounded))
    assert same_leadfield(known, fingerprint(2 * matrix))  # units play no role
    swapped = matrix.copy()
    swapped[[3, 4]] = matrix[[4, 3]]
    for other in (
        matrix[:-1],
        matrix[:, ::-1],
        swapped,
        matrix * (1 + 0.01 * rng.random((1, 994))),
    ):
        assert not same_leadfield(known, fingerprint(other))


# --- training and evaluation -------------------------------------------------------------------


def preset(**fit) -> Preset:
    settings = {"steps": 8, "warmup": 1, "batch_size": 4, "validate_every": 4, "lr": 3e-3, **fit}
    return Preset(
        method={"hidden": 6, "width": 8, "steps": 4, "times": 64},
        start=flat(steps=2, batch_size=8, warmup=1),
        fit=flat(**settings),
        training=TrainingSettings(horizons=(2, 4), train_size=16, validation_size=4),
    )


def test_training_lowers_the_loss_and_resumes(head, tmp_path) -> None:
    whole, result, _ = train(head, "mm-net", "erp", preset(), tmp_path / "a", progress=False)
    losses = [row["loss"] for row in result.history if "loss" in row]
    assert np.mean(losses[-2:]) < np.mean(losses[:2])
    train(head, "mm-net", "erp", preset(steps=4), tmp_path / "b", progress=False)
    again, longer, _ = train(head, "mm-net", "erp", preset(), tmp_path / "b", progress=False)
    assert longer.steps == 8
    assert [row["step"] for row in longer.history if "loss" in row] == list(range(1, 9))
    assert again.settings == whole.settings
    with pytest.raises(ValueError, match="another run"):
        train(head, "mm-net", "erp", preset(lr=1e-3), tmp_path / "b", progress=False)


def test_evaluation_is_that_of_each_recording(head) -> None:
    solver = build(head, "mm-net")
    test = ERPSimulator(head, seed=5, times=TIMES, size=40)
    found = evaluate(solver, test, 40, horizons=(4, 2, 0))
    assert list(found.metrics) == [0, 2, 4]
    batch = test.batch(range(33, 36))
    compare = Evaluator(head, test.sfreq)
    with torch.no_grad():
        start = solver.energy.start(torch.from_numpy(batch.sensors))
        expected = compare(batch.sources, start, batch.seed_source)
        np.testing.assert_allclose(found.metrics[0].psnr[33:36], expected.psnr, rtol=1e-4)
        for steps in (2, 4):
            solved = solver(torch.from_numpy(batch.sensors), steps=steps)
            expected = compare(batch.sources, solved.x, batch.seed_source)
            np.testing.assert_allclose(found.metrics[steps].psnr[33:36], expected.psnr, rtol=1e-4)
            np.testing.assert_allclose(
                found.energy[: steps + 1, 33:36], solved.values.numpy(), rtol=1e-4
            )
    weight = float(solver.energy.weight.detach())
    np.testing.assert_allclose(found.energy, found.data_term + weight * found.prior_term)
    assert json.dumps(found.summary())
    with pytest.raises(ValueError, match="2 samples or more"):
        evaluate(solver, test, 1)


def test_evaluation_of_a_method_that_is_not_verified_says_so(head) -> None:
    solver = build(head, "4dvarnet")
    with torch.no_grad():
        solver.unrolled.preconditioner.decode.weight.mul_(10)
    found = evaluate(solver, ERPSimulator(head, seed=5, times=TIMES), 8, horizons=(30,)).summary()
    assert found["steps"]["30"]["monotone"] < 1
    assert found["steps"]["30"]["worst_increase"] > 0
    assert found["steps"]["30"]["rejected"] == 0


# --- as a user would -----------------------------------------------------------------------------


def test_train_evaluate_and_reconstruct_from_the_command_line(coarse_model, tmp_path) -> None:
    """On a head of one's own, with settings of one's own, to an estimate of a real file."""

    def run(*arguments, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == code, result.output
        return result.output

    mne.write_forward_solution(tmp_path / "own-fwd.fif", coarse_model.forward(), verbose="ERROR")
    (tmp_path / "tiny.toml").write_text(
        "[method]\nhidden = 4\nwidth = 4\nsteps = 3\n"
        "[start]\nsteps = 2\nadam = {warmup = 1}\nbatch_size = 4\n"
        "[fit]\nsteps = 4\nadam = {warmup = 1}\nbatch_size = 2\nvalidate_every = 2\n"
        "[training]\ntrain_size = 8\nvalidation_size = 2\nhorizons = [2, 3]\n"
    )
    own = ["--forward", tmp_path / "own-fwd.fif"]
    out = run(
        "train", "mm-net", "--preset", tmp_path / "tiny.toml", *own, "--out", tmp_path / "run"
    )
    assert "4 steps" in out
    weights = tmp_path / "run" / "weights.safetensors"
    assert weights.is_file()
    evaluated = ["--samples", 4, "--steps", 3, "--steps", 6, "--out", tmp_path / "found"]
    run("evaluate", weights, *own, *evaluated)
    read_evaluations = script("esi", "evaluations").read_evaluations
    assert set(read_evaluations(tmp_path / "found")[0]["steps"]) == {"3", "6"}

    model = head_model_from_forward(tmp_path / "own-fwd.fif")
    sensors = simulator(model, "erp", 1, 1).sample(0).sensors
    evoked = mne.EvokedArray(sensors.astype(float), model.info(512.0), comment="left")
    evoked.set_eeg_reference(projection=True, verbose="ERROR").save(tmp_path / "x-ave.fif")
    run("reconstruct", tmp_path / "x-ave.fif", *own, "--weights", weights, "--no-picture")
    assert list(tmp_path.glob("x*lh.stc"))

    inverse = MMInverse(model, InverseSettings(weights=weights))
    stc, fit = inverse.apply(evoked, return_result=True)
    assert stc.data.shape == (len(model.positions), 64)
    assert fit.monotone
    assert len(fit.energies) <= 4
    slow = evoked.copy().resample(256, verbose="ERROR")
    with pytest.raises(ValueError, match=r"512 Hz, this one has 256 Hz: resample"):
        inverse.apply(slow)
    lacking = evoked.copy()
    lacking.info["bads"] = evoked.ch_names[:1]
    with pytest.raises(ValueError, match=rf"no good {evoked.ch_names[0]}\. Interpolate"):
        inverse.apply(lacking)
    with pytest.raises(FileNotFoundError, match="shipped with the library"):
        MMInverse(model, InverseSettings(weights="mm-net-meg"))
    assert "no weights and no file" in run(
        "reconstruct", tmp_path / "x-ave.fif", *own, "--weights", "nothing", code=1
    )
