"""Candidates: architectures that the next proposals are chosen from, and which of them are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from ..budgets.limits import Limits
from ..evidence.evaluations import Evaluations
from ..evidence.posterior import Posterior
from ..generation.duplicates import first_of_each
from ..generation.refinement import refined
from ..inputs import whole_number
from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..spaces import SearchSpace, TaskLike, get_space
from .record import Record, stacked

SPARE = 256  # best candidates, beside those that are taken or asked for, that proposals are chosen from
RANDOM = 512  # random architectures beside them
# Standard deviations that are added to the mean: more explores more.
EXPLORATION = 0.5
# Every so many proposals one is a control, until there are so many of the worse half.
CONTROL_EVERY, CONTROLS = 5, 4
FILLING = tuple(4**k for k in range(3, 10))  # random architectures, in turn, where candidates are too few
LARGEST_SEED = 2**40  # a generator's own seed has 64 bits, and is a multiple of this one
SEED_STEP = 1_000_003  # a prime larger than any number of evaluations, so that seeds share no generator


@dataclass(frozen=True)
class Candidates:
    """Where proposals come from: the pipeline, for a space and task, and the prior and seed at the start."""

    pipe: PKGenPipeline
    space: SearchSpace
    task: TaskLike | None
    prior: Prior
    seed: int

    @classmethod
    def of(
        cls,
        pipe: PKGenPipeline,
        space: str | SearchSpace,
        task: TaskLike | None,
        prior: Prior | None,
        seed: int,
    ) -> Candidates:
        """Candidates as users ask for them; ValueError for an unknown space or task, or a seed that cannot be."""
        space = get_space(space)
        task, seed = space.resolved(task), whole_number("seed", seed, 0, LARGEST_SEED)
        return cls(pipe, space, task, pipe.select_prior(space, task, prior), seed)

    @cached_property
    def pool(self) -> torch.Tensor:
        """What the pipeline samples before any score is known, ``LongTensor (n, slots)``."""
        return self.pipe.carried_samples(self.space, self.task, self.prior, self.seed * SEED_STEP)

    def best(self, record: Record, num: int, fixed: Mapping[int, int] | None = None) -> torch.Tensor:
        """The next architectures to evaluate, in order, ``LongTensor (num, slots)``.

        Of random ones, and of those of the highest upper confidence bound that changing one slot of the pool, of
        evaluated and of random architectures leads to, the highest are taken one after the other, as if each had been
        evaluated with the score that is expected. Some of the first are controls instead, see `_controls`: scores only
        order what was evaluated, and where all of that was expected to be good, they say nothing of the rest.

        Parameters
        ----------
        record
            What was evaluated and what is pending.
        num
            How many.
        fixed
            The choice of each slot, by its place, that is not free.

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
        candidates, _ = refined(self._with(fixed, start), bound, Limits(self.space), num + len(taken) + SPARE)
        candidates = torch.cat([candidates, posterior.kernel.reference[:RANDOM]])
        candidates = self._filled(candidates, taken, num, fixed)
        pending = stacked(self.space, record.pending)
        controls, turns = self._controls(posterior, candidates, taken, num, fixed)
        return candidates[posterior.batch(candidates, num, EXPLORATION, pending, controls, turns)]

    def _controls(
        self,
        posterior: Posterior,
        candidates: torch.Tensor,
        taken: torch.Tensor,
        num: int,
        fixed: Mapping[int, int] | None,
    ) -> tuple[torch.Tensor, list[int]]:
        """Candidates that are random and of the worse half by what is carried over, and when they are due.

        Returns
        -------
        LongTensor (c,), list of int
            Positions of the candidates, in the order of the seed, and which of the `num` proposals are controls. Of
            all that is told or asked for, each fifth of the first twenty is one, and later each fifth until four are
            of that half.
        """
        due = [turn for turn in range(num) if (len(taken) + turn) % CONTROL_EVERY == CONTROL_EVERY - 1]
        random = self._with(fixed, posterior.kernel.reference[:RANDOM])
        if not due or not len(random):
            return torch.empty(0, dtype=torch.long), []
        random = random[torch.randperm(len(random), generator=torch.Generator().manual_seed(self.seed * SEED_STEP))]
        expected = posterior.carried.mean(posterior.carried.inputs(torch.cat([random, taken])))
        average = expected[: len(random)].median()
        lacking = max(0, CONTROLS - int((expected[len(random) :] < average).sum()))
        first = [turn for turn in due if len(taken) + turn < CONTROL_EVERY * CONTROLS]
        worse = random[expected[: len(random)] < average]  # none where nothing is expected
        found = self.space.keys(worse)[:, None] == self.space.keys(candidates)
        return found.int().argmax(1)[found.any(1)], due[: max(len(first), lacking)]

    def _with(self, fixed: Mapping[int, int] | None, rows: torch.Tensor) -> torch.Tensor:
        """Architectures with fixed choices, those that are valid with them."""
        if not fixed:
            return rows
        rows = rows.clone()
        rows[:, list(fixed)] = torch.tensor(list(fixed.values()))
        return rows[self.space.is_valid(rows)]

    def _filled(
        self, rows: torch.Tensor, taken: torch.Tensor, num: int, fixed: Mapping[int, int] | None
    ) -> torch.Tensor:
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
            rows = self._with(fixed, rows)
            keys = self.space.keys(rows)
            first = first_of_each(keys)[0]
            rows = rows[first[~torch.isin(keys[first], taken_keys)]]
            if len(rows) >= num:
                return rows
        chosen = " with the fixed choices" if fixed else ""
        raise ValueError(
            f"{num:,} architectures of {self.space.name}{chosen} were asked for, but {len(rows):,} could be found "
            f"beside the {len(taken):,} that were told or are pending; ask for fewer"
        )
