"""The networks of NAS-Bench-Macro (Su et al., CVPR 2021): chains of inverted bottlenecks for small images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from ..spaces.nas_bench_macro import BLOCKS, LAST_WIDTH, STEM_WIDTH, block_shapes
from ..spaces.protocols import ArchitectureLike
from .mobile_blocks import convolution


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution and projection (Sandler et al., CVPR 2018).

    Its input is added to its output where they have one shape.

    Parameters
    ----------
    inputs, outputs
        Channels.
    expansion
        Inner over input channels.
    kernel, stride
        Of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.convolutions = nn.Sequential(
            *convolution(inputs, inner),
            nn.ReLU(),
            *convolution(inner, inner, kernel, stride, groups=inner),
            nn.ReLU(),
            *convolution(inner, outputs),
        )
        self.adds_input = inputs == outputs and stride == 1

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, inputs, height, width)`` to ``(batch, outputs, height / stride, width / stride)``."""
        result = self.convolutions(features)
        return features + result if self.adds_input else result


def block(expansion: int, kernel: int, inputs: int, outputs: int, stride: int) -> nn.Module:
    """An inverted bottleneck; without expansion an identity, or a 1x1 convolution if it must change the shape."""
    if expansion:
        return InvertedBottleneck(inputs, outputs, expansion, kernel, stride)
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(*convolution(inputs, outputs, stride=stride))


class MobileNetwork(nn.Module):
    """Stem, eight blocks in three stages, a 1x1 convolution to 1,280 channels and a linear classifier.

    Parameters
    ----------
    blocks
        Expansion and kernel of each of the eight, both 0 for an identity.
    num_classes
        Width of the output.
    channels
        Of the stem; every stage doubles them.
    in_channels
        Of images.
    """

    def __init__(self, blocks: Sequence[tuple[int, int]], num_classes: int, channels: int, in_channels: int) -> None:
        super().__init__()
        shapes = block_shapes(channels)
        self.stem = nn.Sequential(*convolution(in_channels, channels, kernel=3), nn.ReLU())
        self.body = nn.Sequential(*(block(*kind, *shape) for kind, shape in zip(blocks, shapes, strict=True)))
        self.last = nn.Sequential(*convolution(shapes[-1][1], LAST_WIDTH), nn.ReLU())
        self.classifier = nn.Linear(LAST_WIDTH, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, num_classes)`` of images ``(batch, in_channels, height, width)``."""
        features = self.last(self.body(self.stem(images)))
        return self.classifier(features.mean((2, 3)))


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    channels: int = STEM_WIDTH,
    in_channels: int = 3,
) -> partial[MobileNetwork]:
    """The network of a chain of blocks; by default as in the benchmark, for the 10 classes of CIFAR-10."""
    blocks = [(int(BLOCKS[index].expansion), BLOCKS[index].kernel) for index in architecture.indices]
    classes = num_classes or architecture.space.task("cifar10").num_classes
    return partial(MobileNetwork, blocks=blocks, num_classes=classes, channels=channels, in_channels=in_channels)
