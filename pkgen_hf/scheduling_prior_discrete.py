"""Discrete diffusion (D3PM) whose stationary distribution is a prior over architectures."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from torch.nn import functional as F

from .errors import unknown
from .spaces.protocols import GeneratorArg

SCHEDULES = ("cosine", "linear")
END_DISTRIBUTIONS = ("prior", "uniform")
MAX_TIMESTEPS = 1_000_000  # the schedule is a table of so many numbers
# Samples that are compared with a support at once: 1,024 of them and 16,000 architectures are 64 MB of float32.
SUPPORT_BATCH = 1024
# Smallest denominator of a log-likelihood ratio: at time 0 the ratio is infinite, its logarithm would be too.
MIN_CHANCE = 1e-6
MIN_LIKELIHOOD = 1e-20  # denominators below it are of clean choices that cannot have led to the noised one
MIN_PROBABILITY = 1e-30  # whose logarithm is still a finite float32


def draw_uniform(shape: tuple[int, ...], generator: GeneratorArg, device: torch.device | str = "cpu") -> torch.Tensor:
    """Uniform float32 numbers in [0, 1), from one generator, or from one for each sample of the batch.

    They are drawn on the generators' device and moved to `device`.
    """
    if isinstance(generator, list):
        if len(generator) != shape[0]:
            raise ValueError(f"{len(generator)} generators for a batch of {shape[0]}")
        rows = [torch.rand(shape[1:], generator=g, dtype=torch.float32, device=g.device) for g in generator]
        return torch.stack(rows).to(device)
    if generator is None:
        return torch.rand(shape, dtype=torch.float32, device=device)
    return torch.rand(shape, generator=generator, dtype=torch.float32, device=generator.device).to(device)


def draw_categorical(probabilities: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Indices ``(...)`` drawn from unnormalised ``(..., choices)`` with `uniform` ``(...)``, by cumulative sums."""
    cumulative = probabilities.cumsum(-1)
    index = (cumulative <= uniform[..., None] * cumulative[..., -1:]).sum(-1)
    # rounding can put the threshold at the end, past the last choice of nonzero probability
    last = probabilities.shape[-1] - 1 - (probabilities > 0).flip(-1).byte().argmax(-1)
    return torch.minimum(index, last)


