"""Layers of a directed acyclic graph and the order of what is in them, with few crossings (Sugiyama et al., 1981)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SEPARATION = 0.18  # inches between what stands side by side
PASSAGE = 0.1  # inches that an edge takes in a layer that it passes
SWEEPS = 12  # through all layers, to and fro, to order them; twice as many to place them
PATIENCE = 4  # sweeps without fewer crossings, after which ordering stops
STRAIGHTNESS = 4.0  # weight of an edge's passage beside that of a node: edges that pass are to be straight


@dataclass
class Layers:
    """Where items stand: first the graph's nodes, by number, then the places where edges pass a layer.

    `layer` and `across` (inches) say where each item is, `layers` which items there are in each layer, in order, and
    `hops` which are joined from one layer to the next. `passages` are the places by the node that the edges come from
    and the layer.
    """

    layer: list[int]
    layers: list[list[int]]
    hops: list[tuple[int, int]]
    passages: dict[tuple[int, int], int]
    across: np.ndarray

    def way(self, source: int, target: int) -> list[int]:
        """The items on an edge's way, with both ends."""
        between = range(self.layer[source] + 1, self.layer[target])
        return [source, *(self.passages[source, layer] for layer in between), target]


def arrange_layers(extents: np.ndarray, edges: Sequence[tuple[int, int]], late: set[int]) -> Layers:
    """Put nodes in layers, each behind all that it reads.

    Parameters
    ----------
    extents
        Inches that each node takes in its layer, ``(nodes,)``.
    edges
        Pairs of nodes, without circles.
    late
        Nodes that stand in the layer right before the first that reads them, rather than as early as they can.
    """
    layers = _with_passages(_layer_of_each(len(extents), edges, late), edges)
    _order(layers)
    passages = np.full(len(layers.layer) - len(extents), PASSAGE + SEPARATION / 2)
    _spread(layers, np.concatenate([extents + SEPARATION, passages]), len(extents))
    return layers


def _layer_of_each(number: int, edges: Sequence[tuple[int, int]], late: set[int]) -> list[int]:
    layer = [0] * number
    for _ in layer:
        for source, target in edges:
            layer[target] = max(layer[target], layer[source] + 1)
    for node in late:
        layer[node] = min(layer[target] for source, target in edges if source == node) - 1
    last = number - 1
    if not any(target == last for _, target in edges):  # an output that nothing reaches
        layer[last] = max(1, *layer)
    return layer


def _with_passages(layer: list[int], edges: Sequence[tuple[int, int]]) -> Layers:
    """Nodes and, for edges that pass a layer, a place in it; edges from one node share it."""
    layer = list(layer)
    passages: dict[tuple[int, int], int] = {}
    hops: dict[tuple[int, int], None] = {}
    for source, target in edges:
        here = source
        for k in range(layer[source] + 1, layer[target]):
            if (source, k) not in passages:
                passages[source, k] = len(layer)
                layer.append(k)
            hops[here, passages[source, k]] = None
            here = passages[source, k]
        hops[here, target] = None
    layers: list[list[int]] = [[] for _ in range(max(layer) + 1)]
    for item, k in enumerate(layer):
        layers[k].append(item)
    return Layers(layer, layers, list(hops), passages, np.zeros(len(layer)))


def _neighbours(layers: Layers) -> tuple[list[list[int]], list[list[int]]]:
    """Of each item, those in the layer before and in the layer after."""
    before: list[list[int]] = [[] for _ in layers.layer]
    after: list[list[int]] = [[] for _ in layers.layer]
    for a, b in layers.hops:
        before[b].append(a)
        after[a].append(b)
    return before, after


# ---------------------------------------------------------------------- order


class _Ordering:
    """The order of items in their layers, and how often hops cross.

    `place` numbers the items of a layer around 0.
    """

    def __init__(self, layers: Layers) -> None:
        self.layers = layers.layers
        ends = np.array(layers.hops, dtype=int).reshape(-1, 2)
        self.between = [ends[[layers.layer[a] == k for a in ends[:, 0]]] for k in range(len(layers.layers))]
        self.place = np.zeros(len(layers.layer))
        for k in range(len(self.layers)):
            self.number(k)

    def number(self, k: int) -> None:
        items = self.layers[k]
        self.place[items] = np.arange(len(items)) - (len(items) - 1) / 2

    def crossings(self, gaps: Sequence[int]) -> int:
        """Pairs of hops that cross between the layers k and k + 1, for each k of `gaps`."""
        total = 0
        for k in gaps:
            if 0 <= k < len(self.between):
                a, b = self.place[self.between[k].T]
                total += int(((a[:, None] < a) & (b[:, None] > b)).sum())
        return total

    def all_crossings(self) -> int:
        return self.crossings(range(len(self.between)))

    def sort(self, k: int, joined: list[list[int]]) -> None:
        """Sort a layer by the mean place of the items that each is joined with."""
        self.layers[k].sort(key=lambda i: np.mean(self.place[joined[i]]) if joined[i] else self.place[i])
        self.number(k)

    def exchange(self, k: int) -> None:
        """Exchange neighbours in a layer where fewer hops cross then."""
        items = self.layers[k]
        for i in range(len(items) - 1):
            now = self.crossings((k - 1, k))
            pair = items[i : i + 2]
            self.place[pair] = self.place[pair[::-1]]
            if self.crossings((k - 1, k)) < now:
                items[i : i + 2] = pair[::-1]
            else:
                self.place[pair] = self.place[pair[::-1]]


def _order(layers: Layers) -> None:
    """Sort every layer by where the neighbours of its items are, to and fro; keep what has the fewest crossings."""
    before, after = _neighbours(layers)
    ordering = _Ordering(layers)
    best, fewest = [list(items) for items in layers.layers], ordering.all_crossings()
    last_better = 0
    for sweep in range(SWEEPS):
        if not fewest or sweep - last_better > PATIENCE:
            break
        for k in range(len(layers.layers))[:: -1 if sweep % 2 else 1]:
            ordering.sort(k, after if sweep % 2 else before)
            ordering.exchange(k)
        if (count := ordering.all_crossings()) < fewest:
            best, fewest, last_better = [list(items) for items in layers.layers], count, sweep
    layers.layers[:] = best


# ---------------------------------------------------------------------- place


def _spread(layers: Layers, room: np.ndarray, num_nodes: int) -> None:
    """Move items towards the mean of their neighbours, as far as those beside them leave room.

    In each layer, the places nearest to the wanted ones (by weighted squares) that leave every item its `room`.
    """
    from sklearn.isotonic import isotonic_regression  # takes a second to import, and many pictures have no layers

    before, after = _neighbours(layers)
    for items in layers.layers:
        offsets = np.cumsum(room[items]) - room[items] / 2
        layers.across[items] = offsets - room[items].sum() / 2
    weights = np.where(np.arange(len(room)) < num_nodes, 1.0, STRAIGHTNESS)
    for sweep in range(2 * SWEEPS):
        for k in range(len(layers.layers))[:: -1 if sweep % 2 else 1]:
            items = layers.layers[k]
            wanted = layers.across[items].copy()
            for i, item in enumerate(items):
                joined = [*before[item], *after[item]]
                if joined:
                    wanted[i] = np.average(layers.across[joined], weights=weights[joined])
            offsets = np.cumsum(room[items]) - room[items] / 2
            ascending = isotonic_regression(wanted - offsets, sample_weight=weights[items])
            layers.across[items] = offsets + ascending
