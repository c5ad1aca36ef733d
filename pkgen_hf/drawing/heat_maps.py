"""Pictures of priors: heat maps of contributions and frequencies, as PNG or SVG files. Lengths are in inches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import matplotlib
import numpy as np
import torch
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Rectangle

from ..spaces import SearchSpace
from .page import INK, new_page, picture_path, save, write
from .per_layer import Decision, PerLayer, per_layer
from .texts import LINE, TEXT_SIZE, TITLE_SIZE, fit, label, narrow, short_name, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL_HEIGHT = 0.34
WIDEST = 16.0  # a line of blocks
MOST_SLOTS = 40  # that are shown: more make a page that no screen shows
MOST_COLUMNS = 24  # of a block, so that it fits on a line
MOST_LAYERS = 36  # of a block of layers, whose columns are narrower
COLUMN, LAYER_COLUMN = 0.6, 0.42  # width of a column at least
TITLE_GAP, LINE_GAP = 0.4, 0.2  # below the name of a panel, and between lines of blocks
SIDE_BY_SIDE = 8.0  # panels narrower than this stand side by side


class PriorLike(Protocol):
    """What is drawn of a prior, such as `pkgen_hf.Prior`.

    Attributes
    ----------
    space : SearchSpace
    task : str or None
    evidence : str
    contributions, frequencies : FloatTensor (slots, choices)
    """

    @property
    def space(self) -> SearchSpace: ...

    @property
    def task(self) -> str | None: ...

    @property
    def evidence(self) -> str: ...

    @property
    def contributions(self) -> torch.Tensor: ...

    @property
    def frequencies(self) -> torch.Tensor: ...


def draw_prior(prior: PriorLike, path: str | Path) -> Path:
    """Draw what each choice contributes in each slot, and how frequent it is among the good architectures.

    Slots share a block of the heat maps where the choices of one are among those of the other. What was not measured
    is grey, and blocks without any measured contribution are left out. Of a space with many slots, the 40 whose
    contributions (or else frequencies) differ most are shown, and a note says so. In a space of many layers each kind
    of decision has its block, with a column for each layer; below the number of a layer stands in how many of the
    good architectures it exists, and layers that exist in none are left out. `path`, what is returned and what is
    raised are as for `pkgen_hf.drawing.pictures.draw`.
    """
    path = picture_path(path)
    space, form = prior.space, per_layer(prior.space)
    contributions = prior.contributions.detach().cpu().double().numpy()
    frequencies = 100 * prior.frequencies.detach().cpu().double().numpy()
    existence = _existence(space, frequencies / 100)
    if form:
        shown = existence.nonzero()[0].tolist()
        blocks = list(_blocks_of_layers(space, form, existence, frequencies))
    else:
        shown = _slots_to_show(contributions, frequencies * space.sizes.numpy()[:, None])
        blocks = list(_blocks(space, shown, frequencies))
    panels = _panels(blocks, shown, contributions, frequencies)
    width = 0.2 + max(panel.width for panel in panels)
    heights = [panel.height for panel in panels]
    beside = width < SIDE_BY_SIDE
    page = np.array([(2 if beside else 1) * width + 0.2, max(heights) if beside else sum(heights)])
    text = f"{space.name}, {prior.task or 'all tasks'}, evidence: {prior.evidence}"
    if not form and len(shown) < space.num_slots:
        text += f"; {len(shown)} of {space.num_slots} slots, those whose choices matter most"
    title, size = fit(text, page[0] - 0.4, TITLE_SIZE + 1)
    above = 0.3 + size * LINE * len(title.splitlines())
    page[1] += above

    figure = new_page(page)
    write(figure, 0.5, 1 - 0.14 / page[1], title, size)
    for k, panel in enumerate(panels):
        corner = np.array([0.1 + k * beside * width, page[1] - above - k * (not beside) * heights[0]])
        _paint(figure, panel, corner, page)
    return save(figure, path)


def _slots_to_show(contributions: np.ndarray, ratios: np.ndarray) -> list[int]:
    """The slots with the largest contributions, then those whose frequencies are farthest from chance."""
    largest = np.nan_to_num(abs(contributions)).max(axis=1)
    order = np.lexsort((-ratios.max(axis=1), -largest))
    return sorted(order[:MOST_SLOTS].tolist())


def _existence(space: SearchSpace, frequencies: np.ndarray) -> np.ndarray:
    """Share of the good architectures in which each slot has an effect, ``(slots,)``, as if slots were independent."""
    shares = np.ones(space.num_slots)
    activating, controlling = space.activating_choices.numpy(), space.controlling_slots.tolist()
    for s, other in enumerate(controlling):
        if other >= 0:  # an earlier slot
            shares[s] = shares[other] * frequencies[other][activating[s]].sum()
    return np.where(shares < 0.0005, 0.0, shares)


# ---------------------------------------------------------------------- panels and their blocks


@dataclass(frozen=True)
class _Block:
    """Slots (columns) whose choices are among `names` (rows).

    `choices` are the numbers of the choices, ``(rows, columns)``, -1 where a slot has no such choice. A block of
    layers has a title, such as "heads by layer", and narrow columns.
    """

    names: list[str]
    slots: list[int]
    labels: list[str]
    choices: np.ndarray
    title: str = ""

    @property
    def names_width(self) -> float:
        return 0.25 + max(map(text_width, self.names))

    @property
    def labels_height(self) -> float:
        lines = max(len(text.splitlines()) for text in self.labels) + bool(self.title)
        return 0.1 + TEXT_SIZE * LINE * lines

    @property
    def cells(self) -> np.ndarray:
        """Width and height of the heat map alone."""
        least = LAYER_COLUMN if self.title else COLUMN
        step = max(least, *(0.1 + text_width(text) for text in self.labels))
        return np.array([step * len(self.slots), CELL_HEIGHT * len(self.names)])

    @property
    def width(self) -> float:
        return self.names_width + max(self.cells[0], text_width(self.title) if self.title else 0.0)

    @property
    def height(self) -> float:
        return self.labels_height + self.cells[1]


@dataclass(frozen=True)
class _Panel:
    """Heat maps of the same values ``(slots, choices)``: lines of blocks, and how numbers are coloured and written."""

    name: str
    values: np.ndarray
    colours: Colormap
    norm: Normalize
    number_format: str
    lines: list[list[_Block]]

    @property
    def width(self) -> float:
        return max(text_width(self.name, TITLE_SIZE), *(sum(block.width for block in line) for line in self.lines))

    @property
    def height(self) -> float:
        return TITLE_GAP + sum(LINE_GAP + max(block.height for block in line) for line in self.lines)


def _panels(
    blocks: list[_Block], shown: list[int], contributions: np.ndarray, frequencies: np.ndarray
) -> tuple[_Panel, _Panel]:
    bound, most = (abs(v[shown][np.isfinite(v[shown])]).max(initial=0) or 1.0 for v in (contributions, frequencies))
    measured = [block for block in blocks if np.isfinite(contributions[block.slots]).any()]
    return (
        _Panel(
            "Contribution to the score",
            contributions,
            matplotlib.colormaps["RdBu"],
            Normalize(-bound, bound),
            "+z.1f" if bound >= 1 else "+z.2f",
            _lines(measured or blocks),
        ),
        _Panel(
            "Frequency among good architectures, in %",
            frequencies,
            matplotlib.colormaps["Greens"],
            Normalize(0, most),
            ".0f",
            _lines(blocks),
        ),
    )


def _blocks(space: SearchSpace, shown: list[int], frequencies: np.ndarray) -> Iterator[_Block]:
    """Blocks of the heat maps, in the order of their first slots, without choices that are neither drawn nor there."""
    sizes = np.maximum(space.drawn_sizes.numpy(), (frequencies > 0).cumsum(1).argmax(1) + 1)  # up to the last that is
    names = {s: [label(choice).replace("\n", ", ") for choice in space.slots[s].choices[: sizes[s]]] for s in shown}
    wholes: list[list[str]] = []  # sets of choices that hold those of all slots
    groups: dict[int, list[int]] = {}
    for s in sorted(shown, key=lambda s: -len(names[s])):
        if not any(set(names[s]) <= set(whole) for whole in wholes):
            wholes.append(names[s])
    for s in shown:
        groups.setdefault([set(names[s]) <= set(whole) for whole in wholes].index(True), []).append(s)
    for number, slots in groups.items():
        for first in range(0, len(slots), MOST_COLUMNS):
            part = slots[first : first + MOST_COLUMNS]
            rows = [name for name in wholes[number] if any(name in names[s] for s in part)]
            choices = [[names[s].index(name) if name in names[s] else -1 for s in part] for name in rows]
            labels = [narrow(short_name(space.slots[s].name)) for s in part]
            yield _Block(rows, part, labels, np.array(choices))


def _blocks_of_layers(
    space: SearchSpace, form: PerLayer, existence: np.ndarray, frequencies: np.ndarray
) -> Iterator[_Block]:
    """Blocks of the decisions for the whole network, then one for each decision about layers."""
    yield from _blocks(space, [s for s in (*form.shared, *form.depths) if existence[s]], frequencies)
    for decision in form.decisions:
        layers = [layer for layer, s in sorted(decision.slots.items()) if existence[s]]
        for first in range(0, len(layers), MOST_LAYERS):
            yield _block_of_layers(space, form, decision, layers[first : first + MOST_LAYERS], existence)


def _block_of_layers(
    space: SearchSpace, form: PerLayer, decision: Decision, layers: list[int], existence: np.ndarray
) -> _Block:
    slots = [decision.slots[layer] for layer in layers]
    index = [space.choice_index[s] for s in slots]
    choices = [[names.get(choice, -1) for names in index] for choice in decision.texts]
    has_stages = any(form.stages)
    labels = []
    for layer, s in zip(layers, slots, strict=True):
        number = f"{form.stages[layer] + 1}.{form.numbers[layer]}" if has_stages else form.numbers[layer]
        labels.append(number if existence[s] > 0.9995 else f"{number}\n{100 * existence[s]:.0f} %")
    title = f"{decision.name} by {form.stage_name + ' and ' if has_stages else ''}{form.layer_name}"
    return _Block(list(decision.texts.values()), slots, labels, np.array(choices), title)


def _lines(blocks: list[_Block]) -> list[list[_Block]]:
    """Blocks in lines no wider than a page, as far as one block fits."""
    lines: list[list[_Block]] = []
    for block in blocks:
        if lines and sum(other.width for other in lines[-1]) + block.width <= WIDEST:
            lines[-1].append(block)
        else:
            lines.append([block])
    return lines


# ---------------------------------------------------------------------- painting


def _paint(figure: Figure, panel: _Panel, corner: np.ndarray, page: np.ndarray) -> None:
    """Paint a panel whose top left is at `corner` of a page of ``(width, height)``."""
    start, top = corner
    write(figure, (start + 0.13) / page[0], top / page[1], panel.name, TITLE_SIZE, ha="left")
    top -= TITLE_GAP
    for line in panel.lines:
        left, head = start, max(block.labels_height for block in line)
        for block in line:
            bottom = left + block.names_width, top - head - block.cells[1]
            axes = figure.add_axes((*(bottom / page), *(block.cells / page)))
            if block.title:
                above = (top - head + block.labels_height) / page[1]
                write(figure, bottom[0] / page[0], above, block.title, TEXT_SIZE, ha="left")
            _paint_block(axes, panel, block)
            left += block.width
        top -= LINE_GAP + max(block.height for block in line)


def _paint_block(axes: Axes, panel: _Panel, block: _Block) -> None:
    values, exists = panel.values[np.array(block.slots)[None, :], block.choices], block.choices >= 0
    shades = panel.colours.with_extremes(bad="#eeeeee")
    axes.imshow(np.where(exists, values, np.nan), cmap=shades, norm=panel.norm, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not exists[row, column]:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color="white"))
            continue
        measured = math.isfinite(value)
        # luma of the colour (ITU-R BT.601), on the dark half of which white can be read
        dark = measured and np.dot(panel.colours(panel.norm(value))[:3], (0.299, 0.587, 0.114)) < 0.5
        text = f"{value:{panel.number_format}}".replace("-", "−") if measured else "–"
        write(axes, column, row, text, TEXT_SIZE - 0.5, "white" if dark else INK, va="center_baseline")
    axes.set_xticks(np.arange(1, values.shape[1]) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, values.shape[0]) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0, labelsize=TEXT_SIZE, labelcolor=INK, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(block.slots)), block.labels)
    axes.set_yticks(range(len(block.names)), block.names)
