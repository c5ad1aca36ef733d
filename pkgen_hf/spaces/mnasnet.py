"""The MnasNet space as Accel-NASBench has it (Ahmad et al., DAC 2024): seven blocks of mobile layers on ImageNet.

Each block has an expansion, a kernel, a number of layers and, or not, squeeze-and-excitation; its width and stride are
those of EfficientNet-B0 (Tan and Le, ICML 2019). A string is a JSON object of these 28 values:
``{"block0_e": 6, "block0_k": 3, "block0_l": 1, "block0_se": false, "block1_e": ...}``.
"""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
import torch

from .base import SearchSpace
from .benchmark import Origin, bibtex
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .strings import join_columns
from .tasks import Task, TaskLike
from .training import IMAGENET
from .weight_matrices import Matrix, MatrixTable, WeightMatrices, convolution, mobile_block, ravel

EXPANSIONS = (1, 4, 6)
KERNELS = (3, 5)
LAYERS = ((1, 2, 3),) * 5 + ((1, 2, 3, 4), (1, 2, 3))
STEM_WIDTH = 32
WIDTHS = (16, 24, 40, 80, 112, 192, 320)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
LAST_WIDTH = 1280
SQUEEZE = 4  # the layer's input channels over those between the two layers of squeeze-and-excitation
PARTS = ("e", "k", "l", "se")
KEYS = tuple(f"block{block}_{part}" for block in range(len(WIDTHS)) for part in PARTS)
TASKS = {"imagenet1k": Task("image-classification", chance_score=0.1, num_classes=1000, image_size=224)}
_GATES = {"False": "no-se", "True": "se"}
ORIGIN = Origin(
    "Accel-NASBench",
    "Validation accuracies of networks of the MnasNet space that were trained on ImageNet-1k with one cheap "
    "schedule, and their speed on accelerators.",
    "https://github.com/afzalxo/Accel-NASBench",
    "apache-2.0",
    bibtex(
        "inproceedings",
        "ahmad2024accel",
        "{Accel-NASBench}: Sustainable Benchmarking for Accelerator-Aware {NAS}",
        "Ahmad, Afzal and Du, Linfeng and Xie, Zhiyao and Zhang, Wei",
        "ACM/IEEE Design Automation Conference",
        2024,
    ),
)


