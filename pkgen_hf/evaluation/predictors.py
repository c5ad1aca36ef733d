"""Standard regressors on the choices and costs of a few labelled architectures."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import torch
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.preprocessing import StandardScaler

from ..priors.effects import normal_scores
from ..spaces import SearchSpace
from .problem import Labels

COST_WEIGHT = 0.5  # of standardised logarithms of costs, beside one-hot choices
TREES = 200


def features(space: SearchSpace, task: str, rows: torch.Tensor) -> np.ndarray:
    """One-hot choices and standardised logarithms of multiply-adds and parameters, ``(n, features)``."""
    columns = [space.features(rows).double().numpy()]
    with contextlib.suppress(NotImplementedError):  # a space without cost functions
        costs = torch.stack([space.flops(rows, task), space.parameters(rows, task)], dim=1)
        columns.append(COST_WEIGHT * StandardScaler().fit_transform(costs.double().clamp(min=1).log().numpy()))
    return np.concatenate(columns, axis=1)


def gaussian_process(
    space: SearchSpace, task: str, labels: Labels, rows: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the normal score of ``(n, slots)``, ``(n,)`` each.

    The kernel has two length scales, one of choices that differ in detail and one of the overall trend, and noise;
    all are fitted by the marginal likelihood, within bounds.
    """
    known, scores = labels
    inputs = features(space, task, torch.cat([space.canonical(known), rows]))
    kernel = (
        ConstantKernel(1.0, (0.1, 10)) * RBF(2.0, (0.5, 20))
        + ConstantKernel(0.5, (1e-3, 10)) * RBF(10.0, (3, 100))
        + WhiteKernel(0.1, (1e-3, 1))
    )
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():  # a length scale at its bound
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(inputs[: len(known)], normal_scores(scores))
    return process.predict(inputs[len(known) :], return_std=True)


def random_forest(space: SearchSpace, task: str, labels: Labels, rows: torch.Tensor, seed: int) -> np.ndarray:
    """Mean normal score of `TREES` regression trees for ``(n, slots)``, ``(n,)``."""
    known, scores = labels
    inputs = features(space, task, torch.cat([space.canonical(known), rows]))
    forest = RandomForestRegressor(TREES, random_state=seed).fit(inputs[: len(known)], normal_scores(scores))
    return forest.predict(inputs[len(known) :])
