"""The denoiser under the condition of one call: guided logits of the clean choices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from ..modeling_denoiser import ArchitectureDenoiser, Condition, EncodedCondition
from ..priors.prior import Prior
from ..spaces import SearchSpace, TaskLike
from .settings import GUIDANCE

NOISES = 64  # noised samples that probabilities of choices are averaged over
LEAST_LOG_PROBABILITY = -20.0  # of a choice that is not generated


@dataclass(frozen=True)
class ConditionedDenoiser:
    """A denoiser with its condition: a space, a prior and a task.

    Attributes
    ----------
    denoiser, space, condition
    excluded : BoolTensor (slots, choices) or None
        Choices that are not generated: those that are not drawn (`Choice.is_drawn`), unless good architectures of the
        prior have them. None if there are none.
    """

    denoiser: ArchitectureDenoiser
    space: SearchSpace
    condition: Condition
    excluded: torch.Tensor | None

    @classmethod
    def of(
        cls, denoiser: ArchitectureDenoiser, space: SearchSpace, prior: Prior, task: TaskLike | None, similarity: float
    ) -> ConditionedDenoiser:
        """Make the condition; `similarity` is that of the space to the training spaces, 0 to 1."""
        condition = denoiser.make_condition(space, prior, task, similarity)
        excluded = space.choice_mask & ~prior.possible_choices()
        return cls(denoiser, space, condition, excluded.to(condition.choice_mask.device) if excluded.any() else None)

    @cached_property
    def conditional(self) -> EncodedCondition:
        """The condition, encoded."""
        return self.denoiser.encode(self.condition)

    @cached_property
    def unconditional(self) -> EncodedCondition:
        """The condition with the prior dropped, encoded."""
        return self.denoiser.encode(self.condition.unconditional())

    def logits(self, sample: torch.Tensor, timestep: torch.Tensor, guidance_scale: float) -> torch.Tensor:
        """Logits of the clean choices with classifier-free guidance (Ho and Salimans, 2022).

        Parameters
        ----------
        sample
            ``x_t``, ``LongTensor (batch, slots)``
        guidance_scale
            w in ``(1 + w) * conditional - w * unconditional``.

        Returns
        -------
        FloatTensor (batch, slots, choices)
            Minus infinity where a slot has no such choice, or it is not generated.
        """
        logits = self.denoiser(sample, timestep, self.conditional)
        if self.excluded is not None:
            logits = logits.masked_fill(self.excluded, -torch.inf)
        if guidance_scale == 0:
            return logits
        unconditional = self.denoiser(sample, timestep, self.unconditional)
        guided = (1 + guidance_scale) * logits - guidance_scale * unconditional
        return torch.where(logits.isfinite(), guided, logits)

    def log_probabilities(self, stationary: torch.Tensor, timestep: int) -> torch.Tensor:
        """Logarithms of the probabilities of clean choices, in one step from noise, ``FloatTensor (slots, choices)``.

        Averaged over `NOISES` draws of the noise, always the same, with a guidance scale of 1; on the CPU.

        Parameters
        ----------
        stationary
            Distribution of the noise, ``FloatTensor (slots, choices)``.
        timestep
            The scheduler's last.
        """
        noise = torch.multinomial(
            stationary.cpu().clamp(min=0), NOISES, True, generator=torch.Generator().manual_seed(0)
        )
        sample = noise.T.contiguous().to(stationary.device)
        time = torch.tensor(float(timestep), device=stationary.device)
        probabilities = self.logits(sample, time, GUIDANCE).float().softmax(-1).mean(0)
        return probabilities.log().clamp(min=LEAST_LOG_PROBABILITY).cpu()
