"""Networks of Once-for-all's MobileNetV3 space: layers, costs at any scale, and training."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from pkgen_hf import Architecture, Task, get_space
from pkgen_hf.networks.mobile_blocks import InvertedBottleneck, SqueezeExcitation

SPACE = get_space("ofa-mobilenetv3")


def samples(num: int) -> list[Architecture]:
    return Architecture.from_batch(SPACE, SPACE.sample(num, torch.Generator().manual_seed(3)))


def test_blocks_are_those_of_the_string() -> None:
    (architecture,) = samples(1)
    values = json.loads(str(architecture))
    with torch.device("meta"):
        network: Any = architecture.build()
    first, *blocks = network.body
    assert first.adds_input and len(first.layers) == 5 and len(blocks) == sum(values["d"])
    widths, strides = (24, 40, 80, 112, 160), (2, 2, 2, 1, 2)
    expected = [(s, b) for s in range(5) for b in range(values["d"][s])]
    for block, (s, b) in zip(blocks, expected, strict=True):
        depthwise = next(m for m in block.layers if isinstance(m, nn.Conv2d) and m.groups > 1)
        inputs = widths[s] if b else (16, *widths)[s]
        assert depthwise.kernel_size[0] == values["ks"][4 * s + b] and depthwise.stride[0] == (1 if b else strides[s])
        assert depthwise.out_channels == inputs * values["e"][4 * s + b]
        assert block.layers[-1].num_features == widths[s]
        assert any(isinstance(m, SqueezeExcitation) for m in block.layers) == (s in (1, 3, 4))
        assert any(isinstance(m, nn.Hardswish) for m in block.layers) == (s in (2, 3, 4))
        assert block.adds_input == (b > 0)


def test_measured_costs_are_those_of_the_formulas() -> None:
    small = Task("image-classification", num_classes=10, in_channels=1, image_size=75)
    for architecture in samples(3):
        for task, options in (("imagenet1k", {}), (small, {"in_channels": 1})):
            formula, measured = architecture.cost(task), architecture.cost(task, measured=True, **options)
            assert (measured.parameters, measured.flops) == (formula.parameters, formula.flops)
            assert measured.flops == measured.multiply_adds


def test_channels_are_scaled() -> None:
    with torch.device("meta"):
        network: Any = samples(1)[0].build(width=1.2)
    assert network.stem[0].out_channels == 24 and network.body[-1].layers[-1].num_features == 192
    assert network.last[0].weight.shape == (1536, 1152)


def test_network_trains_and_drops_blocks() -> None:
    torch.manual_seed(0)
    network = samples(1)[0].build(num_classes=7, width=0.5, drop_path_prob=0.0, dropout=0.0)
    images = torch.randn(4, 3, 64, 64)
    logits = network(images)
    F.cross_entropy(logits, torch.arange(4)).backward()
    assert logits.shape == (4, 7)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    gate = SqueezeExcitation(24, 8, F.relu, F.hardsigmoid)
    block = InvertedBottleneck(8, 8, 1, 3, 24, nn.ReLU(), gate, drop_path_prob=0.5)
    features = torch.randn(32, 8, 6, 6)
    unchanged = (block(features) == features).flatten(1).all(1)
    assert 4 < int(unchanged.sum()) < 28
    assert torch.equal(block.eval()(features), features + block.layers(features))


def test_squeeze_and_excitation_scales_channels() -> None:
    gate = SqueezeExcitation(8, 8, F.relu, F.hardsigmoid)
    features = torch.randn(3, 8, 5, 5)
    scale = gate(features) / features
    torch.testing.assert_close(scale, scale[:, :, :1, :1].expand_as(scale))
    assert (scale >= 0).all() and (scale <= 1).all()
