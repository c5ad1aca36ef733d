"""A prior from the measurements of a benchmark; see `pkgen_hf.Prior.from_benchmark`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ..benchmarks.score_table import ScoreTable
from ..errors import unknown
from ..inputs import on_cpu, whole_number
from ..spaces import SearchSpace, TaskLike
from ..spaces.parts import device_of
from .contributions import measure, restricted_games
from .data import PriorData
from .effects import Effects, measure_effects
from .transfer import average

SELECTIONS = ("best", "worst", "random")


@on_cpu
def from_benchmark(
    space: SearchSpace,
    task: TaskLike | None,
    top_k: int,
    table: ScoreTable | str | Path | None,
    selection: str,
    generator: torch.Generator | None,
) -> PriorData:
    """Contributions over the `top_k` architectures of a task, a kind of task, or (None) an average over tasks."""
    if not isinstance(table, ScoreTable):
        table = ScoreTable.load(space, table)
    space.check_same(table.space, "this table of scores")
    top_k = top_k if isinstance(top_k, int) else whole_number("top_k", top_k)  # `_select` checks its range
    label = space.task_label(task)
    if label is None:
        parts = [from_benchmark(space, name, top_k, table, selection, generator) for name in table.tasks]
        return replace(average(parts), task=None)
    tasks = table.tasks_of(label)
    column = table.consensus(tasks)
    good = table.indices[_select(table, label, column, top_k, selection, generator)]
    parts = [_of_task(table, name, good) for name in tasks]
    prior = parts[0] if len(parts) == 1 else average(parts)
    labels = sum(int((~table.column(name).isnan()).sum()) for name in tasks)
    by = f"{table.split(tasks[0])} score" if len(tasks) == 1 else f"average rank over {', '.join(tasks)}"
    effects = _effects(table, column) if selection == "best" else None
    detail = f"{selection} {top_k} of {int((~column.isnan()).sum()):,} by {by}"
    if prior.evidence == "partly measured":
        detail += "; reduced networks predicted by an additive fit"
    detail += restricted_games(space)
    return replace(prior, task=label, labels_read=labels, num_good=top_k, detail=detail, effects=effects)


def _effects(table: ScoreTable, column: torch.Tensor) -> Effects:
    """Effects on the scores of a column over the whole table, a row for each distinct architecture."""
    rows, scores = table.distinct_rows(column)
    return measure_effects(table.space, table.indices[rows], scores)


def _of_task(table: ScoreTable, task: str, good: torch.Tensor) -> PriorData:
    """Contributions to one task of architectures ``(n, slots)``."""
    evidence = "measured" if table.is_complete(task) else "partly measured"
    return replace(measure(table.space, task, good, table.value_function(task)), evidence=evidence)


def _select(
    table: ScoreTable,
    task: str,
    column: torch.Tensor,
    top_k: int,
    selection: str,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Rows of the table of `top_k` distinct architectures by their scores in `column`, ``LongTensor (top_k,)``."""
    rows, scores = table.distinct_rows(column)
    if not 1 <= top_k <= len(rows):
        raise ValueError(f"top_k must be 1 to {len(rows)} for {task} of {table.space.name}, got {top_k}")
    if selection not in SELECTIONS:
        raise unknown("selection", selection, SELECTIONS)
    if selection == "random":
        order = torch.randperm(len(rows), generator=generator, device=device_of(generator)).cpu()
        return rows[order[:top_k]]
    return rows[scores.argsort(descending=selection == "best", stable=True)[:top_k]]
