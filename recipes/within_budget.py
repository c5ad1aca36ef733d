"""Sets of different architectures within a budget, beside what a sceptic would take: the largest, and the like."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import torch

from pkgen_hf import PKGenPipeline, ScoreTable
from pkgen_hf.benchmarks.surrogate import Surrogate
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.evaluation.measures import Generate, evaluate, from_pipeline
from pkgen_hf.evaluation.spectral_capacity import spectral_capacity
from pkgen_hf.evaluation.within_budget import best_within, uniform_within
from pkgen_hf.spaces import SearchSpace
from runs import Row, bundled, held_out, load, rows_of, with_those_measured_together, write

QUANTILES = (0.2, 0.35, 0.5, 0.65, 0.8)  # of parameters of random architectures, where no budget is named
SAMPLES = 10_000
SET = 8  # architectures of a set
Budgets = dict[str, Any]


def budgets_of(space: SearchSpace, task: str, options: argparse.Namespace) -> list[Budgets]:
    """The budgets that were named, such as ``max_parameters=40e6,max_memory=1e9``, or `QUANTILES` of parameters."""
    if options.budget:
        return [_read(text) for text in options.budget]
    rows = space.sample(SAMPLES, torch.Generator().manual_seed(0))
    counts = space.parameters(rows[space.is_valid(rows)], task).double()
    return [{"max_parameters": math.floor(float(counts.quantile(share)))} for share in QUANTILES]


def _read(text: str) -> Budgets:
    budgets: Budgets = {}
    for item in text.split(","):
        name, equals, number = item.partition("=")
        try:
            budgets[name.strip()] = float(number)
        except ValueError:
            raise ValueError(f"--budget takes NAME=NUMBER, such as max_parameters=40e6; got {item!r}") from None
    return budgets


def _without_labels(limits: Limits, choose: Callable[[torch.Generator], torch.Tensor]) -> Generate:
    return lambda num, generator: (choose(generator)[:num], 1.0)


def baselines(limits: Limits, task: str) -> dict[str, Generate]:
    """What reads no label: uniform, the largest, and the highest spectral capacity where the space has one."""
    space = limits.space

    def parameters(rows: torch.Tensor) -> torch.Tensor:
        return space.parameters(rows, task)

    def capacity(rows: torch.Tensor) -> torch.Tensor:
        return spectral_capacity(space, rows)

    found = {
        "uniform-within": _without_labels(limits, lambda generator: uniform_within(limits, SET, generator)),
        "largest-within": _without_labels(limits, lambda generator: best_within(limits, parameters, SET, generator)),
    }
    try:
        capacity(space.sample(1, torch.Generator().manual_seed(0)))
    except NotImplementedError:
        return found
    return found | {
        "spectral-capacity": _without_labels(limits, lambda generator: best_within(limits, capacity, SET, generator))
    }


Setting = tuple[str, PKGenPipeline, dict[str, int]]
"""The protocol that a pipeline was trained by, the pipeline, and the labels it has read."""


def settings_of(space_name: str, options: argparse.Namespace) -> list[Setting]:
    """The checkpoint, if it has read labels of the space, and one that was trained without any.

    That is the checkpoint itself where it has read none.
    """
    pipe, record = bundled(options)
    read = record.get("labels_read", {})
    spaces = with_those_measured_together([space_name])
    if not any(name.split("/")[0] in spaces for name in read):
        return [("new-space", pipe, read)]
    unseen, unseen_record = held_out(f"new-space-{space_name}", spaces, options, options.train_seed)
    return [("same-benchmark", pipe, read), ("new-space", unseen, unseen_record["labels_read"])]


def under_a_budget(options: argparse.Namespace) -> None:
    """Sets of 8 distinct architectures within each budget: the score of the first and of the best of them.

    Scores are the benchmark's where all of the space was measured, else those of a surrogate, whose error is in every
    row.
    """
    for space_name in options.space or ["hw-gpt-bench-s", "autoformer-small", "ofa-mobilenetv3"]:
        table = load(space_name, options)
        space = table.space
        settings = settings_of(space_name, options)

        def of_task(task: str, table: ScoreTable = table, settings: list[Setting] = settings) -> list[Row]:
            judge = table if table.is_complete(task) else Surrogate(table, task)
            extra: Row = {"scores": table.split(task)} if judge is table else {"scores": "surrogate"}
            if isinstance(judge, Surrogate):
                extra["surrogate_error"] = judge.error
            rows = []
            for budgets in budgets_of(table.space, task, options):
                limits = Limits(table.space, task, **budgets)
                methods: list[tuple[str, str, Generate, dict[str, int]]] = [
                    (setting, "pkgen", from_pipeline(pipe, table.space, task, distinct=True, **budgets), read)
                    for setting, pipe, read in settings
                ]
                methods += [("", method, generate, {}) for method, generate in baselines(limits, task).items()]
                for setting, method, generate, read in methods:
                    row = evaluate(method, generate, judge, task, read, num=SET, seeds=options.seeds)
                    del row["quantiles"]
                    rows.append(row | extra | {"setting": setting, "budget": str(limits), **budgets})
            return rows

        name = f"under-a-budget-{space_name}"
        rows = rows_of(name, options.task or table.tasks, of_task, options)
        record = bundled(options)[1]
        write(name, rows, {"space": space.name, "checkpoint": options.checkpoint, "training": record}, options)
