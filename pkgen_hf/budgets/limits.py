"""The limits of one call: which architectures obey all of them, and whether any does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from ..errors import TooFew, shortened, unknown
from ..inputs import real_number
from ..spaces import SearchSpace, TaskLike
from ..spaces.built_costs import MOST_AT_ONCE
from .budget import BUDGETS
from .limit import Limit
from .search import POOL, Measure, connected, descend, distinct, random_rows

# Of the search between upper and lower limits; set by hand.
BAND_STARTS = 128  # random architectures that are changed until they obey all limits
PART = 16  # architectures whose neighbours are listed at a time


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
        All valid architectures of choices that are drawn, whose cost is known. None if the space is too large to list.
    pool : LongTensor (n, slots) or None
        Architectures within the limits, at least one. None if there is no limit and the space is too large to list.
    is_complete : bool
        Whether `pool` holds all architectures within the limits.

    Raises
    ------
    ValueError
        For a limit that is not a positive number, limits that no architecture of the space obeys (the message names
        the nearest costs that there are), whose cost the space does not count, or for options that do not fit.
    """

    def __init__(self, space: SearchSpace, task: TaskLike | None = None, **arguments: Any) -> None:
        self.space = space
        self.limits = _limits(space, task, {name: value for name, value in arguments.items() if value is not None})
        self.listed = space.valid_rows
        for limit in self.limits:
            measured = limit.budget.measured(space, **limit.options)
            self.listed = self.listed if measured is None else measured
        if self.listed is not None and not bool((is_drawn := space.is_drawn(self.listed)).all()):
            self.listed = self.listed[is_drawn]
        self.pool, self.is_complete = self.listed, self.listed is not None
        if self.limits:
            candidates = self._candidates() if self.listed is None else self.listed
            self._check_possible(candidates)
            self.pool = candidates[self.within(candidates)]
            if self.listed is None:
                self.pool = connected(space, self.within, self.pool, PART if self.is_two_sided else POOL)
                # between an upper and a lower limit, single changes do not reach everything
                self.is_complete = len(self.pool) <= POOL and not self.is_two_sided

    def __bool__(self) -> bool:
        return bool(self.limits)

    def __str__(self) -> str:
        return ", ".join(map(str, self.limits))

    @property
    def is_two_sided(self) -> bool:
        """Whether there are both upper and lower limits."""
        return len({limit.bound.is_lower for limit in self.limits}) == 2

    def within(self, indices: torch.Tensor) -> torch.Tensor:
        """Which architectures obey every limit, ``BoolTensor (batch,)``."""
        return (self._excess(indices) <= 1).to(indices.device)

    def confirm(self, indices: torch.Tensor) -> None:
        """Raise ValueError unless architectures that are returned obey the limits by their built networks.

        Of many architectures, such a space has costs that were found to be sums over choices in a sample.
        """
        if not self.limits or self.space.build is None:
            return
        for part in indices.split(MOST_AT_ONCE):
            if not bool((inside := self.within(part)).all()):
                text = self.space.to_strings(part[~inside][:1])[0]
                raise ValueError(
                    f"costs of {self.space.name} are no sums over choices: the built network of {shortened(text)} is "
                    f"beyond {self}; override parameters() and flops()"
                )

    def check_number(self, num: int) -> None:
        """Raise TooFew if it is known that fewer than `num` distinct architectures are within the limits."""
        if (
            self.limits
            and self.is_complete
            and self.pool is not None
            and len(self.space.keys(self.pool).unique()) < num
        ):
            raise self.too_few(num, distinct(self.space, self.pool))

    def too_few(self, wanted: int, found: torch.Tensor, kind: str = "distinct architectures") -> TooFew:
        """The error for having found too few architectures, ``LongTensor (found, slots)``, within the limits."""
        change = "change" if any(limit.bound.is_lower for limit in self.limits) else "raise"
        advice = f"{change} a limit or pass distinct=False" if kind.startswith("distinct") else f"or {change} a limit"
        return TooFew(
            f"{wanted:,} {kind} of {self.space.name} were asked for, but {len(found):,} could be had within {self}; "
            f"ask for fewer, {advice}",
            found,
        )

    def _excess(self, indices: torch.Tensor) -> torch.Tensor:
        """The largest `Limit.excess`, ``DoubleTensor (batch,)``; 0 without limits, infinite for an unknown cost."""
        indices = indices.cpu()
        shares = [limit.excess(limit.costs(indices)) for limit in self.limits]
        if not shares:
            return torch.zeros(len(indices), dtype=torch.double)
        return torch.stack(shares).nan_to_num(nan=math.inf).amax(0)

    # ------------------------------------------------------------------ whether the limits are possible

    def _candidates(self) -> torch.Tensor:
        """Architectures of a space too large to list that are within the limits, or as near to them as were found.

        Random ones, and what changing these one slot at a time leads to.
        """
        samples = random_rows(self.space)
        if len(samples) and self.is_two_sided:
            return self._between(samples)
        if not len(samples) or bool(self.within(samples).any()):
            return samples
        objectives: list[Measure] = [limit.signed for limit in self.limits]
        if len(self.limits) > 1:  # of a single limit, the excess is the cost in other units
            objectives.append(self._excess)
        return torch.cat([samples, *(descend(self.space, objective, samples) for objective in objectives)])

    def _between(self, samples: torch.Tensor) -> torch.Tensor:
        """The same, given random ones, for upper and lower limits, between which few random ones may be."""
        for limit in self.limits:
            if not bool(limit.obeyed(limit.costs(samples)).any()):
                samples = torch.cat([samples, descend(self.space, limit.signed, samples)])
                if not bool(limit.obeyed(limit.costs(samples)).any()):
                    return samples
        samples = torch.cat([samples, descend(self.space, self._excess, samples, BAND_STARTS, enough=1.0)])
        if not bool(self.within(samples).any()):
            sides = [limit.missed for band in _bands(self.limits) for limit in band]
            samples = torch.cat([samples, *(descend(self.space, side, samples) for side in sides)])
        return samples

    def _check_possible(self, indices: torch.Tensor) -> None:
        """One clear error, with the nearest costs of these architectures, if none of them is within the limits."""
        if bool(self.within(indices).any()):
            return
        name = self.space.name
        for limit in self.limits:
            costs = limit.costs(indices)
            costs = costs[~costs.isnan()]
            if not len(costs):
                raise limit.unknown_cost()
            if not bool(limit.obeyed(costs).any()):
                raise ValueError(f"{limit} is impossible: {limit.extreme(costs, f' network of {name}')}")
        for lower, upper in _bands(self.limits):
            costs = lower.costs(indices)
            if bool((lower.obeyed(costs) & upper.obeyed(costs)).any()):
                continue
            found = "is" if self.listed is not None else "was found"
            below, above = costs[costs < lower.value].max(), costs[costs > upper.value].min()
            raise ValueError(
                f"no network of {name} {found} within {lower}, {upper}: the nearest below has "
                f"{lower.describe(float(below))}, the nearest above {lower.describe(float(above))}"
            )
        first, *others = self.limits
        obeys = indices[torch.stack([limit.obeyed(limit.costs(indices)) for limit in others]).all(0)]
        if not len(obeys):
            raise ValueError(f"no network of {name} obeys all of {self}, nor all of them but {first}")
        nearest = first.extreme(first.costs(obeys))
        raise ValueError(f"no network of {name} obeys all of {self}: within the others {nearest}")


