"""Sets of methods hold distinct valid architectures within the limits, without a label that was not given."""

from __future__ import annotations

import pytest
import torch
from problems import MakeProblem

from pkgen_hf import Prior, ScoreTable, get_space
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.evaluation import pools, sampling
from pkgen_hf.evaluation.judge import Judge
from pkgen_hf.evaluation.methods import METHODS, TEMPERATURES
from pkgen_hf.evaluation.problem import Problem
from pkgen_hf.evaluation.specification import best_within, uniform_within
from pkgen_hf.spaces import SearchSpace

TASK = "cifar100"
BUDGET = {"max_parameters": 400_000}
SETS = [method.id for method in METHODS.values() if not method.is_search and method.id != "pkgen-raw"]
SEEDED = ("uniform", "prior-1", "pool-random-forest", "pool-gaussian-process")


@pytest.fixture
def full(make_problem: MakeProblem, cells_judge: Judge, monkeypatch: pytest.MonkeyPatch) -> Problem:
    """With a budget, given labels and those of another data set: what every method can solve."""
    monkeypatch.setattr(pools, "POOL", 1000)
    rows, scores = cells_judge.table.distinct_rows(cells_judge.table.column("cifar10"))
    others = cells_judge.table.indices[rows], scores
    return make_problem(cells_judge.space, TASK, BUDGET, given=cells_judge.random_labels(20, 0), others=others)


@pytest.mark.parametrize("name", SETS)
def test_sets_are_distinct_valid_and_within_the_limits(name: str, full: Problem, make_problem: MakeProblem) -> None:
    method = METHODS[name]
    assert method.applies(full)
    rows = method.choose(full, 100)
    assert rows.dtype == torch.long and rows.shape == (100, full.space.num_slots)
    assert full.space.is_valid(rows).all() and full.limits.within(rows).all()
    assert len(full.space.keys(rows).unique()) == 100
    assert torch.equal(rows, method.choose(full, 100))
    if name in SEEDED:
        other = make_problem(full.space, TASK, BUDGET, given=full.given, others=full.others, run=1)
        assert not torch.equal(rows, method.choose(other, 100))


def test_methods_apply_to_what_they_can_solve(
    make_problem: MakeProblem, full: Problem, tiny: SearchSpace, cell_table: ScoreTable
) -> None:
    def applies(problem: Problem) -> set[str]:
        return {name for name in [*SETS, "pkgen-raw"] if METHODS[name].applies(problem)}

    always = {"pkgen", "uniform", "pool-ranking", *(f"prior-{temperature:g}" for temperature in TEMPERATURES)}
    assert applies(make_problem(tiny, "x")) == always | {"pkgen-raw"}
    transformers = get_space("hw-gpt-bench-s")
    assert applies(make_problem(transformers, "openwebtext")) == always | {"pkgen-raw", "largest", "spectral-capacity"}
    of_labels = {"pool-gaussian-process", "pool-random-forest"}
    assert applies(full) >= always | of_labels | {"copy", "largest"} and "pkgen-raw" not in applies(full)
    assert "pkgen-raw" not in applies(make_problem(cell_table.space, TASK, BUDGET))


def test_raw_samples_are_a_thousand(make_problem: MakeProblem, cell_table: ScoreTable) -> None:
    rows = METHODS["pkgen-raw"].choose(make_problem(cell_table.space, TASK), 100)
    assert len(rows) == 1000 > len(cell_table.space.keys(rows).unique())


@pytest.mark.parametrize("budgets", [{}, BUDGET])
def test_largest_are_those_of_brute_force(
    budgets: dict[str, float], make_problem: MakeProblem, cell_table: ScoreTable
) -> None:
    space = cell_table.space
    problem = make_problem(space, TASK, budgets)
    assert space.valid_rows is not None
    rows = space.canonical(space.valid_rows)
    rows = rows[problem.limits.within(rows)]
    _, first = torch.unique(space.keys(rows), return_inverse=True)
    of_class = torch.zeros(int(first.max()) + 1, dtype=torch.long).index_copy_(0, first, space.parameters(rows, TASK))
    expected = of_class.sort(descending=True).values[:30]
    assert torch.equal(space.parameters(METHODS["largest"].choose(problem, 30), TASK), expected)


