"""The size space of NATS-Bench (Dong et al., TPAMI 2021): the widths of five layers, each one of eight; all 32,768.

The layers are a cell, a residual block that halves the resolution, a cell, another such block and a cell. The cell is
always the same: `CELL`, a cell of NAS-Bench-201. The string lists the channels: ``8:16:24:32:40``;
a list ``[8, 16, 24, 32, 40]`` is read, too.
"""

from __future__ import annotations

from functools import cache

import torch

from .base import SearchSpace
from .benchmark import Origin
from .nas_bench_201 import IMAGE_SIZES, NATS, TASKS, reduction
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .tasks import Task, TaskLike
from .weight_matrices import MatrixTable, WeightMatrices, convolution, ravel

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
WIDTHS = tuple(range(8, 65, 8))
HALVES = (False, True, False, True, False)
_NAMES = ("stage 1", "reduction 1", "stage 2", "reduction 2", "stage 3")
_CHOICES = tuple(Choice(str(width), "size", level=i / (len(WIDTHS) - 1)) for i, width in enumerate(WIDTHS))
ORIGIN = Origin(
    "NATS-Bench, size space",
    "Accuracies on CIFAR-10, CIFAR-100 and ImageNet16-120 after 90 epochs.",
    "https://github.com/D-X-Y/NATS-Bench",
    "mit",
    NATS,
    whole=32_768,
    measured_with=("nas-bench-201",),
)


@cache
@constant
def _matrices(classes: int, in_channels: int) -> MatrixTable:
    """Of stem, layers and classifier, ``(7, widths, widths)``, by inputs and outputs.

    The stem depends on its outputs alone, the classifier on its inputs, which stand in both places.
    """
    parts = [[convolution(in_channels, outputs, 3)] for _ in WIDTHS for outputs in WIDTHS]
    for halves in HALVES:
        for inputs in WIDTHS:
            for outputs in WIDTHS:
                edges = [convolution(inputs, outputs, 3, number=2), convolution(outputs, outputs, 3, number=3)]
                skip = [convolution(inputs, outputs)] if inputs != outputs else []
                parts.append(reduction(inputs, outputs) if halves else edges + skip)
    parts += [[(classes, inputs, 1)] for _ in WIDTHS for inputs in WIDTHS]
    return MatrixTable(parts)


class NATSSizeSpace(SearchSpace):
    """Five widths; every architecture is valid and none is another's equal."""

    summary = "widths of 5 image stages"
    origin = ORIGIN

    def __init__(self) -> None:
        slots = [Slot(name, "width", _CHOICES, reads=(i,), writes=i + 1) for i, name in enumerate(_NAMES)]
        super().__init__("nats-bench-size", slots, TASKS, null_choice=str(WIDTHS[0]))

    def image_sizes(self, task: Task) -> tuple[int, int]:
        return IMAGE_SIZES

    def split_string(self, text: str) -> list[str]:
        names = self._numbers(text) if set(text) & set("[(") else text.split(":")
        if len(names) != self.num_slots:
            raise self.malformed(text, f"five widths with colons between them are needed, got {len(names)}")
        return names

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        return [":".join(str(WIDTHS[index]) for index in row) for row in indices.tolist()]

    def _costs(self, indices: torch.Tensor, task: TaskLike) -> tuple[torch.Tensor, torch.Tensor]:
        """Parameters and multiply-adds, each ``LongTensor (batch,)``."""
        scale = self.task(task)
        widths = 8 * (indices + 1)
        inputs = widths[:, 0]
        size, stem = scale.image_size, 9 * scale.in_channels * inputs
        parameters, flops = stem + 2 * inputs, stem * size**2
        for i, halves in enumerate(HALVES):
            outputs = widths[:, i]
            if halves:
                size //= 2
                weights = 9 * outputs * (inputs + outputs) + inputs * outputs
                norms = 2 * outputs * 2
            else:
                # Five 3x3 convolutions, two of them of the cell's input, which also goes to the output: by a 1x1
                # convolution if the width changes.
                changes = (inputs != outputs).long()
                weights = 9 * outputs * (2 * inputs + 3 * outputs) + changes * inputs * outputs
                norms = 2 * outputs * (5 + changes)
            parameters, flops = parameters + weights + norms, flops + weights * size**2
            inputs = outputs
        head = scale.num_classes * (inputs + 1)
        return parameters + 2 * inputs + head, flops + head

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact, equal to those in the benchmark's records."""
        return self._costs(indices, task or "cifar10")[0]

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of convolutions and classifier (with its bias), equal to those in the benchmark's records."""
        return self._costs(indices, task or "cifar10")[1]

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        scale = self.task(task or "cifar10")
        # Stem, five layers and classifier; the stem is as wide as the first layer.
        inputs, outputs = indices[:, [0, 0, 0, 1, 2, 3, 4]], indices[:, [0, 0, 1, 2, 3, 4, 4]]
        layers = torch.arange(inputs.shape[1], device=indices.device)
        parts = ravel((inputs.shape[1], len(WIDTHS), len(WIDTHS)), layers, inputs, outputs)
        return _matrices(scale.num_classes, scale.in_channels).total(parts)


register_built_in(NATSSizeSpace())
