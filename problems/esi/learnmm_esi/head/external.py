"""Take a head model that users bring along, and refuse what cannot be one.

Lead fields arrive with all sorts of references, units and frames. What can be put right without
guessing is put right (the reference); everything else is an error that names what came and what
was expected.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import mne
import numpy as np
import trimesh
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from learnmm_esi.fif import reading
from learnmm_esi.head.forward import replace_gain
from learnmm_esi.head.leadfields import (
    check_names,
    checked_array,
    checked_distances,
    checked_graph,
    referenced_gain,
)
from learnmm_esi.head.model import HeadModel
from learnmm_esi.head.regions import cell_neighbours, edge_graph, geodesic_distances

__all__ = ["head_model_from_forward", "head_model_from_leadfield", "read_head_model"]

LARGEST_POSITION = 0.5  # metres
NEEDED = ("leadfield", "positions", "neighbours", "channel_names")
FURTHER = ("normals", "distances")


def read_head_model(model: mne.Forward | str | os.PathLike[str]) -> HeadModel:
    """Make a head model of a file: a forward solution, or a bare lead field.

    Parameters
    ----------
    model : mne.Forward or path
        ``-fwd.fif``; or ``.npz``, with what `head_model_from_leadfield` takes under the names of
        its arguments, `neighbours` as a dense matrix.

    Returns
    -------
    HeadModel

    Raises
    ------
    ValueError
        If an ``.npz`` file lacks something, or `head_model_from_leadfield` or
        `head_model_from_forward` refuses what is in the file.

    Examples
    --------
    >>> np.savez("mine.npz", leadfield=gain, positions=positions, neighbours=graph.toarray(),
    ...          channel_names=names)           # doctest: +SKIP
    >>> read_head_model("mine.npz")             # doctest: +SKIP
    """
    if isinstance(model, mne.Forward):
        return head_model_from_forward(model)
    if not os.fspath(model).endswith(".npz"):
        try:
            return head_model_from_forward(model)
        except (ValueError, TypeError, OSError, RuntimeError):
            raise
        except Exception as error:  # as a vertex number that no surface has
            raise ValueError(
                f"{os.fspath(model)} is damaged, its parts do not fit together: {error}"
            ) from error
    try:
        with np.load(model, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except OSError:
        raise
    except Exception as error:  # numpy and zipfile may say anything of a file that is none
        raise ValueError(f"{os.fspath(model)} is no .npz file of plain arrays: {error}") from error
    missing = [name for name in NEEDED if name not in found]
    unknown = [name for name in found if name not in (*NEEDED, *FURTHER)]
    if missing or unknown:
        raise ValueError(
            f"{os.fspath(model)} must hold {', '.join(NEEDED)}, and may hold "
            f"{', '.join(FURTHER)}; it lacks {', '.join(missing) or 'none of them'}"
            f"{', and has ' + ', '.join(unknown) + ' besides' if unknown else ''}"
        )
    names = [str(name) for name in np.atleast_1d(found.pop("channel_names"))]
    return head_model_from_leadfield(channel_names=names, **found)


def head_model_from_leadfield(
    leadfield: ArrayLike,
    positions: ArrayLike,
    neighbours: ArrayLike | sparse.spmatrix,
    channel_names: Sequence[str],
    *,
    normals: ArrayLike | None = None,
    distances: ArrayLike | None = None,
) -> HeadModel:
    """Make a head model of a bare lead field.

    Parameters
    ----------
    leadfield : array_like, shape (sensors, sources)
        V/(A m), of fixed orientation, in any reference: the average over the sensors is removed.
    positions : array_like, shape (sources, 3)
        Metres.
    neighbours : array_like or sparse matrix, shape (sources, sources)
        Non-zero where two sources are neighbours; symmetric, zero diagonal.
    channel_names : sequence of str
        One per row.
    normals : array_like, shape (sources, 3), optional
        Orientation of the sources.
    distances : array_like, shape (sources, sources), optional
        Distances along the cortex in metres.

    Returns
    -------
    HeadModel
        Without settings, regions, vertices and `mne.Forward`.

    Raises
    ------
    ValueError
        If shapes disagree, values are not finite, names repeat, the rank is less than the number
        of sensors less one (sensors that repeat others are named), no sensor sees some source, the
        magnitude is not one of V/(A m), positions are not in metres, or the graph of neighbours is
        not symmetric.
    """
    gain = np.array(leadfield, dtype=np.float64)
    if gain.ndim != 2 or min(gain.shape) < 2:
        raise ValueError(f"leadfield must have shape (sensors, sources), got {gain.shape}")
    sensors, sources = gain.shape
    names = tuple(channel_names)
    check_names(names, sensors)
    gain = referenced_gain(gain, names)
    places = checked_array(positions, "positions", (sources, 3))
    if np.abs(places).max() > LARGEST_POSITION:
        raise ValueError(
            f"positions must be in metres, got values up to {np.abs(places).max():.4g}: "
            "divide millimetres by 1000"
        )
    graph = checked_graph(neighbours, sources)
    return HeadModel(
        leadfield=gain,
        positions=places,
        normals=None if normals is None else checked_array(normals, "normals", (sources, 3)),
        neighbours=graph,
        distances=None if distances is None else checked_distances(distances, sources),
        vertices=None,
        regions=None,
        channel_names=names,
    )


def head_model_from_forward(
    forward: mne.Forward | str | os.PathLike[str],
    info: mne.Info | None = None,
    *,
    neighbours: ArrayLike | sparse.spmatrix | None = None,
    distances: bool = False,
    patch_normals: bool = False,
) -> HeadModel:
    """Make a head model of an `mne.Forward`, or of a ``-fwd.fif`` file.

    Parameters
    ----------
    forward : mne.Forward or path
        With fixed orientation, or with a free one on surfaces that have normals.
    info : mne.Info, optional
        Keep its good EEG channels, in its order. Default: all EEG channels of `forward`.
    neighbours : array_like or sparse matrix, shape (sources, sources), optional
        Which sources are neighbours. Default: sources whose geodesic Voronoi cells on the
        surfaces share an edge; source spaces without surfaces need this argument.
    distances : bool
        Also compute geodesic distances: seconds for thousands of vertices, minutes for the full
        surfaces of a subject.
    patch_normals : bool
        Orient the sources of a free forward solution along the mean normal of their patch instead
        of the normal of their vertex. This changes a topography by 0.26 (median), more than most
        errors of a head model do, so all models that are compared must agree on it.

    Returns
    -------
    HeadModel
        Without settings and regions; ``forward()`` returns the forward solution in fixed
        orientation, with the same average-referenced gain.

    Raises
    ------
    ValueError
        If channels of `info` are missing, there are no EEG channels, the orientation cannot be
        fixed, there is no surface to find neighbours on, or the gain is no plausible lead field
        (see `head_model_from_leadfield`).
    """
    if not isinstance(forward, mne.Forward):
        with reading(forward, "forward solution"):
            forward = mne.read_forward_solution(forward, verbose="ERROR")
    forward = _picked(forward, info)
    if not all(_has_normals(space) for space in forward["src"]):
        raise ValueError(
            "the forward solution has a volume or grid source space, whose sources have no "
            "normals; expected surface source spaces, or a discrete one with normals"
        )
    gain, fixed = _fixed_gain(forward, patch_normals)
    if neighbours is None:
        neighbours = sparse.block_diag([_voronoi_neighbours(s) for s in fixed["src"]])
    to_mri = np.linalg.inv(fixed["mri_head_t"]["trans"])
    bare = head_model_from_leadfield(
        gain,
        mne.transforms.apply_trans(to_mri, fixed["source_rr"]),
        neighbours,
        fixed["sol"]["row_names"],
        normals=mne.transforms.apply_trans(to_mri, fixed["source_nn"], move=False),
        distances=_surface_distances(fixed["src"]) if distances else None,
    )
    spaces = fixed["src"]
    vertices = None
    if [space["type"] for space in spaces] == ["surf", "surf"]:
        vertices = np.array(spaces[0]["vertno"]), np.array(spaces[1]["vertno"])
    return replace(bare, vertices=vertices, template=replace_gain(fixed, bare.leadfield))


# ------------------------------------------------------------------- what a forward solution has


def _picked(forward: mne.Forward, info: mne.Info | None) -> mne.Forward:
    """The EEG part of a forward solution, in the order of `info`."""
    kinds = dict(zip(forward["info"]["ch_names"], forward["info"].get_channel_types(), strict=True))
    available = [name for name in forward["sol"]["row_names"] if kinds[name] == "eeg"]
    if not available:
        raise ValueError(
            f"the forward solution must have EEG channels, got {sorted(set(kinds.values()))}"
        )
    if info is None:
        return forward.copy().pick_channels(available, ordered=True)
    wanted = [info["ch_names"][i] for i in mne.pick_types(info, meg=False, eeg=True)]
    missing = [name for name in wanted if name not in available]
    if missing or not wanted:
        raise ValueError(
            f"info must have good EEG channels of the forward solution, got {len(wanted)} "
            f"of which it lacks {', '.join(missing[:10]) or 'none'}; it has "
            f"{', '.join(available[:10])}{', ...' if len(available) > 10 else ''}"
        )
    return forward.copy().pick_channels(wanted, ordered=True)


def _has_normals(space: dict[str, Any]) -> bool:
    """MNE calls a grid without an MRI "discrete" too, and lets all its normals point upwards."""
    normals = space["nn"][space["vertno"]]
    return space["type"] == "surf" or (
        space["type"] == "discrete" and not np.allclose(normals, normals[0])
    )


def _fixed_gain(forward: mne.Forward, patch_normals: bool) -> tuple[np.ndarray, mne.Forward]:
    """Gain in float64 and the forward solution, in fixed orientation."""
    if mne.forward.is_fixed_orient(forward):
        return np.array(forward["sol"]["data"], dtype=np.float64), forward
    with mne.use_log_level("ERROR"):
        free = mne.convert_forward_solution(forward, surf_ori=False, force_fixed=False)
        fixed = mne.convert_forward_solution(
            forward, surf_ori=True, force_fixed=True, use_cps=patch_normals
        )
    # MNE rounds the product to float32, which the average reference then amplifies.
    columns = free["sol"]["data"].astype(np.float64).reshape(free["nchan"], -1, 3)
    return np.einsum("csi,si->cs", columns, fixed["source_nn"]), fixed


def _surface(space: dict[str, Any]) -> tuple[trimesh.Trimesh, np.ndarray]:
    """The mesh of a source space and which of its vertices belong to triangles."""
    if space["type"] != "surf" or space.get("tris") is None or len(space["tris"]) == 0:
        raise ValueError(
            f"a source space of type {space['type']!r} has no surface to find neighbours or "
            "distances on; pass neighbours, and leave distances out"
        )
    mesh = trimesh.Trimesh(space["rr"], space["tris"], process=False)
    used = np.zeros(len(space["rr"]), dtype=bool)
    used[space["tris"]] = True
    return mesh, used


def _voronoi_neighbours(space: dict[str, Any]) -> sparse.csr_matrix:
    mesh, used = _surface(space)
    sources = np.array(space["vertno"])
    graph = edge_graph(mesh, used, diagonals=False)
    nearest = dijkstra(graph, indices=sources, min_only=True, return_predecessors=True)[2]
    rank = np.full(len(used), -1)
    rank[sources] = np.arange(len(sources))
    labels = np.where(nearest >= 0, rank[nearest], -1)
    return cell_neighbours(mesh.edges_unique, labels, len(sources))


def _surface_distances(spaces: mne.SourceSpaces) -> np.ndarray:
    blocks = [geodesic_distances(*_surface(space), np.array(space["vertno"])) for space in spaces]
    count = sum(map(len, blocks))
    distances, start = np.full((count, count), np.inf), 0
    for block in blocks:
        part = slice(start, start + len(block))
        distances[part, part] = block
        start += len(block)
    return distances
