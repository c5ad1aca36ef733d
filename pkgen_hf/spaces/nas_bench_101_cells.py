"""Cells of NAS-Bench-101 as integers: pruned, brought into canonical form, enumerated and drawn.

A cell is two tensors. Of ``masks``, ``LongTensor (batch, 7)``, bit u of column v is set if an edge leads from vertex u
to vertex v; vertex 0 is the input, vertex 6 the output. ``operations``, ``LongTensor (batch, 5)``, are those of
vertices 1 to 5: 1, 2 or 3, and 0 where there is no vertex.

The canonical form of a cell is the one that the benchmark's generator meets first: of all numberings of its vertices
that of the smallest adjacency matrix (read as a number whose bit i is edge i of `EDGES`), and then of the first
operations in order. Its key is that form in 31 bits: 21 for the edges, then 2 for each operation.

A second numbering, `in_rows`, is the one in which a cell is described to the denoiser: vertices that read each other
stand beside each other, as far as they can.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch.nn import functional as F

from .parts import constant, device_of, on_device

VERTICES, MAX_EDGES, NUM_OPERATIONS = 7, 9, 3
OUTPUT = VERTICES - 1
INNER = range(1, OUTPUT)
EDGES = tuple((u, v) for v in range(1, VERTICES) for u in range(v))  # u->v is number u + v (v - 1) / 2
OPERATION_BITS = 2 * len(INNER)
_CHUNK = 4096
_TOO_LARGE = 40  # bit of a numbering in which some edge does not lead upwards


def first_edge(vertex: int) -> int:
    """Number in `EDGES` of the edge from the input to `vertex`."""
    return vertex * (vertex - 1) // 2


def pack(edges: int, operations: list[int]) -> int:
    """The number of a cell, as `unpack` takes it: bits of `EDGES`, and operations of vertices 1, 2, ..."""
    number = edges << OPERATION_BITS
    for v, operation in zip(INNER, operations, strict=False):
        number |= operation << 2 * (OUTPUT - 1 - v)
    return number


def unpack(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks and operations of keys, or of other numbers of the same form, ``LongTensor (batch,)``."""
    masks = [numbers >> OPERATION_BITS + first_edge(v) & (1 << v) - 1 for v in range(VERTICES)]
    operations = [numbers >> 2 * (OUTPUT - 1 - v) & 3 for v in INNER]
    return torch.stack(masks, dim=1), torch.stack(operations, dim=1)


