"""Pictures of architectures and of priors, as PNG or SVG files.

`draw` paints any number of architectures, as `pkgen_hf.drawing.layout` puts them in place, on one page.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path as Outline

from ..errors import unknown
from ..files import atomic_write, user_path
from .layout import HEAD, LINE, TEXT, TEXT_SIZE, Diagram, label, lay_out, short_name, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..architecture import Architecture
    from ..priors.prior import Prior
    from ..spaces import SearchSpace

SUFFIXES = (".png", ".svg")
INK, PLAIN, FAINT = "#222222", "#555555", "#b0b0b0"
STYLES: dict[str, tuple[str, Any]] = {  # hues that the colour-blind tell apart; dashes tell the kinds apart in grey
    "convolution": ("#0072b2", "solid"),
    "inverted-bottleneck": ("#0072b2", "solid"),
    "residual-block": ("#0072b2", "solid"),
    "pooling": ("#d55e00", (0, (3, 1.2))),
    "identity": ("#009e73", (0, (1, 1))),
    "graph-convolution": ("#8a4fa8", "solid"),
    "linear": ("#e69f00", (0, (3, 1.2))),
    "activation": ("#cc5f95", (0, (5, 1, 1, 1))),
    "combination": ("#3d9fd6", "solid"),
    "predecessor": (PLAIN, "solid"),
    "edge": (PLAIN, "solid"),
    "size": ("#6b7280", "solid"),
    "zero": (FAINT, (0, (1, 3))),
    "": (PLAIN, "solid"),
}
TITLE_SIZE, DPI = 10.5, 150  # points, and dots to the inch of a PNG; all lengths are in inches
CELL_HEIGHT, WIDEST, MOST_SLOTS = 0.34, 16.0, 40  # of a prior's heat maps: a cell, a line of blocks, slots shown


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


def _paint(axes: Axes, diagram: Diagram, shift: np.ndarray) -> None:
    for edge in diagram.edges:
        points = edge.points + shift
        colour, dashes = STYLES[edge.kind]
        if edge.kind != "zero" and edge.has_head:
            along = points[-1] - points[-2]
            along /= np.linalg.norm(along)
            base, across = points[-1] - HEAD * along, 0.4 * HEAD * np.array([-along[1], along[0]])
            axes.add_patch(Polygon([points[-1], base + across, base - across], color=colour, linewidth=0, zorder=3))
            points[-1] = base + 0.02 * along
        codes = [Outline.MOVETO, *[Outline.CURVE4] * (len(points) - 1)]
        width = {"zero": 1.0, "": 1.4}.get(edge.kind, 2.0)
        axes.add_patch(PathPatch(Outline(points, codes), fill=False, ec=colour, ls=dashes, lw=width, zorder=2))
    for box in diagram.boxes:
        if not box.text:
            continue
        x, y = np.array([box.x, box.y]) + shift
        if box.kind == TEXT:
            _write(axes, x, y, box.text, TEXT_SIZE, va="center_baseline")
            continue
        colour, dashes = STYLES[box.kind]
        tint = tuple(1 - 0.18 * (1 - part) for part in to_rgb(colour)) if box.kind else "white"
        style: dict[str, Any] = dict(fc=tint, ec=FAINT if box.faint else colour, ls=dashes, lw=1.4, zorder=4)
        if not box.kind and box.width == box.height:
            axes.add_patch(Circle((x, y), box.width / 2, **style))
        else:
            corner = x - box.width / 2, y - box.height / 2
            radius = 0.07 if box.kind else min(0.2, box.height / 2, box.width / 2)
            rounding = f"round,pad=0,rounding_size={radius}"
            axes.add_patch(FancyBboxPatch(corner, box.width, box.height, boxstyle=rounding, **style))
        at = "center" if "\n" in box.text else "center_baseline"
        _write(axes, x, y, box.text, TEXT_SIZE, FAINT if box.faint else INK, va=at)


def _write(on: Axes | Figure, x: float, y: float, text: str, size: float, ink: str = INK, **more: Any) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "top", "parse_math": False, "zorder": 5, **more}
    on.text(x, y, text, size=size, color=ink, **style)


def _checked(path: str | Path) -> Path:
    path = user_path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise unknown("suffix of a picture", path.suffix, SUFFIXES)
    return path


def _save(figure: Figure, path: Path) -> Path:
    form = path.suffix.lower()[1:]
    with atomic_write(path) as unfinished, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pkgen"}):
        figure.savefig(unfinished, format=form, dpi=DPI, metadata={"Date": None} if form == "svg" else None)
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
        For another suffix, no architectures, or a wrong number of titles.
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
    kinds |= {edge.kind for diagram in diagrams for edge in diagram.edges}
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

    Slots share a block of the heat maps where the choices of one are among those of the other. What was not measured
    is grey, and blocks without any measured contribution are left out. Of a space with many slots, the 40 whose
    contributions (or else frequencies) differ most are shown, and a note says so. `path`, what is returned and what
    is raised are as for `draw`.
    """
    path = _checked(path)
    space = prior.space
    contributions = prior.contributions.detach().cpu().double().numpy()
    frequencies = 100 * prior.frequencies.detach().cpu().double().numpy()
    shown = _telling_slots(contributions, frequencies * space.sizes.numpy()[:, None])
    bound, most = (abs(v[shown][np.isfinite(v[shown])]).max(initial=0) or 1.0 for v in (contributions, frequencies))
    signed = "+z.1f" if bound >= 1 else "+z.2f"
    panels: list[tuple[str, np.ndarray, str, Normalize, str]] = [
        ("Contribution, in points of accuracy", contributions, "RdBu", Normalize(-bound, bound), signed),
        ("Frequency among good architectures, in %", frequencies, "Greens", Normalize(0, most), ".0f"),
    ]
    blocks = _blocks(space, shown)
    measured = [block for block in blocks if np.isfinite(contributions[block.slots]).any()]
    parts = [_broken(measured or blocks), _broken(blocks)]
    width = max(sum(block.size[0] for block in line) for lines in parts for line in lines)
    width = 0.2 + max(width, *(text_width(name, TITLE_SIZE) for name, *_ in panels))
    heights = [0.4 + sum(0.2 + max(block.size[1] for block in line) for line in lines) for lines in parts]
    beside = width < 8
    page = np.array([(2 if beside else 1) * width + 0.2, max(heights) if beside else sum(heights)])
    text = f"{space.name}, {prior.task or 'all tasks'}, evidence: {prior.evidence}"
    if len(shown) < space.num_slots:
        text += f"; {len(shown)} of {space.num_slots} slots, those whose choices matter most"
    title, size = fit(text, page[0] - 0.4, 11.5)
    above = 0.3 + size * LINE * len(title.splitlines())
    page[1] += above

    figure = Figure(figsize=tuple(page), facecolor="white")
    _write(figure, 0.5, 1 - 0.14 / page[1], title, size)
    for k, (name, values, colours, norm, form) in enumerate(panels):
        start, top = 0.1 + k * beside * width, page[1] - above - k * (not beside) * heights[0]
        _write(figure, (start + 0.13) / page[0], top / page[1], name, TITLE_SIZE, ha="left")
        top -= 0.4
        for line in parts[k]:
            left, head = start, max(block.head for block in line)
            for block in line:
                extent = CELL_HEIGHT * np.array([0, len(block.names)]) + [block.step * len(block.slots), 0]
                corner = left + block.room, top - head - extent[1]
                axes = figure.add_axes((*(corner / page), *(extent / page)))
                there = block.choices >= 0
                table = values[np.array(block.slots)[None, :], block.choices]
                _heat_map(axes, table, there, matplotlib.colormaps[colours], norm, form)
                axes.set_xticks(range(len(block.slots)), block.labels)
                axes.set_yticks(range(len(block.names)), block.names)
                left += block.size[0]
            top -= 0.2 + max(block.size[1] for block in line)
    return _save(figure, path)


