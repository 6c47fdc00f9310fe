"""The section of an `mne.Report` that shows an estimate, its certificate and its settings."""

from __future__ import annotations

import dataclasses
import os
from html import escape
from typing import Any

import matplotlib.pyplot as plt
import mne

import learnmm_esi
from learnmm_esi.inverse.fit import MMFit
from learnmm_esi.plots.overview import plot_reconstruction
from learnmm_esi.recordings.apply import MMInverse

__all__ = ["add_to_report"]

TAGS = ("source-estimate",)
THEIR_OWN = ("weight", "diffusion")  # which weights have


def add_to_report(
    report: mne.Report,
    evoked: mne.Evoked,
    stc: mne.SourceEstimate,
    fit: MMFit,
    inverse: MMInverse,
    *,
    title: str | None = None,
    replace: bool = False,
) -> None:
    """Add a section with the picture of an estimate, its certificate and a table of settings.

    Parameters
    ----------
    report : mne.Report
        Is changed.
    evoked : Evoked
        What was reconstructed.
    stc : mne.SourceEstimate
        Its estimate by `inverse`.
    fit : MMFit
        What the optimizer did.
    inverse : MMInverse
        What it was reconstructed with.
    title : str, optional
        Of the section. Default: "Sources" and what the response is called.
    replace : bool, default False
        Replace the section of this title, if there is one.

    Raises
    ------
    TypeError
        If `report` is no `mne.Report`, or `fit` no `MMFit`.
    ValueError
        If the estimate does not lie on the sources of `inverse`.

    Examples
    --------
    >>> report = mne.Report(title="left")                             # doctest: +SKIP
    >>> stc, fit = inverse.apply(evoked, return_result=True)          # doctest: +SKIP
    >>> add_to_report(report, evoked, stc, fit, inverse)              # doctest: +SKIP
    >>> report.save("left.html")                                      # doctest: +SKIP
    """
    for name, value, kind in (("report", report, mne.Report), ("fit", fit, MMFit)):
        if not isinstance(value, kind):
            raise TypeError(f"add_to_report: {name} must be {kind.__name__}, got {value!r}")
    if title is None:
        title = f"Sources of {evoked.comment}" if evoked.comment else "Sources"
    figure = plot_reconstruction(stc, evoked, inverse.model_for(evoked.info))
    entry = {"section": title, "tags": TAGS, "replace": replace}
    # Entries of a report are replaced by their titles, which therefore say where they belong.
    report.add_figure(figure, f"{title}: estimate", **entry)
    plt.close(figure)
    report.add_html(f"<p>{escape(str(fit))}</p>", f"{title}: certificate", **entry)
    report.add_html(_table(_told(inverse, evoked)), f"{title}: settings", **entry)


def _told(inverse: MMInverse, evoked: mne.Evoked) -> dict[str, Any]:
    """What the estimate was made by, and of what."""
    learned = inverse.settings.weights is not None
    chosen = {
        field.name: getattr(group, field.name)
        for group in (inverse.settings, inverse.sensors)
        for field in dataclasses.fields(group)
        if not (learned and field.name in THEIR_OWN)
    }
    sensors, sources = inverse.model_for(evoked.info).leadfield.shape
    times = 1e3 * evoked.times[[0, -1]]
    return {
        "head model": f"{sensors} sensors, {sources} sources of {inverse.subject or 'a subject'}",
        "recording": f"{len(evoked.times)} samples, {times[0]:.0f} to {times[1]:.0f} ms, "
        f"{evoked.info['sfreq']:g} Hz, {evoked.nave} averages",
        "bad channels": ", ".join(evoked.info["bads"]) or "none",
        **{name.replace("_", " "): _shown(value) for name, value in chosen.items()},
        "learnmm-esi": learnmm_esi.__version__,
    }


def _shown(value: Any) -> str:
    if isinstance(value, mne.Covariance):
        return f"of {len(value.ch_names)} channels"
    if isinstance(value, str | os.PathLike):
        return os.path.basename(value)
    return "default" if value is None else str(value)


def _table(rows: dict[str, Any]) -> str:
    cells = (
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f'<table class="table">{"".join(cells)}</table>'
