"""Cells of the DARTS space up to isomorphism: operations, inputs of nodes, and how nodes may be renumbered."""

from __future__ import annotations

import itertools
from fractions import Fraction

import torch

from .parts import Choice

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


def _wirings() -> list[tuple[tuple[int, int], ...]]:
    """The 180 ways in which nodes 2 to 5 may read two earlier nodes each, the last node's pair changing fastest."""
    return list(itertools.product(*(PAIRS[: node * (node - 1) // 2] for node in NODES)))


def _renumberings() -> list[list[int]]:
    """The 24 ways to number nodes 2 to 5 anew: the new number of each of the nodes 0 to 5."""
    return [[0, 1, *numbers] for numbers in itertools.permutations(NODES)]


def number_table() -> torch.Tensor:
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
    assert total.denominator == 1
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
