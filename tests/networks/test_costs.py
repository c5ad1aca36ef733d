"""Costs that are measured: equal to the closed formulas at the benchmarks' scale, and right where no formula is."""

from __future__ import annotations

import pytest
import torch
from genotypes import DARTS_V2
from representatives import REPRESENTATIVES
from torch import nn
from torch.nn import functional as F

from pkgen_hf import Architecture, Cost, SearchSpace, Slot, Task, get_space, list_spaces
from pkgen_hf.networks import planner_of
from pkgen_hf.networks.costs import count, time_forward
from pkgen_hf.spaces import nas_bench_201

MEASURED = [name for name in list_spaces() if name != "nas-bench-graph"]
CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
IMAGENET = {"stem": "imagenet", "channels": 48, "cells": 14, "affine": True, "num_classes": 1000}


def valid_samples(name: str, num: int) -> list[Architecture]:
    space = get_space(name)
    rows = space.sample(100, torch.Generator().manual_seed(7))
    return Architecture.from_batch(space, rows[space.is_valid(rows)][:num])


# ---------------------------------------------------------------------- against formulas


@pytest.mark.parametrize("name", MEASURED)
def test_measured_counts_are_those_of_the_formulas(name: str) -> None:
    for architecture in valid_samples(name, 2 if name in REPRESENTATIVES else 1):
        formula, measured = architecture.cost(), architecture.cost(measured=True)
        assert formula.multiply_adds is None and formula.activation_bytes is None and formula.latency_ms is None
        assert (measured.parameters, measured.flops) == (formula.parameters, formula.flops), str(architecture)
        is_text = architecture.space.task(next(iter(architecture.space.tasks))).kind == "language-modelling"
        attends = is_text or name.startswith("autoformer")  # products of attention are counted less or not at all
        assert measured.multiply_adds > 0 and (measured.multiply_adds <= measured.flops or attends)
        assert 0 < measured.peak_bytes < measured.activation_bytes


@pytest.mark.parametrize("name", ["nas-bench-201", "nats-bench-size", "transnas-bench-101-macro", "darts"])
def test_every_task_has_its_own_scale(name: str) -> None:
    (architecture,) = valid_samples(name, 1)
    for task in list(architecture.space.tasks)[
        :: 1 if name == "darts" else 3
    ]:  # of TransNAS-Bench-101 a classifier, the puzzle, a decoder
        formula, measured = architecture.cost(task), architecture.cost(task, measured=True)
        assert (measured.parameters, measured.flops) == (formula.parameters, formula.flops), task


def test_multiply_adds_leave_out_what_only_the_benchmark_counts() -> None:
    measured = Architecture.from_string("nas-bench-201", CELL).cost(measured=True)
    assert measured.flops - measured.multiply_adds == 10  # the classifier's biases


IMAGES = [name for name in list_spaces() if next(iter(get_space(name).tasks.values())).image_size]
SIZES = {"nas-bench-201": (16, 28), "nats-bench-size": (16, 28), "darts": (28, 160)}


