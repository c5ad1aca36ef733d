"""The MobileNetV3 space of Once-for-all: strings, slots without effect, and costs against the published table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from pkgen_hf import Task, get_space
from pkgen_hf.benchmarks.score_table import ScoreTable
from pkgen_hf.spaces.ofa_mobilenetv3 import rounded

SPACE = get_space("ofa-mobilenetv3")


def record(**changes: Any) -> str:
    return json.dumps({"ks": [3, 5, 7, 0] * 5, "e": [3, 4, 6, 0] * 5, "d": [3, 2, 3, 3, 2]} | changes)


def test_number_of_networks() -> None:
    assert SPACE.num_architectures == (9**2 + 9**3 + 9**4) ** 5 == 7_371**5
    assert SPACE.num_slots == 45 and SPACE.num_encodings == 3**45


def test_blocks_beyond_the_depth_have_no_effect() -> None:
    rows = SPACE.sample(500, torch.Generator().manual_seed(0))
    stages = rows.reshape(-1, 5, 9)
    block = (torch.arange(9) + 1) // 2  # 0 for the depth itself
    active = SPACE.active_slots(rows)
    assert torch.equal(active, (block <= 2 + stages[:, :, :1]).flatten(1))
    changed = torch.where(active, rows, 2 - rows)
    assert (changed != rows).any(1).sum() > 400
    assert torch.equal(SPACE.keys(changed), SPACE.keys(rows))
    assert SPACE.to_strings(changed) == SPACE.to_strings(rows)
    assert torch.equal(SPACE.parameters(changed), SPACE.parameters(rows))
    assert torch.equal(SPACE.flops(changed), SPACE.flops(rows))


def test_every_string_comes_back() -> None:
    rows = SPACE.sample(500, torch.Generator().manual_seed(1))
    strings = SPACE.to_strings(rows)
    assert torch.equal(SPACE.from_strings(strings), SPACE.canonical(rows))
    for text in strings[:50]:
        values = json.loads(text)
        for place in range(20):
            exists = place % 4 < values["d"][place // 4]
            assert (values["ks"][place] > 0) == (values["e"][place] > 0) == exists


def test_unused_places_may_hold_anything() -> None:
    filled = record(ks=[3, 5, 7, 99] * 5, e=[3, 4, 6, None] * 5)
    (text,) = SPACE.to_strings(SPACE.from_strings([filled]))
    assert torch.equal(SPACE.from_strings([filled]), SPACE.from_strings([record()]))
    assert json.loads(text)["ks"] == [3, 5, 7, 0, 3, 5, 0, 0, 3, 5, 7, 0, 3, 5, 7, 0, 3, 5, 0, 0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("7", "^it is no object of names and values: '7' is not an ofa-mobilenetv3 string"),
        ('{"ks": [], "e": []}', "^the names are ks, e, d: 'd' is missing"),
        (record(r=224), "'r' is not one of them"),
        (record(d=[2] * 4), "^d has 4 entries, not 5: "),
        (record(ks=[3] * 21), "^ks has 21 entries, not 20: "),
        (record(d=[2, 2, 5, 2, 2]), "'stage 3 depth'.*'d5'.*Allowed: d2, d3, d4"),
        (record(d=[2, 2, True, 2, 2]), "'stage 3 depth'.*'dTrue'"),
        (record(ks=[3, 9] + [3] * 18), "'stage 1 block 2 kernel'.*'k9'.*Allowed: k3, k5, k7"),
        (record(e=[3.0] * 20), "'stage 1 block 1 expansion'.*'e3.0'.*Allowed: e3, e4, e6"),
        (record(ks=[3, 5, 0, 0] * 5), "'stage 1 block 3 kernel'.*'k0'"),
    ],
)
def test_what_is_no_network_of_the_space_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SPACE.from_strings([SPACE.example, text])


def test_channels_are_rounded_to_multiples_of_eight() -> None:
    assert [rounded(channels) for channels in (1, 12, 18, 27, 60, 72)] == [8, 16, 24, 32, 64, 72]


def test_strings_and_costs_are_those_of_the_published_table(shared_benchmarks: Path) -> None:
    table = pq.read_table(shared_benchmarks / "ofa-mobilenetv3.parquet")
    texts = table["architecture"].to_pylist()
    rows = SPACE.from_strings(texts)
    assert len(rows) == len(SPACE.keys(rows).unique()) == 2_162 and SPACE.to_strings(rows) == texts
    assert SPACE.parameters(rows).tolist() == table["parameters"].to_pylist()
    assert SPACE.flops(rows).tolist() == table["macs"].to_pylist()


def test_published_table_is_read(shared_benchmarks: Path) -> None:
    table = ScoreTable.load("ofa-mobilenetv3", shared_benchmarks / "ofa-mobilenetv3.parquet")
    assert table.tasks == ["imagenet1k"] and table.split("imagenet1k") == "validation" and len(table.indices) == 2_162
    assert float(table.column("imagenet1k").max()) == pytest.approx(77.466, abs=1e-3)


def test_costs_follow_classes_channels_and_image_size() -> None:
    task = Task("image-classification", num_classes=10, in_channels=1, image_size=112)
    row = SPACE.from_strings([record()])
    assert int(SPACE.parameters(row) - SPACE.parameters(row, task)) == 1281 * 990 + 2 * 9 * 16
    assert 3 < int(SPACE.flops(row)) / int(SPACE.flops(row, task)) < 4.1
