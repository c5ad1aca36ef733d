"""Pictures of architectures and of priors, as PNG or SVG files.

`describe` says which nodes and edges an architecture has, from its slots alone; `lay_out` puts them in place, in
inches; `draw` paints any number of them on one page. A new form of space needs a case in `describe`, and a layout of
its own where neither `_line` nor `_tree` suits it.
"""

from __future__ import annotations

import math
import os
import textwrap
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Outline
from matplotlib.textpath import text_to_path

from .errors import unknown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .architecture import Architecture
    from .priors import Prior

SUFFIXES = (".png", ".svg")
INK, PLAIN, FAINT = "#222222", "#555555", "#b0b0b0"
STYLES: dict[str, tuple[str, Any]] = {  # hues that the colour-blind tell apart; dashes tell the kinds apart in grey
    "convolution": ("#0072b2", "solid"),
    "pooling": ("#d55e00", (0, (3, 1.2))),
    "identity": ("#009e73", (0, (1, 1))),
    "graph-convolution": ("#8a4fa8", "solid"),
    "linear": ("#e69f00", (0, (3, 1.2))),
    "zero": (FAINT, (0, (1, 3))),
    "": (PLAIN, "solid"),
}
TEXT_SIZE, TITLE_SIZE, LINE = 9.0, 10.5, 1.25 / 72  # points, and inches of line height to the point
RADIUS, HEAD, DPI = 0.28, 0.13, 150  # inches, as all lengths below; and dots to the inch of a PNG


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
    """An arrow between nodes, with the operation that it carries, if any.

    `points` is its path: straight lines, and at the end a cubic curve of four points.
    """

    source: int
    target: int
    text: str = ""
    kind: str = ""
    points: np.ndarray = field(default_factory=lambda: np.zeros((4, 2)))


@dataclass
class Diagram:
    """Boxes (nodes and labels) and edges, all in place."""

    boxes: list[Box]
    edges: list[Edge]

    @property
    def corners(self) -> np.ndarray:
        """``[[left, bottom], [right, top]]``."""
        middles = np.array([(box.x, box.y) for box in self.boxes])
        halves = np.array([(box.width, box.height) for box in self.boxes]) / 2
        return np.array([(middles - halves).min(axis=0), (middles + halves).max(axis=0)])


