"""What architectures are made of, as numbers: their choices, how often each occurs, and pairs of related choices."""

from __future__ import annotations

import torch

from .base import SearchSpace
from .parts import RELATIONS

ROWS_AT_ONCE = 1024  # whose pairs are counted at a time


class Components:
    """Counts of the components of architectures of one space.

    Only choices that have an effect count (see `SearchSpace.active_slots`).

    Parameters
    ----------
    space
        The search space.

    Attributes
    ----------
    identities : list of str
        What choices are, whatever the slot, see `Choice.identity`.
    relations : list of str
        Those of `RELATIONS` in which two slots of the space stand.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.identities = sorted({choice.identity for slot in space.slots for choice in slot.choices})
        related = {name: space.relations == k for k, name in enumerate(RELATIONS) if name not in ("none", "self")}
        self.relations = [name for name, pairs in related.items() if pairs.any()]
        self._related = [related[name].float() for name in self.relations]
        self._one_hot = torch.zeros(space.num_slots, space.num_choices, len(self.identities))
        for s, slot in enumerate(space.slots):
            for k, choice in enumerate(slot.choices):
                self._one_hot[s, k, self.identities.index(choice.identity)] = 1

    def choices(self, rows: torch.Tensor) -> torch.Tensor:
        """The choice of each slot, one-hot, of ``LongTensor (n, slots)``; ``DoubleTensor (n, slots, choices)``."""
        one_hot = torch.nn.functional.one_hot(rows, self.space.num_choices).double()
        return one_hot * self.space.active_slots(rows)[..., None]

    def counts(self, rows: torch.Tensor) -> torch.Tensor:
        """How often each identity occurs, ``DoubleTensor (n, identities)``."""
        return self._chosen(rows).sum(1).double()

    def pairs(self, rows: torch.Tensor) -> torch.Tensor:
        """How often two identities stand in a relation, ``DoubleTensor (n, relations, identities, identities)``."""
        number = len(self.identities)
        found = torch.zeros(len(rows), len(self.relations), number, number, dtype=torch.float64)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chosen = self._chosen(rows[start : start + ROWS_AT_ONCE])
            for r, related in enumerate(self._related):
                pairs = torch.einsum("nsi,st,ntj->nij", chosen, related, chosen)
                found[start : start + ROWS_AT_ONCE, r] = pairs.double()
        return found

    def _chosen(self, rows: torch.Tensor) -> torch.Tensor:
        """Identity of the choice of each slot that has an effect, ``FloatTensor (n, slots, identities)``, one-hot."""
        chosen = self._one_hot[torch.arange(self.space.num_slots), rows]
        return chosen * self.space.active_slots(rows)[..., None]