def draw_among(probabilities: torch.Tensor, support: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Sample independent slots, conditioned on the result being in a support, ``LongTensor (batch, slots)``.

    Parameters
    ----------
    probabilities
        ``FloatTensor (batch, slots, choices)``
    support
        The possible results, ``LongTensor (results, slots)``, on any device.
    uniform
        ``FloatTensor (batch,)``
    """
    support = support.to(probabilities.device)
    one_hot = F.one_hot(support, probabilities.shape[-1]).flatten(1).float()
    drawn = []
    for part, chance in zip(probabilities.split(SUPPORT_BATCH), uniform.split(SUPPORT_BATCH), strict=True):
        log_likelihood = part.clamp(min=MIN_PROBABILITY).log().flatten(1) @ one_hot.T  # (batch, results)
        drawn.append(draw_categorical(log_likelihood.softmax(1), chance))
    return support[torch.cat(drawn)]


@dataclass
class PriorDiscreteSchedulerOutput(BaseOutput):
    """Result of `PriorDiscreteScheduler.step`.

    Attributes
    ----------
    prev_sample : LongTensor (batch, slots)
    pred_original_sample : FloatTensor (batch, slots, choices)
        Probabilities of the clean choices.
    """

    prev_sample: torch.Tensor
    pred_original_sample: torch.Tensor


class PriorDiscreteScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    r"""D3PM (Austin et al., 2021) with a prior as its stationary distribution.

    With :math:`m_s` the prior of slot s (a distribution over its choices) and :math:`\bar\alpha_t` falling from
    1 to 0:

    - forward: :math:`q(x_t | x_0) = \bar\alpha_t \delta_{x_0} + (1 - \bar\alpha_t)\, m`;
    - from s to t > s: :math:`q(x_t | x_s) = a\, \delta_{x_s} + (1 - a)\, m`, with
      :math:`a = \bar\alpha_t / \bar\alpha_s`;
    - reverse: :math:`p(x_s | x_t) = \sum_k p_\theta(x_0 = k | x_t)\, q(x_s | x_t, x_0 = k)`, in closed
      form for any stride;
    - slots are noised independently, so the likelihood of a slot's own noised choice is known in closed form and the
      denoiser need not learn it: :math:`p_\theta(x_0 = k | x_t) \propto f_\theta(k)\, q(x_t | x_0 = k)`, where the
      denoiser's :math:`f_\theta` depends on the other slots and the prior.

    Timesteps run from `num_train_timesteps` (pure noise, distributed as the prior) down to 0 (clean).

    `step` keeps no state: with `previous_timestep` given, threads can share one scheduler. Without it, the stride is
    the one of the last `set_timesteps`, as in the schedulers of diffusers.

    Parameters
    ----------
    num_train_timesteps
        Resolution of time.
    schedule
        ``"cosine"``: :math:`\bar\alpha = \cos^2(\pi t / 2)`; ``"linear"``: :math:`\bar\alpha = 1 - t`.
    end_distribution
        ``"prior"``, or ``"uniform"``: m is then the uniform distribution over the choices that the prior allows.
    """

    order = 1

    @register_to_config
    def __init__(
        self, *, num_train_timesteps: int = 1000, schedule: str = "cosine", end_distribution: str = "prior"
    ) -> None:
        if schedule not in SCHEDULES:
            raise unknown("schedule", schedule, SCHEDULES)
        if not isinstance(num_train_timesteps, int) or not 1 <= num_train_timesteps <= MAX_TIMESTEPS:
            raise ValueError(f"num_train_timesteps must be 1 to {MAX_TIMESTEPS:,}, got {num_train_timesteps!r}")
        if end_distribution not in END_DISTRIBUTIONS:
            raise unknown("end distribution", end_distribution, END_DISTRIBUTIONS)
        self.end_distribution = end_distribution
        self.num_train_timesteps = num_train_timesteps
        time = torch.linspace(0, 1, num_train_timesteps + 1, dtype=torch.float64, device="cpu")
        alphas = torch.cos(time * math.pi / 2).square() if schedule == "cosine" else 1 - time
        alphas[-1] = 0.0
        self.alphas_cumprod = alphas.float()  # (num_train_timesteps + 1,)
        self.set_timesteps(min(10, num_train_timesteps))

    def inference_times(self, num_inference_steps: int, device: torch.device | str | None = None) -> torch.Tensor:
        """Times of `num_inference_steps` steps of even length, ``LongTensor (num_inference_steps + 1,)``.

        The first is `num_train_timesteps`, the last 0: step i goes from the i-th to the next.

        Raises
        ------
        ValueError
            If `num_inference_steps` is not a whole number from 1 to `num_train_timesteps`.
        """
        last = self.num_train_timesteps
        if isinstance(num_inference_steps, bool) or not hasattr(num_inference_steps, "__index__"):
            raise ValueError(f"num_inference_steps must be a whole number, 1 to {last}, got {num_inference_steps!r}")
        num_inference_steps = operator.index(num_inference_steps)
        if not 1 <= num_inference_steps <= last:
            raise ValueError(f"num_inference_steps must be 1 to {last}, got {num_inference_steps}")
        times = torch.linspace(last, 0, num_inference_steps + 1, dtype=torch.float32, device="cpu")
        return times.round().long().to(device)

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Set `timesteps`, noisiest first, to the beginnings of `num_inference_steps` steps of even length."""
        times = self.inference_times(num_inference_steps, device)
        self.num_inference_steps = len(times) - 1
        self.timesteps = times[:-1]
        self._previous = dict(zip(times[:-1].tolist(), times[1:].tolist(), strict=True))

    def stationary(self, prior: torch.Tensor) -> torch.Tensor:
        """The stationary distribution m of the forward process.

        Parameters
        ----------
        prior
            ``FloatTensor (..., slots, choices)`` as from `Prior.distribution`, zero only where a slot has no choice.
        """
        if self.end_distribution == "prior":
            return prior
        allowed = (prior > 0).to(prior.dtype)
        return allowed / allowed.sum(-1, keepdim=True)

    def scale_model_input(self, sample: torch.Tensor, timestep: int | torch.Tensor | None = None) -> torch.Tensor:
        """Return the sample unchanged; other schedulers of diffusers scale it."""
        return sample

    def initial_sample(self, prior: torch.Tensor, batch_size: int, generator: GeneratorArg = None) -> torch.Tensor:
        """Draw from the stationary distribution, ``LongTensor (batch, slots)``.

        Parameters
        ----------
        prior
            ``FloatTensor (slots, choices)``; rows sum to 1.
        """
        uniform = draw_uniform((batch_size, prior.shape[0]), generator, prior.device)
        return draw_categorical(prior.expand(batch_size, -1, -1), uniform)

    def add_noise(
        self,
        original_samples: torch.Tensor,
        timesteps: torch.Tensor,
        prior: torch.Tensor,
        generator: GeneratorArg = None,
    ) -> torch.Tensor:
        """Draw from ``q(x_t | x_0)``.

        Parameters
        ----------
        original_samples
            ``LongTensor (batch, slots)``
        timesteps
            ``LongTensor (batch,)``
        prior
            ``FloatTensor (slots, choices)`` or ``(batch, slots, choices)``
        """
        alpha = self.alphas_cumprod.to(original_samples.device)[timesteps][:, None]
        uniform = draw_uniform((2, *original_samples.shape), None, prior.device) if generator is None else None
        if uniform is None:
            pair = draw_uniform((original_samples.shape[0], 2, original_samples.shape[1]), generator, prior.device)
            uniform = pair.transpose(0, 1)
        noise = draw_categorical(prior.expand(*original_samples.shape, -1), uniform[0])
        return torch.where(uniform[1] < alpha, original_samples, noise)

    def log_likelihood_ratio(self, timesteps: torch.Tensor, sample: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
        r"""Log-likelihood ratio of the noised choice, to be added to its logit.

        It compares the noised choice being the clean one with any other choice being the clean one:
        :math:`\log q(x_t | x_0 = x_t) - \log q(x_t | x_0 \neq x_t)`.

        Parameters
        ----------
        timesteps
            ``LongTensor (batch,)`` or ``()``
        sample
            ``x_t``, ``LongTensor (batch, slots)``
        prior
            ``FloatTensor (slots, choices)`` or ``(batch, slots, choices)``

        Returns
        -------
        FloatTensor (batch, slots)
        """
        alpha = self.alphas_cumprod.to(sample.device)[timesteps].reshape(-1, 1)
        chance = prior.expand(*sample.shape, -1).gather(-1, sample[..., None]).squeeze(-1)  # m[x_t]
        return torch.log1p(alpha / ((1 - alpha) * chance).clamp(min=MIN_CHANCE))

    def posterior(
        self,
        probabilities: torch.Tensor,
        timestep: int,
        previous_timestep: int,
        sample: torch.Tensor,
        prior: torch.Tensor,
    ) -> torch.Tensor:
        """``p(x_s | x_t)`` with s = `previous_timestep` and t = `timestep`.

        Parameters
        ----------
        probabilities
            Of the clean choices, ``FloatTensor (batch, slots, choices)``; rows sum to 1.
        sample
            ``x_t``, ``LongTensor (batch, slots)``
        prior
            ``FloatTensor (slots, choices)`` or ``(batch, slots, choices)``

        Returns
        -------
        FloatTensor (batch, slots, choices)
            Rows sum to 1.
        """
        alpha_t = float(self.alphas_cumprod[timestep])
        alpha_s = float(self.alphas_cumprod[previous_timestep])
        a = alpha_t / alpha_s if alpha_s > 0 else 1.0
        prior = prior.expand_as(probabilities)
        here = torch.zeros_like(probabilities).scatter_(-1, sample[..., None], 1.0)
        prior_here = prior.gather(-1, sample[..., None])  # m[x_t], (batch, slots, 1)
        # q(x_t | x_0 = k); zero only for k that cannot have led here
        likelihood = alpha_t * here + (1 - alpha_t) * prior_here
        ratio = torch.where(likelihood > 0, probabilities / likelihood.clamp(min=MIN_LIKELIHOOD), 0.0)
        step_likelihood = a * here + (1 - a) * prior_here
        weights = step_likelihood * (alpha_s * ratio + (1 - alpha_s) * prior * ratio.sum(-1, keepdim=True))
        return weights / weights.sum(-1, keepdim=True)

    def step(
        self,
        model_output: torch.Tensor,
        timestep: int | torch.Tensor,
        sample: torch.Tensor,
        prior: torch.Tensor,
        generator: GeneratorArg = None,
        return_dict: bool = True,
        support: torch.Tensor | None = None,
        previous_timestep: int | torch.Tensor | None = None,
    ) -> PriorDiscreteSchedulerOutput | tuple[torch.Tensor, torch.Tensor]:
        """One reverse step.

        Parameters
        ----------
        model_output
            Logits of the clean choices, ``FloatTensor (batch, slots, choices)``, minus infinity where a slot has no
            such choice; `log_likelihood_ratio` is added here.
        timestep
            The time of `sample`; one of `timesteps`, unless `previous_timestep` is given.
        sample
            ``x_t``, ``LongTensor (batch, slots)``
        prior
            The stationary distribution, ``FloatTensor (slots, choices)``.
        generator
            One, or one for each sample.
        support
            ``LongTensor (results, slots)`` on any device: condition on the result being among these.
        previous_timestep
            The time to step to, less than `timestep`; by default the next one of `set_timesteps`.

        Raises
        ------
        ValueError
            If there is no such step.
        """
        timestep, previous_timestep = self._times(timestep, previous_timestep)
        prior = prior.float()
        ratio = self.log_likelihood_ratio(torch.tensor(timestep, device="cpu"), sample, prior)
        probabilities = model_output.float().scatter_add(-1, sample[..., None], ratio[..., None]).softmax(-1)
        weights = self.posterior(probabilities, timestep, previous_timestep, sample, prior)
        uniform = draw_uniform(tuple(sample.shape), generator, sample.device)
        if support is None:
            previous = draw_categorical(weights, uniform)
        else:
            previous = draw_among(weights, support, uniform[:, 0])
        if not return_dict:
            return previous, probabilities
        return PriorDiscreteSchedulerOutput(previous, probabilities)

    def _times(self, timestep: int | torch.Tensor, previous_timestep: int | torch.Tensor | None) -> tuple[int, int]:
        """Begin and end of a step."""
        timestep = int(timestep)
        if previous_timestep is None:
            if timestep not in self._previous:
                raise ValueError(f"timestep {timestep} is not among the scheduler's {self.timesteps.tolist()}")
            return timestep, self._previous[timestep]
        previous_timestep = int(previous_timestep)
        if not 0 <= previous_timestep < timestep <= self.num_train_timesteps:
            raise ValueError(
                f"there is no step from timestep {timestep} to {previous_timestep}: the times of a step must fall, "
                f"within {self.num_train_timesteps} to 0"
            )
        return timestep, previous_timestep

    def __len__(self) -> int:
        return self.num_train_timesteps
