r"""Limits on what a network may cost, and how generation is steered below them.

Of all distributions whose mean cost obeys a limit, the one nearest to the denoiser's (in Kullback-Leibler divergence)
is its exponential tilt, :math:`p_\lambda(k) \propto p(k) e^{-\lambda c(k)}`, with the least :math:`\lambda \ge 0` that
does: a choice is held back as far as it costs, and not at all where the limit is far. Costs of choices, c, come from a
linear regression of networks' costs on their choices. What is drawn is then counted exactly: nothing that exceeds a
limit is returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from ..benchmarks.latencies import LatencyTable
from ..errors import TooFew, shortened
from ..inputs import real_number
from ..spaces import SearchSpace
from ..spaces.parts import group_means

_UNITS = {"max_parameters": "parameters", "max_flops": "multiply-adds", "max_latency": "ms"}
_SAMPLES = 2048  # networks that the regression of costs on choices sees
_LISTED = 512  # architectures that are listed where so few are within
_STARTS = 64  # from which the smallest cost is looked for where a space is too large to list
_HALVINGS = 30
_LARGEST = 60.0  # of lambda times the spread of costs; more changes nothing


@dataclass
class _Limit:
    name: str
    most: float
    cost: Callable[[torch.Tensor], torch.Tensor]  # (batch, slots) to (batch,); NaN where it does not run
    effects: torch.Tensor  # (slots, choices)
    offset: float


class Limits:
    """Limits on the networks of one space at one task's scale; `Steering` holds what a call learns of them.

    Parameters
    ----------
    space, task
        A kind of task is the scale of its first data set, None that of the space's first task.
    max_parameters, max_flops
        Trainable parameters; multiply-adds of a forward pass.
    max_latency, device, latencies
        Milliseconds on a device of a `LatencyTable`, or of the file, folder or Hub id that one is loaded from.
        Networks that it does not hold are never within the limit.

    Attributes
    ----------
    costs : list, each limit with its cost function and the effects of choices on it
    rows : LongTensor (rows, slots) or None
        All architectures within the limits, where the space or those within are few enough to be listed.
    known : LongTensor (rows, slots)
        Some of them, at least one.

    Raises
    ------
    ValueError
        For a limit that is not a positive number, that no architecture of the space obeys (the message says what the
        least is), or that the space cannot be held to.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: str | None = None,
        max_parameters: float | None = None,
        max_flops: float | None = None,
        max_latency: float | None = None,
        device: str | None = None,
        latencies: LatencyTable | str | Path | None = None,
    ) -> None:
        self.space = space
        if latencies is not None and not isinstance(latencies, LatencyTable | str | Path):
            raise ValueError(f"latency_table must be a LatencyTable, a file or a Hub id, got {shortened(latencies)}")
        if latencies is not None and not isinstance(latencies, LatencyTable):
            latencies = LatencyTable.load(space, latencies)
        task = space.data_set(task)
        costs: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "max_parameters": lambda rows: space.parameters(rows, task).double(),
            "max_flops": lambda rows: space.flops(rows, task).double(),
        }
        given = {"max_parameters": max_parameters, "max_flops": max_flops, "max_latency": max_latency}
        least, most_of_all = math.ulp(0.0), math.nextafter(math.inf, 0)
        limits = {
            name: real_number(name, most, f"a positive number of {_UNITS[name]}", least, most_of_all)
            for name, most in given.items()
            if most is not None
        }
        known = space.valid_rows
        if max_latency is not None:
            if latencies is None or device is None:
                raise ValueError(
                    "max_latency needs device= and latency_table=, a Parquet file or Hub id of measured latencies"
                    + (f"; devices of this table: {', '.join(latencies.devices)}" if latencies is not None else "")
                )
            space.check_same(latencies.space, "this table of latencies")
            table, where, on = latencies, task or "", device
            table.column(where, on)
            costs["max_latency"] = lambda rows: table.latencies(rows, where, on)
            known = table.indices[space.is_valid(table.indices)]
        elif device is not None or latencies is not None:
            raise ValueError("device= and latency_table= say what max_latency is about, which was not given")
        self.costs = [self._limit(name, most, costs[name], known) for name, most in limits.items()]
        self.rows = self.known = None if known is None else known[self.within(known)]
        if known is None:
            cheap = self._cheap_rows()
            self._check_possible(cheap)
            self.known = self._near(cheap[self.within(cheap)])
            self.rows = self.known if len(self.known) <= _LISTED else None
        elif not len(self.rows):  # type: ignore[arg-type]
            self._check_possible(known)

    # ------------------------------------------------------------------ what is within

    def within(self, indices: torch.Tensor) -> torch.Tensor:
        """Which architectures obey every limit, ``BoolTensor (batch,)``."""
        return (self._excess(indices) <= 1).to(indices.device)

    def check_number(self, num: int) -> None:
        """Raise TooFew if fewer than `num` distinct architectures are within, where those are listed."""
        if self.rows is not None and len(self.space.keys(self.rows).unique()) < num:
            raise self.too_few(num, _distinct(self.space, self.rows))

    def too_few(self, wanted: int, rows: torch.Tensor, kind: str = "distinct architectures") -> TooFew:
        """The error that says how few architectures, `rows` ``(found, slots)``, were found within the limits."""
        advice = "raise a limit or pass distinct=False" if kind.startswith("distinct") else "or raise a limit"
        return TooFew(
            f"{wanted:,} {kind} of {self.space.name} were asked for, but {len(rows):,} could be had within {self}; "
            f"ask for fewer, {advice}",
            rows,
        )

    def __str__(self) -> str:
        return ", ".join(f"{limit.name}={_exact(limit.most)}" for limit in self.costs)

    def _excess(self, indices: torch.Tensor) -> torch.Tensor:
        """The largest of cost / limit, ``DoubleTensor (batch,)``; infinite where a network does not run."""
        rows = indices.cpu()
        shares = torch.stack([limit.cost(rows) / limit.most for limit in self.costs])
        return shares.nan_to_num(nan=math.inf).amax(0)

    def _cheap_rows(self) -> torch.Tensor:
        """Architectures of low cost: random ones, and those that no change of one slot brings nearer to the limits."""
        space = self.space
        rows = space.sample(_SAMPLES, torch.Generator().manual_seed(0))
        rows = rows[space.is_valid(rows)]
        found = [rows]
        if bool(self.within(rows).any()):
            return rows
        costs: list[Callable[[torch.Tensor], torch.Tensor]] = [self._excess, *(limit.cost for limit in self.costs)]
        for cost in costs:
            best = rows[cost(rows).argsort()[:_STARTS]]
            while True:
                near = _neighbours(space, best)
                price = cost(near.flatten(0, 1)).masked_fill(~space.is_valid(near.flatten(0, 1)), math.inf)
                price, which = price.reshape(len(best), -1).min(1)
                better = price < cost(best)
                if not bool(better.any()):
                    break
                best = torch.where(better[:, None], near[torch.arange(len(best)), which], best)
            found.append(best)
        return torch.cat(found)

    def _near(self, rows: torch.Tensor) -> torch.Tensor:
        """Those within the limits that steps of one slot lead to from those given: all, or more than `_LISTED`."""
        space = self.space
        found = new = _distinct(space, rows)
        while len(new) and len(found) <= _LISTED:
            near = _neighbours(space, new).flatten(0, 1)
            near = _distinct(space, near[space.is_valid(near)])
            near = near[~torch.isin(space.keys(near), space.keys(found))]
            new = near[self.within(near)]
            found = torch.cat([found, new])
        return found

    def _check_possible(self, rows: torch.Tensor) -> None:
        """One clear error, with the least of each cost among rows, if none of them is within the limits."""
        if bool(self.within(rows).any()):
            return
        for limit in self.costs:
            costs = limit.cost(rows)
            costs = costs[~costs.isnan()]
            least = float(costs.min()) if len(costs) else math.inf
            if least > limit.most:
                raise ValueError(
                    f"{limit.name}={_exact(limit.most)} is impossible: the smallest network of {self.space.name} has "
                    f"{_number(least)} {_UNITS[limit.name]}"
                )
        first, *others = self.costs
        obeys = rows[torch.stack([limit.cost(rows) <= limit.most for limit in others]).all(0)]
        least_of_first = _number(float(first.cost(obeys).min())) if len(obeys) else "more"
        raise ValueError(
            f"no network of {self.space.name} obeys all of {self}: within the others the smallest has "
            f"{least_of_first} {_UNITS[first.name]}"
        )

    # ------------------------------------------------------------------ how generation is steered

    def _limit(
        self, name: str, most: float, cost: Callable[[torch.Tensor], torch.Tensor], known: torch.Tensor | None
    ) -> _Limit:
        """With the effect of each choice, by ridge regression on random architectures."""
        space, generator = self.space, torch.Generator().manual_seed(0)
        if known is None:
            rows = space.sample(_SAMPLES, generator)
            rows = rows[space.is_valid(rows)]
        else:
            rows = known[torch.randperm(len(known), generator=generator)[:_SAMPLES]]
        try:
            target = cost(rows)
        except NotImplementedError as error:
            raise ValueError(f"{name} cannot be held to: {error}") from error
        rows, target = rows[~target.isnan()], target[~target.isnan()]
        if not len(rows):
            raise ValueError(f"{name} cannot be held to: of no valid architecture of {space.name} is the cost known")
        one_hot = F.one_hot(rows, space.num_choices).flatten(1).double()
        centre, mean = one_hot.mean(0), target.mean()
        gram = (one_hot - centre).T @ (one_hot - centre) + 1e-3 * torch.eye(one_hot.shape[1], dtype=torch.double)
        effects = torch.linalg.solve(gram, (one_hot - centre).T @ (target - mean))
        offset = float(mean - centre @ effects)
        return _Limit(name, most, cost, effects.reshape(space.num_slots, -1), offset)


