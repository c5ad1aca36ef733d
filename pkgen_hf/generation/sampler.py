"""Rounds of sampling until a call has enough architectures."""

from __future__ import annotations

import copy
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
from .settings import GUIDANCE, MAX_BATCH, STEPS, TEMPERATURE, GenerationSettings

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
    num_raw, num_valid : int
        Number of raw samples, and of valid ones among them.
    """

    indices: torch.Tensor
    num_raw: int = 0
    num_valid: int = 0

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
        self._rounds_left: int | None = None
        self.batches = BatchSampler(settings, model, scheduler, stationary, limits, hooks)
        self.space = model.space
        self.device = stationary.device
        self.streams = Streams(settings, limits, self.device)

    @property
    def highest_temperature(self) -> float:
        """The highest temperature of a stream, as of the last round."""
        return max(self.settings.temperature, float(self.streams.temperatures.max()))

    @property
    def is_over(self) -> bool:
        """Whether no other round is to begin, even if more is missing."""
        return self.hooks.is_interrupted or self._rounds_left == 0

    def run(self, max_rounds: int | None = None, found: SampleSet | None = None) -> SampleSet:
        """Sample until there are as many architectures as the settings ask for, or the call is interrupted.

        Parameters
        ----------
        max_rounds
            After so many rounds, fruitful or not, it ends with what it has found; None for any number.
        found
            Of a run before, to add to.

        Raises
        ------
        TooFew
            If `MAX_ROUNDS` rounds in a row find nothing more.
        """
        self._rounds_left = max_rounds
        if found is None:
            found = SampleSet(torch.empty(0, self.space.num_slots, dtype=torch.long, device=self.device))
        if self.settings.distinct:
            self._distinct(found)
        elif isinstance(self.settings.generator, list):
            self._one_of_each_stream(found)
        else:
            self._independent(found)
        return found

    def _distinct(self, found: SampleSet) -> None:
        """Add distinct architectures, as many as are asked for or more; samples of all streams are pooled."""
        number = self.settings.num_architectures
        turns = itertools.cycle(torch.arange(self.settings.num_streams).split(MAX_BATCH))
        while len(found) < number and not self.is_over:
            before, missing = len(found), number - len(found)
            is_list = isinstance(self.settings.generator, list)
            samples, accepted = self._round(next(turns) if is_list else self._single_stream(missing), found)
            indices = torch.cat([found.indices, samples[accepted]])
            found.indices = indices[first_of_each(self.space.keys(indices))[0]]
            new = len(found) - before
            self.streams.end_round(new, len(samples), is_last=new >= missing)
            self._end_round(found, min(new, missing), "distinct architectures")

    def _independent(self, found: SampleSet) -> None:
        """Add samples of the single stream, as they come."""
        number = self.settings.num_architectures
        while len(found) < number and not self.is_over:
            before, missing = len(found), number - len(found)
            streams = torch.zeros(min(missing, MAX_BATCH), dtype=torch.long)
            if self.streams.poor > PATIENCE:
                streams = self._single_stream(len(streams))
            samples, accepted = self._round(streams, found)
            found.indices = torch.cat([found.indices, samples[accepted][:missing]])
            self.streams.end_round(int(accepted.sum()), len(streams), is_last=len(found) >= number)
            self._end_round(found, len(found) - before, "architectures")

    def _one_of_each_stream(self, found: SampleSet) -> None:
        """Add one sample of each stream; streams do not affect each other."""
        pending = torch.arange(self.settings.num_streams)
        while len(pending) and not self.is_over:
            streams, later = pending[:MAX_BATCH], pending[MAX_BATCH:]
            samples, accepted = self._round(streams, found)
            found.indices = torch.cat([found.indices, samples[accepted]])
            failed = streams[~accepted.cpu()]
            pending = torch.cat([failed, later])
            self.streams.fail(failed)
            self._end_round(found, len(streams) - len(failed), "architectures")

    # ------------------------------------------------------------------ one round

    def _single_stream(self, missing: int) -> torch.Tensor:
        """Samples of a round of the single stream: as many as are missing, with a minimum that poor rounds raise."""
        least = min(MIN_BATCH * 2 ** max(0, self.streams.poor - PATIENCE), MAX_GROWN_BATCH)
        return torch.zeros(min(MAX_BATCH, max(missing, least)), dtype=torch.long)

    def _round(self, streams: torch.Tensor, found: SampleSet) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples of a batch, and which are valid and within the limits; the steering learns from their costs."""
        samples = self.batches.sample(streams, self.streams)
        if self.space.is_conditional:  # nobody should see what stands in slots without effect
            samples = self.space.canonical(samples)
        valid = self.space.is_valid(samples)
        found.num_raw, found.num_valid = found.num_raw + len(samples), found.num_valid + int(valid.sum())
        if not self.limits:
            return samples, valid
        of_samples = streams.to(samples.device)
        self.streams.steering.learn(samples[valid], of_samples[valid])
        return samples, valid & self.limits.within(samples)

    def _end_round(self, found: SampleSet, new: int, kind: str) -> None:
        """Report progress; raise TooFew after `MAX_ROUNDS` fruitless rounds."""
        if self._rounds_left is not None:
            self._rounds_left -= 1
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


def as_they_come(
    model: ConditionedDenoiser,
    scheduler: PriorDiscreteScheduler,
    stationary: torch.Tensor,
    num: int,
    seed: int,
    steps: int = STEPS,
    guidance_scale: float = GUIDANCE,
    temperature: float = TEMPERATURE,
) -> torch.Tensor:
    """Samples without limits, progress bar and callbacks, ``LongTensor (n, slots)``.

    On the CPU; fewer than `num` only where few are valid, after `MAX_ROUNDS` rounds. The parameters are those of
    `Sampler` and of a call, with a seed.
    """
    scheduler = copy.copy(scheduler)
    scheduler.set_timesteps(steps)
    settings = GenerationSettings(num, False, steps, guidance_scale, temperature, torch.Generator().manual_seed(seed))
    try:
        sampler = Sampler(settings, model, scheduler, stationary, Limits(model.space), Hooks())
        samples = sampler.run(MAX_ROUNDS).indices
    except TooFew as error:
        samples = error.rows
    return samples.cpu()
