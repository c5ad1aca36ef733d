"""Layers of a directed acyclic graph and the order of what is in them, with few crossings (Sugiyama et al., 1981)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SEPARATION = 0.18  # inches between what stands side by side
PASSAGE = 0.1  # inches that an edge takes in a layer that it passes
SWEEPS = 12


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
    layer = [0] * len(extents)
    for _ in layer:
        for source, target in edges:
            layer[target] = max(layer[target], layer[source] + 1)
    for node in late:
        layer[node] = min(layer[target] for source, target in edges if source == node) - 1
    last = len(layer) - 1
    if not any(target == last for _, target in edges):  # an output that nothing reaches
        layer[last] = max(1, *layer)
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
    placed = Layers(layer, layers, list(hops), passages, np.zeros(len(layer)))
    _order(placed)
    room = np.concatenate([extents + SEPARATION, np.full(len(layer) - len(extents), PASSAGE + SEPARATION / 2)])
    _spread(placed, room, len(extents))
    return placed


def _neighbours(placed: Layers) -> tuple[list[list[int]], list[list[int]]]:
    """Of each item, those in the layer before and in the layer after."""
    before: list[list[int]] = [[] for _ in placed.layer]
    after: list[list[int]] = [[] for _ in placed.layer]
    for a, b in placed.hops:
        before[b].append(a)
        after[a].append(b)
    return before, after


def _order(placed: Layers) -> None:
    """Sort every layer by where the neighbours of its items are, to and fro; keep what has the fewest crossings."""
    before, after = _neighbours(placed)
    ends = np.array(placed.hops, dtype=int).reshape(-1, 2)
    between = [ends[[placed.layer[a] == k for a in ends[:, 0]]] for k in range(len(placed.layers))]
    place = np.zeros(len(placed.layer))

    def number(items: list[int]) -> None:
        place[items] = np.arange(len(items)) - (len(items) - 1) / 2

    def crossings(gaps: Sequence[int]) -> int:
        total = 0
        for k in gaps:
            if 0 <= k < len(between):
                a, b = place[between[k].T]
                total += int(((a[:, None] < a) & (b[:, None] > b)).sum())
        return total

    for items in placed.layers:
        number(items)
    best, fewest = [list(items) for items in placed.layers], crossings(range(len(between)))
    last_better = 0
    for sweep in range(SWEEPS):
        if not fewest or sweep - last_better > 4:
            break
        joined = after if sweep % 2 else before
        for k in range(len(placed.layers))[:: -1 if sweep % 2 else 1]:
            items = placed.layers[k]
            items.sort(key=lambda item: np.mean(place[joined[item]]) if joined[item] else place[item])
            number(items)
            for i in range(len(items) - 1):  # exchange neighbours where that helps
                now = crossings((k - 1, k))
                pair = items[i : i + 2]
                place[pair] = place[pair[::-1]]
                if crossings((k - 1, k)) < now:
                    items[i : i + 2] = pair[::-1]
                else:
                    place[pair] = place[pair[::-1]]
        if (count := crossings(range(len(between)))) < fewest:
            best, fewest, last_better = [list(items) for items in placed.layers], count, sweep
    placed.layers[:] = best


def _spread(placed: Layers, room: np.ndarray, num_nodes: int) -> None:
    """Move items towards the mean of their neighbours, as far as those beside them leave room."""
    before, after = _neighbours(placed)
    for items in placed.layers:
        offsets = np.cumsum(room[items]) - room[items] / 2
        placed.across[items] = offsets - room[items].sum() / 2
    weights = np.where(np.arange(len(room)) < num_nodes, 1.0, 4.0)  # edges that pass are to be straight
    for sweep in range(2 * SWEEPS):
        for k in range(len(placed.layers))[:: -1 if sweep % 2 else 1]:
            items = placed.layers[k]
            wanted = placed.across[items].copy()
            for i, item in enumerate(items):
                joined = [*before[item], *after[item]]
                if joined:
                    wanted[i] = np.average(placed.across[joined], weights=weights[joined])
            offsets = np.cumsum(room[items]) - room[items] / 2
            placed.across[items] = offsets + _ascending(wanted - offsets, weights[items])


def _ascending(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The ascending sequence nearest to `values` by weighted squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, mass, length = pools.pop()
            total = mass + pool[1]
            pool = ((mean * mass + pool[0] * pool[1]) / total, total, length + pool[2])
        pools.append(pool)
    return np.concatenate([np.full(length, mean) for mean, _, length in pools])
