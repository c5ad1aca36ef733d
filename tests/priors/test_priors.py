"""Priors: Shapley values by their axioms and by brute force, how they were played, own evaluations, and files."""

from __future__ import annotations

import itertools
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pandas as pd  # which datasets needs, too
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from shapiq import ExactComputer

from pkgen_hf.architecture import Architecture
from pkgen_hf.benchmarks.estimate import Estimate
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.inputs import to_indices
from pkgen_hf.priors.data import EVIDENCE, PRIOR_FEATURES
from pkgen_hf.priors.files import load_priors, save_priors
from pkgen_hf.priors.prior import Prior, select_prior
from pkgen_hf.priors.shapley import (
    MAX_PLAYERS,
    describe_games,
    games,
    operation_players,
    shapley_contributions,
    shapley_matrix,
    subgraph_players,
)
from pkgen_hf.priors.transfer import average
from pkgen_hf.requests.evaluations import read_evaluations
from pkgen_hf.spaces import Choice, SearchSpace, Slot, get_space, list_spaces
from pkgen_hf.spaces.nas_bench_201 import CONV1, CONV3, NONE, POOL, SKIP

CELLS = get_space("nas-bench-201")
GRAPHS = get_space("nas-bench-graph")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_equal(actual: torch.Tensor, expected: torch.Tensor, atol: float = 0.0) -> None:
    """NaN in the same places, the rest equal."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol, equal_nan=True)


def assert_same_prior(actual: Prior, expected: Prior, atol: float = 0.0) -> None:
    assert actual.space is expected.space
    for name in ("contributions", "subgraph_contributions", "frequencies"):
        assert_equal(getattr(actual, name), getattr(expected, name), atol)
    if not atol:
        for name in ("task", "evidence", "subgraphs", "scale", "num_good", "labels_read", "detail"):
            assert getattr(actual, name) == getattr(expected, name), name


@pytest.fixture(scope="module")
def evaluations() -> tuple[torch.Tensor, torch.Tensor]:
    """40 distinct random valid cells with made-up scores, more convolutions being better."""
    rows = CELLS.sample(80, seeded())
    rows = rows[CELLS.is_valid(rows)]
    keys = CELLS.keys(rows).tolist()
    rows = rows[[keys.index(key) for key in dict.fromkeys(keys)]][:40]
    assert len(rows) == 40
    noise = torch.rand(40, generator=seeded(1))
    return rows, 50 + 3.0 * (rows == CONV3).sum(1) + 2.0 * (rows == CONV1).sum(1) + noise


@pytest.fixture(scope="module")
def priors(
    cell_table: ScoreTable, graph_table: ScoreTable, evaluations: tuple[torch.Tensor, torch.Tensor]
) -> dict[str, Prior]:
    """One prior of every origin."""
    cells = Prior.from_benchmark("nas-bench-201", "cifar10", table=cell_table)
    graphs = Prior.from_benchmark("nas-bench-graph", "cora", table=graph_table)
    return {
        "cells": cells,
        "graphs": graphs,
        "all cells": Prior.from_benchmark(CELLS, None, table=cell_table),
        "worst": Prior.from_benchmark(GRAPHS, "proteins", 7, graph_table, "worst"),
        "one": Prior.from_benchmark(GRAPHS, "arxiv", 1, graph_table),
        "own": Prior.from_evaluations(CELLS, *evaluations),
        "other task": Prior.carried_over(CELLS, [cells], "cifar100"),
        "to cells": Prior.carried_over(CELLS, [graphs], "cifar100"),
        "to graphs": Prior.carried_over(GRAPHS, [cells, graphs], "cs"),
        "computed": Prior.from_function(CELLS, "spectral-capacity"),
        "absent cells": Prior.absent(CELLS, "cifar10"),
        "absent graphs": Prior.absent(GRAPHS),
    }


ORIGINS = [
    *("cells", "graphs", "all cells", "worst", "one", "own", "other task", "to cells", "to graphs"),
    *("computed", "absent cells", "absent graphs"),
]


@pytest.fixture(params=ORIGINS)
def prior(request: pytest.FixtureRequest, priors: dict[str, Prior]) -> Prior:
    return priors[request.param]


# ---------------------------------------------------------------------- Shapley values


def chain(number: int) -> SearchSpace:
    """A space of the user's own: `number` operations in a row."""
    choices = (Choice("none", "zero"), Choice("conv", "convolution", kernel=3))
    slots = [Slot(f"layer {i}", "operation", choices, (i,), i + 1) for i in range(number)]
    return SearchSpace("chain", slots, {}, null_choice="none")


