"""What knowledge of other tasks and spaces leads to expect of architectures before any of them is evaluated."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .kernel import Features, Kernel, Standardisation

# Beside the density of samples, in standard deviations: multiply-adds, parameters and spectral capacity, as larger
# networks are better more often than not. Chosen by hand after comparisons in all spaces that docs/limitations.md
# names.
SIZES = (0.17, 0.04, 0.13)
SAMPLES = 256  # of the pipeline, as they come
LEAST_DENSITY = 1e-6  # of an architecture unlike all samples, in the unit of covariances
# How much normal scores of architectures rise with a standard deviation of what is carried over, and how probable that
# is before any evaluation: from data of the same sort, and from other data, where either sign is as probable.
AGREEMENT = {-0.3: 0.1, 0.0: 0.2, 0.3: 0.3, 0.6: 0.3, 0.9: 0.1}
AGREEMENT_OF_UNLIKE = {-0.6: 0.15, -0.3: 0.2, 0.0: 0.3, 0.3: 0.2, 0.6: 0.15}


class CarriedOver:
    """A score of architectures that needs no evaluation of theirs, standardised over the space.

    It is the logarithm of a kernel density estimate at the architecture: its mean covariance with what the pipeline
    samples. Unlike the probability of choices, it is equal for isomorphic architectures, and known of those that are
    never sampled, such as small ones. In a space that training has seen, where the denoiser's probabilities of choices
    are to be trusted, their logarithms are added, and everywhere the size of the network.

    Parameters
    ----------
    kernel
        Of the space and task.
    samples
        Of the pipeline without evaluations and limits, as they come, ``LongTensor (n, slots)``; may be none.
    log_probabilities
        The denoiser's, of the choices of each slot, ``FloatTensor (slots, choices)``; None in a space that training
        has not seen.
    agreement
        See `AGREEMENT`.
    """

    def __init__(
        self,
        kernel: Kernel,
        samples: torch.Tensor,
        log_probabilities: torch.Tensor | None,
        agreement: Mapping[float, float],
    ) -> None:
        self.kernel, self.agreement = kernel, agreement
        self._log_probabilities = None if log_probabilities is None else log_probabilities.double()
        self._slots = torch.arange(kernel.space.num_slots)
        rows, which = kernel.space.classes(samples)
        self._samples = kernel.features(rows)
        self._shares = which.bincount(minlength=len(rows)).double() / max(1, len(samples))
        reference = kernel.reference_features
        self._density = Standardisation.of(self._log_density(reference))
        self._likelihood = Standardisation.of(self._log_likelihood(reference))
        self._total = Standardisation.of(self._sum(reference))

    def __call__(self, features: Features) -> torch.Tensor:
        """Scores of architectures, ``DoubleTensor (n,)``, higher is better; equal for isomorphic ones."""
        return self._total(self._sum(features))[:, 0]

    def _sum(self, features: Features) -> torch.Tensor:
        """The weighted sum, ``DoubleTensor (n, 1)``."""
        sizes = features.sizes * torch.tensor(SIZES[: features.sizes.shape[1]], dtype=torch.float64)
        total = self._density(self._log_density(features)) + sizes.sum(1, keepdim=True)
        return total if self._log_probabilities is None else total + self._likelihood(self._log_likelihood(features))

    def _log_density(self, features: Features) -> torch.Tensor:
        """Logarithm of the mean covariance with the samples, ``DoubleTensor (n, 1)``; 0 without samples."""
        if not len(self._shares):
            return torch.zeros(len(features.rows), 1, dtype=torch.float64)
        mean = self.kernel(features, self._samples) @ self._shares
        return mean.clamp(min=LEAST_DENSITY).log()[:, None]

    def _log_likelihood(self, features: Features) -> torch.Tensor:
        """Of the choices of slots that have an effect, ``DoubleTensor (n, 1)``; 0 in a space not trained on."""
        if self._log_probabilities is None:
            return torch.zeros(len(features.rows), 1, dtype=torch.float64)
        chosen = self._log_probabilities[self._slots, features.rows]
        return (chosen * self.kernel.space.active_slots(features.rows)).sum(1, keepdim=True)
