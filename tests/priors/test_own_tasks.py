"""Priors, generation and proposals for a data set of the user's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pkgen_hf import Architecture, PKGenPipeline, Prior, Proposer, ScoreTable, Task, get_space
from pkgen_hf.budgets import BUDGETS
from pkgen_hf.priors.files import load_priors
from pkgen_hf.priors.parquet import save_priors
from pkgen_hf.priors.prior import select_prior
from pkgen_hf.requests.answer import answer
from pkgen_hf.requests.request import GenerationRequest

OWN = Task("image-classification", num_classes=18, in_channels=1, image_size=16, name="addnist")
CELLS = get_space("nas-bench-201")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def own_prior(task: Task) -> Prior:
    rows = CELLS.sample(30, seeded())
    return Prior.from_evaluations(CELLS, rows, CELLS.parameters(rows).double() / 1e4, task)


def test_generation_is_conditioned_on_the_kind_of_the_task(pipe: PKGenPipeline) -> None:
    own = pipe(CELLS, OWN, num_architectures=3, generator=seeded())
    kind = pipe(CELLS, OWN.kind, num_architectures=3, generator=seeded())
    assert own.architectures == kind.architectures
    torch.testing.assert_close(own.scores, kind.scores, rtol=0, atol=0.01)  # costs are those of its own images
    assert own.prior == kind.prior and own.task == OWN and kind.task == OWN.kind
    torch.testing.assert_close(pipe.rank(CELLS, own.architectures, OWN), own.scores)
    network = own.architectures[0].build(task=own.task).eval()
    assert network(torch.zeros(2, 1, 16, 16)).shape == (2, 18)


def test_a_task_that_is_a_data_set_of_the_space_is_that_data_set(pipe: PKGenPipeline) -> None:
    named = pipe(CELLS, CELLS.task("cifar10"), num_architectures=3, generator=seeded())
    again = pipe(CELLS, "cifar10", num_architectures=3, generator=seeded())
    assert named.architectures == again.architectures and named.task == "cifar10"


def test_limits_count_at_the_shape_of_the_task(pipe: PKGenPipeline) -> None:
    most = 12_000_000
    out = pipe(CELLS, OWN, num_architectures=4, max_flops=most, generator=seeded())
    rows = torch.tensor([architecture.indices for architecture in out.architectures])
    assert bool((CELLS.flops(rows, OWN) <= most).all()) and bool((CELLS.flops(rows, "cifar10") > most).any())
    assert [out.architectures[0].cost(OWN).flops] == CELLS.flops(rows[:1], OWN).tolist()
    assert [budget.costs(CELLS, rows, OWN)[0] for budget in BUDGETS[:1]] == CELLS.parameters(rows[:1], OWN).tolist()


def test_priors_record_a_task_by_kind_and_name(tmp_path: Path) -> None:
    prior, other = own_prior(OWN), own_prior(replace(OWN, name="org/other"))
    assert (prior.task, other.task) == ("image-classification/addnist", "image-classification/org/other")
    read = load_priors(save_priors([prior, other], tmp_path / "priors.parquet"))
    assert [one.task for one in read] == [prior.task, other.task]
    # that of the same name is the task's own; of the name alone no shape is needed
    for task in (OWN, OWN.label):
        assert select_prior(read, CELLS, task).task == prior.task
    assert Prior.carried_over(CELLS, read, OWN).task == OWN.label
    assert Prior.carried_over("darts", read, OWN).task == OWN.label
    assert Prior.absent(CELLS, OWN).task == OWN.label
    assert select_prior(read, CELLS, replace(OWN, name="third")).evidence == "carried over"


def test_scores_in_other_units_than_percent_have_their_own_lowest_as_chance_score() -> None:
    rows = CELLS.sample(30, seeded())
    shares = CELLS.parameters(rows).double() / 1e7  # all below 5.6, which guessing has in percent
    low, high = (
        [Prior.from_evaluations(CELLS, rows, scores, task).contributions for task in (OWN, OWN.kind)]
        for scores in (shares, 50 + shares)
    )
    assert torch.equal(low[0].nan_to_num(), low[1].nan_to_num())
    assert not torch.equal(high[0].nan_to_num(), high[1].nan_to_num())


def test_a_run_is_resumed_for_the_same_task_only(pipe: PKGenPipeline, tmp_path: Path) -> None:
    state = tmp_path / "run.json"
    proposer = Proposer(pipe, CELLS, OWN, state=state)
    (asked,) = proposer.ask()
    proposer.tell([asked], [71.0])
    assert Proposer(pipe, CELLS, OWN, state=state).scores == [71.0]
    with pytest.raises(
        ValueError, match="of the task {'in_channels': 1}, not {'in_channels': 3}; use another file for each task"
    ):
        Proposer(pipe, CELLS, replace(OWN, in_channels=3), state=state)


def test_the_answer_says_what_the_task_is(pipe: PKGenPipeline) -> None:
    found = answer(GenerationRequest(CELLS, OWN, num_architectures=2, seed=0), pipe)
    content = json.loads(found.as_json())
    assert content["task"] == OWN.label
    assert content["shape"] == {"num_classes": 18, "in_channels": 1, "image_size": 16}
    assert found.lines()[0].startswith(f"nas-bench-201, {OWN.label} (prior: ")
    best = Architecture.from_string(CELLS, content["architectures"][0]["architecture"])
    assert content["architectures"][0]["parameters"] == best.cost(OWN).parameters
    assert "shape" not in json.loads(answer(GenerationRequest(CELLS, "cifar10", 1, 0), pipe).as_json())


def test_tables_of_a_benchmark_take_its_tasks_and_have_no_others(cell_table: ScoreTable) -> None:
    rows, cifar10 = CELLS.sample(3, seeded()), CELLS.task("cifar10")
    assert torch.equal(cell_table.scores(rows, cifar10), cell_table.scores(rows, "cifar10"))
    assert torch.equal(
        cell_table.ranks(torch.tensor([90.0]), cifar10), cell_table.ranks(torch.tensor([90.0]), "cifar10")
    )
    assert Prior.from_benchmark(CELLS, cifar10, table=cell_table).task == "cifar10"
    for look_up in (cell_table.scores, lambda _, task: Prior.from_benchmark(CELLS, task, table=cell_table)):
        with pytest.raises(ValueError, match="image-classification/addnist"):
            look_up(rows, OWN)
