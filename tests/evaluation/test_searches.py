"""Searches read no more labels than they may, no architecture twice, and get better by what they read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from problems import MakeProblem

from pkgen_hf import ScoreTable, get_space
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.spaces import SearchSpace

TASK = "cifar100"
SEARCHES = [method.id for method in METHODS.values() if method.is_search]
BASELINES = [name for name in SEARCHES if METHODS[name].is_baseline]
AT_ONCE = ("random-search", "first-ranked")
Score = Callable[[torch.Tensor], torch.Tensor]


def rows_read(make: MakeProblem, name: str, space: SearchSpace, task: str, score: Score, num: int,
              run: int = 0) -> torch.Tensor:  # fmt: skip
    """What a search has read, which is what it returns."""
    seen: list[torch.Tensor] = []

    def read(indices: torch.Tensor) -> list[float]:
        seen.append(indices)
        return score(indices).tolist()

    returned = METHODS[name].choose(make(space, task, read=read, run=run), num)
    rows = torch.cat(seen)
    assert torch.equal(returned, rows)
    assert len(rows) <= num and space.is_valid(rows).all()
    assert len(space.keys(rows).unique()) == len(rows)  # none twice, isomorphic ones included
    return rows


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_reads_what_it_may_and_is_reproducible(
    name: str, cell_table: ScoreTable, make_problem: MakeProblem
) -> None:
    """What is read first does not depend on how many follow, so that one run has the results of all smaller numbers.

    Where all is read at once, fewer are others.
    """

    def read(num: int, run: int) -> torch.Tensor:
        return rows_read(
            make_problem, name, cell_table.space, TASK, lambda rows: cell_table.values(rows, TASK), num, run
        )

    rows, again = read(20, 0), read(20 if name in AT_ONCE else 10, 0)
    assert rows.shape == (20, 6) and torch.equal(again, rows[: len(again)])
    if name in BASELINES:
        assert not torch.equal(rows, read(20, 1))


@pytest.mark.parametrize(("name", "num"), [("evolution", 150), ("local-search", 150), ("tpe", 150),
                                           ("gaussian-process", 50)])  # fmt: skip
def test_searches_learn_from_what_they_read(
    name: str, num: int, cell_table: ScoreTable, make_problem: MakeProblem
) -> None:
    """Each is ahead of random search with as many labels, on average over five runs."""

    def best(name: str) -> float:
        found = 0.0
        for run in range(5):
            rows = rows_read(
                make_problem, name, cell_table.space, TASK, lambda rows: cell_table.values(rows, TASK), num, run
            )
            found += float(cell_table.values(rows, TASK).max()) / 5
        return found

    assert best(name) > best("random-search") + 0.3


@pytest.mark.parametrize("name", SEARCHES)
def test_a_space_of_fewer_architectures_is_read_to_its_end(
    name: str, tiny: SearchSpace, make_problem: MakeProblem
) -> None:
    rows = rows_read(make_problem, name, tiny, "x", lambda rows: rows.sum(1).float(), 20)
    assert len(rows) == tiny.num_architectures == 9


def test_evolution_changes_one_slot_of_an_architecture_it_knows(make_problem: MakeProblem) -> None:
    space = get_space("nas-bench-macro")
    rows = rows_read(make_problem, "evolution", space, "cifar10", lambda rows: rows.sum(1).float(), 40)
    for i in range(10, 40):
        assert int((rows[:i] != rows[i]).sum(1).min()) == 1


def test_local_search_climbs_until_nothing_near_is_better(make_problem: MakeProblem) -> None:
    space = get_space("nas-bench-macro")
    rows = rows_read(make_problem, "local-search", space, "cifar10", lambda rows: rows.sum(1).float(), 60)
    assert int(rows.sum(1).max()) == int((space.sizes - 1).sum())  # one peak, found


@pytest.mark.parametrize("name", SEARCHES)
def test_without_search_nothing_may_be_read(name: str, cell_table: ScoreTable, make_problem: MakeProblem) -> None:
    with pytest.raises(RuntimeError, match="labels were read, where none may be"):
        METHODS[name].choose(make_problem(cell_table.space, TASK), 10)
