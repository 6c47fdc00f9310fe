"""A head model of an `mne.Forward` that users bring along, or the reason why it cannot be one."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import mne
import numpy as np
import trimesh
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from learnmm_esi.fif import reading
from learnmm_esi.head.from_leadfield import head_model_from_leadfield
from learnmm_esi.head.geodesics import edge_graph, geodesic_distances, join_distances
from learnmm_esi.head.model import HeadModel
from learnmm_esi.head.regions import cell_neighbours
from learnmm_esi.head.to_forward import replace_gain

__all__ = ["eeg_forward", "fixed_gain", "head_model_from_forward"]


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
        Its `origin`, which ``forward()`` returns, is the forward solution in fixed
        orientation, with the same average-referenced gain.

    Raises
    ------
    ValueError
        If channels of `info` are missing, there are no EEG channels, the orientation cannot be
        fixed, there is no surface to find neighbours on, or the gain is no plausible lead field
        (see `head_model_from_leadfield`).
    """
    forward = eeg_forward(forward, info)
    if not all(_has_normals(space) for space in forward["src"]):
        raise ValueError(
            "the forward solution has a volume or grid source space, whose sources have no "
            "normals; expected surface source spaces, as of mne.setup_source_space(subject, "
            "spacing='oct6'), or a discrete one with normals"
        )
    gain, fixed = fixed_gain(forward, patch_normals)
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
    return replace(bare, vertices=vertices, origin=replace_gain(fixed, bare.leadfield))


def eeg_forward(
    forward: mne.Forward | str | os.PathLike[str], info: mne.Info | None = None
) -> mne.Forward:
    """Return the EEG part of a forward solution, read if it is a file.

    Parameters
    ----------
    forward : mne.Forward or path
    info : mne.Info, optional
        Whose good channels are kept, in their order. Default: all.
    """
    if not isinstance(forward, mne.Forward):
        with reading(forward, "forward solution"):
            forward = mne.read_forward_solution(forward, verbose="ERROR")
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


def fixed_gain(forward: mne.Forward, patch_normals: bool = False) -> tuple[np.ndarray, mne.Forward]:
    """Return the gain in float64 and the forward solution, in fixed orientation.

    Parameters
    ----------
    forward : mne.Forward
        On sources that have normals.
    patch_normals : bool, default False
        Along the mean normal of a source's patch instead of the normal of its vertex.
    """
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
    return join_distances(
        [geodesic_distances(*_surface(space), np.array(space["vertno"])) for space in spaces]
    )
