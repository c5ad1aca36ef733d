"""Weight matrices that spaces list against those of the networks that are built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from representatives import REPRESENTATIVES
from torch import nn

from pkgen_hf import Architecture, Task, get_space, list_spaces
from pkgen_hf.networks.autoformer import RelativeAttention
from pkgen_hf.networks.hw_gpt_bench import CausalSelfAttention
from pkgen_hf.networks.nas_bench_bert import Embeddings, EncoderLayer
from pkgen_hf.networks.nas_bench_graph import GraphAttention
from pkgen_hf.networks.nas_bench_nlp import LinearMap
from pkgen_hf.spaces.weight_matrices import MatrixTable, WeightMatrices

# Nothing but "none", skip connections alone, the widest and the narrowest, cells whose parts have different widths.
EDGE_CASES = {
    "nas-bench-201": [
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|",
        "|none~0|+|nor_conv_3x3~0|none~1|+|nor_conv_1x1~0|none~1|none~2|",  # a convolution that leads nowhere
    ],
    "nats-bench-size": ["8:8:8:8:8", "64:8:64:8:64", "8:64:64:8:8"],
    "nas-bench-101": [
        "1:",
        "101_10_1:maxpool3x3,conv1x1-bn-relu",
        "11110_0001_001_01_1:conv3x3-bn-relu,conv1x1-bn-relu,conv3x3-bn-relu,maxpool3x3",
    ],
    "nas-bench-macro": ["00000000", "22222222"],
    "transnas-bench-101-micro": ["64-41414-0_00_000", "64-41414-1_11_111"],
    "transnas-bench-101-macro": ["64-1114-basic", "64-444111-basic", "64-433311-basic"],
    "nas-bench-asr": ["[[5, 1], [5, 1, 1], [5, 1, 1, 1]]", "[[0, 0], [5, 0, 0], [1, 0, 0, 0]]"],
    "nas-bench-graph": ["0112:skip,skip,skip,gcn", "0000:gat,arma,fc,cheb", "0012:skip,skip,gat,gat"],
    "nas-bench-nlp": ['{"node_0": {"op": "linear", "input": ["x", "x", "x"]}, "h_new_0": {"op": "activation_tanh"'
                      ', "input": ["node_0"]}}'],
}  # fmt: skip
Sizes = Counter[tuple[int, ...]]


def weights_of(module: nn.Module) -> Iterator[tuple[torch.Tensor, int]]:
    """Weights of a module's own as matrices, and into how many parts their outputs are cut."""
    match module:
        case nn.Linear():
            yield module.weight, 1
        case nn.Conv2d() | nn.Conv1d():
            yield module.weight.flatten(1), module.groups
        case nn.ConvTranspose2d():
            yield module.weight.flatten(1).T, module.groups
        case nn.LSTM():
            yield from ((weight, 4) for weight in (module.weight_ih_l0, module.weight_hh_l0))
        case LinearMap():
            yield from ((part, 1) for part in module.weight.split(module.widths, dim=1))


def head_size(module: nn.Module) -> int:
    """Width of the heads of attention; 0 for other modules."""
    match module:
        case RelativeAttention() | CausalSelfAttention():
            return 64
        case EncoderLayer():
            return module.query.in_features // module.heads
        case GraphAttention():
            return module.attention.shape[1]
    return 0


def sizes_of(network: nn.Module) -> Sizes:
    """Sizes of all weight matrices but embeddings and their projections, found by a walk through the modules."""
    found: Sizes = Counter()
    for parent in network.modules():
        size = head_size(parent)
        for name, module in parent.named_children():
            if name == "patches" or isinstance(parent, Embeddings):
                continue
            for weight, number in weights_of(module):
                rows, columns = weight.shape
                if size and name in ("qkv", "query_key_value", "query", "key", "value", "neighbours"):
                    found[size, columns] += rows // size
                elif size and name in ("projection", "output"):
                    found[rows, size] += columns // size
                else:
                    found[rows // number, columns] += number
    return found


def listed(matrices: WeightMatrices) -> list[Sizes]:
    """Of each architecture."""
    shapes = [tuple(shape) for shape in matrices.shapes.tolist()]
    return [
        Counter({shape: n for shape, n in zip(shapes, counts, strict=True) if n})
        for counts in matrices.counts.tolist()
    ]


def assert_equal_to_built(space_name: str, rows: torch.Tensor, task: str | Task | None = None) -> None:
    space = get_space(space_name)
    expected = listed(space.weight_matrices(rows, task))
    for architecture, sizes in zip(Architecture.from_batch(space, rows), expected, strict=True):
        with torch.device("meta"):
            network = architecture.build(task=task or next(iter(space.tasks)))
        assert sizes_of(network) == sizes, str(architecture)


def valid_rows(name: str, num: int) -> torch.Tensor:
    space = get_space(name)
    rows = space.sample(100, torch.Generator().manual_seed(3))
    return rows[space.is_valid(rows)][:num]


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_weight_matrices_are_those_of_networks(name: str) -> None:
    assert_equal_to_built(name, valid_rows(name, 12))


@pytest.mark.parametrize("name", EDGE_CASES)
def test_weight_matrices_of_edge_cases(name: str) -> None:
    assert_equal_to_built(name, get_space(name).from_strings(EDGE_CASES[name]))


@pytest.mark.parametrize("name", list_spaces())
def test_weight_matrices_of_every_task(name: str) -> None:
    for task in get_space(name).tasks:
        assert_equal_to_built(name, valid_rows(name, 2), task)


def test_weight_matrices_of_a_task_of_ones_own() -> None:
    images = Task("image-classification", num_classes=7, in_channels=1, image_size=64)
    for name in list_spaces():
        if next(iter(get_space(name).tasks.values())).image_size:
            assert_equal_to_built(name, valid_rows(name, 1), images)
    assert_equal_to_built(
        "transnas-bench-101-macro", valid_rows("transnas-bench-101-macro", 4), Task("dense-regression", num_classes=2)
    )
    assert_equal_to_built("nas-bench-asr", valid_rows("nas-bench-asr", 1), Task("speech-recognition", num_classes=30))


@pytest.mark.parametrize("name", list_spaces())
def test_weight_matrices_are_fewer_weights_than_parameters(name: str) -> None:
    """The other parameters are vectors and embeddings. Equal architectures have equal matrices."""
    space = get_space(name)
    rows = space.sample(2000, torch.Generator().manual_seed(1))
    rows = rows[space.is_valid(rows)]
    shapes, counts = space.weight_matrices(rows)
    rest = space.parameters(rows) - (counts * shapes.prod(1)).sum(1)
    assert bool((rest > 0).all())
    torch.testing.assert_close(counts, space.weight_matrices(space.canonical(rows)).counts)


def test_tables_add_up_parts_and_leave_out_those_that_are_not_there() -> None:
    table = MatrixTable([[(2, 3, 4)], [(3, 2, 1), (2, 3, 1), (3, 2, 5)], []], [(7, 7, 1)])
    shapes, counts = table.total(torch.tensor([[0, 1, 2], [-1, -1, 0], [-1, -1, -1]]))
    assert shapes.tolist() == [[2, 3], [3, 2], [7, 7]]
    assert counts.tolist() == [[5, 6, 1], [4, 0, 1], [0, 0, 1]]
    assert table.total(torch.empty(0, 3, dtype=torch.long)).counts.shape == (0, 3)
