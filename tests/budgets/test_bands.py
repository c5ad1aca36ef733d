"""Lower limits, limits on memory, and combinations: obeyed, found where they are narrow, clear where impossible."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from representatives import REPRESENTATIVES
from typer.testing import CliRunner

from pkgen_hf import PKGenPipeline
from pkgen_hf.budgets import BUDGETS
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.budgets.search import random_rows
from pkgen_hf.budgets.steering import Steering
from pkgen_hf.cli.main import app
from pkgen_hf.errors import TooFew
from pkgen_hf.spaces import SearchSpace, get_space

CELLS = get_space("nas-bench-201")
GPT = get_space("hw-gpt-bench-s")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generated(pipe: PKGenPipeline, space: SearchSpace, num: int = 8, **limits: Any) -> torch.Tensor:
    """Rows of `num` architectures, which are distinct."""
    out = pipe(space, num_architectures=num, generator=seeded(), **limits)
    assert len(set(out.architectures)) == num
    return torch.tensor([architecture.indices for architecture in out.architectures])


def in_band(space: SearchSpace, least: float, most: float, enough: int) -> int:
    """Distinct valid architectures of so many parameters in a space of few architectures, else `enough`."""
    if space.valid_rows is None and space.num_architectures > 10_000:
        return enough
    rows = random_rows(space, 100_000) if space.valid_rows is None else space.valid_rows
    parameters = space.parameters(rows)
    return len(space.keys(rows[(parameters >= least) & (parameters <= most)]).unique())


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_as_near_to_a_number_of_parameters_as_there_is(pipe: PKGenPipeline, name: str) -> None:
    space = get_space(name)
    parameters = space.parameters(random_rows(space, 1024)).double()
    for quantile in (0.2, 0.8):
        most = float(parameters.quantile(quantile, interpolation="nearest"))
        least = 0.98 * most
        num = min(8, in_band(space, least, most, 8))
        found = space.parameters(generated(pipe, space, num, min_parameters=least, max_parameters=most))
        assert int(found.max()) <= most and int(found.min()) >= least


@pytest.mark.parametrize("name", ["darts", "nas-bench-101", "hw-gpt-bench-s", "ofa-mobilenetv3"])
@pytest.mark.parametrize("distinct", [True, False])
def test_lower_limits_alone(pipe: PKGenPipeline, name: str, distinct: bool) -> None:
    space = get_space(name)
    least = float(space.parameters(random_rows(space, 1024)).double().quantile(0.9))
    out = pipe(space, num_architectures=4, generator=seeded(), distinct=distinct, min_parameters=least)
    rows = torch.tensor([architecture.indices for architecture in out.architectures])
    assert len(rows) == 4 and int(space.parameters(rows).min()) >= least


def test_a_stream_for_each_generator_obeys(pipe: PKGenPipeline) -> None:
    """With a list of generators each stream has margins of its own."""
    call: dict[str, Any] = {"distinct": False, "min_parameters": 9e5, "max_parameters": 9.2e5}
    out = pipe("darts", num_architectures=3, generator=[seeded(k) for k in range(3)], **call)
    rows = torch.tensor([architecture.indices for architecture in out.architectures])
    parameters = get_space("darts").parameters(rows)
    assert int(parameters.min()) >= 9e5 and int(parameters.max()) <= 9.2e5


def test_tilt_towards_a_lower_limit_obeys_in_the_mean_and_leaves_alone_what_does() -> None:
    limits = Limits(CELLS, "cifar10", min_parameters=3e5)
    logits = torch.randn(64, CELLS.num_slots, CELLS.num_choices, generator=seeded())
    tilted = Steering(limits).tilt(logits)
    conv3, conv1 = 3, 2
    effects = torch.zeros(CELLS.num_slots, CELLS.num_choices)
    effects[:, conv3], effects[:, conv1] = 243_040, 28_000
    before, after = (73_306 + (x.softmax(-1) * effects).sum((1, 2)) for x in (logits, tilted))
    assert (after >= 3e5 * 0.999).all()
    obeys = before >= 3e5 * 1.001
    assert obeys.any() and (~obeys).any()
    assert torch.equal(tilted[obeys], logits[obeys])


def test_margins_of_opposite_limits_do_not_undo_each_other() -> None:
    """However wide margins get, the mean cost stays between the limits."""
    space = get_space("darts")
    steering = Steering(Limits(space, min_parameters=9e5, max_parameters=9.2e5))
    steering.margins += 5
    flat = torch.zeros(1, space.num_slots, space.num_choices).masked_fill(~space.choice_mask, -torch.inf)
    upper = steering.costs[0]
    mean = float((steering.tilt(flat).softmax(-1) * upper.effects).sum()) + upper.offset
    assert not upper.limit.bound.is_lower and 9e5 <= mean <= 9.2e5


def test_budgets_combine(pipe: PKGenPipeline) -> None:
    rows = generated(pipe, CELLS, min_parameters=3e5, max_parameters=8e5, max_flops=9e7, max_memory=3e6)
    parameters, flops = CELLS.parameters(rows), CELLS.flops(rows)
    assert int(parameters.min()) >= 3e5 and 4 * int(parameters.max()) <= 3e6 and int(flops.max()) <= 9e7
    space = get_space("darts")
    rows = generated(pipe, space, min_parameters=9e5, max_flops=155e6)
    assert int(space.parameters(rows).min()) >= 9e5 and int(space.flops(rows).max()) <= 155e6


@pytest.mark.parametrize(
    ("space", "limits", "message"),
    [
        (CELLS, {"min_parameters": 2e5, "max_parameters": 1e5}, "min_parameters=200,000 is above max_parameters="),
        (CELLS, {"min_parameters": 8e4, "max_parameters": 9e4}, "the nearest below has 73,306 parameters, the nearest "
         "above 101,306 parameters"),
        (CELLS, {"min_parameters": 1e9}, "min_parameters=1,000,000,000 is impossible: the largest network of "
         "nas-bench-201 has 1,531,546 parameters"),
        (get_space("darts"), {"min_parameters": 1e9}, "is impossible: the largest network of darts has 1,664,234"),
        (CELLS, {"min_parameters": 9.8e5, "max_memory": 3.9e6}, "obeys all of min_parameters=980,000, "
         "max_memory=3,900,000: within the others the largest has 886,426 parameters"),
        (CELLS, {"max_memory": 1e5}, "the smallest network of nas-bench-201 has 293,224 bytes"),
        (CELLS, {"max_memory": 4e6, "memory_dtype": "fp16"}, "Did you mean 'float16'? Allowed: float32, bfloat16"),
        (CELLS, {"max_memory": 4e6, "context": 9}, "context=9 has no effect: networks of nas-bench-201"),
        (GPT, {"max_memory": 4e8, "context": 10**10, "batch_size": 101}, "at most 1,000,000,000,000 tokens, got 101"),
        (GPT, {"max_memory": 4e8, "context": 0}, "context must be a whole number from 1, got 0"),
        (GPT, {"max_memory": 4e8, "batch_size": 1.5}, "batch_size must be a whole number from 1, got 1.5"),
        (GPT, {"context": 9}, "context=, batch_size= and memory_dtype= say what max_memory is about"),
    ],
)  # fmt: skip
def test_impossible_limits_say_what_there_is(space: SearchSpace, limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Limits(space, **limits)
    assert message in str(error.value)


def test_too_few_between_limits(pipe: PKGenPipeline) -> None:
    with pytest.raises(TooFew, match=r"8 distinct architectures of nas-bench-201 .* change a limit") as error:
        pipe(CELLS, min_parameters=1_500_000)
    assert CELLS.parameters(error.value.rows).tolist() == [73_306 + 6 * 243_040]


def test_memory_is_weights_and_cache() -> None:
    rows = GPT.sample(100, seeded())
    parameters, cache = GPT.parameters(rows), GPT.kv_cache_elements(rows)
    assert torch.equal(GPT.memory(rows), 4 * (parameters + 1024 * cache))
    assert torch.equal(GPT.memory(rows, context=7, batch_size=3, dtype="bfloat16"), 2 * (parameters + 21 * cache))
    cells = CELLS.valid_rows
    assert cells is not None
    assert torch.equal(CELLS.memory(cells, "cifar100", dtype="float16"), 2 * CELLS.parameters(cells, "cifar100"))


def test_a_limit_on_memory(pipe: PKGenPipeline) -> None:
    options = {"context": 4096, "batch_size": 4, "memory_dtype": "bfloat16"}
    rows = generated(pipe, GPT, max_memory=700e6, **options)
    memory = GPT.memory(rows, context=4096, batch_size=4, dtype="bfloat16")
    assert int(memory.max()) <= 700e6 and int(memory.float().mean()) > 500e6


@pytest.mark.parametrize(
    ("text", "number"), [("5e8", 5e8), ("500MB", 5e8), ("0.5 gb", 5e8), ("7 kB", 7000), ("2MiB", 2**21)]
)
def test_bytes_on_the_command_line(text: str, number: float) -> None:
    memory = next(budget for budget in BUDGETS if budget.argument == "max_memory")
    assert memory.number(text) == number


def test_counts_on_the_command_line() -> None:
    numbers = {budget.argument: budget.number for budget in BUDGETS}
    assert numbers["max_parameters"]("40M") == 40e6 and numbers["max_parameters"]("1.5 B") == 1.5e9
    assert numbers["max_flops"]("5e8") == numbers["max_flops"]("0.5g") == 5e8


@pytest.mark.parametrize("text", ["10TB", "MB", "", "5e8 bytes", "x" * 500])
def test_other_units_are_refused(text: str) -> None:
    memory = next(budget for budget in BUDGETS if budget.argument == "max_memory")
    with pytest.raises(
        ValueError, match="it must be a number of bytes, with or without kB, MB, GB, KiB, MiB, GiB, got"
    ) as caught:
        memory.number(text)
    assert len(str(caught.value)) < 160


def test_the_command_line_shows_memory() -> None:
    call = "generate --space hw-gpt-bench-s -n 3 --seed 0 --json --max-memory 200MB --context 512 --min-parameters 3e7"
    content = json.loads(CliRunner().invoke(app, call.split()).stdout)
    shown = {name: content[name] for name in ("max_memory", "min_parameters", "context", "batch_size", "memory_dtype")}
    assert shown == {
        "max_memory": 2e8,
        "min_parameters": 3e7,
        "context": 512,
        "batch_size": 1,
        "memory_dtype": "float32",
    }
    for record in content["architectures"]:
        (memory,) = GPT.memory(GPT.from_strings([record["architecture"]]), context=512).tolist()
        assert record["memory_bytes"] == memory <= 2e8 and record["parameters"] >= 3e7
    wrong = CliRunner().invoke(app, ["generate", "--max-memory", "2 houses"])
    assert wrong.exit_code == 2 and "2 houses" in wrong.output
