"""The lead field of anybody's forward solution, on the regions of the template.

FreeSurfer's spherical registration says which place of a cortex is which of fsaverage's. The
template's column of a region is the sum over its fsaverage5 vertices; here, every vertex of the
subject's surface belongs to the region of the nearest fsaverage5 vertex and to the nearest source
(both on the sphere), and the region's column is

    n_r mean over its vertices of the gain of their source:

what ``n_r`` unit dipoles, spread evenly over the region, would be seen as. Its amplitude therefore
is what it is on the template, the moment of every fsaverage5 vertex in A m, and the moments of the
subject's own sources follow by the transposed map, without loss of what the sensors see.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mne
import numpy as np
from mne.utils import logger
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from learnmm_esi.fif import reading
from learnmm_esi.head.cortex import N_VERTICES
from learnmm_esi.head.from_forward import eeg_forward, fixed_gain
from learnmm_esi.head.from_leadfield import head_model_from_leadfield
from learnmm_esi.head.model import Construction, HeadModel, Registration

__all__ = ["template_regions"]

SIDES = ("lh", "rh")
# Share of regions with a source of their own. With oct5, 97 % of 994 have one, and the cosine with
# the column of all vertices is 0.990 (median) and 0.936 (worst tenth); with oct6, 0.998 and 0.988;
# with oct4, where 48 % have one, 0.90 and 0.46.
ENOUGH = 0.9
WHAT_ELSE = (
    "Or do without weights: MMInverse(forward) solves on the sources of the forward solution"
)


def template_regions(
    forward: mne.Forward | str | os.PathLike[str],
    template: HeadModel,
    subjects_dir: str | os.PathLike[str] | None = None,
) -> HeadModel:
    """Reduce a forward solution to the regions of the template, whose weights then serve it.

    Parameters
    ----------
    forward : mne.Forward or path
        On the surfaces of both hemispheres, of any spacing, with free or fixed orientation.
    template : HeadModel
        Of `fsaverage_head_model`. Its lead field plays no role.
    subjects_dir : path, optional
        FreeSurfer's folder of subjects, in which ``SUBJECT/surf/lh.sphere.reg`` and its twin are
        read. Default: MNE-Python's. Nothing is read for sources on fsaverage that are vertices of
        fsaverage5, as of the spacings ico5 and ico4.

    Returns
    -------
    HeadModel
        With the sources, neighbours and distances of the template, on which estimates lie, and
        the channels of `forward`. Its `origin` is a `Registration`. Estimates are moments of every
        fsaverage5 vertex of a region, in A m.

    Raises
    ------
    FileNotFoundError
        If there is no registration of the subject: its files are named.
    ValueError
        If the source space is no pair of surfaces, knows no subject or is another surface than
        the registered one, no source lies on the cortex of a hemisphere, `template` has no
        regions, or `head_model_from_forward` would refuse the forward solution.

    Warns
    -----
    RuntimeWarning
        If more than a tenth of the regions have no source of their own.

    Notes
    -----
    A region without a source of its own has the columns of the nearest sources; how many there
    are is logged, and in ``origin.own``. Sources on the medial wall are left out.

    Examples
    --------
    >>> template = fsaverage_head_model()                           # doctest: +SKIP
    >>> model = template_regions("subject-fwd.fif", template)       # doctest: +SKIP
    >>> stc = apply_mm(evoked, model, InverseSettings(weights=...)) # doctest: +SKIP
    """
    made = template.origin
    construction = made.construction if isinstance(made, Registration) else made
    if not isinstance(construction, Construction):
        raise ValueError(
            "template_regions: the template must have regions on fsaverage5, as models of "
            "fsaverage_head_model have"
        )
    forward = eeg_forward(forward)
    check_surfaces(forward["src"])
    gain, fixed = fixed_gain(forward)
    spaces = fixed["src"]
    used = [np.array(space["vertno"]) for space in spaces]
    subject = spaces[0].get("subject_his_id")
    if subject == "fsaverage" and _same(used, template.vertices):
        # The template's own sources, whose columns are those of regions already.
        shares, own = sparse.identity(gain.shape[1], format="csr"), np.ones(gain.shape[1], bool)
    else:
        spheres = _registered(spaces, used, subject, subjects_dir)
        shares, own = _shares(spheres, used, construction)
    told = f"{gain.shape[1]} sources become {len(own)} regions, {own.sum()} with one of their own"
    logger.info(told)
    if own.mean() < ENOUGH:
        warnings.warn(
            f"{told}: columns of the others are those of neighbours, and far off where cortex is "
            "folded. Use a finer spacing, oct5 or ico4 at least",
            RuntimeWarning,
            stacklevel=2,
        )
    reduced = head_model_from_leadfield(
        (shares @ gain.T).T,
        template.positions,
        template.neighbours,
        fixed["sol"]["row_names"],
        normals=template.normals,
        distances=template.distances,
    )
    sensed = Registration(construction, fixed["info"], shares, own)
    return replace(reduced, vertices=template.vertices, origin=sensed)


def check_surfaces(spaces: Sequence[dict[str, Any]]) -> None:
    """Raise a ValueError unless sources lie on the surfaces of two hemispheres, which can register.

    Parameters
    ----------
    spaces : mne.SourceSpaces
        Of a forward solution.
    """
    kinds = [space["type"] for space in spaces]
    if kinds == ["surf", "surf"]:
        return
    names = {"surf": "surface", "vol": "volume", "discrete": "discrete"}
    found = ", ".join(names.get(kind, kind) for kind in kinds)
    raise ValueError(
        "the registration to fsaverage is one of the cortical surfaces of both hemispheres, and "
        f"this source space is {'mixed: ' if len(set(kinds)) > 1 else ''}{found}. Compute the "
        "forward solution on mne.setup_source_space(subject, spacing='oct6') instead; a mixed one "
        "can be cut down to its surfaces, mne.SourceSpaces(src[:2]), before"
    )


def _same(used: list[NDArray[Any]], vertices: Sequence[NDArray[Any]] | None) -> bool:
    return vertices is not None and all(map(np.array_equal, used, vertices))


def _registered(
    spaces: Sequence[dict[str, Any]],
    used: list[NDArray[Any]],
    subject: str | None,
    subjects_dir: str | os.PathLike[str] | None,
) -> Sequence[NDArray[np.float64]]:
    """Where vertices of both surfaces lie on the sphere of fsaverage."""
    if subject == "fsaverage" and max(vertices.max() for vertices in used) < N_VERTICES:
        return template_spheres()  # of its vertices, fsaverage5 are the first
    if not subject:
        raise ValueError(
            "the source space does not say of which subject it is, so its registration to "
            "fsaverage is not known: set src[0]['subject_his_id'] and that of src[1] to the "
            f"subject's name. {WHAT_ELSE}"
        )
    folder = mne.utils.get_subjects_dir(subjects_dir, raise_error=False)
    spheres = []
    for space, side in zip(spaces, SIDES, strict=True):
        surf = Path(folder or "SUBJECTS_DIR") / subject / "surf"
        path = surf / f"{side}.sphere.reg"
        if not path.is_file():
            raise FileNotFoundError(
                f"the registration of {subject!r} to fsaverage is not there: no file {path}. "
                "FreeSurfer's recon-all writes it; if the subject lies elsewhere, call "
                "template_regions(forward, template, subjects_dir), or set SUBJECTS_DIR. "
                f"{WHAT_ELSE}"
            )
        with reading(path, "spherical surface"):
            points = mne.read_surface(path, verbose="ERROR")[0]
        if len(points) != space["np"]:
            raise ValueError(
                f"{path} has {len(points)} vertices, the surface of the source space "
                f"{space['np']}: they are of different reconstructions of {subject!r}"
            )
        spheres.append(_unit(points))
    return spheres


@functools.lru_cache(maxsize=1)
def template_spheres() -> tuple[NDArray[np.float64], ...]:
    """Return the places of the vertices of fsaverage5 on its unit spheres, left and right."""
    from nilearn import surface
    from nilearn.datasets import fetch_surf_fsaverage  # takes a second, which few models need

    files = fetch_surf_fsaverage("fsaverage5")
    meshes = [surface.load_surf_mesh(files[f"sphere_{side}"]) for side in ("left", "right")]
    return tuple(_unit(mesh.coordinates) for mesh in meshes)


def _unit(points: NDArray[Any]) -> NDArray[np.float64]:
    places = np.asarray(points, dtype=np.float64)
    unit: NDArray[np.float64] = places / np.linalg.norm(places, axis=1, keepdims=True)
    return unit


def _shares(
    spheres: Sequence[NDArray[np.float64]], used: list[NDArray[Any]], construction: Construction
) -> tuple[sparse.csr_matrix, NDArray[np.bool_]]:
    """Dipoles of each source in each region, ``(regions, sources)``; regions that have a source."""
    n_regions = construction.settings.sources
    parts, found = [], []
    for place, mine, own, regions in zip(
        template_spheres(), spheres, used, np.split(construction.regions, 2), strict=True
    ):
        region = regions[cKDTree(place).query(mine)[1]]
        seen = np.flatnonzero(region[own] >= 0)  # the others lie on the medial wall
        if len(seen) == 0:
            raise ValueError(
                "the registration must bring sources of both hemispheres to the cortex of "
                "fsaverage, it brings none of one of them"
            )
        nearest = cKDTree(mine[own[seen]])
        # A region that none of these vertices is nearest to is asked by its own vertices.
        lacking = (regions >= 0) & ~np.isin(regions, region)
        points = np.concatenate([mine[region >= 0], place[lacking]])
        where = np.concatenate([region[region >= 0], regions[lacking]])
        source = seen[nearest.query(points)[1]]
        shape = (n_regions, len(own))
        parts.append(sparse.csr_matrix((np.ones(len(where)), (where, source)), shape=shape))
        found.append(region[own[seen]])
    shares = sparse.hstack(parts, format="csr")
    kept = construction.regions[construction.regions >= 0]
    size = np.bincount(kept, minlength=n_regions).astype(float)
    if construction.settings.column == "vertex":
        size[:] = 1.0
    counted = np.asarray(shares.sum(axis=1)).ravel()
    scaled = sparse.diags(size / counted) @ shares
    return scaled.tocsr(), np.isin(np.arange(n_regions), np.concatenate(found))
