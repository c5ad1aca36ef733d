"""Priors for tasks and spaces without measurements, from priors of other tasks and spaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from ..spaces import TASK_KINDS, SearchSpace, Task, TaskLike
from ..spaces.tasks import kind_of
from .data import EVIDENCE, PriorData, absent, uniform_distribution
from .effects import Effects

# All were chosen on NAS-Bench-201 and NAS-Bench-101 as new spaces.
SLOT_KERNEL = 0.05  # squared width of the kernel that chooses which slots of the other space are read
PLACE_KERNEL = 0.5  # of the one that says how near the nearest slot is
CHOICE_KERNEL = 0.3  # of the one between descriptions of choices
COST_WEIGHT = 0.1  # of the trend with costs, beside a weight of up to 1 of similar choices
LEAST_SIMILARITY = 0.05  # in sum over the other space's choices, below which a contribution is not known
LEAST_WEIGHT = 0.02  # of a space unlike the target in an average over spaces, where all are unlike it
# Frequencies, in units of those of chance, are added to before the logarithm: a choice that no good architecture has
# counts as a tenth of chance.
RATIO_OFFSET = 0.1
SLOPE_RIDGE = 1.0  # of the trend with costs: none follows from few choices
LARGEST_TREND = 2.0  # in logarithms of frequency: costs alone make no choice more than 7 times as frequent as chance
LEAST_FREQUENCY = 1e-3  # in units of that of chance, of what every choice keeps

P = TypeVar("P", bound=PriorData)
T = TypeVar("T")


def average(priors: Sequence[P], weights: Sequence[float] | None = None) -> P:
    """The (weighted) mean of priors of one space, each in its own scale."""
    shares = torch.tensor([1.0] * len(priors) if weights is None else list(weights), dtype=torch.float32, device="cpu")
    shares = shares / shares.sum()
    scale = float(np.mean([prior.scale for prior in priors]))
    effects = [prior.effects for prior in priors if prior.effects is not None]

    def mean(values: list[torch.Tensor]) -> torch.Tensor:  # over those that are known
        stacked = torch.stack(values)
        known = shares[:, None, None] * ~stacked.isnan()
        return (stacked.nan_to_num() * known).sum(0) / known.sum(0)

    return replace(
        priors[0],
        evidence=EVIDENCE[max(EVIDENCE.index(prior.evidence) for prior in priors)],  # the weakest
        contributions=mean([prior.contributions / prior.scale for prior in priors]) * scale,
        subgraph_contributions=mean([prior.subgraph_contributions / prior.scale for prior in priors]) * scale,
        frequencies=mean([prior.frequencies for prior in priors]),
        subgraphs=tuple(subgraph for prior in priors for subgraph in prior.subgraphs),
        scale=scale,
        num_good=sum(prior.num_good for prior in priors),
        labels_read=sum(prior.labels_read for prior in priors),
        detail="; ".join(dict.fromkeys(prior.detail for prior in priors)),
        effects=Effects.mean(effects) if effects else None,
    )


# ---------------------------------------------------------------------- similarity of spaces


def _once_a_pair(function: Callable[[SearchSpace, SearchSpace], T]) -> Callable[[SearchSpace, SearchSpace], T]:
    """The function, computed once for each pair of spaces, as long as both of them are in use."""
    found: WeakKeyDictionary[SearchSpace, WeakKeyDictionary[SearchSpace, T]] = WeakKeyDictionary()

    @wraps(function)
    def of_pair(source: SearchSpace, target: SearchSpace) -> T:
        of_source = found.setdefault(source, WeakKeyDictionary())
        if target not in of_source:
            of_source[target] = function(source, target)
        return of_source[target]

    return of_pair


def _slot_distances(source: SearchSpace, target: SearchSpace) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distance of where slots sit, and which are not of one kind, both ``(target slots, source slots)``."""
    squared = torch.cdist(target.slot_features, source.slot_features).square()
    kinds = torch.tensor([[a.kind != b.kind for b in source.slots] for a in target.slots], device="cpu")
    return squared, kinds


@_once_a_pair
def choice_similarity(source: SearchSpace, target: SearchSpace) -> torch.Tensor:
    """Similarity of each target (slot, choice) and source (slot, choice), ``(slots, choices, slots', choices')``.

    Product of a kernel on where slots sit, which sums to 1 over the source's slots of the same kind (so that the most
    similar ones are read, however far they are), and one on the descriptions of choices. It is 0 for choices that are
    not drawn.
    """
    squared, other_kind = _slot_distances(source, target)
    slots = (-squared / SLOT_KERNEL).masked_fill(other_kind, -torch.inf).softmax(1).nan_to_num()
    what = torch.cdist(target.choice_descriptions.flatten(0, 1), source.choice_descriptions.flatten(0, 1)).square()
    choices = (-what / CHOICE_KERNEL).exp().reshape(*target.choice_mask.shape, *source.choice_mask.shape)
    both = slots[:, None, :, None] * choices
    return both * target.drawn_mask[:, :, None, None] * source.drawn_mask


@_once_a_pair
def space_similarity(source: SearchSpace, target: SearchSpace) -> float:
    """Similarity of two spaces, 0.02 to 1.02: the weight of a prior of `source` in an average for `target`.

    Mean over the target's slots of the kernel on the distance of the nearest slot of the source, times the mean
    similarity of choices. Compared are the descriptions of slots (`slot_features`) and of choices
    (`choice_descriptions`), and nothing else: neither the data that networks read, nor what was good there. So the
    spaces of vision transformers (AutoFormer) and of language models (HW-GPT-Bench), which choose width, depth, and
    heads and ratio of every layer from small to large, are as similar as can be.
    """
    squared, other_kind = _slot_distances(source, target)
    near = (-squared / PLACE_KERNEL).exp().masked_fill(other_kind, 0).max(1).values
    similar = choice_similarity(source, target).sum((2, 3)).clamp(max=1).sum(1) / target.drawn_sizes
    return LEAST_WEIGHT + float((near * similar).mean())


