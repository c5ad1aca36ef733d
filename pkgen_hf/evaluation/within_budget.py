"""Baselines under a budget: the architectures within it that maximise a score of the specification."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..budgets.limits import Limits
from ..budgets.search import neighbours
from ..spaces import SearchSpace

Score = Callable[[torch.Tensor], torch.Tensor]
"""From architectures ``(n, slots)`` to scores ``(n,)``, higher is better."""

SAMPLES = 20_000  # random architectures within the budget, of which the ascent starts
STARTS = 32  # best of them, each of which ascends
CHUNK = 100_000  # architectures that are scored at a time


def uniform_within(limits: Limits, num: int, generator: torch.Generator) -> torch.Tensor:
    """Distinct random architectures within the limits, ``LongTensor (up to num, slots)``, by rejection.

    A space is sampled at most a hundred times; where the limits leave too little, what was found is filled up from
    the pool of the limits.
    """
    space = limits.space
    found = torch.empty(0, space.num_slots, dtype=torch.long)
    for _ in range(100):
        rows = space.canonical(space.sample(SAMPLES, generator))
        found = torch.cat([found, rows[space.is_valid(rows) & limits.within(rows)]])
        if len(found) >= num:
            break
    if len(found) < num and limits.pool is not None:
        found = torch.cat([found, limits.pool[torch.randperm(len(limits.pool), generator=generator)]])
    return _first_of_each(space, found)[:num]


def best_within(limits: Limits, score: Score, num: int, generator: torch.Generator) -> torch.Tensor:
    """Distinct architectures within the limits of the highest score, best first, ``LongTensor (up to num, slots)``.

    The best of random ones ascend by changes of one slot; the best of all by changes of two, until none is better.

    Parameters
    ----------
    limits
        Of one space.
    score
        Of the specification, such as parameters or `spectral_capacity`.
    num
        How many.
    generator
        Of the random ones.
    """
    space = limits.space
    seen = uniform_within(limits, SAMPLES, generator)
    best = _top(space, seen, score, STARTS)
    while True:
        near = _within(limits, neighbours(space, best).flatten(0, 1))
        better = _top(space, torch.cat([best, near]), score, max(num, STARTS))
        if float(score(better[:1])) <= float(score(best[:1])):
            pairs = _within(limits, _two_changes(space, better[0]))
            better = _top(space, torch.cat([better, pairs]), score, max(num, STARTS))
            if float(score(better[:1])) <= float(score(best[:1])):
                return better[:num]
        best = better


def _two_changes(space: SearchSpace, row: torch.Tensor) -> torch.Tensor:
    """One architecture ``(slots,)`` with two slots changed, in all ways, ``LongTensor (changes, slots)``."""
    return neighbours(space, neighbours(space, row[None])[0]).flatten(0, 1)


def _within(limits: Limits, rows: torch.Tensor) -> torch.Tensor:
    """Those that are valid and within the limits."""
    parts = [part[limits.space.is_valid(part) & limits.within(part)] for part in rows.split(CHUNK)]
    return torch.cat(parts)


def _top(space: SearchSpace, rows: torch.Tensor, score: Score, num: int) -> torch.Tensor:
    """The best distinct ones, best first."""
    rows = _first_of_each(space, space.canonical(rows))
    scores = torch.cat([score(part).double() for part in rows.split(CHUNK)])
    return rows[scores.argsort(descending=True, stable=True)[:num]]


def _first_of_each(space: SearchSpace, rows: torch.Tensor) -> torch.Tensor:
    """The first of each isomorphism class, in their order."""
    _, which = space.keys(rows).unique(return_inverse=True)
    first = torch.full((int(which.max()) + 1 if len(which) else 0,), len(rows))
    first.scatter_reduce_(0, which, torch.arange(len(rows)), "amin")
    return rows[first.sort().values]
