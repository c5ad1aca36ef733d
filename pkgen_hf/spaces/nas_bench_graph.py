"""NAS-Bench-Graph (Qin et al., NeurIPS 2022): graph neural networks on 9 data sets.

Four computing nodes; node 1 reads the input (0), each later node reads the input or an earlier node, and carries one
of 9 operations. Nodes that nobody reads are concatenated into the output. Up to isomorphism there are 9 topologies and
26,206 measured networks. The string is the predecessors of the four nodes and their operations:
``0112:gcn,gin,fc,cheb``. Read is also what makes one in the authors' code, ``Arch([0, 1, 1, 2], ["gcn", ...])``.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from .base import SearchSpace
from .benchmark import Origin, Package, bibtex
from .literals import arguments, literal
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .tasks import Task, TaskLike
from .weight_matrices import Matrix, MatrixTable, WeightMatrices, ravel

OPERATIONS = (
    Choice("gat", "graph-convolution", kernel=1, aggregation="attention"),
    Choice("gcn", "graph-convolution", kernel=1, aggregation="normalized"),
    Choice("gin", "graph-convolution", kernel=1, aggregation="sum"),
    Choice("cheb", "graph-convolution", kernel=2, aggregation="spectral"),
    Choice("sage", "graph-convolution", kernel=1, aggregation="mean", root_weight=True),
    Choice("arma", "graph-convolution", kernel=1, aggregation="normalized", root_weight=True),
    Choice("graph", "graph-convolution", kernel=1, aggregation="sum", root_weight=True),
    Choice("fc", "linear"),
    Choice("skip", "identity"),
)
SKIP = len(OPERATIONS) - 1
TOPOLOGIES = (
    (0, 0, 0, 0),
    (0, 0, 0, 1),
    (0, 0, 1, 1),
    (0, 0, 1, 2),
    (0, 0, 1, 3),
    (0, 1, 1, 1),
    (0, 1, 1, 2),
    (0, 1, 2, 2),
    (0, 1, 2, 3),
)
NODES = range(1, 5)
HEADS = 2  # of attention
TASKS = {
    name: Task(kind, chance_score=chance_score, num_classes=classes, num_features=features)
    for name, kind, chance_score, classes, features in [
        ("cora", "node-classification", 100 / 7, 7, 1433),
        ("citeseer", "node-classification", 100 / 6, 6, 3703),
        ("pubmed", "node-classification", 100 / 3, 3, 500),
        ("cs", "node-classification", 100 / 15, 15, 6805),
        ("physics", "node-classification", 100 / 5, 5, 8415),
        ("photo", "node-classification", 100 / 8, 8, 745),
        ("computers", "node-classification", 100 / 10, 10, 767),
        ("arxiv", "node-classification", 100 / 40, 40, 128),
        ("proteins", "node-classification", 50.0, 112, 8),  # area under the curve of 112 binary labels
    ]
}
ORIGIN = Origin(
    "NAS-Bench-Graph",
    "Scores of graph neural networks on nine graphs: accuracies in percent, and for proteins the area under the "
    "curve in percent, which was not measured everywhere.",
    "https://github.com/THUMNLab/NAS-Bench-Graph",
    "apache-2.0",
    bibtex(
        "inproceedings",
        "qin2022nas",
        "{NAS-Bench-Graph}: Benchmarking Graph Neural Architecture Search",
        "Qin, Yijian and Zhang, Ziwei and Wang, Xin and Zhang, Zeyang and Zhu, Wenwu",
        "Advances in Neural Information Processing Systems",
        2022,
    ),
    whole=26_206,
    partial=("proteins",),
)


@dataclass(frozen=True)
class GraphScale:
    """What the benchmark fixes for all networks on one data set, and the size of its graph.

    Parameters
    ----------
    width
        Of hidden features.
    pre, post
        Whether a linear layer stands before the first node, and another after the one that collects the leaves.
    dropout
        Probability.
    nodes, edges
        Of the graph; an undirected edge counts twice.
    """

    width: int
    pre: bool
    post: bool
    dropout: float
    nodes: int
    edges: int


# Widths and layers follow from the published numbers of parameters, which they explain exactly (but for some rows of
# physics, means over runs of different widths). Dropout is the one the authors trained with.
SCALES = {
    "cora": GraphScale(256, False, True, 0.7, 2708, 10556),
    "citeseer": GraphScale(256, False, True, 0.7, 3327, 9104),
    "pubmed": GraphScale(128, False, False, 0.3, 19717, 88648),
    "cs": GraphScale(128, True, False, 0.6, 18333, 163788),
    "physics": GraphScale(256, True, False, 0.4, 34493, 495924),
    "photo": GraphScale(128, False, False, 0.7, 7650, 238162),
    "computers": GraphScale(64, True, True, 0.1, 13752, 491722),
    "arxiv": GraphScale(128, False, True, 0.2, 169343, 1166243),
    "proteins": GraphScale(256, True, True, 0.0, 132534, 79122504),
}
# What each operation holds: linear maps from the input to the hidden width, vectors of hidden width (biases and
# attention), maps from the hidden width to itself (ARMA's weights for a second step, there but unused). What it does
# besides the linear maps, in multiples of the hidden width: messages along each edge, messages of each node to itself,
# dot products in each node.
_COSTS = {
    "gat": (1, 3, 0, 1, 1, 2),
    "gcn": (1, 1, 0, 1, 1, 0),
    "gin": (1, 1, 0, 1, 1, 0),
    "cheb": (2, 1, 0, 1, 0, 0),
    "sage": (2, 1, 0, 1, 0, 0),
    "arma": (2, 1, 1, 1, 0, 0),
    "graph": (2, 1, 0, 1, 0, 0),
    "fc": (1, 1, 0, 0, 0, 0),
    "skip": (0, 0, 0, 0, 0, 0),
}
COSTS = torch.tensor([_COSTS[choice.name] for choice in OPERATIONS], device="cpu")
_STRING = re.compile(r"(\d)(\d)(\d)(\d):([^,]+),([^,]+),([^,]+),([^,]+)")


def _record(text: str) -> tuple[list[str], list[str]]:
    """Predecessors and operations of ``Arch([...], [...])``, or of just the two lists."""
    if "[" not in text:
        raise ValueError("four digits, a colon and four operations are needed")
    value = list(arguments(text, "Arch", ("lk", "op")).values()) if "Arch" in text else literal(text)
    match value:
        case [[_, _, _, _] as links, [str(), str(), str(), str()] as names]:
            if all(type(link) is int and link >= 0 for link in links):
                return [str(link) for link in links], names
    raise ValueError("four numbers and four operations are needed")


def _reduce(parents: tuple[int, ...], skips: tuple[bool, ...]) -> list[tuple[int, ...]]:
    """Canonical relabelings of one topology in which some nodes are skip connections.

    A skip connection does nothing where another node reads it, where it is its parent's only child, or where it
    passes the raw input to the output; those are gathered as a chain at the input, as the benchmark stores them.

    Returns every isomorphism onto one of `TOPOLOGIES`, each as (topology, old node at new place 1, ... 4).
    """
    parent = {v: parents[v - 1] for v in NODES}
    skip = {v for v in NODES if skips[v - 1]}
    chain: list[int] = []
    for v in sorted(skip, reverse=True):  # children are numbered after their parents
        ancestors, u = [], parent[v]
        while u:
            ancestors.append(u)
            u = parent[u]
        has_child = v in parent.values()
        has_sibling = any(u != v and parent[u] == parent[v] for u in parent)
        if has_child or not has_sibling or skip.issuperset(ancestors):
            above = parent.pop(v)
            parent = {u: above if p == v else p for u, p in parent.items()}
            chain.append(v)
    root = 0
    for v in chain:
        parent = {u: v if p == root else p for u, p in parent.items()}
        parent[v] = root
        root = v
    return _relabelings(tuple(parent[v] for v in NODES))


@cache
def _relabelings(parents: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Isomorphisms of a tree, given by the parents of nodes 1 to 4, onto `TOPOLOGIES`; see `_reduce`."""
    found = []
    for new in itertools.permutations(NODES):  # new[i]: the old node put at place i + 1
        place = {0: 0} | {old: i for i, old in enumerate(new, 1)}
        links = tuple(place[parents[old - 1]] for old in new)
        if links in TOPOLOGIES:
            found.append((TOPOLOGIES.index(links), *new))
    return found


