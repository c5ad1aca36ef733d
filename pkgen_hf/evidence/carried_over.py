"""What knowledge of other tasks and spaces leads to expect of architectures before any of them is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..priors.effects import Effects
from .kernel import Features, Kernel, Standardisation

SAMPLES = 256  # of the pipeline, as they come
LEAST_DENSITY = 1e-6  # of an architecture unlike all samples, in the unit of covariances


class Coefficients(NamedTuple):
    """Means and standard deviations of normal distributions of coefficients of standardised basis functions.

    Of the density of samples, the log-probability of choices, sizes (their mean times `SIZES`), counts of choices
    (their deviation is that of all together), and the effects of components, which are normal scores already.
    """

    density: tuple[float, float]
    probability: tuple[float, float]
    size: tuple[float, float]
    counts: tuple[float, float]
    effects: tuple[float, float] = (0.0, 0.0)


# How much the normal score rises with each before any evaluation. Where effects of components were measured, they say
# most (of their own data nearly all), and everything is known more exactly. Of other data nothing applies without
# evaluations, which may show either sign. Chosen, with the shares of multiply-adds, parameters and spectral capacity
# in sizes, by comparisons in the spaces that docs/limitations.md names.
OF_NEW_SPACE = Coefficients((0.3, 0.34), (0.0, 0.34), (0.3, 0.3), (0.0, 0.5))
OF_MEASURED_SPACE = Coefficients((0.2, 0.2), (0.2, 0.2), (0.0, 0.2), (0.0, 0.2), (0.6, 0.3))
OF_MEASURED_DATA = Coefficients((0.0, 0.2), (0.1, 0.2), (0.0, 0.2), (0.0, 0.2), (1.0, 0.6))
OF_UNLIKE_DATA = Coefficients((0.0, 0.34), (0.0, 0.34), (0.0, 0.3), (0.0, 0.5))
SIZES = (0.17, 0.04, 0.13)


@dataclass(frozen=True)
class Inputs:
    """What `CarriedOver` compares.

    Attributes
    ----------
    features : Features
        Of the kernel.
    basis : DoubleTensor (n, functions)
        Density, log-probability, sizes and counts of choices, standardised over random architectures, and effects.
    """

    features: Features
    basis: torch.Tensor


class CarriedOver:
    """Gaussian process of the normal scores of a space before any evaluation, with explicit basis functions.

    These are the logarithm of a kernel density estimate at the architecture (its mean covariance with what the
    pipeline samples), the denoiser's log-probability of its choices, its sizes, how often each choice occurs and, of a
    space that was measured, the sum of the effects of its components. Their coefficients have independent normal
    distributions, so that evaluations tell how far each is to be trusted (Rasmussen and Williams, Gaussian Processes
    for Machine Learning, 2006, section 2.7). Unlike the probability, density and effects are known of architectures
    that are never sampled, such as small ones. All are equal for isomorphic architectures.

    Parameters
    ----------
    kernel
        Of the space and task: the covariance of what basis functions do not explain.
    samples
        Of the pipeline without evaluations and limits, as they come, ``LongTensor (n, slots)``; may be none.
    log_probabilities
        The denoiser's, of the choices of each slot, ``FloatTensor (slots, choices)``.
    effects
        Of components, on scores of this task or others of the space; None where none was measured.
    coefficients
        Before any evaluation; those of effects count where there are some.
    """

    def __init__(
        self,
        kernel: Kernel,
        samples: torch.Tensor,
        log_probabilities: torch.Tensor,
        effects: Effects | None,
        coefficients: Coefficients,
    ) -> None:
        self.kernel = kernel
        self._log_probabilities = log_probabilities.double()
        self._slots = torch.arange(kernel.space.num_slots)
        rows, which = kernel.space.classes(samples)
        self._samples = kernel.features(rows)
        self._shares = which.bincount(minlength=len(rows)).double() / max(1, len(samples))
        self._effects = effects
        reference = kernel.reference_features
        self._standardise = Standardisation.of(self._of_samples(reference))
        num_sizes, num_counts = reference.sizes.shape[1], reference.counts.shape[1]
        (density, of_density), (probability, of_probability), (size, of_size), (count, of_count), known = coefficients
        means = [density, probability, *(size * share for share in SIZES[:num_sizes]), *[count] * num_counts]
        deviations = [of_density, of_probability, *[of_size] * num_sizes]
        deviations += [of_count / max(1, num_counts) ** 0.5] * num_counts
        if effects is not None:
            self._of_pairs = effects.pairs.double().flatten()[kernel.varying_pairs]
            self._level = self._of_effects(reference).mean()
            means, deviations = [*means, known[0]], [*deviations, known[1]]
        self.expected = torch.tensor(means, dtype=torch.float64)
        """Means of the coefficients of the basis, ``DoubleTensor (functions,)``."""
        self.variances = torch.tensor(deviations, dtype=torch.float64).square()
        """Variances of the same."""

    def inputs(self, rows: torch.Tensor) -> Inputs:
        """Of architectures ``LongTensor (n, slots)``."""
        features = self.kernel.features(rows)
        of_samples = self._standardise(self._of_samples(features))
        columns = [of_samples, features.sizes, features.counts]
        if self._effects is not None:
            columns.append((self._of_effects(features) - self._level)[:, None])
        return Inputs(features, torch.cat(columns, 1))

    def mean(self, inputs: Inputs) -> torch.Tensor:
        """Expected normal scores, ``DoubleTensor (n,)``."""
        return inputs.basis @ self.expected

    def covariance(self, one: Inputs, other: Inputs) -> torch.Tensor:
        """``DoubleTensor (n, m)``"""
        return self.kernel(one.features, other.features) + (one.basis * self.variances) @ other.basis.T

    def variance(self, inputs: Inputs) -> torch.Tensor:
        """The diagonal of the covariance, ``DoubleTensor (n,)``."""
        return self.kernel.variance() + inputs.basis.square() @ self.variances

    def _of_effects(self, features: Features) -> torch.Tensor:
        """Sum of the effects of an architecture's choices and pairs, ``DoubleTensor (n,)``."""
        assert self._effects is not None
        return self._over_choices(self._effects.choices.double(), features) + features.pairs @ self._of_pairs

    def _over_choices(self, values: torch.Tensor, features: Features) -> torch.Tensor:
        """Sum of values ``(slots, choices)`` over the choices that have an effect, ``DoubleTensor (n,)``."""
        chosen = values[self._slots, features.rows]
        return (chosen * self.kernel.space.active_slots(features.rows)).sum(1)

    def _of_samples(self, features: Features) -> torch.Tensor:
        """Logarithms of density and of probability, ``DoubleTensor (n, 2)``; the former is 0 without samples."""
        density = features.sizes.new_zeros(len(features.rows))
        if len(self._shares):
            density = (self.kernel(features, self._samples) @ self._shares).clamp(min=LEAST_DENSITY).log()
        return torch.stack([density, self._over_choices(self._log_probabilities, features)], 1)
