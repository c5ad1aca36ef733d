"""Ranks and measures against brute force, with and without limits, on measured and on predicted scores."""

from __future__ import annotations

import pyarrow as pa
import pytest
import torch

from pkgen_hf import ScoreTable
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.evaluation.judge import Judge
from pkgen_hf.evaluation.measures import FEW, MEASURES, OF_SETS, measures, search_measures
from pkgen_hf.evaluation.specification import uniform_within

TASK = "cifar100"


def some_rows(judge: Judge, limits: Limits, num: int = 40) -> torch.Tensor:
    return uniform_within(limits, num, torch.Generator().manual_seed(3))


def share_above(reference: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Percent of the reference that is higher, by counting."""
    return 100 * (reference[None] > scores[:, None]).double().mean(1)


@pytest.mark.parametrize("budgets", [{}, {"max_parameters": 300_000}])
def test_ranks_are_counted_among_all_within_the_limits(budgets: dict[str, float], cells_judge: Judge) -> None:
    table, limits = cells_judge.table, Limits(cells_judge.space, TASK, **budgets)
    assert (cells_judge.scores_are, cells_judge.error, cells_judge.has_test) == ("validation", None, False)
    scores = cells_judge.scores(some_rows(cells_judge, limits))
    allowed = cells_judge.space.parameters(table.indices, TASK) <= budgets.get("max_parameters", 10**9)
    expected = share_above(table.column(TASK)[allowed], scores)
    torch.testing.assert_close(cells_judge.ranks(scores, limits).double(), expected, atol=1e-4, rtol=0)
    assert float(cells_judge.ranks(table.column(TASK)[allowed].max()[None], limits)) == 0


def test_a_sample_of_a_space_is_judged_by_a_surrogate(cell_table: ScoreTable) -> None:
    some = torch.randperm(len(cell_table.indices), generator=torch.Generator().manual_seed(0))[:800]
    strings = cell_table.space.to_strings(cell_table.indices[some])
    column = pa.array(cell_table.column(TASK)[some].numpy())
    table = ScoreTable("nas-bench-201", pa.table({"architecture": strings, f"{TASK}_validation_accuracy": column}))
    judge = Judge(table, TASK)
    assert judge.scores_are == "surrogate" and judge.error is not None and not judge.has_test
    assert judge.error["n"] == 800 and 0.5 < judge.error["kendall_tau"] < 1
    for budgets in ({}, {"max_parameters": 300_000}):
        limits = Limits(judge.space, TASK, **budgets)
        everything = uniform_within(limits, 10**5, torch.Generator())
        scores = judge.scores(everything[:30])
        expected = share_above(judge.scores(everything), scores)
        torch.testing.assert_close(judge.ranks(scores, limits).double(), expected, atol=1e-3, rtol=0)
    rows, scores = judge.random_labels(50, 0)  # labels are measured ones
    torch.testing.assert_close(scores, table.scores(rows, TASK))


def test_choices_that_were_never_measured_are_counted(cell_table: ScoreTable, cells_judge: Judge) -> None:
    has_choice = cell_table.space.canonical(cell_table.indices)[:, 0] == 3
    rows = cell_table.indices[~has_choice][::20]
    column = pa.array(cell_table.scores(rows, TASK).numpy())
    strings = cell_table.space.to_strings(rows)
    table = ScoreTable("nas-bench-201", pa.table({"architecture": strings, f"{TASK}_validation_accuracy": column}))
    assert Judge(table, TASK).unmeasured == pytest.approx(float(has_choice.double().mean()), abs=0.02)
    assert cells_judge.unmeasured == 0


def test_given_labels_are_the_first_of_more(cells_judge: Judge) -> None:
    few, more = cells_judge.random_labels(10, 1), cells_judge.random_labels(50, 1)
    for some, all_of_them in zip(few, more, strict=True):
        assert torch.equal(some, all_of_them[:10])
    assert len(cells_judge.space.keys(more[0]).unique()) == 50 and cells_judge.space.is_valid(more[0]).all()
    assert not torch.equal(few[0], cells_judge.random_labels(10, 2)[0])
    assert float((cells_judge.table.scores(more[0], TASK) - more[1]).abs().max()) < 3  # means over isomorphic ones


def test_measures_by_brute_force(graph_table: ScoreTable) -> None:
    judge = Judge(graph_table, "cora")
    limits = Limits(judge.space, "cora")
    rows = some_rows(judge, limits)
    rows = torch.cat([rows, rows[:5]])
    found = measures(judge, limits, rows)
    scores = graph_table.values(rows, "cora")
    ranks = share_above(graph_table.column("cora")[~graph_table.column("cora").isnan()], scores)
    best = int(scores[:FEW].argmax())
    expected = {
        "n": 45, "distinct": 40, "first_rank": ranks[0], "few_rank": ranks[:FEW].min(),
        "median_rank": ranks.quantile(0.5), "top_share": 100 * (ranks < 1).double().mean(), "first_score": scores[0],
        "few_score": scores[:FEW].max(), "mean_score": scores.mean(),
        "few_test": graph_table.scores(rows[best : best + 1], "cora", "test"),
        "mean_test": graph_table.scores(rows, "cora", "test").mean(),
    }  # fmt: skip
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-3)
    assert found.keys() >= MEASURES.keys()


def test_what_breaks_the_rules_is_refused(cells_judge: Judge) -> None:
    limits = Limits(cells_judge.space, TASK, max_parameters=300_000)
    largest = torch.full((1, 6), 3)  # six convolutions of 3 x 3
    assert cells_judge.space.is_valid(largest).all()
    with pytest.raises(ValueError, match="of 1 architectures 0 are invalid and 1 beyond"):
        measures(cells_judge, limits, largest)


def test_a_search_is_measured_by_the_best_it_has_read(cells_judge: Judge) -> None:
    limits = Limits(cells_judge.space, TASK)
    rows = some_rows(cells_judge, limits, 20)
    found = search_measures(cells_judge, limits, rows)
    ranks = cells_judge.ranks(cells_judge.scores(rows), limits)
    assert found["first_rank"] == found["few_rank"] == float(ranks.min())
    assert (found["n"], found["distinct"]) == (20, 20) and not found.keys() & set(OF_SETS)
    earlier = search_measures(cells_judge, limits, rows[:5])
    assert earlier["first_rank"] >= found["first_rank"]
