"""Arrangements of nodes and edges: on a line, as a tree, or in layers. Lengths are in inches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .diagram import HEAD, Box, Diagram, Edge, framed
from .layers import Layers, arrange_layers
from .texts import text_width

GAP = 0.55  # between nodes on a line
ARC, LEVEL = 0.14, 0.46  # height of an arc: at level 0, and for each level more
# Degrees at which an arc leaves its node: at level 0, for each level more, and at most.
FLATTEST, STEEPER, STEEPEST = 35, 20, 80
TREE_GAP, TREE_LINE = 0.5, 0.52  # between columns of a tree, and from leaf to leaf
LAYER_GAP = 0.34  # between layers; edges that go far across need more room, by the numbers below
LAYER_SLOPE, LAYER_EXTRA = 0.12, 0.45


def _straight(start: np.ndarray | tuple[float, float], end: np.ndarray | tuple[float, float]) -> np.ndarray:
    """The three points that continue a path in a straight line."""
    return np.array(start) + np.outer([1 / 3, 2 / 3, 1], np.subtract(end, start))


# ---------------------------------------------------------------------- on a line


@dataclass(frozen=True)
class _Arc:
    """An edge between nodes on a line: 1 above it or -1 below it, `level` arcs away; 0 and 0 if it is straight."""

    source: int
    target: int
    side: int = 0
    level: int = 0

    def overlaps(self, other: _Arc) -> bool:
        return self.source < other.target and other.source < self.target

    def crosses(self, other: _Arc) -> bool:
        """If both are on one side."""
        a, b, c, d = self.source, self.target, other.source, other.target
        return c < a < d < b or a < c < b < d


def on_line(nodes: dict[int, Box], edges: list[Edge], widest: float) -> Diagram:
    """Nodes on a line; an edge to the next node is straight, longer ones are nested arcs above and below it.

    Parameters
    ----------
    nodes
        By number, in the order of the line.
    edges
        Each gets its path, and a label in the middle of it.
    widest
        Width of the widest text that an edge may carry.
    """
    step = max(box.width for box in nodes.values()) + GAP + (widest if any(edge.kind for edge in edges) else 0)
    for column, number in enumerate(sorted(nodes)):
        nodes[number].x = column * step
    arcs: list[_Arc] = []
    labels = []
    for edge in sorted(edges, key=lambda edge: (edge.target - edge.source, edge.source)):
        arcs.append(_next_arc(edge, arcs))
        edge.points = _arc_points(arcs[-1], nodes[edge.source], nodes[edge.target])
        x, y = np.array([1, 3, 3, 1]) / 8 @ edge.points  # the middle of the curve
        labels.append(Box(edge.text, edge.kind, text_width(edge.text) + 0.18, 0.24, x, y))
    touched = {number for edge in edges if edge.kind != "zero" for number in (edge.source, edge.target)}
    for number, box in nodes.items():
        box.faint = number not in touched
    return Diagram([*nodes.values(), *labels], edges)


def _next_arc(edge: Edge, arcs: Sequence[_Arc]) -> _Arc:
    """The arc of an edge on the side where it crosses the fewest arcs, and then is the lowest."""
    plain = _Arc(edge.source, edge.target)
    if edge.target - edge.source <= 1 and plain not in arcs:
        return plain
    options = []
    for below, side in enumerate((1, -1)):
        others = [arc for arc in arcs if arc.side == side and arc.overlaps(plain)]
        crossed = sum(plain.crosses(arc) for arc in others)
        options.append((crossed, 1 + max((arc.level for arc in others), default=0), below))
    _, level, below = min(options)
    return _Arc(edge.source, edge.target, 1 - 2 * below, level)


def _arc_points(arc: _Arc, source: Box, target: Box) -> np.ndarray:
    """The cubic curve of an arc, from border to border, ``(4, 2)``."""
    angle = arc.side * math.radians(min(STEEPEST, FLATTEST + STEEPER * arc.level))
    start, end = source.border(angle), target.border(math.pi - angle)
    height = arc.side * (ARC + LEVEL * arc.level)
    peak = (height - (start[1] + end[1]) / 8) / 0.75  # of the control points
    straight = np.full(2, (end[0] - start[0]) / 3)
    run = (peak - np.array([start[1], end[1]])) / math.tan(angle) if arc.side else straight
    return np.array([start, (start[0] + run[0], peak), (end[0] - run[1], peak), end])


# ---------------------------------------------------------------------- as a tree


def as_tree(nodes: dict[int, Box], edges: list[Edge]) -> Diagram:
    """The input at the left, each node in the column of its depth, and the output as a bar that all leaves meet."""
    output = max(nodes)
    step = max(box.width for box in nodes.values()) + TREE_GAP
    leaves: list[Box] = []

    def place(number: int, depth: int) -> Box:
        box = nodes[number]
        box.x = depth * step
        below = [place(edge.target, depth + 1) for edge in edges if edge.source == number and edge.target != output]
        if not below:
            leaves.append(box)
        box.y = (below[0].y + below[-1].y) / 2 if below else -TREE_LINE * len(leaves)
        return box

    place(0, 0)
    bar = nodes[output]
    bar.x = step + max(leaf.x for leaf in leaves)
    bar.y, bar.height = (leaves[0].y + leaves[-1].y) / 2, leaves[0].y - leaves[-1].y + bar.height
    for edge in edges:
        a, b = nodes[edge.source], nodes[edge.target]
        start, end = (a.x + a.width / 2, a.y), (b.x - b.width / 2, a.y if b is bar else b.y)
        turn = max(start[0], end[0] - 0.9 * TREE_GAP)
        middle = (turn + end[0] - HEAD) / 2
        curve = [(middle, start[1]), (middle, end[1]), end]
        edge.points = np.concatenate([[start], _straight(start, (turn, start[1])), curve])
    return Diagram(list(nodes.values()), edges)


# ---------------------------------------------------------------------- in layers


def with_labels(nodes: list[Box], edges: list[Edge]) -> tuple[list[Box], list[Edge]]:
    """Labels of edges as nodes between the two ends of each."""
    nodes, parts = [Box(**vars(box)) for box in nodes], []
    for edge in edges:
        if edge.text:
            parts.append(Edge(edge.source, len(nodes), has_head=False))
            parts.append(Edge(len(nodes), edge.target, edge.text, edge.kind))
            box = framed(edge.text, edge.kind, 0.18)
            box.height -= 0.08
            nodes.append(box)
        else:
            parts.append(Edge(edge.source, edge.target, "", edge.kind))
    return nodes, parts


@dataclass(frozen=True)
class _Bands:
    """Where layers start and end along the direction of the edges, and where their items stand across it.

    Attributes
    ----------
    layers : Layers
    starts, ends : array (layers,)
    upright : bool
        Whether edges lead from the top down, rather than from left to right.
    """

    layers: Layers
    starts: np.ndarray
    ends: np.ndarray
    upright: bool

    def middle(self, item: int) -> float:
        layer = self.layers.layer[item]
        return (self.starts[layer] + self.ends[layer]) / 2

    def point(self, along: float, item: int) -> tuple[float, float]:
        """The point of the picture at a place along the edges, in line with an item."""
        across = self.layers.across[item]
        return (across, -along) if self.upright else (along, -across)

    def path(self, source: int, target: int, half: np.ndarray) -> np.ndarray:
        """Curves from a node to another past the layers between, ``(1 + 3 k, 2)``; `half` of the thickness of each."""
        layer, way = self.layers.layer, self.layers.way(source, target)
        here = self.point(self.middle(source) + half[0], source)
        pieces = [np.array([here])]
        for a, b in zip(way[:-1], way[1:], strict=True):
            leaves, arrives = self.ends[layer[a]], self.starts[layer[b]]
            end, turn = self.point(leaves, a), (leaves + arrives) / 2
            if not np.allclose(here, end):
                pieces.append(_straight(here, end))
            here = self.point(arrives, b)
            pieces.append(np.array([self.point(turn, a), self.point(turn, b), here]))
        end = self.point(self.middle(target) - half[1], target)
        if not np.allclose(here, end):
            pieces.append(_straight(here, end))
        return np.concatenate(pieces)


def _bands(layers: Layers, along: np.ndarray, upright: bool) -> _Bands:
    """Layers one behind the other, as thick as their thickest node; `along` is the thickness of each node."""
    starts, ends, at = [], [], 0.0
    for layer, items in enumerate(layers.layers):
        thickness = max([along[item] for item in items if item < len(along)], default=0.0)
        starts.append(at)
        ends.append(at + thickness)
        steps = [abs(layers.across[a] - layers.across[b]) for a, b in layers.hops if layers.layer[a] == layer]
        at += thickness + LAYER_GAP + min(LAYER_EXTRA, LAYER_SLOPE * max(steps, default=0.0))
    return _Bands(layers, np.array(starts), np.array(ends), upright)


def in_layers(nodes: list[Box], edges: list[Edge], upright: bool) -> Diagram:
    """Each node behind all that it reads, in layers from left to right, or (upright) from the top down.

    Edges from one node share their way past the layers between, so that they pass no box.
    """
    sizes = np.array([(box.width, box.height) for box in nodes])
    along, across = sizes[:, ::-1].T if upright else sizes.T
    labels = {edge.target for edge in edges if not edge.has_head}  # stand best right before the edge's end
    bands = _bands(arrange_layers(across, [(edge.source, edge.target) for edge in edges], late=labels), along, upright)
    for item, box in enumerate(nodes):
        box.x, box.y = bands.point(bands.middle(item), item)
    for edge in edges:
        edge.points = bands.path(edge.source, edge.target, along[[edge.source, edge.target]] / 2)
    touched = {item for edge in edges for item in (edge.source, edge.target)}
    for item, box in enumerate(nodes):
        box.faint = item not in touched
    return Diagram(nodes, edges)
