"""Budgets: each is one object, which the pipeline knows by its arguments, and whose limit is obeyed."""

from __future__ import annotations

import inspect
from typing import Any

import pyarrow as pa
import pytest
import torch

from pkgen_hf import PKGenPipeline
from pkgen_hf.benchmarks.latencies import LatencyTable
from pkgen_hf.budgets import BUDGETS, Budget
from pkgen_hf.budgets import limits as module
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.spaces import SearchSpace, get_space

SPACE = "nas-bench-201"


def test_the_pipeline_has_an_argument_for_every_budget_and_option() -> None:
    arguments = inspect.signature(PKGenPipeline.__call__).parameters
    for budget in BUDGETS:
        names = {*(bound.argument for bound in budget.bounds), *budget.options}
        assert names <= set(arguments) and all(arguments[name].default is None for name in names)
        assert set(budget.required) <= set(budget.options)
    for names in ([budget.name for budget in BUDGETS], [bound.argument for b in BUDGETS for bound in b.bounds]):
        assert len(set(names)) == len(names)


def test_costs_of_a_batch() -> None:
    space = get_space(SPACE)
    rows = space.all_indices()[::1000]
    table = pa.table({"architecture": space.to_strings(rows[1:]), "chip_latency": [1.5] * (len(rows) - 1)})
    options = {"device": "chip", "latency_table": LatencyTable(space, table)}
    costs = {budget.name: budget.costs(space, rows, "image-classification", **options) for budget in BUDGETS}
    assert torch.equal(costs["parameters"], space.parameters(rows, "cifar10").double())
    assert torch.equal(costs["flops"], space.flops(rows, "cifar10").double())
    assert torch.equal(costs["memory_bytes"], 4 * costs["parameters"])
    assert costs["latency_ms"].isnan().tolist() == [True] + [False] * (len(rows) - 1)


@pytest.mark.parametrize(
    ("name", "cost", "shown", "entered"),
    [
        ("parameters", 802_426, "0.802 M parameters", "millions"),
        ("flops", 117_878_656, "117.9 M multiply-adds", "millions"),
        ("memory_bytes", 1_234_567_890, "1234.6 MB", "MB"),
        ("latency_ms", 1.23456, "1.235 ms", "ms"),
    ],
)
def test_costs_in_words(name: str, cost: float, shown: str, entered: str) -> None:
    budget = next(budget for budget in BUDGETS if budget.name == name)
    assert budget.display(cost) == shown and budget.scale_in_words == entered


class Convolutions(Budget):
    """Convolutions of a cell, with the option of which count."""

    name, argument, label = "convolutions", "max_convolutions", "convolutions"
    unit = display_unit = "convolutions"
    description, decimals, options = "Limit on convolutions.", 0, ("kernel",)

    def costs(
        self, space: SearchSpace, indices: torch.Tensor, task: str | None = None, **options: Any
    ) -> torch.Tensor:
        counted = torch.tensor([choice.name == f"nor_conv_{options['kernel']}" for choice in space.slots[0].choices])
        return counted[indices].sum(1).double()

    def prepare(self, space: SearchSpace, task: str | None = None, **options: Any) -> dict[str, Any]:
        return {"kernel": options.get("kernel", "3x3")}


def test_a_new_budget_is_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUDGETS", (*BUDGETS, Convolutions()))
    space = get_space(SPACE)
    limits = Limits(space, "cifar10", max_convolutions=1, kernel="1x1", max_parameters=None)
    assert str(limits) == "max_convolutions=1" and limits.pool is not None and limits.is_complete
    few = [string for string in space.to_strings(space.valid_rows) if string.count("nor_conv_1x1") <= 1]
    assert space.to_strings(limits.pool) == few
    with pytest.raises(ValueError, match="max_convolutions must be a positive number of convolutions, got 0"):
        Limits(space, max_convolutions=0)
    with pytest.raises(ValueError, match="kernel= say what max_convolutions is about, which was not given"):
        Limits(space, kernel="3x3")
    with pytest.raises(ValueError, match="unknown limit: 'max_convolution'. Did you mean 'max_convolutions'"):
        Limits(space, max_convolution=1)


def test_no_limit_at_all() -> None:
    limits = Limits(get_space(SPACE))
    assert not limits and limits.pool is get_space(SPACE).valid_rows
    assert limits.within(get_space(SPACE).all_indices()).all()
    assert Limits(get_space("darts")).pool is None