def short_name(name: str) -> str:
    """A name as shown to people: ``nor_conv_3x3`` becomes ``conv 3x3``."""
    return name.removeprefix("nor_").removesuffix("_connect").replace("_", " ").replace("->", "→")


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """Width of one line of text in inches."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]) / 72


def fit(text: str, width: float, largest: float = TITLE_SIZE) -> tuple[str, float]:
    """Break `text` into lines no wider than `width` inches, and shrink it where it needs more than two lines.

    Returns
    -------
    The text with its line breaks, and its size in points.
    """
    for size in (largest, largest - 1, largest - 2, largest - 3):
        lines: list[str] = []
        for part in text.splitlines():
            columns, pieces = len(part), [part]
            while columns > 1 and max(text_width(piece, size) for piece in pieces) > width:
                columns = min(columns - 1, int(len(part) * width / text_width(part, size)) + 5)
                pieces = textwrap.wrap(part, max(1, columns), break_on_hyphens=False) or [""]
            lines += pieces
        if len(lines) <= 2:
            break
    return "\n".join(lines), size


def describe(architecture: Architecture) -> tuple[dict[int, Box], list[Edge]]:
    """Nodes by number and edges of an architecture, not yet in place.

    Operations stand on the edges where the space has no connection slots and each operation reads one node. They
    stand on the nodes where connection slots choose what a node reads; nodes that nobody reads then go to the output.

    Raises
    ------
    ValueError
        For a space of another form.
    """
    space = architecture.space
    chosen = [(slot, slot.choices[k]) for slot, k in zip(space.slots, architecture.indices, strict=True)]
    operations = [(slot, choice) for slot, choice in chosen if slot.kind == "operation"]
    if len(operations) == len(chosen) and all(len(slot.reads) == 1 for slot in space.slots):
        nodes = {node: Box(str(node), width=0.4, height=0.4) for node in range(space.num_nodes)}
        nodes |= {0: Box("input"), space.num_nodes - 1: Box("output")}
        return nodes, [Edge(slot.reads[0], slot.writes, short_name(op.name), op.kind) for slot, op in operations]

    sources: dict[int, list[int]] = {slot.writes: list(slot.reads) for slot, _ in operations if len(slot.reads) == 1}
    for slot, choice in chosen:
        if choice.kind == "predecessor":
            sources.setdefault(slot.writes, []).append(int(choice.name))
    nodes = {slot.writes: Box(short_name(op.name), op.kind, height=0.34) for slot, op in operations}
    if set(nodes) != set(sources) or len(nodes) < len(operations):
        raise ValueError(f"cannot draw {space.name}: a node needs one operation and a choice of what it reads")
    edges = [Edge(source, node) for node in sorted(sources) for source in dict.fromkeys(sources[node])]
    unread = sorted(set(nodes) - {edge.source for edge in edges})
    edges += [Edge(node, space.num_nodes) for node in unread]
    return {0: Box("input"), **nodes, space.num_nodes: Box("output")}, edges


def lay_out(architecture: Architecture) -> Diagram:
    """Put an architecture in place: as a tree where operations stand on the nodes of one, else along a line."""
    nodes, edges = describe(architecture)
    slots = [slot for slot in architecture.space.slots if slot.kind == "operation"]
    widest = max(text_width(short_name(choice.name)) for slot in slots for choice in slot.choices)
    for box in nodes.values():
        box.width = widest + 0.24 if box.kind else box.width
    read = [edge.target for edge in edges if edge.target != max(nodes)]
    is_tree = len(set(read)) == len(read) and not any(edge.kind for edge in edges)
    return _tree(nodes, edges) if is_tree else _line(nodes, edges, widest)


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
        edge.points = np.array([start, (turn, start[1]), (middle, start[1]), (middle, end[1]), end])
    return Diagram(list(nodes.values()), edges)


def _paint(axes: Axes, diagram: Diagram, shift: np.ndarray) -> None:
    for edge in diagram.edges:
        points = edge.points + shift
        colour, dashes = STYLES[edge.kind]
        if edge.kind != "zero":
            along = (points[-1] - points[-2]) / np.linalg.norm(points[-1] - points[-2])
            base, across = points[-1] - HEAD * along, 0.4 * HEAD * np.array([-along[1], along[0]])
            axes.add_patch(Polygon([points[-1], base + across, base - across], color=colour, linewidth=0, zorder=3))
            points[-1] = base + 0.02 * along
        codes = [Outline.MOVETO, *[Outline.LINETO] * (len(points) - 4), *[Outline.CURVE4] * 3]
        width = {"zero": 1.0, "": 1.4}.get(edge.kind, 2.0)
        axes.add_patch(PathPatch(Outline(points, codes), fill=False, ec=colour, ls=dashes, lw=width, zorder=2))
    for box in diagram.boxes:
        if box.kind == "zero" or not box.text:
            continue
        colour, dashes = STYLES[box.kind]
        tint = tuple(1 - 0.18 * (1 - part) for part in to_rgb(colour)) if box.kind else "white"
        style: dict[str, Any] = dict(fc=tint, ec=FAINT if box.faint else colour, ls=dashes, lw=1.4, zorder=4)
        x, y = np.array([box.x, box.y]) + shift
        if not box.kind and box.width == box.height:
            axes.add_patch(Circle((x, y), box.width / 2, **style))
        else:
            corner = x - box.width / 2, y - box.height / 2
            rounding = f"round,pad=0,rounding_size={0.07 if box.kind else 0.2}"
            axes.add_patch(FancyBboxPatch(corner, box.width, box.height, boxstyle=rounding, **style))
        _write(axes, x, y, box.text, TEXT_SIZE, FAINT if box.faint else INK, va="center_baseline")


def _write(on: Axes | Figure, x: float, y: float, text: str, size: float, ink: str = INK, **more: Any) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "top", "parse_math": False, "zorder": 5, **more}
    on.text(x, y, text, size=size, color=ink, **style)


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise unknown("suffix of a picture", path.suffix, SUFFIXES)
    return path


def _save(figure: Figure, path: Path) -> Path:
    """Write under another name first, so that no half-written picture ever stands at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    form = path.suffix.lower()[1:]
    try:
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pkgen"}):
            figure.savefig(unfinished, format=form, dpi=DPI, metadata={"Date": None} if form == "svg" else None)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def draw(architectures: Sequence[Architecture], path: str | Path, titles: Sequence[str] | None = None) -> Path:
    """Draw architectures side by side, in the order of reading.

    Parameters
    ----------
    architectures
        One or several, of any spaces.
    path
        The picture's file; its suffix, ``.png`` or ``.svg``, says the format. A missing folder is made.
    titles
        A line or more above each architecture.

    Returns
    -------
    `path`

    Raises
    ------
    ValueError
        For another suffix, no architectures, a wrong number of titles, or a space whose form cannot be drawn.
    """
    path = _checked(path)
    if not architectures:
        raise ValueError("nothing to draw: no architectures given")
    if titles is not None and len(titles) != len(architectures):
        raise ValueError(f"{len(architectures)} architectures need as many titles, got {len(titles)}")
    diagrams = [lay_out(architecture) for architecture in architectures]
    number = len(diagrams)
    width, height = np.max([np.ptp(diagram.corners, axis=0) for diagram in diagrams], axis=0) + 0.44
    headings = [fit(title, width - 0.3) for title in titles or [""] * number]
    heading = max(size * LINE * len(text.splitlines()) for text, size in headings)
    height += heading

    def unpleasant(columns: int) -> float:  # empty places, and how far the page is from 1.4 times as wide as high
        rows = math.ceil(number / columns)
        return rows * columns / number - 1 + abs(math.log(columns * width / (rows * height) / 1.4))

    columns = min(range(1, number + 1), key=unpleasant)
    kinds = {box.kind for diagram in diagrams for box in diagram.boxes}
    keys = []
    for kind, (colour, dashes) in STYLES.items():
        if kind and kind in kinds:
            label = "no connection" if kind == "zero" else kind.replace("-", " ")
            keys.append(Line2D([], [], color=colour, ls=dashes, lw=1 if kind == "zero" else 2.5, label=label))
    key_columns = max(1, min(len(keys), int(columns * width / 1.7)))
    page = np.array([columns, math.ceil(number / columns)]) * (width, height)
    page[1] += 0.2 + 0.22 * math.ceil(len(keys) / key_columns)

    figure = Figure(figsize=tuple(page), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, page[0]), ylim=(0, page[1]))
    axes.set_axis_off()
    look: dict[str, Any] = {"frameon": False, "fontsize": TEXT_SIZE, "labelcolor": INK, "handlelength": 3}
    frame: dict[str, Any] = {"facecolor": "none", "edgecolor": "#dddddd", "zorder": 0}
    axes.legend(handles=keys, loc="lower center", ncols=key_columns, **look)
    for k, (diagram, (text, size)) in enumerate(zip(diagrams, headings, strict=True)):
        left, top = k % columns * width, page[1] - k // columns * height
        if number > 1:
            corner = left + 0.1, top - height + 0.1
            axes.add_patch(FancyBboxPatch(corner, width - 0.2, height - 0.2, boxstyle="round,pad=0.05", **frame))
        _write(axes, left + width / 2, top - 0.13, text, size)
        middle = np.array([left + width / 2, top - (height + heading) / 2])
        _paint(axes, diagram, middle - diagram.corners.mean(axis=0))
    return _save(figure, path)