def test_the_best_of_a_space_too_large_to_list_is_reached_by_changes() -> None:
    """From random architectures, of which none is near it."""
    space = get_space("hw-gpt-bench-s")
    assert space.valid_rows is None
    rows = best_within(
        Limits(space), lambda rows: space.parameters(rows, "openwebtext"), 8, torch.Generator().manual_seed(0)
    )
    corner = (space.drawn_sizes - 1)[None]
    assert int(space.parameters(rows[:1], "openwebtext")) == int(space.parameters(corner, "openwebtext"))
    counts = space.parameters(rows, "openwebtext")
    assert torch.equal(counts, counts.sort(descending=True).values) and len(space.keys(rows).unique()) == 8


def test_uniform_has_no_preference(cell_table: ScoreTable) -> None:
    """Every operation is as frequent as among all architectures within the limits."""
    limits = Limits(cell_table.space, TASK, **BUDGET)
    assert limits.pool is not None
    rows = uniform_within(limits, 3000, torch.Generator().manual_seed(0))
    for choice in range(5):
        share, expected = ((of == choice).float().mean() for of in (rows, limits.pool))
        assert abs(float(share - expected)) < 0.03
    assert len(uniform_within(limits, 10**6, torch.Generator())) == len(cell_table.space.keys(limits.pool).unique())


def test_a_space_that_has_hardly_more_is_not_drawn_from_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    space = get_space("nas-bench-bert")  # fewer than 10,000 architectures
    draws = []

    def sample(num: int, generator: torch.Generator) -> torch.Tensor:
        draws.append(num)
        return type(space).sample(space, num, generator)

    monkeypatch.setattr(space, "sample", sample)
    rows = uniform_within(Limits(space), 10_000, torch.Generator().manual_seed(0))
    assert sum(draws) < 500_000 and len(rows) == len(space.keys(rows).unique())
    everything = space.sample(2_000_000, torch.Generator().manual_seed(1))
    assert len(rows) > 0.95 * len(space.keys(everything).unique())


def test_copy_is_the_best_of_the_others_alone(full: Problem, cell_table: ScoreTable) -> None:
    rows = METHODS["copy"].choose(full, 50)
    assert full.others is not None
    scores = cell_table.column("cifar10")
    within = full.limits.within(cell_table.indices) & cell_table.space.is_valid(cell_table.indices)
    best = cell_table.space.keys(cell_table.indices[within][scores[within].argsort(descending=True)[:20]])
    assert torch.isin(best, cell_table.space.keys(rows)).float().mean() > 0.8  # but for means over isomorphic ones


def test_a_lower_temperature_is_nearer_to_the_mode(make_problem: MakeProblem, cells: Prior) -> None:
    problem = make_problem(cells.space, TASK)
    means = []
    for temperature in TEMPERATURES:
        rows = sampling.prior_alone(problem, 50, temperature)
        known = sampling.log_probabilities(problem.prior, rows)
        assert torch.equal(known, known.sort(descending=True).values)
        means.append(float(known.mean()))
    assert means == sorted(means)


def test_log_probabilities_by_hand(tiny: SearchSpace) -> None:
    prior = Prior.absent(tiny)
    found = sampling.log_probabilities(prior, torch.tensor([[1, 2], [2, 2]]))
    by_hand = [sum(float(prior.distribution()[s, k].log()) for s, k in enumerate(row)) for row in ((1, 2), (2, 2))]
    torch.testing.assert_close(found, torch.tensor(by_hand, dtype=found.dtype))
