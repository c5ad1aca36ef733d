"""Rounds of sampling until a call has enough architectures."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from ..budgets.limits import Limits
from ..errors import TooFew
from ..scheduling_prior_discrete import PriorDiscreteScheduler
from .batches import PATIENCE, BatchSampler, Streams
from .duplicates import first_of_each
from .hooks import Hooks
from .model import ConditionedDenoiser
from .settings import GenerationSettings

# Set by hand to bound the time of a call; no ablation compares other values.
MAX_ROUNDS = 50  # fruitless rounds in a row before a call gives up
MIN_BATCH = 64  # samples of a round of the single stream
MAX_GROWN_BATCH = 1024  # to which that minimum doubles, round by round, after `PATIENCE` poor rounds


@dataclass
class SampleSet:
    """Accepted samples of one call: valid, and within the limits.

    Attributes
    ----------
    indices : LongTensor (n, slots)
    counts : FloatTensor (n,)
        How often each architecture was sampled.
    num_raw, num_valid : int
        Number of raw samples, and of valid ones among them.
    scores : FloatTensor (n,) or None
        The denoiser's scores with the prior, where they were computed to choose among candidates.
    """

    indices: torch.Tensor
    counts: torch.Tensor
    num_raw: int = 0
    num_valid: int = 0
    scores: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def validity(self) -> float:
        """Share of the raw samples that were valid."""
        return self.num_valid / max(1, self.num_raw)


class Sampler:
    """One call of the pipeline: samples rounds of batches and keeps what is accepted.

    Parameters
    ----------
    settings, limits
        Of the call; without limits, `limits` is false.
    model
        The denoiser with its condition.
    scheduler
        With the timesteps of the call.
    stationary
        Stationary distribution of the noise, ``FloatTensor (slots, choices)``.
    hooks
        Interruption, callbacks and progress.
    """

    def __init__(
        self,
        settings: GenerationSettings,
        model: ConditionedDenoiser,
        scheduler: PriorDiscreteScheduler,
        stationary: torch.Tensor,
        limits: Limits,
        hooks: Hooks,
    ) -> None:
        self.settings, self.model, self.limits, self.hooks = settings, model, limits, hooks
        self.batches = BatchSampler(settings, model, scheduler, stationary, limits, hooks)
        self.space = model.space
        self.device = stationary.device
        self.streams = Streams(settings, limits, self.device)

    @property
    def highest_temperature(self) -> float:
        """The highest temperature of a stream, as of the last round."""
        return max(self.settings.temperature, float(self.streams.temperatures.max()))

    def run(self) -> SampleSet:
        """Sample until there are as many architectures as the settings ask for, or the call is interrupted.

        Raises
        ------
        TooFew
            If `MAX_ROUNDS` rounds in a row find nothing more.
        """
        indices = torch.empty(0, self.space.num_slots, dtype=torch.long, device=self.device)
        found = SampleSet(indices, torch.zeros(0, dtype=torch.float32, device=self.device))
        if self.settings.distinct:
            self._distinct(found)
        elif isinstance(self.settings.generator, list):
            self._one_of_each_stream(found)
        else:
            self._independent(found)
        if not self.settings.distinct:
            first, which = first_of_each(self.space.keys(found.indices))
            found.counts = which.bincount(minlength=len(first)).float()[which]
        return found

    def _distinct(self, found: SampleSet) -> None:
        """Add distinct architectures, as many as are asked for or more; samples of all streams are pooled."""
        number = self.settings.num_architectures
        turns = itertools.cycle(torch.arange(self.settings.num_streams).split(self.settings.max_groups))
        while len(found) < number and not self.hooks.is_interrupted:
            before, missing = len(found), number - len(found)
            is_list = isinstance(self.settings.generator, list)
            samples, accepted = self._round(next(turns) if is_list else self._single_stream(missing), found)
            indices = torch.cat([found.indices, samples[accepted]])
            counts = torch.cat([found.counts, found.counts.new_ones(len(indices) - before)])
            first, which = first_of_each(self.space.keys(indices))
            found.indices = indices[first]
            found.counts = counts.new_zeros(len(first)).index_add_(0, which, counts)
            new = len(found) - before
            self.streams.end_round(new, len(samples), is_last=new >= missing)
            self._end_round(found, min(new, missing), "distinct architectures")

    def _independent(self, found: SampleSet) -> None:
        """Add samples of the single stream, each the highest scored of its candidates."""
        number = self.settings.num_architectures
        while len(found) < number and not self.hooks.is_interrupted:
            before, missing = len(found), number - len(found)
            streams = torch.zeros(min(missing, self.settings.max_groups), dtype=torch.long)
            if self.streams.poor > PATIENCE:
                streams = self._single_stream(len(streams))
            is_accepted = self._add_best_candidates(streams, found, missing)
            self.streams.end_round(int(is_accepted.sum()), len(streams), is_last=len(found) >= number)
            self._end_round(found, len(found) - before, "architectures")

    def _one_of_each_stream(self, found: SampleSet) -> None:
        """Add one sample of each stream, the highest scored of its candidates; streams do not affect each other."""
        pending = torch.arange(self.settings.num_streams)
        while len(pending) and not self.hooks.is_interrupted:
            streams, later = pending[: self.settings.max_groups], pending[self.settings.max_groups :]
            is_accepted = self._add_best_candidates(streams, found, len(streams))
            failed = streams[~is_accepted.cpu()]
            pending = torch.cat([failed, later])
            self.streams.fail(failed)
            self._end_round(found, len(streams) - len(failed), "architectures")

    # ------------------------------------------------------------------ one round

    def _single_stream(self, missing: int) -> torch.Tensor:
        """Groups of a round of the single stream: as many as are missing, with a minimum that poor rounds raise."""
        samples = min(MIN_BATCH * 2 ** max(0, self.streams.poor - PATIENCE), MAX_GROWN_BATCH)
        groups = max(missing, samples // self.settings.num_candidates)
        return torch.zeros(min(self.settings.max_groups, groups), dtype=torch.long)

    def _round(self, streams: torch.Tensor, found: SampleSet) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples of a batch, and which are valid and within the limits; the steering learns from their costs."""
        samples = self.batches.sample(streams, self.streams)
        if self.space.is_conditional:  # nobody should see what stands in slots without effect
            samples = self.space.canonical(samples)
        valid = self.space.is_valid(samples)
        found.num_raw, found.num_valid = found.num_raw + len(samples), found.num_valid + int(valid.sum())
        if not self.limits:
            return samples, valid
        of_samples = streams.to(samples.device).repeat_interleave(self.settings.num_candidates)
        self.streams.steering.learn(samples[valid], of_samples[valid])
        return samples, valid & self.limits.within(samples)

    def _add_best_candidates(self, streams: torch.Tensor, found: SampleSet, missing: int) -> torch.Tensor:
        """Add the highest scored accepted candidate of each group, `missing` at most; which groups have one."""
        samples, accepted = self._round(streams, found)
        scores = self.model.scores(samples).masked_fill(~accepted, -torch.inf).view(len(streams), -1)
        start = self.settings.num_candidates * torch.arange(len(streams), device=samples.device)
        best = scores.argmax(1) + start
        is_accepted = accepted[best]
        chosen = best[is_accepted][:missing]
        before = scores.new_empty(0) if found.scores is None else found.scores
        found.indices = torch.cat([found.indices, samples[chosen]])
        found.scores = torch.cat([before, scores.flatten()[chosen]])
        return is_accepted

    def _end_round(self, found: SampleSet, new: int, kind: str) -> None:
        """Report progress; raise TooFew after `MAX_ROUNDS` fruitless rounds."""
        if int(self.streams.fruitless.max()) >= MAX_ROUNDS:
            wanted = self.settings.num_architectures
            if self.limits:
                raise self.limits.too_few(wanted, found.indices.cpu(), kind)
            raise TooFew(
                f"{wanted:,} {kind} of {self.space.name} were asked for, but {len(found):,} could be had: "
                f"{found.num_valid:,} of {found.num_raw:,} samples were valid; ask for fewer",
                found.indices.cpu(),
            )
        self.hooks.on_found(new)
