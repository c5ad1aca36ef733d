"""Architectures as rows of choice indices, in whole batches ``LongTensor (batch, slots)``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..errors import one_line, shortened
from .description import Description
from .parts import constant, device_of, hash_rows

FEW = 2**15  # encodings of a space that are few enough to be listed and kept: at most 32,768 rows, as NATS-Bench has


def active_slots(
    indices: torch.Tensor, controlling_slots: torch.Tensor, activating_choices: torch.Tensor
) -> torch.Tensor:
    """Which slots have an effect on each architecture, ``BoolTensor (batch, slots)``.

    Parameters
    ----------
    indices
        ``LongTensor (batch, slots)``
    controlling_slots, activating_choices
        As of `Description`.
    """
    controlling = controlling_slots.to(indices.device)
    own = torch.arange(indices.shape[1], device=indices.device)
    parents = torch.where(controlling < 0, own, controlling)
    active = activating_choices.to(indices.device)[own, indices[:, parents]] | (controlling < 0)
    while True:  # once for each link of the longest chain of slots that depend on each other
        both = active & active[:, parents]
        if torch.equal(both, active):
            return active
        active = both


class Rows(Description):
    """Checks, codes, canonical form, validity, sampling and enumeration of rows.

    Where a space says nothing else, every row is valid and an architecture of its own.
    """

    # ------------------------------------------------------------------ reading indices

    def check(self, indices: torch.Tensor | np.ndarray | Sequence[Any]) -> torch.Tensor:
        """`indices`, of any form that rows of numbers have, as ``LongTensor (batch, slots)``.

        ValueError for a wrong shape, or a value that is no whole number or out of range.
        """
        given = indices if isinstance(indices, torch.Tensor) else self._tensor(indices)
        if given.dtype == torch.bool or given.is_complex():
            raise ValueError(f"{self.name} takes whole numbers as indices, got {given.dtype}")
        indices = given.long()
        if given.is_floating_point() and (broken := given[given != indices]).numel():
            raise ValueError(f"{self.name} takes whole numbers as indices, got {float(broken.flatten()[0])}")
        if indices.ndim != 2 or indices.shape[1] != self.num_slots:
            raise ValueError(
                f"{self.name} takes indices of shape (batch, {self.num_slots}), got {tuple(indices.shape)}"
            )
        wrong = (indices < 0) | (indices >= self.sizes.to(indices.device))
        if wrong.any():
            row, slot = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"{self.name}: slot {self.slots[slot].name!r} has choices 0..{len(self.slots[slot].choices) - 1}, "
                f"got {int(indices[row, slot])} in row {row}"
            )
        return indices

    def _tensor(self, indices: Any) -> torch.Tensor:
        """Numbers of any sequence or array as a tensor; ValueError for anything else."""
        try:
            array = np.asarray(indices)
            if array.dtype.kind in "US":
                raise ValueError("from_strings reads strings")
            if array.dtype.kind not in "iuf" and array.size:
                raise ValueError(f"they are of the type {array.dtype}")
            return torch.from_numpy(np.array(array, np.float64 if array.dtype.kind == "f" else np.int64))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{self.name} takes rows of {self.num_slots} whole numbers as indices, got {shortened(indices)}: "
                f"{one_line(error)}"
            ) from None

    # ------------------------------------------------------------------ enumeration

    @property
    def num_encodings(self) -> int:
        """Number of rows of indices, isomorphic ones counted apart."""
        return math.prod(len(slot.choices) for slot in self.slots)

    @cached_property
    def num_architectures(self) -> int:
        """Number of distinct valid architectures.

        In a space of more than `FEW` encodings, unless the class overrides it, that of rows which differ in slots that
        have an effect.
        """
        if self.valid_rows is None:
            return math.prod(self._count_below(s) for s in range(self.num_slots) if self.controlling_slots[s] < 0)
        return len(self.keys(self.valid_rows).unique())

    def _count_below(self, slot: int) -> int:
        """Number of settings of a slot and of those that depend on it, slots without effect left out."""
        below = (self.controlling_slots == slot).nonzero()[:, 0].tolist()
        counts = [self._count_below(other) for other in below]
        choices = range(len(self.slots[slot].choices))
        return sum(
            math.prod(n for other, n in zip(below, counts, strict=True) if self.activating_choices[other, choice])
            for choice in choices
        )

    @constant
    def all_indices(self) -> torch.Tensor:
        """Every row of indices, ``LongTensor (num_encodings, slots)``, the last slot changing fastest."""
        return torch.cartesian_prod(*(torch.arange(int(size)) for size in self.sizes)).reshape(-1, self.num_slots)

    @cached_property
    @constant
    def valid_rows(self) -> torch.Tensor | None:
        """All rows that are valid, ``LongTensor (rows, slots)``; None in a space of more than `FEW` encodings."""
        if self.num_encodings > FEW:
            return None
        rows = self.all_indices()
        return rows[self.is_valid(rows)]

    def count_by_enumeration(self) -> int:
        """Number of distinct valid architectures, counted over all encodings."""
        rows = self.all_indices()
        return len(self.keys(rows[self.is_valid(rows)]).unique())

    # ------------------------------------------------------------------ codes, isomorphism, validity

    def codes(self, indices: torch.Tensor) -> torch.Tensor:
        """Integers that are equal just for equal rows, ``LongTensor (batch,)``.

        The row's number in `all_indices`; in a space of 2^63 encodings or more a 64-bit hash; two of a
        million differing rows collide with a chance of one in thirty million.
        """
        if self.num_encodings >= 2**63:
            return hash_rows(indices)
        return (indices * self._radix.to(indices.device)).sum(-1)

    @cached_property
    @constant
    def _radix(self) -> torch.Tensor:
        """What one more in each slot adds to a row's number, ``LongTensor (slots,)``."""
        return torch.cat([self.sizes.flip(0).cumprod(0).flip(0)[1:], torch.ones(1, dtype=torch.long)])

    def keys(self, indices: torch.Tensor) -> torch.Tensor:
        """Integers that are equal just for isomorphic architectures, ``LongTensor (batch,)``."""
        return self.codes(self.canonical(indices))

    def classes(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The isomorphism classes among some architectures; their order and repetition make no difference.

        Returns
        -------
        rows : LongTensor (classes, slots)
            Of each class, in order of their keys, the row of the smallest code among those given.
        which : LongTensor (batch,)
            The class of each architecture.
        """
        order = self.codes(indices).argsort(stable=True)
        keys = self.keys(indices)[order]
        order = order[keys.argsort(stable=True)]
        _, which, counts = self.keys(indices).unique(return_inverse=True, return_counts=True)
        return indices[order[counts.cumsum(0) - counts]], which

    def active_slots(self, indices: torch.Tensor) -> torch.Tensor:
        """Which slots have an effect on each architecture (see `Slot.active_if`), ``BoolTensor (batch, slots)``."""
        if not self.is_conditional:
            return torch.ones_like(indices, dtype=torch.bool)
        return active_slots(indices, self.controlling_slots, self.activating_choices)

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        """The representative of each architecture's isomorphism class, ``LongTensor (batch, slots)``.

        By default slots without effect have their first choice.
        """
        return torch.where(self.active_slots(indices), indices, 0) if self.is_conditional else indices

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        """What a regression of scores on architectures looks at, ``FloatTensor (batch, features)``.

        Equal for isomorphic architectures: the choices of the canonical form, one-hot; 0 in slots without effect.
        """
        one_hot = torch.nn.functional.one_hot(self.canonical(indices), self.num_choices)
        if self.is_conditional:
            one_hot = one_hot * self.active_slots(indices)[..., None]
        return one_hot[:, self.choice_mask.to(indices.device)].float()

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        """Which rows are architectures of the space that connect input and output, ``BoolTensor (batch,)``."""
        return torch.ones(len(indices), dtype=torch.bool, device=indices.device)

    def is_connected(self, indices: torch.Tensor) -> torch.Tensor:
        """Which rows connect input and output, even if the space does not hold them, ``BoolTensor (batch,)``."""
        return self.is_valid(indices)

    def sample(self, num: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw every slot uniformly among the choices that are drawn (see `Choice.is_drawn`).

        Returns
        -------
        LongTensor (num, slots)
            On the generator's device, the CPU without one.
        """
        device = device_of(generator)
        chance = torch.rand(num, self.num_slots, generator=generator, dtype=torch.float32, device=device)
        return (chance * self.drawn_sizes.to(device)).long()

    def is_drawn(self, indices: torch.Tensor) -> torch.Tensor:
        """Which rows have no choice that is never drawn, ``BoolTensor (batch,)``."""
        return (indices < self.drawn_sizes.to(indices.device)).all(1)

    def remove(self, indices: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Architectures with the slots outside `keep` set to the null choice; slots without one stay.

        Parameters
        ----------
        indices
            ``LongTensor (batch, slots)``
        keep
            ``BoolTensor (batch, slots)``
        """
        null = self.null_indices.to(indices.device)
        return torch.where(keep | (null < 0), indices, null)
