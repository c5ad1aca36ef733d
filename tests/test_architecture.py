"""Architecture: an immutable value, equal to its isomorphic ones, that goes through strings, JSON and pickles."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # which datasets needs, too
import pytest
import torch

from pkgen_hf.architecture import Architecture, Cost
from pkgen_hf.errors import shortened
from pkgen_hf.spaces import Choice, SearchSpace, Slot, Task, get_space, register_space, unregister_space

SPACES = ["nas-bench-201", "nas-bench-graph"]
CELL = "|avg_pool_3x3~0|+|nor_conv_1x1~0|none~1|+|nor_conv_1x1~0|skip_connect~1|none~2|"
MIRRORED = "|nor_conv_1x1~0|+|avg_pool_3x3~0|none~1|+|nor_conv_1x1~0|none~1|skip_connect~2|"
GRAPH = "0021:gcn,gin,fc,cheb"
EXAMPLES = [("nas-bench-201", CELL), ("nas-bench-graph", GRAPH)]


def sampled(space: str, num: int = 200) -> tuple[torch.Tensor, list[Architecture]]:
    rows = get_space(space).sample(num, torch.Generator().manual_seed(0))
    return rows, Architecture.from_batch(space, rows)


@pytest.fixture
def own() -> SearchSpace:
    choices = (Choice("none", "zero"), Choice("conv", "convolution", kernel=3))
    return SearchSpace("own", [Slot(name, "operation", choices, (0,), 1) for name in "abc"], {}, "none")


@pytest.mark.parametrize("space", SPACES)
def test_strings_and_json_come_back(space: str) -> None:
    """As they were written, not in canonical form."""
    rows, batch = sampled(space)
    for row, architecture in zip(rows.tolist(), batch, strict=True):
        text = str(architecture)
        assert str(Architecture.from_string(space, text)) == text
        assert json.loads(architecture.to_json()) == {"space": space, "architecture": text}
        again = Architecture.from_json(architecture.to_json())
        assert again.indices == architecture.indices == tuple(row)
        assert again.space is architecture.space is get_space(space)


def test_json_may_be_of_an_own_space(own: SearchSpace) -> None:
    architecture = Architecture(own, [0, 1, 0])
    assert Architecture.from_json(architecture.to_json(), own).indices == (0, 1, 0)
    with pytest.raises(ValueError, match="unknown search space: 'own'.*pass it: from_json"):
        Architecture.from_json(architecture.to_json())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "5",
        "[]",
        '["space", "architecture"]',
        '{"space": "nas-bench-201"}',
        json.dumps({"architecture": CELL}),
        CELL,
    ],
)
def test_json_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='expected JSON like {"space": ..., "architecture": ...}, got') as caught:
        Architecture.from_json(text)
    assert shortened(text) in str(caught.value)


@pytest.mark.parametrize(
    "record",
    [
        {"space": "nas-bench-201", "architecture": 5},
        {"space": "nas-bench-201", "architecture": None},
        {"space": "nas-bench-graph", "architecture": [GRAPH]},
        {"space": ["nas-bench-201"], "architecture": CELL},
        {"space": {}, "architecture": CELL},
    ],
)
def test_json_with_values_of_a_wrong_type_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Architecture.from_json(json.dumps(record))


def test_json_of_something_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean 'nas-bench-201'"):
        Architecture.from_json(json.dumps({"space": "nas-bench-20", "architecture": CELL}))
    with pytest.raises(ValueError, match="is not a nas-bench-graph string"):
        Architecture.from_json(json.dumps({"space": "nas-bench-graph", "architecture": CELL}))


@pytest.mark.parametrize(("space", "text"), EXAMPLES)
def test_architecture_cannot_be_changed(space: str, text: str) -> None:
    architecture = Architecture.from_string(space, text)
    before = hash(architecture)
    for name in ("indices", "space", "_key", "anything"):
        with pytest.raises(AttributeError, match=name):
            setattr(architecture, name, 0)
    with pytest.raises(TypeError):
        architecture.indices[0] = 1  # type: ignore[index]
    architecture.rows.zero_()  # a copy
    assert str(architecture) == text and hash(architecture) == before


def test_nothing_of_an_architecture_can_be_deleted() -> None:
    architecture = Architecture.from_string("nas-bench-201", CELL)
    for name in ("indices", "space", "_key"):
        with pytest.raises(AttributeError):
            delattr(architecture, name)
    assert str(architecture) == CELL


def test_isomorphic_architectures_are_one() -> None:
    one, other = Architecture.from_string("nas-bench-201", CELL), Architecture.from_string("nas-bench-201", MIRRORED)
    assert one == other and hash(one) == hash(other) and len({one, other}) == 1
    assert one.indices != other.indices and str(one) != str(other)
    assert one.canonical().indices == other.canonical().indices
    different = Architecture.from_string("nas-bench-201", CELL.replace("avg_pool_3x3", "nor_conv_3x3"))
    assert one != different and len({one, different}) == 2


@pytest.mark.parametrize("space", SPACES)
def test_equality_is_that_of_keys(space: str) -> None:
    rows, batch = sampled(space, 2_000)
    keys = get_space(space).keys(rows).tolist()
    assert len(set(batch)) == len(set(keys)) < len(rows)
    for i in range(0, 2_000, 7):
        j = (31 * i) % 2_000
        assert (batch[i] == batch[j]) == (keys[i] == keys[j])
        canonical = batch[i].canonical()
        assert canonical == batch[i] and hash(canonical) == hash(batch[i])
        assert canonical.canonical().indices == canonical.indices


def test_every_cell_in_one_set() -> None:
    assert len(set(Architecture.from_batch("nas-bench-201", get_space("nas-bench-201").all_indices()))) == 14_125


def test_architectures_of_two_spaces_are_never_equal(own: SearchSpace) -> None:
    other = SearchSpace("other", own.slots, {}, "none")
    assert Architecture(own, [0, 1, 0]) == Architecture(own, [0, 1, 0])
    assert Architecture(own, [0, 1, 0]) != Architecture(other, [0, 1, 0])
    assert Architecture.from_string(*EXAMPLES[0]) != Architecture.from_string(*EXAMPLES[1])
    assert Architecture.from_string(*EXAMPLES[0]) != CELL


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    "through",
    [copy.copy, copy.deepcopy, *(lambda a, p=p: pickle.loads(pickle.dumps(a, p)) for p in range(6))],
    ids=["copy", "deepcopy", *(f"pickle{p}" for p in range(6))],
)
def test_copies_are_equal(space: str, through) -> None:
    for architecture in sampled(space, 10)[1]:
        again = through(architecture)
        assert again == architecture and hash(again) == hash(architecture)
        assert again.indices == architecture.indices and again.space is architecture.space


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy])
def test_copies_of_an_own_space_are_equal(own: SearchSpace, through) -> None:
    architecture = Architecture(own, [0, 1, 0])
    assert through(architecture) == architecture


@pytest.mark.parametrize("space", SPACES)
def test_batch_is_one_by_one(space: str) -> None:
    rows, batch = sampled(space)
    single = [Architecture(space, row) for row in rows.tolist()]
    assert batch == single
    assert [hash(a) for a in batch] == [hash(a) for a in single]
    assert [a.indices for a in batch] == [a.indices for a in single]
    assert torch.equal(torch.cat([a.rows for a in batch]), rows)
    assert Architecture.from_batch(space, rows[:0]) == []


@pytest.mark.parametrize("space", SPACES)
def test_costs_and_validity_are_those_of_the_space(space: str) -> None:
    known = get_space(space)
    rows, batch = sampled(space, 20)
    for task in known.tasks:
        expected = zip(known.parameters(rows, task).tolist(), known.flops(rows, task).tolist(), strict=True)
        costs = [a.cost(task) for a in batch]
        assert [(cost.parameters, cost.flops) for cost in costs] == list(expected)
        if known.context is None:
            assert costs == [Cost(cost.parameters, cost.flops) for cost in costs]
    assert [a.cost() for a in batch] == [a.cost(next(iter(known.tasks))) for a in batch]
    assert [a.cost() for a in batch] == [a.canonical().cost() for a in batch]
    assert [a.is_valid for a in batch] == known.is_valid(rows).tolist()
    with pytest.raises(ValueError, match="'nothing'.*Allowed"):
        batch[0].cost("nothing")


def test_networks_without_a_path_or_an_operation_are_invalid() -> None:
    assert Architecture.from_string(*EXAMPLES[0]).is_valid and Architecture.from_string(*EXAMPLES[1]).is_valid
    assert not Architecture("nas-bench-201", [3, 3, 3, 0, 0, 0]).is_valid
    assert not Architecture.from_string("nas-bench-graph", "0123:skip,skip,skip,skip").is_valid


@pytest.mark.parametrize(
    ("indices", "message"),
    [([0] * 5, r"\(batch, 6\)"), ([], r"\(batch, 6\)"), ([0] * 7, "got"), ([0, 0, 0, 0, 0, 5], "'2->3'.*got 5")],
)
def test_wrong_indices_are_refused(indices: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture("nas-bench-201", indices)
    with pytest.raises(ValueError, match=message):
        Architecture.from_batch("nas-bench-201", torch.tensor([indices]))


def test_repr_can_be_read() -> None:
    assert repr(Architecture.from_string("nas-bench-graph", GRAPH)) == f"Architecture('nas-bench-graph', '{GRAPH}')"


@pytest.mark.parametrize(
    "indices",
    [
        "|none~0|",
        None,
        3,
        {1, 2, 3},
        {"a": 1},
        object(),
        ["a"] * 6,
        [None] * 6,
        2**70,
        [2**70] * 6,
        [True, 0, 0, 0, 0, "1"],
    ],
)
def test_indices_of_no_form_are_refused_in_one_line(indices: object) -> None:
    with pytest.raises(ValueError, match="nas-bench-201") as error:
        Architecture("nas-bench-201", indices)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_indices_of_any_form() -> None:
    expected = Architecture("nas-bench-201", [3, 0, 1, 4, 0, 2])
    array = np.array([3, 0, 1, 4, 0, 2], np.uint64)
    for indices in (
        array,
        array[::-1][::-1],
        array.astype(float),
        pd.Series(array, index=range(5, 11)),
        torch.tensor(array.astype(int)),
        tuple(array),
    ):
        assert Architecture("nas-bench-201", indices) == expected


SLOT = Slot("a", "operation", (Choice("none", "zero"), Choice("conv", "convolution", kernel=3)), (0,), 1)


@contextlib.contextmanager
def registered(space: SearchSpace) -> Iterator[None]:
    register_space(space, network=lambda architecture, num_classes=None: partial(torch.nn.Linear, 3, num_classes or 2))
    try:
        yield
    finally:
        unregister_space(space.name)


def test_networks_are_built_and_exported_for_a_task(tmp_path: Path) -> None:
    cell = Architecture.from_string("nas-bench-201", CELL)
    task = Task("image-classification", num_classes=6, in_channels=2, image_size=16)
    assert cell.build(task=task).eval()(torch.zeros(2, 2, 16, 16)).shape == (2, 6)
    assert cell.build(3, task, in_channels=1).eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 3)  # what is given counts
    assert cell.build(task="cifar100").classifier.out_features == 100
    assert cell.build(task="image-classification").classifier.out_features == cell.build().classifier.out_features
    with pytest.raises(ValueError, match="unknown task of nas-bench-201: 'cifar1'. Did you mean 'cifar10'"):
        cell.build(task="cifar1")
    cell.export(tmp_path / "net.py", task=task, channels=4, cells=1)
    names: dict[str, Any] = {"__name__": "net"}
    text = (tmp_path / "net.py").read_text()
    exec(text, names)
    assert names["build"]().eval()(torch.zeros(2, 2, 16, 16)).shape == (2, 6)
    assert "for an input of 2 x 16 x 16" in " ".join(text.split())


def test_the_network_of_a_data_set_is_the_one_whose_costs_count() -> None:
    for name, task in (
        ("darts", "imagenet1k"),
        ("transnas-bench-101-macro", "jigsaw"),
        ("nas-bench-graph", "citeseer"),
    ):
        architecture = sampled(name, 1)[1][0]
        with torch.device("meta"):
            network = architecture.build(task=task)
        assert sum(weight.numel() for weight in network.parameters()) == architecture.cost(task).parameters


def test_networks_without_the_option_read_three_channels() -> None:
    own = SearchSpace("grey", [SLOT], {"things": Task("image-classification", num_classes=2, image_size=8)}, "none")
    with registered(own):
        architecture = Architecture(own, [0])
        assert isinstance(architecture.build(task="things"), torch.nn.Linear)
        task = Task("image-classification", num_classes=2, in_channels=1)
        with pytest.raises(ValueError, match="networks of grey read images of 3 channels, not of in_channels=1"):
            architecture.build(task=task)


def test_a_string_where_numbers_belong_names_what_reads_it() -> None:
    with pytest.raises(
        ValueError, match=r"nas-bench-201 as a number, got '\|avg.*: Architecture.from_string\(space, "
    ):
        Architecture("nas-bench-201", CELL)
    for wrong in ([CELL], [CELL.split("|")[:6]]):
        with pytest.raises(ValueError, match=r"takes rows of 6 whole numbers.*: from_strings reads strings"):
            Architecture.from_batch("nas-bench-201", wrong)  # type: ignore[arg-type]
