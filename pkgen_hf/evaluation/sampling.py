"""Baselines that sample or copy: uniform random, the prior alone, the best of other data sets."""

from __future__ import annotations

import torch

from ..priors.prior import Prior
from .problem import Problem
from .specification import distinct, uniform_within

DRAWS = 4  # draws of the prior for each architecture that is asked for
ROUNDS = 50  # of such draws, before uniform random ones fill up
RAISE, FEW_NEW = 1.5, 0.1  # the temperature is multiplied after a round in which fewer of the draws than this are new


def uniform(problem: Problem, num: int) -> torch.Tensor:
    """Distinct uniform random architectures within the limits, ``LongTensor (num, slots)``."""
    return uniform_within(problem.limits, num, problem.generator())


def copy(problem: Problem, num: int) -> torch.Tensor:
    """The best by the consensus of the space's other data sets, ``LongTensor (num, slots)``."""
    assert problem.others is not None
    rows, scores = problem.others
    if problem.limits:
        inside = problem.limits.within(rows)
        rows, scores = rows[inside], scores[inside]
    return rows[scores.argsort(descending=True, stable=True)[:num]]


def prior_alone(problem: Problem, num: int, temperature: float) -> torch.Tensor:
    """Distinct draws of the prior at a temperature, the most probable first, ``LongTensor (num, slots)``.

    Slots are independent. Draws that are invalid or beyond the limits are left out. After a round with hardly any new
    one the temperature rises, as in the pipeline; after `ROUNDS`, uniform random ones are added.
    """
    space, prior, generator = problem.space, problem.prior, problem.generator()
    found = torch.empty(0, space.num_slots, dtype=torch.long)
    for _ in range(ROUNDS):
        rows = space.canonical(prior.sample(DRAWS * num, temperature, generator))
        before, found = len(found), distinct(space, torch.cat([found, _allowed(problem, rows)]))
        if len(found) >= num:
            break
        if len(found) - before < FEW_NEW * len(rows):
            temperature *= RAISE
    if len(found) < num:
        found = distinct(space, torch.cat([found, uniform_within(problem.limits, 2 * num, generator)]))
    found = found[:num]
    return found[log_probabilities(prior, found).argsort(descending=True, stable=True)]


def log_probabilities(prior: Prior, rows: torch.Tensor) -> torch.Tensor:
    """Logarithm of the probability of ``(n, slots)`` under a prior, over slots that have an effect, ``(n,)``."""
    of_slots = prior.distribution().clamp(min=1e-12).log().gather(1, rows.T).T
    return (of_slots * prior.space.active_slots(rows)).sum(1)


def _allowed(problem: Problem, rows: torch.Tensor) -> torch.Tensor:
    rows = rows[problem.space.is_valid(rows)]
    return rows[problem.limits.within(rows)] if problem.limits else rows
