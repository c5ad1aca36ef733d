"""Limits on cost: obeyed by all that is returned, steered to, and clear where they cannot be obeyed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from representatives import REPRESENTATIVES

from pkgen_hf import PKGenPipeline, PKGenPipelineOutput, ScoreTable
from pkgen_hf.benchmarks.latencies import LatencyTable
from pkgen_hf.budgets.limits import Limits
from pkgen_hf.budgets.steering import Steering
from pkgen_hf.publishing.dataset_folder import build_latencies
from pkgen_hf.spaces import Choice, SearchSpace, Slot, get_space

SPACE = "nas-bench-201"
SLOW = ("nas-bench-nlp",)  # counting its costs takes seconds


@pytest.fixture(scope="module")
def latencies() -> LatencyTable:
    """Made up: a hundredth of a millisecond for each million multiply-adds, and one network that does not run."""
    space = get_space(SPACE)
    rows = space.all_indices()
    milliseconds = (space.flops(rows, "cifar10").double() / 1e8).numpy()
    milliseconds[7] = float("nan")
    return LatencyTable(
        space, pa.table({"architecture": space.to_strings(rows), "cifar10_toaster_latency": milliseconds})
    )


def rows_of(out: PKGenPipelineOutput) -> torch.Tensor:
    return torch.tensor([architecture.indices for architecture in out.architectures])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", [name for name in REPRESENTATIVES if name not in SLOW])
@pytest.mark.parametrize("distinct", [True, False])
def test_every_space_obeys(pipe: PKGenPipeline, name: str, distinct: bool) -> None:
    space = get_space(name)
    sample = space.sample(1024, seeded(1))
    sample = sample[space.is_valid(sample)]
    parameters, flops = (int(cost(sample).double().quantile(0.3)) for cost in (space.parameters, space.flops))
    out = pipe(
        name, num_architectures=3, generator=seeded(), distinct=distinct, max_parameters=parameters, max_flops=flops
    )
    rows = rows_of(out)
    assert len(rows) == 3 and bool(space.is_valid(rows).all())
    assert int(space.parameters(rows).max()) <= parameters and int(space.flops(rows).max()) <= flops
    assert not distinct or len(set(out.architectures)) == 3


@pytest.mark.parametrize("limit", [300_000, 500_000, 800_000])
def test_the_best_under_a_limit_are_near_the_best_there_are(
    pipe: PKGenPipeline, cell_table: ScoreTable, limit: int
) -> None:
    space = cell_table.space
    everything = space.all_indices()
    possible = cell_table.scores(everything, "cifar100")[space.parameters(everything, "cifar100") <= limit]
    out = pipe(SPACE, "cifar100", num_architectures=5, generator=seeded(), max_parameters=limit)
    assert float(cell_table.scores(rows_of(out), "cifar100").max()) > float(possible.nan_to_num(0).max()) - 0.5


def test_a_language_model_makes_use_of_its_budget(pipe: PKGenPipeline) -> None:
    """The largest of width 192, of half the size, is the best that changes of one slot lead to from most samples."""
    few, many = (
        pipe(
            "hw-gpt-bench-s", max_parameters=40e6, num_architectures=number, generator=torch.Generator().manual_seed(0)
        )
        for number in (1, 40)
    )
    for architecture in many.architectures[:20]:
        assert architecture.cost().parameters > 38e6 and '"embed_dim":384' in str(architecture)
    assert few.architectures[0] == many.architectures[0]


def test_cells_for_imagenet_under_600_million(pipe: PKGenPipeline) -> None:
    """The mobile setting of the literature, at 224 pixels and the scale of DARTS's evaluation."""
    space = get_space("darts")
    out = pipe("darts", "imagenet1k", num_architectures=5, generator=seeded(), max_flops=600e6)
    flops = space.flops(rows_of(out), "imagenet1k")
    assert len(out.architectures) == 5 and int(flops.max()) <= 600e6 and int(flops.min()) > 300e6


def test_far_limits_change_nothing(pipe: PKGenPipeline) -> None:
    for call in ({}, {"distinct": False}):
        free = pipe(SPACE, "cifar10", generator=seeded(), **call)
        held = pipe(SPACE, "cifar10", generator=seeded(), max_parameters=1e12, **call)
        assert [str(a) for a in free.architectures] == [str(a) for a in held.architectures]


