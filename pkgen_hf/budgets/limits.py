"""The limits of one call: which architectures obey all of them, and whether any does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import TooFew, unknown
from ..inputs import real_number
from ..spaces import SearchSpace
from .budget import BUDGETS, Budget

# Of the search for architectures within the limits of a space too large to list. Set by hand: with these, the descent
# finds the smallest network of NAS-Bench-101's table and of DARTS, in seconds.
SAMPLES = 2048  # random architectures, of which the search starts
STARTS = 64  # cheapest ones among them, from which a descent starts
POOL = 512  # architectures within the limits: with more than these the search for further ones ends


@dataclass(frozen=True)
class Limit:
    """One budget of a call: the most that a network of a space may cost at the scale of a task."""

    budget: Budget
    most: float
    space: SearchSpace
    task: str | None = None
    options: dict[str, Any] = field(default_factory=dict)  # as returned by `Budget.prepare`

    def costs(self, indices: torch.Tensor) -> torch.Tensor:
        """Cost of each network, ``DoubleTensor (batch,)``, NaN where it is unknown; ValueError if none is counted."""
        try:
            return self.budget.costs(self.space, indices, self.task, **self.options)
        except NotImplementedError as error:
            raise ValueError(f"{self.budget.argument} cannot be held to: {error}") from error

    def unknown_cost(self) -> ValueError:
        """The error for knowing the cost of no architecture."""
        name = self.space.name
        return ValueError(
            f"{self.budget.argument} cannot be held to: no valid architecture of {name} has a known cost"
        )

    def __str__(self) -> str:
        most = int(self.most) if self.most == int(self.most) else self.most
        return f"{self.budget.argument}={most:,}"

    def describe(self, cost: float) -> str:
        """A cost in full, e.g. ``73,306 parameters``."""
        number = f"{int(cost):,}" if cost == int(cost) else f"{cost:,.4f}"
        return f"{number} {self.budget.unit}"


class Limits:
    """Limits on the networks of one space at the scale of one task; false if there is no limit.

    Parameters
    ----------
    space, task
        A kind of task stands for its first data set in the space, None for the first task of the space.
    **arguments
        Arguments of `PKGenPipeline` by name: those of `BUDGETS` (``max_parameters``, ...) and their options
        (``device``, ...). None counts as not given.

    Attributes
    ----------
    limits : list of Limit
    listed : LongTensor (n, slots) or None
        All valid architectures whose cost is known. None if the space is too large to list.
    pool : LongTensor (n, slots) or None
        Architectures within the limits, at least one. None if there is no limit and the space is too large to list.
    is_complete : bool
        Whether `pool` holds all architectures within the limits.

    Raises
    ------
    ValueError
        For a limit that is not a positive number, that no architecture of the space obeys (the message names the
        smallest possible cost), whose cost the space does not count, or for options that do not fit.
    """

    def __init__(self, space: SearchSpace, task: str | None = None, **arguments: Any) -> None:
        self.space = space
        self.limits = _limits(space, task, {name: value for name, value in arguments.items() if value is not None})
        self.listed = space.valid_rows
        for limit in self.limits:
            measured = limit.budget.measured(space, **limit.options)
            self.listed = self.listed if measured is None else measured
        self.pool, self.is_complete = self.listed, self.listed is not None
        if self.limits:
            candidates = self._cheap() if self.listed is None else self.listed
            self._check_possible(candidates)
            self.pool = candidates[self.within(candidates)]
            if self.listed is None:
                self.pool = self._connected(self.pool)
                self.is_complete = len(self.pool) <= POOL

    def __bool__(self) -> bool:
        return bool(self.limits)

    def __str__(self) -> str:
        return ", ".join(map(str, self.limits))

    def within(self, indices: torch.Tensor) -> torch.Tensor:
        """Which architectures obey every limit, ``BoolTensor (batch,)``."""
        return (self._excess(indices) <= 1).to(indices.device)

    def check_number(self, num: int) -> None:
        """Raise TooFew if it is known that fewer than `num` distinct architectures are within the limits."""
        if (
            self.limits
            and self.is_complete
            and self.pool is not None
            and len(self.space.keys(self.pool).unique()) < num
        ):
            raise self.too_few(num, self._distinct(self.pool))

    def too_few(self, wanted: int, found: torch.Tensor, kind: str = "distinct architectures") -> TooFew:
        """The error for having found too few architectures, ``LongTensor (found, slots)``, within the limits."""
        advice = "raise a limit or pass distinct=False" if kind.startswith("distinct") else "or raise a limit"
        return TooFew(
            f"{wanted:,} {kind} of {self.space.name} were asked for, but {len(found):,} could be had within {self}; "
            f"ask for fewer, {advice}",
            found,
        )

    def _excess(self, indices: torch.Tensor) -> torch.Tensor:
        """The largest of cost / limit, ``DoubleTensor (batch,)``; 0 without limits, infinite for an unknown cost."""
        indices = indices.cpu()
        shares = [limit.costs(indices) / limit.most for limit in self.limits]
        if not shares:
            return torch.zeros(len(indices), dtype=torch.double)
        return torch.stack(shares).nan_to_num(nan=math.inf).amax(0)

    # ------------------------------------------------------------------ the pool

    def _check_possible(self, indices: torch.Tensor) -> None:
        """One clear error, with the smallest cost among these architectures, if none of them is within the limits."""
        if bool(self.within(indices).any()):
            return
        for limit in self.limits:
            costs = limit.costs(indices)
            costs = costs[~costs.isnan()]
            if not len(costs):
                raise limit.unknown_cost()
            if (least := float(costs.min())) > limit.most:
                raise ValueError(
                    f"{limit} is impossible: the smallest network of {self.space.name} has {limit.describe(least)}"
                )
        first, *others = self.limits
        obeys = indices[torch.stack([limit.costs(indices) <= limit.most for limit in others]).all(0)]
        least_of_first = first.describe(float(first.costs(obeys).min())) if len(obeys) else f"more {first.budget.unit}"
        raise ValueError(
            f"no network of {self.space.name} obeys all of {self}: within the others the smallest has {least_of_first}"
        )

    def _cheap(self) -> torch.Tensor:
        """Architectures of low cost in a space too large to list: random ones, and the results of a greedy descent."""
        space = self.space
        samples = space.sample(SAMPLES, torch.Generator().manual_seed(0))
        samples = samples[space.is_valid(samples)]
        if not len(samples) or bool(self.within(samples).any()):
            return samples
        objectives: list[Callable[[torch.Tensor], torch.Tensor]] = [
            self._excess,
            *(limit.costs for limit in self.limits),
        ]
        return torch.cat([samples, *(self._descend(cost, samples) for cost in objectives)])

    def _descend(self, cost: Callable[[torch.Tensor], torch.Tensor], samples: torch.Tensor) -> torch.Tensor:
        """The cheapest samples after changing one slot at a time as long as that lowers the cost."""
        best = samples[cost(samples).argsort()[:STARTS]]
        while True:
            near = neighbours(self.space, best)
            costs = cost(near.flatten(0, 1)).masked_fill(~self.space.is_valid(near.flatten(0, 1)), math.inf)
            costs, which = costs.reshape(len(best), -1).min(1)
            better = costs < cost(best)
            if not bool(better.any()):
                return best
            best = torch.where(better[:, None], near[torch.arange(len(best)), which], best)

    def _connected(self, start: torch.Tensor) -> torch.Tensor:
        """Architectures within the limits reached from `start` by changing one slot at a time: all, or over `POOL`."""
        space = self.space
        found = new = self._distinct(start)
        while len(new) and len(found) <= POOL:
            near = neighbours(space, new).flatten(0, 1)
            near = self._distinct(near[space.is_valid(near)])
            near = near[~torch.isin(space.keys(near), space.keys(found))]
            new = near[self.within(near)]
            found = torch.cat([found, new])
        return found

    def _distinct(self, indices: torch.Tensor) -> torch.Tensor:
        """The canonical architecture of each isomorphism class."""
        return self.space.classes(self.space.canonical(indices))[0]


def _limits(space: SearchSpace, task: str | None, given: dict[str, Any]) -> list[Limit]:
    """The limits among arguments of the pipeline, with their options."""
    allowed = [name for budget in BUDGETS for name in (budget.argument, *budget.options)]
    for name in given:
        if name not in allowed:
            raise unknown("limit", name, allowed)
    space.data_set(task)
    used = [budget for budget in BUDGETS if budget.argument in given]
    least, most_of_all = math.ulp(0.0), math.nextafter(math.inf, 0)
    most = {
        budget.argument: real_number(
            budget.argument, given[budget.argument], f"a positive number of {budget.unit}", least, most_of_all
        )
        for budget in used
    }
    taken = [name for budget in used for name in budget.options]
    for budget in BUDGETS:
        if any(name in given and name not in taken for name in budget.options):
            options = " and ".join(f"{name}=" for name in budget.options)
            raise ValueError(f"{options} say what {budget.argument} is about, which was not given")
    limits = []
    for budget in used:
        own = {name: given[name] for name in budget.options if name in given}
        limits.append(Limit(budget, most[budget.argument], space, task, budget.prepare(space, task, **own)))
    return limits


def neighbours(space: SearchSpace, indices: torch.Tensor) -> torch.Tensor:
    """Architectures with one slot changed, and each itself, ``LongTensor (batch, changes, slots)``."""
    changes = [(s, k) for s, size in enumerate(space.sizes.tolist()) for k in range(size)]
    near = indices[:, None].repeat(1, len(changes), 1)
    slots, choices = torch.tensor(changes).T
    near[:, torch.arange(len(changes)), slots] = choices
    return near
