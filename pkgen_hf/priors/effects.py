"""Effects of components on scores, over all architectures that were measured and not over the good ones alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from scipy.stats import norm, rankdata

from ..spaces import SearchSpace
from ..spaces.components import Components

# Variance of normal scores that choices and pairs do not explain, where the effects of either have a variance of 1.
NOISE = 0.1
MOST = 10_000  # architectures, drawn at random from more
ROWS_AT_ONCE = 2_048
TURNS = 10  # of regression and monotone regression; more change little
# Share of the error in ranking (1 - Spearman's rank correlation) below which the additive scale is used: where effects
# explain less, that scale follows noise.
LESS = 0.75


def normal_scores(scores: torch.Tensor) -> np.ndarray:
    """Quantiles of the normal distribution at the ranks of scores, ``(n,)``; equal scores share the mean rank."""
    return norm.ppf((rankdata(scores.numpy()) - 0.5) / max(1, len(scores)))


@dataclass(frozen=True, eq=False)
class Effects:
    """Coefficients of a linear regression of normal scores (quantiles of the normal distribution at the ranks).

    Attributes
    ----------
    choices : FloatTensor (slots, choices)
        Of each choice, where its slot has an effect.
    pairs : FloatTensor (relations, identities, identities)
        Of how often two choices stand in a relation, in the order of `Components`.
    """

    choices: torch.Tensor
    pairs: torch.Tensor

    @classmethod
    def mean(cls, effects: Sequence[Effects]) -> Effects:
        """The mean, such as over several tasks of one space."""
        choices, pairs = zip(*((one.choices, one.pairs) for one in effects), strict=True)
        return cls(torch.stack(choices).mean(0), torch.stack(pairs).mean(0))


def measure_effects(space: SearchSpace, rows: torch.Tensor, scores: torch.Tensor) -> Effects:
    """Ridge regression of the normal scores of distinct architectures ``(n, slots)`` on their components.

    It is the posterior mean of a Gaussian process with two linear kernels, of standardised choices and pairs. Where
    that ranks a half that it was not fitted to much better, the scores are first brought to the scale in which the
    effects add up, by monotone regression as in conjoint analysis (Kruskal, JRSS B 27, 1965): the losses of language
    models do so, but normal scores, which are uneven where one choice decides, do not.

    Parameters
    ----------
    space
        Of the architectures.
    rows, scores
        Finite scores ``(n,)``; of more than `MOST` a random part counts.
    """
    part = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:MOST]
    rows, scores = space.canonical(rows[part]), scores[part]
    components = Components(space)
    of_choices, scale_of_choices = _standardised(components.choices(rows).flatten(1).float())
    pairs = [components.pairs(some).flatten(1).float() for some in rows.split(ROWS_AT_ONCE)]
    of_pairs, scale_of_pairs = _standardised(torch.cat(pairs))
    columns, scale = torch.cat([of_choices, of_pairs], 1), torch.cat([scale_of_choices, scale_of_pairs])
    weights = torch.zeros_like(scale)
    weights[scale > 0] = _regression(columns[:, scale > 0], scores) * scale[scale > 0]
    number = len(components.identities)
    return Effects(
        weights[: len(scale_of_choices)].reshape(space.num_slots, space.num_choices).float(),
        weights[len(scale_of_choices) :].reshape(len(components.relations), number, number).float(),
    )


def _standardised(columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns ``(n, columns)`` of mean 0 and of variances that add up to 1, and what each was multiplied by.

    Those that do not vary become 0, and so does their factor.
    """
    mean, spread = columns.mean(0), columns.double().std(0, correction=0)
    varies = spread > 1e-6
    scale = torch.where(varies, 1 / (spread * max(1, int(varies.sum())) ** 0.5), 0.0)
    return (columns - mean) * scale.float(), scale


def _regression(columns: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Coefficients of standardised columns ``(n, columns)``, in the scale that predicts one half from the other."""
    half = len(columns) // 2
    first, second = _Ridge(columns[:half]), _Ridge(columns[half:])
    normal, monotone = (
        1 - _rank_correlation(columns[half:] @ first.fit(target).float(), scores[half:])
        for target in (_normal(scores[:half]), first.additive_scale(scores[:half]))
    )
    whole = first.joined(second)
    return whole.fit(whole.additive_scale(scores) if monotone < LESS * normal else _normal(scores))


def _normal(scores: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(normal_scores(scores))


def _rank_correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Spearman's; NaN of constants."""
    return float(torch.corrcoef(torch.from_numpy(np.stack([rankdata(one.numpy()), rankdata(other.numpy())])))[0, 1])


class _Ridge:
    """Ridge regression on fixed columns ``(n, columns)`` of mean 0, of targets that change."""

    def __init__(self, columns: torch.Tensor, products: torch.Tensor | None = None) -> None:
        self.columns = columns
        if products is None:
            products = torch.zeros(columns.shape[1], columns.shape[1], dtype=torch.float64)
            for some in columns.split(ROWS_AT_ONCE):
                products += some.T.double() @ some.double()
        self.products = products

    @cached_property
    def _factor(self) -> torch.Tensor:
        return torch.linalg.cholesky(self.products + NOISE * torch.eye(len(self.products), dtype=torch.float64))

    def joined(self, other: _Ridge) -> _Ridge:
        """The regression on the rows of both."""
        return _Ridge(torch.cat([self.columns, other.columns]), self.products + other.products)

    def fit(self, target: torch.Tensor) -> torch.Tensor:
        """Coefficients, ``DoubleTensor (columns,)``."""
        projected = self.columns.T @ (target - target.mean()).float()
        return torch.cholesky_solve(projected.double()[:, None], self._factor)[:, 0]

    def additive_scale(self, scores: torch.Tensor) -> torch.Tensor:
        """The monotone function of scores that the columns predict best, of variance 1, ``DoubleTensor (n,)``.

        It is found by regression and monotone regression in turns.
        """
        target, order = _normal(scores), scores.argsort(stable=True)
        for _ in range(TURNS):
            predicted = (self.columns @ self.fit(target).float()).double()
            target[order] = torch.from_numpy(isotonic_regression(predicted[order].numpy()).x)
            target = (target - target.mean()) / target.std(correction=0).clamp(min=1e-9)
        return target
