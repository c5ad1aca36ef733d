"""Vision transformers: attention with relative positions, sizes, costs, training, and life outside of the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForImageClassification

from pkgen_hf import Architecture, PKGenNetworkForImageClassification, Task, get_space
from pkgen_hf.networks.autoformer import RelativeAttention, VisionTransformer, token_places
from pkgen_hf.spaces.autoformer import HEAD_SIZE, SIZES

TINY = get_space("autoformer-tiny")
SMALL_TASK = Task("image-classification", num_classes=10, in_channels=1, image_size=64, name="small")


def samples(name: str, num: int) -> list[Architecture]:
    space = get_space(name)
    return Architecture.from_batch(space, space.sample(num, torch.Generator().manual_seed(3)))


def tiny(**options: Any) -> Any:
    torch.manual_seed(0)
    return samples("autoformer-tiny", 1)[0].build(**{"num_classes": 5, "image_size": 32, **options})


def attention_by_pairs(attention: RelativeAttention, tokens: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The same by definition, with an embedding for every pair of tokens."""
    batch, num, _ = tokens.shape

    def pairs(tables: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(num, num, HEAD_SIZE)
        for i in range(num):
            for j in range(num):
                for axis in (0, 1):
                    number = 0
                    if i and j:
                        here, there = (divmod(t - 1, columns)[axis] for t in (i, j))
                        number = 15 + max(-14, min(14, there - here))
                    total[i, j] += tables[axis, number]
        return total

    query, key, value = attention.qkv(tokens).reshape(batch, num, 3, attention.heads, HEAD_SIZE).permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(2, 3) + torch.einsum("bhid,ijd->bhij", query, pairs(attention.key_positions))
    weights = (scores / HEAD_SIZE**0.5).softmax(3)
    result = weights @ value + torch.einsum("bhij,ijd->bhid", weights, pairs(attention.value_positions))
    return attention.projection(result.transpose(1, 2).flatten(2))


@pytest.mark.parametrize(("rows", "columns"), [(3, 4), (1, 1), (2, 17)])
def test_attention_is_that_of_its_definition(rows: int, columns: int) -> None:
    """Also for grids in which the longest distances share an embedding."""
    torch.manual_seed(0)
    attention = RelativeAttention(24, heads=2)
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.3)
    tokens = torch.randn(2, 1 + rows * columns, 24)
    found = attention(tokens, token_places(rows, columns, tokens.device))
    torch.testing.assert_close(found, attention_by_pairs(attention, tokens, rows, columns), rtol=1e-4, atol=1e-4)


def test_heads_and_mlps_are_those_of_the_string() -> None:
    architecture = samples("autoformer-small", 1)[0]
    with torch.device("meta"):
        network: Any = architecture.build()
    values = json.loads(str(architecture))
    assert len(network.layers) == values["depth"]
    for layer, heads, ratio in zip(network.layers, values["num_heads"], values["mlp_ratio"], strict=True):
        assert layer.attention.heads == heads and layer.attention.qkv.out_features == 3 * 64 * heads
        assert layer.mlp[0].out_features == int(values["embed_dim"] * ratio)


@pytest.mark.parametrize("name", SIZES)
def test_measured_costs_are_those_of_the_formulas(name: str) -> None:
    for architecture in samples(name, 2):
        for task, options in (("imagenet1k", {}), (SMALL_TASK, {"in_channels": 1})):
            formula, measured = architecture.cost(task), architecture.cost(task, measured=True, **options)
            assert (measured.parameters, measured.flops) == (formula.parameters, formula.flops)


