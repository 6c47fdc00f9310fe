"""Learning a family of problems: solve some, train on them, and say what it bought."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from learnmm.families.learned import LearnedMemory, choices
from learnmm.families.model import FamilyModel, fitted_model
from learnmm.families.report import Counts, Report
from learnmm.families.solved import CHUNK, Solved, drawn, solve
from learnmm.families.space import fitted_space
from learnmm.families.spectra import SpectralModel, fitted_spectrum, spectra
from learnmm.families.teaching import Lessons, Marks, Pupil
from learnmm.families.trial import CLOSE, GAPS, MOST, Trial, tried
from learnmm.plain import integer, is_integer, make_plain
from learnmm.progress import Progress
from learnmm.proposers.bfgs import BFGS
from learnmm.proposers.metric import LONGEST
from learnmm.registry import Instance, Problem
from learnmm.solve.optimizer import ProjectedMMOptimizer
from learnmm.solve.record import StepInfo
from learnmm.solve.settings import SolveSettings
from learnmm.solve.state import State
from learnmm.storage import open_tensors, write_tensors
from learnmm.training import AdamSettings, FitSettings, Record, fit

LARGEST = 600
"""Unknowns up to which dense Hessians are learned; of more, the spectrum of the mean."""

ENTRIES = 2**22
"""Numbers that the directions of Hessians may have together."""

DIRECTIONS = 128
"""Most directions: with ``k`` of them, a step solves ``k`` linear equations."""

PRODUCTS = 2**15
"""Hessian-vector products of a training, by default."""

PROBES = 32
"""Of an instance of more unknowns than `LARGEST`."""

HELD_CURVED = 32
"""Held-out instances whose Hessians are taken."""

GAIN = 0.95
"""What is learned is used where it takes at most this share of the evaluations, held out."""

MORE, CHEAP = 1.25, 0.5
"""What takes at most so many times the fewest evaluations, in less than this share of the time, is
used instead."""

ALONE = 8
"""Instances that are solved one at a time, to time them."""

SOLVED = "learnmm solved instances"


@dataclass(frozen=True)
class LearnSettings:
    """How a family is learned.

    Attributes
    ----------
    instances : int
        Solved for training, rounded up to a multiple of 64; 64 more are held out for choices, and
        64 more are for the report.
    curved : int or None
        Of those, how many give their Hessian, which takes a product per unknown. Default: so many
        that there are about 32 000 products, from 64 to 512. Of more than 600 unknowns only these
        are solved, 64 by default, and 32 products each tell their spectrum.
    hidden : int
        Width of the network.
    seed : int
        Of everything random.
    fit : FitSettings
        How the network is trained.
    """

    instances: int = 512
    curved: int | None = None
    hidden: int = 128
    seed: int = 0
    fit: FitSettings = field(
        default_factory=lambda: FitSettings(
            steps=1500, batch_size=64, validate_every=50, patience=8, adam=AdamSettings()
        )
    )

    def __post_init__(self) -> None:
        make_plain(self)
        for name, least in (("instances", CHUNK), ("hidden", 1), ("seed", 0)):
            integer(name, getattr(self, name), least)
        curved = self.curved
        if curved is not None and not (is_integer(curved) and 2 <= curved <= self.instances):
            raise ValueError(
                f"curved must be an integer from 2 to {self.instances}, got {curved!r:.60}"
            )
        if not isinstance(self.fit, FitSettings):
            raise TypeError(f"fit must be FitSettings, got {self.fit!r:.60}")

    @property
    def chunks(self) -> int:
        """How many are solved for training; the next is held out, and that after it reported."""
        return -(-self.instances // CHUNK)


def learn(
    family: Problem,
    settings: LearnSettings = LearnSettings(),
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> LearnedMemory:
    """Learn where problems of a family start, and how they bend, and say what that buys.

    Instances are drawn and solved by limited memory. A network learns from them where the solution
    lies and how its Hessian differs from the mean, on :func:`learnmm.fit`. Dense Hessians, and
    starts, are learned of at most 600 unknowns. Of more, the mean Hessian is taken to be diagonal
    in cosines, as it nearly is for images and signals, along the dimensions of the iterate.

    What of this is used is chosen on instances that were held out, BFGS steps as they are by
    default among the choices: what takes fewest evaluations, unless something takes at most a
    quarter more of them and less than half of the time. What it buys is measured on others:
    ``print(learned.report)``.

    Parameters
    ----------
    family : Problem
        Draws instances: an installed one, ``lmm.problem(name)``, or a class of your own. All have
        the same shape.
    settings : LearnSettings
        How.
    folder : path, optional
        For solved instances and checkpoints. A call that was killed goes on from there.
    progress : bool
        Show bars on standard error (needs the extra ``progress``).

    Returns
    -------
    LearnedMemory
        For ``minimize(fun, x0, proposer=learned)``, or ``learned.given(instance.data)`` where the
        family has data.

    Raises
    ------
    ImportError
        Without the extra ``train``.
    TypeError, ValueError
        If the family is none, draws different shapes, has more than 600 unknowns and a side above
        4096, or `folder` holds another training.

    Examples
    --------
    >>> import learnmm as lmm
    >>> family = lmm.problem("quadratic", unknowns=6, operator_seed=0)
    >>> learned = lmm.learn(family, lmm.families.LearnSettings(instances=64))
    >>> new = family.instance(4)
    >>> result = new.optimizer(proposer=learned).minimize(new.x0)
    >>> bool((result.iterations < 5).all()), learned.report.pays
    (True, True)
    """
    if not isinstance(family, Problem):
        raise TypeError(f"family must be a Problem, got {type(family).__name__}")
    began = time.perf_counter()
    folder = None if folder is None else Path(folder)
    unknowns = drawn(family, settings.seed, 0).x0[0].numel()
    learn_model = _dense if unknowns <= LARGEST else _spectral
    model, train, held = learn_model(family, unknowns, settings, folder, progress)
    learned = _chosen(model, family, settings, held)
    minutes = (time.perf_counter() - began) / 60
    learned.report = _reported(learned, family, settings, minutes, train, held)
    return learned


def _dense(
    family: Problem, unknowns: int, settings: LearnSettings, folder: Path | None, progress: bool
) -> tuple[FamilyModel, Solved, Solved]:
    """A network that knows dense Hessians, and what it was trained on."""
    curved = settings.curved or max(CHUNK, min(512, PRODUCTS // unknowns, settings.instances))
    wanted = [max(0, min(CHUNK, curved - CHUNK * k)) for k in range(settings.chunks)]
    train, held = _instances(family, settings, [*wanted, HELD_CURVED], folder, progress)
    space, coefficients = fitted_space(train.hessians, min(DIRECTIONS, ENTRIES // unknowns**2))
    model = fitted_model(space, coefficients, train, held, settings.hidden)
    _taught(model, train, held, family, settings, folder, progress)
    return model, train, held


def _spectral(
    family: Problem, unknowns: int, settings: LearnSettings, folder: Path | None, progress: bool
) -> tuple[SpectralModel, Solved, Solved]:
    """The mean spectrum, and what it was taken from."""
    shape = tuple(drawn(family, settings.seed, 0).x0.shape[1:])
    if max(shape) > LONGEST:
        raise ValueError(
            f"a family of more than {LARGEST} unknowns is learned on a grid with sides of at most "
            f"{LONGEST}, {family.name} has unknowns of shape {shape}"
        )
    curved = settings.curved or CHUNK
    chunks = -(-curved // CHUNK)
    train, held = _instances(family, settings, [0] * (chunks + 1), folder, progress)
    signs = torch.Generator().manual_seed(settings.seed)
    rows = [
        spectra(drawn(family, settings.seed, k), part, PROBES, signs)
        for k, part in enumerate(train.minimizer.split(CHUNK))
    ]
    spent = train.evaluations + 2 * PROBES * len(train.x0)
    return fitted_spectrum(torch.cat(rows)[:curved]), replace(train, evaluations=spent), held


def _instances(
    family: Problem,
    settings: LearnSettings,
    curved: Sequence[int],
    folder: Path | None,
    progress: bool,
) -> tuple[Solved, Solved]:
    """Solved instances for training, and at last for choices; from the folder where they are there.

    `curved` says of each chunk how many give their dense Hessians.
    """
    numbers = [*range(len(curved) - 1), settings.chunks]
    parts: list[Solved] = []
    with Progress(len(curved), enabled=progress, title="solving instances") as bar:
        for number, wanted in zip(numbers, curved, strict=True):
            parts.append(_chunk(family, settings.seed, number, wanted, folder))
            if parts[-1].x0.shape != parts[0].x0.shape:
                raise ValueError(
                    f"{family.name} draws problems of different shapes: "
                    f"{tuple(parts[0].x0.shape[1:])} and {tuple(parts[-1].x0.shape[1:])}"
                )
            bar.show(len(parts), "")
    return Solved.joined(parts[:-1]), parts[-1]


def _chunk(family: Problem, seed: int, number: int, curved: int, folder: Path | None) -> Solved:
    """One chunk, solved, or as it was solved before."""
    identity = {"family": called(family), "seed": seed, "chunk": number, "curved": curved}
    instance = drawn(family, seed, number)
    path = None if folder is None else folder / f"solved-{number:03d}.safetensors"
    if path is not None and path.exists():
        with open_tensors(path, SOLVED, ("instances",)) as file:
            if file.header["instances"] != identity:
                raise ValueError(
                    f"{path} holds other instances: {file.header['instances']}, expected {identity}"
                )
            solved = Solved.of(file.tensors())
        if not solved.of_instance(instance):  # what it is called need not tell
            raise ValueError(f"{path} holds other instances than those that {family.name} draws")
        return solved
    solved = solve(instance, curved)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, solved.tensors(), SOLVED, {"instances": identity})
    return solved


def called(family: Problem) -> str:
    """A family and its parameters, the same in every process."""
    kind = type(family)
    return kind.__qualname__ if kind.__repr__ is object.__repr__ else repr(family)


def _taught(
    model: FamilyModel,
    train: Solved,
    held: Solved,
    family: Problem,
    settings: LearnSettings,
    folder: Path | None,
    progress: bool,
) -> None:
    """Train the network, where that helps the instances that were held out."""
    pupil, lessons = Pupil(model), Lessons(model, held)
    marks = Marks(model.space.root, model.space.variance)
    with torch.no_grad():
        before = float(marks(pupil(lessons.parts), lessons.parts)[0])
    untaught = {name: part.clone() for name, part in model.state_dict().items()}
    record = Record(
        folder=None if folder is None else folder / "fit",
        config={"family": called(family), "seed": settings.seed, "instances": settings.instances},
        progress="training" if progress else False,
    )
    schedule = replace(settings.fit, seed=settings.seed)
    result = fit(pupil, Lessons(model, train), marks, schedule, validation=lessons, record=record)
    model.cpu()
    if not result.best_loss < before:
        model.load_state_dict(untaught)


def _chosen(
    model: FamilyModel | SpectralModel, family: Problem, settings: LearnSettings, held: Solved
) -> LearnedMemory:
    """What of the model is used: what takes fewest evaluations on held-out instances, or nearly."""
    instance = drawn(family, settings.seed, settings.chunks)
    candidates = [LearnedMemory(model, under, starts) for under, starts in choices(model)]
    evaluations: list[float] = []
    seconds: list[float] = []
    most = MOST
    for candidate in candidates:
        began = time.perf_counter()
        trial = tried(
            instance, candidate, held.optimum, starts=candidate.starts, gap=CLOSE, most=most
        )
        evaluations.append(_score(trial))
        seconds.append(evaluations[-1] * (time.perf_counter() - began) / len(trial.seen))
        most = min(most, len(trial.seen))  # who takes longer than the first need not end
    return candidates[weighed(evaluations, seconds)]


def weighed(evaluations: Sequence[float], seconds: Sequence[float]) -> int:
    """Number of the choice; the first learns nothing.

    That of fewest evaluations, if they are at most `GAIN` of the first's. One that takes at most
    `MORE` times as many, and less than `CHEAP` of the time, is taken instead, the fastest of these.
    """
    every = range(len(evaluations))
    best = min(every, key=evaluations.__getitem__)
    if not evaluations[best] < GAIN * evaluations[0]:
        return 0
    near = [k for k in every if evaluations[k] <= MORE * evaluations[best]]
    cheap = [k for k in near if seconds[k] < CHEAP * seconds[best]]
    return min(cheap, key=seconds.__getitem__, default=best)


def _score(trial: Trial) -> float:
    """Evaluations, geometric mean over gaps of the median."""
    medians = torch.tensor([min(trial.at(gap), 2 * MOST) for gap in (*GAPS, CLOSE)])
    return float(medians.log().mean().exp())


def _reported(
    learned: LearnedMemory,
    family: Problem,
    settings: LearnSettings,
    minutes: float,
    train: Solved,
    held: Solved,
) -> Report:
    """Measure on instances that nothing was chosen on."""
    instance = drawn(family, settings.seed, settings.chunks + 1)
    optimum = solve(instance).optimum
    ours = tried(instance, learned, optimum, starts=learned.starts)
    plain = tried(instance, BFGS(), optimum)
    return Report(
        family=called(family),
        under=learned.under.value,
        starts=learned.starts,
        learned=Counts.of(ours),
        plain=Counts.of(plain),
        started=float(ours.started.double().mean()),
        minutes=minutes,
        spent=float(train.evaluations + held.evaluations),
        seconds=_timed(learned, family, settings.seed),
    )


def _timed(learned: LearnedMemory, family: Problem, seed: int) -> tuple[float, float]:
    """Median seconds of a solve to the last gap, one problem at a time: learned, and plain."""
    times: list[tuple[float, float]] = []
    for instance in _alone(family, seed):
        optimum = solve(instance).optimum
        solvers = (learned, BFGS())
        first, second = (_seconds(instance, solver, optimum) for solver in solvers)
        times.append((first, second))
    ordered = [sorted(column)[len(times) // 2] for column in zip(*times, strict=True)]
    return ordered[0], ordered[1]


def _alone(family: Problem, seed: int) -> Iterator[Instance]:
    for number in range(ALONE):
        generator = torch.Generator().manual_seed(7_000_003 * (seed + 1) + number)
        yield family.instance(1, generator=generator, dtype=torch.float64)


def _seconds(instance: Instance, proposer: LearnedMemory | BFGS, optimum: torch.Tensor) -> float:
    """Time until the last gap is reached."""
    settings = SolveSettings(max_iter=1000)
    optimizer: ProjectedMMOptimizer = instance.optimizer(proposer=proposer, settings=settings)

    def reached(state: State, _: StepInfo) -> bool:
        left = state.value - optimum
        return bool((left <= GAPS[-1] * (state.initial - optimum)).all())

    began = time.perf_counter()
    optimizer.minimize(instance.x0, callback=reached)
    return time.perf_counter() - began
