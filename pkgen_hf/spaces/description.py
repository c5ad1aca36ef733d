"""The slots of a search space as tensors: what each choice is, where each slot sits, and how slots are related."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from .parts import CHOICE_FEATURES, COST_FEATURES, RELATIONS, SLOT_KINDS, Slot, constant, relation


class Description:
    """Named slots and the null choices, with what follows from them alone.

    Parameters
    ----------
    name, slots, null_choice
        As of `pkgen_hf.spaces.SearchSpace`, which checks them; null choices as a tuple of names.
    """

    name: str
    slots: tuple[Slot, ...]
    null_choice: tuple[str, ...]
    num_slots: int
    num_choices: int
    num_nodes: int

    @cached_property
    @constant
    def sizes(self) -> torch.Tensor:
        """Choices of each slot, ``LongTensor (slots,)``."""
        return torch.tensor([len(slot.choices) for slot in self.slots])

    @cached_property
    @constant
    def choice_mask(self) -> torch.Tensor:
        """Which (slot, choice) exist, ``BoolTensor (slots, choices)``."""
        return torch.arange(self.num_choices)[None, :] < self.sizes[:, None]

    @cached_property
    @constant
    def drawn_sizes(self) -> torch.Tensor:
        """Choices of each slot that are drawn (`Choice.is_drawn`), ``LongTensor (slots,)``; they come first."""
        return torch.tensor([sum(choice.is_drawn for choice in slot.choices) for slot in self.slots])

    @cached_property
    @constant
    def drawn_mask(self) -> torch.Tensor:
        """Which (slot, choice) are drawn, ``BoolTensor (slots, choices)``."""
        return torch.arange(self.num_choices)[None, :] < self.drawn_sizes[:, None]

    @cached_property
    @constant
    def choice_descriptions(self) -> torch.Tensor:
        """What each choice is, costs aside, ``FloatTensor (slots, choices, CHOICE_FEATURES - COST_FEATURES)``."""
        shape = (self.num_slots, self.num_choices, CHOICE_FEATURES - COST_FEATURES)
        described = torch.zeros(shape, dtype=torch.float32)
        for s, slot in enumerate(self.slots):
            described[s, : len(slot.choices)] = torch.tensor([choice.features for choice in slot.choices])
        return described

    @cached_property
    @constant
    def slot_features(self) -> torch.Tensor:
        """Where each slot sits, ``FloatTensor (slots, SLOT_FEATURES)``."""
        last = max(1, self.num_nodes - 1)
        rows: list[list[float]] = []
        for slot in self.slots:
            reads = slot.reads or (0,)
            rows.append(
                [
                    *(float(slot.kind == kind) for kind in SLOT_KINDS),
                    slot.writes / last,
                    sum(reads) / len(reads) / last,
                    (slot.writes - max(reads)) / last,
                    float(0 in reads),
                    float(slot.writes == last),
                    float(reads == (0,) and slot.writes == last),
                    len(reads) / last,
                    sum(choice.is_drawn for choice in slot.choices) / 10,
                    float(slot.cell),
                    len(rows) / max(1, self.num_slots - 1),
                ]
            )
        return torch.tensor(rows, dtype=torch.float32)

    @cached_property
    @constant
    def relations(self) -> torch.Tensor:
        """How slot i (row) stands to slot j, an index into `RELATIONS`, ``LongTensor (slots, slots)``."""
        return torch.tensor([[RELATIONS.index(relation(a, b)) for b in self.slots] for a in self.slots])

    @cached_property
    @constant
    def null_indices(self) -> torch.Tensor:
        """Index of the null choice in each slot, -1 where a slot has none, ``LongTensor (slots,)``."""
        found = [
            [k for k, choice in enumerate(slot.choices) if choice.name in self.null_choice] for slot in self.slots
        ]
        return torch.tensor([indices[0] if indices else -1 for indices in found])

    @cached_property
    def is_conditional(self) -> bool:
        """Whether some slots have an effect only with certain choices of others (`Slot.active_if`)."""
        return any(slot.active_if is not None for slot in self.slots)

    @cached_property
    @constant
    def controlling_slots(self) -> torch.Tensor:
        """The slot that decides whether each slot is active, -1 where it always is, ``LongTensor (slots,)``."""
        number = {slot.name: s for s, slot in enumerate(self.slots)}
        return torch.tensor([-1 if slot.active_if is None else number[slot.active_if[0]] for slot in self.slots])

    @cached_property
    @constant
    def activating_choices(self) -> torch.Tensor:
        """Choices of its controlling slot with which each slot is active, ``BoolTensor (slots, choices)``."""
        activating = torch.ones(self.num_slots, self.num_choices, dtype=torch.bool)
        for s, slot in enumerate(self.slots):
            if slot.active_if is not None:
                name, choices = slot.active_if
                controlling = next(other for other in self.slots if other.name == name)
                names = [choice.name for choice in controlling.choices]
                activating[s] = torch.tensor([k < len(names) and names[k] in choices for k in range(self.num_choices)])
        return activating

    @cached_property
    def node_slots(self) -> list[list[int]]:
        """Slots of each one-hop subgraph: a node with everything that comes into it."""
        nodes = sorted({(slot.cell, slot.writes) for slot in self.slots})
        return [[s for s, slot in enumerate(self.slots) if (slot.cell, slot.writes) == node] for node in nodes]

    @cached_property
    def choice_index(self) -> list[dict[str, int]]:
        """For each slot, choice name to index."""
        return [{choice.name: k for k, choice in enumerate(slot.choices)} for slot in self.slots]

    @cached_property
    def choice_names(self) -> np.ndarray:
        """Names, object array (slots, choices); empty where there is no choice."""
        names = np.full((self.num_slots, self.num_choices), "", dtype=object)
        for s, slot in enumerate(self.slots):
            names[s, : len(slot.choices)] = [choice.name for choice in slot.choices]
        return names

    @cached_property
    def identities(self) -> np.ndarray:
        """What each choice is in the words of `Choice.identity`, object array (slots, choices)."""
        names = np.full((self.num_slots, self.num_choices), "", dtype=object)
        for s, slot in enumerate(self.slots):
            names[s, : len(slot.choices)] = [choice.identity for choice in slot.choices]
        return names
