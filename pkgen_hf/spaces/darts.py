"""The DARTS space (Liu et al., ICLR 2019), whose networks NAS-Bench-301 (Zela et al., ICLR 2022) measures on CIFAR-10.

A network stacks two cells, one that keeps the resolution and one that halves it. A cell has the outputs of the two
cells before it as nodes 0 and 1, and four nodes 2 to 5, each the sum of two operations on two earlier nodes; what it
puts out is these four, concatenated. The string is what Python prints of the genotype in the authors' code:
``Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ...], normal_concat=range(2, 6), reduce=[...], ...)``.
It may stand in a line of code or of a log, over several lines, and with lists or numpy's numbers.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import shortened
from .base import SearchSpace, join_columns
from .parts import Choice, Graph, Slot, Task, constant, moved_once
from .pasted import arguments, literal

OPERATIONS = (
    Choice("max_pool_3x3", "pooling", kernel=3, aggregation="max"),
    Choice("avg_pool_3x3", "pooling", kernel=3, aggregation="mean"),
    Choice("skip_connect", "identity"),
    Choice("sep_conv_3x3", "convolution", kernel=3, separable=True),
    Choice("sep_conv_5x5", "convolution", kernel=5, separable=True),
    Choice("dil_conv_3x3", "convolution", kernel=3, dilation=2, separable=True),
    Choice("dil_conv_5x5", "convolution", kernel=5, dilation=2, separable=True),
)
NODES = range(2, 6)
CELLS = ("normal", "reduce")
# Pairs of earlier nodes, so ordered that those which node i may read are the first i (i - 1) / 2.
PAIRS = tuple((low, high) for high in range(1, 5) for low in range(high))
TASKS = {
    "cifar10": Task("image-classification", guess=10.0, num_classes=10, image_size=32),
    "imagenet1k": Task("image-classification", guess=0.1, num_classes=1000, image_size=224),
}
CHANNELS, LAYERS = 32, 8
LARGE_CHANNELS, LARGE_LAYERS = 48, 14  # with which DARTS evaluates a genotype on ImageNet
STEM_WIDENING, CELL_WIDENING = 3, len(NODES)

_PAIR = r"\(\s*['\"]{0}[^'\"]*)['\"]\s*,\s*{0}[0-9]+)\s*\)"
_LIST = rf"(\[\s*(?:{_PAIR.format('(?:')}\s*(?:,\s*|(?=\])))*\])"
_CONCAT = r"(?:range\(\s*2\s*,\s*6\s*\)|\[\s*2\s*,\s*3\s*,\s*4\s*,\s*5\s*\])"
_FIELDS = [rf"{name}\s*=\s*{_LIST}\s*,\s*{name}_concat\s*=\s*{_CONCAT}" for name in CELLS]
_GENOTYPE = re.compile(rf"\s*Genotype\(\s*{_FIELDS[0]}\s*,\s*{_FIELDS[1]}\s*\)\s*")
_EDGE = re.compile(_PAIR.format("("))
_ARGUMENTS = ("normal", "normal_concat", "reduce", "reduce_concat")
_DIGITS = np.array([str(digit) for digit in range(10)], dtype=object)


class CellShape(NamedTuple):
    """One cell of a network.

    `before` and `inputs` are the channels of nodes 0 and 1 as they come, `width` those of the cell's own nodes;
    `reduces`: the cell halves the resolution; `shrinks`: the cell before does, so that node 0 comes at twice the size.
    """

    before: int
    inputs: int
    width: int
    reduces: bool
    shrinks: bool


def cell_shapes(channels: int = CHANNELS, cells: int = LAYERS, is_large: bool = False) -> list[CellShape]:
    """All cells of a network whose first has nodes of `channels`; those after a third and two thirds reduce.

    `is_large` stands for a stem for large images, which itself halves the resolution between nodes 0 and 1.
    """
    shapes = []
    before = inputs = channels if is_large else channels * STEM_WIDENING
    width, shrinks = channels, is_large
    for cell in range(cells):
        reduces = cell in (cells // 3, 2 * cells // 3)
        width *= 1 + reduces
        shapes.append(CellShape(before, inputs, width, reduces, shrinks))
        before, inputs, shrinks = inputs, CELL_WIDENING * width, reduces
    return shapes


# ---------------------------------------------------------------------- costs


def _operation_costs(choice: Choice, width: int, area: int, is_strided: bool) -> np.ndarray:
    """Parameters and operations of a choice that puts out `area` pixels.

    A normalisation without weights counts 1 for each value, ReLU 1 for each that it reads, a pooling 9.
    """
    read = width * area * (4 if is_strided else 1)
    if choice.kind == "pooling":
        return np.array([0, (9 + 1) * width * area])
    if choice.kind == "identity":
        return np.array([width**2, read + (width**2 + width) * area]) if is_strided else np.zeros(2, dtype=np.int64)
    weights = choice.kernel**2 * width + width**2
    once = np.array([weights, read + (weights + width) * area])
    if choice.dilation > 1:
        return once
    return once + np.array([weights, width * area + (weights + width) * area])


def _large_operation_costs(choice: Choice, width: int, area: int, is_strided: bool) -> np.ndarray:
    """Parameters and multiply-adds of a choice in a network for ImageNet, whose normalisations have weights."""
    if choice.kind == "pooling" or (choice.kind == "identity" and not is_strided):
        return np.zeros(2, dtype=np.int64)
    weights = width**2 + (0 if choice.kind == "identity" else choice.kernel**2 * width)
    once = np.array([weights + 2 * width, weights * area])
    return once if choice.kind == "identity" or choice.dilation > 1 else 2 * once


def _large_fixed_costs(classes: int, size: int) -> np.ndarray:
    """The same of what does not depend on the cells, without the auxiliary classifier."""
    total = np.zeros(2, dtype=np.int64)
    inputs = 3
    for outputs in (LARGE_CHANNELS // 2, LARGE_CHANNELS, LARGE_CHANNELS):
        size //= 2
        total += np.array([9 * inputs * outputs + 2 * outputs, 9 * inputs * outputs * size**2])
        inputs = outputs
    for before, inputs, width, reduces, _ in cell_shapes(LARGE_CHANNELS, LARGE_LAYERS, is_large=True):
        weights = (before + inputs) * width
        total += np.array([weights + 2 * 2 * width, weights * size**2])
        size //= 1 + reduces
    last = CELL_WIDENING * width
    return total + np.array([(last + 1) * classes, last * classes])


def _fixed_costs(classes: int, size: int) -> np.ndarray:
    """Parameters and operations of all that does not depend on the cells: stem, what joins cells, classifier."""
    stem = CHANNELS * STEM_WIDENING
    total = np.array([27 * stem + 2 * stem, (27 * stem + 2 * stem) * size**2])
    for before, inputs, width, reduces, shrinks in cell_shapes():
        weights = (before + inputs) * width
        read = before * (4 if shrinks else 1) + inputs
        total += np.array([weights + 2 * 2 * width, (weights + 2 * 2 * width + read) * size**2])
        size //= 1 + reduces
    last = CELL_WIDENING * width
    # The counter that the table's numbers are from takes a mean over n x n values for (n + 1)^2 operations.
    return total + np.array([(last + 1) * classes, last * (size + 1) ** 2 + last * classes])


def _cost_table(size: int, is_large: bool) -> torch.Tensor:
    """Of each operation in all cells of a kind, ``LongTensor (kinds, operations, reads input, 2)``."""
    table = np.zeros((len(CELLS), len(OPERATIONS), 2, 2), dtype=np.int64)
    costs = _large_operation_costs if is_large else _operation_costs
    for shape in cell_shapes(LARGE_CHANNELS, LARGE_LAYERS, is_large=True) if is_large else cell_shapes():
        size //= 1 + shape.reduces
        for number, choice in enumerate(OPERATIONS):
            for reads_input in (0, 1):
                is_strided = shape.reduces and bool(reads_input)
                table[int(shape.reduces), number, reads_input] += costs(choice, shape.width, size**2, is_strided)
    return torch.from_numpy(table)


# ---------------------------------------------------------------------- isomorphic cells


def _wirings() -> list[tuple[tuple[int, int], ...]]:
    """The 180 ways in which nodes 2 to 5 may read two earlier nodes each, the last node's pair changing fastest."""
    return list(itertools.product(*(PAIRS[: node * (node - 1) // 2] for node in NODES)))


def _renumberings() -> list[list[int]]:
    """The 24 ways to number nodes 2 to 5 anew: the new number of each of the nodes 0 to 5."""
    return [[0, 1, *numbers] for numbers in itertools.permutations(NODES)]


def _number_table() -> torch.Tensor:
    """How a cell's number follows from its operations, ``LongTensor (wirings, renumberings, 9)``.

    The number has as its digits, node by node, the pair of inputs and the two operations; so it is that of the cell
    with operation 0 everywhere, which is first here, and a sum of the 8 operations weighted by what comes next. Where
    a renumbering puts a node before one that it reads, the first is larger than all numbers.
    """
    rows = []
    for wiring in _wirings():
        for number in _renumberings():
            row = [0] * (1 + 2 * len(NODES))
            for node, pair in zip(NODES, wiring, strict=True):
                first, second = (number[source] for source in pair)
                low, high = min(first, second), max(first, second)
                place = 490 ** (NODES[-1] - number[node])
                row[0] += 49 * place * (high * (high - 1) // 2 + low) if high < number[node] else 2**40
                where = 1 + 2 * (node - NODES[0])
                row[where : where + 2] = (7 * place, place) if first < second else (place, 7 * place)
            rows.append(row)
    return torch.tensor(rows, device="cpu").reshape(len(_wirings()), len(_renumberings()), -1)


def count_cells(num_operations: int = len(OPERATIONS)) -> int:
    """Cells up to isomorphism, where nodes have two different inputs each.

    A cell x of the class has as many numberings as it has allowed renumberings over those that leave it as it is, so
    the sum of the inverse over all numbered cells counts each class once. Renumberings that leave the wiring as it is
    leave ``num_operations ** cycles`` ways of putting operations on its edges as they are (Burnside's lemma).
    """
    total = Fraction(0)
    for wiring in _wirings():
        edges = {(source, node) for node, pair in zip(NODES, wiring, strict=True) for source in pair}
        allowed = fixed = 0
        for number in _renumberings():
            moved = {edge: (number[edge[0]], number[edge[1]]) for edge in edges}
            allowed += all(source < node for source, node in moved.values())
            if set(moved.values()) == edges:
                fixed += num_operations ** _cycles(moved)
        total += Fraction(fixed, allowed)
    return int(total)


def _cycles(moved: dict[tuple[int, int], tuple[int, int]]) -> int:
    """Cycles of a permutation."""
    left, cycles = set(moved), 0
    while left:
        cycles += 1
        item = next(iter(left))
        while item in left:
            left.remove(item)
            item = moved[item]
    return cycles


# ---------------------------------------------------------------------- strings


def _pasted_cells(text: str) -> list[list[tuple[str, str]]]:
    """Operation and input of each edge of both cells, of a genotype or of a list ``[normal, reduce]``."""
    if "Genotype" in text or not text.lstrip().startswith(("[", "(", "{")):
        given = arguments(text, "Genotype", _ARGUMENTS)
    else:
        value = literal(text)
        if isinstance(value, list):
            if len(value) != len(CELLS):
                raise ValueError(f"{len(value)} cells, not {len(CELLS)}")
            value = dict(zip(CELLS, value, strict=True))
        if not isinstance(value, dict):
            raise ValueError("it is no pair of cells")
        given = value
    for name in CELLS:
        if name not in given:
            raise ValueError(f"there is no {name} cell")
        concat = given.get(f"{name}_concat", list(NODES))
        if not isinstance(concat, list) or sorted(map(repr, concat)) != sorted(map(repr, NODES)):
            raise ValueError(f"{name}_concat must be the nodes 2 to 5, got {shortened(concat)}")
    return [[_edge(edge, name) for edge in _as_list(given[name], name)] for name in CELLS]


def _as_list(cell: Any, name: str) -> list[Any]:
    if not isinstance(cell, list):
        raise ValueError(f"the {name} cell must be a list of edges, got {shortened(cell)}")
    return cell


def _edge(edge: Any, cell: str) -> tuple[str, str]:
    """Operation and input of ``[operation, input]``, or of ``[input, operation number]`` as in the short form."""
    match edge:
        case [str() as operation, int() as source] if type(source) is int and source >= 0:
            return operation, str(source)
        case [int() as source, int() as number] if type(source) is int and source >= 0:
            is_known = type(number) is int and 0 <= number < len(OPERATIONS)
            return OPERATIONS[number].name if is_known else repr(number), str(source)
    raise ValueError(f"an edge of the {cell} cell must be an operation and a node, got {shortened(edge)}")


class DARTSSpace(SearchSpace):
    """Two cells of four nodes: for each node an ordered pair of different inputs, and the operations on the two.

    All rows are valid. Two rows are isomorphic when their cells differ by the order of a node's inputs or by the
    numbers of nodes, which changes the order of channels alone.
    """

    def __init__(self) -> None:
        slots = []
        for cell, name in enumerate(CELLS):
            for node in NODES:
                pairs = PAIRS[: node * (node - 1) // 2]
                inputs = tuple(
                    Choice(f"{a},{b}", "predecessor", level=(a + b) / 2 / (node - 1), spread=abs(a - b) / (node - 1))
                    for a, b in [*pairs, *(pair[::-1] for pair in pairs)]
                )
                reads = tuple(range(node))
                slots.append(Slot(f"{name} inputs of {node}", "connection", inputs, reads, node, cell))
                for place in ("first", "second"):
                    slots.append(Slot(f"{name} node {node}, {place}", "operation", OPERATIONS, reads, node, cell))
        super().__init__("darts", slots, TASKS, null_choice="skip_connect")

    # ------------------------------------------------------------------ edges

    def edges(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the edges come from, and their operations.

        Returns
        -------
        Two ``LongTensor (batch, cells, nodes, 2)``: numbers of the nodes read, and of operations.
        """
        groups = indices.unflatten(1, (len(CELLS), len(NODES), 3))
        nodes = torch.arange(len(NODES), device=indices.device)
        return self._sources.to(indices.device)[nodes, groups[..., 0]], groups[..., 1:]

    @cached_property
    @constant
    def _sources(self) -> torch.Tensor:
        """Inputs of each node by the choice, ``LongTensor (nodes, choices, 2)``; 0 where there is no choice."""
        table = torch.zeros(len(NODES), self.num_choices, 2, dtype=torch.long)
        for row, slot in zip(table, self.slots[: 3 * len(NODES) : 3], strict=True):
            row[: len(slot.choices)] = torch.tensor([[int(a) for a in c.name.split(",")] for c in slot.choices])
        return table

    @cached_property
    def num_architectures(self) -> int:
        """Number of pairs of cells, each up to isomorphism."""
        return count_cells() ** 2

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        """Each cell as the smallest of the numbers that its renumberings have, the inputs of every node in order."""
        sources, operations = (part.flatten(0, 1) for part in self.edges(indices))
        order = sources.argsort(dim=2)
        low, high = sources.gather(2, order).unbind(2)
        pairs = high * (high - 1) // 2 + low
        wiring = (pairs * torch.tensor([180, 60, 10, 1], device=indices.device)).sum(1)
        operations = operations.gather(2, order).flatten(1)
        table = moved_once(_number_table, indices.device)
        smallest = torch.full_like(wiring, 2**62)
        for column in range(table.shape[1]):
            entries = table[wiring, column]
            torch.minimum(smallest, entries[:, 0] + (entries[:, 1:] * operations).sum(1), out=smallest)
        digits = smallest[:, None] // torch.tensor([490**3, 490**2, 490, 1], device=indices.device) % 490
        groups = torch.stack([digits // 49, digits // 7 % 7, digits % 7], dim=2)
        return groups.reshape(len(indices), self.num_slots)

    # ------------------------------------------------------------------ strings

    def split_string(self, text: str) -> list[str]:
        match = _GENOTYPE.fullmatch(text)  # as it is written; anything else takes twenty times as long
        if match is not None:
            cells = [_EDGE.findall(part) for part in match.groups()]
        else:
            try:
                cells = _pasted_cells(text)
            except ValueError as error:
                raise self.malformed(text, str(error)) from error
        names = []
        for name, cell in zip(CELLS, cells, strict=True):
            if len(cell) != 2 * len(NODES):
                raise self.malformed(text, f"the {name} cell has {len(cell)} edges, not {2 * len(NODES)}")
            for (first, a), (second, b) in zip(cell[::2], cell[1::2], strict=True):
                names += [f"{a},{b}", first, second]
        return names

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        sources, operations = (part.flatten(1).cpu().numpy() for part in self.edges(indices))
        names = np.array([choice.name for choice in OPERATIONS], dtype=object)[operations]
        columns = np.stack([names, _DIGITS[sources]], axis=2).reshape(len(names), 2 * names.shape[1])
        inner = ["', ", "), ('"] * 8
        before = ["Genotype(normal=[('", *inner[:-1], ")], normal_concat=range(2, 6), reduce=[('", *inner[:-1]]
        return join_columns(columns, before, ")], reduce_concat=range(2, 6))").tolist()

    def to_compact_strings(self, indices: torch.Tensor) -> list[str]:
        """The short form, JSON ``[normal, reduce]``, each 8 ``[input, operation number]``, which is read as well."""
        sources, operations = (part.flatten(1).cpu().numpy() for part in self.edges(indices))
        columns = np.stack([_DIGITS[sources], _DIGITS[operations]], axis=2).reshape(len(sources), 2 * sources.shape[1])
        inner = [", ", "], ["] * 8
        return join_columns(columns, ["[[[", *inner[:-1], "]], [[", *inner[:-1]], "]]]").tolist()

    # ------------------------------------------------------------------ pictures

    def graphs(self, indices: Sequence[int]) -> list[Graph]:
        """Both cells with operations on edges; what the two cells before put out is called as in the paper."""
        nodes = [("cₖ₋₂", ""), ("cₖ₋₁", ""), *((str(node - NODES[0]), "") for node in NODES), ("cₖ", "")]
        parts = []
        reads, operations = (part[0].tolist() for part in self.edges(torch.tensor([indices], device="cpu")))
        for cell, name in enumerate(CELLS):
            edges = [(node, len(nodes) - 1, "", "") for node in NODES]
            for node, sources, numbers in zip(NODES, reads[cell], operations[cell], strict=True):
                for source, choice in zip(sources, (OPERATIONS[number] for number in numbers), strict=True):
                    edges.append((source, node, choice.name, choice.kind))
            parts.append(Graph(f"{name} cell", nodes, edges))
        return parts

    # ------------------------------------------------------------------ costs

    @cached_property
    def _costs(self) -> dict[str, tuple[torch.Tensor, np.ndarray]]:
        """Of each task: what operations cost, and all else."""
        small, large = (self.task(name) for name in ("cifar10", "imagenet1k"))
        size = large.image_size // 8  # after the stem
        return {
            "cifar10": (_cost_table(small.image_size, False), _fixed_costs(small.num_classes, small.image_size)),
            "imagenet1k": (_cost_table(size, True), _large_fixed_costs(large.num_classes, large.image_size)),
        }

    def _sum_costs(self, indices: torch.Tensor, task: str | None, which: int) -> torch.Tensor:
        name = task or "cifar10"
        self.task(name)
        table, fixed = self._costs[name]
        sources, operations = self.edges(indices)
        kinds = torch.arange(len(CELLS), device=indices.device)[:, None, None]
        costs = table[..., which].to(indices.device)[kinds, operations, (sources < 2).long()]
        return costs.flatten(1).sum(1) + int(fixed[which])

    def scale(self, task: str) -> dict[str, Any]:
        large = {"stem": "imagenet", "channels": LARGE_CHANNELS, "cells": LARGE_LAYERS, "affine": True}
        return large if task == "imagenet1k" else {}

    def parameters(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        """Parameters at 32 channels and 8 cells, where the normalisations within operations have none.

        Equal to the published sizes of the networks of NAS-Bench-301 (NAS-Bench-Suite-Zero, Krishnakumar et al.,
        2022); ``affine=True`` of `pkgen_hf.networks.darts.plan` builds those with weights in all normalisations.

        For ``imagenet1k`` those of DARTS's evaluation: ``affine=True``, 48 channels, 14 cells, the stem for large
        images, without the auxiliary classifier, which is for training only.
        """
        return self._sum_costs(indices, task, 0)

    def flops(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        """Operations equal to those published with the sizes, which are more than multiply-adds.

        To those of convolutions and the classifier (without bias) come 1 for each value that a ReLU or a
        normalisation reads, 1 more for a normalisation with weights, and 9 for each that a pooling puts out. For
        ``imagenet1k`` multiply-adds of convolutions and the classifier alone, at 224 pixels.
        """
        return self._sum_costs(indices, task, 1)
