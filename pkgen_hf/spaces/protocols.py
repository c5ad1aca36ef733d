"""Types that the rooms above share: an architecture of any class, and a source of randomness."""

from __future__ import annotations

from typing import Protocol

import torch

from .base import SearchSpace

GeneratorArg = torch.Generator | list[torch.Generator] | None  # one for all, or one for each architecture


class ArchitectureLike(Protocol):
    """An architecture of a space, such as `pkgen_hf.Architecture`; ``str()`` of it is the benchmark's own string.

    Attributes
    ----------
    space : SearchSpace
    indices : tuple of int, the choice of each slot
    rows : LongTensor (1, slots), the same as a batch of one, on the CPU
    """

    @property
    def space(self) -> SearchSpace: ...

    @property
    def indices(self) -> tuple[int, ...]: ...

    @property
    def rows(self) -> torch.Tensor: ...
