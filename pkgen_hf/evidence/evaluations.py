"""Architectures that were evaluated, with their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import shortened
from ..inputs import on_cpu, to_indices, to_scores
from ..priors.effects import normal_scores
from ..priors.from_evaluations import mean_of_each
from ..spaces import SearchSpace

LARGEST_SCORE = 1e30  # scores are computed with in 32 bits, which end at 3e38


@dataclass(frozen=True)
class Evaluations:
    """Distinct evaluated architectures of a space and the mean score of each, higher is better.

    Attributes
    ----------
    space
    indices : LongTensor (n, slots)
        Canonical; see `SearchSpace.canonical`.
    scores : DoubleTensor (n,)
        Minus infinity of those whose trainings all failed.
    """

    space: SearchSpace
    indices: torch.Tensor
    scores: torch.Tensor

    @classmethod
    @on_cpu
    def of(cls, space: SearchSpace, given: Any) -> Evaluations:
        """Evaluations as users pass them: a pair of architectures and scores.

        Parameters
        ----------
        space
            That the architectures are of.
        given
            ``(architectures, scores)``: architectures in any form that `pkgen_hf.inputs` takes, and a number for each,
            in any unit, higher is better; NaN (or None) of a training that failed, which ranks below all others.

        Raises
        ------
        ValueError
            If it is no such pair, the two differ in length, or a score is infinite.
        """
        try:
            architectures, values = given
            row = values if isinstance(values, list | tuple) else ()
            num_texts = sum(isinstance(value, str) for value in row)
            if isinstance(given, Mapping) or 0 < num_texts < len(row) or any(hasattr(v, "space") for v in row):
                raise TypeError  # scores by architecture, or pairs of one of each
        except (TypeError, ValueError):
            raise ValueError(f"evaluations must be a pair, (architectures, scores), got {shortened(given)}") from None
        indices, scores = to_indices(space, architectures), to_scores(values)
        if len(indices) != len(scores):
            raise ValueError(f"evaluations hold {len(indices)} architectures but {len(scores)} scores")
        if (scores.abs() > LARGEST_SCORE).any():
            at = int((scores.abs() > LARGEST_SCORE).nonzero()[0])
            raise ValueError(
                f"scores must be finite numbers, or NaN of a training that failed; score {at} is {float(scores[at])}"
            )
        return cls._distinct(space, space.canonical(indices), scores)

    @classmethod
    def _distinct(cls, space: SearchSpace, indices: torch.Tensor, scores: torch.Tensor) -> Evaluations:
        """The mean of each isomorphism class; only failed ones count as failed."""
        failed = scores.isnan()
        rows, means = mean_of_each(space, indices[~failed], scores[~failed])
        lost = indices[failed][~torch.isin(space.keys(indices[failed]), space.keys(rows))]
        lost = space.classes(lost)[0]
        worst = torch.full((len(lost),), -torch.inf, dtype=torch.float64)
        return cls(space, torch.cat([rows, lost]), torch.cat([means.double(), worst]))

    def __len__(self) -> int:
        return len(self.indices)

    def normal_scores(self) -> torch.Tensor:
        """Quantiles of the standard normal distribution at the ranks of the scores, ``DoubleTensor (n,)``."""
        return torch.from_numpy(normal_scores(self.scores))
