"""Runs refuse pipelines that have read what they may not, and count labels and seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from problems import MakeProblem

from pkgen_hf import PKGenPipeline, ScoreTable, get_space
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.evaluation.judge import Judge
from pkgen_hf.evaluation.measures import search_measures
from pkgen_hf.evaluation.methods import METHODS, Method
from pkgen_hf.evaluation.problem import Problem
from pkgen_hf.evaluation.protocols import SETTINGS, Condition
from pkgen_hf.evaluation.runs import (
    Knowledge,
    budgets_of,
    labels_read,
    other_data_sets,
    others_of,
    problem_of,
    search,
    solve,
)

SPACE, TASK = "nas-bench-201", "cifar100"
ELSEWHERE = {"nas-bench-graph/cora": 100}


@pytest.fixture
def bare(pipe: PKGenPipeline) -> PKGenPipeline:
    """The bundled denoiser without a prior."""
    return PKGenPipeline(pipe.denoiser, pipe.scheduler, [])


@pytest.mark.parametrize(
    ("read", "allowed"),
    [
        ("nas-bench-201/cifar100", ("same-benchmark",)),
        ("nas-bench-201/cifar10", ("same-benchmark", "new-data-set")),  # whose name begins alike
        ("nas-bench-graph/cora", tuple(SETTINGS)),
    ],
)
def test_a_pipeline_that_has_read_too_much_is_refused(
    read: str, allowed: tuple[str, ...], bare: PKGenPipeline
) -> None:
    for task in (TASK, "ImageNet16-120"):
        own = Knowledge(bare, {read.replace(TASK, task): 10}, "some-training")
        for setting in SETTINGS:
            if setting in allowed:
                own.check(Condition(setting), SPACE, task)
            else:
                with pytest.raises(RuntimeError, match="some-training has read labels of the target"):
                    own.check(Condition(setting), SPACE, task)
    Knowledge(bare, {"nas-bench-201/cifar100": 10}, "x").check(Condition("new-data-set"), SPACE, "cifar10")


def test_priors_count_as_labels_that_were_read(pipe: PKGenPipeline, cells_judge: Judge) -> None:
    own = Knowledge(pipe, {}, "pkgen-base")
    limits = Limits(cells_judge.space, TASK)
    with pytest.raises(RuntimeError, match="pkgen-base has read labels of the target.*nas-bench-201/cifar100"):
        problem_of(Condition("new-data-set"), cells_judge, own, {}, limits, 0)
    assert problem_of(Condition("same-benchmark"), cells_judge, own, {}, limits, 0).given is None


def test_a_budget_is_a_quantile_of_parameters() -> None:
    space = get_space(SPACE)
    assert space.valid_rows is not None
    counts = space.parameters(space.valid_rows, TASK)
    limits = []
    for quantile in (0.2, 0.5, 0.8):
        (limit,) = budgets_of(Condition("new-space", quantile=quantile), space, TASK).items()
        assert limit[0] == "max_parameters"
        limits.append(limit[1])
        assert float((counts <= limit[1]).float().mean()) >= quantile - 0.03
        assert float((counts < limit[1]).float().mean()) <= quantile + 0.03
    assert limits == sorted(limits)
    assert budgets_of(Condition("new-space"), space, TASK) == {}
    named = Condition("new-space", budgets=(("max_memory", 1e6), ("max_flops", 1e8)))
    assert budgets_of(named, space, TASK) == {"max_memory": 1e6, "max_flops": 1e8}


def test_the_others_are_data_sets_that_were_read(cell_table: ScoreTable, bare: PKGenPipeline) -> None:
    """Neither the target nor what the setting leaves out changes them."""
    own = Knowledge(bare, {"nas-bench-201/cifar10": 15625, "nas-bench-201/cifar100": 15625, **ELSEWHERE}, "x")
    assert other_data_sets(cell_table, TASK, own) == ["cifar10"]
    found = others_of(cell_table, TASK, own)
    assert found is not None
    rows, scores = cell_table.distinct_rows(cell_table.column("cifar10"))
    assert torch.equal(found[0], cell_table.indices[rows]) and torch.equal(found[1], scores)
    assert others_of(cell_table, TASK, Knowledge(bare, ELSEWHERE, "x")) is None


def test_labels_that_methods_read_are_counted(cells_judge: Judge, bare: PKGenPipeline) -> None:
    own = Knowledge(bare, {"nas-bench-201/cifar10": 15625, **ELSEWHERE}, "x")

    def read(name: str, num: int = 0) -> tuple[int, int]:
        return tuple(labels_read(METHODS[name], cells_judge, own, num).values())  # type: ignore[return-value]

    assert read("uniform", 20) == read("largest", 20) == (0, 0)
    assert read("pkgen") == (15725, 0) and read("pkgen", 20) == (15745, 20)
    assert read("prior-0.5") == (15725, 0) and read("prior-0.5", 20) == (20, 20)  # measured on the given ones alone
    assert read("copy", 20) == (15625, 0) and read("pool-random-forest", 20) == (20, 20)
    assert read("evolution", 50) == (50, 50) and read("ask-tell", 50) == (15775, 50)


def test_a_set_is_solved_for(cells_judge: Judge, bare: PKGenPipeline, make_problem: MakeProblem) -> None:
    own = Knowledge(bare, ELSEWHERE, "x")
    limits = Limits(cells_judge.space, TASK)
    problem = problem_of(Condition("new-space", num_labels=10), cells_judge, own, {}, limits, 4)
    known, scores = cells_judge.random_labels(10, 4)
    assert problem.given is not None and torch.equal(problem.given[0], known) and problem.run == 4
    row = solve(METHODS["pool-random-forest"], problem, cells_judge)
    assert row["best_label_rank"] == float(cells_judge.ranks(cells_judge.scores(known), limits).min())
    assert row["n"] == row["distinct"] == 100 and row["seconds"] > 0
    assert row["median_rank"] < 45  # better than chance

    def peek(problem: Problem, num: int) -> torch.Tensor:
        problem.read(known)
        return known

    with pytest.raises(RuntimeError, match="10 labels were read, where none may be"):
        solve(Method("peek", "peek", peek), problem, cells_judge)


def test_a_search_is_measured_at_every_number_of_labels(cells_judge: Judge, make_problem: MakeProblem) -> None:
    problem = make_problem(cells_judge.space, TASK)
    found = list(search(METHODS["local-search"], problem, cells_judge, [30, 10]))
    assert [row["num_labels"] for row in found] == [10, 30] and found[0]["seconds"] == found[1]["seconds"]
    read = METHODS["local-search"].choose(replace(problem, read=lambda rows: cells_judge.scores(rows).tolist()), 38)
    for row in found:
        later = search_measures(cells_judge, problem.limits, read[: row["num_labels"] + 8])
        assert row["later_rank"] == later["first_rank"] <= row["first_rank"]
        expected = search_measures(cells_judge, problem.limits, read[: row["num_labels"]])
        assert {name: row[name] for name in expected} == expected

    def greedy(problem: Problem, num: int) -> torch.Tensor:
        rows = problem.space.sample(num + 1, problem.generator())
        problem.read(rows)
        return rows

    with pytest.raises(RuntimeError, match="greedy read 19 labels, of 18 that it may read"):
        list(search(Method("greedy", "greedy", greedy, is_search=True), problem, cells_judge, [10]))