@cache
@constant
def _matrices(data_set: str, classes: int, features: int) -> tuple[MatrixTable, torch.Tensor]:
    """Weight matrices of networks for a data set, and widths of the input of the layer that collects the leaves.

    They are those of operations on hidden and on raw features, ``(operations, 2)``, and after them of the last layers
    for each of these widths; of the layer before the cell.
    """
    scale = SCALES[data_set]
    width, raw = scale.width, scale.width if scale.pre else features
    parts: list[list[Matrix]] = []
    for name, (maps, _, squares, *_) in _COSTS.items():
        for inputs in (width, raw):
            map_ = (width // HEADS, inputs, HEADS) if name == "gat" else (width, inputs, maps)
            parts.append([matrix for matrix in (map_, (width, width, squares)) if maps and matrix[2]])
    leaves = sorted({width * hidden + raw * (n - hidden) for n in NODES for hidden in range(n + 1)})
    for inputs in leaves:
        parts.append([(width, inputs, 1), (classes, width, 1)] if scale.post else [(classes, inputs, 1)])
    return MatrixTable(parts, [(width, features, 1)] if scale.pre else []), torch.tensor(leaves)


class NASBenchGraphSpace(SearchSpace):
    """Three predecessors and four operations; the all-skip network is the only invalid one.

    `canonical` writes each network in the form of its benchmark key: one of the 9 topologies, skip connections that do
    nothing gathered at the input, and operations sorted where nodes may be exchanged.
    """

    summary = "graph network, 4 operations"
    origin = ORIGIN
    package = Package("nas-bench-graph", "nas_bench_graph", "light/*.bench")

    def __init__(self) -> None:
        slots = []
        for node in NODES:
            reads = tuple(range(node))
            if node > 1:
                choices = tuple(Choice(str(r), "predecessor", level=r / (node - 1)) for r in reads)
                slots.append(Slot(f"input of {node}", "connection", choices, reads, node))
            slots.append(Slot(f"node {node}", "operation", OPERATIONS, reads, node))
        super().__init__("nas-bench-graph", slots, TASKS, null_choice="skip")

    @cached_property
    def operation_slots(self) -> list[int]:
        """Slots of the four operations, in the order of nodes."""
        return [s for s, slot in enumerate(self.slots) if slot.kind == "operation"]

    @cached_property
    def connection_slots(self) -> list[int]:
        """Slots of the predecessors of nodes 2, 3 and 4."""
        return [s for s, slot in enumerate(self.slots) if slot.kind == "connection"]

    def from_benchmark_keys(self, keys: torch.Tensor) -> torch.Tensor:
        """Indices ``(batch, slots)`` of the benchmark's keys: topology and four operations as decimal digits."""
        digits = torch.stack([keys // 10**p % 10 for p in range(4, -1, -1)], dim=1)
        return self._rows(torch.tensor(TOPOLOGIES, device=keys.device)[digits[:, 0]], digits[:, 1:])

    def _rows(self, links: torch.Tensor, operations: torch.Tensor) -> torch.Tensor:
        rows = torch.empty(len(links), self.num_slots, dtype=torch.long, device=links.device)
        rows[:, self.connection_slots] = links[:, 1:]
        rows[:, self.operation_slots] = operations
        return rows

    @cached_property
    @constant
    def _canonical_code(self) -> torch.Tensor:
        """Code of the canonical form of every encoding, ``LongTensor (num_encodings,)``."""
        radix = self.codes(torch.eye(self.num_slots, dtype=torch.long)).numpy()  # codes are linear in choices
        links, operations = radix[self.connection_slots], radix[self.operation_slots]
        topologies = np.array(TOPOLOGIES)
        table = np.empty(self.num_encodings, dtype=np.int64)
        for skips in itertools.product((False, True), repeat=4):
            choices = [[SKIP] if skip else range(SKIP) for skip in skips]
            rows = np.array(list(itertools.product(*choices))).T  # (4, all operations with these skips)
            for parents in itertools.product(range(1), range(2), range(3), range(4)):
                forms = np.array(_reduce(parents, skips))
                weights = operations[forms[:, 1:].argsort(1)]  # of each old node's operation, by its new place
                codes = weights @ rows + (topologies[forms[:, :1], 1:] @ links)
                table[operations @ rows + links @ parents[1:]] = codes.min(0)
        return torch.from_numpy(table)

    @cached_property
    def _all(self) -> torch.Tensor:
        return self.all_indices()

    @cached_property
    def num_architectures(self) -> int:
        return self.count_by_enumeration()

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        codes = self._canonical_code[self.codes(indices).cpu()]
        return self._all[codes].to(indices.device)

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        return (indices[:, self.operation_slots] != SKIP).any(1)

    def _layers(self, indices: torch.Tensor, task: TaskLike) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the four nodes cost and how wide they are, in the canonical form, which the benchmark trained.

        Without a layer before the cell, the input and skip connections from it are as wide as the raw features.

        Returns
        -------
        Operations and input widths, ``(batch, 4)`` each, and the width of all leaves ``(batch,)``.
        """
        rows = self.canonical(indices)
        operations = rows[:, self.operation_slots]
        links = torch.cat([torch.zeros_like(rows[:, :1]), rows[:, self.connection_slots]], dim=1)
        scale = SCALES[self.like(task)]
        widths = torch.full_like(rows[:, :1], scale.width if scale.pre else self.task(task).num_features)
        inputs = widths[:, :0]
        for node in NODES:
            read = widths.gather(1, links[:, node - 1 : node])
            written = torch.where(operations[:, node - 1 : node] == SKIP, read, scale.width)
            inputs, widths = torch.cat([inputs, read], dim=1), torch.cat([widths, written], dim=1)
        is_leaf = torch.stack([(links != node).all(1) for node in NODES], dim=1)
        return operations, inputs, (widths[:, 1:] * is_leaf).sum(1)

    def scale(self, task: TaskLike) -> dict[str, Any]:
        return {"task": self.like(task)}

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact, as the benchmark counts them: operations, a batch normalisation for each node, and linear layers."""
        task = task or "cora"
        data, scale = self.task(task), SCALES[self.like(task)]
        operations, inputs, leaves = self._layers(indices, task)
        maps, vectors, squares = COSTS.to(indices.device)[operations][..., :3].unbind(-1)
        total = 2 * scale.width * len(NODES) + (scale.width * (maps * inputs + vectors + squares * scale.width)).sum(1)
        if scale.pre:
            total += scale.width * (data.num_features + 1)
        if scale.post:
            return total + scale.width * (leaves + 1) + data.num_classes * (scale.width + 1)
        return total + data.num_classes * (leaves + 1)

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of one forward pass over the whole graph.

        Counted are linear maps, nodes x inputs x outputs each; messages, edges x hidden width for each graph
        convolution, and nodes x hidden width more where each node sends itself one (gat, gcn, gin); and the two dot
        products of attention, 2 x nodes x hidden width. Messages have the hidden width because features are mapped
        before they are sent. Biases, normalisations, activations and attention's softmax are not counted. For a task
        of the user's own the graph is as large as that of the first data set of its kind.
        """
        task = task or "cora"
        data, scale = self.task(task), SCALES[self.like(task)]
        operations, inputs, leaves = self._layers(indices, task)
        costs = COSTS.to(indices.device)[operations]
        maps, along_edges, to_itself, products = costs[..., [0, 3, 4, 5]].unbind(-1)
        per_node = (scale.width * (maps * inputs + to_itself + products)).sum(1)
        if scale.pre:
            per_node += scale.width * data.num_features
        if scale.post:
            per_node += scale.width * (leaves + data.num_classes)
        else:
            per_node += leaves * data.num_classes
        return scale.nodes * per_node + scale.edges * scale.width * along_edges.sum(1)

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        task = task or "cora"
        data, like = self.task(task), self.like(task)
        table, widths = _matrices(like, data.num_classes, data.num_features)
        operations, inputs, leaves = self._layers(indices, task)
        nodes = ravel((len(OPERATIONS), 2), operations, (inputs != SCALES[like].width).long())
        last = 2 * len(OPERATIONS) + torch.searchsorted(widths.to(leaves.device), leaves)
        return table.total(torch.cat([nodes, last[:, None]], dim=1))

    def split_string(self, text: str) -> list[str]:
        match = _STRING.fullmatch(text)
        if match is not None:
            links, names = list(match.groups()[:4]), list(match.groups()[4:])
        else:
            try:
                links, names = _record(text)
            except ValueError as error:
                raise self.malformed(text, str(error)) from error
        if links[0] != "0":
            raise self.malformed(text, f"node 1 reads the input, which is 0, not {links[0]}")
        return [names[0], links[1], names[1], links[2], names[2], links[3], names[3]]

    def join_names(self, names: np.ndarray) -> np.ndarray:
        links = "0" + names[:, 1] + names[:, 3] + names[:, 5]
        return links + ":" + names[:, 0] + "," + names[:, 2] + "," + names[:, 4] + "," + names[:, 6]


register_built_in(NASBenchGraphSpace())
