"""NAS-Bench-Graph networks (Qin et al., NeurIPS 2022) in plain torch: graph convolutions on a list of edges.

A graph convolution maps the node features first and passes messages after, which are of the hidden width then; as
both are linear, this is the same function as the other order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import torch
from torch import nn
from torch.nn import functional as F

from ..spaces.nas_bench_graph import HEADS, SCALES, GraphScale
from ..spaces.protocols import ArchitectureLike


class Graph:
    """Edges of one graph, without self-loops, and the degrees of its nodes.

    Parameters
    ----------
    edge_index
        ``LongTensor (2, edges)``: sources and targets. Undirected edges are listed in both directions.
    features
        ``(nodes, ...)``, which gives the number of nodes and the type of `degree`.
    """

    def __init__(self, edge_index: torch.Tensor, features: torch.Tensor) -> None:
        if edge_index.ndim != 2 or edge_index.shape[0] != 2:
            raise ValueError(f"edge_index must have the shape (2, edges), got {tuple(edge_index.shape)}")
        self.source, self.target = edge_index[:, edge_index[0] != edge_index[1]]
        self.nodes = len(features)
        self.dtype = features.dtype

    @cached_property
    def degree(self) -> torch.Tensor:
        """Incoming edges of each node, ``(nodes, 1)``."""
        return torch.bincount(self.target, minlength=self.nodes).to(self.dtype)[:, None]

    @cached_property
    def rsqrt_degree(self) -> torch.Tensor:
        """One over the root of the degree, 0 for a node without edges, ``(nodes, 1)``."""
        return torch.where(self.degree > 0, self.degree.rsqrt(), 0)

    def sum(self, features: torch.Tensor) -> torch.Tensor:
        """Sum of the neighbours' features, ``(nodes, width)``."""
        return torch.zeros_like(features).index_add(0, self.target, features[self.source])


def _gcn(features: torch.Tensor, graph: Graph) -> torch.Tensor:
    scale = (graph.degree + 1).rsqrt()  # the self-loop is an edge too
    return scale * (graph.sum(scale * features) + scale * features)


def _gin(features: torch.Tensor, graph: Graph) -> torch.Tensor:
    return graph.sum(features) + features


def _normalized(features: torch.Tensor, graph: Graph) -> torch.Tensor:
    return graph.rsqrt_degree * graph.sum(graph.rsqrt_degree * features)


def _cheb(features: torch.Tensor, graph: Graph) -> torch.Tensor:
    """The Laplacian minus the identity: the first Chebyshev polynomial for a largest eigenvalue of 2."""
    return -_normalized(features, graph)


def _mean(features: torch.Tensor, graph: Graph) -> torch.Tensor:
    return graph.sum(features) / graph.degree.clamp(min=1)


# How the mapped features of the neighbours are combined, and whether the node itself has a weight matrix of its own.
_PROPAGATION: dict[str, tuple[Callable[[torch.Tensor, Graph], torch.Tensor], bool]] = {
    "gcn": (_gcn, False),
    "gin": (_gin, False),
    "cheb": (_cheb, True),
    "sage": (_mean, True),
    "arma": (_normalized, True),
    "graph": (lambda features, graph: graph.sum(features), True),
}


class GraphConvolution(nn.Module):
    """Every convolution that combines neighbours with fixed coefficients.

    Parameters
    ----------
    name
        A key of `_PROPAGATION`.
    inputs, outputs
        Widths.
    """

    def __init__(self, name: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.propagate, has_root = _PROPAGATION[name]
        self.neighbours = nn.Linear(inputs, outputs, bias=False)
        self.root = nn.Linear(inputs, outputs, bias=False) if has_root else None
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, features: torch.Tensor, graph: Graph) -> torch.Tensor:
        """``(nodes, inputs)`` to ``(nodes, outputs)``."""
        result = self.propagate(self.neighbours(features), graph) + self.bias
        return result if self.root is None else result + self.root(features)


class ARMAConvolution(GraphConvolution):
    """One stack and one step of the ARMA filter of Bianchi et al. (2019)."""

    def __init__(self, name: str, inputs: int, outputs: int) -> None:
        super().__init__(name, inputs, outputs)
        # Weights of the second step on, which a filter of one step does not use: the benchmark's networks hold them
        # and count them among their parameters.
        self.recurrent = nn.Linear(outputs, outputs, bias=False)

    def forward(self, features: torch.Tensor, graph: Graph) -> torch.Tensor:
        """``(nodes, inputs)`` to ``(nodes, outputs)``, not negative."""
        return F.relu(super().forward(features, graph))


