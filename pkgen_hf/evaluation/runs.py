"""Runs of methods on problems: one row of results a method and run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..benchmarks.score_table import ScoreTable
from ..budgets.limits import Limits
from ..pipeline_pkgen import PKGenPipeline
from ..spaces import SearchSpace
from .judge import Judge
from .measures import FEW, SET, measures, search_measures
from .methods import Method
from .problem import Labels, Problem
from .protocols import Condition

SAMPLES = 10_000  # random architectures whose parameters budgets are quantiles of


@dataclass(frozen=True)
class Knowledge:
    """A pipeline, and which labels it has read.

    Attributes
    ----------
    pipe
        The pipeline.
    labels_read
        Labels that its training and priors have read, by ``"SPACE/TASK"``.
    training
        Name of the training, for the rows.
    """

    pipe: PKGenPipeline
    labels_read: dict[str, int]
    training: str

    def check(self, condition: Condition, space: str, task: str) -> None:
        """Raise RuntimeError unless it has read no label that the condition forbids."""
        read = {*self.labels_read, *(f"{prior.space.name}/{prior.task}" for prior in self.pipe.priors)}
        forbidden = {
            "same-benchmark": set[str](),
            "new-data-set": {f"{space}/{task}"},
            "new-space": {name for name in read if name.startswith(f"{space}/")},
        }
        if leaked := sorted(read & forbidden[condition.setting]):
            raise RuntimeError(f"{self.training} has read labels of the target: {leaked}")


def budgets_of(condition: Condition, space: SearchSpace, task: str) -> dict[str, Any]:
    """The limits of a condition as arguments of the pipeline: those named, or its quantile of parameters."""
    if condition.quantile is None:
        return dict(condition.budgets)
    rows = space.sample(SAMPLES, torch.Generator().manual_seed(0))
    counts = space.parameters(rows[space.is_valid(rows)], task).double()
    return {"max_parameters": math.floor(float(counts.quantile(condition.quantile)))}


def other_data_sets(table: ScoreTable, task: str, knowledge: Knowledge) -> list[str]:
    """The other data sets of the space whose labels were read."""
    return [name for name in table.tasks if name != task and f"{table.space.name}/{name}" in knowledge.labels_read]


def others_of(table: ScoreTable, task: str, knowledge: Knowledge) -> Labels | None:
    """Consensus of the other data sets of the space whose labels were read; None if there are none."""
    names = other_data_sets(table, task, knowledge)
    if not names:
        return None
    rows, scores = table.distinct_rows(table.consensus(names))
    return table.indices[rows], scores


def problem_of(
    condition: Condition, judge: Judge, knowledge: Knowledge, budgets: dict[str, Any], limits: Limits, run: int
) -> Problem:
    """The problem of one run.

    Parameters
    ----------
    condition
        Labels and setting.
    judge
        Of the space and task.
    knowledge
        Of the training that the run uses.
    budgets, limits
        The same limits, as arguments of the pipeline and as an object.
    run
        The seed.
    """
    knowledge.check(condition, judge.space.name, judge.task)
    given = judge.random_labels(condition.num_labels, run) if condition.num_labels else None
    others = others_of(judge.table, judge.task, knowledge)
    return Problem(judge.space, judge.task, knowledge.pipe, limits, budgets, given, others, run=run)


def labels_read(method: Method, judge: Judge, knowledge: Knowledge, num_labels: int) -> dict[str, int]:
    """Labels that a method uses, in all and of the target, when `num_labels` are given or read by a search."""
    space, task = judge.space.name, judge.task
    read = dict.fromkeys((f"{space}/{task}",), 0)
    if method.uses_pipeline(num_labels > 0):
        read |= knowledge.labels_read
    if "others" in method.reads:
        names = other_data_sets(judge.table, task, knowledge)
        read |= {f"{space}/{name}": knowledge.labels_read[f"{space}/{name}"] for name in names}
    own = num_labels if method.is_search or {"given", "prior"} & {*method.reads} else 0
    return {"labels_read": sum(read.values()) + own, "labels_of_target": read[f"{space}/{task}"] + own}


def solve(method: Method, problem: Problem, judge: Judge) -> dict[str, Any]:
    """Measures of the set that a method chooses, and the seconds that it took; ranks of the labels given beside."""
    started = time.perf_counter()
    rows = method.choose(problem, SET)
    seconds = time.perf_counter() - started
    row = measures(judge, problem.limits, rows) | {"seconds": seconds}
    if problem.given is not None:
        known, scores = problem.given
        best = known[scores.argmax()][None]
        row["best_label_rank"] = float(judge.ranks(judge.scores(best), problem.limits))
    return row


def search(method: Method, problem: Problem, judge: Judge, num_labels: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Measures of what a search has read after each number of labels, and the seconds of all of it.

    ``later_rank`` is the rank of the best after `FEW` more labels: a set that is generated from as many given labels
    needs them, too, until the best of its first few is known.
    """
    numbers = sorted(num_labels)
    most = numbers[-1] + FEW
    reads: list[torch.Tensor] = []

    def read(rows: torch.Tensor) -> list[float]:
        reads.append(rows)
        return judge.scores(rows).tolist()

    started = time.perf_counter()
    method.choose(replace(problem, read=read), most)
    seconds = time.perf_counter() - started
    rows = torch.cat(reads)
    if len(rows) > most:
        raise RuntimeError(f"{method.id} read {len(rows)} labels, of {most} that it may read")
    for number in numbers:
        later = search_measures(judge, problem.limits, rows[: number + FEW])["first_rank"]
        row = search_measures(judge, problem.limits, rows[:number]) | {"later_rank": later}
        yield row | {"num_labels": number, "seconds": seconds}
