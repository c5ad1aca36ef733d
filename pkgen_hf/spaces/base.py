"""What a search space is: slots, choices described by what they are, and the relations between slots.

An architecture is a row of choice indices, one for each slot; every method here takes and returns whole batches,
``LongTensor (batch, slots)``. A space knows nothing of models or benchmarks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..errors import unknown

CHOICE_KINDS = ("zero", "identity", "convolution", "pooling", "linear", "graph-convolution", "predecessor")
AGGREGATIONS = ("", "mean", "max", "sum", "normalized", "attention", "spectral")
SLOT_KINDS = ("operation", "connection")
TASK_KINDS = ("image-classification", "node-classification", "edge-classification", "dense-prediction", "other")
RELATIONS = ("none", "self", "feeds", "fed-by", "parallel", "same-target", "same-source")


@dataclass(frozen=True)
class Choice:
    """One choice of a slot, described by what it is, so that spaces can be compared.

    Parameters
    ----------
    name
        As in the benchmark's own string, e.g. ``"nor_conv_3x3"``.
    kind
        One of `CHOICE_KINDS`.
    kernel, dilation
        Receptive field in pixels (or hops of a graph) and dilation; 0 where it means nothing.
    separable
        A depthwise-separable convolution.
    aggregation
        How neighbours (of a pooling window or of a graph) are combined: one of `AGGREGATIONS`.
    root_weight
        A graph convolution with separate weights for the node itself.
    level
        Position on the slot's own scale, 0 to 1, for choices that are ordered (predecessors, widths, depths).
    """

    name: str
    kind: str
    kernel: int = 0
    dilation: int = 1
    separable: bool = False
    aggregation: str = ""
    root_weight: bool = False
    level: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in CHOICE_KINDS:
            raise unknown("kind of choice", self.kind, CHOICE_KINDS)
        if self.aggregation not in AGGREGATIONS:
            raise unknown("aggregation", self.aggregation, AGGREGATIONS)

    @property
    def identity(self) -> str:
        """What it is, in words that are the same in every space: equal choices of two spaces have equal identities."""
        parts = [self.kind]
        if self.aggregation:
            parts.append(self.aggregation)
        if self.kernel:
            parts.append(f"k{self.kernel}")
        if self.dilation > 1:
            parts.append(f"d{self.dilation}")
        if self.separable:
            parts.append("separable")
        if self.root_weight:
            parts.append("root")
        if self.kind == "predecessor":
            parts.append(f"{self.level:.2f}")
        return "-".join(parts)

    @property
    def features(self) -> list[float]:
        """The description as numbers, `CHOICE_FEATURES` of them."""
        has_weights = self.kind in ("convolution", "linear", "graph-convolution")
        return [
            *(float(self.kind == kind) for kind in CHOICE_KINDS),
            *(float(self.aggregation == name) for name in AGGREGATIONS[1:]),
            math.log2(1 + self.kernel) / 3,
            float(self.dilation > 1),
            float(self.separable),
            float(self.root_weight),
            float(has_weights),
            self.level,
        ]


@dataclass(frozen=True)
class Slot:
    """One decision.

    Parameters
    ----------
    name
        Shown to people, e.g. ``"0->1"``.
    kind
        One of `SLOT_KINDS`.
    choices
        What may stand here.
    reads
        Nodes the slot may take its input from (node 0 is the input).
    writes
        The node the slot contributes to.
    """

    name: str
    kind: str
    choices: tuple[Choice, ...]
    reads: tuple[int, ...]
    writes: int

    def __post_init__(self) -> None:
        if self.kind not in SLOT_KINDS:
            raise unknown("kind of slot", self.kind, SLOT_KINDS)
        names = [choice.name for choice in self.choices]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"slot {self.name!r} needs distinct choices, got {names}")


@dataclass(frozen=True)
class Task:
    """A data set on which a space's architectures are measured.

    `guess` is the score in percent of guessing, which is what a disconnected network is worth. `num_classes`
    and `image_size` (pixels; 0 where there are no images) set the network's scale for costs.
    """

    kind: str
    guess: float
    num_classes: int
    image_size: int = 0
    num_features: int = 0


def _relation(a: Slot, b: Slot) -> str:
    if a is b:
        return "self"
    if a.writes == b.writes and a.reads == b.reads:
        return "parallel"
    if a.writes in b.reads and a.writes < b.writes:
        return "feeds"
    if b.writes in a.reads and b.writes < a.writes:
        return "fed-by"
    if a.writes == b.writes:
        return "same-target"
    if set(a.reads) & set(b.reads):
        return "same-source"
    return "none"


class SearchSpace:
    """Slots, choices and their relations; strings, canonical form, validity, sampling and costs on whole batches.

    A space made from this class directly writes its strings as choice names joined by ``|``, holds every
    architecture valid and distinct, and counts no costs. The spaces of the benchmarks override those parts.

    Parameters
    ----------
    name
        e.g. ``"nas-bench-201"``.
    slots
        The decisions, in the order of the string.
    tasks
        Data sets by name.
    null_choice
        Name of the choice that stands for "nothing here", used to remove an operation when contributions are
        measured.
    """

    def __init__(self, name: str, slots: Sequence[Slot], tasks: Mapping[str, Task], null_choice: str) -> None:
        self.name = name
        self.slots = tuple(slots)
        self.tasks = dict(tasks)
        self.null_choice = null_choice
        self.num_slots = len(self.slots)
        self.num_choices = max(len(slot.choices) for slot in self.slots)
        if self.num_encodings >= 2**63:
            raise ValueError(f"{name} has {self.num_encodings:.1e} encodings; codes hold fewer than 2^63")
        self.num_nodes = 1 + max(slot.writes for slot in self.slots)

    def __repr__(self) -> str:
        return f"SearchSpace({self.name!r}, {self.num_slots} slots, {self.num_encodings:,} encodings)"

    # ------------------------------------------------------------------ description, as tensors

    @cached_property
    def sizes(self) -> torch.Tensor:
        """Choices of each slot, ``LongTensor (slots,)``."""
        return torch.tensor([len(slot.choices) for slot in self.slots])

    @cached_property
    def choice_mask(self) -> torch.Tensor:
        """Which (slot, choice) exist, ``BoolTensor (slots, choices)``."""
        return torch.arange(self.num_choices)[None, :] < self.sizes[:, None]

    @cached_property
    def choice_features(self) -> torch.Tensor:
        """What each choice is, ``FloatTensor (slots, choices, CHOICE_FEATURES)``, zero where there is none."""
        features = torch.zeros(self.num_slots, self.num_choices, CHOICE_FEATURES)
        for s, slot in enumerate(self.slots):
            features[s, : len(slot.choices)] = torch.tensor([choice.features for choice in slot.choices])
        return features

    @cached_property
    def slot_features(self) -> torch.Tensor:
        """Where each slot sits, ``FloatTensor (slots, SLOT_FEATURES)``."""
        last = max(1, self.num_nodes - 1)
        rows = []
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
                    len(slot.choices) / 10,
                ]
            )
        return torch.tensor(rows)

    @cached_property
    def relations(self) -> torch.Tensor:
        """How slot i (row) stands to slot j, an index into `RELATIONS`, ``LongTensor (slots, slots)``."""
        return torch.tensor([[RELATIONS.index(_relation(a, b)) for b in self.slots] for a in self.slots])

    @cached_property
    def null_indices(self) -> torch.Tensor:
        """Index of the null choice in each slot, -1 where a slot has none, ``LongTensor (slots,)``."""
        names = [[choice.name for choice in slot.choices] for slot in self.slots]
        return torch.tensor([row.index(self.null_choice) if self.null_choice in row else -1 for row in names])

    @cached_property
    def node_slots(self) -> list[list[int]]:
        """Slots of each one-hop subgraph: a node with everything that comes into it."""
        nodes = sorted({slot.writes for slot in self.slots})
        return [[s for s, slot in enumerate(self.slots) if slot.writes == node] for node in nodes]

    @property
    def num_encodings(self) -> int:
        """Number of rows of indices, isomorphic ones counted apart."""
        return math.prod(len(slot.choices) for slot in self.slots)

    @cached_property
    def num_architectures(self) -> int:
        """Number of distinct valid architectures."""
        return self.num_encodings

    # ------------------------------------------------------------------ indices

    def check(self, indices: torch.Tensor) -> torch.Tensor:
        """`indices` as ``LongTensor (batch, slots)``; ValueError for a wrong shape or a value out of range."""
        indices = torch.as_tensor(indices).long()
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

    def all_indices(self) -> torch.Tensor:
        """Every row of indices, ``LongTensor (num_encodings, slots)``, the last slot changing fastest."""
        return torch.cartesian_prod(*(torch.arange(int(size)) for size in self.sizes)).reshape(-1, self.num_slots)

    def codes(self, indices: torch.Tensor) -> torch.Tensor:
        """Rows as mixed-radix integers, ``LongTensor (batch,)``: the row's number in `all_indices`."""
        radix = torch.cat([self.sizes.flip(0).cumprod(0).flip(0)[1:], torch.ones(1, dtype=torch.long)])
        return (indices * radix.to(indices.device)).sum(-1)

    def keys(self, indices: torch.Tensor) -> torch.Tensor:
        """Integers that are equal just for isomorphic architectures, ``LongTensor (batch,)``."""
        return self.codes(self.canonical(indices))

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        """The representative of each architecture's isomorphism class, ``LongTensor (batch, slots)``."""
        return indices

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        """Which rows are networks that connect input and output, ``BoolTensor (batch,)``."""
        return torch.ones(len(indices), dtype=torch.bool, device=indices.device)

    def sample(self, num: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw every slot uniformly, ``LongTensor (num, slots)``."""
        return (torch.rand(num, self.num_slots, generator=generator) * self.sizes).long()

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

    def count_by_enumeration(self) -> int:
        """Number of distinct valid architectures, counted over all encodings."""
        rows = self.all_indices()
        return len(self.keys(rows[self.is_valid(rows)]).unique())

    # ------------------------------------------------------------------ strings

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

    def from_strings(self, strings: Sequence[str]) -> torch.Tensor:
        """Read the benchmark's own strings.

        Returns
        -------
        LongTensor (batch, slots)

        Raises
        ------
        ValueError
            For a string that this space does not write; it says which part is wrong and what is allowed.
        """
        rows = []
        for text in strings:
            names = self.split_string(text)
            row = []
            for slot, index, name in zip(self.slots, self.choice_index, names, strict=True):
                if name not in index:
                    raise unknown(f"choice in slot {slot.name!r} of {self.name} string {text!r}", name, list(index))
                row.append(index[name])
            rows.append(row)
        return torch.tensor(rows, dtype=torch.long).reshape(len(rows), self.num_slots)

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        """Write the benchmark's own strings for ``LongTensor (batch, slots)``."""
        names = self.choice_names[np.arange(self.num_slots)[None, :], indices.cpu().numpy()]
        return self.join_names(names).tolist()

    def split_string(self, text: str) -> list[str]:
        """Choice names, one for each slot, of one string."""
        names = text.split("|")
        if len(names) != self.num_slots:
            raise self.malformed(text)
        return names

    def join_names(self, names: np.ndarray) -> np.ndarray:
        """Strings, object array (batch,), from choice names (batch, slots)."""
        return _join(names, ["", *["|"] * (self.num_slots - 1)], "")

    @property
    def example(self) -> str:
        """A well-formed string, shown in error messages."""
        return self.to_strings(self.sizes[None] - 1)[0]

    def malformed(self, text: str) -> ValueError:
        """The error for a string that is not of this space's form."""
        return ValueError(f"{text!r} is not a {self.name} string; one looks like {self.example!r}")

    # ------------------------------------------------------------------ tasks and costs

    def task(self, name: str) -> Task:
        """The task called `name`; raises ValueError with the nearest name otherwise."""
        if name not in self.tasks:
            raise unknown(f"task of {self.name}", name, list(self.tasks))
        return self.tasks[name]

    def parameters(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        """Trainable parameters of each network at the task's scale, ``LongTensor (batch,)``."""
        raise NotImplementedError(f"{self.name} has no count of parameters")

    def flops(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        """Multiply-adds of one forward pass at the task's scale, ``LongTensor (batch,)``."""
        raise NotImplementedError(f"{self.name} has no count of multiply-adds")


def _join(names: np.ndarray, before: Sequence[str], end: str) -> np.ndarray:
    """Join object columns of `names` with the text `before` each, and `end`."""
    text = before[0] + names[:, 0]
    for column in range(1, names.shape[1]):
        text = text + before[column] + names[:, column]
    return text + end


CHOICE_FEATURES = len(Choice("", "zero").features)
SLOT_FEATURES = len(SLOT_KINDS) + 8
