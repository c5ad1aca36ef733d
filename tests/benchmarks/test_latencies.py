"""Published tables of latencies, as they stand in their files: every row and device is found and can be limited."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pkgen_hf import PKGenPipeline
from pkgen_hf.benchmarks.latencies import PREFIX, LatencyTable, published_latencies
from pkgen_hf.publishing.dataset_folder import build_latencies
from pkgen_hf.spaces import get_space

PUBLISHED = {"nas-bench-201-latency": 27, "hw-gpt-bench-s-hardware": 14, "hw-gpt-bench-m-hardware": 14}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_row_and_device_of_a_published_table(name: str, shared_benchmarks: Path, tmp_path: Path) -> None:
    space_name, _ = published_latencies()[name]
    space, path = get_space(space_name), shared_benchmarks / f"{name}.parquet"
    file = pq.read_table(path)
    devices = [column.removeprefix(PREFIX) for column in file.column_names if column.startswith(PREFIX)]
    table = LatencyTable.load(space, path)
    assert table.devices == sorted(devices) and len(devices) == PUBLISHED[name]
    rows = space.from_strings(file["architecture"].to_pylist())
    task = next(iter(space.tasks))
    for device in devices:
        expected = torch.tensor(file[f"{PREFIX}{device}"].to_numpy()).double()
        assert len(expected) == len(rows) and torch.equal(table.latencies(rows, task, device), expected)
    built = build_latencies(name, path, tmp_path / "built", quiet=True)
    assert built.rows == {space.name: len(rows)}
    again = LatencyTable.load(space, built.folder)
    assert again.devices == table.devices
    assert torch.equal(again.latencies(rows, task, devices[0]), table.latencies(rows, task, devices[0]))


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("nas-bench-201-latency", "titanx_256"),
        ("nas-bench-201-latency", "pixel2"),
        ("hw-gpt-bench-s-hardware", "h100"),
    ],
)
def test_a_limit_on_a_device_of_a_published_table(
    pipe: PKGenPipeline, name: str, device: str, shared_benchmarks: Path
) -> None:
    space = get_space(published_latencies()[name][0])
    table = LatencyTable.load(space, shared_benchmarks / f"{name}.parquet")
    column = table.column(next(iter(space.tasks)), device)
    most = float(column.quantile(0.3))
    least = float(space.parameters(table.indices[column <= most]).double().quantile(0.5))
    out = pipe(
        space,
        generator=torch.Generator().manual_seed(0),
        max_latency=most,
        min_parameters=least,
        device=device,
        latency_table=table,
    )
    rows = torch.tensor([architecture.indices for architecture in out.architectures])
    assert len(set(out.architectures)) == 8
    assert float(table.latencies(rows, next(iter(space.tasks)), device).max()) <= most
    assert int(space.parameters(rows).min()) >= least


def test_such_columns_are_of_the_first_task(shared_benchmarks: Path) -> None:
    table = LatencyTable.load("nas-bench-201", shared_benchmarks / "nas-bench-201-latency.parquet")
    official = LatencyTable.load("nas-bench-201", shared_benchmarks / "hw-nas-bench.parquet")
    rows = table.indices
    for device in ("eyeriss", "fpga", "pixel3", "raspi4"):
        torch.testing.assert_close(
            table.latencies(rows, "cifar10", device), official.latencies(rows, "cifar10", device), rtol=1e-4, atol=0
        )
    with pytest.raises(ValueError, match="no latency of cifar100 on titanx_1"):
        table.latencies(rows[:1], "cifar100", "titanx_1")


def test_slots_without_effect_make_no_difference_to_a_latency() -> None:
    space = get_space("hw-gpt-bench-s")
    rows = space.sample(64, torch.Generator().manual_seed(0))
    rows = rows[~space.active_slots(rows).all(1)]
    assert len(rows) > 10 and not torch.equal(rows, space.canonical(rows))
    milliseconds = torch.arange(1.0, len(rows) + 1).double()
    table = LatencyTable(
        space, pa.table({"architecture": space.to_strings(rows), "latency_ms_chip": milliseconds.numpy()})
    )
    assert torch.equal(table.latencies(rows, "openwebtext", "chip"), milliseconds)
