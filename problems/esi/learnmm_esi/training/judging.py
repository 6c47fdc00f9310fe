"""Teach the verdict what right starts look like, on recordings that were not trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from learnmm_esi.inverse.scaling import unit_norm
from learnmm_esi.networks.energy import LearnedEnergy
from learnmm_esi.networks.verdict import facts
from learnmm_esi.simulation.ranges.simulator import Group
from learnmm_esi.training.seen import Groups

__all__ = ["judge", "nearest_seed"]

RIGHT = 20.0  # mm from the nearest true seed


@torch.no_grad()
def judge(energy: LearnedEnergy, groups: Groups) -> None:
    """Let the verdict of an energy learn from its starts; the energy is left with the last head.

    Parameters
    ----------
    energy : LearnedEnergy
        With a trained start.
    groups : Groups
        Recordings as those of the training, some thousand.
    """
    if energy.sharpener is None or energy.verdict is None:
        raise ValueError(f"a start that is learned is needed, got {energy.initial!r}")
    found: list[Tensor] = []
    apart = []
    for number in range(len(groups)):
        group = groups.group(number)
        energy.see(group.model.leadfield)
        seen = energy.look(unit_norm(torch.from_numpy(group.sensors)))
        answer = energy.sharpener(energy.sight, seen)
        found.append(facts(energy.sight, seen, answer, energy.positions))
        apart.append(nearest_seed(group, answer.maps.square().sum(1).argmax(1).numpy()))
    right = torch.from_numpy(np.concatenate(apart) <= RIGHT)
    energy.verdict.learn(torch.cat(found), right)


def nearest_seed(group: Group, places: np.ndarray) -> np.ndarray:
    """Distance of a region from the nearest true seed of each recording, in mm.

    Parameters
    ----------
    group : Group
        The recordings.
    places : ndarray of int, shape (members,)
        A region for each.
    """
    positions = np.asarray(group.model.positions)
    seeds = positions[group.seed_sources]  # (members, patches, 3); those of -1 do not count
    distance = np.linalg.norm(seeds - positions[places][:, None], axis=2)
    nearest: np.ndarray = 1e3 * np.where(group.seed_sources >= 0, distance, np.inf).min(axis=1)
    return nearest
