"""Tables that the denoiser is trained on, and the tasks made of them.

A training task ranks the architectures of a space. There are three kinds: the benchmark's own tasks; the consensus of
a space's tasks of one kind; and perturbed tasks, in which a random function of choices and pairs of choices is added
to a real task's scores, so that the ranking cannot be memorised and has to be read from the prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..benchmarks.estimate import Estimate
from ..benchmarks.score_table import ScoreTable
from ..benchmarks.sources import load_benchmark, with_package
from ..priors.contributions import measure
from ..priors.data import PriorData
from ..priors.transfer import average, task_kind
from ..spaces import get_space

# No ablation compared other values of the first two.
PAIR_RANK = 8  # of the random matrices of interactions between choices
# Range of a perturbation's size: powers of 2, times the distance from the median score to the best decile.
PERTURBATION = (-1.5, 2.5)
ROWS_AT_ONCE = 50_000  # rows of a table whose perturbation is computed at once; it bounds memory


def load_tables(sources: dict[str, str], exclude: Sequence[str] = ()) -> list[ScoreTable]:
    """Load the tables to train on, without the held-out spaces and tasks.

    Parameters
    ----------
    sources
        Source of a space's table, by space; a space whose table comes with a PyPI package needs none.
    exclude
        ``"SPACE"`` or ``"SPACE/TASK"``.

    Raises
    ------
    ValueError
        For an unknown space or task in `exclude`, or if nothing is left.
    """
    excluded: dict[str, set[str]] = {}
    for item in exclude:
        name, slash, task = item.partition("/")
        space = get_space(name)
        if slash:
            space.task(task)
        excluded.setdefault(name, set()).update([task] if slash else space.tasks)
    tables = []
    for name in dict.fromkeys([*with_package(), *sources]):
        drop = excluded.get(name, set())
        if set(get_space(name).tasks) <= drop:
            continue
        dataset = load_benchmark(name, sources.get(name))
        columns = [c for c in dataset.column_names if any(c.startswith(f"{task}_") for task in drop)]
        tables.append(ScoreTable(name, dataset.remove_columns(columns)))
    if not tables:
        raise ValueError(f"nothing is left to train on: {', '.join(exclude)} takes away everything")
    return tables


def labels_read(tables: Sequence[ScoreTable]) -> dict[str, int]:
    """Number of validation scores that training reads, by ``space/task``."""
    return {f"{t.space.name}/{task}": int((~t.column(task).isnan()).sum()) for t in tables for task in t.tasks}


@dataclass
class TrainingTask:
    """A ranking of the architectures of one table.

    Attributes
    ----------
    table : ScoreTable
    name : str
        The benchmark's task that it is, or that was perturbed; of a consensus, the kind of its tasks.
    scores : FloatTensor (rows,)
        Of every row of the table, NaN where unknown.
    is_perturbed : bool
    """

    table: ScoreTable
    name: str
    scores: torch.Tensor
    is_perturbed: bool = False
    _fit: Estimate | None = None

    @property
    def is_consensus(self) -> bool:
        """Whether it is the consensus of several tasks."""
        return self.name not in self.table.space.tasks

    def prior(self, rows: torch.Tensor) -> PriorData:
        """Measure the prior of some rows of the table, ``LongTensor (n,)``, as the good architectures."""
        space, indices = self.table.space, self.table.indices[rows]
        if self.is_consensus:
            parts = [
                measure(space, task, indices, self.table.value_function(task))
                for task in self.table.tasks_of(self.name)
            ]
            return replace(average(parts), task=self.name, num_good=len(rows))
        if not self.is_perturbed:
            return measure(space, self.name, indices, self.table.value_function(self.name))
        if self.table.is_complete(self.name):
            return measure(space, self.name, indices, self._value)
        if self._fit is None:
            known = ~self.scores.isnan()
            chance = space.task(self.name).chance_score
            self._fit = Estimate(space, self.table.indices[known], self.scores[known], chance, look_up=False)
        return measure(space, self.name, indices, self._fit)

    def _value(self, indices: torch.Tensor) -> torch.Tensor:
        """Perturbed scores of architectures ``(n, slots)``; the chance score where there is none."""
        rows = self.table.rows(indices)
        scores = torch.where(rows >= 0, self.scores[rows], torch.nan)
        chance = self.table.space.task(self.name).chance_score
        return torch.where(self.table.space.is_valid(indices) & ~scores.isnan(), scores, chance)

    def ranked(self) -> torch.Tensor:
        """One row of each distinct valid architecture, best (by the mean of its class) first, ``LongTensor``."""
        rows, scores = self.table.distinct_rows(self.scores)
        return rows[scores.argsort(descending=True, stable=True)]


def training_tasks(table: ScoreTable, num_perturbed: int, generator: torch.Generator) -> list[TrainingTask]:
    """The table's own tasks, a consensus of each kind with several of them, and `num_perturbed` perturbed tasks."""
    own = [TrainingTask(table, task, table.column(task)) for task in table.tasks]
    consensus = []
    for kind in dict.fromkeys(task_kind(table.space, task) for task in table.tasks):
        tasks = table.tasks_of(kind)
        if len(tasks) > 1:
            consensus.append(TrainingTask(table, kind, table.consensus(tasks)))
    return [*own, *consensus, *(_perturbed(own[i % len(own)], generator) for i in range(num_perturbed))]


def _perturbed(task: TrainingTask, generator: torch.Generator) -> TrainingTask:
    """Add to a task's scores a random function of random size.

    The function of an architecture is the sum of a random effect of each choice and of a quadratic form of random
    vectors of the choices, of rank `PAIR_RANK`, in which every pair of choices interacts.
    """
    space = task.table.space
    shape = (space.num_slots, space.num_choices)
    single = torch.randn(*shape, generator=generator) / space.num_slots**0.5
    factors = torch.randn(*shape, PAIR_RANK, generator=generator) / space.num_slots**0.5
    signs = (torch.rand(PAIR_RANK, generator=generator) < 0.5).float() * 2 - 1
    slots = torch.arange(space.num_slots)
    effects = []
    for part in task.table.indices.split(ROWS_AT_ONCE):
        of_choices, of_pairs = single[slots, part], factors[slots, part]
        if space.is_conditional:
            active = space.active_slots(part)
            of_choices, of_pairs = of_choices * active, of_pairs * active[..., None]
        effects.append(of_choices.sum(1) + (of_pairs.sum(1).square() @ signs) / PAIR_RANK**0.5)
    effect = torch.cat(effects)
    low, high = PERTURBATION
    strength = 2 ** ((high - low) * torch.rand(1, generator=generator) + low)
    known = task.scores[~task.scores.isnan()]
    spread = known.quantile(0.9) - known.median()
    return TrainingTask(task.table, task.name, task.scores + strength * spread * (effect - effect.mean()), True)
