"""Networks: their sizes against the benchmarks' own numbers, their operations against dense references."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from representatives import REPRESENTATIVES
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pkgen_hf import Architecture, SearchSpace, Slot, get_space, list_spaces, load_benchmark
from pkgen_hf.networks import build
from pkgen_hf.networks import nas_bench_201 as cells
from pkgen_hf.networks import nas_bench_graph as graph
from pkgen_hf.spaces import nas_bench_201, nas_bench_graph

CELLS = get_space("nas-bench-201")
GRAPHS = get_space("nas-bench-graph")
ALL_NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The networks here are too small for threads, which would only wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def check_gradients(network: nn.Module) -> None:
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)


# ---------------------------------------------------------------------- every space

SMALL: dict[str, dict[str, Any]] = {
    "autoformer-tiny": {"image_size": 32},
    "autoformer-small": {"image_size": 32},
    "autoformer-base": {"image_size": 32},
    "darts": {"channels": 4, "cells": 3, "drop_path_prob": 0.0},
    "mnasnet": {"channels": 8},
    "nas-bench-101": {"channels": 8, "stacks": 2, "modules": 1},
    "nas-bench-201": {"channels": 4, "cells": 1},
    "nas-bench-asr": {"filters": (8, 8, 8, 8), "cells": (1, 1, 1, 1), "groups": 2, "units": 6},
    "nas-bench-bert": {"vocabulary": 7, "embedding": 8},
    "nas-bench-graph": {"num_features": 5},
    "nas-bench-macro": {"channels": 4},
    "nas-bench-nlp": {"embedding": 6, "hidden": 8},
    "ofa-mobilenetv3": {"width": 0.5},
    "transnas-bench-101-micro": {"channels": 8},
    "transnas-bench-101-macro": {"channels": 4},
}
CLASSES = 5


def valid_samples(name: str, num: int, smallest: bool = False) -> list[Architecture]:
    """Random valid ones, or of 200 those with the fewest parameters."""
    space = get_space(name)
    rows = space.sample(200, torch.Generator().manual_seed(1))
    rows = rows[space.is_valid(rows)]
    if smallest:
        rows = rows[space.parameters(rows).argsort(stable=True)]
    return Architecture.from_batch(space, rows[:num])


def data_for(space: SearchSpace) -> tuple[torch.Tensor, ...]:
    """A batch of 4, of what the space's networks take."""
    torch.manual_seed(0)
    kind = next(iter(space.tasks.values())).kind
    if kind == "node-classification":
        return torch.randn(4, 5), torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])
    if kind in ("language-modelling", "text-classification"):
        return (torch.randint(CLASSES, (4, 7)),)
    if kind == "speech-recognition":
        return (torch.randn(4, 12, 80),)
    return (torch.randn(4, 3, 32, 32),)


def logits_of(network: nn.Module, data: tuple[torch.Tensor, ...]) -> torch.Tensor:
    out = network(*data)
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("name", list_spaces())
def test_networks_have_the_parameters_that_their_space_says(name: str) -> None:
    for architecture in valid_samples(name, 2):
        with torch.device("meta"):
            network = architecture.build()
        assert count(network) == architecture.cost().parameters, str(architecture)


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_small_networks_of_every_space_train(name: str) -> None:
    for architecture in valid_samples(name, 2, smallest=name.startswith("hw-gpt-bench")):
        torch.manual_seed(0)
        network = architecture.build(num_classes=CLASSES, **SMALL.get(name, {}))
        logits = logits_of(network, data_for(architecture.space))
        assert logits.shape[-1] == CLASSES and logits.isfinite().all() and logits.requires_grad
        (logits - torch.randn(logits.shape)).square().mean().backward()
        check_gradients(network)


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_state_of_every_network_goes_through_safetensors(tmp_path, name: str) -> None:
    (architecture,) = valid_samples(name, 1, smallest=name.startswith("hw-gpt-bench"))
    data = data_for(architecture.space)
    network, other = (architecture.build(num_classes=CLASSES, **SMALL.get(name, {})) for _ in range(2))
    with torch.no_grad():
        network(*data)  # moves the running statistics, which must be saved too
        save_file(network.state_dict(), tmp_path / "network.safetensors")
        network.eval(), other.eval()
        assert not torch.equal(logits_of(other, data), logits_of(network, data))
        other.load_state_dict(load_file(tmp_path / "network.safetensors"))
        assert torch.equal(logits_of(other, data), logits_of(network, data))
    assert {key for key, _ in network.named_parameters()} <= set(network.state_dict())


