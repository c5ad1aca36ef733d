"""Where everything in the picture of an architecture stands, in inches.

`lay_out` reads an architecture's parts from `SearchSpace.graphs`, or else from its slots: operations in a chain, on
edges, or on nodes that choose what they read. What has none of these forms becomes a table of slots and choices.
`pkgen_hf.drawing.pictures` paints the result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from ..spaces import Choice, Slot
from .layers import arrange_layers

if TYPE_CHECKING:
    from ..architecture import Architecture

TEXT_SIZE, LINE = 9.0, 1.25 / 72  # points, and inches of line height to the point
RADIUS, HEAD = 0.28, 0.13
TEXT = "text"  # the kind of a box that is nothing but its text
Chosen = Sequence[tuple[Slot, Choice]]


@dataclass
class Box:
    """A node, or the label of an edge. One that carries an operation has its `kind`; a plain one is round."""

    text: str
    kind: str = ""
    width: float = 2 * RADIUS
    height: float = 2 * RADIUS
    x: float = 0.0
    y: float = 0.0
    faint: bool = False

    def border(self, angle: float) -> np.ndarray:
        """The point of the border in the direction `angle`."""
        towards = np.array([math.cos(angle), math.sin(angle)])
        half = np.array([self.width, self.height]) / 2
        return np.array([self.x, self.y]) + towards * (min(half / (abs(towards) + 1e-9)) if self.kind else half[0])


@dataclass
class Edge:
    """A line between nodes, with the operation that it carries, if any, and an arrow's head unless it ends in a label.

    `points` is its path, ``(1 + 3 k, 2)``: k cubic curves, each from where the one before ends.
    """

    source: int
    target: int
    text: str = ""
    kind: str = ""
    has_head: bool = True
    points: np.ndarray = field(default_factory=lambda: np.zeros((4, 2)))


@dataclass
class Diagram:
    """Boxes (nodes, labels and texts) and edges, all in place."""

    boxes: list[Box]
    edges: list[Edge]

    @property
    def corners(self) -> np.ndarray:
        """``[[left, bottom], [right, top]]``."""
        middles = np.array([(box.x, box.y) for box in self.boxes])
        halves = np.array([(box.width, box.height) for box in self.boxes]) / 2
        paths = np.concatenate([middles, *(edge.points for edge in self.edges)])
        return np.array(
            [
                np.minimum((middles - halves).min(axis=0), paths.min(axis=0)),
                np.maximum((middles + halves).max(axis=0), paths.max(axis=0)),
            ]
        )

    def move(self, by: np.ndarray) -> None:
        """Move everything by ``(x, y)``."""
        for box in self.boxes:
            box.x, box.y = box.x + by[0], box.y + by[1]
        for edge in self.edges:
            edge.points = edge.points + by


# ---------------------------------------------------------------------- texts


def short_name(name: str) -> str:
    """A name as shown to people: ``nor_conv_3x3`` becomes ``conv 3x3``."""
    for prefix in ("nor_", "elementwise_", "activation_"):
        name = name.removeprefix(prefix)
    name = re.sub(r"(?<=[a-z])(?=\d+x\d)", " ", name.removesuffix("_connect").removesuffix("-bn-relu"))
    return name.replace("_", " ").replace("->", "→")


def label(choice: Choice) -> str:
    """What a choice is called in a picture, in one or more lines: its name, or what it is if that is but a number."""
    if choice.name == "-":
        return "absent"
    if any(letter.isalpha() for letter in choice.name) or choice.kind in ("size", "predecessor", "edge"):
        return short_name(choice.name)
    parts = [choice.kind.replace("-", " ")]
    if choice.kind == "inverted-bottleneck":
        parts = [f"e{choice.expansion} k{choice.kernel}"]
    parts += [f"{what} {by}" for what, by, is_so in _CHANGES if is_so(choice)]
    return "\n".join(parts)


_CHANGES = (
    ("channels", "×2", lambda choice: choice.widening == 2),
    ("pixels", "÷2", lambda choice: choice.stride == 2),
)


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """Width of a text in inches, that of its longest line."""
    font = FontProperties(size=size)
    lines = text.splitlines() or [""]
    return max(float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]) for line in lines) / 72


def _framed(text: str, kind: str, margin: float = 0.24) -> Box:
    """A box that holds its text; plain ones are round if that is short."""
    lines = max(1, len(text.splitlines()))
    width = text_width(text) + margin
    if not kind and (wide := max(0.4, text_width(text) + 0.14)) <= 2 * RADIUS:
        return Box(text, "", wide, wide)
    return Box(text, kind, width, 0.34 + TEXT_SIZE * LINE * (lines - 1))


def _heading(text: str) -> Box:
    return Box(text, TEXT, text_width(text), TEXT_SIZE * LINE)


# ---------------------------------------------------------------------- from architectures to diagrams


def lay_out(architecture: Architecture) -> Diagram:
    """Put an architecture in place; parts, such as different cells, one below the other."""
    space = architecture.space
    if graphs := space.graphs(architecture.indices):
        parts = []
        for graph in graphs:
            nodes = [_framed(short_name(text), kind) for text, kind in graph.nodes]
            edges = [Edge(a, b, short_name(text), kind) for a, b, text, kind in graph.edges]
            parts.append((nodes, edges))
        drawn = [[layered(*_with_labels(*part), upright) for part in parts] for upright in (False, True)]
        return min((_stack(some, [graph.title for graph in graphs]) for some in drawn), key=_unwieldy)
    chosen = [(slot, slot.choices[k]) for slot, k in zip(space.slots, architecture.indices, strict=True)]
    cells = sorted({slot.cell for slot in space.slots})
    diagrams = [_from_slots([item for item in chosen if item[0].cell == cell]) for cell in cells]
    return _stack(diagrams, [f"cell {cell + 1}" if len(cells) > 1 else "" for cell in cells])


def _unwieldy(diagram: Diagram) -> float:
    """How far the picture is from half again as wide as high."""
    width, height = np.ptp(diagram.corners, axis=0)
    return abs(math.log(width / height / 1.5))


def _stack(diagrams: list[Diagram], titles: Sequence[str]) -> Diagram:
    """Parts one below the other, each under its title."""
    if len(diagrams) == 1:
        return diagrams[0]
    boxes: list[Box] = []
    edges: list[Edge] = []
    y = 0.0
    for diagram, title in zip(diagrams, titles, strict=True):
        heading = _heading(title)
        heading.y = y - heading.height / 2
        (left, bottom), (right, top) = diagram.corners
        diagram.move(np.array([-(left + right) / 2, y - heading.height - 0.15 - top]))
        y -= heading.height + 0.15 + top - bottom + 0.35
        for edge in diagram.edges:
            edge.source, edge.target = edge.source + len(boxes) + 1, edge.target + len(boxes) + 1
        boxes += [heading, *diagram.boxes]
        edges += diagram.edges
    return Diagram(boxes, edges)


def _from_slots(chosen: Chosen) -> Diagram:
    """A cell by the form that its slots have."""
    slots = [slot for slot, _ in chosen]
    operations = [slot.writes for slot in slots if slot.kind == "operation"]
    reads_one = all(len(slot.reads) == 1 and slot.reads[0] < slot.writes for slot in slots)
    kinds = {slot.kind for slot in slots}
    if (
        reads_one
        and "connection" not in kinds
        and all(slot.reads[0] == slot.writes - 1 for slot in slots)
        and len(set(operations)) == len(operations)
    ):
        return _chain(chosen)
    connections = {choice.kind for slot in slots for choice in slot.choices if slot.kind == "connection"}
    if reads_one and kinds <= {"operation", "connection"} and connections <= {"zero", "identity"}:
        return _on_edges(chosen)
    sources: dict[int, list[int]] = {}
    for slot, choice in chosen:
        if slot.kind == "operation":
            sources.setdefault(slot.writes, []).extend(slot.reads if len(slot.reads) == 1 else ())
        elif choice.kind == "predecessor" and choice.name.isdecimal() and int(choice.name) < slot.writes:
            sources.setdefault(slot.writes, []).append(int(choice.name))
        else:
            return _table(chosen)
    read = {source for node in sources.values() for source in node}
    is_whole = read <= {0, *sources} and all(sources.values()) and sorted(operations) == sorted(sources)
    return _on_nodes(chosen, sources) if is_whole else _table(chosen)


def _chain(chosen: Chosen) -> Diagram:
    """Blocks in a row; all that is chosen for one stands in it, and modules that are absent ("-") are left out."""
    blocks: dict[int, list[tuple[Slot, Choice]]] = {}
    for slot, choice in chosen:
        blocks.setdefault(slot.writes, []).append((slot, choice))
    nodes = [Box("input")]
    for number in sorted(blocks):
        parts, kind, level = [], "size", 0.0
        for slot, choice in blocks[number]:
            if slot.kind == "operation":
                kind = choice.kind
            elif slot.kind == "expansion":
                kind = "inverted-bottleneck"
            if slot.kind == "width":
                parts.append(f"{slot.name}\n{choice.name} channels\n")
                level = choice.level
            elif slot.kind == "depth":
                parts.append("×" + choice.name.lstrip("l"))
            elif slot.kind == "gate":
                parts.append("" if choice.kind == "zero" else choice.name.upper())
            else:
                parts.append(label(choice))
        if [choice.name for _, choice in blocks[number]] == ["-"]:
            continue
        box = _framed(" ".join(part for part in parts if part).strip(), kind)
        box.height += 0.8 * level  # wide layers stand out
        nodes.append(box)
    nodes.append(Box("output"))
    return layered(nodes, [Edge(k, k + 1) for k in range(len(nodes) - 1)], upright=False)


def _on_edges(chosen: Chosen) -> Diagram:
    """Operations on the edges; connections are edges without a label, where there are any."""
    last = max(slot.writes for slot, _ in chosen)
    nodes = {node: Box(str(node), width=0.4, height=0.4) for node in range(last + 1)}
    nodes |= {0: Box("input"), last: Box("output")}
    edges = []
    for slot, choice in chosen:
        if slot.kind == "operation":
            text = "" if choice.kind == "zero" else label(choice)
            edges.append(Edge(slot.reads[0], slot.writes, text, choice.kind))
        elif choice.kind != "zero":
            edges.append(Edge(slot.reads[0], slot.writes, "", choice.kind))
    names = {label(choice) for slot, _ in chosen if slot.kind == "operation" for choice in slot.choices}
    return _line(nodes, edges, max(map(text_width, names)))


def _on_nodes(chosen: Chosen, sources: dict[int, list[int]]) -> Diagram:
    """Operations on nodes that read others; those that nobody reads go to the output."""
    operations = [(slot, choice) for slot, choice in chosen if slot.kind == "operation"]
    widest = max(text_width(label(choice)) for slot, _ in operations for choice in slot.choices)
    nodes = {slot.writes: Box(label(op), op.kind, widest + 0.24, 0.34) for slot, op in operations}
    edges = [Edge(source, node) for node in sorted(sources) for source in dict.fromkeys(sources[node])]
    unread = sorted(set(nodes) - {edge.source for edge in edges})
    output = max(nodes) + 1
    edges += [Edge(node, output) for node in unread]
    nodes = {0: Box("input"), **nodes, output: Box("output")}
    read = [edge.target for edge in edges if edge.target != output]
    return _tree(nodes, edges) if len(set(read)) == len(read) else _line(nodes, edges, 0.0)


def _table(chosen: Chosen) -> Diagram:
    """Slots and what was chosen for them, in columns of at most 20."""
    rows = math.ceil(len(chosen) / math.ceil(len(chosen) / 20))
    boxes, left = [], 0.0
    for first in range(0, len(chosen), rows):
        names = [_heading(short_name(slot.name)) for slot, _ in chosen[first : first + rows]]
        values = [_framed(label(op).replace("\n", " "), op.kind) for _, op in chosen[first : first + rows]]
        room, widest = max(box.width for box in names), max(box.width for box in values)
        for row, (name, value) in enumerate(zip(names, values, strict=True)):
            name.x, value.x = left + room - name.width / 2, left + room + 0.15 + widest / 2
            name.y = value.y = -0.42 * row
            value.width, value.height = widest, 0.34
        boxes += [*names, *values]
        left += room + 0.15 + widest + 0.4
    return Diagram(boxes, [])


# ---------------------------------------------------------------------- layouts


def _straight(start: np.ndarray | tuple[float, float], end: np.ndarray | tuple[float, float]) -> np.ndarray:
    """The three points that continue a path in a straight line."""
    return np.array(start) + np.outer([1 / 3, 2 / 3, 1], np.subtract(end, start))


def _line(nodes: dict[int, Box], edges: list[Edge], widest: float) -> Diagram:
    """Nodes on a line; an edge to the next node is straight, longer ones are nested arcs above and below it."""
    labels = []
    step = max(box.width for box in nodes.values()) + 0.55 + (widest if any(edge.kind for edge in edges) else 0)
    for column, number in enumerate(sorted(nodes)):
        nodes[number].x = column * step
    arcs: list[tuple[int, int, int, int]] = []  # source, target, side (1 above, -1 below), level from the line
    for edge in sorted(edges, key=lambda edge: (edge.target - edge.source, edge.source)):
        a, b = edge.source, edge.target
        side = level = 0
        if b - a > 1 or (a, b, 0, 0) in arcs:  # not straight
            options = []
            for below in (0, 1):
                others = [arc for arc in arcs if arc[2] == 1 - 2 * below and arc[0] < b and a < arc[1]]
                crossed = sum(s < a < t < b or a < s < b < t for s, t, *_ in others)
                options.append((crossed, 1 + max((arc[3] for arc in others), default=0), below))
            _, level, below = min(options)
            side = 1 - 2 * below
        arcs.append((a, b, side, level))
        angle = side * math.radians(min(80, 35 + 20 * level))
        start, end = nodes[a].border(angle), nodes[b].border(math.pi - angle)
        height = side * (0.14 + 0.46 * level)
        peak = (height - (start[1] + end[1]) / 8) / 0.75  # of the control points
        straight = np.full(2, (end[0] - start[0]) / 3)
        run = (peak - np.array([start[1], end[1]])) / math.tan(angle) if side else straight
        edge.points = np.array([start, (start[0] + run[0], peak), (end[0] - run[1], peak), end])
        x, y = np.array([1, 3, 3, 1]) / 8 @ edge.points
        labels.append(Box(edge.text, edge.kind, text_width(edge.text) + 0.18, 0.24, x, y))
    touched = {number for edge in edges if edge.kind != "zero" for number in (edge.source, edge.target)}
    for number, box in nodes.items():
        box.faint = number not in touched
    return Diagram([*nodes.values(), *labels], edges)


def _tree(nodes: dict[int, Box], edges: list[Edge]) -> Diagram:
    """The input at the left, each node in the column of its depth, and the output as a bar that all leaves meet."""
    output, gap = max(nodes), 0.5
    step = max(box.width for box in nodes.values()) + gap
    leaves: list[Box] = []

    def place(number: int, depth: int) -> Box:
        box = nodes[number]
        box.x = depth * step
        below = [place(edge.target, depth + 1) for edge in edges if edge.source == number and edge.target != output]
        if not below:
            leaves.append(box)
        box.y = (below[0].y + below[-1].y) / 2 if below else -0.52 * len(leaves)
        return box

    place(0, 0)
    bar = nodes[output]
    bar.x = step + max(leaf.x for leaf in leaves)
    bar.y, bar.height = (leaves[0].y + leaves[-1].y) / 2, leaves[0].y - leaves[-1].y + bar.height
    for edge in edges:
        a, b = nodes[edge.source], nodes[edge.target]
        start, end = (a.x + a.width / 2, a.y), (b.x - b.width / 2, a.y if b is bar else b.y)
        turn = max(start[0], end[0] - 0.9 * gap)
        middle = (turn + end[0] - HEAD) / 2
        curve = [(middle, start[1]), (middle, end[1]), end]
        edge.points = np.concatenate([[start], _straight(start, (turn, start[1])), curve])
    return Diagram(list(nodes.values()), edges)


def _with_labels(nodes: list[Box], edges: list[Edge]) -> tuple[list[Box], list[Edge]]:
    """Labels of edges as nodes between the two ends of each."""
    nodes, parts = [Box(**vars(box)) for box in nodes], []
    for edge in edges:
        if edge.text:
            parts.append(Edge(edge.source, len(nodes), has_head=False))
            parts.append(Edge(len(nodes), edge.target, edge.text, edge.kind))
            box = _framed(edge.text, edge.kind, 0.18)
            box.height -= 0.08
            nodes.append(box)
        else:
            parts.append(Edge(edge.source, edge.target, "", edge.kind))
    return nodes, parts


def layered(nodes: list[Box], edges: list[Edge], upright: bool) -> Diagram:
    """Each node behind all that it reads, in layers from left to right, or (upright) from the top down.

    Edges from one node share their way past the layers between, so that they pass no box.
    """
    sizes = np.array([(box.width, box.height) for box in nodes])
    along, across = sizes[:, ::-1].T if upright else sizes.T
    placed = arrange_layers(across, [(edge.source, edge.target) for edge in edges], late=_labels(nodes, edges))
    starts, ends, at = [], [], 0.0
    for layer, items in enumerate(placed.layers):
        thickness = max([along[item] for item in items if item < len(nodes)], default=0.0)
        starts.append(at)
        ends.append(at + thickness)
        steps = [abs(placed.across[a] - placed.across[b]) for a, b in placed.hops if placed.layer[a] == layer]
        at += thickness + 0.34 + min(0.45, 0.12 * max(steps, default=0.0))
    middles = (np.array(starts) + np.array(ends)) / 2

    def point(where: float, item: int) -> tuple[float, float]:
        return (placed.across[item], -where) if upright else (where, -placed.across[item])

    for item, box in enumerate(nodes):
        box.x, box.y = point(middles[placed.layer[item]], item)
    for edge in edges:
        half = along[[edge.source, edge.target]] / 2
        way = placed.way(edge.source, edge.target)
        here = point(middles[placed.layer[edge.source]] + half[0], edge.source)
        pieces = [np.array([here])]
        for a, b in zip(way[:-1], way[1:], strict=True):
            leaves, arrives = ends[placed.layer[a]], starts[placed.layer[b]]
            end, turn = point(leaves, a), (leaves + arrives) / 2
            if not np.allclose(here, end):
                pieces.append(_straight(here, end))
            here = point(arrives, b)
            pieces.append(np.array([point(turn, a), point(turn, b), here]))
        end = point(middles[placed.layer[edge.target]] - half[1], edge.target)
        if not np.allclose(here, end):
            pieces.append(_straight(here, end))
        edge.points = np.concatenate(pieces)
    touched = {item for edge in edges for item in (edge.source, edge.target)}
    for item, box in enumerate(nodes):
        box.faint = item not in touched
    return Diagram(nodes, edges)


def _labels(nodes: list[Box], edges: list[Edge]) -> set[int]:
    """Nodes that are labels of edges, which stand best right before the edge's end."""
    return {edge.target for edge in edges if not edge.has_head}
