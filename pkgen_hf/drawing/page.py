"""Canvas and file output shared by pictures of architectures and priors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..errors import unknown
from ..files import atomic_write, user_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg")
INK, PLAIN, FAINT = "#222222", "#555555", "#b0b0b0"
DPI = 150  # dots to the inch of a PNG


def picture_path(path: str | Path) -> Path:
    """The path of a picture; ValueError for a suffix that is no format."""
    path = user_path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise unknown("suffix of a picture", path.suffix, SUFFIXES)
    return path


def new_page(size: np.ndarray) -> Figure:
    """A white page of ``(width, height)`` inches."""
    return Figure(figsize=(float(size[0]), float(size[1])), facecolor="white")


def write(on: Axes | Figure, x: float, y: float, text: str, size: float, ink: str = INK, **more: Any) -> None:
    """Write a text of `size` points, its top in the middle at ``(x, y)`` unless `more` says otherwise."""
    style: dict[str, Any] = {"ha": "center", "va": "top", "parse_math": False, "zorder": 5, **more}
    on.text(x, y, text, size=size, color=ink, **style)


def save(figure: Figure, path: Path) -> Path:
    """Write a page in the format that the suffix says; the same page gives the same bytes."""
    form = path.suffix.lower()[1:]
    with atomic_write(path) as unfinished, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pkgen"}):
        figure.savefig(unfinished, format=form, dpi=DPI, metadata={"Date": None} if form == "svg" else None)
    return path