def _limits(space: SearchSpace, task: TaskLike | None, given: dict[str, Any]) -> list[Limit]:
    """The limits among arguments of the pipeline, with their options."""
    bounds = {bound.argument: bound for budget in BUDGETS for bound in budget.bounds}
    allowed = [*bounds, *(name for budget in BUDGETS for name in budget.options)]
    for name in given:
        if name not in allowed:
            raise unknown("limit", name, allowed)
    space.data_set(task)
    values = {
        name: real_number(
            name, given[name], f"a positive number of {bound.budget.unit}", math.ulp(0.0), math.nextafter(math.inf, 0)
        )
        for name, bound in bounds.items()
        if name in given
    }
    limits = []
    for budget in BUDGETS:
        own = {name: given[name] for name in budget.options if name in given}
        used = [bound for bound in budget.bounds if bound.argument in values]
        if own and not used:
            *first, last = (f"{name}=" for name in budget.options)
            names = f"{', '.join(first)} and {last}" if first else last
            raise ValueError(f"{names} say what {budget.argument} is about, which was not given")
        if used:
            options = budget.prepare(space, task, **own)
            limits += [Limit(bound, values[bound.argument], space, task, options) for bound in used]
    for lower, upper in _bands(limits):
        if lower.value > upper.value:
            raise ValueError(f"{lower} is above {upper}: no network can obey both")
    return limits


def _bands(limits: Sequence[Limit]) -> list[tuple[Limit, Limit]]:
    """Lower and upper limit of each budget that has both."""
    lower = {limit.budget.name: limit for limit in limits if limit.bound.is_lower}
    upper = {limit.budget.name: limit for limit in limits if not limit.bound.is_lower}
    return [(lower[name], upper[name]) for name in upper if name in lower]