class GraphAttention(nn.Module):
    """Attention over a node's neighbours and itself (Velickovic et al., 2018) with `HEADS` heads side by side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.neighbours = nn.Linear(inputs, outputs, bias=False)
        self.attention = nn.Parameter(torch.empty(HEADS, outputs // HEADS, 2))  # for the source and the target
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.attention)

    def forward(self, features: torch.Tensor, graph: Graph) -> torch.Tensor:
        """``(nodes, inputs)`` to ``(nodes, outputs)``."""
        loops = torch.arange(graph.nodes, device=features.device)
        source, target = torch.cat([graph.source, loops]), torch.cat([graph.target, loops])
        mapped = self.neighbours(features).unflatten(1, (HEADS, -1))
        of_source, of_target = torch.einsum("nhw,hwk->knh", mapped, self.attention)
        scores = F.leaky_relu(of_source[source] + of_target[target], 0.2)  # (edges, heads)
        # The maximum is taken away for the range of exp alone: it cancels, so no gradient need flow through it.
        index = target[:, None].expand_as(scores)
        largest = torch.full_like(of_target, -torch.inf).scatter_reduce(0, index, scores.detach(), "amax")
        weights = (scores - largest[target]).exp()
        total = torch.zeros_like(of_target).index_add(0, target, weights)
        messages = (weights / total[target])[:, :, None] * mapped[source]
        result = torch.zeros_like(mapped).index_add(0, target, messages)
        return result.flatten(1) + self.bias


class FullyConnected(nn.Module):
    """A linear map of each node by itself."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, features: torch.Tensor, graph: Graph) -> torch.Tensor:
        """``(nodes, inputs)`` to ``(nodes, outputs)``."""
        return self.linear(features)


class Skip(nn.Module):
    """Nothing."""

    def forward(self, features: torch.Tensor, graph: Graph) -> torch.Tensor:
        """`features` as they are."""
        return features


def operation(name: str, inputs: int, outputs: int) -> nn.Module:
    """The operation called `name`; ``skip`` keeps the width `inputs`."""
    if name == "skip":
        return Skip()
    if name == "fc":
        return FullyConnected(inputs, outputs)
    if name == "gat":
        return GraphAttention(inputs, outputs)
    if name == "arma":
        return ARMAConvolution(name, inputs, outputs)
    return GraphConvolution(name, inputs, outputs)


class GraphNetwork(nn.Module):
    """Four nodes of operations between linear layers; the nodes that nobody reads are concatenated into the output.

    An operation on hidden features comes after batch normalisation, ReLU and dropout, one on raw features does not.

    Parameters
    ----------
    links
        Predecessor of each of the four nodes, 0 for the input.
    names
        Operation of each node.
    num_features, num_classes
        Widths of input and output.
    scale
        Hidden width, linear layers before and after, and dropout.
    """

    def __init__(
        self, links: Sequence[int], names: Sequence[str], num_features: int, num_classes: int, scale: GraphScale
    ) -> None:
        super().__init__()
        self.links = tuple(links)
        self.leaves = [node for node in range(1, 1 + len(links)) if node not in links]
        self.dropout = nn.Dropout(scale.dropout)
        self.before = nn.Linear(num_features, scale.width) if scale.pre else None
        self.operations = nn.ModuleList()
        # One for each node as in the benchmark, which counts those of nodes that read raw features, too.
        self.norms = nn.ModuleList(nn.BatchNorm1d(scale.width) for _ in links)
        self.is_raw = [not scale.pre]
        for link, name in zip(links, names, strict=True):
            inputs = num_features if self.is_raw[link] else scale.width
            self.operations.append(operation(name, inputs, scale.width))
            self.is_raw.append(self.is_raw[link] and name == "skip")
        collected = sum(num_features if self.is_raw[node] else scale.width for node in self.leaves)
        self.collect = nn.Linear(collected, scale.width if scale.post else num_classes)
        self.after = nn.Linear(scale.width, num_classes) if scale.post else None

    def forward(self, features: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        """Logits of every node.

        Parameters
        ----------
        features
            ``(nodes, num_features)``
        edge_index
            ``LongTensor (2, edges)``, sources and targets; self-loops are dropped, as operations add their own.

        Returns
        -------
        Tensor (nodes, num_classes)
        """
        graph = Graph(edge_index, features)
        states = [self.dropout(features)]
        if self.before is not None:
            states[0] = self.before(states[0])
        for link, layer, norm in zip(self.links, self.operations, self.norms, strict=True):
            inputs = states[link]
            if not self.is_raw[link]:
                inputs = self.dropout(F.relu(norm(inputs)))
            states.append(layer(inputs, graph))
        logits = self.collect(F.relu(torch.cat([states[node] for node in self.leaves], dim=1)))
        return logits if self.after is None else self.after(logits)


def plan(
    architecture: ArchitectureLike, num_classes: int | None = None, task: str = "cora", num_features: int | None = None
) -> partial[GraphNetwork]:
    """The network that NAS-Bench-Graph trained for an architecture, which is that of its canonical form.

    Parameters
    ----------
    architecture
        Of the space ``nas-bench-graph``.
    num_classes, num_features
        Widths of output and input; by default those of the task.
    task
        Whose hidden width, linear layers before and after, and dropout to use.
    """
    space = architecture.space
    data = space.task(task)
    with torch.device("cpu"):  # so that the network itself may be built on the meta device
        (text,) = space.to_strings(space.canonical(architecture.rows))
        links, operations = text.split(":")
    return partial(
        GraphNetwork,
        links=[int(link) for link in links],
        names=operations.split(","),
        num_features=num_features or data.num_features,
        num_classes=num_classes or data.num_classes,
        scale=SCALES[task],
    )
