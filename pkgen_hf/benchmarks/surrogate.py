"""Scores of architectures that a benchmark did not measure, predicted from those it did, and the error of that."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import kendalltau
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import KFold, cross_val_predict

from .score_table import ScoreTable

POPULATION = 20_000  # uniform random architectures that ranks are among


class Surrogate:
    """Kernel ridge regression on choices and on costs, fitted to every measured architecture of a table.

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
        known = ~table.column(task).isnan()
        indices, scores = table.indices[known], table.column(task)[known].double().numpy()
        self._centre, self._spread = scores.mean(), scores.std()
        costs = self._log_costs(indices)
        self._cost_centre, self._cost_spread = costs.mean(0), costs.std(0)
        features, target = self._features(indices), (scores - self._centre) / self._spread
        self._model = KernelRidge(kernel="rbf", alpha=0.05, gamma=0.02)
        folds = KFold(5, shuffle=True, random_state=0)
        predicted = cross_val_predict(self._model, features, target, cv=folds) * self._spread + self._centre
        self.error = {
            "mean_absolute_error": float(np.abs(predicted - scores).mean()),
            "r2": float(1 - ((predicted - scores) ** 2).mean() / scores.var()),
            "kendall_tau": float(kendalltau(predicted, scores).statistic),
            "n": len(scores),
        }
        self._model.fit(features, target)
        rows = self.space.sample(2 * POPULATION, torch.Generator().manual_seed(0))
        self._population = self.values(rows[self.space.is_valid(rows)][:POPULATION], task).sort().values

    def _log_costs(self, indices: torch.Tensor) -> np.ndarray:
        costs = torch.stack([self.space.flops(indices), self.space.parameters(indices)], dim=1)
        return costs.double().log().numpy()

    def _features(self, indices: torch.Tensor) -> np.ndarray:
        costs = (self._log_costs(self.space.canonical(indices)) - self._cost_centre) / self._cost_spread
        return np.concatenate([self.space.features(indices).double().numpy(), costs], axis=1)

    def values(self, indices: torch.Tensor, task: str) -> torch.Tensor:
        """Predicted scores, ``FloatTensor (batch,)``; a guess where a network is not connected."""
        rows, inverse = self.space.check(indices).unique(dim=0, return_inverse=True)
        predicted = self._model.predict(self._features(rows)) * self._spread + self._centre
        scores = torch.from_numpy(predicted).float()[inverse]
        return torch.where(self.space.is_connected(indices), scores, self.space.task(task).chance_score)

    def ranks(self, scores: torch.Tensor, task: str) -> torch.Tensor:
        """Share of uniform random architectures that are predicted to score higher, ``FloatTensor (batch,)``."""
        return 1 - torch.searchsorted(self._population, scores.contiguous(), right=True) / len(self._population)
