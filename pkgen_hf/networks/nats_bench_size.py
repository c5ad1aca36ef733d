"""The networks of NATS-Bench's size space (Dong et al., TPAMI 2021): one cell, five widths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..spaces import get_space
from ..spaces.nats_bench_size import CELL, HALVES, WIDTHS
from ..spaces.protocols import ArchitectureLike
from .counting import LINEAR_BIASES, Extra
from .nas_bench_201 import Cell, Reduction, relu_conv_bn


class SizedCell(Cell):
    """A cell between any two widths: the edges that read its input change the channels.

    Parameters
    ----------
    names
        Operations of the six edges.
    inputs, outputs
        Channels.
    """

    def __init__(self, names: Sequence[str], inputs: int, outputs: int) -> None:
        super().__init__(names, outputs)
        if inputs != outputs:
            shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
            for edge, name in [(0, names[0]), (1, names[1]), (3, names[3])]:
                self.operations[edge] = shortcut if name == "skip_connect" else relu_conv_bn(inputs, outputs, kernel=3)


class SizeNetwork(nn.Module):
    """Stem, five layers of the given widths, and a linear classifier.

    Parameters
    ----------
    names
        Operations of the cell's six edges.
    widths
        Channels of the five layers; the stem has those of the first.
    num_classes
        Width of the output.
    in_channels
        Of images.
    """

    def __init__(self, names: Sequence[str], widths: Sequence[int], num_classes: int, in_channels: int) -> None:
        super().__init__()
        inputs = widths[0]
        self.stem = nn.Sequential(nn.Conv2d(in_channels, inputs, 3, padding=1, bias=False), nn.BatchNorm2d(inputs))
        self.body = nn.Sequential()
        for outputs, halves in zip(widths, HALVES, strict=True):
            self.body.append(Reduction(inputs, outputs) if halves else SizedCell(names, inputs, outputs))
            inputs = outputs
        self.norm = nn.BatchNorm2d(inputs)
        self.classifier = nn.Linear(inputs, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, num_classes)`` of images ``(batch, in_channels, height, width)``, sides divisible by 4."""
        features = F.relu(self.norm(self.body(self.stem(images))))
        return self.classifier(features.mean((2, 3)))


def plan(architecture: ArchitectureLike, num_classes: int | None = None, in_channels: int = 3) -> partial[SizeNetwork]:
    """The network of five widths as in the benchmark; by default for the 10 classes of CIFAR-10."""
    widths = [WIDTHS[index] for index in architecture.indices]
    names = get_space("nas-bench-201").split_string(CELL)
    classes = num_classes or architecture.space.task("cifar10").num_classes
    return partial(SizeNetwork, names=names, widths=widths, num_classes=classes, in_channels=in_channels)


def extra_operations(task: str) -> dict[Any, Extra]:
    """What the benchmark counts beside products: the bias of the classifier."""
    return LINEAR_BIASES