@pytest.mark.parametrize("name", list_spaces())
def test_options_of_every_network_are_checked(name: str) -> None:
    (architecture,) = valid_samples(name, 1)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        architecture.build(num_classes=0)
    with pytest.raises(ValueError, match=f"option of {name} networks: 'chanels'"):
        architecture.build(chanels=4)


# ---------------------------------------------------------------------- NAS-Bench-201


def cells_of_every_cost() -> Iterator[Architecture]:
    """One random cell for each number of 3x3 and of 1x1 convolutions."""
    generator = torch.Generator().manual_seed(0)
    free = torch.tensor([nas_bench_201.NONE, nas_bench_201.SKIP, nas_bench_201.POOL])
    for conv3, conv1 in itertools.product(range(7), repeat=2):
        if conv3 + conv1 <= 6:
            row = free[torch.randint(3, (6,), generator=generator)]
            row[:conv3] = nas_bench_201.CONV3
            row[conv3 : conv3 + conv1] = nas_bench_201.CONV1
            yield Architecture(CELLS, row[torch.randperm(6, generator=generator)].tolist())


def multiply_adds(network: nn.Module, images: torch.Tensor) -> int:
    """Counted while it runs: convolutions, and linear layers with their bias."""
    total = 0

    def add(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * (module.in_features + 1)

    for module in network.modules():
        module.register_forward_hook(add)
    with torch.no_grad():
        network.eval()(images)
    return total


def test_cell_network_has_the_parameters_that_the_space_says() -> None:
    architectures = list(cells_of_every_cost())
    assert len(architectures) == 28
    for architecture, task in zip(architectures, itertools.cycle(CELLS.tasks), strict=False):
        with torch.device("meta"):
            network = build(architecture, num_classes=CELLS.task(task).num_classes)
        assert count(network) == architecture.cost(task).parameters, (str(architecture), task)


@pytest.mark.parametrize("task", list(CELLS.tasks))
def test_cell_flops_are_those_of_a_forward_pass(task: str) -> None:
    scale = CELLS.task(task)
    images = torch.randn(1, 3, scale.image_size, scale.image_size)
    for architecture in itertools.islice(cells_of_every_cost(), 2, None, 5):
        network = build(architecture, num_classes=scale.num_classes)
        assert multiply_adds(network, images) == architecture.cost(task).flops, str(architecture)


def test_cell_network_trains_on_images() -> None:
    torch.manual_seed(0)
    text = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
    network = Architecture.from_string(CELLS, text).build(num_classes=7, channels=4, cells=2)
    logits = network(torch.randn(4, 3, 16, 16))
    assert logits.shape == (4, 7)
    F.cross_entropy(logits, torch.arange(4)).backward()
    check_gradients(network)
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_network_without_any_connection_runs() -> None:
    network = Architecture.from_string(CELLS, ALL_NONE).build(channels=4, cells=1)
    logits = network(torch.randn(3, 3, 8, 8))
    logits.sum().backward()
    check_gradients(network)
    assert logits.shape == (3, 10)
    torch.testing.assert_close(logits[0], logits[1])  # nothing of the images arrives


def test_cell_sums_incoming_edges() -> None:
    ones = torch.ones(1, 2, 5, 5)
    for name in ("skip_connect", "avg_pool_3x3"):  # the border is no part of a mean, so both keep ones
        for slots, expected in [((0, 1, 2, 3, 4, 5), 4), ((0, 4), 1), ((0, 2, 5, 3), 2), ((1, 4), 0)]:
            used = [name if slot in slots else "none" for slot in range(6)]
            torch.testing.assert_close(cells.Cell(used, 2)(ones), expected * ones)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_classes": 0}, "num_classes"), ({"cells": 0}, "cells"), ({"chanels": 4}, "Did you mean 'channels'")],
)
def test_wrong_scale_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(Architecture.from_string(CELLS, ALL_NONE), **options)


