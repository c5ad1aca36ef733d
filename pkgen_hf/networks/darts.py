"""The networks of DARTS (Liu et al., ICLR 2019) and NAS-Bench-301 (Zela et al., ICLR 2022), in plain torch.

With ``affine=True``, ``channels=36`` and ``cells=20`` a network is the one in which DARTS evaluates a genotype on
CIFAR-10; with ``stem="imagenet"``, ``channels=48`` and ``cells=14`` the one for ImageNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import unknown
from ..spaces.darts import DARTSSpace
from ..spaces.darts_cells import NONE, OPERATIONS
from ..spaces.darts_costs import CELL_WIDENING, CHANNELS, LAYERS, STEM_WIDENING, CellShape, cell_shapes
from ..spaces.protocols import ArchitectureLike
from .counting import Extra, aten, outputs, window
from .mobile_blocks import drop_path

STEMS = ("cifar", "imagenet")
Edge = tuple[int, str]  # the node it reads, and its operation


def _convolution(inputs: int, outputs: int, stride: int = 1, affine: bool = True) -> nn.Sequential:
    """ReLU, 1x1 convolution, normalisation."""
    layers = [nn.ReLU(), nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs, affine=affine)]
    return nn.Sequential(*layers)


def _separable(width: int, kernel: int, stride: int, dilation: int, affine: bool) -> list[nn.Module]:
    """ReLU, depthwise and 1x1 convolution, normalisation."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(width, width, kernel, stride, padding, dilation, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width, affine=affine),
    ]


