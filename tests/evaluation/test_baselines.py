"""Searches read no more labels than they may, no architecture twice, and get better by what they read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pkgen_hf import PKGenPipeline, ScoreTable, get_space
from pkgen_hf.evaluation.baselines import (
    Search,
    ask_tell_search,
    first_ranked,
    local_search,
    random_search,
    regularized_evolution,
    tree_parzen,
)
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task

TASK = "cifar100"
BASELINES: dict[str, Callable[[SearchSpace], Search]] = {
    "random": random_search,
    "evolution": regularized_evolution,
    "local": local_search,
    "tpe": lambda space: tree_parzen(space, next(iter(space.tasks))),
}


def rows_read(search: Search, space: SearchSpace, score: Callable[[torch.Tensor], list[float]], seed: int = 0,
              budget: int = 30) -> torch.Tensor:  # fmt: skip
    seen: list[torch.Tensor] = []

    def read(indices: torch.Tensor) -> list[float]:
        seen.append(indices)
        return score(indices)

    search(read, budget, seed)
    rows = torch.cat(seen)
    assert space.is_valid(rows).all()
    assert len(space.keys(rows).unique()) == len(rows)  # none twice, isomorphic ones included
    return rows


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_read_within_their_budget(cell_table: ScoreTable, name: str) -> None:
    def score(indices: torch.Tensor) -> list[float]:
        return cell_table.values(indices, TASK).tolist()

    search = BASELINES[name](cell_table.space)
    first, again, other = (rows_read(search, cell_table.space, score, seed) for seed in (0, 0, 1))
    assert first.shape == (30, 6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_pipeline_searches_read_within_their_budget(pipe: PKGenPipeline, cell_table: ScoreTable) -> None:
    def score(indices: torch.Tensor) -> list[float]:
        return cell_table.values(indices, TASK).tolist()

    for search in (ask_tell_search, first_ranked):
        assert len(rows_read(search(pipe, cell_table.space, TASK), cell_table.space, score, budget=12)) == 12


@pytest.mark.parametrize("name", ["evolution", "local", "tpe"])
def test_baselines_learn_from_what_they_read(cell_table: ScoreTable, name: str) -> None:
    """With 150 labels each is ahead of random search, on average over five seeds."""

    def best(search: Search) -> float:
        found = 0.0
        for seed in range(5):
            rows = rows_read(
                search, cell_table.space, lambda rows: cell_table.values(rows, TASK).tolist(), seed, budget=150
            )
            found += float(cell_table.values(rows, TASK).max()) / 5
        return found

    assert best(BASELINES[name](cell_table.space)) > best(random_search(cell_table.space)) + 0.3


@pytest.mark.parametrize("name", BASELINES)
def test_a_space_smaller_than_the_budget_is_read_to_its_end(name: str) -> None:
    choices = (Choice("none", "zero"), Choice("skip", "identity"), Choice("conv", "convolution", kernel=3))
    slots = [Slot(f"{i}->{i + 1}", "operation", choices, reads=(i,), writes=i + 1) for i in range(2)]
    space = SearchSpace(
        "tiny", slots, {"x": Task("image-classification", chance_score=0.0, num_classes=2)}, null_choice="none"
    )
    rows = rows_read(BASELINES[name](space), space, lambda rows: rows.sum(1).tolist(), budget=20)
    assert len(rows) == 9


def test_evolution_changes_one_slot_of_an_architecture_it_knows() -> None:
    space = get_space("nas-bench-macro")
    rows = rows_read(regularized_evolution(space), space, lambda rows: rows.sum(1).float().tolist(), budget=40)
    for i in range(10, 40):
        assert int((rows[:i] != rows[i]).sum(1).min()) == 1


def test_local_search_climbs_until_nothing_near_is_better() -> None:
    space = get_space("nas-bench-macro")
    rows = rows_read(local_search(space), space, lambda rows: rows.sum(1).float().tolist(), budget=60)
    assert int(rows.sum(1).max()) == int((space.sizes - 1).sum())  # one peak, found