class Steering:
    """How the samples of one call are kept below limits, corrected after each round by the costs of its samples.

    Parameters
    ----------
    limits
        What is to be obeyed; it stays as it is.
    items
        How many are steered by themselves: one by one where each has a random generator of its own, so that none
        depends on what others drew; else 1.
    device
        Of the samples.
    """

    def __init__(self, limits: Limits, items: int = 1, device: torch.device | str = "cpu") -> None:
        self.limits = limits
        self.margins = torch.zeros(items, dtype=torch.float32, device=device)
        offsets = [[limit.offset] * items for limit in limits.costs]
        self.offsets = torch.tensor(offsets, dtype=torch.double, device=device)

    def tilt(
        self, logits: torch.Tensor, evidence: torch.Tensor | None = None, which: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits whose mean cost, and a margin of standard deviations, obeys the limits.

        Parameters
        ----------
        logits
            ``FloatTensor (batch, slots, choices)``, minus infinity where there is no choice.
        evidence
            Added to the logits before probabilities are made of them, of the same shape.
        which
            Item of each row, ``LongTensor (batch,)``; by default all are of the first.
        """
        which = logits.new_zeros(1, dtype=torch.long) if which is None else which
        for _ in self.limits.costs:  # holding to one limit moves the others
            for limit, offsets in zip(self.limits.costs, self.offsets, strict=True):
                strength = _strength(limit, offsets[which], self.margins[which], logits, evidence)
                logits = logits - strength[:, None, None] * _scaled(limit, logits)
        return logits

    def learn(self, indices: torch.Tensor, which: torch.Tensor | None = None) -> None:
        """Correct the offsets of the regression by the costs of samples, and adapt the margins below the limits.

        Parameters
        ----------
        indices
            Valid samples, ``LongTensor (batch, slots)``.
        which
            Item of each, as in `tilt`.
        """
        rows, items = indices.cpu(), len(self.margins)
        which = torch.zeros(len(rows), dtype=torch.long) if which is None else which.cpu()
        for number, limit in enumerate(self.limits.costs):
            costs = limit.cost(rows)
            fit = F.one_hot(rows, self.limits.space.num_choices).double().mul(limit.effects).sum((1, 2))
            runs = ~costs.isnan()
            mean = group_means(costs[runs] - fit[runs], which[runs], items)  # NaN of items that drew nothing
            self.offsets[number] = torch.where(mean.isnan(), self.offsets[number].cpu(), mean).to(self.offsets.device)
        share = group_means(self.limits.within(rows).double(), which, items)
        steps = torch.where(share < 0.5, 0.5, -0.5).masked_fill(share.isnan(), 0.0)
        self.margins += steps.to(self.margins)


def _strength(
    limit: _Limit,
    offset: torch.Tensor,
    margin: torch.Tensor,
    logits: torch.Tensor,
    evidence: torch.Tensor | None,
) -> torch.Tensor:
    """The least lambda of each row, by bisection, ``FloatTensor (batch,)``."""
    effects = _scaled(limit, logits)
    most = ((limit.most - offset) / float(limit.effects.abs().max().clamp(min=1e-12))).float()
    full = logits.float() if evidence is None else logits.float() + evidence

    def exceeds(strength: torch.Tensor) -> torch.Tensor:
        chance = (full - strength[:, None, None] * effects).softmax(-1)
        mean = (chance * effects).sum(-1)
        variance = (chance * effects.square()).sum(-1) - mean.square()
        return mean.sum(-1) + margin * variance.sum(-1).clamp(min=0).sqrt() > most

    low = logits.new_zeros(len(logits), dtype=torch.float32)
    high = torch.full_like(low, _LARGEST)
    over = exceeds(low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = exceeds(middle)
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.where(over, high, 0.0)


def _exact(value: float) -> str:
    return f"{int(value) if value == int(value) else value:,}"


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,.4f}"


def _scaled(limit: _Limit, logits: torch.Tensor) -> torch.Tensor:
    """Effects in units of the largest, ``FloatTensor (slots, choices)``."""
    return (limit.effects / limit.effects.abs().max().clamp(min=1e-12)).to(logits.device, torch.float32)


def _distinct(space: SearchSpace, rows: torch.Tensor) -> torch.Tensor:
    """One of each isomorphism class, canonical."""
    canonical = space.canonical(rows)
    codes, which = space.codes(canonical).unique(return_inverse=True)
    distinct = canonical.new_empty(len(codes), space.num_slots)
    distinct[which] = canonical
    return distinct


def _neighbours(space: SearchSpace, rows: torch.Tensor) -> torch.Tensor:
    """All that differ in one slot, and the rows themselves, ``LongTensor (batch, changes, slots)``."""
    changes = [(s, k) for s, size in enumerate(space.sizes.tolist()) for k in range(size)]
    near = rows[:, None].repeat(1, len(changes), 1)
    slots, choices = torch.tensor(changes).T
    near[:, torch.arange(len(changes)), slots] = choices
    return near
