"""Candidates: architectures that the next proposals are chosen from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..errors import TooFew
from ..pipeline_pkgen import PKGenPipeline
from ..priors.from_evaluations import MIN_EVALUATIONS
from ..priors.prior import Prior
from ..spaces import SearchSpace, Task, TaskLike
from .record import Record, stacked

# Numbers of candidates from each source; chosen on NAS-Bench-201 and NAS-Bench-101 with 20 to 192 labels.
POOL = 512  # generated with the prior at the start, before any score is known
UPDATED = 128  # generated with the prior of the evaluations, each time
ELITE, OFFSPRING = 8, 128  # best architectures that are noised, and how often each
UNIFORM = 64  # uniform random ones, for where the prior is wrong
FILLING = tuple(4**k for k in range(3, 10))  # more random ones, in turn, where candidates are too few
NOISE = 8, 2  # elite architectures are noised to a random time between an eighth and half of the diffusion
SEED_STEP = 1_000_003  # a prime larger than any number of evaluations, so that seeds share no generator


@dataclass(frozen=True)
class Candidates:
    """Where candidates come from: the pipeline, for a space and task, and the prior and seed at the start."""

    pipe: PKGenPipeline
    space: SearchSpace
    task: TaskLike | None
    prior: Prior
    seed: int

    @cached_property
    def pool(self) -> torch.Tensor:
        """What the pipeline generates before any score is known, ``LongTensor (POOL, slots)``."""
        return self._generate(self.prior, POOL, torch.Generator().manual_seed(self.seed * SEED_STEP))

    def after(self, record: Record, num: int) -> torch.Tensor:
        """Distinct valid architectures that are not taken, at least `num`, ``LongTensor (candidates, slots)``.

        Raises
        ------
        ValueError
            If not enough are found.
        """
        done = len(record.means) + len(record.pending)
        generator = torch.Generator().manual_seed(self.seed * SEED_STEP + done)
        parts = [self.pool]
        if 2 * num > POOL:
            parts.append(self._generate(self.prior, 2 * num, generator))
        scores = list(record.scores.values())
        if len(record.means) >= MIN_EVALUATIONS and len(np.unique(np.asarray(scores, np.float32))) > 1:
            prior = self._updated_prior(record)
            parts.append(self._generate(prior, UPDATED, generator))
            parts.append(self._noised(record, prior, generator))
            parts.append(self.space.sample(UNIFORM, generator))
        return self._filled(parts, record, num, generator)

    def _generate(self, prior: Prior, num: int, generator: torch.Generator) -> torch.Tensor:
        """Distinct architectures by the pipeline, ``LongTensor (num, slots)``; fewer where it finds no more."""
        num = min(num, self.space.num_architectures)
        try:
            out = self.pipe(self.space, self.task, prior, num, num_candidates=1, generator=generator)
        except TooFew as error:
            return error.rows
        return stacked(self.space, out.architectures)

    def _updated_prior(self, record: Record) -> Prior:
        """The prior of all evaluations; a failed training counts as the worst score."""
        values = np.maximum(record.values, min(record.scores.values()))
        known = self.task if isinstance(self.task, Task) or self.task in self.space.tasks else None
        return Prior.from_evaluations(self.space, record.rows(self.space), values, known)

    def _noised(self, record: Record, prior: Prior, generator: torch.Generator) -> torch.Tensor:
        """The best architectures with some of the diffusion's own noise, ``LongTensor (ELITE * OFFSPRING, slots)``."""
        best = np.argsort(-record.values, kind="stable")[: min(ELITE, len(record.scores))].copy()
        rows = record.rows(self.space)[torch.from_numpy(best)].repeat_interleave(OFFSPRING, 0)
        scheduler = self.pipe.scheduler
        least, most = (scheduler.num_train_timesteps // part for part in NOISE)
        times = torch.randint(least, most, (len(rows),), generator=generator)
        return scheduler.add_noise(rows, times, scheduler.stationary(prior.distribution()), generator)

    def _filled(self, parts: list[torch.Tensor], record: Record, num: int, generator: torch.Generator) -> torch.Tensor:
        """The distinct valid ones of `parts` that are not taken, with random ones where they are fewer than `num`."""
        taken = record.taken
        taken_keys = self.space.keys(stacked(self.space, taken)).numpy()
        for more in (0, *FILLING):
            if more:
                listed = self.space.valid_rows
                if listed is None:
                    parts.append(self.space.sample(more + 4 * num, generator))
                else:
                    parts.append(listed[self.space.is_drawn(listed)])
            rows = torch.cat(parts)
            rows = self.space.canonical(rows[self.space.is_valid(rows)])
            keys = self.space.keys(rows).numpy()
            _, unique = np.unique(keys, return_index=True)
            unique = np.sort(unique[~np.isin(keys[unique], taken_keys)])
            if len(unique) >= num:
                return rows[torch.from_numpy(unique)]
            parts = [rows]
        raise ValueError(
            f"{num:,} architectures of {self.space.name} were asked for, but {len(unique):,} could be found beside "
            f"the {len(taken):,} that were told or are pending; ask for fewer"
        )
