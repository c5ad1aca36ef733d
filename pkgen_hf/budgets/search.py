"""Search for architectures of given costs in spaces too large to list."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ..spaces import SearchSpace

# Set by hand: with these, the descent finds the smallest network of NAS-Bench-101's table and of DARTS, in seconds.
SAMPLES = 2048  # random architectures, of which the search starts
STARTS = 64  # those of them at the lowest cost, from which a descent starts
POOL = 512  # architectures within the limits: with more than these the search for further ones ends
CHUNK = 2**22  # numbers in the rows whose costs are counted at once; bounds memory

Measure = Callable[[torch.Tensor], torch.Tensor]  # a number of each row of a batch


def random_rows(space: SearchSpace, num: int = SAMPLES) -> torch.Tensor:
    """Valid ones of `num` random rows, always the same, ``LongTensor (at most num, slots)``."""
    samples = space.sample(num, torch.Generator().manual_seed(0))
    return samples[space.is_valid(samples)]


def distinct(space: SearchSpace, indices: torch.Tensor) -> torch.Tensor:
    """The canonical architecture of each isomorphism class, in order of their keys."""
    return space.classes(space.canonical(indices))[0]


def descend(
    space: SearchSpace, cost: Measure, samples: torch.Tensor, starts: int = STARTS, enough: float = -math.inf
) -> torch.Tensor:
    """The samples of the lowest cost, changed in one slot at a time as long as that lowers their cost.

    Parameters
    ----------
    cost
        What is to be low, ``DoubleTensor (batch,)`` of rows ``(batch, slots)``.
    samples
        Valid rows, ``LongTensor (n, slots)``.
    starts
        How many of them are changed.
    enough
        Rows of at most this cost are left as they are.

    Returns
    -------
    LongTensor (at most starts, slots)
    """
    costs, order = cost(samples).sort()
    best, costs = samples[order[:starts]], costs[:starts]
    moving = (costs > enough).nonzero()[:, 0]
    while len(moving):
        found, near = _best_neighbours(space, cost, best[moving])
        better = found < costs[moving]
        moving = moving[better]
        best[moving], costs[moving] = near[better], found[better]
        moving = moving[costs[moving] > enough]
    return best


def connected(space: SearchSpace, within: Measure, start: torch.Tensor, at_once: int = POOL) -> torch.Tensor:
    """Architectures that can be reached from `start` by changing one slot at a time without leaving the limits.

    Parameters
    ----------
    within
        Which rows obey the limits, ``BoolTensor (batch,)``.
    start
        Rows that do, ``LongTensor (n, slots)``.
    at_once
        Rows whose neighbours are listed before those found are counted.

    Returns
    -------
    LongTensor (found, slots)
        All of them, distinct, or more than `POOL`.
    """
    found = pending = distinct(space, start)
    while len(pending) and len(found) <= POOL:
        near = neighbours(space, pending[:at_once]).flatten(0, 1)
        near = distinct(space, near[space.is_valid(near)])
        near = near[~torch.isin(space.keys(near), space.keys(found))]
        new = near[within(near)]
        found, pending = torch.cat([found, new]), torch.cat([pending[at_once:], new])
    return found


def neighbours(space: SearchSpace, indices: torch.Tensor) -> torch.Tensor:
    """Rows of choices that are drawn with one slot changed, ``LongTensor (batch, changes, slots)``."""
    changes = [(s, k) for s, size in enumerate(space.drawn_sizes.tolist()) for k in range(size - 1)]
    near = indices[:, None].repeat(1, len(changes), 1)
    slots, others = torch.tensor(changes).reshape(-1, 2).T
    near[:, torch.arange(len(changes)), slots] = others + (others >= indices[:, slots])  # all but the choice it has
    return near


def _best_neighbours(space: SearchSpace, cost: Measure, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest cost among the valid neighbours of each row, ``(batch,)``, and the neighbours ``(batch, slots)``."""
    changes = int((space.drawn_sizes - 1).sum())
    costs, best = [], []
    for part in rows.split(max(1, CHUNK // (changes * space.num_slots))):
        near = neighbours(space, part)
        flat = near.flatten(0, 1)
        of_near = cost(flat).masked_fill(~space.is_valid(flat), math.inf)
        lowest, which = of_near.reshape(len(part), changes).min(1)
        costs.append(lowest)
        best.append(near[torch.arange(len(part)), which])
    return torch.cat(costs), torch.cat(best)
