"""The networks of TransNAS-Bench-101 (Duan et al., CVPR 2021), with the heads and decoders of its seven tasks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..spaces.protocols import ArchitectureLike
from ..spaces.transnas_bench_101 import MODULES, OPERATIONS, STEM_WIDTH, TILES, cell_shapes, decoder_layers
from .nas_bench_201 import Cell, relu_conv_bn


class Nothing(nn.Module):
    """No connection, between maps of different shapes: `outputs` channels of half the height and width."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Zeros ``(batch, outputs, height / 2, width / 2)``, for ``(batch, inputs, height, width)``."""
        batch, _, height, width = features.shape
        return features.new_zeros(batch, self.outputs, (height + 1) // 2, (width + 1) // 2)


class Halving(nn.Module):
    """A skip connection that halves height and width: two 1x1 convolutions, of pixels at even and at odd places."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, inputs, height, width)`` to ``(batch, outputs, height / 2, width / 2)``."""
        features = F.relu(features)
        shifted = F.pad(features, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(features), self.odd(shifted)], dim=1))


class HalvingCell(Cell):
    """A cell whose edges from the input halve height and width and change the channels from `inputs` to `outputs`."""

    def __init__(self, names: Sequence[str], inputs: int, outputs: int) -> None:
        super().__init__(names, outputs)
        for edge in (0, 1, 3):
            self.operations[edge] = self._halving(names[edge], inputs, outputs)

    @staticmethod
    def _halving(name: str, inputs: int, outputs: int) -> nn.Module:
        if name == "none":
            return Nothing(outputs)
        if name == "skip_connect":
            return Halving(inputs, outputs)
        return relu_conv_bn(inputs, outputs, kernel=int(name[-1]), stride=2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the first with the stride; beside them a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            relu_conv_bn(inputs, outputs, kernel=3, stride=stride), relu_conv_bn(outputs, outputs, kernel=3)
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, inputs, height, width)`` to ``(batch, outputs, height / stride, width / stride)``."""
        return self.convolutions(features) + self.shortcut(features)


class Head(nn.Module):
    """Mean over pixels and a linear layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, inputs, height, width)`` to ``(batch, outputs)``."""
        return self.linear(features.mean((2, 3)))


def decoder(kind: str, inputs: int, doublings: int, outputs: int) -> nn.Sequential:
    """From features ``(batch, inputs, height, width)`` to ``(batch, outputs, height x 2^doublings, ...)``.

    Logits of classes for the kind ``"image-segmentation"``, values from -1 to 1 for ``"dense-regression"``.
    """
    result = nn.Sequential()
    for before, after, doubles in decoder_layers(kind, inputs, doublings, outputs):
        if doubles:
            result.append(nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1))
        else:
            result.append(nn.Conv2d(before, after, 3, padding=1))
        result.append(nn.BatchNorm2d(after))
        result.append(nn.LeakyReLU(0.2))
    del result[-2:]  # the last convolution has neither
    if kind == "dense-regression":
        result.append(nn.Tanh())
    return result


class TransNASNetwork(nn.Module):
    """Stem, body and what the task needs.

    Parameters
    ----------
    body
        Modules on features of `channels` channels and a 4th of the resolution.
    head
        `Head` or `decoder`.
    channels
        Of the stem.
    in_channels
        Of images.
    tiles
        0 for tasks on images. For the puzzle 9: each tile goes through stem and body by itself.
    """

    def __init__(self, body: nn.Module, head: nn.Module, channels: int, in_channels: int, tiles: int = 0) -> None:
        super().__init__()
        half = (channels + 1) // 2
        self.tiles = tiles
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(half),
            relu_conv_bn(half, channels, kernel=3, stride=2),
        )
        self.body = body
        self.head = head
        for module in [*self.stem.modules(), *self.body.modules()]:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The task's output.

        Parameters
        ----------
        images
            ``(batch, in_channels, height, width)``; for the puzzle tiles ``(batch, 9, in_channels, height, width)``.
            For decoders, height and width must be divisible by 4 x 2^(number of modules that halve).

        Returns
        -------
        Tensor (batch, outputs), or (batch, outputs, height, width) of a decoder.
        """
        if not self.tiles:
            return self.head(self.body(self.stem(images)))
        if images.ndim != 5 or images.shape[1] != self.tiles:
            raise ValueError(
                f"expected tiles (batch, {self.tiles}, channels, height, width), got {tuple(images.shape)}"
            )
        # One after the other, because normalisation is over the tiles of one place.
        return self.head(torch.cat([self.body(self.stem(tile)) for tile in images.unbind(1)], dim=1))


