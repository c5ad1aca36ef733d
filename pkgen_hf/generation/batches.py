"""Sampling of one batch: the denoising steps from noise to architectures."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ..budgets.limits import Limits
from ..budgets.steering import Steering
from ..scheduling_prior_discrete import PriorDiscreteScheduler
from ..spaces.protocols import GeneratorArg
from .duplicates import distinct_rows
from .hooks import Hooks
from .model import ConditionedDenoiser
from .settings import GenerationSettings

# Set by hand to bound the time of a call; no ablation compares other values.
PATIENCE = 10  # rounds in a row: fruitless ones until the pool is drawn from, poor ones until batches grow
TEMPERATURE_FACTOR = 1.5  # of the temperature after a poor round
POOR = 20  # a round is poor if fewer than one in so many samples is new
COLDEST = 1e-6  # temperature: dividing logits by less changes no sample, and may overflow


class Streams:
    """State of the streams of samples of one call, adapted after each round.

    With a list of generators each of them has a stream of its own; else there is one stream.

    Attributes
    ----------
    temperatures : FloatTensor (streams,)
    fruitless : LongTensor (streams,)
        Rounds in a row without a new architecture.
    poor : int
        Poor rounds in a row.
    steering : Steering
    """

    def __init__(self, settings: GenerationSettings, limits: Limits, device: torch.device) -> None:
        number, temperature = settings.num_streams, max(settings.temperature, COLDEST)
        self.temperatures = torch.full((number,), temperature, dtype=torch.float32, device=device)
        self.fruitless = torch.zeros(number, dtype=torch.long)
        self.poor = 0
        self.steering = Steering(limits, number, device)

    def end_round(self, new: int, sampled: int, is_last: bool) -> None:
        """Adapt all streams together: so many samples gave `new` architectures; `is_last` if that is enough."""
        self.fruitless = torch.zeros_like(self.fruitless) if new else self.fruitless + 1
        self.poor = self.poor + 1 if new * POOR < sampled else 0
        if self.poor and not is_last:
            self.temperatures *= TEMPERATURE_FACTOR

    def fail(self, streams: torch.Tensor) -> None:
        """Adapt single streams, ``LongTensor (n,)``, that found nothing in a round."""
        self.fruitless[streams] += 1
        self.temperatures[streams.to(self.temperatures.device)] *= TEMPERATURE_FACTOR


@dataclass(frozen=True)
class BatchSampler:
    """Samples batches for one call.

    Attributes
    ----------
    settings, model, limits, hooks
        Of the call.
    scheduler
        With the timesteps of the call.
    stationary
        Stationary distribution of the noise, ``FloatTensor (slots, choices)``.
    pool : LongTensor (n, slots) or None
        `Limits.pool` on the device of the samples.
    """

    settings: GenerationSettings
    model: ConditionedDenoiser
    scheduler: PriorDiscreteScheduler
    stationary: torch.Tensor
    limits: Limits
    hooks: Hooks
    pool: torch.Tensor | None = field(init=False)

    def __post_init__(self) -> None:
        pool = self.limits.pool
        object.__setattr__(self, "pool", None if pool is None else pool.to(self.stationary.device))

    def sample(self, streams: torch.Tensor, state: Streams) -> torch.Tensor:
        """Raw samples, valid or not.

        Parameters
        ----------
        streams
            Stream of each sample, ``LongTensor (batch,)``.

        Returns
        -------
        LongTensor (batch, slots)
        """
        generator = self.settings.generator
        if isinstance(generator, list):
            generator = [generator[i] for i in streams.tolist()]
        streams = streams.to(self.stationary.device)
        sample = self.scheduler.initial_sample(self.stationary, len(streams), generator)
        last = len(self.scheduler.timesteps) - 1
        for step, timestep in enumerate(self.scheduler.timesteps):
            logits = self._logits(sample, timestep, step >= (last + 1) // 2, streams, state)
            previous = self._step(logits, timestep, sample, generator)
            if step == last:
                at = self._rejected(previous, streams, state)
                if len(at):
                    own = [generator[i] for i in at.tolist()] if isinstance(generator, list) else generator
                    previous[at] = self._step(logits[at], timestep, sample[at], own, self.pool)
            sample = self.hooks.end_step(self.settings, self.model.space, step, int(timestep), previous)
            if self.hooks.is_interrupted:
                break
        return sample

    def _logits(
        self, sample: torch.Tensor, timestep: torch.Tensor, is_guided: bool, streams: torch.Tensor, state: Streams
    ) -> torch.Tensor:
        """Logits of the clean choices: guided, divided by the temperature, steered below the limits."""
        inverse = None
        if not isinstance(self.settings.generator, list):
            # in a single stream, equal samples have equal logits: the denoiser runs once for each distinct one
            sample, inverse = distinct_rows(self.model.space, sample)
            streams = streams[:1]
        # no guidance in the first half of the steps, where most of a sample is noise: it would cost a call for nothing
        logits = self.model.logits(sample, timestep, self.settings.guidance_scale if is_guided else 0.0)
        logits = logits.float() / state.temperatures[streams][:, None, None]
        if self.limits:
            ratio = self.scheduler.log_likelihood_ratio(timestep, sample, self.stationary)
            log_likelihood = torch.zeros_like(logits).scatter_(-1, sample[..., None], ratio[..., None])
            logits = state.steering.tilt(logits, log_likelihood, streams)
        return logits if inverse is None else logits[inverse]

    def _step(
        self,
        logits: torch.Tensor,
        timestep: torch.Tensor,
        sample: torch.Tensor,
        generator: GeneratorArg,
        support: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One reverse step, ``LongTensor (batch, slots)``; given a support, conditioned on ending there."""
        step = self.scheduler.step(
            logits, timestep, sample, self.stationary, generator, return_dict=False, support=support
        )
        return step[0]

    def _rejected(self, sample: torch.Tensor, streams: torch.Tensor, state: Streams) -> torch.Tensor:
        """Positions of the final samples to draw again from the pool, ``LongTensor (n,)``.

        These are samples that are invalid or exceed a limit; where the pool is not complete, only those of streams
        that found nothing for a while.
        """
        if self.pool is None:
            return streams.new_empty(0)
        rejected = ~(self.model.space.is_valid(sample) & self.limits.within(sample))
        if not self.limits.is_complete:
            rejected &= (state.fruitless > PATIENCE).to(streams.device)[streams]
        return rejected.nonzero()[:, 0]