def block_shapes(channels: int = STEM_WIDTH) -> list[tuple[int, int, int]]:
    """Input channels, output channels and stride of the seven blocks, after a stem of `channels`.

    With another stem than the benchmark's all widths are scaled alike, and rounded down.
    """
    widths = [channels, *(max(1, width * channels // STEM_WIDTH) for width in WIDTHS)]
    return list(zip(widths, widths[1:], STRIDES, strict=False))


def _convolution_costs(weights: int, outputs: int, size: int) -> np.ndarray:
    """Parameters and multiply-adds of a convolution to `size` x `size` and its normalisation, of 4 steps a value."""
    return np.array([weights + 2 * outputs, (weights + 4 * outputs) * size**2])


def _layer_costs(
    inputs: int, outputs: int, stride: int, size: int, expansion: int, kernel: int, squeezes: bool
) -> np.ndarray:
    """Parameters and multiply-adds of one layer on maps of `size` x `size`."""
    inner, after = inputs * expansion, -(-size // stride)
    total = _convolution_costs(kernel**2 * inner, inner, after) + _convolution_costs(inner * outputs, outputs, after)
    if expansion > 1:
        total += _convolution_costs(inputs * inner, inner, size)
    if squeezes:
        middle = inputs // SQUEEZE
        weights = 2 * inner * middle
        total += np.array([weights + middle + inner, weights + inner * (after**2 + 1)])
    return total


@cache
@constant
def _block_costs(size: int) -> torch.Tensor:
    """Costs of every block, ``LongTensor (blocks, expansions, kernels, layers, 2, 2)``: with and without squeezing.

    The last axis is parameters and multiply-adds; `size` is the side of the stem's output.
    """
    table = np.zeros((len(WIDTHS), len(EXPANSIONS), len(KERNELS), max(map(len, LAYERS)), 2, 2), dtype=np.int64)
    for block, (inputs, outputs, stride) in enumerate(block_shapes()):
        for i, k, squeezes in np.ndindex(len(EXPANSIONS), len(KERNELS), 2):
            description = EXPANSIONS[i], KERNELS[k], bool(squeezes)
            first = _layer_costs(inputs, outputs, stride, size, *description)
            later = _layer_costs(outputs, outputs, 1, -(-size // stride), *description)
            for n, layers in enumerate(LAYERS[block]):
                table[block, i, k, n, squeezes] = first + (layers - 1) * later
        size = -(-size // stride)
    return torch.from_numpy(table)


_TABLE = (len(WIDTHS), len(EXPANSIONS), len(KERNELS), max(map(len, LAYERS)), 2)


@cache
@constant
def _matrices(classes: int, in_channels: int) -> MatrixTable:
    """Of each block by its choices, a table of the shape `_TABLE`; of stem, last convolution and classifier."""
    parts = []
    shapes = block_shapes()
    for block, e, k, more, squeezes in np.ndindex(*_TABLE):
        inputs, outputs, _ = shapes[block]
        part: list[Matrix] = []
        for before in (inputs, *[outputs] * more):
            inner, middle = before * EXPANSIONS[e], max(1, before // SQUEEZE) if squeezes else 0
            part += mobile_block(before, inner, outputs, KERNELS[k], middle)
        parts.append(part)
    always = [convolution(in_channels, STEM_WIDTH, 3), convolution(WIDTHS[-1], LAST_WIDTH), (classes, LAST_WIDTH, 1)]
    return MatrixTable(parts, always)


class MnasNetSpace(SearchSpace):
    """Seven blocks in a chain, each of four decisions: about 10^11 networks, no two of them alike.

    Removing an operation leaves the smallest there is: no expansion, kernel 3, one layer, no squeezing.
    """

    summary = "chain of 7 mobile image blocks"
    origin = ORIGIN
    # Tan et al., CVPR 2019 (MnasNet), section 5, with stochastic depth and moving average of EfficientNet (Tan and
    # Le, ICML 2019), without AutoAugment; the rate of 0.256 at batch 4,096 is scaled to the batch.
    presets = {
        "mnasnet-imagenet": IMAGENET
        | {
            "num_train_epochs": 350,
            "optimizer": "rmsprop",
            "learning_rate": 0.064,
            "lr_scheduler": "exponential",
            "weight_decay": 1e-5,
            "ema_decay": 0.9999,
        }
    }

    def __init__(self) -> None:
        expansions = tuple(Choice(f"e{e}", "size", expansion=e, level=(e - 1) / 5) for e in EXPANSIONS)
        kernels = tuple(Choice(f"k{k}", "size", kernel=k, level=(k - 3) / 2) for k in KERNELS)
        gate = (Choice("no-se", "zero"), Choice("se", "combination", aggregation="attention"))
        slots = []
        for block, layers in enumerate(LAYERS):
            reads, writes = (block,), block + 1
            depths = tuple(Choice(f"l{n}", "size", level=n / 4) for n in layers)
            slots += [
                Slot(f"block {block + 1} expansion", "expansion", expansions, reads, writes),
                Slot(f"block {block + 1} kernel", "kernel", kernels, reads, writes),
                Slot(f"block {block + 1} layers", "depth", depths, reads, writes),
                Slot(f"block {block + 1} squeeze-excitation", "gate", gate, reads, writes),
            ]
        super().__init__("mnasnet", slots, TASKS, null_choice=("e1", "k3", "l1", "no-se"))

    def split_string(self, text: str) -> list[str]:
        values = self._decisions(text, KEYS)
        names = []
        for key, letter in zip(KEYS, PARTS * len(WIDTHS), strict=True):
            value = repr(values[key])  # so that neither "6" nor 6.0 is taken for 6, nor 1 for true
            names.append(_GATES.get(value, value) if letter == "se" else letter + value)
        return names

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        texts = self._texts[np.arange(self.num_slots)[None, :], indices.cpu().numpy()]
        return join_columns(texts, ["{", *[", "] * (self.num_slots - 1)], "}").tolist()

    @cached_property
    def _texts(self) -> np.ndarray:
        """What a string says of each choice, object array (slots, choices)."""
        values = {name: value.lower() for value, name in _GATES.items()}
        texts = self.choice_names.copy()
        for s, names in enumerate(self.choice_names):
            texts[s] = [f'"{KEYS[s]}": {values.get(name, name[1:])}' for name in names]
        return texts

    def _sum_costs(self, indices: torch.Tensor, which: int, image_size: int) -> torch.Tensor:
        expansion, kernel, layers, gate = indices.unflatten(1, (len(WIDTHS), len(PARTS))).unbind(2)
        blocks = torch.arange(len(WIDTHS), device=indices.device)
        return (
            _block_costs(-(-image_size // 2))[..., which]
            .to(indices.device)[blocks, expansion, kernel, layers, gate]
            .sum(1)
        )

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact, equal to the benchmark's: stem, blocks, a last 1x1 convolution and the classifier."""
        scale = self.task(task or "imagenet1k")
        stem = (9 * scale.in_channels + 2) * STEM_WIDTH
        last = WIDTHS[-1] * LAST_WIDTH + 2 * LAST_WIDTH + scale.num_classes * (LAST_WIDTH + 1)
        return stem + self._sum_costs(indices, 0, scale.image_size) + last

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds equal to the benchmark's, which counts more than products.

        Besides convolutions and the classifier, without their biases, these are 4 for each value that a normalisation
        returns, and, for each mean over a map, one for each value of it and one for the division.
        """
        scale = self.task(task or "imagenet1k")
        half, last_size = -(-scale.image_size // 2), -(-scale.image_size // 32)
        stem = _convolution_costs(9 * scale.in_channels * STEM_WIDTH, STEM_WIDTH, half)[1]
        last = _convolution_costs(WIDTHS[-1] * LAST_WIDTH, LAST_WIDTH, last_size)[1]
        pooled = LAST_WIDTH * (last_size**2 + 1)
        of_blocks = self._sum_costs(indices, 1, scale.image_size)
        return int(stem + last) + of_blocks + pooled + scale.num_classes * LAST_WIDTH

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        scale = self.task(task or "imagenet1k")
        choices = indices.unflatten(1, (len(WIDTHS), len(PARTS))).unbind(2)
        blocks = torch.arange(len(WIDTHS), device=indices.device)
        return _matrices(scale.num_classes, scale.in_channels).total(ravel(_TABLE, blocks, *choices))


register_built_in(MnasNetSpace())