# ---------------------------------------------------------------------- from space to space


def transfer(space: SearchSpace, prior: P) -> P:
    """A prior of another space as one of `space`; see `pkgen_hf.Prior.carried_over`."""
    weights = choice_similarity(prior.space, space)

    def mean(values: torch.Tensor) -> torch.Tensor:
        known = ~values.isnan()
        total = torch.einsum("skul,ul->sk", weights, known.float())
        means = torch.einsum("skul,ul->sk", weights, values.nan_to_num()) / total
        return torch.where(total > LEAST_SIMILARITY, means, torch.nan)

    return replace(
        prior,
        space=space,
        evidence="from other spaces",
        contributions=mean(prior.contributions),
        subgraph_contributions=mean(prior.subgraph_contributions),
        frequencies=_transferred_frequencies(space, prior, weights),
        subgraphs=(),
        effects=None,
    )


def _transferred_frequencies(space: SearchSpace, prior: PriorData, weights: torch.Tensor) -> torch.Tensor:
    """Frequencies in `space`, ``FloatTensor (slots, choices)``.

    In units of those of chance, each is the weighted mean of similar choices of the other space and of the trend that
    frequencies there have with costs.
    """
    ratio = prior.frequencies / uniform_distribution(prior.space).clamp(min=1e-9)  # 0 where there is no choice
    trend = (_cost_slope(prior.space, ratio) * _mean_cost_effects(space)).clamp(-LARGEST_TREND, LARGEST_TREND).exp()
    total = weights.sum((2, 3)) + COST_WEIGHT
    mixed = (torch.einsum("skul,ul->sk", weights, ratio) + COST_WEIGHT * trend) / total
    frequencies = torch.where(space.drawn_mask, mixed + LEAST_FREQUENCY, 0.0)
    return frequencies / frequencies.sum(1, keepdim=True)


def _mean_cost_effects(space: SearchSpace) -> torch.Tensor:
    """Mean of what each choice does to multiply-adds and to parameters, ``FloatTensor (slots, choices)``."""
    return space.cost_effects[..., :2].mean(-1)


def _cost_slope(space: SearchSpace, ratio: torch.Tensor) -> float:
    """Slope of the logarithm of frequencies (in units of chance) on what choices do to costs, by ridge regression."""
    effects = _mean_cost_effects(space)[space.drawn_mask]
    gain = (RATIO_OFFSET + ratio).log()[space.drawn_mask]
    centred = effects - effects.mean()
    return float((centred * (gain - gain.mean())).sum() / (centred.square().sum() + SLOPE_RIDGE))


def carried_over(space: SearchSpace, priors: Sequence[P], task: TaskLike | None) -> P:
    """A prior for a space or task without measurements, from at least one prior of others.

    Priors of the same space are averaged; without any, those of other spaces are, in proportion to their similarity.
    """
    here = [prior for prior in priors if prior.space == space]
    if here:
        used, mean, evidence = here, average(here), "carried over"
    else:
        used, evidence = list(priors), "from other spaces"
        mean = average(
            [transfer(space, prior) for prior in used], [space_similarity(prior.space, space) for prior in used]
        )
    names = ", ".join(f"{prior.space.name}/{prior.task or 'all'}" for prior in used[:4])
    more = f" and {len(used) - 4} more" if len(used) > 4 else ""
    if all(prior.evidence == "absent" for prior in used):
        evidence = "absent"
    return replace(mean, task=space.task_label(task), evidence=evidence, detail=f"from {names}{more}", subgraphs=())


# ---------------------------------------------------------------------- choosing one


def select(priors: Sequence[PriorData], space: SearchSpace, task: TaskLike | None) -> PriorData:
    """The best of `priors`, or made of them, for a space and task; see `pkgen_hf.priors.prior.select_prior`.

    Of what is carried over from other data sets of the space, effects are the mean over all of them, whatever their
    kind: in TransNAS-Bench-101 that agrees more with a task than the mean over those of its kind.
    """
    chosen = _select(priors, space, task)
    known = [p.effects for p in priors if p.space == space and p.task in space.tasks and p.effects is not None]
    return replace(chosen, effects=Effects.mean(known)) if known and chosen.evidence == "carried over" else chosen


def _select(priors: Sequence[PriorData], space: SearchSpace, task: TaskLike | None) -> PriorData:
    here = [prior for prior in priors if prior.space == space]
    label = space.task_label(space.resolved(task))
    own = [prior for prior in here if prior.task == label]
    if own:
        return own[0]
    if label is not None and label not in space.tasks:
        kind = kind_of(label)
        if label != kind:  # nothing is known of a data set of the user's own but its kind
            return _select(priors, space, kind)
    kind = task_kind(space, task)
    same_kind = [prior for prior in here if task_kind(prior.space, prior.task) == kind] or here
    if same_kind and task is None:
        return replace(average(same_kind), task=None)
    if same_kind:
        return carried_over(space, same_kind, task)
    elsewhere = consensus_of(priors, kind)
    return carried_over(space, elsewhere, task) if elsewhere else absent(space, task)


def consensus_of(priors: Sequence[P], kind: str) -> list[P]:
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


def task_kind(space: SearchSpace, task: TaskLike | None) -> str:
    """The kind of a task, which may be a kind itself; None is the space's first task, ``"other"`` if it has none."""
    if task is None:
        return next((known.kind for known in space.tasks.values()), "other")
    if isinstance(task, Task):
        return task.kind
    kind = None if task in space.tasks else kind_of(task)
    return space.task(task).kind if kind is None else kind
