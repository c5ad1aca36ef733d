"""NAS-Bench-Macro (Su et al., CVPR 2021): chains of eight mobile blocks on CIFAR-10, all 3^8 measured.

The string has a digit for each block: 0 identity, 1 inverted bottleneck of expansion 3 and kernel 3, 2 of expansion 6
and kernel 5. The blocks form three stages; the first block of each halves the resolution and doubles the channels,
where even the identity is a 1x1 convolution. The other identities do nothing, so that networks which differ by where
in a stage these stand are one, and were trained once: 3,969 networks.
"""

from __future__ import annotations

from functools import cache, cached_property

import torch

from .base import SearchSpace
from .benchmark import Origin, bibtex
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .tasks import Task, TaskLike
from .weight_matrices import MatrixTable, WeightMatrices, convolution, mobile_block, ravel

BLOCKS = (
    Choice("0", "identity"),
    Choice("1", "inverted-bottleneck", kernel=3, expansion=3, separable=True),
    Choice("2", "inverted-bottleneck", kernel=5, expansion=6, separable=True),
)
IDENTITY = 0
TASKS = {"cifar10": Task("image-classification", chance_score=10.0, num_classes=10, image_size=32, split="test")}
STAGES = (2, 3, 3)
STEM_WIDTH = 32
LAST_WIDTH = 1280
ORIGIN = Origin(
    "NAS-Bench-Macro",
    "Test accuracies on CIFAR-10, each the mean of three trainings.",
    "https://github.com/xiusu/NAS-Bench-Macro",
    "apache-2.0",
    bibtex(
        "inproceedings",
        "su2021prioritized",
        "Prioritized Architecture Sampling with {Monto-Carlo} Tree Search",
        "Su, Xiu and Huang, Tao and Li, Yanxi and You, Shan and Wang, Fei and Qian, Chen and Zhang, Changshui and "
        "Xu, Chang",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
        2021,
    ),
    whole=6_561,
)


def block_shapes(channels: int = STEM_WIDTH) -> list[tuple[int, int, int]]:
    """Input channels, output channels and stride of each of the eight blocks, after a stem of `channels`."""
    shapes = []
    for length in STAGES:
        shapes += [(channels, 2 * channels, 2), *[(2 * channels, 2 * channels, 1)] * (length - 1)]
        channels *= 2
    return shapes


def _block_costs(choice: Choice, inputs: int, outputs: int, stride: int, size: int) -> tuple[int, int]:
    """Parameters and multiply-adds of one block on maps of `size` x `size`."""
    before, after = size**2, (-(-size // stride)) ** 2
    if choice.kind == "identity":
        if stride == 1:
            return 0, 0
        return inputs * outputs + 2 * outputs, inputs * outputs * after
    inner = int(inputs * choice.expansion)
    enter, spatial, leave = inputs * inner, choice.kernel**2 * inner, inner * outputs
    norms = 2 * (inner + inner + outputs)
    return enter + spatial + leave + norms, enter * before + (spatial + leave) * after


@cache
@constant
def _costs_of_blocks(size: int) -> torch.Tensor:
    """Parameters and multiply-adds of each choice in each block, on images of `size` x `size`.

    ``LongTensor (slots, choices, 2)``
    """
    rows = []
    for inputs, outputs, stride in block_shapes():
        rows.append([_block_costs(choice, inputs, outputs, stride, size) for choice in BLOCKS])
        size = -(-size // stride)
    return torch.tensor(rows)


@cache
@constant
def _matrices(classes: int, in_channels: int) -> MatrixTable:
    """Of each choice in each block, ``(slots, choices)``; of stem, last convolution and classifier."""
    parts = []
    for inputs, outputs, stride in block_shapes():
        for choice in BLOCKS:
            inner = int(inputs * choice.expansion)
            if choice.kind != "identity":
                parts.append(mobile_block(inputs, inner, outputs, choice.kernel))
            else:
                parts.append([convolution(inputs, outputs)] if stride > 1 else [])
    always = [convolution(in_channels, STEM_WIDTH, 3), convolution(outputs, LAST_WIDTH), (classes, LAST_WIDTH, 1)]
    return MatrixTable(parts, always)


class NASBenchMacroSpace(SearchSpace):
    """Eight blocks in a chain, each one of three.

    `canonical` moves the identities that do nothing to the end of their stage, as the benchmark does.
    """

    summary = "chain of 8 mobile image blocks"
    origin = ORIGIN

    def __init__(self) -> None:
        slots = [Slot(f"block {i + 1}", "operation", BLOCKS, reads=(i,), writes=i + 1) for i in range(8)]
        super().__init__("nas-bench-macro", slots, TASKS, null_choice="0")

    @cached_property
    def num_architectures(self) -> int:
        return self.count_by_enumeration()

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        rows, first = indices.clone(), 0
        for length in STAGES:
            kept = indices[:, first + 1 : first + length]
            order = (kept == IDENTITY).to(torch.uint8).sort(dim=1, stable=True).indices
            rows[:, first + 1 : first + length] = kept.gather(1, order)
            first += length
        return rows

    def split_string(self, text: str) -> list[str]:
        digits = self._numbers(text) if set(text) & set("[(") else list(text)
        if len(digits) != self.num_slots:
            zeros = " (a spreadsheet drops zeros at the start)" if len(digits) < self.num_slots else ""
            raise self.malformed(text, f"eight digits are needed, got {len(digits)}{zeros}")
        if set(digits) - set("012"):
            raise self.malformed(text, "all digits are 0, 1 or 2")
        return digits

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        return ["".join(map(str, row)) for row in indices.tolist()]

    def _sum_costs(self, indices: torch.Tensor, which: int, size: int) -> torch.Tensor:
        costs = _costs_of_blocks(size)[..., which].to(indices.device)
        return costs.expand(len(indices), -1, -1).gather(2, indices[:, :, None])[..., 0].sum(1)

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact, equal to the benchmark's: stem, blocks, a last 1x1 convolution and the classifier."""
        scale, width = self.task(task or "cifar10"), block_shapes()[-1][1]
        stem = (9 * scale.in_channels + 2) * STEM_WIDTH
        last = width * LAST_WIDTH + 2 * LAST_WIDTH + scale.num_classes * (LAST_WIDTH + 1)
        return stem + self._sum_costs(indices, 0, scale.image_size) + last

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of convolutions and classifier, equal to the benchmark's; its bias is not counted."""
        scale, width = self.task(task or "cifar10"), block_shapes()[-1][1]
        last_size = -(-scale.image_size // 2 ** len(STAGES))
        stem = 9 * scale.in_channels * STEM_WIDTH * scale.image_size**2
        last = width * LAST_WIDTH * last_size**2
        return stem + self._sum_costs(indices, 1, scale.image_size) + last + scale.num_classes * LAST_WIDTH

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        scale, blocks = self.task(task or "cifar10"), torch.arange(self.num_slots, device=indices.device)
        parts = ravel((self.num_slots, len(BLOCKS)), blocks, indices)
        return _matrices(scale.num_classes, scale.in_channels).total(parts)


register_built_in(NASBenchMacroSpace())
