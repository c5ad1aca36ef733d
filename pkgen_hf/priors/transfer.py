"""How priors pass from task to task and from space to space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from ..spaces import TASK_KINDS, SearchSpace
from .prior import EVIDENCE, Prior


def average(priors: Sequence[Prior], weights: Sequence[float] | None = None) -> Prior:
    """The (weighted) mean of priors of one space, each in its own scale."""
    shares = torch.tensor([1.0] * len(priors) if weights is None else list(weights), dtype=torch.float32, device="cpu")
    shares = shares / shares.sum()
    scale = float(np.mean([prior.scale for prior in priors]))

    def mean(values: list[torch.Tensor]) -> torch.Tensor:  # over those that are known
        stacked = torch.stack(values)
        known = shares[:, None, None] * ~stacked.isnan()
        return (stacked.nan_to_num() * known).sum(0) / known.sum(0)

    return replace(
        priors[0],
        evidence=EVIDENCE[max(EVIDENCE.index(prior.evidence) for prior in priors)],
        contributions=mean([prior.contributions / prior.scale for prior in priors]) * scale,
        subgraph_contributions=mean([prior.subgraph_contributions / prior.scale for prior in priors]) * scale,
        frequencies=mean([prior.frequencies for prior in priors]),
        subgraphs=tuple(subgraph for prior in priors for subgraph in prior.subgraphs),
        scale=scale,
        num_good=sum(prior.num_good for prior in priors),
        labels_read=sum(prior.labels_read for prior in priors),
        detail="; ".join(dict.fromkeys(prior.detail for prior in priors)),
    )


SLOT_KERNEL, PLACE_KERNEL, CHOICE_KERNEL, COST_WEIGHT = 0.05, 0.5, 0.3, 0.1
_PAIRS = 256  # of spaces that are remembered; the known ones make fewer than half as many


@lru_cache(_PAIRS)
def likeness(source: SearchSpace, target: SearchSpace) -> torch.Tensor:
    """How alike each target (slot, choice) and source (slot, choice) are, ``(slots, choices, slots', choices')``.

    Product of a kernel on where slots sit, which sums to 1 over the source's slots of the same kind (so that the ones
    that sit most alike are read, however far that is), and one on what choices are.
    """
    where = torch.cdist(target.slot_features, source.slot_features).square()
    same_kind = torch.tensor([[a.kind == b.kind for b in source.slots] for a in target.slots], device="cpu")
    slots = (-where / SLOT_KERNEL).masked_fill(~same_kind, -torch.inf).softmax(1).nan_to_num()
    what = torch.cdist(target.choice_descriptions.flatten(0, 1), source.choice_descriptions.flatten(0, 1)).square()
    choices = (-what / CHOICE_KERNEL).exp().reshape(*target.choice_mask.shape, *source.choice_mask.shape)
    both = slots[:, None, :, None] * choices
    return both * target.choice_mask[:, :, None, None] * source.choice_mask


@lru_cache(_PAIRS)
def closeness(source: SearchSpace, target: SearchSpace) -> float:
    """How much a prior of `source` says about `target`, above 0 to about 1; the weight it is averaged with.

    Mean over the target's slots of how near the nearest slot of the source sits, times how alike choices are.
    """
    where = torch.cdist(target.slot_features, source.slot_features).square()
    same_kind = torch.tensor([[a.kind == b.kind for b in source.slots] for a in target.slots], device="cpu")
    near = (-where / PLACE_KERNEL).exp().masked_fill(~same_kind, 0).max(1).values
    alike = likeness(source, target).sum((2, 3)).clamp(max=1).sum(1) / target.sizes
    return 0.02 + float((near * alike).mean())


def carry(space: SearchSpace, prior: Prior) -> Prior:
    """A prior of another space as one of `space`; see `Prior.carried_over`."""
    weights = likeness(prior.space, space)

    def mean(values: torch.Tensor) -> torch.Tensor:
        known = ~values.isnan()
        total = torch.einsum("skul,ul->sk", weights, known.float())
        return torch.where(total > 0.05, torch.einsum("skul,ul->sk", weights, values.nan_to_num()) / total, torch.nan)

    # A choice is as much more frequent than by chance as the choices alike were. Where nothing is alike it is as
    # frequent as its cost makes it in the other space: the slope of log frequency on effects on cost is carried.
    mask, mask_there = space.choice_mask, prior.space.choice_mask
    chance = mask_there.float() / prior.space.sizes[:, None]
    ratio = prior.frequencies / chance.clamp(min=1e-9)
    effects = prior.space.cost_effects[..., :2].mean(-1)
    gain = (0.1 + ratio).log()[mask_there]
    there = effects[mask_there] - effects[mask_there].mean()
    slope = float((there * (gain - gain.mean())).sum() / (there.square().sum() + 1))
    by_cost = (slope * space.cost_effects[..., :2].mean(-1)).clamp(-2, 2).exp()
    total = weights.sum((2, 3)) + COST_WEIGHT
    carried = (torch.einsum("skul,ul->sk", weights, ratio) + COST_WEIGHT * by_cost) / total
    frequencies = torch.where(mask, carried + 1e-3, 0.0)
    return replace(
        prior,
        space=space,
        evidence="from other spaces",
        contributions=mean(prior.contributions),
        subgraph_contributions=mean(prior.subgraph_contributions),
        frequencies=frequencies / frequencies.sum(1, keepdim=True),
        subgraphs=(),
    )


def select_prior(priors: Sequence[Prior], space: SearchSpace, task: str | None) -> Prior:
    """The best prior at hand for a space and task.

    The task's own; else of the space's other tasks, those of the same kind if there are any; else from other spaces,
    of which the priors for the same kind of task are read (else those for the kinds that share most traits with it),
    a consensus in place of single tasks. Without a task, the average over the space's tasks. Absent if there is none.
    """
    here = [prior for prior in priors if prior.space == space]
    own = [prior for prior in here if prior.task == task]
    if own:
        return own[0]
    kind = task_kind(space, task)
    alike = [prior for prior in here if task_kind(prior.space, prior.task) == kind] or here
    if alike and task is None:
        return replace(average(alike), task=None)
    if alike:
        return Prior.carried_over(space, alike, task)
    elsewhere = consensus_of(priors, kind)
    return Prior.carried_over(space, elsewhere, task) if elsewhere else Prior.absent(space, task)


def consensus_of(priors: Sequence[Prior], kind: str) -> list[Prior]:
    """Of each space the prior for a kind of task: its consensus if there is one, else those of single tasks.

    Where no space has that kind, the priors of the kinds that share most traits with it.
    """
    kinds = [task_kind(prior.space, prior.task) for prior in priors]
    shared = {name: len(set(TASK_KINDS[name]) & set(TASK_KINDS[kind])) for name in set(kinds)}
    best = max(shared.values(), default=0)
    wanted = {kind} if kind in shared else {name for name, number in shared.items() if number == best}
    found = [prior for prior, name in zip(priors, kinds, strict=True) if name in wanted and prior.task is not None]
    agreed = {(prior.space, prior.task) for prior in found if prior.task in TASK_KINDS}
    return [p for p in found if p.task in TASK_KINDS or (p.space, task_kind(p.space, p.task)) not in agreed]


def task_kind(space: SearchSpace, task: str | None) -> str:
    """The kind of a task, which may be a kind itself; None is the space's first task, ``"other"`` if it has none."""
    if task is None:
        return next((known.kind for known in space.tasks.values()), "other")
    if task in TASK_KINDS and task not in space.tasks:
        return task
    return space.task(task).kind
