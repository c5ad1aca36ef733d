"""The order in which a call returns its architectures."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .duplicates import first_of_each
from .model import ConditionedDenoiser
from .sampler import SampleSet

RankingScores = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""As `ranking_scores`."""


def ranked(
    samples: SampleSet, model: ConditionedDenoiser, number: int, scores_of: RankingScores
) -> tuple[torch.Tensor, torch.Tensor]:
    """The architectures ranked highest by `scores_of`, at most `number`.

    Returns
    -------
    indices : LongTensor (n, slots)
        Best first, on the CPU.
    scores : FloatTensor (n,)
        Of `scores_of`, over the distinct architectures among the samples; on the CPU.
    """
    first, which = first_of_each(model.space.keys(samples.indices))
    distinct = samples.indices[first]
    conditional = model.scores(distinct) if samples.scores is None else samples.scores[first]
    scores = scores_of(conditional, model.scores(distinct, False), samples.counts[first])[which].cpu()
    order = scores.argsort(descending=True, stable=True)[:number]
    return samples.indices.cpu()[order], scores[order]


def ranking_scores(conditional: torch.Tensor, unconditional: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Scores by which distinct architectures are ranked, higher is better, ``FloatTensor (n,)``.

    The denoiser's scores with and without the prior are standardised and averaged, and the logarithm of how often an
    architecture was sampled is added, again standardised. Compared with about a dozen variants on five trainings of
    NAS-Bench-201 as a new space; on other spaces it is neither better nor worse than the score with the prior alone.

    Parameters
    ----------
    conditional, unconditional
        The denoiser's scores with and without the prior, ``FloatTensor (n,)``.
    counts
        How often each architecture was sampled, ``FloatTensor (n,)``.
    """
    both = standardised(conditional) + standardised(unconditional)
    return standardised(both) + standardised(counts.log())


def standardised(values: torch.Tensor) -> torch.Tensor:
    """Values shifted and scaled to mean 0 and standard deviation 1; zeros if all are equal."""
    if len(values) < 2:
        return torch.zeros_like(values)
    spread = values.std(correction=0)
    return (values - values.mean()) / spread if spread > 1e-6 else torch.zeros_like(values)