@dataclass
class _Block:
    """Slots (columns) whose choices are among `names` (rows).

    `choices` are the numbers of the choices, ``(rows, columns)``, -1 where a slot has no such choice. Lengths are in
    inches: `room` for the names, `head` for the labels of the slots, `step` from column to column.
    """

    names: list[str]
    slots: list[int]
    labels: list[str]
    choices: np.ndarray

    @property
    def room(self) -> float:
        return 0.25 + max(map(text_width, self.names))

    @property
    def head(self) -> float:
        return 0.1 + TEXT_SIZE * LINE * max(len(text.splitlines()) for text in self.labels)

    @property
    def step(self) -> float:
        return max(0.6, *(0.1 + text_width(text) for text in self.labels))

    @property
    def size(self) -> tuple[float, float]:
        return self.room + self.step * len(self.slots), self.head + CELL_HEIGHT * len(self.names)


def _telling_slots(contributions: np.ndarray, shares: np.ndarray) -> list[int]:
    """The slots to show: those of the largest contribution, then of the share farthest from an even one."""
    largest = np.nan_to_num(abs(contributions)).max(axis=1)
    order = np.lexsort((-shares.max(axis=1), -largest))
    return sorted(order[:MOST_SLOTS].tolist())


def _blocks(space: SearchSpace, shown: list[int]) -> list[_Block]:
    """Blocks of the heat maps, in the order of their first slots."""
    names = {s: [label(choice).replace("\n", ", ") for choice in space.slots[s].choices] for s in shown}
    wholes: list[list[str]] = []
    groups: dict[int, list[int]] = {}
    for s in sorted(shown, key=lambda s: -len(names[s])):
        if not any(set(names[s]) <= set(whole) for whole in wholes):
            wholes.append(names[s])
    for s in shown:
        groups.setdefault([set(names[s]) <= set(whole) for whole in wholes].index(True), []).append(s)
    blocks = []
    for number, slots in groups.items():
        while slots:  # in pieces that fit on a line
            piece, slots = slots[:24], slots[24:]
            rows = [name for name in wholes[number] if any(name in names[s] for s in piece)]
            choices = [[names[s].index(name) if name in names[s] else -1 for s in piece] for name in rows]
            labels = [_narrow(short_name(space.slots[s].name)) for s in piece]
            blocks.append(_Block(rows, piece, labels, np.array(choices)))
    return blocks


