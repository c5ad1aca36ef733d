"""Discrete diffusion whose stationary distribution is a prior."""

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
_CHUNK = 1024
MOST_TIMESTEPS = 1_000_000


def draw_uniform(shape: tuple[int, ...], generator: GeneratorArg, device: torch.device | str = "cpu") -> torch.Tensor:
    """Uniform float32 numbers in [0, 1), from one generator or from one for each row of the batch.

    They are drawn where the generators are, which may be another device than the result's.
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
    # rounding may leave the threshold at the very end, past the last choice that can occur
    last = probabilities.shape[-1] - 1 - (probabilities > 0).flip(-1).byte().argmax(-1)
    return torch.minimum(index, last)


def draw_among(probabilities: torch.Tensor, rows: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Samples from independent slots given that they are among some rows, ``LongTensor (batch, slots)``.

    Parameters
    ----------
    probabilities
        ``FloatTensor (batch, slots, choices)``
    rows
        ``LongTensor (rows, slots)``, on any device
    uniform
        ``FloatTensor (batch,)``
    """
    rows = rows.to(probabilities.device)
    holds = F.one_hot(rows, probabilities.shape[-1]).flatten(1).float()
    drawn = []
    for part, chance in zip(probabilities.split(_CHUNK), uniform.split(_CHUNK), strict=True):
        logarithms = part.clamp(min=1e-30).log().flatten(1) @ holds.T  # (batch, rows)
        drawn.append(draw_categorical(logarithms.softmax(1), chance))
    return rows[torch.cat(drawn)]


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
    r"""D3PM (Austin et al., 2021) with a prior as its stationary law.

    With :math:`m_s` the prior of slot s (a distribution over its choices) and :math:`\bar\alpha_t` falling from
    1 to 0:

    - forward: :math:`q(x_t | x_0) = \bar\alpha_t \delta_{x_0} + (1 - \bar\alpha_t)\, m`;
    - from s to t > s: :math:`q(x_t | x_s) = a\, \delta_{x_s} + (1 - a)\, m`, with
      :math:`a = \bar\alpha_t / \bar\alpha_s`;
    - reverse: :math:`p(x_s | x_t) = \sum_k p_\theta(x_0 = k | x_t)\, q(x_s | x_t, x_0 = k)`, in closed
      form for any stride;
    - what a slot's own noisy choice says of the clean one follows from the noise alone, since slots are noised
      independently, so it is not for the denoiser to learn:
      :math:`p_\theta(x_0 = k | x_t) \propto f_\theta(k)\, q(x_t | x_0 = k)`, with the denoiser's f of the other
      slots and the prior.

    Timesteps run from `num_train_timesteps` (nothing but the prior) down to 0 (clean).

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
        if not isinstance(num_train_timesteps, int) or not 1 <= num_train_timesteps <= MOST_TIMESTEPS:
            raise ValueError(f"num_train_timesteps must be 1 to {MOST_TIMESTEPS:,}, got {num_train_timesteps!r}")
        if end_distribution not in END_DISTRIBUTIONS:
            raise unknown("end distribution", end_distribution, END_DISTRIBUTIONS)
        self.end_distribution = end_distribution
        self.num_train_timesteps = num_train_timesteps
        time = torch.linspace(0, 1, num_train_timesteps + 1, dtype=torch.float64, device="cpu")
        alphas = torch.cos(time * math.pi / 2).square() if schedule == "cosine" else 1 - time
        alphas[-1] = 0.0
        self.alphas_cumprod = alphas.float()  # (num_train_timesteps + 1,)
        self.set_timesteps(min(10, num_train_timesteps))

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Lay `num_inference_steps` evenly over time; `timesteps` holds them, noisiest first."""
        last = self.num_train_timesteps
        if isinstance(num_inference_steps, bool) or not hasattr(num_inference_steps, "__index__"):
            raise ValueError(f"num_inference_steps must be a whole number, 1 to {last}, got {num_inference_steps!r}")
        num_inference_steps = operator.index(num_inference_steps)
        if not 1 <= num_inference_steps <= last:
            raise ValueError(f"num_inference_steps must be 1 to {last}, got {num_inference_steps}")
        self.num_inference_steps = num_inference_steps
        grid = torch.linspace(last, 0, num_inference_steps + 1, dtype=torch.float32, device="cpu").round().long()
        grid = grid.to(device)
        self.timesteps = grid[:-1]
        self._previous = dict(zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True))

    def stationary(self, prior: torch.Tensor) -> torch.Tensor:
        """The distribution m that the forward process ends in.

        Parameters
        ----------
        prior
            ``FloatTensor (..., slots, choices)`` as from `Prior.distribution`, zero just where there is no choice.
        """
        if self.end_distribution == "prior":
            return prior
        allowed = (prior > 0).to(prior.dtype)
        return allowed / allowed.sum(-1, keepdim=True)

    def scale_model_input(self, sample: torch.Tensor, timestep: int | torch.Tensor | None = None) -> torch.Tensor:
        """The sample as it is; here for interchange with other schedulers."""
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

    def evidence(self, timesteps: torch.Tensor, sample: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
        """How much more likely the noisy choice is if it is also the clean one, a logarithm, to be added to its logit.

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
        return torch.log1p(alpha / ((1 - alpha) * chance).clamp(min=1e-6))

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
        evidence = alpha_t * here + (1 - alpha_t) * prior_here
        ratio = torch.where(evidence > 0, probabilities / evidence.clamp(min=1e-20), 0.0)
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
        rows: torch.Tensor | None = None,
    ) -> PriorDiscreteSchedulerOutput | tuple[torch.Tensor, torch.Tensor]:
        """One reverse step.

        Parameters
        ----------
        model_output
            Logits of the clean choices, ``FloatTensor (batch, slots, choices)``, minus infinity where there is none,
            to which `evidence` is added.
        timestep
            One of `timesteps`.
        sample
            ``x_t``, ``LongTensor (batch, slots)``
        prior
            The stationary distribution, ``FloatTensor (slots, choices)``.
        generator
            One, or one for each sample.
        rows
            ``LongTensor (rows, slots)``, samples to draw from in place of all that there can be, on any device.
        """
        timestep = int(timestep)
        if timestep not in self._previous:
            raise ValueError(f"timestep {timestep} is not among the scheduler's {self.timesteps.tolist()}")
        prior = prior.float()
        evidence = self.evidence(torch.tensor(timestep, device="cpu"), sample, prior)
        probabilities = model_output.float().scatter_add(-1, sample[..., None], evidence[..., None]).softmax(-1)
        weights = self.posterior(probabilities, timestep, self._previous[timestep], sample, prior)
        uniform = draw_uniform(tuple(sample.shape), generator, sample.device)
        previous = draw_categorical(weights, uniform) if rows is None else draw_among(weights, rows, uniform[:, 0])
        if not return_dict:
            return previous, probabilities
        return PriorDiscreteSchedulerOutput(previous, probabilities)

    def __len__(self) -> int:
        return self.num_train_timesteps
