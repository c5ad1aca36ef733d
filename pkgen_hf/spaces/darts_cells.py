"""Cells of the DARTS space up to isomorphism: operations, inputs of nodes, and how nodes may be renumbered."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import torch

from .parts import Choice

NONE = "none"
OPERATIONS = (
    Choice("max_pool_3x3", "pooling", kernel=3, aggregation="max"),
    Choice("avg_pool_3x3", "pooling", kernel=3, aggregation="mean"),
    Choice("skip_connect", "identity"),
    Choice("sep_conv_3x3", "convolution", kernel=3, separable=True),
    Choice("sep_conv_5x5", "convolution", kernel=5, separable=True),
    Choice("dil_conv_3x3", "convolution", kernel=3, dilation=2, separable=True),
    Choice("dil_conv_5x5", "convolution", kernel=5, dilation=2, separable=True),
    # In the search space of the authors' code, and in the cells of some others; their own method never chooses it.
    Choice(NONE, "zero", is_drawn=False),
)
NUM_OPERATIONS = len(OPERATIONS)
NUM_DRAWN = NUM_OPERATIONS - 1  # those that generated cells have
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


NO_CELL = 2**40  # larger than all numbers
BASE = len(PAIRS) * NUM_OPERATIONS**2  # numbers that a node has


def number_table() -> torch.Tensor:
    """How a cell's number follows from its operations without ``none``, ``LongTensor (wirings, renumberings, 9)``.

    The number has as its digits, node by node, the pair of inputs and the two operations; so it is that of the cell
    with operation 0 everywhere, which is first here, and a sum of the 8 operations weighted by what comes next. Where
    a renumbering puts a node before one that it reads, the first is larger than all numbers.
    """
    rows = []
    for wiring in _wirings():
        for number in _renumberings():
            row = [0] * (1 + 2 * len(NODES))
            for node, sources in zip(NODES, wiring, strict=True):
                first, second = (number[source] for source in sources)
                low, high = min(first, second), max(first, second)
                place = BASE ** (NODES[-1] - number[node])
                pair = NUM_OPERATIONS**2 * place * (high * (high - 1) // 2 + low)
                row[0] += pair if high < number[node] else NO_CELL
                where = 1 + 2 * (node - NODES[0])
                places = NUM_OPERATIONS * place, place
                row[where : where + 2] = places if first < second else places[::-1]
            rows.append(row)
    return torch.tensor(rows, device="cpu").reshape(len(_wirings()), len(_renumberings()), -1)


def numbers_with_none(sources: torch.Tensor, operations: torch.Tensor) -> torch.Tensor:
    """The smallest number of each cell, some of whose operations are ``none``, ``LongTensor (cells,)``.

    Edges of ``none`` may come from anywhere, as nothing passes them: they come from node 0, or from node 1 where the
    node's other edge is from 0; both of them, from 0 and 1.

    Parameters
    ----------
    sources, operations
        ``LongTensor (cells, nodes, 2)``
    """
    device = sources.device
    is_none = operations == NUM_OPERATIONS - 1
    smallest = torch.full_like(sources[:, 0, 0], NO_CELL)
    for renumbering in torch.tensor(_renumberings(), device=device):
        number = renumbering[sources]
        of_none = torch.where(is_none.flip(2), torch.tensor([0, 1], device=device), (number.flip(2) == 0).long())
        number = torch.where(is_none, of_none, number)
        order = number.argsort(dim=2)
        low, high = number.gather(2, order).unbind(2)
        first, second = operations.gather(2, order).unbind(2)
        digits = ((high * (high - 1) // 2 + low) * NUM_OPERATIONS + first) * NUM_OPERATIONS + second
        own = renumbering[NODES[0] :]
        total = (digits * BASE ** (NODES[-1] - own)).sum(1)
        possible = (high < own).all(1)
        smallest = torch.where(possible, torch.minimum(smallest, total), smallest)
    return smallest


def is_live(sources: torch.Tensor, operations: torch.Tensor) -> torch.Tensor:
    """Cells whose output depends on an input, ``BoolTensor (cells,)``, of ``LongTensor (cells, nodes, 2)`` each."""
    live = torch.ones(len(sources), NODES[0] + len(NODES), dtype=torch.bool, device=sources.device)
    passes = operations != NUM_OPERATIONS - 1
    for row, node in enumerate(NODES):
        live[:, node] = (passes[:, row] & live.gather(1, sources[:, row])).any(1)
    return live[:, NODES[0] :].any(1)


def count_cells(num_operations: int = NUM_DRAWN, with_none: bool = False) -> int:
    """Cells up to isomorphism, where nodes have two different inputs each, or at most two with ``none``.

    A cell x of the class has as many numberings as it has allowed renumberings over those that leave it as it is, so
    the sum of the inverse over all numbered cells counts each class once. Renumberings that leave the wiring as it is
    leave ``num_operations ** cycles`` ways of putting operations on its edges as they are (Burnside's lemma).

    Parameters
    ----------
    num_operations
        Besides ``none``.
    with_none
        Count cells with ``none``, too, whose output depends on an input.
    """
    wirings: Sequence[tuple[tuple[int, ...], ...]] = _wirings()
    if with_none:
        inputs = [[some for size in range(3) for some in itertools.combinations(range(node), size)] for node in NODES]
        wirings = [wiring for wiring in itertools.product(*inputs) if _reads_an_input(wiring)]
    total = Fraction(0)
    for wiring in wirings:
        edges = {(source, node) for node, sources in zip(NODES, wiring, strict=True) for source in sources}
        allowed = fixed = 0
        for number in _renumberings():
            moved = {edge: (number[edge[0]], number[edge[1]]) for edge in edges}
            allowed += all(source < node for source, node in moved.values())
            if set(moved.values()) == edges:
                fixed += num_operations ** _cycles(moved)
        total += Fraction(fixed, allowed)
    return int(total)


def _reads_an_input(wiring: Sequence[tuple[int, ...]]) -> bool:
    """Whether some node of a cell reads an input: only then something passes the cell."""
    return any(source < NODES[0] for sources in wiring for source in sources)


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
