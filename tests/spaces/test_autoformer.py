"""AutoFormer: strings, slots without effect, and costs against the published tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from pkgen_hf import SearchSpace, Task, get_space
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.spaces.autoformer import SIZES

SPACES = [get_space(name) for name in SIZES]
TINY = get_space("autoformer-tiny")


def named(space: SearchSpace) -> str:
    return space.name


def record(depth: int = 12, **changes: Any) -> str:
    """A string of the tiny space."""
    values = {"embed_dim": 192, "depth": depth, "mlp_ratio": [3.5, 4.0] * (depth // 2), "num_heads": [3] * depth}
    return json.dumps(values | changes)


@pytest.mark.parametrize(
    ("name", "number", "slots"),
    [
        ("autoformer-tiny", 1_056_964_608, 30),
        ("autoformer-small", 3 * (9**12 + 9**13 + 9**14), 30),
        ("autoformer-base", 3 * (6**14 + 6**15 + 6**16), 34),
    ],
)
def test_number_of_networks(name: str, number: int, slots: int) -> None:
    space = get_space(name)
    assert (space.num_architectures, space.num_slots) == (number, slots)
    in_layer, depths = len(SIZES[name].ratios) * len(SIZES[name].heads), SIZES[name].depths
    assert space.num_encodings == 3 * 3 * in_layer ** max(depths)


@pytest.mark.parametrize("space", SPACES, ids=named)
def test_layers_beyond_the_depth_have_no_effect(space: SearchSpace) -> None:
    rows = space.sample(500, torch.Generator().manual_seed(0))
    depths = torch.tensor([int(choice.name) for choice in space.slots[1].choices])[rows[:, 1]]
    layer = torch.arange(space.num_slots)[None] // 2  # slots 2 and 3 are of layer 1
    assert torch.equal(space.active_slots(rows), layer <= depths[:, None])
    changed = torch.where(space.active_slots(rows), rows, space.sizes - 1 - rows)
    assert (changed != rows).any(1).sum() > 200
    assert torch.equal(space.keys(changed), space.keys(rows))
    assert torch.equal(space.canonical(changed), space.canonical(rows))
    assert space.to_strings(changed) == space.to_strings(rows)
    assert torch.equal(space.parameters(changed), space.parameters(rows))
    assert torch.equal(space.flops(changed), space.flops(rows))


@pytest.mark.parametrize("space", SPACES, ids=named)
def test_every_string_comes_back(space: SearchSpace) -> None:
    rows = space.sample(500, torch.Generator().manual_seed(1))
    strings = space.to_strings(rows)
    assert torch.equal(space.from_strings(strings), space.canonical(rows))
    for text in strings[:50]:
        values = json.loads(text)
        assert len(values["mlp_ratio"]) == len(values["num_heads"]) == values["depth"]


def test_longer_lists_are_read_to_the_depth() -> None:
    plain = record()
    longer = record(mlp_ratio=[3.5, 4.0] * 6 + [4, "?"], num_heads=[3] * 12 + [4, 99, None])
    whole = record(mlp_ratio=[3.5, 4] * 6)
    assert torch.equal(TINY.from_strings([longer, whole]), TINY.from_strings([plain, plain]))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "^it is no object of names and values: '\\[\\]' is not an autoformer-tiny string"),
        ("{}", "^the names are embed_dim, depth, mlp_ratio, num_heads: 'embed_dim' is missing"),
        (record(heads=[3]), "'heads' is not one of them"),
        (record(embed_dim=193), "'193'.*Allowed: 192, 216, 240"),
        (record(embed_dim=192.0), "'192.0'.*Allowed: 192, 216, 240"),
        (record(depth=11), "'depth'.*'11'.*Allowed: 12, 13, 14"),
        (record(depth=True), "'True'.*Allowed: 12, 13, 14"),
        (record(depth=13, mlp_ratio=[4] * 13, num_heads=[3] * 12), "^num_heads has 12 entries, not 13 or more"),
        (record(mlp_ratio=4), "^mlp_ratio is no list"),
        (record(mlp_ratio=[4] * 11 + [3]), "'layer 12 mlp_ratio'.*'3'.*Allowed: 3.5, 4"),
        (record(num_heads=[3] * 11 + [3.0]), "'layer 12 num_heads'.*'3.0'.*Allowed: 3, 4"),
    ],
)
def test_what_is_no_network_of_the_space_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TINY.from_strings([TINY.example, text])


@pytest.mark.parametrize("space", SPACES, ids=named)
def test_strings_and_costs_are_those_of_the_published_table(space: SearchSpace, shared_benchmarks: Path) -> None:
    table = pq.read_table(shared_benchmarks / f"{space.name}.parquet")
    texts = table["architecture"].to_pylist()
    rows = space.from_strings(texts)
    assert len(rows) == len(space.keys(rows).unique()) == 1_001 and space.to_strings(rows) == texts
    assert space.parameters(rows).tolist() == table["parameters"].to_pylist()
    assert [flops / 1e6 for flops in space.flops(rows).tolist()] == table["flops_m"].to_pylist()


@pytest.mark.parametrize(
    ("name", "best"), [("autoformer-tiny", 75.542), ("autoformer-small", 81.656), ("autoformer-base", 82.314)]
)
def test_published_table_is_read(name: str, best: float, shared_benchmarks: Path) -> None:
    table = ScoreTable.load(name, shared_benchmarks / f"{name}.parquet")
    assert table.tasks == ["imagenet1k"] and table.split("imagenet1k") == "validation" and len(table.indices) == 1_001
    assert float(table.column("imagenet1k").max()) == pytest.approx(best, abs=1e-3)
    assert table.unit("imagenet1k") == "%"


def test_costs_follow_classes_channels_and_image_size() -> None:
    task = Task("image-classification", num_classes=10, in_channels=1, image_size=64)
    row = TINY.from_strings([record()])
    assert int(TINY.parameters(row) - TINY.parameters(row, task)) == 193 * 990 + (196 - 16 + 2 * 256) * 192
    assert int(TINY.flops(row, task)) < int(TINY.flops(row)) // 8
    with pytest.raises(ValueError, match="image_size"):
        TINY.flops(row, Task("image-classification", num_classes=10, image_size=8))
