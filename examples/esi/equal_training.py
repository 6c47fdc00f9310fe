"""Train every learned method of Table I for the same minutes of one core, and evaluate it.

Run with ``python examples/esi/equal_training.py --data erp``. A method's steps are counted from
what one of them costs; its learning rate is the best of three by short trainings. Weights and
checkpoints are kept under ``--out``: a run that was stopped goes on, and as many may run side by
side as there are cores. ``--evaluations`` holds what came of it, in ``trainings`` the rates and the
course of every training; of that the tables are made by ``table1.py``, and what stands there is not
done again, wherever it was done.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
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
EVIDENCE = "evidence"  # a start: what the library estimates where it has no weights
FIXED = ("meta-curvature", "modgrad")  # tied to the length of a recording
SEARCHED = "erp"  # for the rates of all data sets
RATES = (3e-4, 1e-3, 3e-3)
FEW, MORE, MANY = 6, 30, 60  # steps, to measure what one costs; of a start, many
LOOKS, FEW_LOOKS = 10, 1  # validations of a training, and of one that seeks a rate
SHARE_OF_START = {"learned": 0.6, EVIDENCE: 0.3}  # of the minutes, for what learns before the steps
PREPARED = 0.1  # rate of what learned before the steps did, over theirs
STARTS_OF_ALL = (*STARTS, *SHARE_OF_START)
FAR = (30, 100, 300)  # steps, beyond the ten of a training
INTERRUPTED = 130  # what a command ends with that was asked to stop
SAID = ("loss", "LE", "AUC", "PSNR")  # by a validation


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
        self, steps: int, rate: float, start_steps: int = 100, looks: int = LOOKS, times: int = 1
    ) -> dict[str, Any]:
        """The settings of a training of so many steps and validations.

        A step sees so many `times` the recordings of one that a core takes.
        """
        made = tomllib.loads(PRESET.read_text(encoding="utf-8"))
        made["method"] = {"start": self.start}
        if self.start in SHARE_OF_START:  # with the prior, which is not to be unlearned
            made["fit"]["adam"]["lr_factors"] = {"unrolled.energy": PREPARED}
        if self.method == PRINTED:
            made["method"]["prior"] = {"width": 128, "reach": 3, "weight": 1.0}
            made["method"]["prior"]["learn_weight"] = False
            made["training"] |= {"loss": "paper", "horizons": [10, 10]}
        made["fit"] |= {"steps": steps, "validate_every": max(1, steps // looks)}
        made["fit"]["batch_size"] = times * (4 if self.whole else 16)
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
        For its weights and checkpoints.
    records : Path
        For what is to be known of it afterwards.
    times : int
        As many recordings a step as of one that a core takes.
    measured : Path, optional
        Records of other trainings: what a step costs and which rate is best are of no length.
    """

    def __init__(
        self, job: Job, folder: Path, records: Path, times: int = 1, measured: Path | None = None
    ) -> None:
        self.job, self.folder, self.records, self.times = job, folder, records, times
        self.measured = records if measured is None else measured

    @property
    def weights(self) -> Path:
        """Where they are once it is trained."""
        return self.folder / "run" / "weights.safetensors"

    def train(self, minutes: float, search: float) -> None:
        """Train for so many minutes, after a search for the rate.

        What a step costs is found with the first start, unless the start costs too, and which rate
        is best as well, by whoever asks first; rates are sought on one data set for all, but where
        recordings are whole.
        """
        if (course := self.said("course")) is not None and course["minutes"] != minutes:
            raise SystemExit(
                f"Error: {self.job.name} was trained for {course['minutes']:g} minutes, and "
                f"{minutes:g} are asked for: name other folders for --evaluations and --out"
            )
        job = self.job._replace(start=STARTS[0])
        costs = self if self.job.start == EVIDENCE else self.beside(job)
        searched = self.beside(job if job.whole else job._replace(data=SEARCHED))
        rates = searched.known("rates", lambda: searched._rates(search))
        rate = float(min(rates["losses"], key=lambda rate: rates["losses"][rate]))
        start_steps, left = 100, minutes
        if share := SHARE_OF_START.get(self.job.start):
            first = self.beside(self.job._replace(method=LEARNED[0]))  # a start is of no method
            cost = first.known("start-cost", first._cost_of_start)
            start_steps = int(60 * minutes * share / cost["seconds_per_step"])
            left *= 1 - share
        preset = self.job.preset(costs._affordable(left), rate, start_steps, times=self.times)
        self._run("run", preset)
        self.known("course", lambda: {"minutes": minutes, **self._course("run", preset)})

    def beside(self, job: Job) -> Trainer:
        """The same for another job."""
        folder = self.folder.parent / job.name
        return Trainer(job, folder, self.records, self.times, self.measured)

    def known(self, name: str, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a record says, or what is found now, by one process, and written there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{name}.lock"):
            if (said := self.said(name)) is not None:
                return said
            found = find()
            self.records.mkdir(parents=True, exist_ok=True)
            with replacing(self.records / f"{self.job.name}-{name}.json") as beside:
                beside.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            return found

    def said(self, name: str) -> dict[str, Any] | None:
        """What a record says, if there is one."""
        of_no_length = () if name == "course" else (self.measured,)
        for folder in (self.records, *of_no_length):
            path = folder / f"{self.job.name}-{name}.json"
            if path.is_file():
                said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return said
        return None

    def _rates(self, minutes: float) -> dict[str, Any]:
        """Validation losses of short trainings with each learning rate."""
        losses = {}
        for rate in RATES:
            steps = self._affordable(minutes)
            preset = self.job.preset(steps, rate, looks=FEW_LOOKS)
            self._run(f"rate-{rate:g}", preset)
            course = self._course(f"rate-{rate:g}", preset)
            losses[f"{rate:g}"] = min(look["loss"] for look in course["validations"])
        return {"minutes": minutes, "steps": steps, "losses": losses}

    def _course(self, name: str, preset: dict[str, Any]) -> dict[str, Any]:
        """What validations said, after how many recordings."""
        log = (self.folder / name / "log.jsonl").read_text(encoding="utf-8")
        rows = [row for row in map(json.loads, log.splitlines()) if "validation_loss" in row]
        fit, start = preset["fit"], preset["start"]
        prepared = self.job.start in SHARE_OF_START
        return {
            "rate": fit["adam"]["lr"],
            "steps": fit["steps"],
            "recordings_of_start": start["steps"] * start["batch_size"] if prepared else 0,
            "validations": [
                {
                    "recordings": row["step"] * fit["batch_size"],
                    **{said: row[f"validation_{said}"] for said in SAID},
                }
                for row in rows
            ],
        }

    def _affordable(self, minutes: float) -> int:
        cost = self.known("cost", self._cost)
        return max(2 * LOOKS, int(60 * minutes / cost["seconds_per_step"]))

    def _cost(self) -> dict[str, float]:
        """Seconds of one core that a step takes, validations apart."""
        return self._each("cost", MORE, lambda steps: self.job.preset(steps, RATES[0], 2, looks=1))

    def _cost_of_start(self) -> dict[str, float]:
        def preset(steps: int) -> dict[str, Any]:
            made = self.job.preset(2, RATES[0], steps)
            made["start"]["validate_every"] = steps
            return made

        return self._each("cost-start", MANY, preset)

    def _each(self, name: str, many: int, preset: Callable[[int], Any]) -> dict[str, float]:
        """What a run of many steps takes beyond one of few, by step."""
        steps = (2, FEW, many)  # the first may have to simulate what others find
        _, few, more = (self._run(f"{name}-{number}", preset(number)) for number in steps)
        return {"seconds_per_step": (more - few) / (many - FEW)}

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
    """Run a command; return the seconds of processor time that it took.

    An interruption is left to the command, which ends its step and leaves a checkpoint.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(HERE / "ablation.py"), *arguments]  # knows all of them
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGINT, handler)
    if code in (INTERRUPTED, -signal.SIGINT):
        raise SystemExit(INTERRUPTED)
    if code:
        raise SystemExit(f"Error: {' '.join(command)} ended with {code}")
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
    yield from (Job(LEARNED[0], one, start) for start in SHARE_OF_START for one in data)
    linear, noise = STARTS
    yield from (Job(method, one, linear) for one in data for method in METHODS)
    yield from (Job(method, one, noise) for one in data for method in (PRINTED, *METHODS))
    yield from (Job(method, one, "learned") for method in LEARNED[1:] for one in data)


class Look(NamedTuple):
    """One evaluation: on what, of how many recordings, after which steps besides, and where."""

    data: str
    samples: int
    steps: tuple[int, ...]
    folder: Path


def lacking(job: Job, options: argparse.Namespace) -> list[Look]:
    """Evaluations of a job that are not there yet, with as many recordings.

    On every data set that it serves, and far beyond the horizon of its training.
    """
    found = [
        Look(data, options.samples[data != "erp"], (0,), options.evaluations)
        for data in options.tested or options.data
        if data == job.data or job.method not in FIXED
    ]
    if job.start in SHARE_OF_START or (job.start == STARTS[0] and job.data == "erp"):
        far = options.evaluations / "horizons"
        found.append(Look(job.data, options.far[job.data != "erp"], (0, *FAR), far))
    return [look for look in found if _samples(job, look) < look.samples]


def _samples(job: Job, look: Look) -> int:
    path = look.folder / f"{job.name}-on-{look.data}.json"
    return int(json.loads(path.read_text("utf-8"))["samples"]) if path.is_file() else 0


def evaluate(weights: Path, look: Look) -> None:
    """Evaluate weights."""
    command = ["evaluate", str(weights), "--data", look.data, "--samples", str(look.samples)]
    command += [option for steps in look.steps for option in ("--steps", str(steps))]
    _learnmm_esi(*command, "--out", str(look.folder), "--threads", "1")


def main() -> None:
    """Read the options; train and evaluate what nobody else is at."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["erp"], help="trained on")
    parser.add_argument("--tested", nargs="*", default=[], help="tested on; default: the same")
    parser.add_argument("--starts", nargs="+", default=STARTS_OF_ALL, help="first iterates")
    parser.add_argument("--minutes", type=float, default=45.0, help="of one core, for a training")
    parser.add_argument("--times", type=int, default=1, help="as many recordings a step")
    parser.add_argument("--search", type=float, default=5.0, help="minutes for a learning rate")
    parser.add_argument(
        "--samples", type=int, nargs=2, default=(2000, 2000), help="of erp, and of neural masses"
    )
    parser.add_argument(
        "--far", type=int, nargs=2, default=(64, 16), help="of them, far beyond the horizon"
    )
    parser.add_argument("--out", type=Path, default=Path("out") / "equal")
    parser.add_argument("--evaluations", type=Path, default=HERE / "results" / "equal")
    parser.add_argument(
        "--measured", type=Path, default=HERE / "results" / "equal" / "trainings", help="costs"
    )
    options = parser.parse_args()
    for job in jobs(options.data):
        if job.start not in options.starts:
            continue
        records = options.evaluations / "trainings"
        folder = options.out / job.name
        trainer = Trainer(job, folder, records, options.times, options.measured)
        trainer.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(trainer.folder / "job.lock", blocking=False):
                looks = lacking(job, options)
                if looks:
                    trainer.train(options.minutes, options.search)
                for look in looks:
                    evaluate(trainer.weights, look)
        except Timeout:
            continue


if __name__ == "__main__":
    main()
