"""A benchmark of one's own in one file: a search space, its costs, its network, the reader of its scores, a preset.

A cell of three edges among an input, one node and an output, on pictures of 16 x 16 pixels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import nn

from pkgen_hf.spaces import Choice, Origin, Reader, SearchSpace, Slot, Task, register_space
from pkgen_hf.spaces.protocols import ArchitectureLike

EDGES = ((0, 1), (0, 2), (1, 2))
OPERATIONS = (
    Choice("none", "zero"),
    Choice("skip", "identity"),
    Choice("conv1", "convolution", kernel=1),
    Choice("conv3", "convolution", kernel=3),
)
CHANNELS = 8
AREAS = torch.tensor([0, 0, 1, 9])  # weights of each operation for each pair of channels


class ToySpace(SearchSpace):
    """Three operations on edges; a cell is valid if a path leads from its input to its output."""

    origin = Origin(
        "Toy",
        "Accuracies that were made up.",
        "https://example.org/toy",
        "mit",
        "@article{toy,\n  title = {Toy}\n}",
        whole=64,
    )
    summary = "a cell of 3 edges on small pictures"
    presets = {"toy": {"image_size": 16, "crop_padding": 2, "num_train_epochs": 1, "total_batch_size": 12}}

    def __init__(self) -> None:
        slots = [Slot(f"{a}->{b}", "operation", OPERATIONS, reads=(a,), writes=b) for a, b in EDGES]
        tasks = {
            "shapes": Task("image-classification", chance_score=100 / 3, num_classes=3, image_size=16),
            "colours": Task("image-classification", chance_score=25.0, num_classes=4, image_size=16),
        }
        super().__init__("toy", slots, tasks, null_choice="none")

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        edge = indices != 0
        return edge[:, 1] | (edge[:, 0] & edge[:, 2])

    def _weights(self, indices: torch.Tensor) -> torch.Tensor:
        return CHANNELS**2 * AREAS.to(indices.device)[indices].sum(1)

    def parameters(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        classes = self.task(task or "shapes").num_classes
        return 27 * CHANNELS + self._weights(indices) + classes * (CHANNELS + 1)

    def flops(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        data = self.task(task or "shapes")
        return data.image_size**2 * (27 * CHANNELS + self._weights(indices)) + data.num_classes * CHANNELS


class ToyNetwork(nn.Module):
    """A convolution, the cell, and a linear classifier of the mean."""

    def __init__(self, kernels: list[int], num_classes: int, channels: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.edges = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False) if kernel > 0 else nn.Identity()
            for kernel in kernels
        )
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        start = self.stem(images)
        middle = self.edge(0, start)
        end = self.edge(1, start) + self.edge(2, middle)
        return self.classifier(end.relu().mean((2, 3)))

    def edge(self, number: int, features: torch.Tensor) -> torch.Tensor:
        """What one edge makes of maps; -1 stands for no connection."""
        if self.kernels[number] < 0:
            return torch.zeros_like(features)
        return self.edges[number](features)


def plan(
    architecture: ArchitectureLike, num_classes: int | None = None, channels: int = CHANNELS
) -> partial[ToyNetwork]:
    """The network of a cell."""
    kernels = [(-1, 0, 1, 3)[index] for index in architecture.indices]
    classes = num_classes or architecture.space.task("shapes").num_classes
    return partial(ToyNetwork, kernels=kernels, num_classes=classes, channels=channels)


def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """The benchmark's own file: accuracies of each task by the cell's string."""
    records: dict[str, Any] = json.loads(files[0].read_text())
    columns: dict[str, Any] = {"architecture": list(records)}
    for task in space.tasks:
        column = [record[task] for record in records.values()]
        columns[f"{task}_validation_accuracy"] = pa.array(column, pa.float32())
    return pa.table(columns)


READER = Reader(pattern="toy-*.json", read=read)
SPACE = register_space(ToySpace(), network=plan, reader=READER)