def lookup(table: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The game in which a cell is worth what `table` says of its code."""
    return lambda rows: table[CELLS.codes(rows)]


@pytest.mark.parametrize(
    "players",
    [
        [[0, 1, 2, 3, 4, 5]],
        [[0, 1, 3], [2, 4]],
        subgraph_players(CELLS),
        [[5], [0], [2, 3], [4, 1]],
        [[0], [1], [2], [3], [5]],
    ],
    ids=lambda players: f"{len(players)} players",
)
def test_contributions_are_means_over_orders_of_arrival(players: list[list[int]]) -> None:
    """Random games; slots that belong to nobody stay."""
    table = torch.rand(15_625, generator=seeded(), dtype=torch.float64) * 100
    rows = CELLS.sample(200, seeded(1))
    expected = torch.zeros(200, len(players), dtype=torch.float64)
    orders = list(itertools.permutations(range(len(players))))
    for order in orders:
        reduced = rows.clone()
        reduced[:, sum(players, [])] = NONE
        before = lookup(table)(reduced)
        for player in order:
            reduced[:, players[player]] = rows[:, players[player]]
            after = lookup(table)(reduced)
            expected[:, player] += (after - before) / len(orders)
            before = after
    assert_equal(shapley_contributions(CELLS, rows, lookup(table), players), expected.float(), 1e-4)


@pytest.mark.parametrize("num_players", range(1, MAX_PLAYERS + 1))
def test_values_are_those_of_another_implementation(num_players: int) -> None:
    """On a random game of each size, by the library shapiq."""
    worth = torch.randn(2**num_players, generator=torch.Generator().manual_seed(num_players), dtype=torch.float64)
    bits = 2 ** np.arange(num_players)
    computer = ExactComputer(lambda coalitions: worth.numpy()[coalitions.astype(int) @ bits], n_players=num_players)
    theirs = computer("SV", 1).get_n_order_values(1)
    assert_equal(worth @ shapley_matrix(num_players), torch.from_numpy(np.asarray(theirs)), 1e-6)


@pytest.mark.parametrize("task", list(CELLS.tasks))
@pytest.mark.parametrize("players", [operation_players(CELLS), subgraph_players(CELLS)], ids=["operations", "nodes"])
def test_contributions_of_every_cell_add_up(cell_table: ScoreTable, task: str, players: list[list[int]]) -> None:
    """What everything together is worth more than nothing is shared out, and who is not there gets nothing."""
    rows = CELLS.all_indices()
    contributions = shapley_contributions(CELLS, rows, lambda batch: cell_table.values(batch, task), players)
    gain = cell_table.values(rows, task) - CELLS.task(task).chance_score
    assert_equal(contributions.sum(1), gain, 1e-4)
    absent = torch.stack([(rows[:, slots] == NONE).all(1) for slots in players], dim=1)
    assert contributions[absent].abs().max() < 1e-5 < contributions[~absent].abs().mean()


def test_contributions_of_graphs_add_up(graph_table: ScoreTable) -> None:
    rows = GRAPHS.sample(500, seeded())
    empty = GRAPHS.from_strings(["0123:skip,skip,skip,skip"])
    for task, players in itertools.product(
        ("cora", "proteins"), (operation_players(GRAPHS), subgraph_players(GRAPHS))
    ):
        assert len(players) == 4

        def value(batch: torch.Tensor, task: str = task) -> torch.Tensor:
            return graph_table.values(batch, task)

        contributions = shapley_contributions(GRAPHS, rows, value, players)
        assert_equal(contributions.sum(1), value(rows) - value(empty), 1e-4)
        skipped = rows[:, GRAPHS.null_indices >= 0] == GRAPHS.null_indices[GRAPHS.null_indices >= 0]
        assert contributions[skipped].abs().max() < 1e-4


def test_equal_players_contribute_equally() -> None:
    """A game that asks only which operations there are, not where."""
    table = torch.rand(15_625, generator=seeded()) * 100
    rows = CELLS.sample(500, seeded(1))
    contributions = shapley_contributions(
        CELLS, rows, lambda batch: lookup(table)(batch.sort(1).values), operation_players(CELLS)
    )
    equal = rows[:, :, None] == rows[:, None, :]
    difference = (contributions[:, :, None] - contributions[:, None, :]).abs()
    assert difference[equal].max() < 1e-4 and difference[~equal].mean() > 1


def test_contributions_follow_players_that_move() -> None:
    table = torch.rand(15_625, generator=seeded())
    rows, order = CELLS.sample(100, seeded(1)), torch.tensor([3, 0, 5, 1, 4, 2])
    players = operation_players(CELLS)
    moved = shapley_contributions(CELLS, rows[:, order], lambda b: lookup(table)(b[:, order.argsort()]), players)
    assert_equal(moved, shapley_contributions(CELLS, rows, lookup(table), players)[:, order], 1e-5)


def test_contributions_are_linear_in_the_scores() -> None:
    one, other = torch.rand(2, 15_625, generator=seeded())
    rows, players = CELLS.sample(100, seeded(1)), operation_players(CELLS)
    parts = [shapley_contributions(CELLS, rows, lookup(table), players) for table in (one, other, 2 * one - other + 7)]
    assert_equal(parts[2], 2 * parts[0] - parts[1], 1e-5)


@pytest.mark.parametrize("name", list_spaces())
@pytest.mark.parametrize("players_of", [operation_players, subgraph_players])
def test_every_player_is_in_one_game(name: str, players_of: Callable[..., list[list[int]]]) -> None:
    """Of at most 8 players; several games are of one cell and kind of slot each, and of nearly equal size."""
    space = get_space(name)
    players = players_of(space)
    parts = games(space, players)
    assert sorted(sum(parts, [])) == list(range(len(players)))
    assert all(1 <= len(part) <= MAX_PLAYERS for part in parts)
    groups: dict[tuple[int, str], list[int]] = {}
    for part in parts if len(players) > MAX_PLAYERS else []:
        kinds = {(space.slots[players[i][0]].cell, space.slots[players[i][0]].kind) for i in part}
        assert len(kinds) == 1
        groups.setdefault(kinds.pop(), []).append(len(part))
    assert all(max(sizes) - min(sizes) <= 1 for sizes in groups.values())
    assert len(players) > MAX_PLAYERS or len(parts) == 1


@pytest.mark.parametrize("name", ["darts", "mnasnet", "nas-bench-101", "nas-bench-nlp", "nats-bench-size"])
def test_contributions_add_up_in_each_game(name: str) -> None:
    """To what the players of the game are worth while all others stay in place."""
    space = get_space(name)
    worth = torch.randn(space.num_slots, space.num_choices, generator=seeded(), dtype=torch.float64)

    def value(rows: torch.Tensor) -> torch.Tensor:
        alone = worth[torch.arange(space.num_slots), rows].sum(1)
        return alone + (0.3 * alone).sin()

    rows = space.sample(8, seeded(1))
    for players in (operation_players(space), subgraph_players(space)):
        contributions = shapley_contributions(space, rows, value, players)
        for part in games(space, players):
            keep = torch.ones(1, space.num_slots, dtype=torch.bool)
            keep[0, sum((list(players[i]) for i in part), [])] = False
            gain = value(rows) - value(space.remove(rows, keep.expand(8, -1)))
            assert_equal(contributions[:, part].sum(1), gain.float(), 1e-4)


@pytest.mark.parametrize("number", [1, 8, 9, 10, 16, 17, 25])
def test_games_are_as_few_as_hold_the_players_and_differ_by_one(number: int) -> None:
    space = chain(number)
    parts = games(space, operation_players(space))
    sizes = [len(part) for part in parts]
    assert sum(parts, []) == list(range(number))  # in the order of slots
    assert len(sizes) == -(-number // MAX_PLAYERS) and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("name", list_spaces())
def test_description_of_games_has_the_players_of_each(name: str) -> None:
    space = get_space(name)
    operations, subgraphs = re.fullmatch(r"(.*) operations, (.*) subgraphs", describe_games(space)).groups()  # type: ignore[union-attr]
    for text, players in [(operations, operation_players(space)), (subgraphs, subgraph_players(space))]:
        sizes = [len(game) for game in games(space, players)]
        start = "one game of " if len(sizes) == 1 else f"{len(sizes)} restricted games of "
        assert text.startswith(start)
        assert [int(size) for size in re.findall(r"\d+", text.removeprefix(start))] == sizes


@pytest.mark.parametrize(
    ("number", "played"),
    [
        (1, "one game of 1 operation, one game of 1 subgraph"),
        (8, "one game of 8 operations, one game of 8 subgraphs"),
        (9, "2 restricted games of 5 and 4 operations, 2 restricted games of 5 and 4 subgraphs"),
    ],
)
def test_prior_says_what_was_played(number: int, played: str) -> None:
    """Restricted games are in the detail too, which files, the command line and the app show."""
    space = chain(number)
    rows = space.sample(30, seeded())
    prior = Prior.from_evaluations(space, rows, torch.rand(30, generator=seeded()))
    assert prior.games == played
    assert ("restricted" in played) == (played in prior.detail) == ("restricted" in repr(prior))


@pytest.mark.parametrize(
    ("name", "number"), [("darts", 2), ("mnasnet", 4), ("nas-bench-asr", 2), ("nas-bench-nlp", 3)]
)
def test_priors_of_many_operations_say_that_games_were_restricted(name: str, number: int) -> None:
    space = get_space(name)
    rows = space.sample(60, seeded())
    rows = rows[space.is_valid(rows)]
    prior = Prior.from_evaluations(space, rows, torch.rand(len(rows), generator=seeded()))
    assert f"; {number} restricted games of " in prior.detail and prior.games in prior.detail


def test_games_of_priors_that_were_not_measured(priors: dict[str, Prior]) -> None:
    assert Prior.absent(CELLS, "cifar10").games == "none"
    assert priors["to cells"].games == "those of the other spaces"
    for name in ("cells", "all cells", "own", "other task", "to graphs"):
        assert priors[name].games == describe_games(priors[name].space)


def test_a_benchmark_that_measured_a_sample_says_that_scores_are_fitted(cell_table: ScoreTable) -> None:
    rows = cell_table.indices[torch.randperm(15_625, generator=seeded())[:500]]
    columns = {
        "architecture": CELLS.to_strings(rows),
        "cifar10_validation_accuracy": cell_table.values(rows, "cifar10"),
    }
    prior = Prior.from_benchmark(CELLS, "cifar10", 20, ScoreTable(CELLS, Dataset.from_dict(columns)))
    assert prior.evidence == "partly measured"
    assert prior.detail == "best 20 of 500 by validation score; reduced networks predicted by an additive fit"


# ---------------------------------------------------------------------- from benchmarks


@pytest.mark.parametrize(("selection", "descending"), [("best", True), ("worst", False)])
def test_good_architectures_are_the_best_by_validation(
    cell_table: ScoreTable, selection: str, descending: bool
) -> None:
    prior = Prior.from_benchmark("nas-bench-201", "cifar100", 21, cell_table, selection)
    valid = CELLS.is_valid(cell_table.indices)
    rows: dict[int, list[int]] = {}  # of each isomorphism class
    for row, key in zip(valid.nonzero()[:, 0].tolist(), CELLS.keys(cell_table.indices[valid]).tolist(), strict=True):
        rows.setdefault(key, []).append(row)
    means = torch.stack([cell_table.column("cifar100")[same].mean() for same in rows.values()])
    ranked = means.sort(descending=descending)
    boundary, firsts = ranked.values[20], torch.tensor([same[0] for same in rows.values()])
    good = cell_table.indices[firsts[ranked.indices[:21]]]
    assert selection == "worst" or ranked.values[21] != boundary  # so that there is one set of 21
    if selection == "best":
        assert_equal(prior.frequencies, torch.nn.functional.one_hot(good, 5).float().mean(0), 1e-6)
    players = operation_players(CELLS)
    values = cell_table.values(good, "cifar100")
    gain = torch.nan_to_num(prior.contributions * prior.frequencies).sum()
    assert float(gain) == pytest.approx(float(values.mean()) - 1.0, abs=1e-3)
    assert prior.scale == pytest.approx(max(float(gain) / len(players), 1e-3), rel=1e-4)
    assert (prior.evidence, prior.num_good, prior.labels_read) == ("measured", 21, 15_625)
    assert prior.detail.startswith(f"{selection} 21 of 15,625")


def test_prior_of_one_architecture_is_its_own_contributions(cell_table: ScoreTable) -> None:
    prior = Prior.from_benchmark(CELLS, "cifar10", 1, cell_table)
    best = cell_table.indices[cell_table.column("cifar10").argmax()][None]

    def value(batch: torch.Tensor) -> torch.Tensor:
        return cell_table.values(batch, "cifar10")

    here = torch.nn.functional.one_hot(best[0], 5).bool()
    assert torch.equal(prior.frequencies, here.float())
    assert torch.equal(prior.contributions.isnan(), ~here)
    assert_equal(
        prior.contributions[here], shapley_contributions(CELLS, best, value, operation_players(CELLS))[0], 1e-5
    )
    by_node = shapley_contributions(CELLS, best, value, subgraph_players(CELLS))[0]
    assert_equal(prior.subgraph_contributions[here], by_node[[0, 1, 1, 2, 2, 2]], 1e-5)
    assert [graph.slots for graph in prior.subgraphs] == [(0,), (1, 2), (3, 4, 5)]
    assert sum(graph.contribution for graph in prior.subgraphs) == pytest.approx(91.6067 - 10, abs=1e-3)


@pytest.mark.parametrize("name", ["cells", "graphs", "worst", "one", "own"])
def test_subgraphs_make_up_the_contributions_of_their_slots(name: str, priors: dict[str, Prior]) -> None:
    """Each (slot, choice) has the mean over the subgraphs that hold it, and every good architecture is counted."""
    prior = priors[name]
    shape = prior.frequencies.shape
    total, count = torch.zeros(shape), torch.zeros(shape)
    for graph in prior.subgraphs:
        for s, k in zip(graph.slots, graph.choices, strict=True):
            total[s, k] += graph.contribution * graph.count
            count[s, k] += graph.count
    assert_equal(count / prior.num_good, prior.frequencies, 1e-6)
    assert_equal(total / count, prior.subgraph_contributions, 1e-3)


def test_random_selection_follows_the_generator(cell_table: ScoreTable) -> None:
    one, again, other = (
        Prior.from_benchmark(CELLS, "cifar10", 10, cell_table, "random", seeded(seed)) for seed in (0, 0, 1)
    )
    assert_same_prior(one, again)
    assert not torch.equal(one.frequencies, other.frequencies)
    best, worst = (Prior.from_benchmark(CELLS, "cifar10", 10, cell_table, name) for name in ("best", "worst"))
    assert best.scale > one.scale > worst.scale


@pytest.mark.parametrize("name", ["cell_table", "graph_table"])
def test_prior_of_no_task_is_the_average(name: str, request: pytest.FixtureRequest) -> None:
    """Of contributions in each task's own scale, where they were measured."""
    table: ScoreTable = request.getfixturevalue(name)
    parts = [Prior.from_benchmark(table.space, task, 5, table) for task in table.tasks]
    mean = Prior.from_benchmark(table.space, None, 5, table)
    scale = sum(part.scale for part in parts) / len(parts)
    assert mean.task is None and mean.scale == pytest.approx(scale)
    assert [part.evidence == "measured" for part in parts] == [table.is_complete(task) for task in table.tasks]
    assert mean.evidence == max((part.evidence for part in parts), key=EVIDENCE.index)  # the weakest
    assert mean.num_good == 5 * len(parts) and mean.labels_read == sum(part.labels_read for part in parts)
    assert_equal(mean.frequencies, torch.stack([part.frequencies for part in parts]).mean(0), 1e-6)
    known = torch.stack([~part.contributions.isnan() for part in parts]).sum(0)
    total = torch.stack([part.contributions / part.scale for part in parts]).nansum(0)
    assert_equal(mean.contributions / mean.scale, total / known, 1e-5)
    assert len(known.unique()) > 2


def test_prior_of_a_kind_of_task_is_of_the_agreed_best(cell_table: ScoreTable, graph_table: ScoreTable) -> None:
    """Those of the best mean rank over the tasks of the kind, each measured on every one of these tasks."""
    kinds = [(cell_table, "image-classification", list(CELLS.tasks)), (graph_table, "node-classification", None)]
    for table, kind, tasks in kinds:
        tasks = tasks or [name for name in table.tasks if table.space.tasks[name].kind == kind]
        prior = Prior.from_benchmark(table.space, kind, 10, table)
        agreed = torch.stack([table.ranks(table.column(task), task) for task in tasks]).mean(0)
        agreed[~table.space.is_valid(table.indices)] = torch.nan
        best = agreed.nan_to_num(2.0).argsort()[:10]
        one_hot = torch.nn.functional.one_hot(table.indices[best], table.space.num_choices).float()
        assert_equal(prior.frequencies, one_hot.mean(0), 1e-6)
        assert prior.task == kind and prior.num_good == 10 and all(task in prior.detail for task in tasks)
        assert prior.labels_read == sum(int((~table.column(task).isnan()).sum()) for task in tasks)
        players, total = operation_players(table.space), 0.0
        scales = []
        for task in tasks:
            values = table.value_function(task)
            parts = shapley_contributions(table.space, table.indices[best], values, players)
            scales.append(max(float(parts.sum(1).mean()) / len(players), 1e-3))
            total += parts / scales[-1] / len(tasks)
        slots = [slots[0] for slots in players]
        mean = (one_hot[:, slots] * total[..., None]).sum(0) / one_hot[:, slots].sum(0)
        assert_equal(prior.contributions[slots] / prior.scale, mean, 1e-3)
    with pytest.raises(ValueError, match="'image-classificatio'.*Did you mean 'image-classification'"):
        Prior.from_benchmark(CELLS, "image-classificatio", 10, cell_table)


def test_impossible_selections_are_refused(cell_table: ScoreTable, graph_table: ScoreTable) -> None:
    valid = int(CELLS.is_valid(cell_table.indices).sum())
    for top_k in (0, -1, valid + 1):
        with pytest.raises(ValueError, match=f"top_k must be 1 to .* got {top_k}"):
            Prior.from_benchmark(CELLS, "cifar10", top_k, cell_table)
    with pytest.raises(ValueError, match="top_k must be 1 to 2021 for proteins of nas-bench-graph, got 2022"):
        Prior.from_benchmark(GRAPHS, "proteins", 2_022, graph_table)
    assert Prior.from_benchmark(GRAPHS, "proteins", 2_021, graph_table).num_good == 2_021
    with pytest.raises(ValueError, match="'bset'.*Did you mean 'best'.*worst, random"):
        Prior.from_benchmark(CELLS, "cifar10", 20, cell_table, "bset")
    with pytest.raises(ValueError, match="'cifar'.*Did you mean 'cifar10'"):
        Prior.from_benchmark(CELLS, "cifar", 20, cell_table)
    with pytest.raises(ValueError, match="Did you mean 'nas-bench-201'"):
        Prior.from_benchmark("nas-bench201", "cifar10")


# ---------------------------------------------------------------------- from evaluations


@pytest.mark.parametrize("num", [5, 6, 7, 12, 40])
def test_evaluations_in_any_form_make_one_prior(num: int, evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    rows, scores = evaluations[0][:num], evaluations[1][:num]
    prior = Prior.from_evaluations(CELLS, rows, scores, "cifar10")
    objects = Architecture.from_batch(CELLS, rows)
    assert_same_prior(Prior.from_evaluations("nas-bench-201", objects, scores.tolist(), "cifar10"), prior)
    assert_same_prior(Prior.from_evaluations(CELLS, [str(a) for a in objects], scores, "cifar10"), prior)
    assert prior.labels_read == num and prior.num_good == max(3, num // 4)
    best = rows[scores.argsort(descending=True)[: prior.num_good]]
    assert_equal(prior.frequencies, torch.nn.functional.one_hot(best, 5).float().mean(0), 1e-6)
    assert Prior.from_evaluations(CELLS, rows, scores, top_k=2).num_good == 2


def test_order_of_evaluations_does_not_matter(evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    rows, scores = evaluations
    order = torch.randperm(40, generator=seeded())
    assert_same_prior(
        Prior.from_evaluations(CELLS, rows[order], scores[order]), Prior.from_evaluations(CELLS, rows, scores), 1e-3
    )


def test_an_architecture_evaluated_twice_counts_once(evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    """With the mean of its scores, whatever the order of the rows."""
    rows, scores = evaluations
    mean = Prior.from_evaluations(CELLS, rows, scores, "cifar10")
    spread = torch.linspace(-1, 1, 40)
    twice, both = torch.cat([rows, rows]), torch.cat([scores + spread, scores - spread])
    order = torch.randperm(80, generator=seeded(2))
    first, second = (Prior.from_evaluations(CELLS, twice[o], both[o], "cifar10") for o in (order, order.flip(0)))
    assert_same_prior(first, second)
    for name in ("contributions", "frequencies", "distribution"):
        a, b = (getattr(prior, name) for prior in (first, mean))
        assert_equal(*((a(), b()) if callable(a) else (a, b)), 1e-3)
    assert first.num_good == mean.num_good == 10 and first.labels_read == 80
    assert "10 best of 40 architectures in 80 evaluations" in first.detail


def test_failed_runs_are_left_out(evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    rows, scores = evaluations
    holes = scores.clone()
    holes[[3, 17]] = torch.nan
    prior = Prior.from_evaluations(CELLS, rows, holes)
    there = ~holes.isnan()
    expected = Prior.from_evaluations(CELLS, rows[there], scores[there])
    assert prior.labels_read == 38 and prior.detail == f"{expected.detail}; 2 failed left out"
    assert_same_prior(replace(prior, detail=expected.detail), expected)
    lines = [
        f"{string},{'' if score != score else score}"
        for string, score in zip(CELLS.to_strings(rows), holes.tolist(), strict=True)
    ]
    read = Prior.from_evaluations(CELLS, *read_evaluations(CELLS, "\n".join(lines)))
    assert_same_prior(replace(read, detail=prior.detail), prior)


def test_copies_of_the_best_do_not_fill_the_good_set(evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    rows, scores = evaluations[0].clone(), evaluations[1].clone()
    rows[0] = torch.tensor([1, 2, 0, 3, 3, 4])  # may exchange its inner nodes
    scores[0] = scores.max() + 1
    isomorphic = rows[0][[1, 0, 2, 3, 5, 4]]
    assert CELLS.keys(rows[:1]) == CELLS.keys(isomorphic[None]) and not torch.equal(rows[0], isomorphic)
    prior = Prior.from_evaluations(CELLS, rows, scores)
    copies = torch.cat([rows, rows[:1].expand(10, -1), isomorphic.expand(10, -1)])
    crowded = Prior.from_evaluations(CELLS, copies, torch.cat([scores, scores[:1].expand(20)]))
    assert crowded.num_good == prior.num_good
    assert_equal(crowded.frequencies.sum(0), prior.frequencies.sum(0), 1e-6)
    with pytest.raises(ValueError, match="at least 5 different architectures, got 2 in 10 evaluations"):
        Prior.from_evaluations(CELLS, rows[:2].repeat(5, 1), range(10))


def test_isomorphic_strings_of_a_table_count_once() -> None:
    """Of NAS-Bench-Macro's 6,561 strings 3,969 are distinct."""
    space = get_space("nas-bench-macro")
    everything = space.all_indices()
    scores = torch.rand(space.num_encodings, generator=seeded())
    best = space.keys(everything).bincount().argmax()
    scores[space.keys(everything) == best] = 5.0
    columns = {"architecture": space.to_strings(everything), "cifar10_test_accuracy": scores.numpy()}
    table = ScoreTable(space, datasets.Dataset(pa.table(columns)))
    prior = Prior.from_benchmark(space, "cifar10", 20, table)
    assert int((space.keys(everything) == best).sum()) == 4
    keys, which = space.keys(everything).unique(return_inverse=True)
    means = torch.zeros(len(keys)).index_add(0, which, scores) / which.bincount()
    firsts = torch.stack([(which == k).nonzero()[0, 0] for k in means.topk(20).indices.tolist()])
    expected = torch.nn.functional.one_hot(everything[firsts], space.num_choices).float().mean(0)
    assert_equal(prior.frequencies, expected, 1e-6)


@pytest.mark.parametrize("index", [None, [7 * k + 3 for k in range(40)]])
def test_evaluations_as_people_hold_them(
    index: list[int] | None, evaluations: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Columns of a table that was filtered, arrays, tuples: all make the same prior."""
    rows, scores = evaluations
    expected = Prior.from_evaluations(CELLS, rows, scores)
    strings = CELLS.to_strings(rows)
    for architectures in (
        pd.Series(strings, index=index),
        rows.numpy(),
        rows.numpy().astype(np.int8),
        [tuple(row) for row in rows.tolist()],
        [np.array(row) for row in rows.tolist()],
        [Architecture(CELLS, row) for row in rows.tolist()],
        np.array(strings),
    ):
        for values in (pd.Series(scores.numpy(), index=index), scores.double().numpy(), tuple(scores.tolist())):
            assert_same_prior(Prior.from_evaluations(CELLS, architectures, values), expected)
    frame = pd.DataFrame({"score": scores.numpy()}, index=index)
    assert_same_prior(Prior.from_evaluations(CELLS, rows, frame[["score"]].to_numpy()), expected)


def test_tables_of_pandas_and_pyarrow(evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    rows, scores = evaluations
    expected = Prior.from_evaluations(CELLS, rows, scores)
    frame = pd.DataFrame({"cell": CELLS.to_strings(rows), "score": scores.double().numpy()})
    arrow = pa.Table.from_pandas(frame)
    for architectures, values in (
        (frame[["cell"]], frame[["score"]]),
        (pd.DataFrame(rows.numpy()), frame["score"].astype("Float64")),
        (arrow["cell"], arrow["score"]),
    ):
        assert_same_prior(Prior.from_evaluations(CELLS, architectures, values), expected)
    holes = frame["score"].astype("Float64")
    holes[3] = pd.NA
    assert Prior.from_evaluations(CELLS, frame["cell"], holes).labels_read == 39


def test_a_prior_may_be_sampled_as_cold_as_anyone_likes(priors: dict[str, Prior]) -> None:
    prior = priors["cells"]
    rows = prior.sample(3, 1e-4)
    assert (rows == prior.distribution().argmax(1)).all()
    for wrong in ({"num": 0}, {"num": 2.5}, {"num": 3, "temperature": None}, {"num": 3, "temperature": 0}):
        with pytest.raises(ValueError, match="must be"):
            prior.sample(**wrong)


@pytest.mark.parametrize(
    ("architectures", "scores", "message"),
    [
        ("|none~0|", [1.0], "architectures must be a list of them, in an order, got '|none~0|'"),
        (5, [1.0], "architectures must be a list of them, in an order, got 5"),
        ([3.5] * 6, range(6), "architecture 0 is neither an Architecture, nor a string of nas-bench-201, nor 6 whole"),
        ([(0.5,) * 6] * 6, range(6), "architecture 0 is neither"),
        (np.full((6, 6), 0.5), range(6), "takes whole numbers as indices, got 0.5"),
        (torch.full((6, 6), torch.nan), range(6), "takes whole numbers as indices, got nan"),
        ([(0,) * 5] * 6, range(6), "takes indices of shape (batch, 6), got (1, 5)"),
        ([(0, 1, 2, 3, 4, 5)] * 6, range(6), "slot '2->3' has choices 0..4, got 5"),
        ([(k, 1, 2, 3, 4, 4) for k in range(5)], list("abcde"), "scores must be numbers: could not convert string"),
        ([(k, 1, 2, 3, 4, 4) for k in range(5)], [[1, 2]] * 5, "one number for each architecture, got an array of"),
        ([(k, 1, 2, 3, 4, 4) for k in range(5)], [1, 2, 3, 4, None], "at least 5 evaluations, got 4, and 1 failed"),
    ],
)
def test_evaluations_of_another_form_are_refused(architectures: object, scores: object, message: str) -> None:
    with pytest.raises(ValueError) as error:
        Prior.from_evaluations(CELLS, architectures, scores)  # type: ignore[arg-type]
    assert message in str(error.value) and "\n" not in str(error.value)


def test_contributions_are_in_the_unit_of_the_scores(evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Shifted scores make the same prior (without a task, guessing is as bad as the worst), scaled ones scale it."""
    rows, scores = evaluations
    prior, changed = (Prior.from_evaluations(CELLS, rows, s) for s in (scores, 0.5 * scores + 20))
    assert changed.scale == pytest.approx(0.5 * prior.scale, rel=1e-3)
    assert_equal(changed.contributions, 0.5 * prior.contributions, 1e-3)
    assert_equal(changed.distribution(), prior.distribution(), 1e-3)


def reduced_networks(row: list[int]) -> list[tuple[int, ...]]:
    """All that both games ask of a cell: what is left of it without some edges, and without those into some nodes."""
    left = []
    for players in (operation_players(CELLS), subgraph_players(CELLS)):
        for kept in itertools.product((False, True), repeat=len(players)):
            slots = [s for keep, part in zip(kept, players, strict=True) if keep for s in part]
            left.append(tuple(k if s in slots else NONE for s, k in enumerate(row)))
    return left


def test_evidence_of_all_reduced_networks_is_measured() -> None:
    """64 evaluations: a cell, and everything that is left of it when edges are removed."""
    cell = [CONV3, CONV1, SKIP, POOL, CONV3, CONV1]
    rows = torch.tensor(sorted(set(reduced_networks(cell))))
    assert len(rows) == 64
    table = 20 + 70 * torch.rand(15_625, generator=seeded())
    scores = table[CELLS.codes(rows)]
    prior = Prior.from_evaluations(CELLS, rows, scores, "cifar10")
    assert prior.evidence == "measured" and (prior.num_good, prior.labels_read) == (16, 64)
    good = rows[scores.argsort(descending=True)[:16]]
    asked = [left for row in good.tolist() for left in reduced_networks(row)]
    valid = int(CELLS.is_valid(torch.tensor(asked)).sum())
    assert f"16 best of 64 evaluations; {valid:,} of {valid:,} reduced networks evaluated" in prior.detail

    def value(batch: torch.Tensor) -> torch.Tensor:
        return torch.where(CELLS.is_valid(batch), table[CELLS.codes(CELLS.canonical(batch))], 10.0)

    # isomorphic reduced networks were given different scores, so let them be equal and compare with the exact values
    scores = table[CELLS.keys(rows)]
    prior = Prior.from_evaluations(CELLS, rows, scores, "cifar10")
    good = rows[scores.argsort(descending=True)[:16]]
    exact = shapley_contributions(CELLS, good, value, operation_players(CELLS))
    one_hot = torch.nn.functional.one_hot(good, 5).float()
    assert_equal(prior.contributions, (one_hot * exact[..., None]).sum(0) / one_hot.sum(0), 1e-3)


def test_evidence_of_few_evaluations_is_partly_measured(evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The counts in the text are those of a count by hand; an isomorphic evaluation counts."""
    rows, scores = evaluations
    prior = Prior.from_evaluations(CELLS, rows, scores, "cifar10")
    good = rows[scores.argsort(descending=True)[:10]]
    asked = torch.tensor([left for row in good.tolist() for left in reduced_networks(row)])
    asked = asked[CELLS.is_valid(asked)]
    measured = torch.isin(CELLS.keys(asked), CELLS.keys(rows))
    assert 20 <= measured.sum() < len(asked)
    assert prior.evidence == "partly measured"
    counts = re.findall(r"\d[\d,]*", prior.detail)
    assert counts == ["10", "40", f"{int(measured.sum()):,}", f"{len(asked):,}"]
    assert "from an additive fit" in prior.detail


def test_reduced_networks_are_worth_between_a_guess_and_the_best(
    evaluations: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """So the whole gain is shared out over operations, whatever the fit says of the others."""
    rows, scores = evaluations
    for task, guess in [("cifar10", 10.0), (None, float(scores.min()))]:
        prior = Prior.from_evaluations(CELLS, rows, scores, task)
        gain = float((prior.contributions * prior.frequencies).nan_to_num().sum())
        best = scores.sort(descending=True).values[:10].mean()
        assert gain == pytest.approx(float(best) - guess, abs=1e-3)
        assert prior.contributions.nan_to_num().abs().max() <= float(scores.max()) - guess


def test_estimate_is_ridge_regression(evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    """On choices, within a guess and the best; what was evaluated keeps its score, and a disconnected one a guess."""
    rows, scores = evaluations
    asked = CELLS.sample(500, seeded(5))
    for number in (6, 40):  # fewer evaluations than choices, and as many
        known, told = rows[:number], scores[:number]
        design = torch.nn.functional.one_hot(known, 5).flatten(1).double()
        weights = torch.linalg.solve(design.T @ design + torch.eye(30), design.T @ (told - told.mean()).double())
        fit = torch.nn.functional.one_hot(asked, 5).flatten(1).double() @ weights + told.mean()
        fit = fit.float().clamp(10.0, float(told.max()))
        connected = CELLS.is_connected(asked)
        expected = torch.where(connected, fit, 10.0)
        plain = Estimate(CELLS, known, told, 10.0, look_up=False)
        assert_equal(plain(asked), expected, 1e-2)
        assert plain.num_asked == int(connected.sum()) and plain.num_measured == 0
        estimate = Estimate(CELLS, known, told, 10.0)
        assert_equal(estimate(known), told)
        assert estimate.num_asked == estimate.num_measured == number
        new = ~torch.isin(CELLS.keys(asked), CELLS.keys(known))
        assert_equal(estimate(asked)[new], expected[new], 1e-2)


def test_evaluations_that_say_nothing_are_refused(evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    rows, scores = evaluations[0][:8], evaluations[1][:8]
    for num in (0, 1, 4):
        with pytest.raises(ValueError, match=f"at least 5 evaluations, got {num}"):
            Prior.from_evaluations(CELLS, rows[:num], scores[:num])
    for bad in (torch.inf, -torch.inf):
        wrong = scores.clone()
        wrong[3] = bad
        with pytest.raises(ValueError, match=f"finite numbers; score 3 is {bad}"):
            Prior.from_evaluations(CELLS, rows, wrong)
    with pytest.raises(ValueError, match=r"all 8 scores are 90.0"):
        Prior.from_evaluations(CELLS, rows, [90.0] * 8)
    with pytest.raises(ValueError, match="8 architectures but 7 scores"):
        Prior.from_evaluations(CELLS, rows, scores[:7])
    with pytest.raises(ValueError, match="'cifar'.*Did you mean 'cifar10'"):
        Prior.from_evaluations(CELLS, rows, scores, "cifar")


@pytest.mark.parametrize("top_k", [0, -1])
def test_evaluations_need_a_good_architecture(top_k: int, evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="top_k"):
        Prior.from_evaluations(CELLS, *evaluations, top_k=top_k)


def test_architectures_of_another_space_are_refused(evaluations: tuple[torch.Tensor, torch.Tensor]) -> None:
    rows, scores = evaluations
    objects = Architecture.from_batch(CELLS, rows[:7])
    stranger = Architecture.from_string("nas-bench-graph", "0012:gcn,gin,cheb,fc")
    with pytest.raises(ValueError, match="Architecture.*0012:gcn.*is not of the space nas-bench-201"):
        Prior.from_evaluations(CELLS, [*objects, stranger], scores[:8])
    with pytest.raises(ValueError, match="'0012:gcn,gin,cheb,fc' is not a nas-bench-201 string"):
        Prior.from_evaluations(CELLS, [*map(str, objects), str(stranger)], scores[:8])
    with pytest.raises(ValueError, match=r"shape \(batch, 7\)"):
        to_indices(GRAPHS, rows)


# ---------------------------------------------------------------------- what the model reads


def test_absent_prior_knows_nothing() -> None:
    for space in (CELLS, GRAPHS):
        prior = Prior.absent(space)
        assert prior.evidence == "absent" and prior.labels_read == prior.num_good == 0
        assert prior.contributions.isnan().all() and prior.subgraph_contributions.isnan().all()
        expected = space.choice_mask / space.sizes[:, None]
        assert_equal(prior.distribution(), expected)
        assert_equal(prior.frequencies, expected)
        assert not prior.features().any()


def test_a_prior_of_any_origin_is_a_prior(prior: Prior, tmp_path: Path) -> None:
    """Also after it was changed, copied, averaged, or written and read; `repr` calls it one."""
    changed, copied = replace(prior, task=None), pickle.loads(pickle.dumps(prior))
    (loaded,) = load_priors(prior.save(tmp_path / "prior.parquet"))
    for other in (prior, changed, copied, loaded, average([prior]), select_prior([prior], prior.space, prior.task)):
        assert type(other) is Prior and repr(other).startswith(f"Prior({prior.space.name!r}, task=")
    assert changed.task is None and copied.space == prior.space and Prior.of(prior) is prior
    assert_equal(copied.features(), prior.features())


def test_distribution_is_one_over_real_choices(prior: Prior) -> None:
    distribution, mask = prior.distribution(), prior.space.choice_mask
    assert_equal(distribution.sum(1), torch.ones(prior.space.num_slots), 1e-5)
    assert torch.equal(distribution > 0, mask)
    least = 1 / prior.space.sizes[:, None] * (1.0 if prior.evidence == "absent" else 0.1)
    assert (distribution >= least - 1e-6)[mask].all()


def test_better_contributions_are_more_probable(priors: dict[str, Prior]) -> None:
    """With frequencies equal, the order of probabilities is that of contributions."""
    frequencies = CELLS.choice_mask / CELLS.sizes[:, None]
    contributions = torch.rand(6, 5, generator=seeded()) * 30
    prior = replace(priors["cells"], frequencies=frequencies, contributions=contributions)
    assert torch.equal(prior.distribution().argsort(1), contributions.argsort(1))


def test_features_are_finite_and_tell_the_evidence(prior: Prior) -> None:
    features = prior.features()
    assert features.shape == (*prior.space.choice_mask.shape, PRIOR_FEATURES)
    assert features.isfinite().all() and features.abs().max() <= 4
    assert not features[~prior.space.choice_mask].any()
    kind = features[prior.space.choice_mask][:, -4:]
    read_as = "from other spaces" if prior.evidence == "computed" else prior.evidence
    expected = torch.tensor([float(read_as == name) for name in EVIDENCE[:4]])
    assert torch.equal(kind, expected.expand_as(kind))
    assert features.any() == (prior.evidence != "absent")


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_samples_follow_the_distribution(priors: dict[str, Prior], temperature: float) -> None:
    num = 20_000
    for name in ("cells", "to graphs", "absent graphs"):
        prior = priors[name]
        rows = prior.sample(num, temperature, seeded())
        assert torch.equal(prior.space.check(rows), rows) and len(rows) == num
        expected = prior.distribution().double() ** (1 / temperature)
        expected /= expected.sum(1, keepdim=True)
        drawn = torch.nn.functional.one_hot(rows, prior.space.num_choices).double().mean(0)
        assert ((drawn - expected).abs() <= 5 * (expected * (1 - expected) / num).sqrt() + 1e-9).all()
        pair = torch.nn.functional.one_hot(rows[:, 0] * prior.space.num_choices + rows[:, -1]).double().mean(0)
        joint = (expected[0][:, None] * expected[-1]).flatten()[: len(pair)]
        assert ((pair - joint).abs() <= 5 * (joint * (1 - joint) / num).sqrt() + 1e-9).all()
        assert torch.equal(rows, prior.sample(num, temperature, seeded()))
        assert not torch.equal(rows, prior.sample(num, temperature, seeded(1)))


# ---------------------------------------------------------------------- files


def test_prior_comes_back_from_its_file(prior: Prior, tmp_path: Path) -> None:
    path = prior.save(tmp_path / "new" / "prior.parquet")
    assert list(path.parent.iterdir()) == [path]
    loaded = Prior.load(path)
    assert_same_prior(loaded, prior)
    assert torch.equal(loaded.distribution(), prior.distribution())
    assert torch.equal(loaded.features(), prior.features())


def test_several_priors_in_one_file(priors: dict[str, Prior], tmp_path: Path) -> None:
    several = [priors[name] for name in ("cells", "graphs", "to cells", "all cells", "absent graphs")]
    path = save_priors(several, tmp_path / "priors.parquet")
    loaded = load_priors(path)
    assert len(loaded) == 5
    for actual, expected in zip(loaded, several, strict=True):
        assert_same_prior(actual, expected)
    with pytest.raises(ValueError, match="holds 5 priors; use load_priors"):
        Prior.load(path)
    assert load_priors(save_priors([], tmp_path / "none.parquet")) == []


def test_two_priors_of_one_task_are_refused(priors: dict[str, Prior], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two priors of the same space and task.*cifar10"):
        save_priors([priors["cells"], priors["graphs"], priors["absent cells"]], tmp_path / "priors.parquet")
    assert not list(tmp_path.iterdir())


def test_interrupted_save_keeps_the_old_file(
    priors: dict[str, Prior], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(table: pa.Table, where: Path) -> None:
        where.write_bytes(b"PAR1")
        raise OSError("No space left on device")

    path = priors["cells"].save(tmp_path / "prior.parquet")
    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(OSError, match="No space left"):
        priors["graphs"].save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert_same_prior(Prior.load(path), priors["cells"])


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_damaged_file_is_refused(priors: dict[str, Prior], tmp_path: Path, part: float) -> None:
    path = priors["cells"].save(tmp_path / "prior.parquet")
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(ValueError, match="prior.parquet is not a readable Parquet file"):
        load_priors(path)


def test_files_that_are_no_priors_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.parquet", tmp_path):
        with pytest.raises(FileNotFoundError, match="no prior file at"):
            load_priors(path)
    pq.write_table(pa.table({"space": ["nas-bench-201"], "score": [1.0]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="not a table of priors: it lacks the columns task, evidence.*frequency"):
        load_priors(tmp_path / "other.parquet")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("choices", ["nor_conv_3x4"], "nor_conv_3x4.*Did you mean 'nor_conv_3x3'.*avg_pool_3x3"),
        ("slots", ["0->9"], "0->9.*Did you mean.*0->1, 0->2"),
        ("space", "nas-bench-209", "Did you mean 'nas-bench-201'"),
        ("evidence", "mesured", "'mesured'.*Did you mean 'measured'"),
        ("component", "operations", "'operations'.*Did you mean 'operation'.*subgraph"),
    ],
)
def test_unknown_words_in_a_file_are_refused(
    priors: dict[str, Prior], tmp_path: Path, column: str, value: object, message: str
) -> None:
    path = priors["cells"].save(tmp_path / "prior.parquet")
    table = pq.read_table(path)
    rows = table.to_pylist()
    for row in rows if column in ("space", "evidence") else rows[3:4]:
        row[column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    with pytest.raises(ValueError, match=message):
        load_priors(path)
    with pytest.raises(ValueError, match="prior.parquet"):
        load_priors(path)


def rewritten(prior: Prior, path: Path, column: str, value: object, which: slice, type_: pa.DataType | None) -> Path:
    """The file of a prior with a value of a column in some rows, the column of another type."""
    table = pq.read_table(prior.save(path))
    values = table[column].to_pylist()
    values[which] = [value] * len(values[which])
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.array(values, type_ or table.schema.field(at).type)), path)
    return path


ALL, ONE, LAST = slice(None), slice(3, 4), slice(-1, None)  # the last is a subgraph


@pytest.mark.parametrize(
    ("column", "value", "which", "type_", "message"),
    [
        ("frequency", float("nan"), ONE, None, "a frequency is a share from 0 to 1"),
        ("frequency", float("inf"), ONE, None, "a frequency is a share from 0 to 1"),
        ("frequency", -0.25, ONE, None, "a frequency is a share from 0 to 1.*is -0.25"),
        ("frequency", 1.5, LAST, None, "a frequency is a share from 0 to 1.*is 1.5"),
        ("frequency", None, ONE, None, "the column frequency has empty values"),
        ("frequency", 0.0, ALL, None, "frequencies in slot '0->1' add up to 0, not to 1"),
        ("frequency", "often", ALL, pa.string(), "a column is of another type.*often"),
        ("contribution", float("inf"), ONE, None, "a contribution is a finite number or none"),
        ("subgraph_contribution", -float("inf"), ONE, None, "a subgraph_contribution is a finite number or none"),
        ("scale", float("nan"), ALL, None, "scale must be a finite number above 0, got nan"),
        ("scale", 0.0, ALL, None, "scale must be a finite number above 0, got 0"),
        ("scale", -1.0, ALL, None, "scale must be a finite number above 0, got -1"),
        ("scale", 2.0, ONE, None, "scale is .* in one row and 2.0 in another"),
        ("evidence", None, ALL, None, "the column evidence has empty values"),
        ("evidence", "absent", ONE, None, "evidence is 'measured' in one row and 'absent' in another"),
        ("num_good", -1, ALL, None, "num_good is a number of architectures or labels, got -1"),
        ("labels_read", 1.5, ALL, pa.float64(), "a column is of another type.*1.5"),
        ("space", None, ALL, None, "the column space has empty values"),
        ("slots", [], ONE, None, r"an operation has one slot and choice.*\[\] and "),
        ("slots", ["0->1", "0->2"], ONE, None, "an operation has one slot and choice.*'0->1', '0->2'"),
        ("slots", ["2->3", "2->3"], LAST, None, "a subgraph as many choices as slots"),
        ("slots", None, ONE, None, "the column slots has empty values"),
        ("slots", [None], ONE, None, "unknown slot of nas-bench-201: None"),
        ("slots", 3, ALL, pa.int64(), "a column is of another type"),
        ("choices", [], LAST, None, "a subgraph as many choices as slots"),
        ("choices", [None], ONE, None, "unknown choice in slot '0->1' of nas-bench-201: None"),
        ("choices", ["none"], ONE, None, "choice 'none' in slot '0->1' is there twice"),
        ("component", None, ONE, None, "the column component has empty values"),
        ("component", "subgraph", ONE, None, "says nothing of choice 'nor_conv_3x3' in slot '0->1'"),
    ],
)
def test_values_that_no_prior_has_are_refused(
    priors: dict[str, Prior],
    tmp_path: Path,
    column: str,
    value: object,
    which: slice,
    type_: pa.DataType | None,
    message: str,
) -> None:
    path = rewritten(priors["cells"], tmp_path / "prior.parquet", column, value, which, type_)
    with pytest.raises(ValueError, match=message) as caught:
        load_priors(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 1000


def test_a_column_twice_is_refused(priors: dict[str, Prior], tmp_path: Path) -> None:
    path = priors["cells"].save(tmp_path / "prior.parquet")
    table = pq.read_table(path)
    pq.write_table(table.append_column("scale", table["scale"]), path)
    with pytest.raises(ValueError, match="not a readable Parquet file: .*(scale|duplicate)") as caught:
        load_priors(path)
    assert len(str(caught.value)) < 500


def test_a_file_that_pandas_wrote_is_read(priors: dict[str, Prior], tmp_path: Path) -> None:
    """It has nulls where a contribution is not known, and wider types."""
    path = priors["cells"].save(tmp_path / "prior.parquet")
    pq.read_table(path).to_pandas().astype({"contribution": "float64", "num_good": "int32"}).to_parquet(path)
    assert pq.read_table(path)["contribution"].null_count > 0
    assert_same_prior(Prior.load(path), priors["cells"])