def _cells(operations: Sequence[str], channels: int) -> nn.Sequential:
    cells = nn.Sequential()
    for inputs, outputs, stride in cell_shapes(channels):
        cells.append(Cell(operations, outputs) if stride == 1 else HalvingCell(operations, inputs, outputs))
    return cells


def module_shapes(modules: Sequence[tuple[int, int]], channels: int) -> list[tuple[int, int, int]]:
    """Input channels, output channels and stride of modules, given by how they widen and divide the resolution."""
    shapes = []
    for widening, stride in modules:
        shapes.append((channels, channels * widening, stride))
        channels *= widening
    return shapes


def _residual_blocks(modules: Sequence[tuple[int, int]], channels: int) -> nn.Sequential:
    blocks = nn.Sequential()
    for inputs, outputs, stride in module_shapes(modules, channels):
        blocks.append(ResidualBlock(inputs, outputs, stride))
        blocks.append(ResidualBlock(outputs, outputs, stride=1))
    return blocks


def _with_head(
    body: nn.Module, shapes: Sequence[tuple[int, int, int]], task_kind: str, outputs: int, in_channels: int
) -> TransNASNetwork:
    """The network of a body of these `shapes`; the puzzle is a kind of task by itself, ``"jigsaw"``."""
    channels, width = shapes[0][0], shapes[-1][1]
    if task_kind == "jigsaw":
        return TransNASNetwork(body, Head(TILES * width, outputs), channels, in_channels, tiles=TILES)
    if task_kind in ("image-classification", "image-regression"):
        return TransNASNetwork(body, Head(width, outputs), channels, in_channels)
    halvings = sum(stride == 2 for _, _, stride in shapes)
    if halvings > 4:
        raise ValueError(f"decoders are for at most 4 modules that halve the resolution, not {halvings}")
    return TransNASNetwork(body, decoder(task_kind, width, 2 + halvings, outputs), channels, in_channels)


def cell_network(
    operations: Sequence[str], task_kind: str, outputs: int, channels: int, in_channels: int
) -> TransNASNetwork:
    """The network of a cell, given by the operations of its six edges."""
    return _with_head(_cells(operations, channels), cell_shapes(channels), task_kind, outputs, in_channels)


def module_network(
    modules: Sequence[tuple[int, int]], task_kind: str, outputs: int, channels: int, in_channels: int
) -> TransNASNetwork:
    """The network of modules, given by how each widens and divides the resolution."""
    shapes = module_shapes(modules, channels)
    return _with_head(_residual_blocks(modules, channels), shapes, task_kind, outputs, in_channels)


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    task: str = "class_scene",
    channels: int = STEM_WIDTH,
    in_channels: int = 3,
) -> partial[TransNASNetwork]:
    """The network of a cell or of a list of modules; by default as in the benchmark, for scenes of 47 classes.

    Parameters
    ----------
    architecture
        Of the space ``transnas-bench-101-micro`` or ``transnas-bench-101-macro``.
    num_classes
        Width of the output (channels, where the output is an image); by default that of the task.
    task
        Whose head or decoder to use: that of its kind, or the puzzle's own.
    channels
        Of the stem.
    in_channels
        Of images.
    """
    data = architecture.space.task(task)
    common: dict[str, Any] = {
        "task_kind": task if task == "jigsaw" else data.kind,
        "outputs": num_classes or data.num_classes,
        "channels": channels,
        "in_channels": in_channels,
    }
    if architecture.space.name == "transnas-bench-101-micro":
        return partial(cell_network, operations=[OPERATIONS[index].name for index in architecture.indices], **common)
    modules = [MODULES[index] for index in architecture.indices if index < len(MODULES)]  # those that are there
    return partial(module_network, modules=[(module.widening, module.stride) for module in modules], **common)
