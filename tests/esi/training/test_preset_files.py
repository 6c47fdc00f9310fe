"""Presets that anybody may have written: loaded, or refused with one error."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from damage import refusal
from learnmm_esi.training.presets import FOLDER, load_preset


def test_presets_load_or_are_refused_with_one_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    rng = random.Random(7)
    texts = [file.read_bytes() for file in sorted(FOLDER.glob("*.toml"))]
    for _ in range(400):
        damaged = bytearray(rng.choice(texts))
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with refusal():
            load_preset(path, "mm-net")


VALUES = [
    "true", "0", "-1", "3", "3.5", "1e400", "nan", "inf", '"x"', "[]", "[1, 2]", '["a", "b"]',
    "{}", "{a = 1}", "9" * 400, "1979-05-27", "[[1], [2]]", '"\\u001b[31m"',
]  # fmt: skip


def test_settings_of_any_type_load_or_are_refused_with_one_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    sections = {
        "head": ["sources", "ico", "surface", "column", "conductivity", "skull", "min_depth"],
        "method": ["steps", "start", "prior", "hidden", "kernel"],
        "method.prior": ["width", "reach", "weight", "learn_weight"],
        "recordings": ["times", "sfreq", "window"],
        "fit": ["steps", "batch_size", "adam", "precision", "validate_every", "patience", "seed"],
        "fit.adam": ["lr", "lr_factors", "warmup", "final_lr", "clip", "ema"],
        "training": ["loss", "horizons", "verified_from", "train_size", "seed"],
    }
    for section, names in sections.items():
        for value in VALUES:
            path.write_text(f"{section} = {value}")
            with refusal():
                load_preset(path, "mm-net")
            for name in names:
                steps = "[fit]\nsteps = 30\n" if section == "fit.adam" else ""
                first = "steps = 30\n" if section == "fit" and name != "steps" else ""
                path.write_text(f"{steps}[{section}]\n{first}{name} = {value}")
                with refusal():
                    preset = load_preset(path, "mm-net")
                    json.dumps([preset.method.as_dict(), preset.as_dict(), asdict(preset.fit)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"fit = 5", r"\[fit\] must be a table of settings, got 5"),
        (b"[training]\nhorizons = 5", "horizons must be two integers, .* got 5"),
        (b"[training]\nhorizons = [1.5, 2]", "horizons must be two integers"),
        (b"[training]\nloss = []", r"loss must be one of .*, got \[\]"),
        (b"[training]\nseed = 1.5", "seed must be an integer of 0 or more"),
        (b"[training]\nverified_from = 'x'", "verified_from must be a share"),
        (b"[fit.adam]\nlr = 1e-3", r"\[fit\]: .*missing .* 'steps'"),
        (b"[fit]\nsteps = 9\n[fit.adam]\nlr = 'x'", r"\[fit\.adam\]: lr must be a number, got 'x'"),
        (b"[fit.adam]\nrate = 1", r"unknown setting 'rate' in \[fit\.adam\]"),
        (b"[fit]\nsteps = 'x'", r"\[fit\]: steps must be an integer, got 'x'"),
        (b"[head]\nconductivity = 5", r"\[head\]: "),
        (b"[head]\nico = 3.0", r"\[head\]: ico must be one of .*, got 3\.0"),
        (b"[method]\nmethod = 'mm-net'", r"unknown setting 'method' in \[method\]"),
        (b"\xff", "is not valid TOML"),
        (b"a = " + b"[" * 100_000, "is not valid TOML"),
        (b"#" * 2**21, "holds no settings: it has more than 1048576 bytes"),
    ],
)
def test_faulty_presets_name_what_is_wrong(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message):
        load_preset(path, "mm-net")
