"""A problem that methods solve: all that they may know, and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from ..budgets.limits import Limits
from ..pipeline_pkgen import PKGenPipeline
from ..priors.prior import Prior
from ..spaces import SearchSpace

Labels = tuple[torch.Tensor, torch.Tensor]
"""Architectures ``LongTensor (n, slots)`` and their scores ``FloatTensor (n,)``, higher is better."""
Read = Callable[[torch.Tensor], list[float]]
"""From architectures ``(n, slots)`` to their scores."""


def no_label(indices: torch.Tensor) -> list[float]:
    """Of a problem without search: nothing may be read."""
    raise RuntimeError(f"{len(indices)} labels were read, where none may be")


@dataclass(frozen=True)
class Problem:
    """What is asked: good architectures of a space for a task.

    Attributes
    ----------
    space, task
        The target.
    pipe
        A pipeline that has read the labels that the setting allows.
    budgets
        Arguments of the pipeline that limit costs.
    limits
        The same; false without a budget.
    given
        Labels of the target that are given, at random; None without.
    others
        Consensus scores of the space's other data sets that the setting allows, see `ScoreTable.consensus`; None where
        there are none.
    read
        Reads labels of the target, in a search.
    run
        Number of the run, the seed of all that is random.
    """

    space: SearchSpace
    task: str
    pipe: PKGenPipeline
    limits: Limits
    budgets: dict[str, Any] = field(default_factory=dict)
    given: Labels | None = None
    others: Labels | None = None
    read: Read = field(default=no_label)
    run: int = 0

    def generator(self) -> torch.Generator:
        """A new generator of random numbers of this run."""
        return torch.Generator().manual_seed(self.run)

    @cached_property
    def carried_prior(self) -> Prior:
        """What the pipeline is conditioned on: of the checkpoint."""
        return self.pipe.select_prior(self.space, self.task, None)

    @cached_property
    def prior(self) -> Prior:
        """A prior that is used without evaluations beside it: of the given labels, else of the checkpoint."""
        if self.given is None:
            return self.carried_prior
        return Prior.from_evaluations(self.space, *self.given, self.task)
