"""Train every learned method of Table I for the same minutes of one core, and evaluate it.

Run with ``python examples/esi/equal_training.py --data erp``. A method's steps are counted from
what one of them costs; its learning rate is the best of three by short trainings. Whatever is done
is kept under ``--out``: a run that was stopped goes on, and as many may run side by side as there
are cores. ``table1.py`` makes the tables of what ``--evaluations`` then holds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from learnmm.storage import replacing

HERE = Path(__file__).parent
PRESET = HERE / "presets" / "equal.toml"
METHODS = ("mm-net", "r-mm-net", "4dvarnet", "meta-curvature", "modgrad")
PRINTED = "mm-net-a"  # the paper's, its interval and constants: from noise, with its prior and loss
STARTS = ("sLORETA", "noise")
LEARNED = ("mm-net", "r-mm-net")  # of those there is a run from a learned start too
FIXED = ("meta-curvature", "modgrad")  # tied to the length of a recording
RATES = (3e-4, 1e-3, 3e-3)
FEW, MORE = 12, 36  # steps, to measure what one costs
LOOKS, FEW_LOOKS = 20, 3  # validations of a training, and of one that seeks a rate
SHARE_OF_START = 0.4  # of the minutes, for a learned start


class Job(NamedTuple):
    """One training of the table."""

    method: str
    data: str
    start: str

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.method}-{self.start}-{self.data}"

    @property
    def whole(self) -> bool:
        """Whether it needs recordings as long as they are, of which fewer make a batch."""
        return self.method in FIXED and not self.data.startswith("erp")

    def preset(
        self, steps: int, rate: float, start_steps: int = 100, looks: int = LOOKS
    ) -> dict[str, Any]:
        """The settings of a training of so many steps and validations."""
        made = tomllib.loads(PRESET.read_text(encoding="utf-8"))
        made["method"] = {"start": self.start}
        if self.method == PRINTED:
            made["method"]["prior"] = {"width": 128, "reach": 3, "weight": 1.0}
            made["method"]["prior"]["learn_weight"] = False
            made["training"] |= {"loss": "paper", "horizons": [10, 10]}
        made["fit"] |= {"steps": steps, "validate_every": max(1, steps // looks)}
        made["fit"]["batch_size"] = 4 if self.whole else 16
        made["fit"]["adam"] |= {"lr": rate, "warmup": min(20, steps)}
        made["start"] |= {"steps": start_steps, "validate_every": max(1, start_steps // LOOKS)}
        made["start"]["adam"]["warmup"] = min(100, start_steps)
        if self.whole:
            made["recordings"] = {"window": 0}
            made["training"]["validation_size"] = 32
        return made


class Trainer:
    """Everything about one job, in a folder of its own.

    Parameters
    ----------
    job : Job
        What is trained.
    folder : Path
        Where.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder

    def train(self, minutes: float, search: float) -> Path:
        """Train for so many minutes, after a search for the rate; return the weights.

        What a step costs and which rate is best are those of the first start, whoever asks first.
        """
        job = self.job._replace(start=STARTS[0])
        shared = Trainer(job, self.folder.parent / job.name)
        shared.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(shared.folder / "search.lock"):
            rates = shared.known("rates.json", lambda: shared._rates(search))
        rate = float(min(rates["losses"], key=lambda rate: rates["losses"][rate]))
        start_steps = 100
        if self.job.start == "learned":
            cost = self.known("start_cost.json", self._cost_of_start)
            start_steps = int(60 * minutes * SHARE_OF_START / cost["seconds_per_step"])
            minutes *= 1 - SHARE_OF_START
        steps = shared._affordable(minutes)
        self._run("run", self.job.preset(steps, rate, start_steps))
        return self.folder / "run" / "weights.safetensors"

    def known(self, name: str, find: Any) -> dict[str, Any]:
        """What a file says, or what is found now and written there."""
        path = self.folder / name
        if not path.is_file():
            found = find()
            with replacing(path) as beside:
                beside.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return said

    def _rates(self, minutes: float) -> dict[str, Any]:
        """Validation losses of short trainings with each learning rate."""
        losses = {}
        for rate in RATES:
            steps = self._affordable(minutes)
            self._run(f"rate-{rate:g}", self.job.preset(steps, rate, looks=FEW_LOOKS))
            log = (self.folder / f"rate-{rate:g}" / "log.jsonl").read_text(encoding="utf-8")
            rows = [json.loads(row) for row in log.splitlines()]
            seen = [row["validation_loss"] for row in rows if "validation_loss" in row]
            losses[f"{rate:g}"] = min(seen)
        return {"minutes": minutes, "steps": steps, "losses": losses}

    def _affordable(self, minutes: float) -> int:
        cost = self.known("cost.json", self._cost)
        return max(2 * LOOKS, int(60 * minutes / cost["seconds_per_step"]))

    def _cost(self) -> dict[str, float]:
        """Seconds of one core that a step takes, validations apart."""
        spent = []
        for steps in (FEW, MORE):
            preset = self.job.preset(steps, RATES[0], 2, looks=1)
            spent.append(self._run(f"cost-{steps}", preset))
        return {"seconds_per_step": (spent[1] - spent[0]) / (MORE - FEW)}

    def _cost_of_start(self) -> dict[str, float]:
        spent = []
        for steps in (FEW, MORE):
            preset = self.job.preset(2, RATES[0], steps)
            preset["start"]["validate_every"] = steps
            spent.append(self._run(f"cost-start-{steps}", preset))
        return {"seconds_per_step": (spent[1] - spent[0]) / (MORE - FEW)}

    def _run(self, name: str, preset: dict[str, Any]) -> float:
        """Train, or go on, in a subfolder; return the seconds of processor time."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "equal.toml"
        settings.write_text(as_toml(preset), encoding="utf-8")
        job = self.job
        command = ["train", job.method, "--data", job.data, "--preset", str(settings)]
        return _learnmm_esi(*command, "--out", str(folder), "--threads", "1")


def _learnmm_esi(*arguments: str) -> float:
    """Run a command; return the seconds of processor time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(HERE / "ablation.py"), *arguments]  # knows all of them
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def as_toml(preset: dict[str, Any], at: str = "") -> str:
    """Write nested settings as a TOML file."""
    plain = {name: value for name, value in preset.items() if not isinstance(value, dict)}
    lines = [f"[{at}]"] if at and plain else []
    lines += [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in plain.items()]
    tables = [
        as_toml(value, f"{at}.{name}" if at else name)
        for name, value in preset.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*lines, *tables]) + "\n"


