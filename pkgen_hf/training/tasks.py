"""Tables that the denoiser is trained on, and the tasks made of them.

A training task ranks the architectures of a space: one of the benchmark's own, or the consensus of a space's tasks of
one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..benchmarks.score_table import ScoreTable
from ..benchmarks.sources import load_benchmark, with_package
from ..priors.contributions import measure
from ..priors.data import PriorData
from ..priors.transfer import average, task_kind
from ..spaces import get_space


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
        The benchmark's task that it is; of a consensus, the kind of its tasks.
    scores : FloatTensor (rows,)
        Of every row of the table, NaN where unknown.
    """

    table: ScoreTable
    name: str
    scores: torch.Tensor

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
        return measure(space, self.name, indices, self.table.value_function(self.name))

    def ranked(self) -> torch.Tensor:
        """One row of each distinct valid architecture, best (by the mean of its class) first, ``LongTensor``."""
        rows, scores = self.table.distinct_rows(self.scores)
        return rows[scores.argsort(descending=True, stable=True)]


def training_tasks(table: ScoreTable) -> list[TrainingTask]:
    """The table's own tasks, and a consensus of each kind with several of them."""
    own = [TrainingTask(table, task, table.column(task)) for task in table.tasks]
    consensus = []
    for kind in dict.fromkeys(task_kind(table.space, task) for task in table.tasks):
        tasks = table.tasks_of(kind)
        if len(tasks) > 1:
            consensus.append(TrainingTask(table, kind, table.consensus(tasks)))
    return [*own, *consensus]