def test_products_are_those_of_the_layers() -> None:
    """By hand, from shapes: 17 tokens, and 64 + 5 + 5 numbers of a query, key or value."""
    architecture = samples("autoformer-tiny", 1)[0]
    network = architecture.build(num_classes=5, image_size=64)
    linear = sum(m.weight.numel() for m in network.layers.modules() if isinstance(m, nn.Linear))
    heads = sum(layer.attention.heads for layer in network.layers)
    attention = heads * (2 * 17 * 17 * (64 + 10) + 2 * 17 * 64 * 10)
    width = network.classifier.in_features
    products = 17 * linear + attention + 16 * 768 * width + 5 * width
    assert architecture.cost(image_size=64, num_classes=5, measured=True).multiply_adds == products


def test_network_trains_and_drops_paths() -> None:
    network = tiny(drop_path_prob=0.5, dropout=0.1)
    assert [layer.drop_path_prob for layer in network.layers][:: len(network.layers) - 1] == [0.0, 0.5]
    images = torch.randn(8, 3, 32, 32)
    first, second = network(images), network(images)
    assert not torch.equal(first, second)
    F.cross_entropy(first, torch.arange(8) % 5).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    network.eval()
    assert torch.equal(network(images), network(images))
    torch.testing.assert_close(network(images)[:2], network(images[:2]))


def test_positions_are_interpolated_for_other_image_sizes() -> None:
    network = tiny(image_size=64)
    assert network.positions.shape == (1, 17, network.classifier.in_features)
    for shape in ((64, 64), (32, 32), (96, 48)):
        assert network(torch.randn(2, 3, *shape)).shape == (2, 5)
    nn.init.constant_(network.positions, 0.25)
    torch.testing.assert_close(network._positions_of(2, 3), torch.full((1, 7, network.classifier.in_features), 0.25))


def test_gradient_checkpointing_changes_no_gradient() -> None:
    network = tiny(drop_path_prob=0.3)
    images = torch.randn(2, 3, 32, 32)
    gradients = []
    for checkpoints in (False, True):
        network.gradient_checkpointing = checkpoints
        network.zero_grad()
        torch.manual_seed(1)
        network(images).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_transformers_model_has_the_image_size(tmp_path: Path) -> None:
    architecture = samples("autoformer-tiny", 1)[0]
    model = PKGenNetworkForImageClassification.from_architecture(architecture, 5, image_size=48, drop_path_prob=0.0)
    assert isinstance(model.network, VisionTransformer) and model.network.side == 3
    model.gradient_checkpointing_enable()
    assert model.network.gradient_checkpointing and model.is_gradient_checkpointing
    model.train()(torch.randn(2, 3, 48, 48), labels=torch.tensor([0, 4])).loss.backward()
    model.eval().save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    images = torch.randn(2, 3, 48, 48)
    assert torch.equal(again(images).logits, model(images).logits)
    half = AutoModelForImageClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half(images.bfloat16()).logits.dtype == torch.bfloat16
    torch.testing.assert_close(half(images.bfloat16()).logits.float(), model(images).logits, rtol=0.1, atol=0.02)


def test_cells_have_no_gradient_checkpointing() -> None:
    model = PKGenNetworkForImageClassification.from_architecture(Architecture("nas-bench-201", (3, 0, 1, 4, 0, 2)), 3)
    with pytest.raises(ValueError, match="gradient"):
        model.gradient_checkpointing_enable()


def test_exported_file_of_another_image_size(tmp_path: Path) -> None:
    architecture = samples("autoformer-tiny", 1)[0]
    text = architecture.export(tmp_path / "network.py", num_classes=5, image_size=64).path.read_text()
    space: dict[str, Any] = {}
    exec(text.replace("if __name__", "if None"), space)
    network = space["build"]().eval()
    own = architecture.build(num_classes=5, image_size=64).eval()
    own.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network(images), own(images), rtol=1e-6, atol=1e-6)


def test_onnx_model_is_written(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    architecture = samples("autoformer-tiny", 1)[0]
    written = architecture.export(tmp_path / "network.onnx", num_classes=5, image_size=32, seed=0)
    assert written.difference is None or written.difference < 1e-4


def test_images_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match="autoformer-tiny read images from 16 pixels, got image_size=15"):
        tiny(image_size=15)
