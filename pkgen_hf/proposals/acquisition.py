"""The acquisition: how promising each candidate is."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm, rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.preprocessing import StandardScaler

from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..spaces import SearchSpace, TaskLike
from .record import Record

FIRST = 10  # scores, before which the denoiser ranks: a Gaussian process of fewer is hardly more than its prior
# So many of the first proposals are what the pipeline itself ranks first, if the space is at least so similar to one
# of training. On NAS-Bench-201 (similar) 20 labels end at 91.57 in place of 91.53; on NAS-Bench-101 (not similar) a
# single one kept all that followed near it.
FAVOURITES, SIMILAR = 4, 0.5
# Standard deviations that are added to the mean: more explores more. Up to 2 made no difference on NAS-Bench-101.
EXPLORATION = 0.5
COLUMN_WEIGHT = 0.5  # of costs and the denoiser's scores, in standard deviations, beside one-hot choices


@dataclass(frozen=True)
class Acquisition:
    """Ranks candidates for a space and task: by the denoiser at first, then by a Gaussian process on all scores."""

    pipe: PKGenPipeline
    space: SearchSpace
    task: TaskLike | None
    prior: Prior

    def __call__(self, record: Record, candidates: torch.Tensor) -> np.ndarray:
        """How promising each of ``LongTensor (candidates, slots)`` is, ``(candidates,)``.

        Candidates begin with the pipeline's own ranking.
        """
        if len(record.means) >= FIRST and len(set(record.means.values())) > 1:
            return self._upper_confidence_bounds(record, candidates)
        acquisition = self._denoiser_scores(candidates)
        if self.pipe.similarity_to_training(self.space) >= SIMILAR:
            acquisition[: max(0, FAVOURITES - len(record.taken))] = np.inf
        return acquisition

    def _denoiser_scores(self, rows: torch.Tensor) -> np.ndarray:
        """The denoiser's ranking under the prior at the start, ``(rows,)``."""
        return self.pipe.rank(self.space, rows, self.task, self.prior).double().numpy()

    def _features(self, rows: torch.Tensor) -> np.ndarray:
        """The space's own, and beside them, standardised: the denoiser's scores and logarithms of costs."""
        columns = [self._denoiser_scores(rows)]
        with contextlib.suppress(NotImplementedError):  # a space of the user's own counts no costs
            for cost in (self.space.flops, self.space.parameters):
                columns.append(cost(rows).double().clamp(min=1).log().numpy())
        standardised = StandardScaler().fit_transform(np.stack(columns, axis=1))
        return np.concatenate([self.space.features(rows).double().numpy(), COLUMN_WEIGHT * standardised], axis=1)

    def _upper_confidence_bounds(self, record: Record, candidates: torch.Tensor) -> np.ndarray:
        """By a Gaussian process on normal scores of the ranks of the evaluations, ``(candidates,)``.

        The kernel has two length scales, one of choices that differ in detail and one of the overall trend, and noise;
        all are fitted by the marginal likelihood, within bounds.
        """
        number = len(record.means)
        features = self._features(torch.cat([self.space.canonical(record.rows(self.space)), candidates]))
        target = norm.ppf((rankdata(record.values) - 0.5) / number)
        kernel = (
            ConstantKernel(1.0, (0.1, 10)) * RBF(2.0, (0.5, 20))
            + ConstantKernel(0.5, (1e-3, 10)) * RBF(10.0, (3, 100))
            + WhiteKernel(0.1, (1e-3, 1))
        )
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        with warnings.catch_warnings():  # a length scale at its bound is no concern of the user's
            warnings.simplefilter("ignore", ConvergenceWarning)
            mean, deviation = process.fit(features[:number], target).predict(features[number:], return_std=True)
        return mean + EXPLORATION * deviation
