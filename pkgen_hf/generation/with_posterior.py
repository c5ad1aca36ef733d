"""What a pipeline expects of architectures: of what is carried over from elsewhere, and of evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..errors import warn
from ..evidence.carried_over import (
    OF_MEASURED_DATA,
    OF_MEASURED_SPACE,
    OF_NEW_SPACE,
    OF_UNLIKE_DATA,
    SAMPLES,
    CarriedOver,
    Coefficients,
)
from ..evidence.evaluations import Evaluations
from ..evidence.kernel import Kernel
from ..evidence.posterior import Posterior
from ..inputs import Architectures, on_cpu, to_indices
from ..priors.prior import Prior
from ..spaces import SearchSpace, TaskLike, get_space
from .model import ConditionedDenoiser
from .sampler import as_they_come
from .with_priors import WithPriors


class WithPosterior(WithPriors):
    """Part of the pipeline that ranks architectures."""

    scheduler: Any
    _execution_device: Any
    maybe_free_model_hooks: Any

    @torch.no_grad()
    @on_cpu
    def rank(
        self,
        space: str | SearchSpace,
        architectures: Architectures,
        task: TaskLike | None = None,
        prior: Prior | None = None,
        evaluations: tuple[Architectures, Sequence[float] | torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Score architectures, as a call of the pipeline ranks them.

        The score is an expected normal score, the quantile of the standard normal distribution at the rank: without
        evaluations 0 is an average architecture of the space; with some, only differences count. See `Posterior`.

        Parameters
        ----------
        space, task, prior, evaluations
            As in a call of the pipeline.
        architectures
            `Architecture` objects, strings of the benchmark, or indices ``(n, slots)``; see `pkgen_hf.inputs`.

        Returns
        -------
        FloatTensor (n,)
            Higher is better; comparable only for the same space, task, prior and evaluations. Equal for isomorphic
            architectures.
        """
        space = get_space(space)
        rows = to_indices(space, architectures)
        known = self._known(space, evaluations)
        task = space.resolved(task)
        conditioned = self._conditioned(space, task, prior, evaluations is not None)
        return self._posterior_of(*conditioned, task, known).mean(rows).float()

    @torch.no_grad()
    @on_cpu
    def posterior(
        self,
        space: SearchSpace,
        task: TaskLike | None,
        prior: Prior | None,
        evaluations: Evaluations,
        samples: torch.Tensor | None = None,
    ) -> Posterior:
        """What evaluations and what is carried over say of any architecture of a space.

        Parameters
        ----------
        space, task, prior
            As of `rank`.
        evaluations
            Of the space; may be none.
        samples
            Of `carried_samples`, if they are there already.
        """
        task = space.resolved(task)
        return self._posterior_of(*self._conditioned(space, task, prior), task, evaluations, samples)

    @torch.no_grad()
    @on_cpu
    def carried_samples(
        self, space: SearchSpace, task: TaskLike | None, prior: Prior | None, seed: int = 0
    ) -> torch.Tensor:
        """Samples without evaluations and limits, as they come, ``LongTensor (up to SAMPLES, slots)``."""
        return self._carried_samples(*self._conditioned(space, space.resolved(task), prior), seed)

    def _known(
        self, space: SearchSpace, given: tuple[Architectures, Sequence[float] | torch.Tensor] | None
    ) -> Evaluations:
        """The evaluations of a call. Warns if all of them failed."""
        known = Evaluations.of(space, ([], []) if given is None else given)
        if len(known) and bool(known.scores.isinf().all()):
            warn(f"all {len(known)} evaluations failed, which says nothing of others: give one that has a score")
        return known

    def _conditioned(
        self, space: SearchSpace, task: TaskLike | None, prior: Prior | None, has_evaluations: bool = True
    ) -> tuple[ConditionedDenoiser, Prior]:
        """The denoiser under the condition of a call, and its prior.

        Without evaluations, which show what does not apply, priors of unlike data are left out.
        """
        if prior is None and not has_evaluations:
            prior = self.carried_prior(space, task)
        prior = self.select_prior(space, task, prior)
        similarity = self.similarity_to_training(space, task)
        return ConditionedDenoiser.of(self.denoiser, space, prior, task, similarity), prior

    def _stationary(self, prior: Prior) -> torch.Tensor:
        """Stationary distribution of the noise with a prior, ``FloatTensor (slots, choices)``, on the device."""
        return self.scheduler.stationary(prior.distribution()).to(self._execution_device)

    def _carried_samples(self, model: ConditionedDenoiser, prior: Prior, seed: int = 0) -> torch.Tensor:
        samples = as_they_come(model, self.scheduler, self._stationary(prior), SAMPLES, seed)
        self.maybe_free_model_hooks()
        return samples

    def _log_probabilities(self, model: ConditionedDenoiser, prior: Prior) -> torch.Tensor:
        found = model.log_probabilities(self._stationary(prior), self.scheduler.num_train_timesteps)
        self.maybe_free_model_hooks()
        return found

    def _posterior_of(
        self,
        model: ConditionedDenoiser,
        prior: Prior,
        task: TaskLike | None,
        evaluations: Evaluations,
        samples: torch.Tensor | None = None,
    ) -> Posterior:
        """What evaluations and all that is carried over from elsewhere say of the architectures of a space."""
        space = model.space
        carried = CarriedOver(
            Kernel.of(space, task),
            self._carried_samples(model, prior) if samples is None else samples,
            self._log_probabilities(model, prior),
            prior.effects,
            self._coefficients(space, task, prior),
        )
        return Posterior(carried, evaluations)

    def _coefficients(self, space: SearchSpace, task: TaskLike | None, prior: Prior) -> Coefficients:
        """How far what a prior and samples say is trusted for a task."""
        if prior.effects is not None:
            of_data = task is None or space.task_label(task) in space.tasks  # not of a kind of data
            is_own = of_data and prior.evidence != "carried over" and prior.task == space.task_label(task)
            return OF_MEASURED_DATA if is_own else OF_MEASURED_SPACE
        return OF_NEW_SPACE if self.has_prior_of_data(space, task, prior) else OF_UNLIKE_DATA