def draw_prior(prior: Prior, path: str | Path) -> Path:
    """Draw what each choice contributes in each slot, and how frequent it is among the good architectures.

    Slots with the same choices share a block of the heat maps; what was not measured is grey. `path`, what is returned
    and what is raised are as for `draw`.
    """
    path = _checked(path)
    space = prior.space
    blocks: dict[tuple[str, ...], list[int]] = {}
    for s, slot in enumerate(space.slots):
        blocks.setdefault(tuple(short_name(choice.name) for choice in slot.choices), []).append(s)
    contributions = prior.contributions.detach().cpu().double().numpy()
    frequencies = 100 * prior.frequencies.detach().cpu().double().numpy()
    bound, most = (abs(values[np.isfinite(values)]).max(initial=0) or 1.0 for values in (contributions, frequencies))
    signed = "+z.1f" if bound >= 1 else "+z.2f"
    panels: list[tuple[str, np.ndarray, str, Normalize, str]] = [
        ("Contribution, in points of accuracy", contributions, "RdBu", Normalize(-bound, bound), signed),
        ("Frequency among good architectures, in %", frequencies, "Greens", Normalize(0, most), ".0f"),
    ]
    cell = np.array([0.6, 0.34])
    room = {names: 0.25 + max(text_width(name) for name in names) for names in blocks}  # for names left of a block
    labels = [short_name(slot.name) for slot in space.slots]
    labels = [t if text_width(t) < cell[0] else textwrap.fill(t, max(len(t) // 2 + 1, 6)) for t in labels]
    head = 0.4 + TEXT_SIZE * LINE * max(len(label.splitlines()) for label in labels)
    needed = sum(room[names] + cell[0] * len(at) for names, at in blocks.items())
    needed = max(needed, *(text_width(name, TITLE_SIZE) for name, *_ in panels))
    panel = np.array([needed + 0.2, head + 0.2 + cell[1] * max(map(len, blocks))])
    across = 2 if panel[0] < 8 else 1
    page = panel * (across, 2 / across) + (0.2, 0)
    title, size = fit(f"{space.name}, {prior.task or 'all tasks'}, evidence: {prior.evidence}", page[0] - 0.4, 11.5)
    above = 0.3 + size * LINE * len(title.splitlines())
    page[1] += above

    figure = Figure(figsize=tuple(page), facecolor="white")
    _write(figure, 0.5, 1 - 0.14 / page[1], title, size)
    for k, (name, values, colours, norm, form) in enumerate(panels):
        left, top = 0.1 + k % across * panel[0], page[1] - above - k // across * panel[1]
        _write(figure, (left + 0.13) / page[0], top / page[1], name, TITLE_SIZE, ha="left")
        for names, at in blocks.items():
            left += room[names]
            extent = cell * (len(at), len(names))
            axes = figure.add_axes((*((left, top - head - extent[1]) / page), *(extent / page)))
            _heat_map(axes, values[at, : len(names)].T, matplotlib.colormaps[colours], norm, form)
            axes.set_xticks(range(len(at)), [labels[s] for s in at])
            axes.set_yticks(range(len(names)), names)
            left += extent[0]
    return _save(figure, path)


def _heat_map(axes: Axes, values: np.ndarray, colours: Colormap, norm: Normalize, form: str) -> None:
    axes.imshow(values, cmap=colours.with_extremes(bad="#eeeeee"), norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        measured = math.isfinite(value)
        dark = measured and np.dot(colours(norm(value))[:3], (0.299, 0.587, 0.114)) < 0.5
        text = f"{value:{form}}".replace("-", "−") if measured else "–"
        _write(axes, column, row, text, TEXT_SIZE - 0.5, "white" if dark else INK, va="center_baseline")
    axes.set_xticks(np.arange(1, values.shape[1]) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, values.shape[0]) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0, labelsize=TEXT_SIZE, labelcolor=INK, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
