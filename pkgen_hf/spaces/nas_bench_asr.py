"""NAS-Bench-ASR (Mehrotra et al., ICLR 2021): convolutional cells for speech recognition on TIMIT.

Node 0 of a cell is its input. Each of the nodes 1, 2 and 3 is an operation on the node before it plus skip connections
from any of the earlier nodes; node 3 is the output. The string is a nested list of numbers, one list for each node:
``[[operation, skip from 0], [operation, skip from 0, from 1], [operation, skip from 0, from 1, from 2]]``; operations
are also read by their names.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch

from ..errors import shortened
from .base import SearchSpace
from .benchmark import Origin, bibtex
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .tasks import Task, TaskLike
from .weight_matrices import MatrixTable, WeightMatrices

OPERATIONS = (
    Choice("linear", "linear"),
    Choice("conv5", "convolution", kernel=5),
    Choice("conv5d2", "convolution", kernel=5, dilation=2),
    Choice("conv7", "convolution", kernel=7),
    Choice("conv7d2", "convolution", kernel=7, dilation=2),
    Choice("zero", "zero"),
)
SKIPS = (Choice("none", "zero"), Choice("skip", "identity"))
LINEAR, CONV5, CONV5D2, CONV7, CONV7D2, ZERO = range(6)
OPERATION_SLOTS = (0, 2, 5)
SKIP_SLOTS = (1, 3, 4, 6, 7, 8)
# 48 phonemes and the blank of CTC; a score is 100 less the phoneme error rate in percent, which is 100 of no phonemes.
TASKS = {"timit": Task("speech-recognition", chance_score=0.0, num_classes=49, num_features=80)}
FRAMES = 300  # of 10 ms: an utterance of TIMIT lasts three seconds in the mean
ORIGIN = Origin(
    "NAS-Bench-ASR",
    "100 less the phoneme error rate on TIMIT, in percent, the mean over the seeds that were trained.",
    "https://github.com/SamsungLabs/nb-asr",
    "unknown",
    bibtex(
        "inproceedings",
        "mehrotra2021nas",
        "{NAS-Bench-ASR}: Reproducible Neural Architecture Search for Speech Recognition",
        "Mehrotra, Abhinav and Ramos, Alberto Gil C. P. and Bhattacharya, Sourav and Dudziak, Lukasz and "
        "Vipperla, Ravichander and Chau, Thomas and Abdelfattah, Mohamed S. and Ishtiaq, Samin and "
        "Lane, Nicholas Donald",
        "International Conference on Learning Representations",
        2021,
    ),
)


@dataclass(frozen=True)
class SpeechScale:
    """What the benchmark fixes for all networks.

    Parameters
    ----------
    filters, cells, strides
        Of each block: channels, number of cells, stride over time of the convolution before them.
    kernel
        Of that convolution.
    groups
        Of the convolutions in a cell.
    units
        Of the recurrent layer after the last block.
    """

    filters: tuple[int, ...] = (600, 800, 1000, 1200)
    cells: tuple[int, ...] = (3, 4, 5, 6)
    strides: tuple[int, ...] = (1, 1, 2, 2)
    kernel: int = 8
    groups: int = 100
    units: int = 500


SCALE = SpeechScale()


@cache
@constant
def _matrices(classes: int, features: int) -> MatrixTable:
    """Of each operation in all cells; of the convolutions before them, the recurrent layer and the classifier."""
    parts = []
    for choice in OPERATIONS:
        groups, kernel = (1, 1) if choice.kind == "linear" else (SCALE.groups, choice.kernel)
        blocks = [] if choice.kind == "zero" else list(zip(SCALE.filters, SCALE.cells, strict=True))
        parts.append([(filters // groups, filters // groups * kernel, cells * groups) for filters, cells in blocks])
    convolutions = [(b, SCALE.kernel * a, 1) for a, b in itertools.pairwise((features, *SCALE.filters))]
    gates = [(SCALE.units, SCALE.filters[-1], 4), (SCALE.units, SCALE.units, 4)]
    return MatrixTable(parts, [*convolutions, *gates, (classes, SCALE.units, 1)])


class NASBenchASRSpace(SearchSpace):
    """Three operations and six skip connections: 13,824 encodings, 8,242 cells, one of them disconnected.

    Cells are equal when the benchmark's graphs of them are: vertices are the input, the operations and the output, a
    skip connection is an edge from an operation, "zero" has no edges, and what lies on no path from input to output is
    left out. All 812 encodings without such a path are one cell, which is not valid. `canonical` is the encoding with
    fewest operations, then fewest skip connections, so that the network of the canonical form is the one of the graph;
    costs are those of that network.
    """

    summary = "speech cell of 3 operations"
    origin = ORIGIN

    def __init__(self) -> None:
        slots = []
        for node in (1, 2, 3):
            slots.append(Slot(f"node {node}", "operation", OPERATIONS, (node - 1,), node))
            slots += [Slot(f"{a}->{node}", "connection", SKIPS, (a,), node) for a in range(node)]
        super().__init__("nas-bench-asr", slots, TASKS, null_choice=("zero", "none"))

    @cached_property
    def num_architectures(self) -> int:
        return self.count_by_enumeration()

    def input_shape(self, task: TaskLike, image_size: int | None = None, **scale: Any) -> tuple[int, ...]:
        """Frames of speech, each with the features of a spectrum."""
        return (FRAMES, scale.get("num_features", self.task(task).num_features))

    # ------------------------------------------------------------------ strings

    def split_string(self, text: str) -> list[str]:
        nodes = self._literal(text)
        if not (isinstance(nodes, list) and [isinstance(node, list) and len(node) for node in nodes] == [2, 3, 4]):
            raise self.malformed(text, "it is no list of three nodes, of 2, 3 and 4 numbers")
        names = []
        for slot, value in zip(self.slots, itertools.chain(*nodes), strict=True):
            if type(value) is int and 0 <= value < len(slot.choices):
                names.append(slot.choices[value].name)
            elif isinstance(value, str) and slot.kind == "operation":
                names.append(value)
            else:
                last = len(slot.choices) - 1
                raise self.malformed(text, f"slot {slot.name!r} is a number from 0 to {last}, not {shortened(value)}")
        return names

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        return ["[[{}, {}], [{}, {}, {}], [{}, {}, {}, {}]]".format(*row) for row in indices.tolist()]

    # ------------------------------------------------------------------ graphs

    def _graphs(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The benchmark's graph of each cell, without what lies on no path from input to output.

        Vertices are the input, the three operations and the output, which reads the third node.

        Returns
        -------
        Edges ``BoolTensor (batch, 5, 5)`` from row to column, and operations ``LongTensor (batch, 3)``, "zero" where
        one is left out.
        """
        operations = indices[:, OPERATION_SLOTS]
        edges = torch.zeros(len(indices), 5, 5, dtype=torch.bool, device=indices.device)
        edges[:, range(4), range(1, 5)] = True
        # What node n adds up is read by vertex n + 1.
        pairs = [(slot.reads[0], slot.writes) for slot in self.slots if slot.kind == "connection"]
        sources, nodes = zip(*pairs, strict=True)
        edges[:, sources, [node + 1 for node in nodes]] |= indices[:, SKIP_SLOTS].bool()
        alive = torch.ones(len(indices), 5, dtype=torch.bool, device=indices.device)
        alive[:, 1:4] = operations != ZERO
        edges &= alive[:, :, None] & alive[:, None, :]
        paths = edges | torch.eye(5, dtype=torch.bool, device=indices.device)
        for _ in range(2):  # to walks of length 2, then 4, the longest there can be
            paths = (paths.float() @ paths.float()) > 0
        used = paths[:, 0] & paths[:, :, 4]
        edges &= used[:, :, None] & used[:, None, :]
        return edges, operations.where(used[:, 1:4], ZERO)

    @cached_property
    @constant
    def _canonical_code(self) -> torch.Tensor:
        """Code of the canonical form of every encoding, ``LongTensor (num_encodings,)``."""
        rows = self.all_indices()
        edges, operations = self._graphs(rows)
        bits = 2 ** torch.arange(25, dtype=torch.double).reshape(5, 5)
        digits = 2**25 * 6 ** torch.arange(3, dtype=torch.double)
        orders = list(itertools.permutations(range(3)))
        old = torch.tensor([[0, *(1 + i for i in order), 4] for order in orders])
        places = old.argsort(1)  # the new number of each vertex, (orders, 5)
        # What edges and operations add to the number of a graph under each order, in floats, which hold it exactly.
        of_edges = bits[places[:, :, None], places[:, None]].flatten(1).T  # (25, orders)
        of_operations = digits[places[:, 1:4] - 1].T
        forms = edges.flatten(1).double() @ of_edges + operations.double() @ of_operations
        graphs = forms.amin(1).unique(return_inverse=True)[1]
        used = (rows[:, OPERATION_SLOTS] != ZERO).sum(1)
        preference = (used * 7 + rows[:, SKIP_SLOTS].sum(1)) * self.num_encodings + self.codes(rows)
        best = torch.full((int(graphs.max()) + 1,), torch.iinfo(torch.long).max)
        return best.scatter_reduce(0, graphs, preference, "amin")[graphs] % self.num_encodings

    @cached_property
    def _all(self) -> torch.Tensor:
        return self.all_indices()

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        codes = self._canonical_code[self.codes(indices).cpu()]
        return self._all[codes].to(indices.device)

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        return self._graphs(indices)[0][:, 0].any(1)

    # ------------------------------------------------------------------ costs

    def _weights(self, indices: torch.Tensor, filters: int) -> torch.Tensor:
        """Weights of the operations of a cell with `filters` channels, in the canonical form, ``(batch,)``."""
        dense = filters**2
        grouped = dense // SCALE.groups
        weights = torch.tensor([dense, 5 * grouped, 5 * grouped, 7 * grouped, 7 * grouped, 0], device=indices.device)
        return weights[self.canonical(indices)[:, OPERATION_SLOTS]].sum(1)

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact for the network of the canonical form; the recurrent layer has two vectors of biases."""
        data = self.task(task or "timit")
        used = (self.canonical(indices)[:, OPERATION_SLOTS] != ZERO).sum(1)
        total = torch.zeros_like(used)
        inputs = data.num_features
        for filters, cells in zip(SCALE.filters, SCALE.cells, strict=True):
            # the convolution before the cells, with bias and norm; operations with biases; the cell's norm
            total += SCALE.kernel * inputs * filters + 3 * filters
            total += cells * (self._weights(indices, filters) + used * filters + 2 * filters)
            inputs = filters
        recurrent = 4 * SCALE.units * (inputs + SCALE.units + 2)
        return total + recurrent + (SCALE.units + 1) * data.num_classes

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of convolutions, linear maps and the recurrent layer for `FRAMES` frames, three seconds."""
        data = self.task(task or "timit")
        total = torch.zeros_like(indices[:, 0])
        inputs, frames = data.num_features, FRAMES
        for filters, cells, stride in zip(SCALE.filters, SCALE.cells, SCALE.strides, strict=True):
            frames = -(-frames // stride)
            total += frames * (SCALE.kernel * inputs * filters + cells * self._weights(indices, filters))
            inputs = filters
        return total + frames * (4 * SCALE.units * (inputs + SCALE.units) + SCALE.units * data.num_classes)

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        data = self.task(task or "timit")
        return _matrices(data.num_classes, data.num_features).total(self.canonical(indices)[:, OPERATION_SLOTS])


register_built_in(NASBenchASRSpace())