def _broken(blocks: list[_Block]) -> list[list[_Block]]:
    """Blocks in lines no wider than a page, as far as one block fits."""
    lines: list[list[_Block]] = []
    for block in blocks:
        if lines and sum(other.size[0] for other in lines[-1]) + block.size[0] <= WIDEST:
            lines[-1].append(block)
        else:
            lines.append([block])
    return lines


def _narrow(text: str) -> str:
    """Break a text between words, so that lines are no wider than a cell as far as words allow."""
    lines = [""]
    for word in re.split(r" |(?<=-)", text):
        joined = lines[-1] + ("" if lines[-1].endswith("-") else " ") * bool(lines[-1]) + word
        lines[-1:] = [joined] if text_width(joined) < 0.62 or not lines[-1] else [lines[-1], word]
    return "\n".join(lines)


def _heat_map(
    axes: Axes, values: np.ndarray, there: np.ndarray, colours: Colormap, norm: Normalize, form: str
) -> None:
    axes.imshow(np.where(there, values, np.nan), cmap=colours.with_extremes(bad="#eeeeee"), norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not there[row, column]:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color="white"))
            continue
        measured = math.isfinite(value)
        dark = measured and np.dot(colours(norm(value))[:3], (0.299, 0.587, 0.114)) < 0.5
        text = f"{value:{form}}".replace("-", "−") if measured else "–"
        _write(axes, column, row, text, TEXT_SIZE - 0.5, "white" if dark else INK, va="center_baseline")
    axes.set_xticks(np.arange(1, values.shape[1]) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, values.shape[0]) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0, labelsize=TEXT_SIZE, labelcolor=INK, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
