"""The MnasNet space of Accel-NASBench: strings, costs against the benchmark's table, and networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from pkgen_hf import Architecture, get_space
from pkgen_hf.networks import mobile_blocks
from pkgen_hf.spaces.mnasnet import KEYS, WIDTHS, block_shapes

SPACE = get_space("mnasnet")
SMALLEST = SPACE.null_indices[None]
LARGEST = SPACE.sizes[None] - 1


def efficientnet() -> dict[str, Any]:
    """EfficientNet-B0 as a member of the space."""
    values: dict[str, Any] = {}
    for block, (e, k, layers) in enumerate(
        [(1, 3, 1), (6, 3, 2), (6, 5, 2), (6, 3, 3), (6, 5, 3), (6, 5, 4), (6, 3, 1)]
    ):
        values |= {f"block{block}_e": e, f"block{block}_k": k, f"block{block}_l": layers, f"block{block}_se": True}
    return values


def some(num: int) -> torch.Tensor:
    return torch.cat([SMALLEST, LARGEST, SPACE.sample(num, torch.Generator().manual_seed(0))])


def built(row: torch.Tensor, **options: Any) -> nn.Module:
    return Architecture.from_batch(SPACE, row.reshape(1, -1))[0].build(**options)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


class OperationCount:
    """Multiply-adds as the benchmark counts them, by the values that the modules of a network put out."""

    def __init__(self, network: nn.Module) -> None:
        self.total = 0
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d | mobile_blocks.SqueezeExcitation):
                module.register_forward_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.BatchNorm2d):
            self.total += 4 * output.numel()
        elif isinstance(module, mobile_blocks.SqueezeExcitation):
            self.total += output.numel() + output.shape[1]
        else:
            weight = module.weight
            assert isinstance(weight, torch.Tensor)
            self.total += output.numel() * weight[0].numel()


def test_space_has_all_blocks() -> None:
    assert SPACE.num_encodings == SPACE.num_architectures == 36**6 * 48
    assert [slot.kind for slot in SPACE.slots] == ["expansion", "kernel", "depth", "gate"] * 7
    assert SPACE.sizes.tolist() == [3, 2, 3, 2] * 5 + [3, 2, 4, 2, 3, 2, 3, 2]
    assert len({slot.name for slot in SPACE.slots}) == 28
    rows = SPACE.sample(2000, torch.Generator().manual_seed(0))
    assert SPACE.is_valid(rows).all() and torch.equal(SPACE.canonical(rows), rows)
    assert len(SPACE.codes(rows).unique()) == len(rows.unique(dim=0)) == 2000
    nothing = SPACE.remove(rows, torch.zeros_like(rows, dtype=torch.bool))
    assert torch.equal(nothing, SMALLEST.expand_as(rows)) and not nothing.any()


def test_every_string_comes_back() -> None:
    rows = some(1000)
    strings = SPACE.to_strings(rows)
    assert torch.equal(SPACE.from_strings(strings), rows)
    assert all(json.dumps(json.loads(text)) == text for text in strings)
    assert list(json.loads(strings[0])) == list(KEYS)
    assert json.loads(strings[0])["block5_l"] == 1 and json.loads(strings[1])["block5_l"] == 4


def test_spacing_and_order_do_not_matter() -> None:
    row = SPACE.sample(1, torch.Generator().manual_seed(0))
    (text,) = SPACE.to_strings(row)
    values = json.loads(text)
    backwards = dict(reversed(values.items()))
    others = [json.dumps(values, separators=(",", ":")), json.dumps(values, indent=2), json.dumps(backwards)]
    assert torch.equal(SPACE.from_strings(others), row.expand(3, -1))
    assert SPACE.to_strings(SPACE.from_strings(others)) == [text] * 3


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "7", "null", "{", "[" * 100_000, SPACE.example[:-1], SPACE.example.replace("block3", "block7")],
)
def test_malformed_string_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="^[^:].*: .* is not a mnasnet string; one looks like"):
        SPACE.from_strings([SPACE.example, text])


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("block0_e", 3, "e1, e4, e6"),
        ("block1_e", "6", "e1, e4, e6"),
        ("block2_k", 7, "k3, k5"),
        ("block2_k", 3.0, "k3, k5"),
        ("block3_l", 4, "l1, l2, l3"),
        ("block5_l", 5, "l1, l2, l3, l4"),
        ("block4_l", True, "l1, l2, l3"),
        ("block6_se", 1, "no-se, se"),
        ("block6_se", None, "no-se, se"),
    ],
)
def test_value_that_is_not_allowed_is_refused(key: str, value: Any, allowed: str) -> None:
    block = int(key[5]) + 1
    with pytest.raises(ValueError, match=f"Allowed: {allowed}") as caught:
        SPACE.from_strings([json.dumps(efficientnet() | {key: value})])
    assert f"'block {block} " in str(caught.value)


def test_strings_and_costs_are_those_of_the_shared_table(shared_benchmarks: Path) -> None:
    table = pq.read_table(shared_benchmarks / "accel-nasbench-imagenet.parquet")
    texts = table["architecture"].to_pylist()
    rows = SPACE.from_strings(texts)
    assert len(rows) == 5_138 and SPACE.to_strings(rows) == texts
    for cost, column in [(SPACE.parameters(rows), "parameters_m"), (SPACE.flops(rows, "imagenet1k"), "macs_m")]:
        millions = (cost.numpy() / 1e6).astype(np.float32)
        assert np.array_equal(millions, table[column].to_numpy()), column


def test_efficientnet_has_its_published_size() -> None:
    rows = SPACE.from_strings([json.dumps(efficientnet())])
    assert int(SPACE.parameters(rows)) == 5_288_548


def test_costs_are_those_of_the_network() -> None:
    rows = some(6)
    parameters, flops = SPACE.parameters(rows).tolist(), SPACE.flops(rows).tolist()
    for i, architecture in enumerate(Architecture.from_batch(SPACE, rows)):
        with torch.device("meta"):
            network = architecture.build().eval()
            counter = OperationCount(network)
            network(torch.empty(1, 3, 224, 224))
        assert count(network) == parameters[i]
        assert counter.total + 1280 * (7 * 7 + 1) == flops[i]  # and the mean before the classifier


def test_shapes_are_scaled() -> None:
    shapes = block_shapes()
    assert [shape[1] for shape in shapes] == list(WIDTHS) and shapes[0] == (32, 16, 1)
    assert all(before[1] == after[0] for before, after in zip(shapes, shapes[1:], strict=False))
    assert [shape[1] for shape in block_shapes(8)] == [width // 4 for width in WIDTHS]


def test_network_trains_and_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    for row in some(1):
        network = built(row, num_classes=7, channels=8, drop_path_prob=0.0)
        images = torch.randn(4, 3, 64, 64)
        logits = network(images)
        assert logits.shape == (4, 7)
        F.cross_entropy(logits, torch.arange(4)).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
        save_file(network.state_dict(), tmp_path / "network.safetensors")
        other = built(row, num_classes=7, channels=8).eval()
        assert not torch.equal(other(images), network.eval()(images))
        other.load_state_dict(load_file(tmp_path / "network.safetensors"))
        assert torch.equal(other(images), network(images))


def test_layers_are_dropped_as_often_as_asked() -> None:
    torch.manual_seed(0)
    dropped = mobile_blocks.drop_path(torch.ones(20_000, 2, 1, 1), 0.2)
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert float((dropped == 0).float().mean()) == pytest.approx(0.2, abs=0.02)
    body: Any = built(LARGEST[0], channels=8, drop_path_prob=0.22).body
    assert [layer.drop_path_prob for layer in body] == pytest.approx([0.01 * i for i in range(22)])
    layer = mobile_blocks.InvertedBottleneck(4, 4, 1, 3, 16, nn.SiLU(), None, drop_path_prob=0.5)
    features = torch.randn(32, 4, 6, 6)
    unchanged = (layer(features) == features).flatten(1).all(1)
    assert 4 < int(unchanged.sum()) < 28 and layer.adds_input
    assert torch.equal(layer.eval()(features), features + layer.layers(features))


def test_squeeze_and_excitation_scales_channels() -> None:
    gate = mobile_blocks.SqueezeExcitation(4, 2, F.silu, torch.sigmoid)
    features = torch.randn(3, 4, 5, 5)
    scale = gate(features) / features
    torch.testing.assert_close(scale, scale[:, :, :1, :1].expand_as(scale))
    assert (scale > 0).all() and (scale < 1).all()
