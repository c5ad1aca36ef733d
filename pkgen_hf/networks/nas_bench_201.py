"""The NAS-Bench-201 network (Dong and Yang, ICLR 2020): three stages of equal cells for small images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..spaces.nas_bench_201 import EDGES, OPERATIONS
from ..spaces.protocols import ArchitectureLike
from .counting import LINEAR_BIASES, Extra

STAGES = 3


class Zero(nn.Module):
    """No connection."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Zeros like ``features``."""
        return torch.zeros_like(features)


def relu_conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution and batch norm."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def operation(name: str, width: int) -> nn.Module:
    """The operation called `name` on maps of `width` channels; it keeps their shape."""
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return relu_conv_bn(width, width, kernel=int(name[-1]))


class Cell(nn.Module):
    """Four nodes, each the sum of what its incoming edges make of the earlier nodes.

    Parameters
    ----------
    names
        Operations of the six edges in the order of the space's slots.
    width
        Channels.
    """

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__()
        self.operations = nn.ModuleList(operation(name, width) for name in names)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, height, width)`` to the same shape."""
        nodes = [features]
        for node in (1, 2, 3):
            incoming = [edge(nodes[a]) for (a, b), edge in zip(EDGES, self.operations, strict=True) if b == node]
            nodes.append(reduce(torch.add, incoming))
        return nodes[-1]


class Reduction(nn.Module):
    """Residual block between stages: halves height and width, changes the channels from `inputs` to `outputs`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            relu_conv_bn(inputs, outputs, kernel=3, stride=2), relu_conv_bn(outputs, outputs, kernel=3)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, inputs, height, width)`` to ``(batch, outputs, height / 2, width / 2)``."""
        return self.convolutions(features) + self.shortcut(features)


class CellNetwork(nn.Module):
    """Stem, three stages of cells with reductions between them, and a linear classifier.

    Parameters
    ----------
    names
        Operations of the cell's six edges.
    num_classes
        Width of the output.
    channels
        Of the first stage; each later stage has twice as many.
    cells
        In each stage.
    in_channels
        Of images.
    """

    def __init__(self, names: Sequence[str], num_classes: int, channels: int, cells: int, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        blocks: list[nn.Module] = []
        for stage in range(STAGES):
            width = channels * 2**stage
            if stage:
                blocks.append(Reduction(width // 2, width))
            blocks += [Cell(names, width) for _ in range(cells)]
        self.body = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, num_classes)`` of images ``(batch, in_channels, height, width)``, sides divisible by 4."""
        features = F.relu(self.norm(self.body(self.stem(images))))
        return self.classifier(features.mean((2, 3)))


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    channels: int = 16,
    cells: int = 5,
    in_channels: int = 3,
) -> partial[CellNetwork]:
    """The network of a NAS-Bench-201 cell; by default as in the benchmark, for the 10 classes of CIFAR-10."""
    space = architecture.space
    names = [OPERATIONS[index].name for index in architecture.indices]
    classes = num_classes or space.task("cifar10").num_classes
    return partial(
        CellNetwork, names=names, num_classes=classes, channels=channels, cells=cells, in_channels=in_channels
    )


def extra_operations(task: str) -> dict[Any, Extra]:
    """What the benchmark counts beside products: the bias of the classifier."""
    return LINEAR_BIASES
