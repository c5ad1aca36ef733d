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


def drop_path(features: torch.Tensor, probability: float) -> torch.Tensor:
    """Set whole examples to 0 with `probability` below 1, and divide the others by that of keeping them.

    Stochastic depth (Huang et al., ECCV 2016); `features` are ``(batch, ...)``.
    """
    keep = torch.rand(len(features), *[1] * (features.ndim - 1), device=features.device) >= probability
    return features * keep.to(features.dtype) / (1 - probability)


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution that keeps the resolution (or divides it by `stride`), and its normalisation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class SqueezeExcitation(nn.Module):
    """Scales every channel by a function of the means of all (Hu et al., CVPR 2018).

    Parameters
    ----------
    channels, middle
        Of the input, and between the two layers of the function.
    """

    def __init__(self, channels: int, middle: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, middle, 1)
        self.excite = nn.Conv2d(middle, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, height, width)`` to the same shape."""
        means = features.mean((2, 3), keepdim=True)
        return features * self.excite(F.silu(self.squeeze(means))).sigmoid()


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution, squeeze-and-excitation if asked for, and projection.

    Its input is added to its output where they have one shape; in training the latter is dropped at times.

    Parameters
    ----------
    inputs, outputs
        Channels.
    stride, kernel
        Of the depthwise convolution.
    expansion
        Inner over input channels; an expansion of 1 has no convolution.
    squeezes
        Whether there is squeeze-and-excitation.
    drop_path_prob
        Probability of dropping.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        expansion: int,
        kernel: int,
        squeezes: bool,
        drop_path_prob: float,
    ) -> None:
        super().__init__()
        inner = inputs * expansion
        layers = [*_convolution(inputs, inner), nn.SiLU()] if expansion > 1 else []
        layers += [*_convolution(inner, inner, kernel, stride, groups=inner), nn.SiLU()]
        if squeezes:
            layers.append(SqueezeExcitation(inner, max(1, inputs // SQUEEZE)))
        self.layers = nn.Sequential(*layers, *_convolution(inner, outputs))
        self.adds_input = inputs == outputs and stride == 1
        self.drop_path_prob = drop_path_prob

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, inputs, height, width)`` to ``(batch, outputs, height / stride, width / stride)``."""
        result = self.layers(features)
        if not self.adds_input:
            return result
        return features + (drop_path(result, self.drop_path_prob) if self.training else result)


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
        self.stem = nn.Sequential(*_convolution(in_channels, channels, 3, stride=2), nn.SiLU())
        body: list[nn.Module] = []
        for (expansion, kernel, layers, gate), (inputs, outputs, stride) in zip(
            blocks, block_shapes(channels), strict=True
        ):
            for layer in range(layers):
                shape = (outputs, outputs, 1) if layer else (inputs, outputs, stride)
                drop = drop_path_prob * len(body) / total
                body.append(InvertedBottleneck(*shape, expansion, kernel, bool(gate), drop))
        self.body = nn.Sequential(*body)
        self.last = nn.Sequential(*_convolution(outputs, LAST_WIDTH), nn.SiLU())
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
