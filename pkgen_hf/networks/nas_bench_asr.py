"""NAS-Bench-ASR networks (Mehrotra et al., ICLR 2021): blocks of cells over time, a recurrent layer and a classifier.

Inside, features are ``(batch, channels, time)``; normalisation is over the channels of each frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from ..spaces.nas_bench_asr import OPERATION_SLOTS, OPERATIONS, SCALE, SpeechScale
from ..spaces.protocols import ArchitectureLike

CEILING = 20.0  # of what the rectifiers pass
CONTEXT = 4  # frames of the future that a convolution may see, at most


class Normalization(nn.Module):
    """Layer normalisation of each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=0.001)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, time)`` to the same shape."""
        return self.norm(features.transpose(1, 2)).transpose(1, 2)


class Convolution(nn.Module):
    """Convolution over time, rectifier with a ceiling, and dropout; a kernel of 1 is a linear map of each frame.

    Parameters
    ----------
    inputs, outputs
        Channels.
    kernel, dilation, stride, groups
        Of the convolution. At a stride of 1 it keeps the number of frames; at 2 it halves it, rounding up.
    dropout
        Probability.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, dilation: int, stride: int, groups: int, dropout: float
    ) -> None:
        super().__init__()
        reach = (kernel - 1) * dilation
        right = min(CONTEXT // stride, reach)
        self.pad = nn.ConstantPad1d((reach - right, right), 0.0)
        self.convolution = nn.Conv1d(inputs, outputs, kernel, stride, dilation=dilation, groups=groups)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, inputs, time)`` to ``(batch, outputs, time / stride)``."""
        return self.dropout(self.convolution(self.pad(features)).clamp(0, CEILING))


def operation(name: str, channels: int, groups: int, dropout: float) -> nn.Module | None:
    """The operation called `name` on features of `channels`; None for ``zero``."""
    if name == "zero":
        return None
    if name == "linear":
        return Convolution(channels, channels, 1, 1, 1, 1, dropout)
    dilation = 2 if name.endswith("d2") else 1
    return Convolution(channels, channels, int(name[len("conv")]), dilation, 1, groups, dropout)


class Cell(nn.Module):
    """Three nodes in a chain with skip connections, and normalisation.

    Parameters
    ----------
    nodes
        For each node its operation, and a flag for each earlier node (the input first): whether it is added.
    channels, groups, dropout
        Of the operations.
    """

    def __init__(
        self, nodes: Sequence[tuple[str, Sequence[bool]]], channels: int, groups: int, dropout: float
    ) -> None:
        super().__init__()
        self.skips = [list(skips) for _, skips in nodes]
        built = [operation(name, channels, groups, dropout) for name, _ in nodes]
        self.operations = nn.ModuleDict({str(i): layer for i, layer in enumerate(built) if layer is not None})
        self.norm = Normalization(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, time)`` to the same shape."""
        states = [features]
        for i, skips in enumerate(self.skips):
            terms = [state for state, skip in zip(states, skips, strict=True) if skip]
            if str(i) in self.operations:
                terms.insert(0, self.operations[str(i)](states[-1]))
            states.append(torch.stack(terms).sum(0) if terms else torch.zeros_like(features))
        return self.norm(states[-1])


class SpeechNetwork(nn.Module):
    """Blocks of a convolution and cells, then a recurrent layer and a linear map of each frame.

    Parameters
    ----------
    nodes
        As of `Cell`.
    num_features, num_classes
        Widths of input and output.
    scale
        Widths, numbers of cells, strides.
    dropout
        After each operation and before the recurrent layer.
    """

    def __init__(
        self,
        nodes: Sequence[tuple[str, Sequence[bool]]],
        num_features: int,
        num_classes: int,
        scale: SpeechScale,
        dropout: float,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = num_features
        for filters, cells, stride in zip(scale.filters, scale.cells, scale.strides, strict=True):
            layers += [Convolution(inputs, filters, scale.kernel, 1, stride, 1, 0.0), Normalization(filters)]
            layers += [Cell(nodes, filters, scale.groups, dropout) for _ in range(cells)]
            inputs = filters
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = nn.LSTM(inputs, scale.units, batch_first=True)
        self.classifier = nn.Linear(scale.units, num_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of every output frame, for the loss of CTC.

        Parameters
        ----------
        features
            ``(batch, time, num_features)``: logarithms of mel energies, normalised.

        Returns
        -------
        Tensor (batch, time', num_classes), with a frame for four of the input
        """
        frames = self.body(features.transpose(1, 2)).transpose(1, 2)
        return self.classifier(self.recurrent(self.dropout(frames))[0])


def plan(
    architecture: ArchitectureLike,
    num_classes: int | None = None,
    filters: Sequence[int] = SCALE.filters,
    cells: Sequence[int] = SCALE.cells,
    groups: int = SCALE.groups,
    units: int = SCALE.units,
    dropout: float = 0.2,
    num_features: int | None = None,
) -> partial[SpeechNetwork]:
    """The network of a NAS-Bench-ASR cell's canonical form; by default as in the benchmark.

    Parameters
    ----------
    architecture
        Of the space ``nas-bench-asr``.
    num_classes
        Width of the output; by default 48 phonemes and the blank.
    filters, cells
        Channels and number of cells of each of the four blocks; `groups` divides all channels.
    groups
        Of the convolutions in a cell.
    units
        Of the recurrent layer.
    dropout
        After each operation and before the recurrent layer.
    num_features
        Of each frame; by default those of the task.

    Raises
    ------
    ValueError
        If there are not four filters and cells, or `groups` does not divide the filters.
    """
    if len(filters) != len(SCALE.filters) or len(cells) != len(SCALE.cells):
        raise ValueError(f"filters and cells take {len(SCALE.filters)} numbers each, got {filters} and {cells}")
    if any(width % groups for width in filters):
        raise ValueError(f"groups must divide all filters {tuple(filters)}, got {groups}")
    task = architecture.space.task("timit")
    with torch.device("cpu"):  # so that the network itself may be built on the meta device
        row = architecture.space.canonical(architecture.rows)[0].tolist()
    nodes = [
        (OPERATIONS[row[at]].name, [bool(skip) for skip in row[at + 1 : at + 1 + node]])
        for node, at in enumerate(OPERATION_SLOTS, 1)
    ]
    return partial(
        SpeechNetwork,
        nodes=nodes,
        num_features=num_features or task.num_features,
        num_classes=num_classes or task.num_classes,
        scale=replace(SCALE, filters=tuple(filters), cells=tuple(cells), groups=groups, units=units),
        dropout=dropout,
    )
