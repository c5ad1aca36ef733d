"""The networks of Accel-NASBench (Ahmad et al., DAC 2024): blocks of inverted bottlenecks, as in EfficientNet."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..spaces.mnasnet import LAST_WIDTH, PARTS, SQUEEZE, STEM_WIDTH, block_shapes
from ..spaces.protocols import ArchitectureLike
from .counting import Extra, aten
from .mobile_blocks import InvertedBottleneck, SqueezeExcitation, convolution


def _layer(
    inputs: int, outputs: int, stride: int, expansion: int, kernel: int, squeezes: bool, drop_path_prob: float
) -> InvertedBottleneck:
    """An inverted bottleneck as in EfficientNet; its gate is squeezed by its input channels."""
    inner = inputs * expansion
    gate = SqueezeExcitation(inner, max(1, inputs // SQUEEZE), F.silu, torch.sigmoid) if squeezes else None
    return InvertedBottleneck(inputs, outputs, stride, kernel, inner, nn.SiLU(), gate, drop_path_prob)


class MnasNetwork(nn.Module):
    """Stem, seven blocks of layers, a 1x1 convolution and a linear classifier.

    Parameters
    ----------
    blocks
        Expansion, kernel, number of layers and squeeze-and-excitation (0 or 1) of each block.
    num_classes
        Width of the output.
    channels
        Of the stem; other widths are scaled alike, but for the last one of 1,280.
    dropout
        Probability before the classifier.
    drop_path_prob
        Of dropping a layer; it grows linearly from 0 in the first layer to nearly this in the last.
    in_channels
        Of images.
    """

    def __init__(
        self,
        blocks: list[tuple[int, int, int, int]],
        num_classes: int,
        channels: int,
        dropout: float,
        drop_path_prob: float,
        in_channels: int,
    ) -> None:
        super().__init__()
        total = sum(layers for _, _, layers, _ in blocks)
        self.stem = nn.Sequential(*convolution(in_channels, channels, 3, stride=2, activation=nn.SiLU()))
        body: list[nn.Module] = []
        for (expansion, kernel, layers, gate), (inputs, outputs, stride) in zip(
            blocks, block_shapes(channels), strict=True
        ):
            for layer in range(layers):
                shape = (outputs, outputs, 1) if layer else (inputs, outputs, stride)
                drop = drop_path_prob * len(body) / total
                body.append(_layer(*shape, expansion, kernel, bool(gate), drop))
        self.body = nn.Sequential(*body)
        self.last = nn.Sequential(*convolution(outputs, LAST_WIDTH, activation=nn.SiLU()))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(LAST_WIDTH, num_classes)
        self.apply(self._initialize)

    @staticmethod
    def _initialize(module: nn.Module) -> None:
        """The benchmark's initial weights."""
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.out_features)
            nn.init.uniform_(module.weight, -bound, bound)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, num_classes)`` of images ``(batch, in_channels, height, width)``."""
        features = self.last(self.body(self.stem(images)))
        return self.classifier(self.dropout(features.mean((2, 3))))


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    channels: int = STEM_WIDTH,
    dropout: float = 0.2,
    drop_path_prob: float = 0.2,
    in_channels: int = 3,
) -> partial[MnasNetwork]:
    """The network of seven blocks; by default as in the benchmark, for the 1,000 classes of ImageNet-1k."""
    values = []
    for slot, index in zip(architecture.space.slots, architecture.indices, strict=True):
        name = slot.choices[index].name
        values.append(int(name == "se") if slot.kind == "gate" else int(name[1:]))
    expansions, kernels, layers, gates = (values[part :: len(PARTS)] for part in range(len(PARTS)))
    blocks = list(zip(expansions, kernels, layers, gates, strict=True))
    return partial(
        MnasNetwork,
        blocks=blocks,
        num_classes=num_classes or architecture.space.task("imagenet1k").num_classes,
        channels=channels,
        dropout=dropout,
        drop_path_prob=drop_path_prob,
        in_channels=in_channels,
    )


def extra_operations(task: str) -> dict[Any, Extra]:
    """What the benchmark counts beside products: 4 for each normalised value, and the sums and divisions of means."""
    return {
        aten.native_batch_norm: lambda args, result: 4 * result.numel(),
        aten.mean: lambda args, result: args[0].numel() + result.numel(),
    }
