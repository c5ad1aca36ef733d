"""NAS-Bench-Macro (Su et al., CVPR 2021): chains of eight mobile blocks on CIFAR-10, all 3^8 trained.

The string has a digit for each block: 0 identity, 1 inverted bottleneck of expansion 3 and kernel 3, 2 of expansion 6
and kernel 5.
"""

from __future__ import annotations

import torch

from .base import Choice, SearchSpace, Slot, Task

BLOCKS = (
    Choice("0", "identity"),
    Choice("1", "inverted-bottleneck", kernel=3, expansion=3, separable=True),
    Choice("2", "inverted-bottleneck", kernel=5, expansion=6, separable=True),
)
TASKS = {"cifar10": Task("image-classification", guess=10.0, num_classes=10, image_size=32, split="test")}


class NASBenchMacroSpace(SearchSpace):
    """Eight blocks in a chain, each one of three."""

    def __init__(self) -> None:
        slots = [Slot(f"block {i + 1}", "operation", BLOCKS, reads=(i,), writes=i + 1) for i in range(8)]
        super().__init__("nas-bench-macro", slots, TASKS, null_choice="0")

    def split_string(self, text: str) -> list[str]:
        if len(text) != self.num_slots or set(text) - set("012"):
            raise self.malformed(text)
        return list(text)

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        return ["".join(map(str, row)) for row in indices.tolist()]
