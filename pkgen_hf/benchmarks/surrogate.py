"""A surrogate of a benchmark that measured a sample of its space: predicted scores, and their error."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import kendalltau
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from .score_table import ScoreTable

POPULATION = 20_000  # uniform random architectures that ranks are among: shares of 0.01 % can be told apart
FOLDS = 5
# Labels that are fitted, at most, drawn at random: with all 10,000 of HW-GPT-Bench-S Kendall's tau is 0.993 in place
# of 0.990, with all 5,125 of mnasnet the same 0.922, in ten times the time.
MOST_LABELS = 4_000
# Ridge and inverse squared width of the kernel, on standardised scores and costs and one-hot choices, the same for all
# tables; `Surrogate.error` says how good they are for one.
ALPHA, GAMMA = 0.05, 0.02


class Surrogate:
    """Kernel ridge regression on choices and on costs, fitted to measured architectures of a table.

    It takes the place of a `ScoreTable` in `evaluate` where a benchmark measured a sample of its space. It serves to
    judge, never to train.

    Parameters
    ----------
    table
        The measurements.
    task
        The task whose scores (those that select) are fitted.

    Attributes
    ----------
    space : SearchSpace
    error : dict
        Of predictions in 5-fold cross-validation: ``mean_absolute_error``, ``r2``, ``kendall_tau``, and ``n``.
    """

    def __init__(self, table: ScoreTable, task: str) -> None:
        self.space, self.task = table.space, task
        known = (~table.column(task).isnan()).nonzero()[:, 0]
        known = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[:MOST_LABELS]]
        indices, scores = table.indices[known], table.column(task)[known].double().numpy()
        self._costs = StandardScaler().fit(self._log_costs(indices))
        self._scores = StandardScaler().fit(scores[:, None])
        features, target = self._features(indices), self._scores.transform(scores[:, None])[:, 0]
        self._model = KernelRidge(kernel="rbf", alpha=ALPHA, gamma=GAMMA)
        folds = KFold(FOLDS, shuffle=True, random_state=0)
        self.error = _errors(self._in_percent(cross_val_predict(self._model, features, target, cv=folds)), scores)
        self._model.fit(features, target)
        rows = self.space.sample(2 * POPULATION, torch.Generator().manual_seed(0))  # not all of which are valid
        self._population = self.values(rows[self.space.is_valid(rows)][:POPULATION], task).sort().values

    def _log_costs(self, indices: torch.Tensor) -> np.ndarray:
        costs = torch.stack([self.space.flops(indices), self.space.parameters(indices)], dim=1)
        return costs.double().log().numpy()

    def _features(self, indices: torch.Tensor) -> np.ndarray:
        costs = self._costs.transform(self._log_costs(self.space.canonical(indices)))
        return np.concatenate([self.space.features(indices).double().numpy(), costs], axis=1)

    def _in_percent(self, standardised: np.ndarray) -> np.ndarray:
        return self._scores.inverse_transform(standardised[:, None])[:, 0]

    def values(self, indices: torch.Tensor, task: str) -> torch.Tensor:
        """Predicted scores, ``FloatTensor (batch,)``; the chance score where a network is not connected."""
        rows, inverse = self.space.check(indices).unique(dim=0, return_inverse=True)
        predicted = self._in_percent(self._model.predict(self._features(rows)))
        scores = torch.from_numpy(predicted).float()[inverse]
        return torch.where(self.space.is_connected(indices), scores, self.space.task(task).chance_score)

    def ranks(self, scores: torch.Tensor, task: str) -> torch.Tensor:
        """Share of uniform random architectures that are predicted to score higher, ``FloatTensor (batch,)``."""
        return 1 - torch.searchsorted(self._population, scores.contiguous(), right=True) / len(self._population)


def _errors(predicted: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """What predictions of `scores` are off by, ``(n,)`` each."""
    return {
        "mean_absolute_error": float(np.abs(predicted - scores).mean()),
        "r2": float(1 - ((predicted - scores) ** 2).mean() / scores.var()),
        "kendall_tau": float(kendalltau(predicted, scores).statistic),
        "n": len(scores),
    }