@pytest.mark.parametrize("name", ["darts", "nas-bench-101", SPACE])
def test_steered_not_filtered(name: str) -> None:
    """Of samples from flat logits few are under a low limit; of tilted ones a good part is."""
    space = get_space(name)
    sample = space.sample(2048, seeded(2))
    limit = int(space.parameters(sample[space.is_valid(sample)]).double().quantile(0.02))
    limits = Limits(space, max_parameters=limit)
    steering = Steering(limits)
    flat = torch.zeros(1024, space.num_slots, space.num_choices).masked_fill(~space.choice_mask, -torch.inf)
    share = []
    for _ in range(4):  # what was drawn mends the regression
        chance = steering.tilt(flat).softmax(-1)
        drawn = torch.multinomial(chance.flatten(0, 1), 1, generator=seeded(3)).reshape(1024, -1)
        drawn = drawn[space.is_valid(drawn)]
        share.append(float(limits.within(drawn).float().mean()))
        steering.learn(drawn)
    assert max(share) > 0.25, share


def test_tilt_obeys_in_the_mean_and_leaves_alone_what_does() -> None:
    """In a space whose costs add up the regression is exact, so the mean cost is the limit itself."""
    space = get_space(SPACE)
    limits = Limits(space, "cifar10", max_flops=40e6)
    logits = torch.randn(64, space.num_slots, space.num_choices, generator=seeded())
    tilted = Steering(limits).tilt(logits)
    costs = torch.zeros(space.num_slots, space.num_choices)
    everything = space.all_indices()
    base = int(space.flops(everything[:1] * 0, "cifar10"))
    for s in range(space.num_slots):
        for k in range(space.num_choices):
            row = torch.zeros(1, space.num_slots, dtype=torch.long)
            row[0, s] = k
            costs[s, k] = int(space.flops(row, "cifar10")) - base
    before, after = (base + (x.softmax(-1) * costs).sum((1, 2)) for x in (logits, tilted))
    assert (after <= 40e6 * 1.001).all()
    obeys = before <= 40e6 * 0.999
    assert obeys.any() and (~obeys).any()
    assert torch.equal(tilted[obeys], logits[obeys])
    over = before > 40e6 * 1.001
    assert torch.allclose(after[over], torch.full_like(after[over], 40e6), rtol=1e-3)


def test_latency(pipe: PKGenPipeline, latencies: LatencyTable, tmp_path: Path) -> None:
    call: dict[str, Any] = {"max_latency": 0.4, "device": "toaster", "num_architectures": 5}
    out = pipe(SPACE, "cifar10", generator=seeded(), latency_table=latencies, **call)
    assert (latencies.latencies(rows_of(out), "cifar10", "toaster") <= 0.4).all()
    table = pa.table({"architecture": latencies.space.to_strings(latencies.indices),
                      "toaster_latency": latencies.column("cifar10", "toaster").numpy()})  # fmt: skip
    pq.write_table(table, tmp_path / "mine.parquet")
    again = pipe(SPACE, "cifar10", generator=seeded(), latency_table=tmp_path / "mine.parquet", **call)
    assert [str(a) for a in again.architectures] == [str(a) for a in out.architectures]


def test_a_network_without_latency_is_never_within(latencies: LatencyTable) -> None:
    limits = Limits(latencies.space, "cifar10", max_latency=1e9, device="toaster", latency_table=latencies)
    assert limits.within(latencies.indices).tolist() == [row != 7 for row in range(len(latencies.indices))]


def test_smallest_networks_are_found(cell_table: ScoreTable) -> None:
    """By steps of one slot where a space is too large to list: the least of NAS-Bench-101's table, for one."""
    for name, least in (("nas-bench-101", 227_274), (SPACE, 73_306)):
        with pytest.raises(ValueError, match=f"smallest network of {name} has {least:,} parameters"):
            Limits(get_space(name), max_parameters=least - 1)
        rows = Limits(get_space(name), max_parameters=least).pool
        assert rows is not None and set(get_space(name).parameters(rows).tolist()) == {least}


