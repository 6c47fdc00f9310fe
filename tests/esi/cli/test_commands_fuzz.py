"""Absurd options and damaged files: a sentence and a code, never another exception."""

from __future__ import annotations

import gzip
import os
import random
import unicodedata

import mne
import pytest
import typer
from typer.testing import CliRunner

from eeg_learning import TIMES, build
from learnmm_esi.cli.app import app
from learnmm_esi.head.from_forward import head_model_from_forward
from learnmm_esi.networks.files import save_solver
from learnmm_esi.simulation.erp import ERPSimulator
from learnmm_esi.simulation.patches import PatchSettings
from learnmm_esi.training.presets import load_preset

TINY = """
[method]
hidden = 4
steps = 3
prior = {width = 4}
[start]
steps = 2
adam = {warmup = 1}
batch_size = 4
[fit]
steps = 2
adam = {warmup = 1}
batch_size = 2
validate_every = 2
[training]
train_size = 8
validation_size = 2
horizons = [2, 3]
"""

NUMBERS = ["nan", "inf", "-inf", "1e308", "-1e308", str(10**30), str(-(10**30)), "-1", "", "½"]
WHOLE = ["nan", "inf", "1.5", str(10**30), str(-(10**30)), "-1", "", "²", "0x10", "1_0_"]
TEXTS = ["", " ", "\x1b[2J", "naïve", "\u202e", "[/red]", "$\\x$", "..", "0" * 5000, "💥"]
ODD = os.fsdecode(b"\xe9-ave.fif")  # no UTF-8
PATHS = ["/dev/null", "/proc/version", "/dev/full", "", "x" * 300, "a\nb", ODD]

# Of every command: what is right, and what each of its options may be given instead.
OPTIONS = {
    "head-model": {
        "--sources": WHOLE,
        "--ico": ["1", "6", *WHOLE],
        "--surface": TEXTS,
        "--column": TEXTS,
        "--skull": TEXTS,
        "--subjects-dir": PATHS,
        "--conductivity": NUMBERS,
        "--picture": ["x.nothing", "x", *PATHS[3:6]],
        "--forward": PATHS[2:6],
    },
    "simulate": {
        "--samples": ["0", *WHOLE],
        "--seed": WHOLE,
        "--ico": ["1", *WHOLE],
        "--snr-db": ["1e308", "-1e308", "301", *NUMBERS],
        "--out": PATHS[:5],
    },
    "reconstruct": {
        "--out": PATHS[:5],
        "--condition": [*TEXTS, "7", "²"],
        "--bads": TEXTS,
        "--tmin": [*NUMBERS, "1e9"],
        "--tmax": [*NUMBERS, "-5"],
        "--weight": NUMBERS,
        "--diffusion": NUMBERS,
        "--max-iter": ["0", *WHOLE],
        "--on-missing": TEXTS,
        "--weights": [*TEXTS, *PATHS],
        "--noise-cov": PATHS,
        "--forward": PATHS,
        "--ico": ["3", *WHOLE],
    },
    "evaluate": {
        "--data": TEXTS,
        "--samples": ["0", "1", *WHOLE],
        "--steps": WHOLE,
        "--seed": WHOLE,
        "--threads": ["0", "100000", *WHOLE],
        "--forward": PATHS,
        "--ico": ["3", *WHOLE],
        "--out": PATHS[:5],
    },
    "localize-mi": {
        "--channels": ["15", "1025", *WHOLE],
        "--method": TEXTS,
        "--sources": ["19", "10001", *WHOLE],
        "--threads": ["0", "100000", *WHOLE],
        "--out": PATHS[:5],
    },
    "train": {
        "--data": TEXTS,
        "--preset": [*TEXTS, *PATHS],
        "--start": PATHS,
        "--forward": PATHS,
        "--threads": ["0", "100000", *WHOLE],
        "--out": PATHS[:5],
    },
}


@pytest.fixture(scope="module")
def files(coarse_model, tmp_path_factory):
    """Everything that a command reads, small and right."""
    folder = tmp_path_factory.mktemp("fuzz")
    mne.write_forward_solution(folder / "head-fwd.fif", coarse_model.forward(), verbose="ERROR")
    model = head_model_from_forward(folder / "head-fwd.fif")
    info = model.info(512.0)
    recording = ERPSimulator(
        model, seed=1, times=TIMES, patches=PatchSettings(distance="euclidean")
    ).sample(0)
    evoked = mne.EvokedArray(recording.sensors.astype(float), info, comment="left")
    evoked.set_eeg_reference(projection=True, verbose="ERROR")
    evoked.save(folder / "subject-ave.fif", verbose="ERROR")
    mne.make_ad_hoc_cov(info).save(folder / "noise-cov.fif", verbose="ERROR")
    solver = build(model, "mm-net", steps=2)
    save_solver(folder / "weights.safetensors", solver, {"data": "erp"}, {"minutes": 1.0})
    (folder / "tiny.toml").write_text(TINY)
    return folder


