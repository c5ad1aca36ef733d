"""The best architectures by a predicted score, found by changing one slot at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..budgets.limits import Limits
from ..budgets.search import descend, neighbours
from ..evidence.posterior import Posterior
from .duplicates import first_of_each
from .sampler import Sampler, SampleSet

BEAM = 100  # best architectures whose neighbours are looked at, at least: up to so many wanted change nothing
ROUNDS = 16  # at most
RANDOM = 512  # random architectures among those that it starts from
FEW = 10_000  # encodings that are all ranked
# Best random ones, without limits and within, each of which is improved alone.
CLIMBED, CLIMBED_WITHIN = 2, 8  # at most, see `_num_climbed`
STARTING_ROUNDS = 8  # of samples for distinct architectures; more only where too few are found
NEIGHBOURS_AT_ONCE = 2048  # rows of a round, at most


def refined(
    candidates: torch.Tensor, score: Callable[[torch.Tensor], torch.Tensor], limits: Limits, num: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best by a score among candidates, and all that changing one slot of the best leads to, round by round.

    It ends with a round that brings nothing among the best `num` (at least `BEAM`, so that what is first does not
    depend on a smaller `num`), or after `ROUNDS` rounds.

    Parameters
    ----------
    candidates
        ``LongTensor (n, slots)``; those that are invalid or beyond the limits are left out.
    score
        Predicted scores of ``(n, slots)``, higher is better.
    limits
        That all obey.
    num
        How many are wanted.

    Returns
    -------
    rows : LongTensor (up to num, slots)
        Distinct, canonical, best first.
    scores : DoubleTensor (up to num,)
    """
    space = limits.space
    rows = torch.empty(0, space.num_slots, dtype=torch.long)
    keys, scores = torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.float64)
    is_expanded, new = torch.empty(0, dtype=torch.bool), candidates
    best = torch.empty(0, dtype=torch.long)
    changes, watched = max(1, int((space.drawn_sizes - 1).sum())), max(BEAM, num)
    for _ in range(ROUNDS):
        new = space.canonical(new[space.is_valid(new)])
        new = new[limits.within(new)] if limits else new
        of_new = space.codes(new)
        first = first_of_each(of_new)[0]
        first = first[~torch.isin(of_new[first], keys)]
        rows, keys = torch.cat([rows, new[first]]), torch.cat([keys, of_new[first]])
        scores = torch.cat([scores, score(new[first])])
        is_expanded = torch.cat([is_expanded, torch.zeros(len(first), dtype=torch.bool)])
        before, best = best, scores.argsort(descending=True, stable=True)
        if torch.equal(before[:watched], best[:watched]):
            break
        parents = best[:watched]
        parents = parents[~is_expanded[parents]][: max(1, NEIGHBOURS_AT_ONCE // changes)]
        if not len(parents):
            break
        is_expanded[parents] = True
        new = neighbours(space, rows[parents]).flatten(0, 1)
    return rows[best[:num]], scores[best[:num]]


def _num_climbed(limits: Limits) -> int:
    """How many random architectures are improved: so few that their neighbours are a quarter of a round's at most."""
    changes = max(1, int((limits.space.drawn_sizes - 1).sum()))
    return min(CLIMBED_WITHIN if limits else CLIMBED, NEIGHBOURS_AT_ONCE // 4 // changes)


def best_by(
    posterior: Posterior, samples: torch.Tensor, limits: Limits, num: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best architectures by a posterior mean: of all, where they are few, else found from several starts.

    These are samples, evaluated and random architectures. Changing one slot does not lead from every good architecture
    to every other (from narrow and deep ones within limits to wide ones, or to other inputs of a node), and samples
    may be of one sort: some random ones are first improved, each for itself, as far as changing one slot can.

    Returns
    -------
    rows : LongTensor (up to num, slots)
    scores : FloatTensor (up to num,)
        Their posterior means.
    """
    space, reference = limits.space, posterior.kernel.reference
    everything = space.valid_rows if not limits else limits.pool if limits.is_complete else None
    if everything is not None and len(everything) <= FEW:
        return ordered_by(posterior, space.classes(everything)[0], limits, num)

    def cost(rows: torch.Tensor) -> torch.Tensor:
        costs = -posterior.mean(rows)
        return torch.where(limits.within(rows), costs, torch.inf) if limits else costs

    start = reference[limits.within(reference)] if limits else reference[:RANDOM]
    climbed = descend(space, cost, start, _num_climbed(limits))
    candidates = torch.cat([samples, posterior.evaluations.indices, reference[:RANDOM], climbed])
    rows, scores = refined(candidates, posterior.mean, limits, num)
    return rows, scores.float()


def ordered_by(
    posterior: Posterior, samples: torch.Tensor, limits: Limits, num: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples as they came, at most `num`, ordered by a posterior mean; results and limits as of `best_by`."""
    scores = posterior.mean(samples).float()
    order = scores.argsort(descending=True, stable=True)[:num]
    return samples[order], scores[order]


def sampled_and_ranked(sampler: Sampler, posterior: Posterior) -> tuple[SampleSet, torch.Tensor, torch.Tensor]:
    """The samples of a call, the architectures that it returns, best first, and their scores.

    Distinct ones are the best by the posterior mean, for which few samples are enough to start from; more are drawn
    where changes of one slot lead to too few. An interrupted call returns what it has sampled.

    Returns
    -------
    samples : SampleSet
    rows : LongTensor (up to as many as the settings ask for, slots)
    scores : FloatTensor (as many,)
    """
    num, limits, hooks = sampler.settings.num_architectures, sampler.limits, sampler.hooks
    if not sampler.settings.distinct:
        samples = sampler.run()
        return samples, *ordered_by(posterior, samples.indices.cpu(), limits, num)

    def ranked() -> tuple[torch.Tensor, torch.Tensor]:
        return (ordered_by if hooks.is_interrupted else best_by)(posterior, samples.indices.cpu(), limits, num)

    samples = sampler.run(STARTING_ROUNDS)
    rows, scores = ranked()
    if len(rows) < num and not hooks.is_interrupted:
        samples.indices = rows.to(samples.indices.device)  # all that were found
        samples = sampler.run(found=samples)
        rows, scores = ranked()
    hooks.on_found(max(0, len(rows) - len(samples)))  # those that were never sampled
    return samples, rows, scores