class FactorizedReduce(nn.Module):
    """Halves the resolution: two 1x1 convolutions of every other pixel, the second moved by one; sides must be even.

    Parameters
    ----------
    inputs, outputs
        Channels.
    affine
        Whether the normalisation has weights.
    """

    def __init__(self, inputs: int, outputs: int, affine: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.even = nn.Conv2d(inputs, half, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, inputs, height, width)`` to ``(batch, outputs, height / 2, width / 2)``."""
        features = F.relu(features)
        return self.norm(torch.cat([self.even(features), self.odd(features[:, :, 1:, 1:])], dim=1))


class Zero(nn.Module):
    """No connection: zeros, at the resolution divided by `stride`."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, height, width)`` to the same divided by the stride."""
        return torch.zeros_like(features[:, :, :: self.stride, :: self.stride])


def operation(name: str, width: int, stride: int, affine: bool) -> nn.Module:
    """The operation called `name`, on features of `width` channels.

    With `affine` it is the one of DARTS's evaluation. Otherwise its normalisations have no weights, and one more
    follows a pooling: so they are in DARTS's search, and in the networks of NAS-Bench-301 by their published sizes.
    """
    if name == NONE:
        return Zero(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(width, width, affine)
    if name in ("max_pool_3x3", "avg_pool_3x3"):
        if name == "max_pool_3x3":
            pooling: nn.Module = nn.MaxPool2d(3, stride, padding=1)
        else:
            pooling = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        return pooling if affine else nn.Sequential(pooling, nn.BatchNorm2d(width, affine=False))
    kernel = int(name[-1])
    if name.startswith("dil_conv"):
        return nn.Sequential(*_separable(width, kernel, stride, 2, affine))
    return nn.Sequential(*_separable(width, kernel, stride, 1, affine), *_separable(width, kernel, 1, 1, affine))


class Cell(nn.Module):
    """Four nodes, each the sum of two operations; the output is their concatenation.

    Parameters
    ----------
    edges
        Eight; the first two come into node 2, and so on.
    shape
        Channels and strides.
    affine
        See `operation`.
    drop_path_prob
        Of dropping the output of an operation, in training; identities are kept.
    """

    def __init__(self, edges: Sequence[Edge], shape: CellShape, affine: bool, drop_path_prob: float) -> None:
        super().__init__()
        self.before = (FactorizedReduce if shape.shrinks else _convolution)(shape.before, shape.width)
        self.inputs = _convolution(shape.inputs, shape.width)
        self.sources = [source for source, _ in edges]
        self.operations = nn.ModuleList(
            operation(name, shape.width, 2 if shape.reduces and source < 2 else 1, affine) for source, name in edges
        )
        self.drop_path_prob = drop_path_prob

    def forward(self, before: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, height, width)`` of the two cells before, to the same of four times the cell's width."""
        nodes = [self.before(before), self.inputs(inputs)]
        parts: list[torch.Tensor] = []
        for source, layer in zip(self.sources, self.operations, strict=True):
            part = layer(nodes[source])
            if self.training and self.drop_path_prob > 0 and not isinstance(layer, nn.Identity | Zero):
                part = drop_path(part, self.drop_path_prob)
            parts.append(part)
            if len(parts) % 2 == 0:
                nodes.append(parts[-2] + parts[-1])
        return torch.cat(nodes[2:], dim=1)


def _auxiliary_head(inputs: int, num_classes: int, is_large: bool) -> nn.Sequential:
    """A classifier of the features after two thirds of the cells, for maps of 8 x 8 (or 7 x 7 if `is_large`)."""
    layers = [
        nn.ReLU(),
        nn.AvgPool2d(5, stride=2 if is_large else 3, count_include_pad=False),  # to 2 x 2
        nn.Conv2d(inputs, 128, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.Conv2d(128, 768, 2, bias=False),
        # The authors' network for large images has none here, and trained so.
        nn.Identity() if is_large else nn.BatchNorm2d(768),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(768, num_classes),
    ]
    return nn.Sequential(*layers)


class DARTSNetwork(nn.Module):
    """Stem, cells of which those after a third and two thirds reduce, and a linear classifier.

    Parameters
    ----------
    normal, reduction
        Edges of the two cells.
    num_classes
        Width of the output.
    channels
        Of the first cells' nodes.
    cells
        Number of cells.
    stem
        ``"cifar"`` keeps the resolution, ``"imagenet"`` divides it by 8.
    affine
        See `operation`.
    auxiliary
        Whether, in training, a second classifier reads the features after two thirds of the cells.
    drop_path_prob
        Of dropping the output of an operation, in training.
    in_channels
        Of images.
    """

    def __init__(
        self,
        normal: Sequence[Edge],
        reduction: Sequence[Edge],
        num_classes: int,
        channels: int,
        cells: int,
        stem: str,
        affine: bool,
        auxiliary: bool,
        drop_path_prob: float,
        in_channels: int,
    ) -> None:
        super().__init__()
        is_large = stem == "imagenet"
        if is_large:
            self.stem = nn.Sequential(
                nn.Conv2d(in_channels, channels // 2, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels // 2),
                nn.ReLU(),
                nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            )
            self.stem_end: nn.Module = nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            )
        else:
            width = STEM_WIDENING * channels
            self.stem = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
            self.stem_end = nn.Identity()
        shapes = cell_shapes(channels, cells, is_large)
        self.cells = nn.ModuleList(
            Cell(reduction if shape.reduces else normal, shape, affine, drop_path_prob) for shape in shapes
        )
        self.auxiliary_cell = 2 * cells // 3
        self.auxiliary: nn.Module | None = None
        if auxiliary:
            inputs = CELL_WIDENING * shapes[self.auxiliary_cell].width
            self.auxiliary = _auxiliary_head(inputs, num_classes, is_large)
        self.classifier = nn.Linear(CELL_WIDENING * shapes[-1].width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Logits of images.

        Parameters
        ----------
        images
            ``(batch, in_channels, height, width)``, of sides divisible by 4, or by 32 after the stem for ImageNet.
            With the auxiliary classifier 32, or 224.

        Returns
        -------
        Tensor (batch, num_classes); in training with an auxiliary classifier a pair, the second being its logits.
        """
        before = self.stem(images)
        inputs = self.stem_end(before)
        second = None
        for number, cell in enumerate(self.cells):
            before, inputs = inputs, cell(before, inputs)
            if number == self.auxiliary_cell and self.auxiliary is not None and self.training:
                second = self.auxiliary(inputs)
        logits = self.classifier(inputs.mean((2, 3)))
        return logits if second is None else (logits, second)


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    channels: int = CHANNELS,
    cells: int = LAYERS,
    stem: str = "cifar",
    affine: bool = False,
    auxiliary: bool = False,
    drop_path_prob: float = 0.0,
    in_channels: int = 3,
) -> partial[DARTSNetwork]:
    """The network of a genotype; by default at the scale of NAS-Bench-301, for the 10 classes of CIFAR-10.

    See `DARTSNetwork` for the options.

    Raises
    ------
    ValueError
        For an unknown stem.
    """
    if stem not in STEMS:
        raise unknown("stem", stem, STEMS)
    space = cast(DARTSSpace, architecture.space)
    with torch.device("cpu"):  # so that the network itself may be built on the meta device
        sources, operations = space.edges(torch.tensor([architecture.indices]))
    normal, reduction = (
        [(source, OPERATIONS[number].name) for source, number in zip(a, b, strict=True)]
        for a, b in zip(sources[0].flatten(1).tolist(), operations[0].flatten(1).tolist(), strict=True)
    )
    return partial(
        DARTSNetwork,
        normal=normal,
        reduction=reduction,
        num_classes=num_classes or space.task("cifar10").num_classes,
        channels=channels,
        cells=cells,
        stem=stem,
        affine=affine,
        auxiliary=auxiliary,
        drop_path_prob=drop_path_prob,
        in_channels=in_channels,
    )


def _norm(args: tuple[Any, ...], result: torch.Tensor) -> int:
    return result.numel() * (1 if args[1] is None else 2)


def _mean(args: tuple[Any, ...], result: torch.Tensor) -> int:
    """The counter that the table's numbers are from takes a mean over n x n values for (n + 1)^2 operations."""
    batch, channels, height, width = args[0].shape
    return batch * channels * (height + 1) * (width + 1)


def extra_operations(task: str) -> dict[Any, Extra]:
    """What the published sizes count beside products; see `DARTSSpace.flops`."""
    if task == "imagenet1k":
        return {}
    return {
        aten.relu: outputs,
        aten.native_batch_norm: _norm,
        aten.max_pool2d_with_indices: window,
        aten.avg_pool2d: window,
        aten.mean: _mean,
    }
