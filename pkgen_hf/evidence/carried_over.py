"""What knowledge of other tasks and spaces leads to expect of architectures before any of them is evaluated."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .kernel import Kernel, Standardisation, sizes

# In a space that nothing was measured in, larger networks are better more often than not. Weights of standardised
# multiply-adds, parameters and spectral capacity, beside the probability of the choices; chosen by hand after
# regressions in all spaces that docs/limitations.md names.
SIZES_OF_NEW = (0.67, 0.17, 0.5)
# How much normal scores of architectures rise with a standard deviation of what is carried over, and how probable that
# is before any evaluation: from data of the same sort, and from other data, where either sign is as probable.
AGREEMENT = {-0.3: 0.1, 0.0: 0.2, 0.3: 0.3, 0.6: 0.3, 0.9: 0.1}
AGREEMENT_OF_UNLIKE = {-0.6: 0.15, -0.3: 0.2, 0.0: 0.3, 0.3: 0.2, 0.6: 0.15}


class CarriedOver:
    """A score of architectures that needs no evaluation of theirs, standardised over the space.

    The logarithm of the denoiser's probability of the choices in one step from noise, and in a new space the size of
    the network, too.

    Parameters
    ----------
    kernel
        Of the space and task.
    log_probabilities
        Of the choices of each slot, ``FloatTensor (slots, choices)``.
    is_new
        Whether nothing was measured in the space.
    agreement
        See `AGREEMENT`.
    """

    def __init__(
        self, kernel: Kernel, log_probabilities: torch.Tensor, is_new: bool, agreement: Mapping[float, float]
    ) -> None:
        self.kernel, self.is_new, self.agreement = kernel, is_new, agreement
        self._log_probabilities = log_probabilities.double()
        self._slots = torch.arange(kernel.space.num_slots)
        self._likelihood = Standardisation.of(self._log_likelihood(kernel.reference))
        self._size = Standardisation.of(self._sizes(kernel.reference))
        self._weights = torch.tensor(SIZES_OF_NEW[: self._size.mean.numel()], dtype=torch.float64)
        self._total = Standardisation.of(self._sum(kernel.reference))

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of ``(n, slots)``, ``DoubleTensor (n,)``, higher is better; equal for isomorphic architectures."""
        return self._total(self._sum(rows))[:, 0]

    def _sum(self, rows: torch.Tensor) -> torch.Tensor:
        """The weighted sum, ``DoubleTensor (n, 1)``."""
        rows = self.kernel.space.canonical(rows)
        return self._likelihood(self._log_likelihood(rows)) + (self._size(self._sizes(rows)) @ self._weights)[:, None]

    def _log_likelihood(self, rows: torch.Tensor) -> torch.Tensor:
        """Of the choices of slots that have an effect, ``DoubleTensor (n, 1)``."""
        chosen = self._log_probabilities[self._slots, rows]
        return (chosen * self.kernel.space.active_slots(rows)).sum(1, keepdim=True)

    def _sizes(self, rows: torch.Tensor) -> torch.Tensor:
        """``DoubleTensor (n, columns)``, without columns in a space that is not new."""
        if not self.is_new:
            return torch.empty(len(rows), 0, dtype=torch.float64)
        return sizes(self.kernel.space, rows, self.kernel.task)