def jobs(data: list[str]) -> Iterator[Job]:
    """Every training, those that the table needs most first."""
    for start in STARTS:
        for one in data:
            yield from (Job(method, one, start) for method in METHODS)
            if start == STARTS[0]:
                yield from (Job(method, one, "learned") for method in LEARNED)
            else:
                yield Job(PRINTED, one, start)


def evaluate(job: Job, weights: Path, options: argparse.Namespace) -> None:
    """Evaluate weights on every data set that they serve, where that has not been done."""
    for data in options.tested or options.data:
        path = options.evaluations / f"{job.method}-{job.start}-{job.data}-on-{data}.json"
        if path.is_file() or (job.method in FIXED and data != job.data):
            continue
        command = ["evaluate", str(weights), "--data", data, "--samples", str(options.samples)]
        _learnmm_esi(*command, "--steps", "0", "--out", str(options.evaluations), "--threads", "1")


def main() -> None:
    """Read the options; train and evaluate what nobody else is at."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["erp"], help="trained on")
    parser.add_argument("--tested", nargs="*", default=[], help="tested on; default: the same")
    parser.add_argument("--minutes", type=float, default=45.0, help="of one core, for a training")
    parser.add_argument("--search", type=float, default=5.0, help="minutes for a learning rate")
    parser.add_argument("--samples", type=int, default=2000, help="of a test set")
    parser.add_argument("--out", type=Path, default=Path("out") / "equal")
    parser.add_argument("--evaluations", type=Path, default=HERE / "results" / "equal")
    options = parser.parse_args()
    for job in jobs(options.data):
        folder = options.out / job.name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / "job.lock", blocking=False):
                weights = Trainer(job, folder).train(options.minutes, options.search)
                evaluate(job, weights, options)
        except Timeout:
            continue


if __name__ == "__main__":
    main()
