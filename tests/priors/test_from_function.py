"""Priors of functions of architectures: contributions in closed form, what the function is asked for, and files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pkgen_hf.evaluation.sampling import log_probabilities
from pkgen_hf.priors.from_function import NUM_RANDOM, random_architectures
from pkgen_hf.priors.prior import Prior
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task, get_space
from pkgen_hf.spaces.spectral_capacity import spectral_capacity

OPERATIONS = (
    Choice("none", "zero"),
    Choice("skip", "identity"),
    Choice("conv1", "convolution", kernel=1),
    Choice("conv3", "convolution", kernel=3),
)
CELLS = get_space("nas-bench-201")


def chain(num: int) -> SearchSpace:
    """A chain of operations, the last two into one node; all are valid."""
    places = [(s, s + 1) for s in range(num - 1)] + [(0, num - 1)]
    slots = [Slot(f"{a}->{b}", "operation", OPERATIONS, reads=(a,), writes=b) for a, b in places]
    return SearchSpace("chain", slots, {"data": Task("image-classification", num_classes=10)}, "none")


def additive(space: SearchSpace, seed: int = 0) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """Effects of choices, ``(slots, choices)``, and the function that adds them up."""
    effects = torch.randn(space.num_slots, space.num_choices, generator=torch.Generator().manual_seed(seed))
    return effects, lambda rows: effects[torch.arange(space.num_slots), rows].sum(1)


@pytest.mark.parametrize("num", [4, 11])  # one game of all, and restricted games
def test_contributions_to_a_sum_are_its_terms(num: int) -> None:
    space = chain(num)
    effects, function = additive(space)
    prior = Prior.from_function(space, function, "data", top_k=10, num_random=500)
    known = ~prior.contributions.isnan()
    assert torch.equal(known, prior.frequencies > 0) and known.sum() > num
    torch.testing.assert_close(prior.contributions[known], (effects - effects[:, :1])[known], rtol=0, atol=1e-5)
    for graph in prior.subgraphs:
        of_slots = [float(effects[s, k] - effects[s, 0]) for s, k in zip(graph.slots, graph.choices, strict=True)]
        assert graph.contribution == pytest.approx(sum(of_slots), abs=1e-5)
    assert (prior.evidence, prior.labels_read, prior.num_good, prior.task) == ("computed", 0, 10, "data")
    assert "restricted" in prior.detail if num > 8 else "restricted" not in prior.detail


def test_good_ones_are_the_best_of_the_random() -> None:
    space = chain(4)
    _, function = additive(space)
    everything = space.all_indices()
    best = everything[function(everything).argsort(descending=True)[:7]]
    prior = Prior.from_function(space, function, top_k=7, num_random=10_000)
    expected = torch.nn.functional.one_hot(best, 4).float().mean(0)
    torch.testing.assert_close(prior.frequencies, expected)
    assert "7 best of 256 random architectures" in prior.detail and prior.task is None


def test_the_function_is_asked_for_distinct_connected_architectures() -> None:
    asked: list[torch.Tensor] = []

    def convolutions(rows: torch.Tensor) -> torch.Tensor:
        asked.append(rows)
        return (rows == 3).sum(1)

    prior = Prior.from_function(CELLS, convolutions, num_random=300)
    for rows in asked:
        assert CELLS.is_connected(rows).all() and len(CELLS.keys(rows).unique()) == len(rows)
    assert len(asked[0]) == 300 and "300 random architectures by convolutions" in prior.detail
    assert prior.contributions[:, 3].nanmean() > 0.5


def test_random_architectures_follow_the_seed() -> None:
    again = [Prior.from_function(CELLS, "spectral-capacity").frequencies for _ in range(2)]
    assert torch.equal(*again)
    rows = random_architectures(CELLS, NUM_RANDOM, torch.Generator().manual_seed(1))
    assert len(rows) == NUM_RANDOM == len(CELLS.keys(rows).unique()) and bool(CELLS.is_valid(rows).all())
    assert len(random_architectures(CELLS, 20_000, None)) <= CELLS.num_architectures


@pytest.mark.parametrize("name", ["nas-bench-macro", "hw-gpt-bench-s", "nas-bench-bert"])
def test_spectral_capacity_is_built_in(name: str) -> None:
    """The prior is that of the function itself, and prefers architectures of high capacity."""
    space = get_space(name)
    prior = Prior.from_function(name, "spectral-capacity")
    same = Prior.from_function(space, lambda rows: spectral_capacity(space, rows))
    assert torch.equal(prior.frequencies, same.frequencies) and prior.detail.startswith("20 best of")
    rows = random_architectures(space, 500, torch.Generator().manual_seed(1))
    columns = torch.stack([log_probabilities(prior, rows).double(), spectral_capacity(space, rows)])
    assert torch.corrcoef(columns)[0, 1] > 0.5


def test_a_file_has_it_back(tmp_path: Path) -> None:
    prior = Prior.from_function("nas-bench-macro", "spectral-capacity", "cifar10")
    prior.save(tmp_path / "computed.parquet")
    read = Prior.load(tmp_path / "computed.parquet")
    for name in ("contributions", "subgraph_contributions", "frequencies"):
        torch.testing.assert_close(getattr(read, name), getattr(prior, name), equal_nan=True)
    for name in ("task", "evidence", "scale", "num_good", "labels_read", "detail", "games"):
        assert getattr(read, name) == getattr(prior, name)
    assert not read.is_of_its_space


@pytest.mark.parametrize(
    "function, message",
    [
        ("spectral", "unknown function of architectures: 'spectral'. Did you mean 'spectral-capacity'"),
        (3, "function must be a function of architectures or its name, got 3"),
        (lambda rows: rows.float(), "of shape (256,), got one of shape (256, 4)"),
        (lambda rows: [1.0], "of shape (256,), got one of shape (1,)"),
        (lambda rows: None, "of shape (256,), got None"),
        (lambda rows: ["good"] * 256, "scores must be numbers"),
        (lambda rows: torch.where(rows[:, 0] > 0, 1.0, math.nan), "is nan for 'none|"),
        (lambda rows: torch.where(rows[:, 0] > 0, 1.0, math.inf), "is inf for 'none|"),
        (lambda rows: torch.ones(len(rows)), "is 1 for all 256 random architectures of chain"),
    ],
)
def test_functions_that_give_no_scores(function: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        Prior.from_function(chain(4), function)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_numbers_and_spaces_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="top_k must be 1 to 256, the number of random architectures, got 300"):
        Prior.from_function(chain(4), lambda rows: rows.sum(1), top_k=300)
    with pytest.raises(ValueError, match="num_random must be a whole number from 1"):
        Prior.from_function(chain(4), lambda rows: rows.sum(1), num_random=0)
    with pytest.raises(NotImplementedError, match="chain lists no weight matrices"):
        Prior.from_function(chain(4), "spectral-capacity")
