"""The NAS-Bench-101 network (Ying et al., ICML 2019): three stacks of three equal modules for small images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import cast

import torch
from torch import nn

from ..spaces.nas_bench_101 import NASBench101Space
from ..spaces.nas_bench_101_cells import unpack
from ..spaces.nas_bench_101_costs import vertex_widths
from ..spaces.protocols import ArchitectureLike


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.003),  # TensorFlow's momentum of 0.997
        nn.ReLU(),
    )


def operation(name: str, width: int) -> nn.Module:
    """The operation called `name` on maps of `width` channels; it keeps their shape."""
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    return _convolution(width, width, kernel=int(name[4]))


class CellModule(nn.Module):
    """One cell, which the benchmark calls a module.

    A vertex applies its operation to the sum of what it reads: of earlier vertices the first channels, as many as it
    has itself, and of the input a projection. The vertices that feed the output are concatenated, and a projection of
    the input is added if the output reads that as well. Without a path to the output it is zero.

    Parameters
    ----------
    matrix
        Adjacency matrix, n rows of n numbers 0 or 1.
    operations
        Names of the n - 2 inner vertices' operations.
    widths
        Channels of the inner vertices.
    inputs, outputs
        Channels.
    """

    def __init__(
        self,
        matrix: Sequence[Sequence[int]],
        operations: Sequence[str],
        widths: Sequence[int],
        inputs: int,
        outputs: int,
    ) -> None:
        super().__init__()
        vertices = range(1, len(matrix))
        self.sources = [[u - 1 for u in vertices if matrix[u][v]] for v in vertices]  # inner ones, from 0
        self.widths, self.outputs = widths, outputs
        self.projections = nn.ModuleDict(
            {
                str(v - 1): _convolution(inputs, width, 1)
                for v, width in enumerate([*widths, outputs], 1)
                if matrix[0][v]
            }
        )
        self.operations = nn.ModuleList(operation(*both) for both in zip(operations, widths, strict=True))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, inputs, height, width)`` to ``(batch, outputs, height, width)``."""
        vertices: list[torch.Tensor] = []
        for v, (width, layer) in enumerate(zip(self.widths, self.operations, strict=True)):
            read = [vertices[u][:, :width] for u in self.sources[v]]
            if str(v) in self.projections:
                read.append(self.projections[str(v)](features))
            vertices.append(layer(reduce(torch.add, read)))
        collected = [vertices[u] for u in self.sources[-1]]
        output = str(len(vertices))
        if output in self.projections:
            projected = self.projections[output](features)
            return torch.cat(collected, dim=1) + projected if collected else projected
        if not collected:
            return features.new_zeros(len(features), self.outputs, *features.shape[2:])
        return torch.cat(collected, dim=1)


class ModuleNetwork(nn.Module):
    """Stem, stacks of modules with maximum pooling between them, and a linear classifier.

    Parameters
    ----------
    matrix, operations
        As of `CellModule`.
    widths
        Channels of the inner vertices in the modules of each stack.
    num_classes
        Width of the output.
    channels
        Of the first stack; each later one has twice as many.
    modules
        In each stack.
    in_channels
        Of images.
    """

    def __init__(
        self,
        matrix: Sequence[Sequence[int]],
        operations: Sequence[str],
        widths: Sequence[Sequence[int]],
        num_classes: int,
        channels: int,
        modules: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        blocks: list[nn.Module] = [_convolution(in_channels, channels, 3)]
        inputs = channels
        for stack, inner in enumerate(widths):
            outputs = channels * 2**stack
            if stack:
                blocks.append(nn.MaxPool2d(2))
            for _ in range(modules):
                blocks.append(CellModule(matrix, operations, inner, inputs, outputs))
                inputs = outputs
        self.body = nn.Sequential(*blocks)
        self.classifier = nn.Linear(inputs, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, num_classes)`` of images ``(batch, in_channels, height, width)``, which stacks halve."""
        return self.classifier(self.body(images).mean((2, 3)))


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    channels: int = 128,
    stacks: int = 3,
    modules: int = 3,
    in_channels: int = 3,
) -> partial[ModuleNetwork]:
    """The network of a NAS-Bench-101 cell; by default as in the benchmark, for the 10 classes of CIFAR-10.

    It is built from the canonical form, which is the one the benchmark trained.

    Raises
    ------
    ValueError
        For fewer channels than vertices that feed the output, among which they are divided.
    """
    space = cast(NASBench101Space, architecture.space)
    with torch.device("cpu"):  # so that the network itself may be built on the meta device
        ((matrix, names),) = space.to_matrices(architecture.rows)
        masks, _ = unpack(space.keys(architecture.rows))
        widths = [vertex_widths(masks, channels * 2**stack)[0, : len(names) - 2].tolist() for stack in range(stacks)]
    if widths[0] and min(widths[0]) < 1:
        raise ValueError(f"{channels} channels are too few for the {matrix[1:, -1].sum()} vertices of the output")
    return partial(
        ModuleNetwork,
        matrix=matrix.astype(int).tolist(),
        operations=names[1:-1],
        widths=widths,
        num_classes=num_classes or space.task("cifar10").num_classes,
        channels=channels,
        modules=modules,
        in_channels=in_channels,
    )
