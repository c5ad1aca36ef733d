"""Baselines that read the specification alone: the largest network, and the highest spectral capacity."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..budgets.limits import Limits
from ..budgets.search import neighbours
from ..generation.duplicates import first_of_each
from ..spaces import SearchSpace
from ..spaces.spectral_capacity import spectral_capacity
from .problem import Problem

Score = Callable[[torch.Tensor], torch.Tensor]
"""From architectures ``(n, slots)`` to scores ``(n,)``, higher is better."""

SAMPLES = 20_000  # draws of a round, at most
ROUNDS = 100  # of draws, at most
FEW_NEW = 0.01  # share of new architectures among a round's draws within the limits, below which it is the last
STARTING, STARTS = 2_000, 16  # random architectures within the budget, and the best of them, each of which ascends
CHUNK = 100_000  # architectures that are scored at a time


def distinct(space: SearchSpace, rows: torch.Tensor) -> torch.Tensor:
    """The first of each isomorphism class, in their order."""
    return rows[first_of_each(space.keys(rows))[0]]


def uniform_within(limits: Limits, num: int, generator: torch.Generator) -> torch.Tensor:
    """Distinct random architectures within the limits, ``LongTensor (up to num, slots)``, uniform over encodings.

    By rejection, or where all architectures within the limits are listed, from the list. Where rejection finds too
    few, because few are within the limits or because the space has hardly more, the pool of the limits fills up.
    """
    space = limits.space
    if limits.is_complete and limits.pool is not None:
        return distinct(space, limits.pool[torch.randperm(len(limits.pool), generator=generator)])[:num]
    found, draws = torch.empty(0, space.num_slots, dtype=torch.long), 2 * num
    keys = torch.empty(0, dtype=torch.long)
    for _ in range(ROUNDS):
        rows = space.sample(min(draws, SAMPLES), generator)
        rows = rows[space.is_valid(rows)]
        rows = space.canonical(rows[limits.within(rows)])
        keys = torch.cat([keys, space.codes(rows)])
        first, before = first_of_each(keys)[0], len(found)
        found, keys = torch.cat([found, rows])[first], keys[first]
        if len(found) >= num:
            return found[:num]
        if draws >= SAMPLES and len(rows) and len(found) - before < FEW_NEW * len(rows):
            break
        draws *= 2
    if limits.pool is not None:
        found = torch.cat([found, limits.pool[torch.randperm(len(limits.pool), generator=generator)]])
    return distinct(space, found)[:num]


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
    random = uniform_within(limits, STARTING, generator)
    best = _top(space, random, score, STARTS)
    while True:
        near = _within(limits, neighbours(space, best).flatten(0, 1))
        better = _top(space, torch.cat([best, near]), score, STARTS)
        if float(score(better[:1])) <= float(score(best[:1])):
            pairs = _within(limits, _two_changes(space, better[0]))
            found = _top(space, torch.cat([better, near, pairs, random]), score, max(num, STARTS))
            if float(score(found[:1])) <= float(score(best[:1])):
                return found[:num]
            better = found[:STARTS]
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
    rows = distinct(space, space.canonical(rows))
    scores = torch.cat([score(part).double() for part in rows.split(CHUNK)])
    return rows[scores.argsort(descending=True, stable=True)[:num]]


def largest(problem: Problem, num: int) -> torch.Tensor:
    """The architectures of the most parameters within the limits, ``LongTensor (num, slots)``."""
    return best_within(
        problem.limits, lambda rows: problem.space.parameters(rows, problem.task), num, problem.generator()
    )


def highest_spectral_capacity(problem: Problem, num: int) -> torch.Tensor:
    """Those of the highest spectral capacity within the limits, ``LongTensor (num, slots)``."""
    return best_within(
        problem.limits, lambda rows: spectral_capacity(problem.space, rows, problem.task), num, problem.generator()
    )


def has_costs(problem: Problem) -> bool:
    """Whether the space counts parameters."""
    return _is_implemented(lambda rows: problem.space.parameters(rows, problem.task), problem.space)


def has_weight_matrices(problem: Problem) -> bool:
    """Whether the space lists the weight matrices of its networks."""
    return _is_implemented(lambda rows: spectral_capacity(problem.space, rows, problem.task), problem.space)


def _is_implemented(score: Score, space: SearchSpace) -> bool:
    try:
        score(space.sample(1, torch.Generator().manual_seed(0)))
    except NotImplementedError:
        return False
    return True
