"""A head model described in words, one fact a line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from learnmm_esi.head.model import Construction, HeadModel
from learnmm_esi.head.settings import HeadModelSettings
from learnmm_esi.head.spectrum import lead_field_spectrum

__all__ = ["report"]


def report(model: HeadModel) -> str:
    """Return a description of a head model, one fact a line.

    Parameters
    ----------
    model : HeadModel
        Built or brought along; what does not exist is left out.
    """
    sensors, sources = model.leadfield.shape
    lines: list[tuple[str, str]] = [("sensors", str(sensors))]
    if model.vertices is None:
        lines.append(("sources", str(sources)))
    else:
        left, right = map(len, model.vertices)
        lines.append(("sources", f"{sources} ({left} left, {right} right)"))
    if isinstance(model.origin, Construction):
        lines.append(("columns", _columns(model.origin.settings)))
        lines.append(("conductivity", _conductivity(model.origin.settings)))
        if "region_area_mean" in model.origin.facts:
            lines += _construction(model.origin.facts, model.origin.regions)
    lines += _graph(model)
    spectrum = lead_field_spectrum(model.leadfield)
    size = np.linalg.norm(model.leadfield, axis=0)
    lines += [
        ("rank", f"{spectrum.rank} of {min(sensors, sources)}"),
        ("condition", f"{spectrum.condition:.3g}"),
        ("n |A|_2^2 / |A|_F^2", f"{spectrum.uniformity:.1f}"),
        ("largest singular value", f"{spectrum.largest:.4g} V/(A m)"),
        ("column norms", f"{_range(size)} V/(A m)"),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)


def _range(values: np.ndarray, digits: int = 3) -> str:
    low, middle, high = np.min(values), np.median(values), np.max(values)
    return f"{low:.{digits}g} to {high:.{digits}g}, median {middle:.{digits}g}"


def _columns(settings: HeadModelSettings) -> str:
    what = "sums over the vertices of a region" if settings.column == "sum" else "centre vertices"
    return f"{what}, {settings.surface} surface"


def _conductivity(settings: HeadModelSettings) -> str:
    brain, skull, scalp = settings.conductivity
    return f"{brain:g}, {skull:g}, {scalp:g} S/m (brain, skull, scalp)"


def _construction(facts: Mapping[str, float], regions: np.ndarray) -> list[tuple[str, str]]:
    mean, cm2 = facts["region_area_mean"], 1e4
    low, high = facts["region_area_min"] / mean - 1, facts["region_area_max"] / mean - 1
    spread = facts["region_area_std"] / mean
    kept = regions[regions >= 0]

    def thickness(layer: str) -> str:
        low, middle, high = (
            1e3 * facts[f"{layer}_thickness_{x}"] for x in ("min", "median", "max")
        )
        return f"{low:.1f} to {high:.1f} mm, median {middle:.1f}, above the skull base"

    return [
        ("cortical vertices", f"{facts['cortical_vertices']:.0f} without the medial wall"),
        ("vertices per region", _range(np.bincount(kept))),
        (
            "region area",
            f"{cm2 * mean:.2f} cm2, standard deviation {spread:.1%}, {low:+.0%} to {high:+.0%}",
        ),
        ("boundary elements", f"edges of {1e3 * facts['bem_edge_length']:.1f} mm"),
        ("skull", thickness("skull")),
        ("scalp", thickness("scalp")),
        (
            "vertices moved inwards",
            f"{facts['vertices_moved']:.0f} to a depth of {1e3 * facts['min_depth']:.1f} mm below "
            f"the inner skull; {facts['vertices_outside_before_moving']:.0f} were outside of it",
        ),
        ("vertices dropped", f"{facts['vertices_dropped']:.0f}"),
    ]


def _graph(model: HeadModel) -> list[tuple[str, str]]:
    lines = []
    if model.distances is not None:
        away = np.where(np.eye(len(model.distances), dtype=bool), np.inf, model.distances)
        lines.append(("nearest source", f"{_range(1e3 * away.min(axis=1))} mm along the cortex"))
    degree = np.asarray(model.neighbours.sum(axis=1)).ravel()
    lines.append(("neighbours", f"{degree.min()} to {degree.max()}, mean {degree.mean():.1f}"))
    return lines
