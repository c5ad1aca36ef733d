"""How cells of NAS-Bench-101 are written: strings, the benchmark's own matrices, and records in its authors' code."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import shortened, unknown
from .base import SearchSpace
from .literals import arguments, bare, literal
from .nas_bench_101_cells import (
    EDGES,
    INNER,
    MAX_EDGES,
    OPERATION_BITS,
    OUTPUT,
    VERTICES,
    cell_keys,
    count_edges,
    first_edge,
    pack,
    prune,
    unpack,
)
from .parts import Choice, Graph

OPERATIONS = (
    Choice("none", "zero"),
    Choice("conv3x3-bn-relu", "convolution", kernel=3),
    Choice("conv1x1-bn-relu", "convolution", kernel=1),
    Choice("maxpool3x3", "pooling", kernel=3, aggregation="max"),
)
NONE, CONV3, CONV1, POOL = range(4)
CHUNK = 65_536  # matrices that are read at a time
NAMES = {choice.name: k for k, choice in enumerate(OPERATIONS) if k != NONE}
READ_NAMES = NAMES | {name.removesuffix("-bn-relu"): k for name, k in NAMES.items()}
# What the authors' example calls operations, where no quotes stand around it.
_CONSTANTS = {
    "INPUT": "input", "OUTPUT": "output", "CONV1X1": "conv1x1-bn-relu", "CONV3X3": "conv3x3-bn-relu",
    "MAXPOOL3X3": "maxpool3x3",
}  # fmt: skip
_CONSTANT = re.compile(r"(?<![\w'\"])(?:" + "|".join(_CONSTANTS) + r")(?![\w'\"])")


def _with_operations(text: str) -> str:
    """The text of a record with the operations themselves in place of the constants of the authors' code."""
    return _CONSTANT.sub(lambda found: repr(_CONSTANTS[found[0]]), text)


def read_record(text: str) -> tuple[Any, list[list[str]]]:
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


def read_bits(bits: str) -> tuple[int, int]:
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


def operation_names(labels: int) -> list[str]:
    """Names of the operations in the low bits of a key."""
    digits = [labels >> 2 * (OUTPUT - 1 - v) & 3 for v in INNER]
    return [OPERATIONS[digit].name for digit in digits if digit != NONE]


def adjacency(key: int) -> np.ndarray:
    """Adjacency matrix ``(n, n)`` of a key."""
    inner = len(operation_names(key & (1 << OPERATION_BITS) - 1))
    matrix = np.zeros((inner + 2, inner + 2), dtype=np.int64)
    for number, (u, v) in enumerate(EDGES):
        if key >> OPERATION_BITS + number & 1:
            matrix[u, v if v < OUTPUT else -1] = 1
    return matrix


class CellStrings(SearchSpace):
    """Reading and writing cells in the benchmark's own forms, by way of keys."""

    def rows(self, keys: torch.Tensor) -> torch.Tensor:
        """The canonical row of each of `keys`, ``LongTensor (batch, slots)``."""
        raise NotImplementedError

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
                matrices[bits] = read_bits(bits)
            if names not in operations:
                parts = [name.strip() for name in names.split(",")] if names.strip() else []
                operations[names] = self._operations(parts, "", text), len(parts)
            (edges, inner), (labels, named) = matrices[bits], operations[names]
            if inner < 0:
                raise self.malformed(text, "its bits are not the upper half of a matrix, row by row")
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
            return self.to_strings(self.from_matrices(*read_record(inner)))[0]
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
                halves[labels] = ",".join(operation_names(labels))
            if edges not in halves:
                matrix = adjacency(key)
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
            for start in range(0, len(of_size), CHUNK):
                at = of_size[start : start + CHUNK]
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
        return [
            (adjacency(key), ["input", *operation_names(key & low), "output"]) for key in self.keys(indices).tolist()
        ]

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
            if name not in READ_NAMES:
                raise unknown(f"operation in {self.name}{where}", name, list(NAMES), text)
        return pack(0, [READ_NAMES[name] for name in names])

    def _read(self, masks: torch.Tensor, operations: torch.Tensor, what: Callable[[int], str]) -> torch.Tensor:
        masks, operations = prune(masks, operations)
        edges = count_edges(masks)
        if (edges > MAX_EDGES).any():
            i = int((edges > MAX_EDGES).nonzero()[0])
            raise ValueError(f"{self.name} cells have at most {MAX_EDGES} edges, {what(i)} has {int(edges[i])}")
        return self.rows(cell_keys(masks, operations))
