"""The DARTS space (Liu et al., ICLR 2019), whose networks NAS-Bench-301 (Zela et al., ICLR 2022) measures on CIFAR-10.

A network stacks two cells, one that keeps the resolution and one that halves it. A cell has the outputs of the two
cells before it as nodes 0 and 1, and four nodes 2 to 5, each the sum of two operations on two earlier nodes; its
output is the concatenation of these four. The string is what Python prints of the genotype in the authors' code:
``Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ...], normal_concat=range(2, 6), reduce=[...], ...)``.
It may stand in a line of code or of a log, over several lines, with lists or numpy's numbers, node by node, or as an
object of JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from ..errors import shortened
from .base import SearchSpace
from .benchmark import Origin, bibtex
from .darts_cells import (
    BASE,
    CELLS,
    NODES,
    NUM_OPERATIONS,
    OPERATIONS,
    PAIRS,
    count_cells,
    is_live,
    number_table,
    numbers_with_none,
)
from .darts_costs import EDGES, LARGE_CHANNELS, LARGE_LAYERS, cost_table, edge_matrices, fixed_costs, large_fixed_costs
from .literals import arguments, literal
from .parts import Choice, Graph, Slot, constant, on_device
from .registry import register_built_in
from .strings import join_columns
from .tasks import Task, TaskLike
from .training import IMAGENET
from .weight_matrices import WeightMatrices, ravel

TASKS = {
    "cifar10": Task("image-classification", chance_score=10.0, num_classes=10, image_size=32),
    "imagenet1k": Task("image-classification", chance_score=0.1, num_classes=1000, image_size=224),
}

LARGE_IMAGES = 128  # pixels: from here on a task of the user's own has the network for ImageNet
_PAIR = r"\(\s*['\"]{0}[^'\"]*)['\"]\s*,\s*{0}[0-9]+)\s*\)"
_LIST = rf"(\[\s*(?:{_PAIR.format('(?:')}\s*(?:,\s*|(?=\])))*\])"
_CONCAT = r"(?:range\(\s*2\s*,\s*6\s*\)|\[\s*2\s*,\s*3\s*,\s*4\s*,\s*5\s*\])"
_FIELDS = [rf"{name}\s*=\s*{_LIST}\s*,\s*{name}_concat\s*=\s*{_CONCAT}" for name in CELLS]
_GENOTYPE = re.compile(rf"\s*Genotype\(\s*{_FIELDS[0]}\s*,\s*{_FIELDS[1]}\s*\)\s*")
_EDGE = re.compile(_PAIR.format("("))
_ARGUMENTS = ("normal", "normal_concat", "reduce", "reduce_concat")
_DIGITS = np.array([str(digit) for digit in range(10)], dtype=object)
ORIGIN = Origin(
    "NAS-Bench-301",
    "Validation accuracies on CIFAR-10 that a surrogate of NAS-Bench-301 **predicts**; none of them is the result "
    "of a training. Cells without one are there for their costs.",
    "https://github.com/automl/nasbench301",
    "apache-2.0",
    bibtex(
        "inproceedings",
        "zela2022surrogate",
        "Surrogate {NAS} Benchmarks: Going Beyond the Limited Search Spaces of Tabular {NAS} Benchmarks",
        "Zela, Arber and Siems, Julien Niklas and Zimmer, Lucas and Lukasik, Jovita and Keuper, Margret and "
        "Hutter, Frank",
        "International Conference on Learning Representations",
        2022,
    ),
)


# ---------------------------------------------------------------------- strings


def _read_cells(text: str) -> list[list[tuple[str, str]]]:
    """Operation and input of each edge of both cells, of a genotype or of a list ``[normal, reduce]``."""
    if "Genotype" in text or not text.lstrip().startswith(("[", "(", "{")):
        given = arguments(text, "Genotype", _ARGUMENTS)
    else:
        value = literal(text)
        while isinstance(value, dict) and len(value) == 1:  # as in {"genotype": {...}}
            (value,) = value.values()
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
    """The edges of a cell, which may be listed node by node."""
    if not isinstance(cell, list):
        raise ValueError(f"the {name} cell must be a list of edges, got {shortened(cell)}")
    if any(isinstance(node, list) and node and isinstance(node[0], list) for node in cell):
        for node in cell:
            if not (isinstance(node, list) and len(node) == 2):
                raise ValueError(f"a node of the {name} cell must be a list of two edges, got {shortened(node)}")
        return [edge for node in cell for edge in node]
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


@cache
def _network_costs(is_large: bool, task: Task) -> tuple[torch.Tensor, np.ndarray]:
    """What operations of the network for a task cost, and all else."""
    if is_large:  # whose stem divides the resolution by 8
        return cost_table(task.image_size // 8, True), large_fixed_costs(*task.shape[1:3], task.in_channels)
    return cost_table(task.image_size, False), fixed_costs(*task.shape[1:3], task.in_channels)


class DARTSSpace(SearchSpace):
    """Two cells of four nodes: for each node an ordered pair of different inputs, and the operations on the two.

    Two rows are isomorphic when their cells differ by the order of a node's inputs or by the numbers of nodes, which
    changes the order of channels alone, or by where an edge of ``none`` comes from, which nothing passes. A node whose
    both operations are ``none`` is zero. A row is valid if the output of either cell depends on its inputs, as that of
    all cells without ``none`` does.

    ``none`` is read, counted and built, but neither sampled nor generated (see `Choice.is_drawn`).
    """

    summary = "two image cells of 4 nodes"
    origin = ORIGIN
    presets = {
        # Liu et al., ICLR 2019, section 3.2: the evaluation of a genotype on CIFAR-10.
        "darts-cifar": {
            "scale": {"channels": 36, "cells": 20, "affine": True, "auxiliary": True, "drop_path_prob": 0.2},
            "num_train_epochs": 600,
            "total_batch_size": 96,
            "learning_rate": 0.025,
            "weight_decay": 3e-4,
            "max_grad_norm": 5.0,
            "cutout": 16,
            "auxiliary_weight": 0.4,
            "drop_path_grows": True,
        },
        # P-DARTS (Chen et al., ICCV 2019) and PC-DARTS (Xu et al., ICLR 2020): batch 1,024, linear from 0.5, warm-up.
        "darts-imagenet": IMAGENET
        | {
            "scale": {"channels": 48, "cells": 14, "affine": True, "stem": "imagenet", "auxiliary": True},
            "bicubic": False,
            "color_jitter": (0.4, 0.4, 0.4, 0.2),
            "num_train_epochs": 250,
            "learning_rate": 0.5,
            "lr_scheduler": "linear",
            "weight_decay": 3e-5,
            "max_grad_norm": 5.0,
            "auxiliary_weight": 0.4,
        },
    }

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
        """Number of pairs of cells without ``none``, each up to isomorphism: 382,128,166 squared, about 1.5e17.

        With ``none`` there are 626,742,459 cells (``count_cells(with_none=True)``), or about 3.9e17 pairs.
        """
        return count_cells() ** 2

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        sources, operations = (part.flatten(0, 1) for part in self.edges(indices))
        return is_live(sources, operations).unflatten(0, (len(indices), len(CELLS))).all(1)

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        """Each cell as the smallest of the numbers that its renumberings have, the inputs of every node in order."""
        sources, operations = (part.flatten(0, 1) for part in self.edges(indices))
        order = sources.argsort(dim=2)
        low, high = sources.gather(2, order).unbind(2)
        pairs = high * (high - 1) // 2 + low
        wiring = (pairs * torch.tensor([180, 60, 10, 1], device=indices.device)).sum(1)
        has_none = (operations == NUM_OPERATIONS - 1).flatten(1).any(1).nonzero()[:, 0]
        with_none = numbers_with_none(sources[has_none], operations[has_none]) if len(has_none) else None
        operations = operations.gather(2, order).flatten(1)
        table = on_device(number_table, indices.device)
        smallest = torch.full_like(wiring, 2**62)
        for column in range(table.shape[1]):
            entries = table[wiring, column]
            torch.minimum(smallest, entries[:, 0] + (entries[:, 1:] * operations).sum(1), out=smallest)
        if with_none is not None:
            smallest[has_none] = with_none
        digits = smallest[:, None] // torch.tensor([BASE**3, BASE**2, BASE, 1], device=indices.device) % BASE
        pairs, operations = digits // NUM_OPERATIONS**2, digits % NUM_OPERATIONS**2
        groups = torch.stack([pairs, operations // NUM_OPERATIONS, operations % NUM_OPERATIONS], dim=2)
        return groups.reshape(len(indices), self.num_slots)

    # ------------------------------------------------------------------ strings

    def split_string(self, text: str) -> list[str]:
        match = _GENOTYPE.fullmatch(text)  # as it is written; anything else takes twenty times as long
        if match is not None:
            cells = [_EDGE.findall(part) for part in match.groups()]
        else:
            try:
                cells = _read_cells(text)
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
        """Both cells with operations on edges, without ``none``; cells before are called as in the paper."""
        nodes = [("cₖ₋₂", ""), ("cₖ₋₁", ""), *((str(node - NODES[0]), "") for node in NODES), ("cₖ", "")]
        parts = []
        reads, operations = (part[0].tolist() for part in self.edges(torch.tensor([indices], device="cpu")))
        for cell, name in enumerate(CELLS):
            edges = [(node, len(nodes) - 1, "", "") for node in NODES]
            for node, sources, numbers in zip(NODES, reads[cell], operations[cell], strict=True):
                for source, choice in zip(sources, (OPERATIONS[number] for number in numbers), strict=True):
                    if choice.kind != "zero":
                        edges.append((source, node, choice.name, choice.kind))
            parts.append(Graph(f"{name} cell", nodes, edges))
        return parts

    # ------------------------------------------------------------------ costs

    def _sum_costs(self, indices: torch.Tensor, task: TaskLike | None, which: int) -> torch.Tensor:
        task = task or "cifar10"
        table, fixed = _network_costs(self.like(task) == "imagenet1k", self.task(task))
        sources, operations = self.edges(indices)
        kinds = torch.arange(len(CELLS), device=indices.device)[:, None, None]
        costs = table[..., which].to(indices.device)[kinds, operations, (sources < 2).long()]
        return costs.flatten(1).sum(1) + int(fixed[which])

    def scale(self, task: TaskLike) -> dict[str, Any]:
        large = {"stem": "imagenet", "channels": LARGE_CHANNELS, "cells": LARGE_LAYERS, "affine": True}
        return large if self.like(task) == "imagenet1k" else {}

    def like(self, task: TaskLike) -> str:
        """By the size of images: those of `LARGE_IMAGES` pixels have the network for ImageNet."""
        if isinstance(task, Task) and task.image_size:
            return "imagenet1k" if task.image_size >= LARGE_IMAGES else "cifar10"
        return super().like(task)

    def image_sizes(self, task: Task) -> tuple[int, int]:
        return (LARGE_IMAGES, 32) if self.like(task) == "imagenet1k" else (4, 4)

    def input_shape(self, task: TaskLike, image_size: int | None = None, **scale: Any) -> tuple[int, ...]:
        """An image; the stem for ImageNet is made for images of that size."""
        if image_size is None and scale.get("stem") == "imagenet" and self.like(task) != "imagenet1k":
            image_size = self.task("imagenet1k").image_size
        return super().input_shape(task, image_size, **scale)

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Parameters at 32 channels and 8 cells, where the normalisations within operations have none.

        Equal to the published sizes of the networks of NAS-Bench-301 (NAS-Bench-Suite-Zero, Krishnakumar et al.,
        2022); ``affine=True`` of `pkgen_hf.networks.darts.plan` builds those with weights in all normalisations.

        For ``imagenet1k`` those of DARTS's evaluation: ``affine=True``, 48 channels, 14 cells, the stem for large
        images, without the auxiliary classifier, which is for training only.
        """
        return self._sum_costs(indices, task, 0)

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Operations equal to those published with the sizes, which are more than multiply-adds.

        To those of convolutions and the classifier (without bias) come 1 for each value that a ReLU or a
        normalisation reads, 1 more for a normalisation with weights, and 9 for each output of a pooling. For
        ``imagenet1k`` multiply-adds of convolutions and the classifier alone, at 224 pixels.
        """
        return self._sum_costs(indices, task, 1)

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        task = task or "cifar10"
        data = self.task(task)
        sources, operations = self.edges(indices)
        kinds = torch.arange(len(CELLS), device=indices.device)[:, None, None]
        parts = ravel(EDGES, kinds, operations, (sources < 2).long()).flatten(1)
        return edge_matrices(self.like(task) == "imagenet1k", data.num_classes, data.in_channels).total(parts)


register_built_in(DARTSSpace())
