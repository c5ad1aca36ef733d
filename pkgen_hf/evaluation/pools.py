"""Baselines that rank a pool of random architectures by a predictor: PKGen's own, or a regressor on the labels."""

from __future__ import annotations

import numpy as np
import torch

from .predictors import gaussian_process, random_forest
from .problem import Problem
from .specification import uniform_within

POOL = 10_000


def by_ranking(problem: Problem, num: int) -> torch.Tensor:
    """The best of the pool by PKGen's own ranking, with the evaluations given, ``LongTensor (num, slots)``."""
    pool = _pool(problem)
    return _best(pool, problem.pipe.rank(problem.space, pool, problem.task, evaluations=problem.given).numpy(), num)


def by_gaussian_process(problem: Problem, num: int) -> torch.Tensor:
    """The best of the pool by a Gaussian process on the given labels, ``LongTensor (num, slots)``."""
    assert problem.given is not None
    pool = _pool(problem)
    return _best(pool, gaussian_process(problem.space, problem.task, problem.given, pool)[0], num)


def by_random_forest(problem: Problem, num: int) -> torch.Tensor:
    """The best of the pool by a random forest on the given labels, ``LongTensor (num, slots)``."""
    assert problem.given is not None
    pool = _pool(problem)
    return _best(pool, random_forest(problem.space, problem.task, problem.given, pool, problem.run), num)


def _pool(problem: Problem) -> torch.Tensor:
    return uniform_within(problem.limits, POOL, problem.generator())


def _best(pool: torch.Tensor, scores: np.ndarray, num: int) -> torch.Tensor:
    return pool[torch.from_numpy(np.argsort(-scores, kind="stable")[:num].copy())]
