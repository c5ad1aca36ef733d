"""The MobileNetV3 space of Once-for-all (Cai et al., ICLR 2020) at width 1.0: five stages of blocks on ImageNet.

A stage has two to four blocks, each with a kernel and an expansion of its own; widths, strides, squeeze-and-excitation
and activations are those of MobileNetV3-Large (Howard et al., ICCV 2019). A string is a JSON object that has four
places for each stage, ``{"ks":[3,5,7,0,...],"e":[6,4,3,0,...],"d":[3,2,4,2,3]}``; in places of blocks beyond the depth
stands 0, and whatever stands there is not read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch

from .base import SearchSpace
from .benchmark import Origin, bibtex
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .tasks import Task, TaskLike
from .training import IMAGENET
from .weight_matrices import MatrixTable, WeightMatrices, convolution, mobile_block, ravel

KERNELS = (3, 5, 7)
EXPANSIONS = (3, 4, 6)
DEPTHS = (2, 3, 4)
BLOCKS = max(DEPTHS)  # of a stage
STEM_WIDTH = 16
BEFORE_LAST, LAST_WIDTH = 960, 1280
SQUEEZE = 4  # a block's inner channels over those between the two layers of squeeze-and-excitation
KEYS = ("ks", "e", "d")
TASKS = {"imagenet1k": Task("image-classification", chance_score=0.1, num_classes=1000, image_size=224)}


@dataclass(frozen=True)
class Stage:
    """What all blocks of a stage share.

    Attributes
    ----------
    outputs
        Channels.
    stride
        Of the first block; of the others it is 1.
    squeezes, hard_swish
        Whether there is squeeze-and-excitation, and whether activations are h-swish, not ReLU.
    """

    outputs: int
    stride: int
    squeezes: bool
    hard_swish: bool


STAGES = (
    Stage(24, 2, False, False),
    Stage(40, 2, True, False),
    Stage(80, 2, False, True),
    Stage(112, 1, True, True),
    Stage(160, 2, True, True),
)
ORIGIN = Origin(
    "Once-for-all MobileNetV3, evaluations of DyNAS-T",
    "Accuracies on the validation images of ImageNet-1k with weights that are inherited from the supernet, after "
    "statistics of normalisations were estimated again: no network was trained by itself. The networks are those that "
    "five searches visited, not a random sample.",
    "https://github.com/IntelLabs/DyNAS-T",
    "apache-2.0",
    bibtex(
        "inproceedings",
        "cai2020once",
        "Once-for-All: Train One Network and Specialize it for Efficient Deployment",
        "Cai, Han and Gan, Chuang and Wang, Tianzhe and Zhang, Zhekai and Han, Song",
        "International Conference on Learning Representations",
        2020,
    ),
)


def rounded(channels: float) -> int:
    """The multiple of 8 that is nearest to `channels`, at least 8 and at least nine tenths of them."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def _block_costs(stage: Stage, inputs: int, stride: int, size: int, kernel: int, expansion: int) -> np.ndarray:
    """Parameters and products of one block on maps of `size` x `size`."""
    inner, after = inputs * expansion, math.ceil(size / stride)
    expand, depthwise, project = inputs * inner, kernel**2 * inner, inner * stage.outputs
    norms = 2 * (inner + inner + stage.outputs)
    costs = np.array([expand + depthwise + project + norms, expand * size**2 + (depthwise + project) * after**2])
    if stage.squeezes:
        middle = rounded(inner / SQUEEZE)
        costs += np.array([2 * inner * middle + middle + inner, 2 * inner * middle])
    return costs


@cache
@constant
def _costs_at(image_size: int) -> torch.Tensor:
    """Costs of every block, ``LongTensor (stages, blocks, kernels, expansions, 2)``: parameters and products."""
    table = np.zeros((len(STAGES), BLOCKS, len(KERNELS), len(EXPANSIONS), 2), dtype=np.int64)
    inputs, size = STEM_WIDTH, math.ceil(image_size / 2)
    for s, stage in enumerate(STAGES):
        after = math.ceil(size / stage.stride)
        for b, k, e in np.ndindex(table.shape[1:4]):
            place = (stage.outputs, 1, after) if b else (inputs, stage.stride, size)
            table[s, b, k, e] = _block_costs(stage, *place, KERNELS[k], EXPANSIONS[e])
        inputs, size = stage.outputs, after
    return torch.from_numpy(table)