@pytest.mark.parametrize("name", [name for name in IMAGES if planner_of(get_space(name)) is not None])
def test_formulas_hold_for_tasks_of_ones_own(name: str) -> None:
    """Other channels, classes and sizes of images, also sizes that the strides do not divide."""
    (architecture,) = valid_samples(name, 1)
    sizes = (64, 96) if name.startswith("autoformer") else SIZES.get(name, (30, 45))
    for in_channels, size in zip((1, 4), sizes, strict=True):
        task = Task("image-classification", num_classes=7, in_channels=in_channels, image_size=size)
        formula, measured = architecture.cost(task), architecture.cost(task, measured=True)
        assert (measured.parameters, measured.flops) == (formula.parameters, formula.flops), size
        with torch.device("meta"):
            network = architecture.build(task=task).eval()
        assert sum(weight.numel() for weight in network.parameters()) == formula.parameters
        assert network(torch.zeros(2, in_channels, size, size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("kind", ["image-segmentation", "dense-regression", "image-regression"])
def test_formulas_hold_for_heads_and_decoders_of_ones_own(kind: str) -> None:
    for name in ("transnas-bench-101-micro", "transnas-bench-101-macro"):
        (architecture,) = valid_samples(name, 1)
        for size in (64, 90):
            task = Task(kind, num_classes=5, in_channels=2, image_size=size)
            formula, measured = architecture.cost(task), architecture.cost(task, measured=True)
            assert (measured.parameters, measured.flops) == (formula.parameters, formula.flops), (name, size)


def test_formulas_hold_for_graphs_and_speech_of_ones_own() -> None:
    graph = Architecture.from_string("nas-bench-graph", "0112:gcn,gin,fc,cheb")
    task = Task("node-classification", num_classes=3, num_features=11)
    network = graph.build(task=task)
    assert sum(weight.numel() for weight in network.parameters()) == graph.cost(task).parameters
    (speech,) = valid_samples("nas-bench-asr", 1)
    task = Task("speech-recognition", num_classes=30, num_features=40)
    formula, measured = speech.cost(task), speech.cost(task, measured=True)
    assert (measured.parameters, measured.flops) == (formula.parameters, formula.flops)


# ---------------------------------------------------------------------- other scales


def test_darts_cell_at_the_scale_of_imagenet() -> None:
    """The 4.7 M parameters of the paper; 530 M products (the paper's 574 M follows from no published counter)."""
    cost = Architecture.from_string("darts", DARTS_V2).cost(image_size=224, **IMAGENET)
    assert cost.parameters == 4_718_752
    assert cost.multiply_adds == 529_911_552
    assert cost == Architecture.from_string("darts", DARTS_V2).cost(**IMAGENET)  # that stem is for 224 pixels
    smaller = Architecture.from_string("darts", DARTS_V2).cost(image_size=192, **IMAGENET)
    assert smaller.parameters == cost.parameters
    classifier = 768 * 1000
    assert 49 * (smaller.multiply_adds - classifier) == 36 * (cost.multiply_adds - classifier)


def test_image_size_and_classes() -> None:
    architecture = Architecture.from_string("nas-bench-201", CELL)
    base = architecture.cost()
    assert architecture.cost(num_classes=100).parameters == base.parameters + 65 * 90
    assert architecture.cost(image_size=64).flops - 650 == 4 * (base.flops - 650)


# ---------------------------------------------------------------------- memory and time


class Known(nn.Module):
    """Two convolutions, a view, and a sum whose first term is held meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.second = nn.Conv2d(4, 4, 1)
        self.classifier = nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.first(images)
        features = features + F.relu(self.second(features))
        return self.classifier(features.mean((2, 3)).view(-1, 4))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_counts_and_memory_of_a_network_worked_out_by_hand(device: str) -> None:
    with torch.device(device):
        network, images = Known().train(), torch.zeros(1, 3, 8, 8)
    cost = count(network, images)
    assert cost.multiply_adds == cost.flops == 64 * (27 * 4 + 4 * 4) + 4 * 2
    assert cost.parameters == 108 + 20 + 10
    map_bytes = 4 * 64 * 4
    assert cost.activation_bytes == 4 * map_bytes + 4 * 4 + 2 * 4  # first, second, relu, sum; mean; logits
    # the most when the sum is made: the input, the first, the relu and the sum
    assert cost.peak_bytes == 3 * 64 * 4 + 3 * map_bytes
    assert network.training  # as it was


def test_memory_is_that_of_one_forward_pass_without_weights() -> None:
    """Ten times the channels of a chain: ten times the activations, though a hundred times the weights."""
    sizes = []
    for width in (8, 80):
        with torch.device("meta"):
            layers = [nn.Conv2d(width, width, 3, padding=1) for _ in range(6)]
            sizes.append(count(nn.Sequential(*layers), torch.zeros(1, width, 16, 16)))
    small, large = sizes
    assert large.activation_bytes == 10 * small.activation_bytes == 10 * 6 * 8 * 256 * 4
    assert large.peak_bytes == 10 * small.peak_bytes


def test_latency_is_measured_on_request_and_disturbs_no_random_numbers() -> None:
    architecture = Architecture.from_string("nas-bench-201", CELL)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    cost = architecture.cost(latency=True, runs=2, channels=4, cells=1)
    assert torch.equal(torch.rand(1), expected)
    assert cost.latency_ms is not None and cost.latency_ms > 0
    assert cost == Cost(**{**vars(architecture.cost(channels=4, cells=1)), "latency_ms": cost.latency_ms})


def test_timed_runs_come_after_the_warm_up() -> None:
    calls = []

    class Counting(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            calls.append((self.training, torch.is_inference_mode_enabled()))
            return images

    assert time_forward(Counting(), torch.zeros(1), runs=4) >= 0
    assert calls == [(False, True)] * 7


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "image_size must be a whole number from 1, got 0"),
        ({"image_size": 2.5}, "got 2.5"),
        ({"image_size": 2}, "cannot read an input of 3 x 2 x 2"),
        ({"chanels": 4}, "'chanels'. Did you mean 'channels'"),
        ({"channels": "many"}, "channels must be a whole number, got 'many'"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"num_classes": "ten"}, "num_classes must be a whole number, got 'ten'"),
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"latency": True, "runs": 0}, "runs must be a whole number from 1, got 0"),
        ({"task": "cifar", "measured": True}, "Did you mean 'cifar10'"),
    ],
)
def test_wrong_scales_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.from_string("nas-bench-201", CELL).cost(**options)


def test_spaces_that_cannot_be_measured_say_so() -> None:
    graph = Architecture.from_string("nas-bench-graph", "0112:gcn,gin,fc,cheb")
    with pytest.raises(NotImplementedError, match="nas-bench-graph.*whole graph"):
        graph.cost(measured=True)
    with pytest.raises(ValueError, match="nas-bench-nlp read no images"):
        valid_samples("nas-bench-nlp", 1)[0].cost(image_size=32)
    toy = SearchSpace("toy", [Slot("a", "operation", nas_bench_201.OPERATIONS, (0,), 1)], nas_bench_201.TASKS, "none")
    with pytest.raises(NotImplementedError, match="toy has no networks"):
        Architecture(toy, [1]).cost(measured=True)


def test_costs_of_language_models_say_more() -> None:
    space = get_space("hw-gpt-bench-s")
    rows = space.sample(1, torch.Generator().manual_seed(0))
    (architecture,) = Architecture.from_batch(space, rows)
    cost = architecture.cost()
    assert cost.non_embedding_parameters == int(space.non_embedding_parameters(rows)) < cost.parameters
    assert cost.flops_at_context == cost.flops + 1024 * int(space.kv_cache_elements(rows))
    assert cost.memory_bytes == int(space.memory(rows))
    small = architecture.cost(context=64, batch_size=2, memory_dtype="bfloat16")
    assert small.memory_bytes == 2 * (cost.parameters + 128 * int(space.kv_cache_elements(rows)))
    assert small.flops_at_context == cost.flops + 64 * int(space.kv_cache_elements(rows))
    measured = architecture.cost(measured=True, context=64)
    assert measured.parameters == cost.parameters and measured.flops_at_context == small.flops_at_context
    with pytest.raises(ValueError, match="context=64 has no effect: networks of nas-bench-201 have no KV cache"):
        Architecture.from_string("nas-bench-201", CELL).cost(context=64)
