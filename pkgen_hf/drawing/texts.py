"""Texts of pictures: names as shown to people, and how much room they take."""

from __future__ import annotations

import re
import textwrap
from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from ..spaces import Choice

TEXT_SIZE, TITLE_SIZE = 9.0, 10.5  # points
LINE = 1.25 / 72  # inches of line height to the point


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
    if choice.widening == 2:
        parts.append("channels ×2")
    if choice.stride == 2:
        parts.append("pixels ÷2")
    return "\n".join(parts)


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """Width of a text in inches, that of its longest line."""
    font = FontProperties(size=size)
    lines = text.splitlines() or [""]
    return max(float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]) for line in lines) / 72


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


def narrow(text: str) -> str:
    """Break a text between words, so that lines are no wider than a cell as far as words allow."""
    lines = [""]
    for word in re.split(r" |(?<=-)", text):
        joined = lines[-1] + ("" if lines[-1].endswith("-") else " ") * bool(lines[-1]) + word
        lines[-1:] = [joined] if text_width(joined) < 0.62 or not lines[-1] else [lines[-1], word]
    return "\n".join(lines)