_TABLE = (len(STAGES), 2, len(KERNELS), len(EXPANSIONS))


@cache
@constant
def _matrices(classes: int, in_channels: int) -> MatrixTable:
    """Of the first block of each stage and of a later one, a table of the shape `_TABLE`; of all else."""
    parts = []
    widths = [STEM_WIDTH, *(stage.outputs for stage in STAGES)]
    for s, is_later, k, e in np.ndindex(*_TABLE):
        inputs = widths[s + is_later]
        inner = inputs * EXPANSIONS[e]
        middle = rounded(inner / SQUEEZE) if STAGES[s].squeezes else 0
        parts.append(mobile_block(inputs, inner, widths[s + 1], KERNELS[k], middle))
    stem = [convolution(in_channels, STEM_WIDTH, 3), *mobile_block(STEM_WIDTH, STEM_WIDTH, STEM_WIDTH, 3)]
    last = [convolution(widths[-1], BEFORE_LAST), (LAST_WIDTH, BEFORE_LAST, 1), (classes, LAST_WIDTH, 1)]
    return MatrixTable(parts, stem + last)


class OFAMobileNetV3Space(SearchSpace):
    """Depths of five stages, kernels and expansions of up to twenty blocks: 2 x 10^19 networks, no two alike.

    Removing an operation leaves the smallest there is: two blocks a stage, kernel 3, expansion 3.
    """

    summary = "10 to 20 mobile image blocks"
    origin = ORIGIN
    # Cai et al. train the supernet by distillation; networks of it from scratch are trained here as those of MnasNet.
    presets = {
        "ofa-mobilenetv3-imagenet": IMAGENET
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
        kernels = tuple(Choice(f"k{k}", "size", kernel=k, level=(k - 3) / 4) for k in KERNELS)
        expansions = tuple(Choice(f"e{e}", "size", expansion=e, level=(e - 1) / 5) for e in EXPANSIONS)
        depths = tuple(Choice(f"d{d}", "size", level=d / BLOCKS) for d in DEPTHS)
        slots = []
        for s in range(len(STAGES)):
            depth = Slot(f"stage {s + 1} depth", "depth", depths, (BLOCKS * s,), BLOCKS * s + 1)
            slots.append(depth)
            for b in range(BLOCKS):
                deep = tuple(f"d{d}" for d in DEPTHS if d > b)
                condition = (depth.name, deep) if len(deep) < len(DEPTHS) else None
                reads, writes, name = (BLOCKS * s + b,), BLOCKS * s + b + 1, f"stage {s + 1} block {b + 1}"
                slots += [
                    Slot(f"{name} kernel", "kernel", kernels, reads, writes, active_if=condition),
                    Slot(f"{name} expansion", "expansion", expansions, reads, writes, active_if=condition),
                ]
        super().__init__("ofa-mobilenetv3", slots, TASKS, null_choice=("k3", "e3", "d2"))

    @cached_property
    def num_architectures(self) -> int:
        """One for each choice of the blocks that there are with each depth."""
        in_block = len(KERNELS) * len(EXPANSIONS)
        return sum(in_block**depth for depth in DEPTHS) ** len(STAGES)

    # ------------------------------------------------------------------ strings

    def split_string(self, text: str) -> list[str]:
        values = self._decisions(text, KEYS)
        for key, length in zip(KEYS, (len(STAGES) * BLOCKS, len(STAGES) * BLOCKS, len(STAGES)), strict=True):
            self._list(text, key, values[key], length)
        names = []
        for s, depth in enumerate(values["d"]):
            names.append(f"d{depth!r}")
            for b in range(BLOCKS):
                exists = type(depth) is not int or b < depth
                kernel, expansion = (values[key][BLOCKS * s + b] for key in KEYS[:2])
                names += [f"k{kernel!r}", f"e{expansion!r}"] if exists else [f"k{KERNELS[0]}", f"e{EXPANSIONS[0]}"]
        return names

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        indices = indices.cpu()
        texts = self._texts[np.arange(self.num_slots)[None, :], indices.numpy()]
        texts[~self.active_slots(indices).numpy()] = "0"
        stages = texts.reshape(len(texts), len(STAGES), 1 + 2 * BLOCKS)
        parts = [stages[:, :, 1::2], stages[:, :, 2::2], stages[:, :, :1]]
        lists = []
        for key, part in zip(KEYS, parts, strict=True):
            row = part.reshape(len(texts), part.shape[1] * part.shape[2])
            row[:, 1:] = "," + row[:, 1:]
            lists.append(f'"{key}":[' + row.sum(1) + "]")
        return ("{" + lists[0] + "," + lists[1] + "," + lists[2] + "}").tolist()

    @cached_property
    def _texts(self) -> np.ndarray:
        """What a string says of each choice, object array (slots, choices)."""
        texts = self.choice_names.copy()
        for s, names in enumerate(self.choice_names):
            texts[s] = [name[1:] for name in names]
        return texts

    # ------------------------------------------------------------------ costs

    def _sum_costs(self, indices: torch.Tensor, image_size: int) -> torch.Tensor:
        """Costs of the blocks that there are, ``LongTensor (batch, 2)``."""
        stages = indices.reshape(len(indices), len(STAGES), 1 + 2 * BLOCKS)
        exists = self.active_slots(indices).reshape(stages.shape)[..., 1::2]
        places = torch.arange(len(STAGES), device=indices.device)[:, None], torch.arange(BLOCKS, device=indices.device)
        costs = _costs_at(image_size).to(indices.device)[(*places, stages[..., 1::2], stages[..., 2::2])]
        return (costs * exists[..., None]).sum((1, 2))

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        scale = self.task(task or "imagenet1k")
        groups = indices.reshape(len(indices), len(STAGES), 1 + 2 * BLOCKS)
        exists = self.active_slots(indices).reshape(groups.shape)[..., 1::2]
        stages = torch.arange(len(STAGES), device=indices.device)[:, None]
        is_later = torch.arange(BLOCKS, device=indices.device).clamp(max=1)
        numbers = ravel(_TABLE, stages, is_later, groups[..., 1::2], groups[..., 2::2])
        parts = torch.where(exists, numbers, -1).flatten(1)
        return _matrices(scale.num_classes, scale.in_channels).total(parts)

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact, equal to the published ones, with scales and biases of normalisations."""
        scale = self.task(task or "imagenet1k")
        stem = (9 * scale.in_channels + 2) * STEM_WIDTH
        first = 9 * STEM_WIDTH + STEM_WIDTH**2 + 4 * STEM_WIDTH
        last = STAGES[-1].outputs * BEFORE_LAST + 2 * BEFORE_LAST + BEFORE_LAST * LAST_WIDTH
        return (
            stem
            + first
            + self._sum_costs(indices, scale.image_size)[:, 0]
            + last
            + scale.num_classes * (LAST_WIDTH + 1)
        )

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of convolutions and classifier, equal to the published ones; normalisations count nothing."""
        scale = self.task(task or "imagenet1k")
        first_size, last_size = (math.ceil(scale.image_size / stride) for stride in (2, 32))
        stem_and_first = (9 * scale.in_channels * STEM_WIDTH + 9 * STEM_WIDTH + STEM_WIDTH**2) * first_size**2
        last = STAGES[-1].outputs * BEFORE_LAST * last_size**2 + BEFORE_LAST * LAST_WIDTH
        return (
            stem_and_first + self._sum_costs(indices, scale.image_size)[:, 1] + last + LAST_WIDTH * scale.num_classes
        )


register_built_in(OFAMobileNetV3Space())