def prune(masks: torch.Tensor, operations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells without the vertices that are on no path from input to output; a disconnected cell becomes empty."""
    reached = torch.ones_like(masks[:, 0])
    for v in range(1, VERTICES):
        reached |= ((masks[:, v] & reached) != 0).long() << v
    needed = torch.full_like(reached, 1 << OUTPUT)
    for v in range(OUTPUT, 0, -1):
        needed |= masks[:, v] * (needed >> v & 1)
    live = (reached & needed)[:, None]
    is_live = live >> torch.arange(VERTICES, device=masks.device) & 1
    return masks & live * is_live, operations * is_live[:, 1:OUTPUT]


def count_edges(masks: torch.Tensor) -> torch.Tensor:
    """Edges of each cell, ``LongTensor (batch,)``."""
    edges = masks & 1
    for u in INNER:
        edges += masks >> u & 1
    return edges.sum(1)


@cache
@constant
def numberings() -> torch.Tensor:
    """All orders of the inner vertices: new place of each old vertex, ``LongTensor (120, 7)``."""
    return torch.tensor([(0, *order, OUTPUT) for order in itertools.permutations(INNER)])


def _table(edges: np.ndarray, operations: np.ndarray) -> torch.Tensor:
    """What a vertex adds to its cell's number under each numbering, ``(rows, 120)``, in the order of `_numbers`.

    In 64-bit floats, which hold such integers exactly and for which there is a fast kernel.

    Parameters
    ----------
    edges, operations
        What an edge counts by its source and target, ``(7, 7)``, and an operation by its vertex, ``(4, 7)``.
    """
    places = numberings().numpy()
    tables = []
    for v in range(1, VERTICES):
        sources, target = places[:, :v].T, places[:, v]
        counts = np.where(sources < target, edges[sources, target], 1 << _TOO_LARGE)  # (v, 120)
        has_edge = np.arange(1 << v)[:, None] >> np.arange(v) & 1
        tables.append((has_edge @ counts)[:, None] + operations[:, target])
    return torch.from_numpy(np.concatenate([table.reshape(-1, len(places)) for table in tables])).double()


@cache
@constant
def _renumbered() -> torch.Tensor:
    """The `_table` of the numbers whose smallest is a cell's key."""
    edges = np.zeros((VERTICES, VERTICES), dtype=np.int64)
    for number, edge in enumerate(EDGES):
        edges[edge] = 1 << OPERATION_BITS + number
    operations = np.zeros((NUM_OPERATIONS + 1, VERTICES), dtype=np.int64)
    for v in INNER:
        operations[:, v] = np.arange(NUM_OPERATIONS + 1) << 2 * (OUTPUT - 1 - v)
    return _table(edges, operations)


def _numbers(masks: torch.Tensor, operations: torch.Tensor, make: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Numbers of pruned cells under each of `numberings`, ``DoubleTensor (batch, 120)``, by the table of `make`."""
    tables = torch.arange(1, VERTICES, device=masks.device)
    rows = (masks[:, 1:] + (1 << tables) - 2) * (NUM_OPERATIONS + 1)  # vertex v has 2^v masks
    rows[:, :-1] += operations
    return F.embedding_bag(rows, on_device(make, masks.device), mode="sum")


@cache
@constant
def _row_numbers() -> torch.Tensor:
    """The `_table` of the numbers whose smallest gives the numbering of rows.

    From the highest bit: absent vertices come last; vertex 1 feeds 2, 2 feeds 3, and so on; operations; other edges.
    """
    chain = {(v - 1, v) for v in INNER[1:]}
    rest = [edge for edge in EDGES if edge not in chain]
    edges = np.zeros((VERTICES, VERTICES), dtype=np.int64)
    for bit, edge in enumerate(rest):
        edges[edge] = 1 << bit
    above = len(rest) + OPERATION_BITS
    for u, v in chain:
        edges[u, v] = -(1 << above + OUTPUT - v)
    above += len(chain) + 1
    operations = np.zeros((NUM_OPERATIONS + 1, VERTICES), dtype=np.int64)
    for v in INNER:
        operations[:, v] = np.arange(NUM_OPERATIONS + 1) << len(rest) + 2 * (OUTPUT - 1 - v)
        operations[0, v] = 1 << above + OUTPUT - 1 - v
    return _table(edges, operations)


def in_rows(masks: torch.Tensor, operations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells in their canonical form, numbered as rows have them: masks and operations again."""
    new_masks, new_operations = torch.empty_like(masks), torch.empty_like(operations)
    vertices = torch.arange(VERTICES, device=masks.device)
    for start in range(0, len(masks), _CHUNK):
        part = slice(start, start + _CHUNK)
        best = _numbers(masks[part], operations[part], _row_numbers).argmin(1)
        old = on_device(numberings, masks.device)[best].argsort(1)  # (batch, 7), the old number of each new one
        edges = masks[part].gather(1, old)[..., None] >> old[:, None] & 1  # (batch, targets, sources)
        new_masks[part] = (edges << vertices).sum(2)
        new_operations[part] = operations[part].gather(1, old[:, 1:OUTPUT] - 1)
    return new_masks, new_operations


def cell_keys(masks: torch.Tensor, operations: torch.Tensor) -> torch.Tensor:
    """Keys of pruned cells, equal just for isomorphic ones, ``LongTensor (batch,)``; 0 just for empty ones."""
    keys = torch.empty_like(masks[:, 0])
    for start in range(0, len(keys), _CHUNK):  # for the sake of memory, and of caches
        part = slice(start, start + _CHUNK)
        keys[part] = _numbers(masks[part], operations[part], _renumbered).amin(1).long()
    return keys


# ---------------------------------------------------------------------- all cells


@cache
@constant
def topologies() -> torch.Tensor:
    """All cells up to isomorphism, operations aside: canonical masks, ``LongTensor (topologies, 7)``."""
    edges_of = np.array([mask.bit_count() for mask in range(1 << OUTPUT)])
    found = []
    for inner in range(len(INNER) + 1):  # vertices that are there, numbered from 1; the others have no edges
        masks, edges, is_read = np.zeros((1, VERTICES), dtype=np.int64), np.zeros(1, dtype=int), np.ones(1, dtype=int)
        for v in (*range(1, inner + 1), OUTPUT):
            reads = np.arange(1, 1 << min(v, inner + 1))
            row, column = (edges[:, None] + edges_of[reads] <= MAX_EDGES).nonzero()
            masks, edges = masks[row], edges[row] + edges_of[reads[column]]
            masks[:, v], is_read = reads[column], is_read[row] | reads[column]
        found.append(masks[is_read == (2 << inner) - 1])  # so that every vertex is on a path to the output
    cells = torch.from_numpy(np.concatenate(found))
    keys = cell_keys(cells, torch.zeros_like(cells[:, 1:OUTPUT]))
    return unpack(keys.unique())[0]


@constant
def all_keys() -> torch.Tensor:
    """Keys of all cells, sorted, ``LongTensor (423624,)``: every choice of operations for each of `topologies`."""
    choices = torch.cartesian_prod(*[torch.arange(1, NUM_OPERATIONS + 1)] * len(INNER))
    found = []
    for part in topologies().split(64):
        masks, operations = part.repeat_interleave(len(choices), 0), choices.repeat(len(part), 1)
        found.append(cell_keys(masks, operations * (masks[:, 1:OUTPUT] != 0)).unique())
    return torch.cat(found).unique()


@cache
@constant
def _cycles() -> torch.Tensor:
    """The first vertex of each inner vertex's cycle under each of `numberings`, ``LongTensor (120, 5)``."""
    first = at = torch.arange(VERTICES).expand(len(numberings()), -1)
    for _ in INNER:
        at = numberings().gather(1, at)
        first = torch.minimum(first, at)
    return first[:, 1:OUTPUT]


@cache
@constant
def symmetries() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All pairs of a topology and one of its symmetries, with the number of cells that a pair stands for.

    Of n symmetries of a topology, one with c cycles stands for ``3^c / n`` cells (Burnside's lemma), so that the sum
    over all pairs is the number of cells.

    Returns
    -------
    Indices into `topologies`, indices into `numberings`, and the numbers, each ``(pairs,)``.
    """
    masks = topologies()
    numbers = _numbers(masks, torch.zeros_like(masks[:, 1:OUTPUT]), _renumbered)
    is_symmetry = numbers == numbers.amin(1, keepdim=True)
    topology, numbering = is_symmetry.nonzero().T
    is_first = _cycles()[numbering] == torch.arange(1, OUTPUT)
    cycles = (is_first & (masks[topology, 1:OUTPUT] != 0)).sum(1)
    return topology, numbering, 3.0 ** cycles.double() / is_symmetry.sum(1)[topology]


def sample_keys(num: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Keys of random cells, each with the same probability, ``LongTensor (num,)`` on the generator's device.

    A topology and one of its symmetries are drawn in proportion to the number of choices of operations that the
    symmetry leaves as they are, and then one of these choices.
    """
    device = device_of(generator)
    topology, numbering, weights = (part.to(device) for part in symmetries())
    total = weights.cumsum(0)
    drawn = torch.rand(num, generator=generator, dtype=torch.float64, device=device) * total[-1]
    pair = torch.searchsorted(total, drawn, right=True).clamp(max=len(total) - 1)
    masks = on_device(topologies, device)[topology[pair]]
    operations = torch.randint(1, NUM_OPERATIONS + 1, (num, len(INNER)), generator=generator, device=device)
    operations = operations.gather(1, on_device(_cycles, device)[numbering[pair]] - 1)
    return cell_keys(masks, operations * (masks[:, 1:OUTPUT] != 0))
