"""NAS-Bench-101 (Ying et al., ICML 2019): directed acyclic graphs of at most 7 vertices and 9 edges, on CIFAR-10.

Vertex 0 is the input, the last one the output; each vertex between them carries one of 3 operations. Without vertices
that are on no path from input to output there are 423,624 cells up to isomorphism, all trained.

The string is the adjacency matrix above its diagonal, row by row, and the operations of the inner vertices. In
``1100_001_10_1:conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu``, a cell of 5 vertices, the input (row ``1100``) feeds
vertices 1 and 2, vertex 1 (``001``) the output, which is vertex 4, vertex 2 (``10``) vertex 3, and that (``1``) the
output. The operations are those of vertices 1, 2 and 3.

Vertices may be numbered in any order in which edges lead upwards; what is written is numbered as in the benchmark.
Read is also the benchmark's own record as Python writes it, ``ModelSpec(matrix=[[0, 1], [0, 0]], ops=[...])``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ..errors import shortened, unknown
from .base import SearchSpace
from .nas_bench_101_cells import (
    EDGES,
    INNER,
    MAX_EDGES,
    OPERATION_BITS,
    OUTPUT,
    VERTICES,
    all_keys,
    cell_keys,
    count_edges,
    first_edge,
    in_rows,
    pack,
    prune,
    sample_keys,
    unpack,
)
from .parts import Choice, Graph, Slot, Task, constant
from .pasted import arguments, bare, literal

OPERATIONS = (
    Choice("none", "zero"),
    Choice("conv3x3-bn-relu", "convolution", kernel=3),
    Choice("conv1x1-bn-relu", "convolution", kernel=1),
    Choice("maxpool3x3", "pooling", kernel=3, aggregation="max"),
)
NONE, CONV3, CONV1, POOL = range(4)
EXTRAS = 5
TASKS = {"cifar10": Task("image-classification", guess=10.0, num_classes=10, image_size=32, split="test")}
_NAMES = {choice.name: k for k, choice in enumerate(OPERATIONS) if k != NONE}
_ALL_NAMES = _NAMES | {name.removesuffix("-bn-relu"): k for name, k in _NAMES.items()}
_AREAS = torch.tensor([0, 9, 1, 0], device="cpu")  # weights of each operation for each pair of channels
# Modules of the network: channels of their input and output, by how much images are smaller, and how many are alike.
STEM = 128
COUNT_SCALE = 0.15  # of counts in `features`
_CHUNK = 65_536  # matrices that are read at a time
MODULES = ((128, 128, 1, 3), (128, 256, 2, 1), (256, 256, 2, 2), (256, 512, 4, 1), (512, 512, 4, 2))


def vertex_widths(masks: torch.Tensor, outputs: int) -> torch.Tensor:
    """Channels of the inner vertices of pruned cells in a module of `outputs` channels, ``LongTensor (batch, 5)``.

    The channels of the output are divided among the vertices that feed it; where that leaves a remainder, the first
    of them get one more each. Any other vertex is as wide as the widest that reads it.
    """
    feeds = masks[:, OUTPUT:] >> torch.arange(1, OUTPUT, device=masks.device) & 1  # (batch, 5)
    feeding = feeds.sum(1, keepdim=True).clamp(min=1)
    widths = feeds * (outputs // feeding + (feeds.cumsum(1) <= outputs % feeding))
    for v in reversed(INNER[:-1]):
        is_read = masks[:, v + 1 : OUTPUT] >> v & 1
        widest = (widths[:, v:] * is_read).amax(1)
        widths[:, v - 1] = torch.where(feeds[:, v - 1] > 0, widths[:, v - 1], widest)
    return widths


def _module_costs(
    masks: torch.Tensor, operations: torch.Tensor, inputs: int, outputs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of a module's convolutions, and parameters of its batch normalisations, each ``LongTensor (batch,)``.

    Vertices and the output read the module's input, of `inputs` channels, through a projection of their own.
    """
    widths = vertex_widths(masks, outputs)
    areas = _AREAS.to(masks.device)[operations]
    projected, added = masks[:, 1:OUTPUT] & 1, masks[:, OUTPUT] & 1
    weights = (areas * widths**2 + projected * inputs * widths).sum(1) + added * inputs * outputs
    norms = 2 * (((areas > 0) + projected) * widths).sum(1) + 2 * added * outputs
    return weights, norms


