"""What the picture of an architecture is made of: boxes and edges, in inches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .texts import LINE, TEXT_SIZE, text_width

RADIUS = 0.28  # of a plain node
HEAD = 0.13  # length of an arrow's head
TEXT = "text"  # the kind of a box that is nothing but its text
BAR = "bar"  # the kind of a box that is filled with its colour and has no text


@dataclass
class Box:
    """A node, the label of an edge, or a bar. One with an operation has its `kind`; a plain one is round.

    The text of an `upright` one reads from the bottom up. A bar has a `hue`, and a `shade` from 0, white, to 1.
    """

    text: str
    kind: str = ""
    width: float = 2 * RADIUS
    height: float = 2 * RADIUS
    x: float = 0.0
    y: float = 0.0
    faint: bool = False
    upright: bool = False
    hue: str = ""
    shade: float = 1.0

    def border(self, angle: float) -> np.ndarray:
        """The point of the border in the direction `angle`."""
        towards = np.array([math.cos(angle), math.sin(angle)])
        half = np.array([self.width, self.height]) / 2
        return np.array([self.x, self.y]) + towards * (min(half / (abs(towards) + 1e-9)) if self.kind else half[0])


@dataclass
class Edge:
    """A line between nodes, with the operation on it, if any, and an arrow's head unless it ends in a label.

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


def framed(text: str, kind: str, margin: float = 0.24) -> Box:
    """A box that holds its text; plain ones are round if that is short."""
    lines = max(1, len(text.splitlines()))
    width = text_width(text) + margin
    if not kind and (wide := max(0.4, text_width(text) + 0.14)) <= 2 * RADIUS:
        return Box(text, "", wide, wide)
    return Box(text, kind, width, 0.34 + TEXT_SIZE * LINE * (lines - 1))


def heading(text: str) -> Box:
    return Box(text, TEXT, text_width(text), TEXT_SIZE * LINE)
