"""Weight matrices of networks: how many there are of each shape, summed over the parts that a network consists of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch.nn import functional as F

Matrix = tuple[int, int, int]
"""Rows, which are outputs, columns, which are inputs, and how many such matrices."""


class WeightMatrices(NamedTuple):
    """How many weight matrices of each shape the networks of a batch have.

    Attributes
    ----------
    shapes
        Rows and columns, ``LongTensor (shapes, 2)``, the same for the whole batch.
    counts
        ``LongTensor (batch, shapes)``
    """

    shapes: torch.Tensor
    counts: torch.Tensor


def convolution(inputs: int, outputs: int, kernel: int = 1, groups: int = 1, number: int = 1) -> Matrix:
    """Equal convolutions as matrices, one for each group, from the values of a window to the outputs."""
    return outputs // groups, inputs // groups * kernel**2, number * groups


def mobile_block(inputs: int, inner: int, outputs: int, kernel: int, middle: int = 0) -> list[Matrix]:
    """An inverted bottleneck of `inner` channels, as many as `inputs` where nothing expands them.

    `middle` are the channels between the two layers of squeeze-and-excitation, 0 without it.
    """
    expand = [convolution(inputs, inner)] if inner != inputs else []
    squeeze = [convolution(inner, middle), convolution(middle, inner)] if middle else []
    depthwise = convolution(inner, inner, kernel, groups=inner)
    return [*expand, depthwise, *squeeze, convolution(inner, outputs)]


def attention(width: int, size: int, heads: int) -> list[Matrix]:
    """Queries, keys and values of heads of a `size`, and their outputs, in a network of a `width`."""
    return [(size, width, 3 * heads), (width, size, heads)]


class MatrixTable:
    """Weight matrices of all the parts that networks may consist of, and of what all networks have.

    Parameters
    ----------
    parts
        Matrices of each part, by its number.
    always
        Those of every network.
    """

    def __init__(self, parts: Sequence[Sequence[Matrix]], always: Sequence[Matrix] = ()) -> None:
        shapes = sorted({(rows, columns) for rows, columns, _ in chain(always, *parts)})
        number = {shape: k for k, shape in enumerate(shapes)}
        counts = torch.zeros(1 + len(parts), len(shapes), dtype=torch.double)  # sums of integers that are exact
        for part, matrices in enumerate([always, *parts]):
            for rows, columns, count in matrices:
                counts[part, number[rows, columns]] += count
        self.shapes = torch.tensor(shapes)
        self.always, self.parts = counts[0], F.pad(counts[1:], (0, 0, 1, 0))  # before all parts one without matrices

    def total(self, parts: torch.Tensor) -> WeightMatrices:
        """Weight matrices of networks that consist of these parts, ``LongTensor (batch, n)``; -1 for none."""
        device = parts.device
        counts = F.embedding_bag(parts + 1, self.parts.to(device), mode="sum") + self.always.to(device)
        return WeightMatrices(self.shapes.to(device), counts.long())


def ravel(shape: Sequence[int], *places: torch.Tensor) -> torch.Tensor:
    """Numbers of parts by their places in a table of `shape`, the last axis changing fastest."""
    number = torch.zeros_like(places[0])
    for size, place in zip(shape, places, strict=True):
        number = number * size + place
    return number
