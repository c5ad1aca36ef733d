"""NATS-Bench's size space: strings, costs against the official records and against built networks."""

from __future__ import annotations

import bz2
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from pkgen_hf import Architecture, get_space
from pkgen_hf.networks import nats_bench_size as size
from pkgen_hf.spaces.nats_bench_size import CELL, WIDTHS

SPACE = get_space("nats-bench-size")
RECORDS = {"000000": "8:8:8:8:8", "000011": "8:8:8:16:32", "000284": "8:8:40:32:40"}


class PlainUnpickler(pickle.Unpickler):
    """Reads containers and NumPy numbers, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {"numpy": "dtype", "numpy.core.multiarray": "scalar", "collections": "OrderedDict"}
        if allowed.get(module) != name:
            raise pickle.UnpicklingError(f"{module}.{name} is not plain data")
        return super().find_class(module, name)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_every_string_comes_back() -> None:
    rows = SPACE.all_indices()
    strings = SPACE.to_strings(rows)
    assert len(rows) == SPACE.num_encodings == SPACE.num_architectures == len(set(strings)) == 8**5 == 32_768
    assert torch.equal(SPACE.from_strings(strings), rows)
    assert SPACE.is_valid(rows).all() and torch.equal(SPACE.canonical(rows), rows)
    assert strings[0] == "8:8:8:8:8" and strings[-1] == "64:64:64:64:64"


def test_widths_are_described_by_their_place() -> None:
    for slot in SPACE.slots:
        assert [choice.name for choice in slot.choices] == [str(width) for width in WIDTHS]
        levels = torch.tensor([choice.level for choice in slot.choices])
        torch.testing.assert_close(levels, torch.linspace(0, 1, 8))
        assert len({choice.identity for choice in slot.choices}) == 8
    rows = SPACE.sample(5, torch.Generator().manual_seed(0))
    nothing = SPACE.remove(rows, torch.zeros_like(rows, dtype=torch.bool))
    assert SPACE.to_strings(nothing) == ["8:8:8:8:8"] * 5


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "one looks like '64:64:64:64:64'"),
        ("8:8:8:8", "one looks like '64:64:64:64:64'"),
        ("8:8:8:8:8:8", "one looks like '64:64:64:64:64'"),
        ("8:8:12:8:8", "'stage 2'.*Allowed: 8, 16, 24, 32, 40, 48, 56, 64"),
        ("8:8:8:8:08", "'stage 3'.*Allowed: 8, 16"),
        ("8:8,8:8:8", "got 4"),
        ("0:8:8:8:8", "'stage 1'"),
    ],
)
def test_malformed_string_is_refused(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint) as caught:
        SPACE.from_strings(["8:16:24:32:40", text])
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("name", list(RECORDS))
def test_costs_are_those_of_the_official_records(name: str, shared_benchmarks: Path) -> None:
    path = shared_benchmarks / "official-format" / "NATS-sss-v1_0-50262-simple" / f"{name}.pickle.pbz2"
    if not path.is_file():
        pytest.skip(f"no official record at {path}")
    with bz2.open(path) as file:
        record = PlainUnpickler(file).load()  # type: ignore[arg-type]
    rows = SPACE.from_strings([RECORDS[name]])
    seen = set()
    for setting in record.values():
        for (dataset, _), result in setting["all_results"].items():
            task = dataset.removesuffix("-valid")
            assert result["arch_config"]["channels"] == RECORDS[name] and result["arch_config"]["genotype"] == CELL
            assert SPACE.parameters(rows, task).item() == round(result["params"] * 1e6)
            assert SPACE.flops(rows, task).item() == round(result["flop"] * 1e6)
            seen.add(task)
    assert seen == set(SPACE.tasks)


@pytest.mark.parametrize("task", list(SPACE.tasks))
def test_costs_are_those_of_the_network(task: str) -> None:
    scale = SPACE.task(task)
    rows = torch.cat([torch.tensor([[0] * 5, [7] * 5]), SPACE.sample(5, torch.Generator().manual_seed(0))])
    images = torch.empty(1, 3, scale.image_size, scale.image_size, device="meta")
    for architecture in Architecture.from_batch(SPACE, rows):
        with torch.device("meta"):
            network = architecture.build(num_classes=scale.num_classes).eval()
        with FlopCounterMode(display=False) as counter:
            network(images)
        cost = architecture.cost(task)
        assert count(network) == cost.parameters, str(architecture)
        assert counter.get_total_flops() // 2 + scale.num_classes == cost.flops, str(architecture)


def test_costs_of_a_batch_are_those_of_each() -> None:
    rows = SPACE.sample(50, torch.Generator().manual_seed(0))
    for task in SPACE.tasks:
        for counted in (SPACE.parameters, SPACE.flops):
            whole = counted(rows, task)
            assert whole.dtype == torch.long and whole.shape == (50,)
            assert torch.equal(whole, torch.cat([counted(row[None], task) for row in rows]))


def test_cell_sums_its_edges() -> None:
    """Node 3 is the shortcut, the 3x3 convolution of node 1 and that of node 2, of one width and of two."""
    torch.manual_seed(0)
    for inputs, outputs in [(8, 8), (8, 16)]:
        cell = size.SizedCell(get_space("nas-bench-201").split_string(CELL), inputs, outputs).eval()
        features = torch.randn(2, inputs, 6, 6)
        a, b, c, shortcut, e, f = cell.operations
        first = a(features)
        second = b(features) + c(first)
        torch.testing.assert_close(cell(features), shortcut(features) + e(first) + f(second))
        assert isinstance(shortcut, nn.Identity) == (inputs == outputs)


def test_network_trains_and_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture = Architecture.from_string(SPACE, "8:16:8:8:24")
    network = architecture.build(num_classes=7)
    images = torch.randn(4, 3, 16, 16)
    logits = network(images)
    assert logits.shape == (4, 7)
    F.cross_entropy(logits, torch.arange(4)).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    other = architecture.build(num_classes=7).eval()
    assert not torch.equal(other(images), network.eval()(images))
    other.load_state_dict(load_file(tmp_path / "network.safetensors"))
    assert torch.equal(other(images), network(images))


def test_wrong_options_are_refused() -> None:
    architecture = Architecture.from_string(SPACE, SPACE.example)
    with pytest.raises(ValueError, match="'channels'"):
        architecture.build(channels=8)
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        architecture.build(num_classes=0)