def test_space_without_networks_says_so() -> None:
    space = SearchSpace("toy", [Slot("a", "operation", nas_bench_201.OPERATIONS, (0,), 1)], {}, "none")
    with pytest.raises(NotImplementedError, match="toy has no networks"):
        build(Architecture(space, [1]))


# ---------------------------------------------------------------------- NAS-Bench-Graph


@pytest.fixture
def edges() -> torch.Tensor:
    """A directed graph of 12 nodes; nobody points at node 11."""
    torch.manual_seed(0)
    adjacency = torch.rand(12, 12) < 0.3
    adjacency.fill_diagonal_(False)
    adjacency[:, 11] = False
    return adjacency.nonzero().T


def sampled_graph_networks(num: int) -> list[Architecture]:
    """Random ones, canonical or not, and the one without operations."""
    rows = GRAPHS.sample(num, generator=torch.Generator().manual_seed(1))
    return [*Architecture.from_batch(GRAPHS, rows), Architecture.from_string(GRAPHS, "0123:skip,skip,skip,skip")]


@pytest.mark.parametrize("name", [choice.name for choice in nas_bench_graph.OPERATIONS])
def test_graph_operation_agrees_with_dense_matrices(name: str, edges: torch.Tensor) -> None:
    x = torch.randn(12, 5)
    layer: Any = graph.operation(name, 5, 8)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    a = torch.zeros(12, 12)
    a[edges[1], edges[0]] = 1
    loops = a + torch.eye(12)
    degree = a.sum(1)
    inverse_root = torch.diag(torch.where(degree > 0, degree**-0.5, 0))
    laplacian = torch.eye(12) - inverse_root @ a @ inverse_root
    inverse_root_loops = torch.diag((degree + 1) ** -0.5)

    if name == "skip":
        expected = x
    elif name == "fc":
        expected = layer.linear(x)
    else:
        h = x @ layer.neighbours.weight.T
        if name == "gat":
            expected = torch.zeros(12, 2, 4)
            for node, head in itertools.product(range(12), range(2)):
                part = h[:, 4 * head : 4 * head + 4]
                score = F.leaky_relu(
                    part @ layer.attention[head, :, 0] + part[node] @ layer.attention[head, :, 1], 0.2
                )
                expected[node, head] = score.masked_fill(loops[node] == 0, -torch.inf).softmax(0) @ part
            expected = expected.flatten(1) + layer.bias
        else:
            mix = {
                "gcn": inverse_root_loops @ loops @ inverse_root_loops,
                "gin": loops,
                "cheb": laplacian - torch.eye(12),
                "sage": a / degree.clamp(min=1)[:, None],
                "arma": inverse_root @ a @ inverse_root,
                "graph": a,
            }[name]
            expected = mix @ h + layer.bias
            if layer.root is not None:
                expected = expected + layer.root(x)
            if name == "arma":
                expected = expected.clamp(min=0)
    with_loop = torch.cat([edges, torch.tensor([[3], [3]])], dim=1)  # the network adds self-loops where they belong
    torch.testing.assert_close(layer(x, graph.Graph(with_loop, x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [choice.name for choice in nas_bench_graph.OPERATIONS])
def test_graph_network_trains(name: str, edges: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = Architecture.from_string(GRAPHS, f"0112:{name},{name},gcn,{name}").build(
        task="computers", num_features=6
    )
    features = torch.randn(12, 6, requires_grad=True)
    logits = network(features, edges)
    assert logits.shape == (12, 10)
    F.cross_entropy(logits, torch.arange(12) % 10).backward()
    check_gradients(network)
    assert features.grad is not None and features.grad.isfinite().all() and features.grad.any()


@pytest.mark.parametrize("task", ["pubmed", "cs", "computers"])
def test_graph_network_joins_its_operations(task: str, edges: torch.Tensor) -> None:
    """Raw features go straight into an operation, hidden ones through normalisation and ReLU."""
    torch.manual_seed(0)
    architecture = Architecture.from_string(GRAPHS, "0011:gcn,sage,fc,skip")
    assert str(architecture.canonical()) == str(architecture)  # so that its nodes are where the text has them
    network: Any = build(architecture, 3, task=task, num_features=7)
    features = torch.randn(12, 7)
    for _ in range(3):
        network(features, edges)  # so that the running statistics do something
    network.eval()
    where = graph.Graph(edges, features)
    first, second, third, _ = network.operations
    norm = network.norms
    scale = nas_bench_graph.SCALES[task]
    start = network.before(features) if scale.pre else features
    a = first(norm[0](start).relu() if scale.pre else start, where)
    b = second(norm[1](start).relu() if scale.pre else start, where)
    c = third(norm[2](a).relu(), where)
    d = norm[3](a).relu()
    expected = network.collect(torch.cat([b, c, d], dim=1).relu())
    if scale.post:
        expected = network.after(expected)
    torch.testing.assert_close(network(features, edges), expected)


@pytest.mark.parametrize("task", ["pubmed", "computers"])
def test_graph_network_does_not_depend_on_the_order_of_nodes(task: str, edges: torch.Tensor) -> None:
    torch.manual_seed(0)
    order = torch.randperm(12)
    place = order.argsort()  # where each old node stands
    for operations in ("gat,gcn,gin,cheb", "sage,arma,graph,fc", "skip,gat,skip,arma"):
        network = Architecture.from_string(GRAPHS, f"0012:{operations}").build(3, task=task, num_features=7).eval()
        features = torch.randn(12, 7)
        logits = network(features, edges)
        shuffled = place[edges][:, torch.randperm(edges.shape[1])]
        torch.testing.assert_close(network(features[order], shuffled), logits[order])
        assert not torch.allclose(network(features[order], edges), logits[order])  # edges do matter


@pytest.mark.parametrize("task", list(GRAPHS.tasks))
def test_graph_network_has_the_parameters_that_the_space_says(task: str) -> None:
    for architecture in sampled_graph_networks(30):
        with torch.device("meta"):
            network = architecture.build(task=task)
        assert count(network) == architecture.cost(task).parameters, str(architecture)


@pytest.mark.parametrize("task", list(GRAPHS.tasks))
def test_graph_parameters_are_those_of_the_benchmark(task: str) -> None:
    pytest.importorskip("nas_bench_graph")
    table = load_benchmark("nas-bench-graph").with_format("torch")
    published = table[f"{task}_parameters"][:]
    measured = published.isfinite()
    counted = GRAPHS.parameters(GRAPHS.from_strings(table["architecture"][:]), task)
    wrong = (counted[measured] != published[measured].round().long()).sum()
    # The benchmark's numbers are means of three runs. In these rows of physics the three were of different widths.
    assert wrong == (1567 if task == "physics" else 0)
    assert measured.sum() == (2021 if task == "proteins" else 26206)


class MultiplyAdds(TorchDispatchMode):
    """Counts matrix products and what is added up over edges, while networks run."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            self.total += args[0].numel() * args[1].shape[-1]
        elif func == torch.ops.aten.addmm.default:
            self.total += args[1].numel() * args[2].shape[-1]
        elif func == torch.ops.aten.index_add.default and args[3][0].numel() > graph.HEADS:  # not the softmax's total
            self.total += args[3].numel()
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("task", ["pubmed", "computers", "arxiv", "proteins"])
def test_graph_flops_are_those_of_a_forward_pass(task: str, edges: torch.Tensor, monkeypatch) -> None:
    scale = replace(nas_bench_graph.SCALES[task], nodes=12, edges=edges.shape[1])
    monkeypatch.setitem(nas_bench_graph.SCALES, task, scale)
    features = torch.randn(12, GRAPHS.task(task).num_features)
    for architecture in sampled_graph_networks(30):
        network = architecture.build(task=task).eval()
        with torch.no_grad(), MultiplyAdds() as counter:
            network(features, edges)
        # gin adds a node's own features without a sum over edges
        own = str(architecture.canonical()).count("gin") + str(architecture.canonical()).count("gcn")
        assert counter.total + own * 12 * scale.width == architecture.cost(task).flops, str(architecture)


def test_edges_of_a_wrong_shape_are_refused(edges: torch.Tensor) -> None:
    network = build(Architecture.from_string(GRAPHS, "0000:gcn,gcn,gcn,gcn"), task="proteins")
    with pytest.raises(ValueError, match=r"\(2, edges\)"):
        network(torch.randn(12, 8), edges.T)
