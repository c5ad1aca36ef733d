"""Priors of the training tasks, and the architectures that are targets under each of them.

An episode conditions the denoiser on a prior of a task and asks for an architecture that is good by it. Priors are
made once, before the training, from random subsamples of random size, some of them carried over from other tasks or
spaces, so that the denoiser learns how far each kind of evidence can be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from tqdm.auto import tqdm

from ..benchmarks.score_table import ScoreTable
from ..modeling_denoiser import task_traits
from ..priors.data import PriorData
from ..priors.prior import Prior
from ..priors.transfer import consensus_of, task_kind
from .tasks import TrainingTask, training_tasks

NUM_GOOD = 20  # architectures that a prior is measured on, as in the paper (Xie et al., 2025)

# No ablation compared other values of the following.
TARGETS = 48  # good architectures for each prior, so that targets are more than the 20 that the prior was measured on
PERTURBED_SHARE = 0.3  # of the examples, of perturbed tasks
CONSENSUS_WEIGHT = 3.0  # of a consensus of tasks relative to a single task
PRIOR_SHARES = {  # of the examples, by how the prior was made
    "measured": 0.25,  # exact contributions over the best of a subsample
    "evaluated": 0.25,  # fitted to a few random labels
    "other task": 0.12,  # carried over from tasks of the same space
    "other spaces": 0.25,
    "band": 0.13,  # measured on architectures of any one quality, which are the targets too
}
MEASURED_FROM = 100  # labels of the smallest subsample whose best are measured
EVALUATED_FROM, EVALUATED_TO = 5, 400  # labels of a fitted prior
MAX_OTHER_TASKS = 3  # averaged in a prior carried over within a space
PERTURBED_FEWER = 3  # a perturbed task has so many times fewer priors than a real one: there are more such tasks
MANY_SLOTS = 32  # a space of more slots has fewer priors and batches, in inverse proportion: they cost as much more


@dataclass
class SpaceEpisodes:
    """All that the episodes of one space are drawn from.

    Attributes
    ----------
    table : ScoreTable
    features : FloatTensor (priors, slots, choices, PRIOR_FEATURES)
    stationary : FloatTensor (priors, slots, choices)
    traits : FloatTensor (priors, TASK_TRAITS)
        Of the kind of task.
    targets : LongTensor (priors, TARGETS)
        Rows of the table that are good under this prior, best first.
    weights : FloatTensor (priors,)
        Sampling weight of each prior.
    """

    table: ScoreTable
    features: torch.Tensor
    stationary: torch.Tensor
    traits: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def relative_share(table: ScoreTable) -> float:
    """Share of priors and batches that a space is given: 1, or less if it has more than `MANY_SLOTS` slots."""
    return min(1.0, MANY_SLOTS / table.space.num_slots)


@dataclass
class _Example:
    """A prior, its targets (rows of the table, best first), and its weight."""

    prior: PriorData
    targets: torch.Tensor
    weight: float


def priors_of(table: ScoreTable) -> list[Prior]:
    """The priors of every task of a table, and of the consensus of each kind that has several tasks."""
    kinds = [kind for kind in dict.fromkeys(task_kind(table.space, task) for task in table.tasks)]
    agreed = [kind for kind in kinds if len(table.tasks_of(kind)) > 1]
    return [Prior.from_benchmark(table.space, task, _num_good(table, task), table) for task in [*table.tasks, *agreed]]


def _num_good(table: ScoreTable, task: str) -> int:
    """`NUM_GOOD`, or all valid architectures with a score if there are fewer."""
    known = ~table.consensus(table.tasks_of(task)).isnan() & table.space.is_valid(table.indices)
    return min(NUM_GOOD, int(known.sum()))


def make_episodes(
    tables: Sequence[ScoreTable], priors_per_task: int, num_perturbed: int, seed: int, quiet: bool = True
) -> list[SpaceEpisodes]:
    """Make priors of every kind for every training task of every table.

    Parameters
    ----------
    tables
        As from `load_tables`.
    priors_per_task, num_perturbed
        ``priors_per_task`` and ``shifted_tasks`` of `TrainingArguments`.
    seed
        Of the perturbed tasks and of the subsamples.
    quiet
        Show no progress bar.
    """
    generator = torch.Generator().manual_seed(seed)
    measured = {table.space.name: priors_of(table) for table in tables}
    episodes = []
    for table in tables:
        tasks = training_tasks(table, num_perturbed, generator)
        bar = tqdm(tasks, desc=f"priors of {table.space.name}", disable=quiet, leave=False)
        examples: list[_Example] = []
        for task, share in zip(bar, _task_shares(tasks), strict=True):
            sources = _sources(task, tasks, measured)
            examples += _examples(task, share, sources, priors_per_task, generator)
        episodes.append(_stack(table, examples))
    return episodes


def _stack(table: ScoreTable, examples: Sequence[_Example]) -> SpaceEpisodes:
    """The examples of one space as tensors."""
    kinds = [task_kind(table.space, example.prior.task) for example in examples]
    return SpaceEpisodes(
        table,
        features=torch.stack([example.prior.features() for example in examples]),
        stationary=torch.stack([example.prior.distribution() for example in examples]),
        traits=torch.tensor([task_traits(kind) for kind in kinds]),
        targets=torch.stack([example.targets for example in examples]),
        weights=torch.tensor([example.weight for example in examples]),
    )


def _task_shares(tasks: Sequence[TrainingTask]) -> list[float]:
    """Share of the examples that each task is given."""
    weights = [0.0 if t.is_perturbed else CONSENSUS_WEIGHT if t.is_consensus else 1.0 for t in tasks]
    num_perturbed = sum(task.is_perturbed for task in tasks)
    return [
        PERTURBED_SHARE / num_perturbed if task.is_perturbed else (1 - PERTURBED_SHARE) * weight / sum(weights)
        for task, weight in zip(tasks, weights, strict=True)
    ]


def _sources(
    task: TrainingTask, tasks: Sequence[TrainingTask], measured: dict[str, list[Prior]]
) -> dict[str, list[Prior]]:
    """Priors that can be carried over to a task, by the kind of prior that results; kinds without any are left out.

    Other spaces only inform a consensus, if there is one, not its single tasks. Nothing informs a perturbed task.
    """
    if task.is_perturbed:
        return {}
    space, kind = task.table.space, task_kind(task.table.space, task.name)
    here = [p for p in measured[space.name] if p.task != task.name and p.task in space.tasks]
    elsewhere = [prior for other, known in measured.items() if other != space.name for prior in known]
    if not task.is_consensus and any(other.is_consensus and other.name == kind for other in tasks):
        elsewhere = []
    sources = {"other task": here, "other spaces": consensus_of(elsewhere, kind)}
    return {name: known for name, known in sources.items() if known}


def _examples(
    task: TrainingTask,
    share: float,
    sources: dict[str, list[Prior]],
    priors_per_task: int,
    generator: torch.Generator,
) -> Iterator[_Example]:
    """Priors of every kind for one task, whose examples have the `share` of all."""
    kinds = ["measured", "evaluated", "band", *sources]
    total = sum(PRIOR_SHARES[kind] for kind in kinds)
    ranked = task.ranked()
    for kind in kinds:
        wanted = priors_per_task * PRIOR_SHARES[kind] / total / (PERTURBED_FEWER if task.is_perturbed else 1)
        count = max(1, round(wanted * relative_share(task.table)))
        for _ in range(count):
            prior, targets = _prior(kind, task, ranked, sources, generator)
            weight = share * PRIOR_SHARES[kind] / total / count
            yield _Example(prior, targets, weight)


def _prior(
    kind: str,
    task: TrainingTask,
    ranked: torch.Tensor,
    sources: dict[str, list[Prior]],
    generator: torch.Generator,
) -> tuple[PriorData, torch.Tensor]:
    """A prior of one of `PRIOR_SHARES` for a task, and its targets, ``LongTensor (TARGETS,)`` of rows."""
    space, indices = task.table.space, task.table.indices
    best = _targets(ranked)
    if kind == "measured":
        return task.prior(_subsample(ranked, MEASURED_FROM, len(ranked), generator)[:NUM_GOOD]), best
    if kind == "evaluated":
        rows = _subsample(ranked, EVALUATED_FROM, EVALUATED_TO, generator)
        name = task.name if task.name in space.tasks else None
        return replace(Prior.from_evaluations(space, indices[rows], task.scores[rows], name), task=task.name), best
    if kind == "band":
        start = int(torch.randint(max(1, len(ranked) - TARGETS), (1,), generator=generator))
        rows = ranked[start : start + TARGETS]
        return task.prior(rows[:NUM_GOOD]), _targets(rows)
    known = sources[kind]
    most = MAX_OTHER_TASKS if kind == "other task" else len(known)
    picked = _subsample(torch.arange(len(known)), 1, most, generator)
    return Prior.carried_over(space, [known[i] for i in picked.tolist()], task.name), best


def _targets(rows: torch.Tensor) -> torch.Tensor:
    """The first `TARGETS` rows, the last one repeated where there are fewer."""
    return rows[torch.arange(TARGETS).clamp(max=len(rows) - 1)]


def _subsample(rows: torch.Tensor, low: int, high: int, generator: torch.Generator) -> torch.Tensor:
    """Random rows, in order, their number log-uniform from `low` to `high`."""
    high = min(high, len(rows))
    share = float(torch.rand(1, generator=generator))
    number = round(math.exp(math.log(min(low, high)) * (1 - share) + math.log(high) * share))
    return rows[torch.randperm(len(rows), generator=generator)[:number].sort().values]
