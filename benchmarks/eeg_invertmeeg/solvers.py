"""Solvers of invertmeeg, in an environment of their own: ``python solvers.py FOLDER SOLVER``.

Reads ``head-fwd.fif`` and the recordings ``DATA.npz`` of a folder, and writes its estimates to
``DATA-SOLVER.npz``, or the reason why there are none. Nothing of the library is imported here, and
nothing of invertmeeg anywhere else.
"""

import logging
import sys
import warnings
from pathlib import Path

import numpy as np


def main(folder: Path, name: str) -> None:
    """Estimate the sources of every recording, one at a time, each with a solver of its own."""
    try:
        import mne
        from invert import Solver
    except ImportError as error:
        sys.exit(
            f"solvers.py needs an environment with invertmeeg (make bench-invertmeeg): {error}"
        )
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    mne.set_log_level("error")
    forward = mne.read_forward_solution(folder / "head-fwd.fif")
    for question in sorted(folder.glob("*.question.npz")):
        with np.load(question) as content:
            sensors, sfreq = content["sensors"], float(content["sfreq"])
        info = mne.create_info(list(forward["sol"]["row_names"]), sfreq, "eeg")
        answer = question.with_name(question.name.replace(".question.npz", f".{name}.npz"))
        try:
            estimates = []
            for recording in sensors:
                evoked = mne.EvokedArray(recording.astype(np.float64), info)
                solver = Solver(name)
                solver.make_inverse_operator(forward, evoked, alpha="auto")
                estimates.append(np.asarray(solver.apply_inverse_operator(evoked).data))
        except Exception as error:  # of other people's code: it is told, and the others go on
            np.savez(answer, cannot=f"{type(error).__name__}: {error}")
            continue
        np.savez(answer, estimates=np.stack(estimates).astype(np.float32))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
