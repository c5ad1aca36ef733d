"""One request, one answer: checked once, and the same for the command line and the app."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from typer.testing import CliRunner

from pkgen_hf import PKGenPipeline, Prior, ScoreTable, get_space
from pkgen_hf.benchmarks.latencies import LatencyTable
from pkgen_hf.budgets import BUDGETS, Budget
from pkgen_hf.cli import options as cli_options
from pkgen_hf.cli.generate import generate
from pkgen_hf.cli.main import app
from pkgen_hf.requests import answer as answers
from pkgen_hf.requests import request as requests
from pkgen_hf.requests.answer import answer
from pkgen_hf.requests.request import Ceilings, GenerationRequest

CELLS = get_space("nas-bench-201")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "cifar"}, "Did you mean 'cifar10'"),
        ({"num_architectures": 0}, "the number of architectures must be a whole number from 1, got 0"),
        ({"num_architectures": 33, "ceilings": Ceilings(architectures=32)}, "from 1 to 32, got 33"),
        ({"num_inference_steps": 1.5}, "the number of steps must be a whole number from 1, got 1.5"),
        ({"seed": 2**64}, "the seed must be a whole number from -9223372036854775808 to 18446744073709551615"),
        ({"guidance_scale": 101}, "guidance_scale must be 0 to 100, got 101"),
        ({"guidance_scale": 11, "ceilings": Ceilings(guidance=10)}, "guidance_scale must be 0 to 10, got 11"),
        ({"limits": {"max_params": 1e5}}, "unknown limit: 'max_params'. Did you mean 'max_parameters'"),
        ({"options": {"devise": "edgegpu"}}, "unknown option of a limit: 'devise'. Did you mean 'device'"),
        ({"options": {"device": "edgegpu"}}, "a latency on 'edgegpu' needs latency_table="),
        ({"evaluations": (["0102:sage,gat,gin,sage"], [1.0])}, "is not a nas-bench-201 string"),
        ({"evaluations": ([], [1.0])}, "evaluations hold 0 architectures but 1 score"),
        ({"limits": {"max_latency": 5.0}}, "max_latency needs device= and latency_table="),
    ],
)
def test_a_request_is_checked_when_it_is_made(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenerationRequest(CELLS, **changed)


def test_an_answer_is_what_the_pipeline_gives(pipe: PKGenPipeline, cell_table: ScoreTable) -> None:
    request = GenerationRequest(CELLS, "cifar100", num_architectures=3, seed=7, limits={"max_parameters": 5e5})
    found = answer(request, pipe, cell_table)
    generator = torch.Generator().manual_seed(7)
    out = pipe(CELLS, "cifar100", num_architectures=3, max_parameters=5e5, generator=generator)
    assert found.architectures == out.architectures and found.scores == out.scores.tolist()
    measured = cell_table.scores(torch.tensor([one.indices for one in out.architectures]), "cifar100").tolist()
    for record, one, score in zip(found.records, out.architectures, measured, strict=True):
        cost = one.cost("cifar100")
        assert record["architecture"] == str(one)
        assert (record["parameters"], record["flops"]) == (cost.parameters, cost.flops)
        assert record["measured"] == record["measured_validation_accuracy"] == pytest.approx(score)
    heading, *lines = found.lines()
    assert heading == "nas-bench-201, cifar100 (prior: measured)" and len(lines) == 6
    assert lines[0].startswith("  1  score ") and lines[0].endswith(f"{measured[0]:.2f} % measured")
    assert len({len(line) for line in lines[::2]}) == 1  # columns are aligned
    assert found.titles()[0] == (
        f"1.  {out.architectures[0].cost('cifar100').parameters / 1e6:.3f} M parameters,  "
        f"validation {measured[0]:.2f} %"
    )
    assert "(validation accuracy on cifar100)" in found.explanation()
    content = json.loads(found.as_json())
    assert content["max_parameters"] == 5e5 and content["measured_on"] == "validation accuracy on cifar100"


def test_latencies_are_shown_with_or_without_a_limit(pipe: PKGenPipeline) -> None:
    rows = CELLS.all_indices()
    table = LatencyTable(CELLS, pa.table({"architecture": CELLS.to_strings(rows[::2]), "chip_latency": [2.0] * 7813}))
    request = GenerationRequest(CELLS, num_architectures=8, seed=0, options={"device": "chip", "latency_table": table})
    assert "latency_table" not in request.arguments() and "device" not in request.arguments()
    found = answer(request, pipe)
    known = table.latencies(torch.tensor([one.indices for one in found.architectures]), "cifar10", "chip").tolist()
    assert [record["latency_ms"] for record in found.records] == [None if math.isnan(one) else 2 for one in known]
    assert "\n".join(found.lines()).count("2.000 ms") == known.count(2.0)
    limited = GenerationRequest(CELLS, limits={"max_latency": 3.0}, options=request.options).arguments()
    assert limited["max_latency"] == 3.0 and limited["device"] == "chip" and limited["latency_table"] is table


def test_a_prior_of_ones_own_counts_for_what_is_looked_up(pipe: PKGenPipeline, cell_table: ScoreTable) -> None:
    rows = CELLS.sample(8, torch.Generator().manual_seed(0))
    prior = Prior.from_evaluations(CELLS, rows[CELLS.is_valid(rows)], list(range(int(CELLS.is_valid(rows).sum()))))
    found = answer(GenerationRequest(CELLS, num_architectures=1, seed=0, prior=prior), pipe, cell_table)
    assert found.measured is None and found.prior is prior and "measured" not in found.records[0]
    assert found.explanation() == "ranked by the model's own score"


def test_evaluations_are_in_the_answer(pipe: PKGenPipeline, cell_table: ScoreTable) -> None:
    rows = CELLS.canonical(CELLS.sample(8, torch.Generator().manual_seed(0)))
    given = (rows, [float(k) for k in range(8)])
    prior = Prior.from_evaluations(CELLS, rows, given[1], "cifar100")
    for task, shown in ((None, None), ("cifar10", "cifar10")):  # without a task they are of another data set
        request = GenerationRequest(CELLS, task, num_architectures=2, seed=0, prior=prior, evaluations=given)
        found = answer(request, pipe, cell_table)
        assert (found.measured and found.measured.task) == shown
        assert found.scores == pipe.rank(CELLS, found.architectures, task, prior, given).tolist()
        assert found.lines()[0].endswith("(prior: partly measured; evaluations: 8)")
        assert found.explanation().startswith("ranked by the score predicted from 8 evaluations and the prior")
        assert json.loads(found.as_json())["num_evaluations"] == 8


def test_command_line_and_app_give_the_same_answer(tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the app needs gradio: pip install 'pkgen-hf[app]'")
    from pkgen_hf.app.backend import Backend

    backend = Backend()
    call = ["generate", "--task", "cifar10", "-n", "3", "--seed", "4", "--max-parameters", "5e5", "--json"]
    printed = CliRunner().invoke(app, call).stdout
    assert printed == backend.generate("nas-bench-201", "cifar10", 3, 4, 0.5).as_json() + "\n"
    lines = "\n".join(f"{string}, {k}" for k, string in enumerate(CELLS.to_strings(CELLS.all_indices()[9::3000])))
    (tmp_path / "results.txt").write_text(lines)
    printed = CliRunner().invoke(app, [*call, "--evaluations", str(tmp_path / "results.txt")]).stdout
    found = backend.generate("nas-bench-201", "cifar10", 3, 4, 0.5, evaluations=lines).as_json()
    assert printed == found + "\n"


class Slots(Budget):
    """A budget that nothing else knows of: number of slots that are not the first choice."""

    name, argument, label = "slots", "max_slots", "slots"
    unit = display_unit = "slots"
    description, decimals = "Limit on slots that are in use.", 0

    def costs(self, space: Any, indices: torch.Tensor, task: str | None = None, **options: Any) -> torch.Tensor:
        return (indices > 0).sum(1).double()


def test_a_new_budget_needs_nothing_here(pipe: PKGenPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {bound.argument for b in BUDGETS for bound in b.bounds} <= set(inspect.signature(generate).parameters)
    for module in (cli_options, requests, answers):
        monkeypatch.setattr(module, "BUDGETS", (*BUDGETS, Slots()))
    command = cli_options.grouped(inspect.unwrap(generate))
    option = inspect.signature(command).parameters["max_slots"]
    assert option.default is None and option.annotation.__metadata__[0].help == "Limit on slots that are in use."
    assert GenerationRequest(CELLS, limits={"max_slots": 4}).arguments()["max_slots"] == 4
    found = answer(GenerationRequest(CELLS, num_architectures=2, seed=0), pipe)
    used = [sum(index > 0 for index in one.indices) for one in found.architectures]
    assert [record["slots"] for record in found.records] == used
    assert f"{used[0]} slots" in found.lines()[1]


def test_a_new_budget_is_a_field_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio", reason="the app needs gradio: pip install 'pkgen-hf[app]'")
    from pkgen_hf.app import backend, callbacks

    monkeypatch.setattr(backend, "BUDGETS", (*BUDGETS, Slots()))
    fields = list(backend.endpoint().parameters)
    assert fields[:4] == ["space", "task", "number", "seed"] and fields[-7:-6] == ["device"]
    assert fields[4:-7] == [*(bound.argument for b in BUDGETS for bound in b.bounds), "max_slots"]
    assert callbacks.limit_label(Slots().bounds[0]) == "Slots at most, in slots"
    assert callbacks.limit_label(BUDGETS[0].bounds[1]) == "Parameters at least, in millions"
