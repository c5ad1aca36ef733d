"""TransNAS-Bench-101 (Duan et al., CVPR 2021): a cell space and a macro space, measured on seven vision tasks.

A micro string is ``64-41414-a_bc_def``: stem width, the fixed macro skeleton, and the operations of the six edges,
node by node. A macro string is ``64-<4 to 6 digits>-basic``: what each module of two residual blocks does.
"""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np
import torch

from .base import Choice, SearchSpace, Slot, Task
from .nas_bench_201 import FourNodeCellSpace

OPERATIONS = (
    Choice("none", "zero"),
    Choice("skip_connect", "identity"),
    Choice("nor_conv_1x1", "convolution", kernel=1),
    Choice("nor_conv_3x3", "convolution", kernel=3),
)
# Guesses: 1 / classes for the three classifications; elsewhere what networks score that learn nothing.
TASKS = {
    "class_scene": Task("image-classification", guess=100 / 47, num_classes=47, image_size=256),
    "class_object": Task("image-classification", guess=100 / 75, num_classes=75, image_size=256),
    "room_layout": Task("image-regression", guess=-1.1, num_classes=9, image_size=256),
    "jigsaw": Task("image-classification", guess=0.1, num_classes=1000, image_size=255),
    "segmentsemantic": Task("image-segmentation", guess=91.0, num_classes=17, image_size=256),
    "normal": Task("dense-regression", guess=0.2, num_classes=3, image_size=256),
    "autoencoder": Task("dense-regression", guess=0.0, num_classes=3, image_size=256),
}
_MICRO = re.compile(r"64-41414-([0-3])_([0-3])([0-3])_([0-3])([0-3])([0-3])")
_MACRO = re.compile(r"64-([1-4]{4,6})-basic")


class TransNASMicroSpace(FourNodeCellSpace):
    """Four operations on six edges: 4,096 strings."""

    def __init__(self) -> None:
        super().__init__("transnas-bench-101-micro", OPERATIONS, TASKS)

    def split_string(self, text: str) -> list[str]:
        match = _MICRO.fullmatch(text)
        if match is None:
            raise self.malformed(text)
        return [OPERATIONS[int(digit)].name for digit in match.groups()]

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        return ["64-41414-{}_{}{}_{}{}{}".format(*row) for row in indices.tolist()]


MODULES = (
    Choice("1", "residual-block", kernel=3),
    Choice("2", "residual-block", kernel=3, widening=2),
    Choice("3", "residual-block", kernel=3, stride=2),
    Choice("4", "residual-block", kernel=3, widening=2, stride=2),
)
ABSENT = Choice("-", "identity")


class TransNASMacroSpace(SearchSpace):
    """Four to six modules, of which one to four halve the resolution and one to three double the channels: 3,256.

    The fifth and sixth module may be absent, the sixth alone or both; a fifth that is absent before a sixth that is
    there is no string of this space, so such rows are not valid. Removing a module leaves the plain one.
    """

    def __init__(self) -> None:
        slots = [
            Slot(f"module {i + 1}", "operation", MODULES if i < 4 else (*MODULES, ABSENT), reads=(i,), writes=i + 1)
            for i in range(6)
        ]
        super().__init__("transnas-bench-101-macro", slots, TASKS, null_choice="1")

    @cached_property
    def num_architectures(self) -> int:
        return self.count_by_enumeration()

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        widening = ((indices == 1) | (indices == 3)).sum(1)
        halving = ((indices == 2) | (indices == 3)).sum(1)
        gap = (indices[:, 4] == 4) & (indices[:, 5] < 4)
        return ~gap & (widening >= 1) & (widening <= 3) & (halving >= 1) & (halving <= 4)

    def is_connected(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(indices), dtype=torch.bool, device=indices.device)

    def split_string(self, text: str) -> list[str]:
        match = _MACRO.fullmatch(text)
        if match is None:
            raise self.malformed(text)
        return list(match[1].ljust(6, "-"))

    def join_names(self, names: np.ndarray) -> np.ndarray:
        digits = names.sum(axis=1)
        return np.array([f"64-{text.replace('-', '')}-basic" for text in digits], dtype=object)
