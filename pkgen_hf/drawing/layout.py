"""From an architecture to its diagram.

`lay_out` reads an architecture's parts from `SearchSpace.graphs`, or else from its slots: many layers that repeat the
same decisions, operations in a chain, on edges, or on nodes that choose what they read. What has none of these forms
becomes a table of slots and choices. Slots without effect are left out.
`pkgen_hf.drawing.pictures` paints the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..spaces import Choice, Slot
from ..spaces.protocols import ArchitectureLike
from .arrangements import as_tree, in_layers, on_line, with_labels
from .bars import as_bars
from .diagram import Box, Diagram, Edge, framed, heading
from .per_layer import per_layer
from .texts import label, short_name, text_width

PLEASANT = 1.5  # width over height of a picture
TALLEST_TABLE = 20  # rows
Chosen = Sequence[tuple[Slot, Choice]]


def lay_out(architecture: ArchitectureLike) -> Diagram:
    """Put an architecture in place; parts, such as different cells, one below the other."""
    space = architecture.space
    if graphs := space.graphs(architecture.indices):
        parts = []
        for graph in graphs:
            nodes = [framed(short_name(text), kind) for text, kind in graph.nodes]
            edges = [Edge(a, b, short_name(text), kind) for a, b, text, kind in graph.edges]
            parts.append((nodes, edges))
        drawn = [[in_layers(*with_labels(*part), upright) for part in parts] for upright in (False, True)]
        return min((_stack(some, [graph.title for graph in graphs]) for some in drawn), key=_distance_from_pleasant)
    if form := per_layer(space):
        return as_bars(architecture, form)
    active = space.active_slots(torch.tensor([architecture.indices], device="cpu"))[0].tolist()
    pairs = zip(space.slots, architecture.indices, active, strict=True)
    chosen = [(slot, slot.choices[k]) for slot, k, has_effect in pairs if has_effect]
    cells = sorted({slot.cell for slot, _ in chosen})
    diagrams = [_from_slots([item for item in chosen if item[0].cell == cell]) for cell in cells]
    return _stack(diagrams, [f"cell {cell + 1}" if len(cells) > 1 else "" for cell in cells])


def _distance_from_pleasant(diagram: Diagram) -> float:
    """Of the logarithm of width over height."""
    width, height = np.ptp(diagram.corners, axis=0)
    return abs(math.log(width / height / PLEASANT))


def _stack(diagrams: list[Diagram], titles: Sequence[str]) -> Diagram:
    """Parts one below the other, each under its title."""
    if len(diagrams) == 1:
        return diagrams[0]
    boxes: list[Box] = []
    edges: list[Edge] = []
    y = 0.0
    for diagram, title in zip(diagrams, titles, strict=True):
        above = heading(title)
        above.y = y - above.height / 2
        (left, bottom), (right, top) = diagram.corners
        diagram.move(np.array([-(left + right) / 2, y - above.height - 0.15 - top]))
        y -= above.height + 0.15 + top - bottom + 0.35
        for edge in diagram.edges:
            edge.source, edge.target = edge.source + len(boxes) + 1, edge.target + len(boxes) + 1
        boxes += [above, *diagram.boxes]
        edges += diagram.edges
    return Diagram(boxes, edges)


# ---------------------------------------------------------------------- from slots


def _from_slots(chosen: Chosen) -> Diagram:
    """A cell by the form that its slots have."""
    slots = [slot for slot, _ in chosen]
    kinds = {slot.kind for slot in slots}
    operations = [slot.writes for slot in slots if slot.kind == "operation"]
    reads_one = all(len(slot.reads) == 1 and slot.reads[0] < slot.writes for slot in slots)
    reads_previous = reads_one and all(slot.reads[0] == slot.writes - 1 for slot in slots)
    if reads_previous and "connection" not in kinds and len(set(operations)) == len(operations):
        return _chain(chosen)
    connections = {choice.kind for slot in slots for choice in slot.choices if slot.kind == "connection"}
    if reads_one and kinds <= {"operation", "connection"} and connections <= {"zero", "identity"}:
        return _on_edges(chosen)
    sources = _sources(chosen)
    if sources is None or not all(sources.values()) or sorted(operations) != sorted(sources):
        return _table(chosen)
    read = {source for node in sources.values() for source in node}
    return _on_nodes(chosen, sources) if read <= {0, *sources} else _table(chosen)


def _sources(chosen: Chosen) -> dict[int, list[int]] | None:
    """The nodes that each node reads; None if a slot is neither an operation nor a choice of one node to read."""
    sources: dict[int, list[int]] = {}
    for slot, choice in chosen:
        if slot.kind == "operation":
            sources.setdefault(slot.writes, []).extend(slot.reads if len(slot.reads) == 1 else ())
        elif choice.kind == "predecessor" and choice.name.isdecimal() and int(choice.name) < slot.writes:
            sources.setdefault(slot.writes, []).append(int(choice.name))
        else:
            return None
    return sources


def _chain(chosen: Chosen) -> Diagram:
    """Blocks in a row; all that is chosen for one stands in it, and modules that are absent ("-") are left out."""
    blocks: dict[int, list[tuple[Slot, Choice]]] = {}
    for slot, choice in chosen:
        blocks.setdefault(slot.writes, []).append((slot, choice))
    present = [blocks[k] for k in sorted(blocks) if [choice.name for _, choice in blocks[k]] != ["-"]]
    nodes = [Box("input"), *map(_block, present), Box("output")]
    return in_layers(nodes, [Edge(k, k + 1) for k in range(len(nodes) - 1)], upright=False)


def _block(chosen: Chosen) -> Box:
    """A box with all that is chosen for one block; wide layers stand out by its height."""
    parts, kind, level = [], "size", 0.0
    for slot, choice in chosen:
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
    box = framed(" ".join(part for part in parts if part).strip(), kind)
    box.height += 0.8 * level
    return box


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
    return on_line(nodes, edges, max(map(text_width, names)))


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
    return as_tree(nodes, edges) if len(set(read)) == len(read) else on_line(nodes, edges, 0.0)


def _table(chosen: Chosen) -> Diagram:
    """Slots and what was chosen for them, in columns."""
    rows = math.ceil(len(chosen) / math.ceil(len(chosen) / TALLEST_TABLE))
    boxes, left = [], 0.0
    for first in range(0, len(chosen), rows):
        names = [heading(short_name(slot.name)) for slot, _ in chosen[first : first + rows]]
        values = [framed(label(op).replace("\n", " "), op.kind) for _, op in chosen[first : first + rows]]
        room, widest = max(box.width for box in names), max(box.width for box in values)
        for row, (name, value) in enumerate(zip(names, values, strict=True)):
            name.x, value.x = left + room - name.width / 2, left + room + 0.15 + widest / 2
            name.y = value.y = -0.42 * row
            value.width, value.height = widest, 0.34
        boxes += [*names, *values]
        left += room + 0.15 + widest + 0.4
    return Diagram(boxes, [])
