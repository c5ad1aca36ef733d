"""NAS-Bench-Macro: strings, equal networks, costs against the benchmark's table and against built networks."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from pkgen_hf import Architecture, get_space
from pkgen_hf.networks import nas_bench_macro as mobile
from pkgen_hf.spaces.nas_bench_macro import BLOCKS, STAGES, block_shapes

SPACE = get_space("nas-bench-macro")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, images: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() // 2


def test_every_string_comes_back() -> None:
    rows = SPACE.all_indices()
    strings = SPACE.to_strings(rows)
    assert len(rows) == SPACE.num_encodings == len(set(strings)) == 3**8 == 6_561
    assert torch.equal(SPACE.from_strings(strings), rows)
    assert SPACE.is_valid(rows).all()


@pytest.mark.parametrize("text", ["", "0120120", "012012012", "01201203", "0120120a", "0|1|2|0|1|2|0|1", "٠1201201"])
def test_malformed_string_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one looks like '22222222'") as caught:
        SPACE.from_strings(["01201201", text])
    assert repr(text) in str(caught.value)


def test_networks_that_differ_by_the_place_of_identities_are_one() -> None:
    """Brute force over text: in each stage the operations after the first, without identities, are what counts."""
    rows = SPACE.all_indices()
    meaning = []
    for text in SPACE.to_strings(rows):
        parts, first = [], 0
        for length in STAGES:
            parts.append(text[first] + text[first + 1 : first + length].replace("0", ""))
            first += length
        meaning.append("|".join(parts))
    numbers = {name: number for number, name in enumerate(dict.fromkeys(meaning))}
    keys, which = SPACE.keys(rows).unique(return_inverse=True)
    pairs = set(zip(which.tolist(), (numbers[name] for name in meaning), strict=True))
    assert len(pairs) == len(keys) == len(numbers) == SPACE.num_architectures == 9 * 21 * 21
    canonical = SPACE.canonical(rows)
    assert torch.equal(SPACE.canonical(canonical), canonical)
    assert torch.equal(SPACE.parameters(canonical), SPACE.parameters(rows))
    assert torch.equal(SPACE.flops(canonical), SPACE.flops(rows))


def test_costs_and_scores_are_those_of_the_shared_table(shared_benchmarks: Path) -> None:
    table = pq.read_table(shared_benchmarks / "nas-bench-macro.parquet")
    texts = table["architecture"].to_pylist()
    rows = SPACE.from_strings(texts)
    assert SPACE.to_strings(rows) == texts and len(SPACE.codes(rows).unique()) == 6_561
    assert torch.equal(SPACE.parameters(rows, "cifar10"), torch.tensor(table["parameters"].to_pylist()))
    assert torch.equal(SPACE.flops(rows), torch.tensor(table["flops"].to_pylist()))
    # The benchmark holds the three runs of one network for all strings that are this network.
    _, which = SPACE.keys(rows).unique(return_inverse=True)
    runs = torch.tensor(table["cifar10_test_accuracy_runs"].to_pylist(), dtype=torch.float64)
    first = torch.zeros(int(which.max()) + 1, 3, dtype=torch.float64).index_copy(0, which, runs)
    assert torch.equal(first[which], runs)


def test_costs_are_those_of_the_network() -> None:
    rows = torch.cat([torch.tensor([[0] * 8, [1] * 8, [2] * 8]), SPACE.sample(9, torch.Generator().manual_seed(0))])
    images = torch.empty(1, 3, 32, 32, device="meta")
    for architecture in Architecture.from_batch(SPACE, rows):
        with torch.device("meta"):
            network = architecture.build().eval()
        assert count(network) == architecture.cost().parameters, str(architecture)
        assert multiply_adds(network, images) == architecture.cost().flops, str(architecture)


def test_blocks_keep_what_the_shapes_say() -> None:
    features = torch.randn(2, 4, 8, 8)
    for choice in BLOCKS:
        for outputs, stride in [(4, 1), (8, 2), (8, 1)]:
            layer = mobile.block(choice.expansion, choice.kernel, 4, outputs, stride)
            assert layer(features).shape == (2, outputs, 8 // stride, 8 // stride)
    assert isinstance(mobile.block(0, 0, 4, 4, 1), nn.Identity)
    assert [shape[2] for shape in block_shapes()] == [2, 1, 2, 1, 1, 2, 1, 1]
    bottleneck = mobile.InvertedBottleneck(4, 4, expansion=3, kernel=3, stride=1).eval()
    torch.testing.assert_close(bottleneck(features) - features, bottleneck.convolutions(features))


def test_network_trains_and_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture = Architecture.from_string(SPACE, "01210220")
    network = architecture.build(num_classes=7, channels=4)
    images = torch.randn(4, 3, 32, 32)
    logits = network(images)
    assert logits.shape == (4, 7)
    F.cross_entropy(logits, torch.arange(4)).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    other = architecture.build(num_classes=7, channels=4).eval()
    assert not torch.equal(other(images), network.eval()(images))
    other.load_state_dict(load_file(tmp_path / "network.safetensors"))
    assert torch.equal(other(images), network(images))


def test_networks_of_one_key_compute_the_same() -> None:
    torch.manual_seed(0)
    networks = [Architecture.from_string(SPACE, text).build(channels=4).eval() for text in ("10201001", "10210010")]
    assert Architecture.from_string(SPACE, "10201001") == Architecture.from_string(SPACE, "10210010")
    weights = [list(network.parameters()) + list(network.buffers()) for network in networks]
    with torch.no_grad():
        for theirs, ours in zip(*weights, strict=True):
            ours.copy_(theirs)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(networks[0](images), networks[1](images))