@pytest.fixture
def base(files, tmp_path, monkeypatch, head_models, fsaverage_model, stimulation_folder):
    """Arguments of every command with which it ends well within a second or two."""
    monkeypatch.setenv("LEARNMM_CACHE", str(head_models))
    monkeypatch.chdir(tmp_path)
    forward = {"--forward": files / "head-fwd.fif"}
    out = {"--out": tmp_path / "out"}
    return {
        "head-model": ([], {"--ico": 2, "--sources": 60}),
        "simulate": (["erp"], {"--samples": 1, "--ico": 3, "--seed": 0, **out}),
        "reconstruct": (
            [files / "subject-ave.fif"],
            {**forward, **out, "--max-iter": 1, "--no-picture": None},
        ),
        "evaluate": ([files / "weights.safetensors"], {**forward, **out, "--samples": 2}),
        "localize-mi": ([stimulation_folder], {"--method": "sLORETA", "--channels": 16, **out}),
        "train": (["mm-net"], {**forward, **out, "--preset": files / "tiny.toml"}),
    }


def attempt(command: str, arguments: list, options: dict) -> tuple[int, str]:
    """Run a command; fail on any end that is not a code and a sentence."""
    words = [command, *map(str, arguments)]
    for name, value in options.items():
        words += [name] if value is None else [name, *map(str, [value])]
        words += ["0.004", "0.33"] if name == "--conductivity" else []
    result = CliRunner().invoke(app, words)
    story = f"{words}\n{result.output}"
    assert result.exception is None or isinstance(result.exception, SystemExit), (
        f"{result.exception!r}: {story}"
    )
    assert result.exit_code in (0, 1, 2), story
    assert result.exit_code != 1 or "Error: " in result.output, story
    assert "Traceback" not in result.output, story
    assert "not foreseen" not in result.output, story
    bad = [c for c in result.output if unicodedata.category(c) == "Cc" and c not in "\r\n\t"]
    assert result.exit_code == 2 or not bad, story
    return result.exit_code, result.output


def test_the_fuzz_knows_every_option_with_a_value():
    commands = typer.main.get_command(app).commands
    for name, command in commands.items():
        valued = {p.opts[0] for p in command.params if p.opts[0][0] == "-" and not p.is_flag}
        assert set(OPTIONS[name]) == valued - {"--help"}, name
    assert set(commands) == set(OPTIONS)


@pytest.mark.parametrize("command", OPTIONS)
def test_what_the_fuzz_starts_from_is_right(base, command):
    arguments, options = base[command]
    code, output = attempt(command, arguments, options)
    assert code == 0, output


@pytest.mark.parametrize(
    ("command", "option"), [(command, option) for command, of in OPTIONS.items() for option in of]
)
def test_absurd_options_end_in_a_sentence(base, command, option):
    arguments, options = base[command]
    for value in OPTIONS[command][option]:
        attempt(command, arguments, {**options, option: value})


@pytest.mark.parametrize("command", OPTIONS)
def test_several_absurd_options_at_once(base, command):
    draw = random.Random(command)
    arguments, options = base[command]
    for _ in range(6):
        some = draw.sample(sorted(OPTIONS[command]), 3)
        absurd = {option: draw.choice(OPTIONS[command][option]) for option in some}
        attempt(command, arguments, {**options, **absurd})


def damaged(content: bytes, draw: random.Random) -> bytes:
    """A file cut off, with bits turned over, a part gone or doubled, or another file."""
    kind = draw.randrange(7)
    place = draw.randrange(len(content))
    if kind == 0:
        return content[:place]
    if kind == 1:
        found = bytearray(content)
        for _ in range(draw.choice((1, 20, 500))):
            found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
        return bytes(found)
    if kind == 2:  # where the structure is
        found = bytearray(content)
        found[draw.randrange(min(400, len(found)))] ^= 255
        return bytes(found)
    if kind == 3:
        return content[: place // 2] + content[place:]
    if kind == 4:
        return content[:place] + content[place // 2 :]
    return (b"", b"root:x:0:0:root:/root:/bin/sh\n" * 9)[kind - 5]


READ = [
    ("reconstruct", "subject-ave.fif", None),
    ("reconstruct", "head-fwd.fif", "--forward"),
    ("reconstruct", "noise-cov.fif", "--noise-cov"),
    ("evaluate", "weights.safetensors", None),
    ("train", "tiny.toml", "--preset"),
]


def is_preset(path) -> bool:
    try:
        load_preset(path, "mm-net")
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("command", "name", "option"), READ)
def test_damaged_files_end_in_a_sentence(files, base, tmp_path, command, name, option):
    draw = random.Random(name)
    arguments, options = base[command]
    content = (files / name).read_bytes()
    for number in range(14):
        packed = name.endswith(".fif") and number % 4 == 3
        path = tmp_path / f"{number}-{name}{'.gz' if packed else ''}"
        path.write_bytes(damaged(gzip.compress(content) if packed else content, draw))
        if command == "train" and is_preset(path):
            continue  # a whole training, of any length
        if option is None:
            attempt(command, [path], options)
        else:
            attempt(command, arguments, {**options, option: path})
        os.remove(path)
