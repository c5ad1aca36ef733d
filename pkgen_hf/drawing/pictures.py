"""Pictures of architectures, as PNG or SVG files.

`draw` paints any number of architectures, as `pkgen_hf.drawing.layout` puts them in place, on one page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path as Outline

from ..spaces.protocols import ArchitectureLike
from .diagram import BAR, HEAD, TEXT, Box, Diagram, Edge
from .layout import lay_out
from .page import FAINT, INK, PLAIN, new_page, picture_path, save, write
from .texts import LINE, TEXT_SIZE, fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
MARGIN, PADDING = 0.44, 0.3  # inches around a diagram, and beside its title
PLEASANT = 1.4  # width over height of a page
KEY_WIDTH, KEY_HEIGHT = 1.7, 0.22  # inches of an entry of the legend


def draw(architectures: Sequence[ArchitectureLike], path: str | Path, titles: Sequence[str] | None = None) -> Path:
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
    path = picture_path(path)
    if not architectures:
        raise ValueError("nothing to draw: no architectures given")
    if titles is not None and len(titles) != len(architectures):
        raise ValueError(f"{len(architectures)} architectures need as many titles, got {len(titles)}")
    diagrams = [lay_out(architecture) for architecture in architectures]
    grid = _grid_of(diagrams, titles or [""] * len(diagrams))
    keys = _keys(diagrams)
    key_columns = max(1, min(len(keys), int(grid.columns * grid.width / KEY_WIDTH)))
    page = np.array([grid.columns, grid.rows]) * (grid.width, grid.height)
    page[1] += 0.2 + KEY_HEIGHT * math.ceil(len(keys) / key_columns)

    figure = new_page(page)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, page[0]), ylim=(0, page[1]))
    axes.set_axis_off()
    look: dict[str, Any] = {"frameon": False, "fontsize": TEXT_SIZE, "labelcolor": INK, "handlelength": 3}
    axes.legend(handles=keys, loc="lower center", ncols=key_columns, **look)
    for k, diagram in enumerate(diagrams):
        corner = np.array([k % grid.columns * grid.width, page[1] - k // grid.columns * grid.height])
        _paint_place(axes, grid, k, corner, framed=len(diagrams) > 1)
        middle = corner + (grid.width / 2, -(grid.height + grid.heading) / 2)
        _paint(axes, diagram, middle - diagram.corners.mean(axis=0))
    return save(figure, path)


@dataclass(frozen=True)
class _Grid:
    """Equal places for diagrams, row by row.

    Attributes
    ----------
    columns, rows : int
    width, height : float, inches of a place
    heading : float, inches of its height for the title
    titles : list of (text, size in points), broken to fit
    """

    columns: int
    rows: int
    width: float
    height: float
    heading: float
    titles: list[tuple[str, float]]


def _grid_of(diagrams: list[Diagram], titles: Sequence[str]) -> _Grid:
    """Places that hold the largest diagram and the highest title, in as many columns as look best."""
    number = len(diagrams)
    width, height = np.max([np.ptp(diagram.corners, axis=0) for diagram in diagrams], axis=0) + MARGIN
    fitted = [fit(title, width - PADDING) for title in titles]
    heading = max(size * LINE * len(text.splitlines()) for text, size in fitted)
    height += heading

    def unpleasant(columns: int) -> float:  # empty places, and how far the page is from a pleasant form
        rows = math.ceil(number / columns)
        return rows * columns / number - 1 + abs(math.log(columns * width / (rows * height) / PLEASANT))

    columns = min(range(1, number + 1), key=unpleasant)
    return _Grid(columns, math.ceil(number / columns), width, height, heading, fitted)


def _keys(diagrams: list[Diagram]) -> list[Line2D]:
    """Entries of the legend, one for each kind of operation that is there."""
    kinds = {box.kind for diagram in diagrams for box in diagram.boxes}
    kinds |= {edge.kind for diagram in diagrams for edge in diagram.edges}
    keys = []
    for kind, (colour, dashes) in STYLES.items():
        if kind and kind in kinds:
            label = "no connection" if kind == "zero" else kind.replace("-", " ")
            keys.append(Line2D([], [], color=colour, ls=dashes, lw=1 if kind == "zero" else 2.5, label=label))
    return keys


# ---------------------------------------------------------------------- painting


def _paint_place(axes: Axes, grid: _Grid, number: int, corner: np.ndarray, framed: bool) -> None:
    """Frame and title of a place, whose top left is at `corner`."""
    left, top = corner
    if framed:
        frame: dict[str, Any] = {"facecolor": "none", "edgecolor": "#dddddd", "zorder": 0}
        bottom = left + 0.1, top - grid.height + 0.1
        size = grid.width - 0.2, grid.height - 0.2
        axes.add_patch(FancyBboxPatch(bottom, *size, boxstyle="round,pad=0.05", **frame))
    text, points = grid.titles[number]
    write(axes, left + grid.width / 2, top - 0.13, text, points)


def _paint(axes: Axes, diagram: Diagram, shift: np.ndarray) -> None:
    for edge in diagram.edges:
        _paint_edge(axes, edge, shift)
    for box in diagram.boxes:
        if box.text or box.kind == BAR:
            _paint_box(axes, box, shift)


def _paint_edge(axes: Axes, edge: Edge, shift: np.ndarray) -> None:
    points = edge.points + shift
    colour, dashes = STYLES[edge.kind]
    if edge.kind != "zero" and edge.has_head:
        along = points[-1] - points[-2]
        along /= np.linalg.norm(along)
        base, across = points[-1] - HEAD * along, 0.4 * HEAD * np.array([-along[1], along[0]])
        axes.add_patch(Polygon([points[-1], base + across, base - across], color=colour, linewidth=0, zorder=3))
        points[-1] = base + 0.02 * along  # the line ends inside the head
    codes = [Outline.MOVETO, *[Outline.CURVE4] * (len(points) - 1)]
    width = {"zero": 1.0, "": 1.4}.get(edge.kind, 2.0)
    axes.add_patch(PathPatch(Outline(points, codes), fill=False, ec=colour, ls=dashes, lw=width, zorder=2))


def _paint_box(axes: Axes, box: Box, shift: np.ndarray) -> None:
    x, y = np.array([box.x, box.y]) + shift
    if box.kind == TEXT:
        write(axes, x, y, box.text, TEXT_SIZE, va="center_baseline")
        return
    if box.kind == BAR:
        corner = x - box.width / 2, y - box.height / 2
        axes.add_patch(Rectangle(corner, box.width, box.height, color=_tint(box.hue, box.shade), linewidth=0))
        return
    colour, dashes = STYLES[box.kind]
    tint = _tint(colour, 0.18) if box.kind else "white"
    style: dict[str, Any] = dict(fc=tint, ec=FAINT if box.faint else colour, ls=dashes, lw=1.4, zorder=4)
    if not box.kind and box.width == box.height:
        axes.add_patch(Circle((x, y), box.width / 2, **style))
    else:
        corner = x - box.width / 2, y - box.height / 2
        radius = 0.07 if box.kind else min(0.2, box.height / 2, box.width / 2)
        rounding = f"round,pad=0,rounding_size={radius}"
        axes.add_patch(FancyBboxPatch(corner, box.width, box.height, boxstyle=rounding, **style))
    at = "center" if "\n" in box.text or box.upright else "center_baseline"
    write(axes, x, y, box.text, TEXT_SIZE, FAINT if box.faint else INK, va=at, rotation=90 if box.upright else 0)


def _tint(colour: str, share: float) -> tuple[float, ...]:
    """`share` of a colour in white."""
    return tuple(1 - share * (1 - part) for part in to_rgb(colour))
