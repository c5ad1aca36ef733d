"""Scores of measured architectures, looked up by whole batches; `sources` says what a table looks like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from ..errors import shortened, unknown
from ..spaces import SearchSpace, TaskLike, get_space
from ..spaces.parts import group_means
from .estimate import Estimate
from .sources import read_table

if TYPE_CHECKING:
    import datasets

SPLITS = ("validation", "test")  # of scores
MEASURES = ("_accuracy", "_score")  # endings of columns of scores: percent, or any other number that is to be high

NEARLY_COMPLETE = 0.99  # share of a space: scores are looked up, and only the others predicted
_CHUNK = 65_536  # rows that are read at a time; all of a large table would take ten times its memory


def find_rows(ordered: tuple[torch.Tensor, torch.Tensor], wanted: torch.Tensor) -> torch.Tensor:
    """First row of each of `wanted` among sorted integers and their rows, -1 where there is none."""
    integers, rows = ordered
    at = torch.searchsorted(integers, wanted).clamp(max=len(integers) - 1)
    return torch.where(integers[at] == wanted, rows[at], -1)


def merge_rows(
    space: SearchSpace, indices: torch.Tensor, columns: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Of several rows of one encoding the first, with the mean of each column; rows keep their order.

    Parameters
    ----------
    indices
        ``LongTensor (rows, slots)``
    columns
        ``FloatTensor (rows,)`` each, NaN where nothing was measured.
    """
    codes, which = space.codes(indices).unique(return_inverse=True)
    if len(codes) == len(indices):
        return indices, columns
    first = torch.full((len(codes),), len(which)).scatter_reduce_(0, which, torch.arange(len(which)), "amin")
    order = first.argsort()
    merged = {name: group_means(column, which, len(codes))[order].to(column) for name, column in columns.items()}
    return indices[first[order]], merged


