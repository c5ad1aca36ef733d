"""Candidates: architectures that the next proposals are chosen from, and which of them are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from ..budgets.limits import Limits
from ..evidence.evaluations import Evaluations
from ..generation.duplicates import first_of_each
from ..generation.refinement import refined
from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..spaces import SearchSpace, TaskLike
from .record import Record, stacked

SPARE = 256  # best candidates, beside those that are taken or asked for, that proposals are chosen from
RANDOM = 512  # random architectures beside them
# Standard deviations that are added to the mean: more explores more.
EXPLORATION = 0.5
FILLING = tuple(4**k for k in range(3, 10))  # random architectures, in turn, where candidates are too few
SEED_STEP = 1_000_003  # a prime larger than any number of evaluations, so that seeds share no generator


@dataclass(frozen=True)
class Candidates:
    """Where proposals come from: the pipeline, for a space and task, and the prior and seed at the start."""

    pipe: PKGenPipeline
    space: SearchSpace
    task: TaskLike | None
    prior: Prior
    seed: int

    @cached_property
    def pool(self) -> torch.Tensor:
        """What the pipeline samples before any score is known, ``LongTensor (n, slots)``."""
        return self.pipe.carried_samples(self.space, self.task, self.prior, self.seed * SEED_STEP)

    def best(self, record: Record, num: int) -> torch.Tensor:
        """The next architectures to evaluate, best first, ``LongTensor (num, slots)``.

        Of random ones, and of those of the highest upper confidence bound that changing one slot of the pool, of
        evaluated and of random architectures leads to, the highest are taken one after the other, as if each had been
        evaluated with the score that is expected.

        Raises
        ------
        ValueError
            If there are not enough.
        """
        evaluations = Evaluations.of(self.space, (record.rows(self.space), record.values_or_nan))
        posterior = self.pipe.posterior(self.space, self.task, self.prior, evaluations, self.pool)

        def bound(rows: torch.Tensor) -> torch.Tensor:
            mean, deviation = posterior(rows)
            return mean + EXPLORATION * deviation

        taken = stacked(self.space, record.taken)
        start = torch.cat([self.pool, evaluations.indices, posterior.kernel.reference])
        candidates, _ = refined(start, bound, Limits(self.space), num + len(taken) + SPARE)
        candidates = self._filled(torch.cat([candidates, posterior.kernel.reference[:RANDOM]]), taken, num)
        pending = stacked(self.space, record.pending)
        return candidates[posterior.batch(candidates, num, EXPLORATION, pending)]

    def _filled(self, rows: torch.Tensor, taken: torch.Tensor, num: int) -> torch.Tensor:
        """Those that are not taken, with random ones after them where they are fewer than `num`."""
        generator = torch.Generator().manual_seed(self.seed * SEED_STEP + len(taken))
        taken_keys = self.space.keys(taken)
        for more in (0, *FILLING):
            if more:
                listed = self.space.valid_rows
                if listed is None:
                    found = self.space.sample(more + 4 * num, generator)
                    found = found[self.space.is_valid(found)]
                else:
                    found = listed[self.space.is_drawn(listed)]
                rows = torch.cat([rows, self.space.canonical(found)])
            keys = self.space.keys(rows)
            first = first_of_each(keys)[0]
            rows = rows[first[~torch.isin(keys[first], taken_keys)]]
            if len(rows) >= num:
                return rows
        raise ValueError(
            f"{num:,} architectures of {self.space.name} were asked for, but {len(rows):,} could be found beside "
            f"the {len(taken):,} that were told or are pending; ask for fewer"
        )
