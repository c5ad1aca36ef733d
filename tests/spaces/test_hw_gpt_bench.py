"""The spaces of HW-GPT-Bench: strings, costs against the benchmark's tables, layers that are not there."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pkgen_hf import ScoreTable, get_space
from pkgen_hf.benchmarks.readers import standard
from pkgen_hf.spaces.hw_gpt_bench import CONTEXT, HEAD, SCALES, VOCABULARY, HWGPTBenchSpace

SPACES = [cast(HWGPTBenchSpace, get_space(name)) for name in SCALES]
SMALL = SPACES[0]
NETWORK: dict[str, Any] = {
    "embed_dim": 384,
    "num_layers": 10,
    "heads": [12, 4, 12, 12, 4, 4, 4, 8, 12, 4],
    "mlp_ratio": [2, 3, 4, 2, 3, 3, 2, 3, 2, 4],
    "bias": True,
}


def drawn(space: HWGPTBenchSpace, num: int = 500) -> torch.Tensor:
    return space.sample(num, torch.Generator().manual_seed(0))


def network(**changes: Any) -> str:
    return json.dumps(NETWORK | changes)


@pytest.fixture(params=SPACES, ids=list(SCALES))
def space(request: pytest.FixtureRequest) -> HWGPTBenchSpace:
    return request.param


# ---------------------------------------------------------------------- against the benchmark


@pytest.mark.parametrize(("letter", "rows"), [("s", 10_000), ("m", 5_245)])
def test_parameters_and_strings_are_those_of_the_perplexity_table(
    letter: str, rows: int, shared_benchmarks: Path
) -> None:
    space = get_space(f"hw-gpt-bench-{letter}")
    table = pq.read_table(shared_benchmarks / f"{space.name}.parquet")
    texts = table["architecture"].to_pylist()
    indices = space.from_strings(texts)
    assert len(indices) == rows and space.to_strings(indices) == texts
    assert torch.equal(space.canonical(indices), indices) and len(space.keys(indices).unique()) == rows
    assert np.array_equal(space.parameters(indices).numpy(), table["parameters"].to_numpy())


@pytest.mark.parametrize("letter", ["s", "m"])
def test_profiled_costs_are_those_of_the_hardware_table(letter: str, shared_benchmarks: Path) -> None:
    space = cast(HWGPTBenchSpace, get_space(f"hw-gpt-bench-{letter}"))
    table = pq.read_table(shared_benchmarks / f"{space.name}-hardware.parquet")
    indices = space.from_strings(table["architecture"].to_pylist())
    parameters, multiply_adds = space.profiled_costs(indices)
    assert len(indices) == 10_000
    assert np.array_equal(parameters.numpy(), table["parameters_profiled"].to_numpy())
    assert np.array_equal(multiply_adds.double().numpy(), table["macs_per_token"].to_numpy())


@pytest.mark.parametrize(("letter", "best"), [("s", 22.16), ("m", 21.14)])
def test_scores_are_less_the_logarithm_of_perplexity(letter: str, best: float, shared_benchmarks: Path) -> None:
    space = get_space(f"hw-gpt-bench-{letter}")
    path = shared_benchmarks / f"{space.name}.parquet"
    scores = ScoreTable.load(space, path).column("openwebtext").double()
    perplexity = torch.tensor(pq.read_table(path)["perplexity"].to_pylist(), dtype=torch.double)
    torch.testing.assert_close(scores, -perplexity.log(), rtol=1e-6, atol=0)
    assert math.exp(-float(scores.max())) == pytest.approx(best, abs=0.01)


def test_accuracy_of_the_next_token_is_not_taken_for_the_score() -> None:
    columns = {"architecture": [network()], "perplexity": [30.0], "accuracy": [38.0], "parameters": [7]}
    table = ScoreTable(SMALL, standard(SMALL, pa.table(columns)))
    assert table.tasks == ["openwebtext"] and table.unit("openwebtext") == ""
    assert float(table.column("openwebtext")) == pytest.approx(-math.log(30))


def test_number_of_networks() -> None:
    assert [space.num_architectures for space in SPACES] == [
        6 * (9**10 + 9**11 + 9**12), 6 * (9**22 + 9**23 + 9**24), 6 * (9**34 + 9**35 + 9**36)
    ]  # fmt: skip
    assert [space.num_slots for space in SPACES] == [27, 51, 75]
    assert all(space.num_architectures < space.num_encodings for space in SPACES)


# ---------------------------------------------------------------------- costs


def by_the_formula(text: str, vocabulary: int = VOCABULARY) -> tuple[int, int, int]:
    """Parameters, multiply-adds and elements of the cache, layer by layer."""
    one = json.loads(text)
    width, parameters, products, cache = one["embed_dim"], 2 * one["embed_dim"], 0, 0
    for heads, ratio in zip(one["heads"], one["mlp_ratio"], strict=True):
        inner, hidden = HEAD * heads, width * ratio
        maps = [(width, 3 * inner), (inner, width), (width, hidden), (hidden, width)]
        products += sum(inputs * outputs for inputs, outputs in maps)
        parameters += 4 * width + one["bias"] * sum(outputs for _, outputs in maps)
        cache += 2 * inner
    return parameters + products + vocabulary * width, products + vocabulary * width, cache


def test_costs_are_sums_over_the_layers_that_are_there(space: HWGPTBenchSpace) -> None:
    rows = drawn(space, 100)
    expected = torch.tensor([by_the_formula(text) for text in space.to_strings(rows)])
    assert torch.equal(space.parameters(rows), expected[:, 0])
    assert torch.equal(space.flops(rows, "openwebtext"), expected[:, 1])
    assert torch.equal(space.kv_cache_elements(rows), expected[:, 2])
    widths = torch.tensor([json.loads(text)["embed_dim"] for text in space.to_strings(rows)])
    assert torch.equal(space.parameters(rows) - space.non_embedding_parameters(rows), VOCABULARY * widths)
    assert torch.equal(space.flops_at_context(rows, 0), space.flops(rows))
    assert torch.equal(space.flops_at_context(rows), expected[:, 1] + CONTEXT * expected[:, 2])


def test_layers_that_are_not_there_have_no_effect(space: HWGPTBenchSpace) -> None:
    rows = drawn(space)
    active = space.active_slots(rows)
    shallow = rows[:, 1] == 0
    assert shallow.any() and not active[shallow][:, -4:].any() and active[:, :-4].all()
    others = torch.where(active, rows, space.sizes - 1)
    assert not torch.equal(others, rows)
    assert torch.equal(space.keys(others), space.keys(rows))
    assert space.to_strings(others) == space.to_strings(rows)
    for count in (space.parameters, space.flops, space.kv_cache_elements):
        assert torch.equal(count(others), count(rows))


# ---------------------------------------------------------------------- strings


def test_strings_come_back(space: HWGPTBenchSpace) -> None:
    rows = drawn(space)
    strings = space.to_strings(rows)
    assert torch.equal(space.from_strings(strings), space.canonical(rows))
    assert all(json.dumps(json.loads(text), separators=(",", ":")) == text for text in strings)
    for text, row in zip(strings[:20], rows, strict=False):
        one = json.loads(text)
        assert len(one["heads"]) == len(one["mlp_ratio"]) == one["num_layers"]
        assert space.decoder(row[None]) == (one["embed_dim"], one["heads"], one["mlp_ratio"], one["bias"])


def test_other_forms_of_a_string_are_read() -> None:
    (row,) = SMALL.from_strings([network()])
    deep = {"heads": [*NETWORK["heads"], 8, 12], "mlp_ratio": [*NETWORK["mlp_ratio"], 4, 4]}
    record = NETWORK | deep
    names = {"embed_dim": "embed_dim", "num_layers": "n_layer", "heads": "n_head", "mlp_ratio": "mlp_ratio"}
    record = {f"sample_{names.get(key, key)}": value for key, value in record.items()}
    others = [str(NETWORK), json.dumps(NETWORK, indent=2), network(**deep), f"arch = {NETWORK}", str(record)]
    others.append(json.dumps(dict(reversed(NETWORK.items()))))
    others.append(str(record | {"sample_bias": "True"}))
    assert torch.equal(SMALL.from_strings(others), row.expand(len(others), -1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        ("[]", "it is no object of names and values"),
        ("{}", "'embed_dim' is missing"),
        (network()[:-1], "is not a hw-gpt-bench-s string; one looks like"),
        (network(width=3), "'width' is not one of them"),
        (network(num_layers=9), "unknown choice in slot 'num_layers' of hw-gpt-bench-s: '9'. .*Allowed: 10, 11, 12"),
        (network(num_layers="10"), "Allowed: 10, 11, 12"),
        (network(num_layers=11), "heads has 10 entries, not 11 or 12"),
        (network(mlp_ratio=[2] * 9), "mlp_ratio has 9 entries, not 10 or 12"),
        (network(heads=4), "heads is no list"),
        (network(embed_dim=256), "'embed_dim' of hw-gpt-bench-s: '256'.*Allowed: 192, 384, 768"),
        (network(heads=[4] * 9 + [5]), "'layer 10 heads' of hw-gpt-bench-s: '5'.*Allowed: 4, 8, 12"),
        (network(mlp_ratio=[2.0] + [2] * 9), "'layer 1 mlp_ratio'.*'2.0'.*Allowed: 2, 3, 4"),
        (network(mlp_ratio=["2"] + [2] * 9), "Allowed: 2, 3, 4"),
        (network(bias=1), "'bias' of hw-gpt-bench-s: '1'.*Allowed: false, true"),
        (network(bias=None), "Allowed: false, true"),
    ],
)
def test_text_that_is_no_network_gives_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        SMALL.from_strings([SMALL.example, text])
    assert "\n" not in str(caught.value)


def test_sizes_refuse_each_others_strings() -> None:
    for one in SPACES:
        for other in SPACES:
            if one is not other:
                with pytest.raises(ValueError, match=f"of {other.name}"):
                    other.from_strings([one.example])
