"""One limit of a call: what it holds costs to, and how it is written in messages."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from ..spaces import SearchSpace, TaskLike
from .budget import Bound, Budget


@dataclass(frozen=True)
class Limit:
    """One limit of a call: the most, or the least, that a network of a space may cost at the scale of a task."""

    bound: Bound
    value: float
    space: SearchSpace
    task: TaskLike | None = None
    options: dict[str, Any] = field(default_factory=dict)  # as returned by `Budget.prepare`

    @property
    def budget(self) -> Budget:
        """What is limited."""
        return self.bound.budget

    def costs(self, indices: torch.Tensor) -> torch.Tensor:
        """Cost of each network, ``DoubleTensor (batch,)``, NaN where it is unknown; ValueError if none is counted."""
        try:
            return self.budget.costs(self.space, indices, self.task, **self.options)
        except NotImplementedError as error:
            raise ValueError(f"{self.bound.argument} cannot be held to: {error}") from error

    def signed(self, indices: torch.Tensor) -> torch.Tensor:
        """Costs, of a lower limit with a minus sign: the limit is obeyed up to ``bound.sign * value``."""
        return self.bound.sign * self.costs(indices)

    def excess(self, costs: torch.Tensor) -> torch.Tensor:
        """Share of the limit that costs make up, inverted for a lower limit: at most 1 where the limit is obeyed."""
        return self.value / costs if self.bound.is_lower else costs / self.value

    def obeyed(self, costs: torch.Tensor) -> torch.Tensor:
        """Which costs obey the limit, ``BoolTensor (batch,)``."""
        return self.excess(costs) <= 1

    def unknown_cost(self) -> ValueError:
        """The error for knowing the cost of no architecture."""
        name = self.space.name
        return ValueError(f"{self.bound.argument} cannot be held to: no valid architecture of {name} has a known cost")

    def missed(self, indices: torch.Tensor) -> torch.Tensor:
        """By how much costs miss the limit, ``DoubleTensor (batch,)``, infinite where they obey it."""
        by = self.signed(indices) - self.bound.sign * self.value
        return by.masked_fill(by <= 0, math.inf)

    def extreme(self, costs: torch.Tensor, of: str = "") -> str:
        """The cost among these that is nearest to obeying the limit, in words."""
        nearest = float((self.bound.sign * costs).min()) * self.bound.sign
        return f"the {self.budget.extremes[self.bound.is_lower]}{of} has {self.describe(nearest)}"

    def __str__(self) -> str:
        value = int(self.value) if self.value == int(self.value) else self.value
        return f"{self.bound.argument}={value:,}"

    def describe(self, cost: float) -> str:
        """A cost in full, e.g. ``73,306 parameters``."""
        number = f"{int(cost):,}" if cost == int(cost) else f"{cost:,.4f}"
        return f"{number} {self.budget.unit}"