def own_space() -> SearchSpace:
    slot = Slot("a", "operation", (Choice("none", "zero"), Choice("conv", "convolution")), (0,), 1)
    return SearchSpace("own", [slot], {}, "none")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"max_parameters": 9}, "max_parameters=9 is impossible: the smallest network of nas-bench-201 has 73,306"),
        ({"max_flops": -1}, "max_flops must be a positive number of multiply-adds, got -1"),
        ({"max_flops": float("nan")}, "got nan"),
        ({"max_parameters": True}, "got True"),
        ({"max_latency": 1}, "max_latency needs device= and latency_table="),
        ({"device": "edgegpu"}, "device= and latency_table= say what max_latency is about"),
        ({"max_parameters": 100_000, "num_architectures": 9_000}, "9,000 distinct architectures of nas-bench-201"),
    ],
)  # fmt: skip
def test_bad_limits(pipe: PKGenPipeline, call: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        pipe(SPACE, "cifar10", **call)
    assert message in str(error.value)


def test_latencies_as_a_data_set(latencies: LatencyTable, tmp_path: Path) -> None:
    table = pa.table({"architecture": latencies.space.to_strings(latencies.indices),
                      "cifar10_toaster_latency": latencies.column("cifar10", "toaster").numpy()})  # fmt: skip
    pq.write_table(table, tmp_path / "all.parquet")
    built = build_latencies("hw-nas-bench", tmp_path / "all.parquet", tmp_path / "built", quiet=True)
    assert built.rows == {SPACE: 15_625}
    again = LatencyTable.load(SPACE, built.folder)
    assert torch.allclose(again.column("cifar10", "toaster"), latencies.column("cifar10", "toaster"), equal_nan=True)
    assert torch.equal(LatencyTable.load(SPACE, built.folder / SPACE).indices, again.indices)
    assert datasets.load_dataset(str(built.folder), SPACE, split="train").num_rows == 15_625
    with pytest.raises(FileNotFoundError, match="no latencies of darts: expected darts/"):
        LatencyTable.load("darts", built.folder)
    pq.write_table(table.slice(0, 9), tmp_path / "few.parquet")
    with pytest.raises(ValueError, match="15,625 different architectures, this table has 9 rows of 9"):
        build_latencies("hw-nas-bench", tmp_path / "few.parquet", tmp_path / "few", quiet=True)
    with pytest.raises(ValueError, match="name a Parquet file as --source"):
        build_latencies("hw-nas-bench", None, tmp_path / "none", quiet=True)


def test_bad_latencies(pipe: PKGenPipeline, latencies: LatencyTable, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'toster'.* Did you mean 'toaster'"):
        pipe(SPACE, "cifar10", max_latency=1, device="toster", latency_table=latencies)
    with pytest.raises(ValueError, match="no latency of cifar100 on toaster"):
        pipe(SPACE, "cifar100", max_latency=1, device="toaster", latency_table=latencies)
    with pytest.raises(ValueError, match="is of nas-bench-201, not of darts"):
        pipe("darts", max_latency=1, device="toaster", latency_table=latencies)
    with pytest.raises(FileNotFoundError, match="no table of latencies at nowhere.parquet"):
        pipe(SPACE, "cifar10", max_latency=1, device="toaster", latency_table="nowhere.parquet")
    latencies_path = tmp_path / "latencies.parquet"
    strings = latencies.space.to_strings(latencies.indices[:2])
    pq.write_table(pa.table({"architecture": strings, "cifar10_toaster_latency_ms": [1.0, 2.0]}), latencies_path)
    with pytest.raises(ValueError, match=r"latencies\.parquet is no table of latencies of darts: "):
        pipe("darts", max_latency=1, device="toaster", latency_table=latencies_path)
    with pytest.raises(ValueError, match=r"the fastest network of nas-bench-201 has 0\.0"):
        pipe(SPACE, "cifar10", max_latency=1e-6, device="toaster", latency_table=latencies)
    bad = tmp_path / "bad.parquet"
    bad.write_text("no table")
    with pytest.raises(ValueError, match="not a Parquet file, or is damaged"):
        LatencyTable.load(SPACE, bad)
    with pytest.raises(ValueError, match="has columns architecture and"):
        LatencyTable(SPACE, pa.table({"architecture": ["x"], "speed": [1.0]}))


def test_both_limits_together_may_be_impossible(latencies: LatencyTable) -> None:
    space = latencies.space
    rows = space.valid_rows
    assert rows is not None
    parameters, flops = int(space.parameters(rows, "cifar10").min()), int(space.flops(rows, "cifar10").min())
    with pytest.raises(ValueError, match=r"max_latency=0\.07 is impossible|obeys all of"):
        Limits(space, "cifar10", max_parameters=parameters, max_flops=flops, max_latency=0.07, device="toaster",
               latency_table=latencies)  # fmt: skip


def test_a_space_that_counts_no_costs(pipe: PKGenPipeline) -> None:
    with pytest.raises(ValueError, match="max_parameters cannot be held to: own has no count of parameters"):
        Limits(own_space(), max_parameters=10)


def test_repeated_latencies_have_their_mean() -> None:
    space = get_space(SPACE)
    cell = space.to_strings(space.all_indices()[:1])[0]
    for values in ([1.0, 9.0], [9.0, 1.0]):
        table = LatencyTable(space, pa.table({"architecture": [cell, cell], "toaster_latency": values}))
        assert table.latencies(space.all_indices()[:1], "cifar10", "toaster").tolist() == [5.0]
    for wrong in (-1.0, float("inf")):
        with pytest.raises(ValueError, match="latencies are finite and not below 0, but toaster_latency of"):
            LatencyTable(space, pa.table({"architecture": [cell], "toaster_latency": [wrong]}))