class ScoreTable:
    """Scores of a space's measured architectures, looked up by whole batches.

    An architecture that stands in several rows (several seeds, say) has the mean of their scores.

    Parameters
    ----------
    space
        The search space of the strings in the table.
    table
        As from `load_benchmark`, also as an Arrow table.

    Attributes
    ----------
    indices : LongTensor (rows, slots)
    tasks : list of str, those of the space that the table has scores of that may select, see `split`
    column_names : list of str
    """

    def __init__(self, space: str | SearchSpace, table: datasets.Dataset | pa.Table) -> None:
        self.space = get_space(space)
        arrow = table if isinstance(table, pa.Table) else table.with_format("arrow")[:]
        starts = range(0, max(1, arrow.num_rows), _CHUNK)
        strings = (arrow["architecture"].slice(start, _CHUNK).to_pylist() for start in starts)
        self.indices = torch.cat([self.space.from_strings(part) for part in strings])
        self.column_names = list(table.column_names)
        self._columns = {
            name: torch.from_numpy(arrow[name].to_numpy(zero_copy_only=False).astype(np.float32))
            for name in table.column_names
            if name.endswith(MEASURES)
        }
        for name, column in self._columns.items():
            if column.isinf().any():
                where = self.space.to_strings(self.indices[column.isinf()][:1])[0]
                raise ValueError(f"the column {name} has an infinite score, of {shortened(where)}")
        self.indices, self._columns = merge_rows(self.space, self.indices, self._columns)
        self.tasks = [name for name in self.space.tasks if self.has(name, self.split(name))]
        if self.space.tasks and not self._columns:
            raise ValueError(
                f"a table of {self.space.name} has columns <task>_<split>{' or '.join(MEASURES)}; this one has "
                f"{shortened(', '.join(self.column_names), 200)}"
            )
        self._codes = self.space.codes(self.indices).sort(stable=True)
        self._ordered: dict[tuple[TaskLike, str], torch.Tensor] = {}
        self._means: dict[tuple[TaskLike, str], tuple[torch.Tensor, torch.Tensor]] = {}
        self._measured: dict[TaskLike, float] = {}
        self._estimates: dict[TaskLike, Callable[[torch.Tensor], torch.Tensor]] = {}

    @classmethod
    def load(cls, space: str | SearchSpace, source: str | Path | None = None) -> ScoreTable:
        """Read a table as `load_benchmark` does."""
        space = get_space(space)
        return cls(space, read_table(space, source))

    def split(self, task: TaskLike) -> str:
        """The split whose scores select: ``"validation"`` if the table has such scores, else `Task.split`."""
        fallback = self.space.task(task).split
        return SPLITS[0] if self.has(task, SPLITS[0]) else fallback

    def unit(self, task: TaskLike, split: str | None = None) -> str:
        """``"%"`` of a column of accuracies, ``""`` of any other score."""
        return "%" if self._name(task, split or self.split(task)).endswith(MEASURES[0]) else ""

    def _name(self, task: TaskLike, split: str) -> str:
        """The column of a task's scores; of the two ways to name one, the one that is there."""
        name = self.space.task_label(task)
        score = f"{name}_{split}{MEASURES[1]}"
        return score if score in self._columns else f"{name}_{split}{MEASURES[0]}"

    def has(self, task: TaskLike, split: str) -> bool:
        """Whether the table has scores of a task and split."""
        return self._name(task, split) in self._columns

    def column(self, task: TaskLike, split: str | None = None) -> torch.Tensor:
        """Scores of every row, ``FloatTensor (rows,)``, in percent where they are accuracies, NaN where not measured.

        Without a split, those that select (see `split`), here and in the methods below.
        """
        split = split or self.split(task)
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        name = self._name(task, split)
        if name not in self._columns:
            have = ", ".join(self._columns)
            raise ValueError(
                f"this {self.space.name} table has no {split} scores of {self.space.task_label(task)}; it has {have}"
            )
        return self._columns[name]

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        """Row of each architecture, -1 where the table has none, ``LongTensor (batch,)``.

        The string itself is looked up; where it is not in the table, the first one is that is isomorphic to it.
        """
        indices = self.space.check(indices).cpu()
        rows = find_rows(self._codes, self.space.codes(indices))
        missing = rows < 0
        if missing.any():
            rows[missing] = find_rows(self._keys, self.space.keys(indices[missing]))
        return rows

    @cached_property
    def _keys(self) -> tuple[torch.Tensor, torch.Tensor]:
        parts = self.indices.split(_CHUNK)
        return torch.cat([self.space.keys(part) for part in parts]).sort(stable=True)

    def scores(self, indices: torch.Tensor, task: TaskLike, split: str | None = None) -> torch.Tensor:
        """Measured scores of a batch, ``FloatTensor (batch,)``, NaN where not measured.

        Those of the string itself; where it is not in the table, the mean over those that are isomorphic to it.
        """
        column = self.column(task, split)
        indices = self.space.check(indices).cpu()
        rows = find_rows(self._codes, self.space.codes(indices))
        scores = torch.where(rows >= 0, column[rows], torch.nan)
        missing = rows < 0
        if missing.any():
            keys, means = self._class_means(task, split or self.split(task))
            at = find_rows((keys, torch.arange(len(keys))), self.space.keys(indices[missing]))
            scores[missing] = torch.where(at >= 0, means[at], torch.nan)
        return scores

    def _class_means(self, task: TaskLike, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Sorted keys of the table's isomorphism classes, and the mean score of each."""
        if (task, split) not in self._means:
            keys, rows = self._keys
            found, which = keys.unique_consecutive(return_inverse=True)
            self._means[task, split] = found, group_means(self.column(task, split)[rows], which, len(found)).float()
        return self._means[task, split]

    def distinct_rows(self, column: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A row of each distinct valid architecture that has a score, and the mean score of its class.

        They are in the order of the architectures' keys, and of a class the row of the smallest code stands for it, so
        that the order of the table makes no difference, also where scores are equal.

        Parameters
        ----------
        column
            ``FloatTensor (rows,)``, NaN where there is no score.

        Returns
        -------
        LongTensor (classes,), FloatTensor (classes,)
        """
        rows = (~column.isnan() & self.space.is_valid(self.indices)).nonzero()[:, 0]
        representatives, which = self.space.classes(self.indices[rows])
        means = group_means(column[rows], which, len(representatives)).float()
        return find_rows(self._codes, self.space.codes(representatives)), means

    def values(self, indices: torch.Tensor, task: TaskLike) -> torch.Tensor:
        """Scores of a batch; the chance score of a network that is disconnected or was not measured."""
        scores = self.scores(indices, task)
        connected = self.space.is_connected(indices.cpu())
        return torch.where(connected & ~scores.isnan(), scores, self.space.task(task).chance_score)

    def ranks(self, scores: torch.Tensor, task: TaskLike, split: str | None = None) -> torch.Tensor:
        """Share of the table's measured rows that score higher, ``FloatTensor (batch,)``, 0 for the best."""
        split = split or self.split(task)
        if (task, split) not in self._ordered:
            column = self.column(task, split)
            self._ordered[task, split] = column[~column.isnan()].sort().values
        ordered, scores = self._ordered[task, split], scores.cpu()
        ranks = 1 - torch.searchsorted(ordered, scores.contiguous(), right=True) / len(ordered)
        return torch.where(scores.isnan(), torch.nan, ranks)

    # ------------------------------------------------------------------ what priors and training read

    def tasks_of(self, task: TaskLike) -> list[str]:
        """The task itself, or the table's tasks of a kind; ValueError if there is none."""
        wanted = self.space.task_label(task) or ""
        if wanted in self.space.tasks:
            return [wanted]
        found = [name for name in self.tasks if self.space.tasks[name].kind == wanted]
        if not found:
            kinds = sorted({self.space.tasks[name].kind for name in self.tasks})
            raise unknown(f"task, or kind of task, in this {self.space.name} table", wanted, [*self.tasks, *kinds])
        return found

    def consensus(self, tasks: Sequence[str]) -> torch.Tensor:
        """Agreement of several tasks, ``FloatTensor (rows,)``: one task's scores, or the mean of 100 less ranks in %.

        NaN where one of them was not measured.
        """
        columns = [self.column(task) for task in tasks]
        if len(tasks) == 1:
            return columns[0]
        ranks = [self.ranks(column, task) for column, task in zip(columns, tasks, strict=True)]
        return 100 - 100 * torch.stack(ranks).mean(0)

    def is_complete(self, task: TaskLike) -> bool:
        """Whether every distinct architecture of the space was measured."""
        return self._share_measured(task) == 1

    def _share_measured(self, task: TaskLike) -> float:
        """Of the distinct architectures of the space."""
        if task not in self._measured:
            measured = ~self.column(task).isnan() & self.space.is_valid(self.indices)
            distinct = len(self.space.keys(self.indices[measured]).unique())
            self._measured[task] = distinct / self.space.num_architectures
        return self._measured[task]

    def value_function(self, task: TaskLike) -> Callable[[torch.Tensor], torch.Tensor]:
        """What contributions are measured with: scores of batches ``(batch, slots)``, ``FloatTensor (batch,)``.

        A disconnected network has the chance score. In a complete table the others have their own scores; in one
        of a sample of the space, those that an additive fit to all scores predicts, or, if less than a hundredth of
        the space is missing, their own where they were measured.
        """
        if self.is_complete(task):
            return lambda indices: self.values(indices, task)
        if task not in self._estimates:
            rows = ~self.column(task).isnan()
            chance_score = self.space.task(task).chance_score
            scores = self.column(task)[rows]
            look_up = self._share_measured(task) >= NEARLY_COMPLETE
            self._estimates[task] = Estimate(self.space, self.indices[rows], scores, chance_score, look_up)
        return self._estimates[task]
