"""The picture of a network of layers: a row of bars for each kind of decision. Lengths are in inches."""

from __future__ import annotations

import numpy as np

from ..spaces.protocols import ArchitectureLike
from .diagram import BAR, Box, Diagram, heading
from .per_layer import Decision, LayerChoices, PerLayer, layer_choices
from .texts import text_width

COLUMN, BETWEEN = 0.24, 0.08  # width of a column at least, and what is free of it
STAGE_GAP = 0.16  # between stages
WIDEST_BAR = 0.3
ROW, ROW_GAP = 0.46, 0.3  # height of the highest bar of a row, and from row to row; the number stands in it
TILE, TILE_GAP = 0.26, 0.16  # height of a tile with the name of an operation, and above it
LINE_HEIGHT = 0.19
WIDEST_ROW = 14.0  # of tiles; above that their texts stand upright
SHARED_WIDTH = 4.0  # of the line of decisions for the whole network at least, before it is broken
HUES = ("#0072b2", "#d55e00", "#009e73", "#8a4fa8", "#6b7280", "#cc5f95")  # that the colour-blind tell apart


def as_bars(architecture: ArchitectureLike, form: PerLayer) -> Diagram:
    """Decisions for the whole network as text, and below it those for its layers, from the input at the left.

    A decision among numbers is a row of bars, in proportion to them and darker for larger ones; any other is a row of
    tiles with names. Only layers that exist are drawn, but all pictures of a space have room for as many as there can
    be, so that they are of one size.
    """
    space, chosen = architecture.space, layer_choices(architecture, form)
    upright = _stands_upright(form)
    width = COLUMN
    for decision in form.decisions:
        width = max(
            width, BETWEEN + max(_room(decision, text, decision in upright) for text in decision.texts.values())
        )
    every = np.array([width * k + STAGE_GAP * stage for k, stage in enumerate(form.stages)])
    lefts = dict(zip(chosen.layers, _places(form, chosen, width), strict=True))
    boxes, y = _shared(chosen, every[-1] + width), 0.0
    y = min((box.y - box.height for box in boxes), default=0.0) - 0.04
    for number, (decision, row) in enumerate(zip(form.decisions, chosen.rows, strict=True)):
        height = ROW if decision.values else _tile_height(decision, decision in upright)
        y -= height + (ROW_GAP if decision.values else TILE_GAP)
        name = heading(decision.name)
        name.x, name.y = -0.12 - name.width / 2, y + height / 2
        boxes.append(name)
        for layer, (slot, choice) in row.items():
            at = lefts[layer] + width / 2, y
            if decision.values is not None:
                boxes += _bar(decision, choice, HUES[number % len(HUES)], at, min(WIDEST_BAR, width - BETWEEN))
            else:
                kind = next(other.kind for other in space.slots[slot].choices if other.name == choice)
                x, text, size = at[0], decision.texts[choice], (width - BETWEEN, height)
                boxes.append(Box(text, kind, *size, x, y + height / 2, upright=decision in upright))
    boxes += _numbers(form, chosen, lefts, width, y - 0.04)
    right, bottom = every[-1] + width, boxes[-1].y - 0.15
    room = [Box("", "", right, 0.0, right / 2, bottom)]
    if not chosen.shared:
        room.append(Box("", "", right, 0.0, right / 2, 0.0))  # however low the bars of the first row are
    return Diagram([*boxes, *room], [])


def _stands_upright(form: PerLayer) -> list[Decision]:
    """Decisions whose names are so long that they stand upright in their tiles."""
    tiles = [decision for decision in form.decisions if decision.values is None]
    return [
        decision
        for decision in tiles
        if len(form.stages) * (BETWEEN + max(map(text_width, decision.texts.values()))) > WIDEST_ROW
    ]


def _room(decision: Decision, text: str, upright: bool) -> float:
    """Width that a text takes in its column."""
    if upright:
        return LINE_HEIGHT
    return text_width(text) + (0.08 if decision.values is None else -0.02)


def _tile_height(decision: Decision, upright: bool) -> float:
    return 0.12 + max(map(text_width, decision.texts.values())) if upright else TILE


def _places(form: PerLayer, chosen: LayerChoices, width: float) -> list[float]:
    """Left ends of the columns of the layers that exist; a gap is between stages."""
    lefts, left = [], 0.0
    for k, layer in enumerate(chosen.layers):
        left += STAGE_GAP * (k > 0 and form.stages[layer] != form.stages[chosen.layers[k - 1]])
        lefts.append(left)
        left += width
    return lefts


def _shared(chosen: LayerChoices, width: float) -> list[Box]:
    """Lines of the decisions for the whole network, from the left, no wider than the layers as far as words allow."""
    lines: list[str] = []
    for text in chosen.shared:
        joined = f"{lines[-1]}  ·  {text}" if lines else text
        lines[-1:] = [joined] if not lines or text_width(joined) < max(width, SHARED_WIDTH) else [lines[-1], text]
    boxes = []
    for k, line in enumerate(lines):
        box = heading(line)
        box.x, box.y = box.width / 2, -LINE_HEIGHT * k
        boxes.append(box)
    return boxes


def _bar(decision: Decision, choice: str, hue: str, at: tuple[float, float], width: float) -> list[Box]:
    """A bar that stands at the middle of its foot, and its number above it."""
    values = decision.values or {}
    largest, smallest = max(values.values()), min(values.values())
    x, y = at
    height = max(0.02, ROW * values[choice] / (largest or 1))
    shade = 0.45 + 0.55 * (values[choice] - smallest) / ((largest - smallest) or 1)
    number = heading(decision.texts[choice])
    number.x, number.y = x, y + height + number.height / 2 + 0.035
    return [Box("", BAR, width, height, x, y + height / 2, hue=hue, shade=shade), number]


def _numbers(form: PerLayer, chosen: LayerChoices, lefts: dict[int, float], width: float, y: float) -> list[Box]:
    """Numbers of layers, and of stages below them."""
    boxes, numbers = [], form.numbers
    name = heading(form.layer_name)
    name.x, name.y = -0.12 - name.width / 2, y - name.height / 2
    boxes.append(name)
    for layer in chosen.layers:
        box = heading(numbers[layer])
        box.x, box.y = lefts[layer] + width / 2, name.y
        boxes.append(box)
    if not any(form.stages):
        return boxes
    below = heading(form.stage_name)
    below.x, below.y = -0.12 - below.width / 2, name.y - LINE_HEIGHT - 0.06
    boxes.append(below)
    for stage in sorted({form.stages[layer] for layer in chosen.layers}):
        inside = [lefts[layer] for layer in chosen.layers if form.stages[layer] == stage]
        box = heading(str(stage + 1))
        box.x, box.y = (inside[0] + inside[-1] + width) / 2, below.y
        line = Box("", BAR, inside[-1] + width - inside[0] - BETWEEN, 0.012, box.x, name.y - 0.125, hue="#555555")
        boxes += [line, box]
    return boxes
