"""NAS-Bench-ASR: every encoding, its graph as the benchmark takes it, and its network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import networkx
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from pkgen_hf import Architecture, get_space
from pkgen_hf.networks import build
from pkgen_hf.networks import nas_bench_asr as asr
from pkgen_hf.spaces.nas_bench_asr import CONV5D2, CONV7, FRAMES, LINEAR, OPERATION_SLOTS, OPERATIONS, ZERO

SPACE = get_space("nas-bench-asr")
SMALL = {"filters": (4, 8, 8, 12), "cells": (1, 2, 1, 1), "groups": 2, "units": 5, "dropout": 0.0}
DISCONNECTED = "[[5, 0], [0, 0, 0], [1, 0, 0, 0]]"


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    return SPACE.all_indices()


def graph(row: list[int]) -> networkx.DiGraph:
    """What the benchmark hashes, vertex by vertex: 0 the input, 1 to 3 the operations, 4 the output."""
    result = networkx.DiGraph()
    operations = [row[slot] for slot in OPERATION_SLOTS]
    result.add_nodes_from([(0, {"label": "input"}), (4, {"label": "output"})])
    result.add_nodes_from((i, {"label": operation}) for i, operation in enumerate(operations, 1))
    for node, skips in [(0, []), (1, row[1:2]), (2, row[3:5]), (3, row[6:9])]:
        result.add_edges_from((source, node + 1) for source in [node, *(i for i, skip in enumerate(skips) if skip)])
    result.remove_nodes_from([i for i, operation in enumerate(operations, 1) if operation == ZERO])
    useful = (networkx.descendants(result, 0) | {0}) & (networkx.ancestors(result, 4) | {4})
    return result.subgraph(useful).copy()


def test_every_string_comes_back(rows: torch.Tensor) -> None:
    strings = SPACE.to_strings(rows)
    assert len(rows) == SPACE.num_encodings == len(set(strings)) == 13_824
    assert torch.equal(SPACE.from_strings(strings), rows)
    spaced = [text.replace(" ", "") for text in strings[:50]] + [text.replace("[", " [ ") for text in strings[50:99]]
    assert torch.equal(SPACE.from_strings(spaced), rows[:99])
    assert strings[-1] == SPACE.example == str([[5, 1], [5, 1, 1], [5, 1, 1, 1]])


@pytest.mark.parametrize(
    "text", ["", "[[0, 1]]", "[[6, 1], [1, 0, 0], [1, 0, 0, 0]]", "[[0, 2], [1, 0, 0], [1, 0, 0, 0]]", "0_1_0_1_1"]
)
def test_wrong_strings_are_refused_with_a_right_one(text: str) -> None:
    with pytest.raises(ValueError, match="is not a nas-bench-asr string") as caught:
        SPACE.from_strings([text])
    assert SPACE.example in str(caught.value)


def test_there_are_as_many_cells_as_the_benchmark_trained(rows: torch.Tensor) -> None:
    valid = SPACE.is_valid(rows)
    keys = SPACE.keys(rows)
    assert len(keys.unique()) == 8_242
    assert (~valid).sum() == 812 and len(keys[~valid].unique()) == 1  # the disconnected one
    assert len(keys[valid].unique()) == SPACE.num_architectures == 8_241
    plain = (rows[:, OPERATION_SLOTS] != ZERO).all(1)
    assert plain.sum() == len(keys[plain].unique()) == 8_000
    assert torch.equal(SPACE.canonical(rows[plain]), rows[plain])


def test_cells_are_equal_just_when_their_graphs_are(rows: torch.Tensor) -> None:
    """Networkx decides on all encodings with a zero, but for labels that play no part in it."""
    some = rows[(rows[:, OPERATION_SLOTS] == ZERO).any(1)]
    some = some[((some[:, OPERATION_SLOTS] == ZERO) | (some[:, OPERATION_SLOTS] < 2)).all(1)]
    keys, valid = SPACE.keys(some).tolist(), SPACE.is_valid(some).tolist()
    found: dict[str, list[tuple[networkx.DiGraph, int]]] = {}
    for row, key, connected in zip(some.tolist(), keys, valid, strict=True):
        drawn = graph(row)
        assert connected == (len(drawn) > 0)
        summary = f"{len(drawn)} {drawn.number_of_edges()} {sorted(str(label) for _, label in drawn.nodes('label'))}"
        classes = found.setdefault(summary, [])
        for other, its_key in classes:
            if networkx.is_isomorphic(drawn, other, node_match=lambda a, b: a["label"] == b["label"]):
                assert key == its_key
                break
        else:
            classes.append((drawn, key))
    assert sum(len(classes) for classes in found.values()) == len(set(keys)) > 40


def test_canonical_form_is_of_the_class_it_stands_for(rows: torch.Tensor) -> None:
    canonical = SPACE.canonical(rows)
    assert torch.equal(SPACE.canonical(canonical), canonical)
    assert torch.equal(SPACE.check(canonical), canonical)
    assert torch.equal(SPACE.is_valid(canonical), SPACE.is_valid(rows))
    assert torch.equal(SPACE.keys(rows), SPACE.codes(canonical))
    assert torch.equal(SPACE.parameters(canonical), SPACE.parameters(rows))
    assert torch.equal(SPACE.flops(canonical), SPACE.flops(rows))
    assert SPACE.to_strings(canonical[~SPACE.is_valid(rows)])[0] == "[[5, 0], [5, 0, 0], [5, 0, 0, 0]]"


def test_slots_and_choices_are_told_apart() -> None:
    features = SPACE.choice_features
    for s, slot in enumerate(SPACE.slots):
        assert len(features[s, : len(slot.choices)].unique(dim=0)) == len(slot.choices)
        assert len({choice.identity for choice in slot.choices}) == len(slot.choices)
    assert len(SPACE.slot_features.unique(dim=0)) == SPACE.num_slots == 9
    assert (SPACE.null_indices >= 0).all()
    removed = SPACE.remove(SPACE.sample(5), torch.zeros(5, 9, dtype=torch.bool))
    assert not SPACE.is_valid(removed).any()


# ---------------------------------------------------------------------- networks


def cells() -> Iterator[Architecture]:
    """Each operation alone and with others, and random cells."""
    for operation in range(len(OPERATIONS)):
        yield Architecture(SPACE, [operation, 1, LINEAR, 0, 1, CONV7, 1, 0, 1])
        yield Architecture(SPACE, [operation, 1, ZERO, 0, 1, operation, 1, 1, 0])
    yield from Architecture.from_batch(SPACE, SPACE.sample(8, torch.Generator().manual_seed(0)))
    yield Architecture.from_string(SPACE, DISCONNECTED)


def test_network_has_the_parameters_that_the_space_says() -> None:
    for architecture in cells():
        with torch.device("meta"):
            network = build(architecture)
        count = sum(parameter.numel() for parameter in network.parameters())
        assert count == architecture.cost().parameters, str(architecture)


def test_flops_are_those_of_a_forward_pass() -> None:
    for architecture in itertools.islice(cells(), 1, None, 5):
        total = 0

        def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            nonlocal total
            if isinstance(module, nn.Conv1d):
                total += output.numel() * module.weight[0].numel()
            elif isinstance(module, nn.Linear):
                total += output.numel() * module.in_features
            elif isinstance(module, nn.LSTM):
                total += output[0].shape[1] * sum(weight.numel() for weight in module.parameters() if weight.ndim == 2)

        with torch.device("meta"):
            network = build(architecture).eval()
            for module in network.modules():
                module.register_forward_hook(add)
            network(torch.empty(1, FRAMES, 80))
        assert total == architecture.cost().flops, str(architecture)


def test_networks_train_and_go_through_safetensors(tmp_path) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 21, 80)
    for architecture in cells():
        network = build(architecture, num_classes=7, **SMALL)
        logits = network(features)
        assert logits.shape == (2, 6, 7)  # a frame for four, rounded up
        F.cross_entropy(logits.flatten(0, 1), torch.arange(12) % 7).backward()
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients) and any(grad.any() for grad in gradients)
        save_file(network.state_dict(), tmp_path / "network.safetensors")
        other = build(architecture, num_classes=7, **SMALL)
        other.load_state_dict(load_file(tmp_path / "network.safetensors"))
        assert torch.equal(other.eval()(features), network.eval()(features))


def test_every_frame_of_the_input_is_heard() -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 24, 80, requires_grad=True)
    text = "[[3, 1], [2, 0, 1], [4, 1, 0, 1]]"
    Architecture.from_string(SPACE, text).build(**SMALL).eval()(features).square().sum().backward()
    assert features.grad is not None and features.grad.abs().sum((0, 2)).gt(0).all()


def test_cell_adds_operations_and_skip_connections() -> None:
    torch.manual_seed(0)
    cell = asr.Cell([("conv5", [True]), ("zero", [True, True]), ("linear", [False, True, True])], 4, 2, 0.0)
    x = torch.randn(3, 4, 11)
    first = cell.operations["0"](x) + x
    second = x + first
    third = cell.operations["2"](second) + first + second
    torch.testing.assert_close(cell(x), cell.norm(third))


def test_convolutions_keep_their_place_and_their_ceiling() -> None:
    """The output at a frame sees what lies at most 4 frames ahead, and never exceeds 20."""
    layer = asr.operation("conv5d2", 4, 2, 0.0)
    assert layer is not None and OPERATIONS[CONV5D2].dilation == 2
    x = torch.zeros(1, 4, 30, requires_grad=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1.0)
    out = layer(x)
    assert out.shape == x.shape
    out[0, 0, 15].backward()
    assert x.grad is not None and x.grad[0, 0].nonzero()[:, 0].tolist() == [11, 13, 15, 17, 19]
    assert layer(x.detach() + 100).max() == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": (4, 4)}, "4 numbers each"),
        ({"filters": (4, 4, 4, 5), "groups": 2}, "groups must divide"),
        ({"units": 0}, "units must be at least 1"),
        ({"filter": 3}, "Did you mean 'filters'"),
    ],
)
def test_wrong_scale_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.from_string(SPACE, DISCONNECTED).build(**options)