# What the authors' example calls operations, where no quotes stand around it.
_CONSTANTS = {
    "INPUT": "input", "OUTPUT": "output", "CONV1X1": "conv1x1-bn-relu", "CONV3X3": "conv3x3-bn-relu",
    "MAXPOOL3X3": "maxpool3x3",
}  # fmt: skip
_CONSTANT = re.compile(r"(?<![\w'\"])(?:" + "|".join(_CONSTANTS) + r")(?![\w'\"])")


class NASBench101Space(SearchSpace):
    """The operation of each vertex, or "none", what it reads, and up to five more edges.

    Vertex 1 reads the input. A vertex of operation "none" is not there, nor are its edges; that is how cells of fewer
    vertices are written. A vertex that would read one that is not there reads the input, and the output reads every
    vertex that no other reads, so that all that are there are on a path from input to output. (Were that ten edges,
    of five vertices that all read the input, vertex 5 reads vertex 4.) Extra edges are read in order: one that is
    there already, one of a vertex that is not, and one that would be the tenth do not count. Not valid are just the
    rows without a vertex and without an edge from input to output; they are all equal.

    In the canonical form vertices that read each other stand beside each other as far as they can, absent ones last
    (see `pkgen_hf.spaces.nas_bench_101_cells.in_rows`); each reads its nearest predecessor, and the other edges are
    sorted by target and source. Strings and matrices have the benchmark's own numbering: they are read into the
    canonical form and written from it, so that ``str(Architecture.from_string(space, text))`` is the canonical
    string. `remove` deletes vertices and then those that are on no path from input to output any more.
    """

    num_architectures = 423_624

    def __init__(self) -> None:
        slots = []
        for v in INNER:
            reads = tuple(range(v))
            if v > 1:
                choices = tuple(Choice(str(u), "predecessor", level=u / (v - 1)) for u in reads)
                slots.append(Slot(f"input of {v}", "connection", choices, reads, v))
            slots.append(Slot(f"vertex {v}", "operation", OPERATIONS, reads, v))
        edges = [Choice(f"{u}->{v}", "edge", level=(u + v) / 12, spread=(v - u) / 6) for u, v in EDGES]
        extra = (Choice("none", "zero"), *edges)
        everything = tuple(range(OUTPUT))
        slots += [Slot(f"extra edge {i + 1}", "connection", extra, everything, OUTPUT) for i in range(EXTRAS)]
        super().__init__("nas-bench-101", slots, TASKS, null_choice="none")
        self.operation_slots = [s for s, slot in enumerate(slots) if slot.kind == "operation"]
        self.predecessor_slots = [s for s, slot in enumerate(slots) if slot.name.startswith("input")]

    @cached_property
    @constant
    def null_indices(self) -> torch.Tensor:
        null = torch.full((self.num_slots,), -1)
        null[self.operation_slots] = NONE
        return null

    # ------------------------------------------------------------------ rows and cells

    def cells(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cells of rows ``LongTensor (batch, slots)``: masks ``(batch, 7)`` and operations ``(batch, 5)``."""
        operations = indices[:, self.operation_slots]
        is_there = operations != NONE
        bits = 1 << torch.arange(1, OUTPUT, device=indices.device)
        there = (is_there * bits).sum(1, keepdim=True)  # (batch, 1), of inner vertices
        read = 1 << indices[:, self.predecessor_slots]
        read = torch.where(read & (there | 1) > 0, read, 1)
        zero = torch.zeros_like(there)
        masks = torch.cat([zero, zero + 1, read, zero], dim=1)
        masks[:, 1:OUTPUT] *= is_there
        is_star = (masks[:, 1:OUTPUT] == 1).all(1)
        masks[:, OUTPUT - 1] = torch.where(is_star, 1 << OUTPUT - 2, masks[:, OUTPUT - 1])
        sources = masks[..., None] >> torch.arange(OUTPUT, device=indices.device) & 1  # (batch, 7, 6)
        is_read = sources.amax(1)[:, 1:]
        loose = (is_there * (1 - is_read) * bits).sum(1, keepdim=True)  # read by the output alone
        count = (is_there * (2 - is_read)).sum(1, keepdim=True)
        edges = torch.tensor([(0, 0), *((1 << u, v) for u, v in EDGES)], device=indices.device)
        for choice in indices[:, -EXTRAS:].unbind(1):
            source, target = edges[choice].split(1, dim=1)  # (batch, 1)
            known = masks.gather(1, target)
            can_be = (source & (there | 1) > 0) & ((there | 1 << OUTPUT) >> target & 1 > 0)
            is_loose = source & loose > 0
            added = source * (can_be & (source & known == 0) & (is_loose | (count < MAX_EDGES)))
            masks.scatter_(1, target, known | added)
            count += (added > 0) & ~is_loose
            loose &= ~added
        masks[:, OUTPUT:] |= loose
        return masks, operations

    def rows(self, keys: torch.Tensor) -> torch.Tensor:
        """The canonical row of each of `keys`, ``LongTensor (batch, slots)``."""
        masks, operations = in_rows(*unpack(keys))
        device = masks.device
        nearest = torch.tensor([max(0, mask.bit_length() - 1) for mask in range(1 << OUTPUT)], device=device)
        predecessors = nearest[masks]
        sources, targets = torch.tensor(EDGES, device=device).T
        has_edge = masks[:, targets] >> sources & 1  # (batch, edges)
        is_read = (has_edge[:, targets < OUTPUT, None] * (sources[targets < OUTPUT, None] == sources)).amax(1)
        # The output reads every vertex that nothing else does; the input it reads by an extra edge alone.
        follows = torch.where(targets == OUTPUT, 1 - is_read, predecessors[:, targets] == sources)
        follows[:, first_edge(OUTPUT)] = 0
        is_extra = has_edge * (1 - follows)
        place = torch.where(is_extra > 0, is_extra.cumsum(1) - 1, EXTRAS)
        extras = torch.zeros(len(masks), EXTRAS + 1, dtype=torch.long, device=device)
        extras.scatter_(1, place, torch.arange(1, len(EDGES) + 1, device=device).expand_as(place))
        rows = torch.empty(len(masks), self.num_slots, dtype=torch.long, device=device)
        rows[:, self.operation_slots] = operations
        # A vertex that is not there stands as if the one before it fed it.
        before = torch.arange(1, OUTPUT - 1, device=device)
        rows[:, self.predecessor_slots] = torch.where(operations[:, 1:] == NONE, before, predecessors[:, 2:OUTPUT])
        rows[:, -EXTRAS:] = extras[:, :EXTRAS]
        return rows

    def keys(self, indices: torch.Tensor) -> torch.Tensor:
        """Integers that are equal just for isomorphic architectures, ``LongTensor (batch,)``.

        The canonical cell itself in 31 bits, so that no two cells can collide; 0 for those that are not valid.
        """
        return cell_keys(*self.cells(indices))

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        return self.rows(self.keys(indices))

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        return self.cells(indices)[0][:, OUTPUT] != 0

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        """Counts that do not depend on how vertices are numbered, unlike the choices of a row.

        They are how many vertices carry each operation, how many edges and paths of two edges lead from each operation
        to each, the number of all edges, and the length of the longest path in edges and in convolutions.
        """
        masks, operations = unpack(self.keys(indices))
        batch, device = len(masks), masks.device
        ends = torch.ones(batch, 1, dtype=torch.long, device=device)
        labels = F.one_hot(torch.cat([4 * ends, operations, 5 * ends], dim=1), 6).float()  # (batch, vertices, 6)
        edges = (masks[:, :, None] >> torch.arange(VERTICES, device=device) & 1).float()  # (batch, targets, sources)
        steps = [labels.transpose(1, 2) @ edges @ labels, labels.transpose(1, 2) @ edges @ edges @ labels]
        weights = labels[..., CONV3] + labels[..., CONV1]
        longest = torch.zeros(2, batch, VERTICES, dtype=torch.float32, device=device)  # in edges, in convolutions
        for v in range(1, VERTICES):
            longest[0, :, v] = ((longest[0] + 1) * edges[:, v]).amax(1)
            longest[1, :, v] = (longest[1] * edges[:, v]).amax(1) + weights[:, v]
        counts = [
            labels.sum(1),
            *(step.flatten(1) for step in steps),
            edges.sum((1, 2))[:, None],
            longest[..., OUTPUT].T,
        ]
        return COUNT_SCALE * torch.cat(counts, dim=1)

    def remove(self, indices: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Canonical rows of the cells without the vertices outside `keep`, their edges, and what these leave loose.

        Parameters
        ----------
        indices
            ``LongTensor (..., slots)``
        keep
            ``BoolTensor (..., slots)``, of which the slots of operations count.
        """
        indices, keep = torch.broadcast_tensors(indices, keep)
        masks, operations = self.cells(indices.reshape(-1, self.num_slots))
        kept = keep.reshape(-1, self.num_slots)[:, self.operation_slots].long()
        ends = (kept << torch.arange(1, OUTPUT, device=kept.device)).sum(1, keepdim=True) | 1
        masks = masks & ends
        masks[:, 1:OUTPUT] *= kept
        return self.rows(cell_keys(*prune(masks, operations * kept))).reshape(indices.shape)

    def count_by_enumeration(self) -> int:
        return len(all_keys())

    def sample(self, num: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw architectures, each of the 423,624 with the same probability; all are valid and canonical.

        They are on the generator's device, without one on the CPU.
        """
        return self.rows(sample_keys(num, generator))

    # ------------------------------------------------------------------ strings and matrices

    def from_strings(self, strings: Sequence[str]) -> torch.Tensor:
        """Read strings, of the form that the module's docstring describes, into canonical rows.

        The operations may be called ``conv3x3`` and ``conv1x1`` for short. Vertices that are on no path from input to
        output are dropped.

        Raises
        ------
        ValueError
            For what is not such a string, an unknown operation, or more than 9 edges after dropping.
        """
        texts = self._as_texts(strings)
        matrices: dict[str, tuple[int, int]] = {}
        operations: dict[str, tuple[int, int]] = {"": (0, 0)}
        numbers = np.empty(len(texts), dtype=np.int64)
        for i, text in enumerate(texts):
            bits, colon, names = text.partition(":")
            if bits not in matrices:
                bits, colon, names = self._bare(text).partition(":")
                matrices[bits] = _read_bits(bits)
            if names not in operations:
                parts = [name.strip() for name in names.split(",")] if names.strip() else []
                operations[names] = self._operations(parts, "", text), len(parts)
            (edges, inner), (labels, named) = matrices[bits], operations[names]
            if inner < 0:
                raise self.malformed(text, f"{shortened(bits)} is not the upper half of a matrix, row by row")
            if inner != named or not colon:
                raise self.malformed(text, f"the matrix has {inner} inner vertices, the list {named} operations")
            numbers[i] = edges | labels
        return self._read(*unpack(torch.from_numpy(numbers)), lambda i: shortened(texts[i]))

    def _bare(self, text: str) -> str:
        """A string without what stands around it; of a record ``ModelSpec(...)`` the string."""
        inner = bare(text)
        if "[" not in inner:
            return inner
        try:
            return self.to_strings(self.from_matrices(*_record(inner)))[0]
        except ValueError as error:
            raise self.malformed(text, str(error)) from error

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        """Canonical strings of ``LongTensor (batch, slots)``; that of rows which are not valid is ``"0:"``."""
        texts: list[str] = []
        halves: dict[int, str] = {}
        low = (1 << OPERATION_BITS) - 1
        for key in self.keys(indices).tolist():
            edges, labels = key & ~low, key & low
            if labels and labels not in halves:
                halves[labels] = ",".join(_names(labels))
            if edges not in halves:
                matrix = _matrix(key)
                rows = ["".join(map(str, row[u + 1 :])) for u, row in enumerate(matrix.tolist())]
                halves[edges] = "_".join(rows[:-1])
            texts.append(f"{halves[edges]}:{halves[labels] if labels else ''}")
        return texts

    def from_matrices(
        self, matrices: np.ndarray | Sequence[np.ndarray], operations: Sequence[Sequence[str]]
    ) -> torch.Tensor:
        """Read the benchmark's own records into canonical rows.

        Parameters
        ----------
        matrices
            Upper-triangular adjacency matrices of 0 and 1, ``(batch, n, n)``; or one for each cell, flat or not, where
            cells have different numbers n of vertices, 2 to 7.
        operations
            The n operations of each cell, the first ``"input"`` and the last ``"output"``.

        Returns
        -------
        LongTensor (batch, slots)

        Raises
        ------
        ValueError
            For other matrices, an unknown operation, or more than 9 edges on paths from input to output.
        """
        if len(matrices) != len(operations):
            raise ValueError(f"got {len(matrices)} matrices but the operations of {len(operations)} cells")
        sizes = np.array([len(names) for names in operations])
        masks = np.zeros((len(sizes), VERTICES), dtype=np.int64)
        for n in np.unique(sizes).tolist():
            of_size = np.flatnonzero(sizes == n)
            if not 2 <= n <= VERTICES:
                raise ValueError(f"{self.name} cells have 2 to {VERTICES} vertices, cell {of_size[0]} has {n}")
            columns = np.array([*range(n - 1), OUTPUT])
            for start in range(0, len(of_size), _CHUNK):
                at = of_size[start : start + _CHUNK]
                masks[np.ix_(at, columns)] = self._masks([matrices[i] for i in at.tolist()], n, at)
        labels: dict[tuple[str, ...], int] = {}
        numbers = np.empty(len(sizes), dtype=np.int64)
        for i, names in enumerate(map(tuple, operations)):
            if names not in labels:
                if (names[0], names[-1]) != ("input", "output"):
                    raise ValueError(f"operations go from 'input' to 'output', those of cell {i} are {list(names)}")
                labels[names] = self._operations(names[1:-1], f" cell {i}")
            numbers[i] = labels[names]
        _, inner = unpack(torch.from_numpy(numbers))
        return self._read(torch.from_numpy(masks), inner, "cell {}".format)

    def to_matrices(self, indices: torch.Tensor) -> list[tuple[np.ndarray, list[str]]]:
        """The benchmark's own matrix, ``(n, n)`` of 0 and 1, and n operations, of each of ``(batch, slots)``.

        A row that is not valid has two vertices and no edge.
        """
        low = (1 << OPERATION_BITS) - 1
        return [(_matrix(key), ["input", *_names(key & low), "output"]) for key in self.keys(indices).tolist()]

    def graphs(self, indices: Sequence[int]) -> list[Graph]:
        """The canonical cell, without vertices that are on no path from input to output."""
        matrix, names = self.to_matrices(torch.tensor([indices], device="cpu"))[0]
        kinds = {choice.name: choice.kind for choice in OPERATIONS}
        edges = [(u, v, "", "") for u, v in np.argwhere(matrix).tolist()]
        return [Graph("", [(name, kinds.get(name, "")) for name in names], edges)]

    def _masks(self, matrices: Sequence[np.ndarray], n: int, at: np.ndarray) -> np.ndarray:
        """Incoming edges of the n vertices as bits, ``(batch, n)``; errors say which of the cells `at` is wrong."""
        try:
            matrix = np.array(matrices).reshape(-1, n, n)
        except ValueError as error:
            raise ValueError(f"the matrix of a cell of {n} operations, like cell {at[0]}, is {n} x {n}") from error
        refused = ((matrix != 0) & (matrix != 1) | (np.tril(matrix) != 0)).any((1, 2))
        if refused.any():
            raise ValueError(
                f"the matrix of cell {at[refused][0]} is not of 0 and 1 above the diagonal and 0 elsewhere"
            )
        return (matrix.astype(np.int64) << np.arange(n)[:, None]).sum(1)

    def _operations(self, names: Sequence[str], where: str, text: str | None = None) -> int:
        for name in names:
            if name not in _ALL_NAMES:
                raise unknown(f"operation in {self.name}{where}", name, list(_NAMES), text)
        return pack(0, [_ALL_NAMES[name] for name in names])

    def _read(self, masks: torch.Tensor, operations: torch.Tensor, what: Callable[[int], str]) -> torch.Tensor:
        masks, operations = prune(masks, operations)
        edges = count_edges(masks)
        if (edges > MAX_EDGES).any():
            i = int((edges > MAX_EDGES).nonzero()[0])
            raise ValueError(f"{self.name} cells have at most {MAX_EDGES} edges, {what(i)} has {int(edges[i])}")
        return self.rows(cell_keys(masks, operations))

    # ------------------------------------------------------------------ costs

    def parameters(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        """Exact: stem, 9 modules in 3 stacks of 128, 256 and 512 channels, and the classifier.

        The benchmark's numbers depend on the order of vertices where channels do not divide evenly; counted are those
        of its own order, which is the canonical one. A disconnected cell has no parameters.
        """
        classes = self.task(task or "cifar10").num_classes
        masks, operations = unpack(self.keys(indices))
        total = torch.full_like(masks[:, 0], 29 * STEM + (MODULES[-1][1] + 1) * classes)
        for inputs, outputs, _, alike in MODULES:
            weights, norms = _module_costs(masks, operations, inputs, outputs)
            total += alike * (weights + norms)
        return total

    def flops(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        """Multiply-adds of convolutions and classifier, without biases and batch normalisation."""
        scale = self.task(task or "cifar10")
        masks, operations = unpack(self.keys(indices))
        pixels = scale.image_size**2
        total = torch.full_like(masks[:, 0], pixels * 27 * STEM + MODULES[-1][1] * scale.num_classes)
        for inputs, outputs, shrunk, alike in MODULES:
            weights, _ = _module_costs(masks, operations, inputs, outputs)
            total += alike * weights * (pixels // shrunk**2)
        return total


def _with_operations(text: str) -> str:
    """The text of a record with the operations themselves in place of the constants of the authors' code."""
    return _CONSTANT.sub(lambda found: repr(_CONSTANTS[found[0]]), text)


def _record(text: str) -> tuple[Any, list[list[str]]]:
    """The matrix and the operations of a record, each as a list of one, in any of the forms that the authors use."""
    text = _with_operations(text)
    if "ModelSpec" in text:
        given = arguments(text, "ModelSpec", ("matrix", "ops", "data_format"))
    else:
        value = literal(text)
        if isinstance(value, list):
            value = dict(zip(("matrix", "ops"), value, strict=True)) if len(value) == 2 else {}
        if not isinstance(value, dict):
            raise ValueError("no matrix and operations")
        given = {name.removeprefix("module_").replace("adjacency", "matrix"): part for name, part in value.items()}
        given = {name.replace("operations", "ops"): part for name, part in given.items()}
    matrix, operations = given.get("matrix"), given.get("ops")
    match matrix, operations:
        case [[*rows], [*names]] if all(isinstance(row, list) for row in rows):
            if all(isinstance(bit, int | float) and float(bit).is_integer() for row in rows for bit in row) and all(
                isinstance(name, str) for name in names
            ):
                return [[[int(bit) for bit in row] for row in rows]], [names]
    raise ValueError("no matrix of 0 and 1 with a list of operations")


def _read_bits(bits: str) -> tuple[int, int]:
    """Edges, as `pack` writes them, and inner vertices of the first half of a string; -1 vertices if malformed."""
    rows = bits.split("_")
    n = len(rows) + 1
    if n > VERTICES or set(bits) - set("01_") or any(len(row) != n - 1 - u for u, row in enumerate(rows)):
        return 0, -1
    edges = 0
    for u, row in enumerate(rows):
        for v, bit in enumerate(row, u + 1):
            edges |= int(bit) << first_edge(v if v < n - 1 else OUTPUT) + u
    return pack(edges, []), n - 2


def _names(labels: int) -> list[str]:
    """Names of the operations in the low bits of a key."""
    digits = [labels >> 2 * (OUTPUT - 1 - v) & 3 for v in INNER]
    return [OPERATIONS[digit].name for digit in digits if digit != NONE]


def _matrix(key: int) -> np.ndarray:
    """Adjacency matrix ``(n, n)`` of a key."""
    inner = len(_names(key & (1 << OPERATION_BITS) - 1))
    matrix = np.zeros((inner + 2, inner + 2), dtype=np.int64)
    for number, (u, v) in enumerate(EDGES):
        if key >> OPERATION_BITS + number & 1:
            matrix[u, v if v < OUTPUT else -1] = 1
    return matrix
