"""Costs of networks of DARTS cells: small ones as in NAS-Bench-301, large ones as DARTS evaluates on ImageNet."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from .darts_cells import CELLS, NODES, OPERATIONS
from .parts import Choice, constant
from .weight_matrices import Matrix, MatrixTable, convolution

CHANNELS, LAYERS = 32, 8
LARGE_CHANNELS, LARGE_LAYERS = 48, 14  # with which DARTS evaluates a genotype on ImageNet
STEM_WIDENING, CELL_WIDENING = 3, len(NODES)
EDGES = (len(CELLS), len(OPERATIONS), 2)  # kinds of cells, operations, whether the edge reads an input


class CellShape(NamedTuple):
    """One cell of a network.

    `before` and `inputs` are the channels of nodes 0 and 1 before their projection, `width` those of the cell's own
    nodes; `reduces`: the cell halves the resolution; `shrinks`: the cell before does, so node 0 has twice the size.
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


def _operation_costs(choice: Choice, width: int, area: int, is_strided: bool) -> np.ndarray:
    """Parameters and operations of an operation whose output has `area` pixels.

    A normalisation without weights counts 1 for each value, ReLU 1 for each that it reads, a pooling 9.
    """
    read = width * area * (4 if is_strided else 1)
    if choice.kind == "zero":
        return np.zeros(2, dtype=np.int64)
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
    if choice.kind in ("pooling", "zero") or (choice.kind == "identity" and not is_strided):
        return np.zeros(2, dtype=np.int64)
    weights = width**2 + (0 if choice.kind == "identity" else choice.kernel**2 * width)
    once = np.array([weights + 2 * width, weights * area])
    return once if choice.kind == "identity" or choice.dilation > 1 else 2 * once


def large_fixed_costs(classes: int, size: int, in_channels: int) -> np.ndarray:
    """The same of what does not depend on the cells, without the auxiliary classifier."""
    total = np.zeros(2, dtype=np.int64)
    inputs = in_channels
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


def fixed_costs(classes: int, size: int, in_channels: int) -> np.ndarray:
    """Parameters and operations of all that does not depend on the cells: stem, what joins cells, classifier."""
    stem = CHANNELS * STEM_WIDENING
    weights = 9 * in_channels * stem + 2 * stem
    total = np.array([weights, weights * size**2])
    for before, inputs, width, reduces, shrinks in cell_shapes():
        weights = (before + inputs) * width
        read = before * (4 if shrinks else 1) + inputs
        total += np.array([weights + 2 * 2 * width, (weights + 2 * 2 * width + read) * size**2])
        size //= 1 + reduces
    last = CELL_WIDENING * width
    # The counter that the table's numbers are from takes a mean over n x n values for (n + 1)^2 operations.
    return total + np.array([(last + 1) * classes, last * (size + 1) ** 2 + last * classes])


def cost_table(size: int, is_large: bool) -> torch.Tensor:
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


def _operation_matrices(choice: Choice, width: int, is_strided: bool) -> list[Matrix]:
    """Weight matrices of an operation."""
    if choice.kind == "identity" and is_strided:
        return _factorized(width, width)
    if choice.kind != "convolution":
        return []
    once = [convolution(width, width, choice.kernel, groups=width), convolution(width, width)]
    return once if choice.dilation > 1 else 2 * once


def _factorized(inputs: int, outputs: int) -> list[Matrix]:
    """A projection that halves the resolution: two 1x1 convolutions, each to half of the channels."""
    return [convolution(inputs, outputs // 2), convolution(inputs, outputs - outputs // 2)]


@cache
@constant
def edge_matrices(is_large: bool, classes: int, in_channels: int) -> MatrixTable:
    """Of each operation in all cells of a kind, a table of the shape `EDGES`; of all that does not depend on cells."""
    channels = LARGE_CHANNELS if is_large else CHANNELS
    shapes = cell_shapes(channels, LARGE_LAYERS if is_large else LAYERS, is_large)
    parts = []
    for kind, number, reads_input in np.ndindex(*EDGES):
        widths = [shape.width for shape in shapes if shape.reduces == kind]
        of_cells = [_operation_matrices(OPERATIONS[number], width, bool(kind * reads_input)) for width in widths]
        parts.append([matrix for cell in of_cells for matrix in cell])
    always = [convolution(in_channels, channels * STEM_WIDENING, 3)]
    if is_large:
        half = channels // 2
        always = [
            convolution(in_channels, half, 3),
            convolution(half, channels, 3),
            convolution(channels, channels, 3),
        ]
    for shape in shapes:
        project = _factorized if shape.shrinks else lambda inputs, outputs: [convolution(inputs, outputs)]
        always += [*project(shape.before, shape.width), convolution(shape.inputs, shape.width)]
    return MatrixTable(parts, [*always, (classes, CELL_WIDENING * shapes[-1].width, 1)])
