"""The networks of Once-for-all's MobileNetV3 space (Cai et al., ICLR 2020), as taken out of the supernet."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from ..spaces.ofa_mobilenetv3 import BEFORE_LAST, BLOCKS, LAST_WIDTH, SQUEEZE, STAGES, STEM_WIDTH, rounded
from ..spaces.protocols import ArchitectureLike
from .mobile_blocks import InvertedBottleneck, SqueezeExcitation, convolution


def _block(
    inputs: int,
    outputs: int,
    stride: int,
    kernel: int,
    expansion: int,
    squeezes: bool,
    hard_swish: bool,
    drop_path_prob: float,
) -> InvertedBottleneck:
    """A block of MobileNetV3 (Howard et al., ICCV 2019), `squeezes` and `hard_swish` as of `Stage`."""
    inner = rounded(inputs * expansion)
    activation = nn.Hardswish(inplace=True) if hard_swish else nn.ReLU(inplace=True)
    gate = SqueezeExcitation(inner, rounded(inner / SQUEEZE), F.relu, F.hardsigmoid) if squeezes else None
    return InvertedBottleneck(inputs, outputs, stride, kernel, inner, activation, gate, drop_path_prob)


class OFAMobileNetV3(nn.Module):
    """Stem, a block without expansion, the blocks of five stages, two more layers and a linear classifier.

    Parameters
    ----------
    stages
        Kernel and expansion of every block, stage by stage.
    num_classes
        Width of the output.
    width
        By what all channels are multiplied, before they are rounded to multiples of 8.
    in_channels
        Of the images.
    dropout
        Probability before the classifier.
    drop_path_prob
        Of dropping a block; it grows linearly from 0 in the first block to this in the last.
    """

    def __init__(
        self,
        stages: list[list[tuple[int, int]]],
        num_classes: int,
        width: float,
        in_channels: int,
        dropout: float,
        drop_path_prob: float,
    ) -> None:
        super().__init__()
        inputs = rounded(STEM_WIDTH * width)
        self.stem = nn.Sequential(
            *convolution(in_channels, inputs, 3, stride=2, activation=nn.Hardswish(inplace=True))
        )
        body = [_block(inputs, inputs, 1, 3, 1, False, False, 0.0)]
        total = sum(map(len, stages))
        for blocks, stage in zip(stages, STAGES, strict=True):
            outputs = rounded(stage.outputs * width)
            for b, (kernel, expansion) in enumerate(blocks):
                shape = (outputs, outputs, 1) if b else (inputs, outputs, stage.stride)
                drop = drop_path_prob * len(body) / total
                body.append(_block(*shape, kernel, expansion, stage.squeezes, stage.hard_swish, drop))
            inputs = outputs
        self.body = nn.Sequential(*body)
        before, last = rounded(BEFORE_LAST * width), rounded(LAST_WIDTH * width)
        self.before_last = nn.Sequential(*convolution(inputs, before, activation=nn.Hardswish(inplace=True)))
        self.last = nn.Sequential(nn.Linear(before, last, bias=False), nn.Hardswish(inplace=True), nn.Dropout(dropout))
        self.classifier = nn.Linear(last, num_classes)
        self.apply(self._initialize)

    @staticmethod
    def _initialize(module: nn.Module) -> None:
        """Initial weights by the outputs of convolutions (He et al., ICCV 2015), and small ones of linear layers."""
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, num_classes)`` of images ``(batch, in_channels, height, width)``."""
        features = self.before_last(self.body(self.stem(images)))
        return self.classifier(self.last(features.mean((2, 3))))


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    width: float = 1.0,
    in_channels: int = 3,
    dropout: float = 0.1,
    drop_path_prob: float = 0.2,
) -> partial[OFAMobileNetV3]:
    """The network of the blocks that exist; by default as in the benchmark, for the 1,000 classes of ImageNet-1k."""
    slots = architecture.space.slots
    values = [int(slot.choices[index].name[1:]) for slot, index in zip(slots, architecture.indices, strict=True)]
    stages = []
    for start in range(0, len(values), 1 + 2 * BLOCKS):
        depth, *blocks = values[start : start + 1 + 2 * BLOCKS]
        stages.append(list(zip(blocks[::2], blocks[1::2], strict=True))[:depth])
    return partial(
        OFAMobileNetV3,
        stages=stages,
        num_classes=num_classes or architecture.space.task("imagenet1k").num_classes,
        width=width,
        in_channels=in_channels,
        dropout=dropout,
        drop_path_prob=drop_path_prob,
    )
