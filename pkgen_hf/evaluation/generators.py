"""PKGen as a method: one call of the pipeline."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import TooFew
from .problem import Problem

RAW = 1000  # samples as they come, whose mean others report


def generate(problem: Problem, num: int, **call: Any) -> torch.Tensor:
    """Architectures of the pipeline, best first by its own ranking, ``LongTensor (num, slots)``.

    Parameters
    ----------
    problem
        Given labels reach the pipeline as evaluations.
    num
        How many; fewer where the limits leave fewer.
    **call
        Arguments of the pipeline in place of its defaults.
    """
    arguments = {"evaluations": problem.given, **problem.budgets, **call}
    try:
        out = problem.pipe(
            problem.space,
            problem.task,
            num_architectures=min(num, problem.space.num_architectures),
            generator=problem.generator(),
            **arguments,
        )
    except TooFew as error:
        return error.rows
    return torch.tensor([architecture.indices for architecture in out.architectures])


def raw_samples(problem: Problem, num: int) -> torch.Tensor:
    """`RAW` samples as they come, in the pipeline's order: for comparison with means that others report."""
    return generate(problem, RAW, distinct=False)
