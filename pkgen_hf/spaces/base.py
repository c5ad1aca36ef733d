"""What a search space is: slots, choices described by what they are, and the relations between slots.

An architecture is a row of choice indices, one for each slot; every method here takes and returns whole batches,
``LongTensor (batch, slots)``. A space knows nothing of models or benchmarks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from ..errors import unknown

CHOICE_KINDS = (
    "zero",
    "identity",
    "convolution",
    "pooling",
    "linear",
    "graph-convolution",
    "inverted-bottleneck",
    "residual-block",
    "activation",
    "combination",
    "predecessor",
    "edge",
    "size",
)
AGGREGATIONS = ("", "mean", "max", "sum", "product", "blend", "normalized", "attention", "spectral")
ACTIVATIONS = ("", "tanh", "sigmoid", "leaky-relu")
SLOT_KINDS = ("operation", "connection", "width", "depth", "expansion", "kernel", "gate")
TASK_KINDS: dict[str, tuple[str, ...]] = {
    "image-classification": ("image", "classification"),
    "image-segmentation": ("image", "classification", "dense"),
    "image-regression": ("image", "regression"),
    "dense-regression": ("image", "regression", "dense"),
    "node-classification": ("graph", "classification"),
    "edge-classification": ("graph", "classification", "pairs"),
    "speech-recognition": ("sequence", "sound"),
    "language-modelling": ("sequence", "text"),
    "other": (),
}
TASK_TRAITS = ("image", "graph", "sequence", "sound", "text", "classification", "regression", "dense", "pairs")
RELATIONS = ("none", "self", "feeds", "fed-by", "parallel", "same-target", "same-source", "same-place")


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
        Receptive field in pixels, samples or hops of a graph, and dilation; 0 where it means nothing.
    stride, widening
        By how much the choice divides the resolution and multiplies the channels.
    expansion
        Of an inverted bottleneck: inner over outer channels.
    separable
        A depthwise-separable convolution.
    aggregation
        How inputs (of a pooling window, a graph or a node) are combined: one of `AGGREGATIONS`.
    activation
        One of `ACTIVATIONS`.
    root_weight
        A graph convolution with separate weights for the node itself.
    level
        Position on the slot's own scale, 0 to 1, for choices that are ordered (predecessors, widths, depths). Of a
        choice of two nodes (an edge, a pair of predecessors) their mean.
    spread
        Of a choice of two nodes: their distance, on the same scale.
    """

    name: str
    kind: str
    kernel: int = 0
    dilation: int = 1
    stride: int = 1
    widening: int = 1
    expansion: int = 0
    separable: bool = False
    aggregation: str = ""
    activation: str = ""
    root_weight: bool = False
    level: float = 0.0
    spread: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in CHOICE_KINDS:
            raise unknown("kind of choice", self.kind, CHOICE_KINDS)
        if self.aggregation not in AGGREGATIONS:
            raise unknown("aggregation", self.aggregation, AGGREGATIONS)
        if self.activation not in ACTIVATIONS:
            raise unknown("activation", self.activation, ACTIVATIONS)
        limits = {"kernel": 0, "expansion": 0, "dilation": 1, "stride": 1, "widening": 1}
        for field, least in limits.items():
            value = getattr(self, field)
            if value < least:
                raise ValueError(f"{field} of choice {self.name!r} must be at least {least}, got {value}")
        for field, value in {"level": self.level, "spread": self.spread}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{field} of choice {self.name!r} must be 0 to 1, got {value}")

    @property
    def identity(self) -> str:
        """What it is, in words that are the same in every space: equal choices of two spaces have equal identities."""
        parts = [self.kind, self.aggregation, self.activation]
        for letter, value, plain in [
            ("k", self.kernel, 0),
            ("d", self.dilation, 1),
            ("s", self.stride, 1),
            ("w", self.widening, 1),
            ("e", self.expansion, 0),
        ]:
            parts.append(f"{letter}{value}" if value != plain else "")
        parts += ["separable" if self.separable else "", "root" if self.root_weight else ""]
        if self.kind in ("predecessor", "edge", "size"):
            parts.append(f"{self.level:.2f}")
        parts.append(f"{self.spread:.2f}" if self.spread else "")
        return "-".join(part for part in parts if part)

    @property
    def features(self) -> list[float]:
        """The description as numbers."""
        weightless = ("zero", "identity", "pooling", "activation", "combination", "predecessor", "edge", "size")
        return [
            *(float(self.kind == kind) for kind in CHOICE_KINDS),
            *(float(self.aggregation == name) for name in AGGREGATIONS[1:]),
            *(float(self.activation == name) for name in ACTIVATIONS[1:]),
            math.log2(1 + self.kernel) / 3,
            float(self.dilation > 1),
            math.log2(self.stride),
            math.log2(self.widening),
            self.expansion / 6,
            float(self.separable),
            float(self.root_weight),
            float(self.kind not in weightless),
            self.level,
            self.spread,
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
        The node the slot contributes to, after all that it reads.
    cell
        Number of the cell it is in, where an architecture has several.

    Raises
    ------
    ValueError
        For an unknown kind, no choices or two of one name, or a node to read that is not before the one to write.
    """

    name: str
    kind: str
    choices: tuple[Choice, ...]
    reads: tuple[int, ...]
    writes: int
    cell: int = 0

    def __post_init__(self) -> None:
        if self.kind not in SLOT_KINDS:
            raise unknown("kind of slot", self.kind, SLOT_KINDS)
        if not self.choices:
            raise ValueError(f"slot {self.name!r} needs distinct choices, at least one; got none")
        for choice in self.choices:
            if not isinstance(choice, Choice):
                raise ValueError(f"choices of slot {self.name!r} are Choice objects, got {choice!r}")
        names = [choice.name for choice in self.choices]
        twice = _repeated(names)
        if twice is not None:
            raise ValueError(f"slot {self.name!r} needs distinct choices, got {names}: {twice!r} is there twice")
        if not isinstance(self.reads, Sequence):
            raise ValueError(f"slot {self.name!r} reads a tuple of nodes, e.g. ({self.reads},), got {self.reads!r}")
        wrong = [node for node in self.reads if not 0 <= node < self.writes]
        if wrong or self.writes < 1:
            node = f"node {wrong[0]}" if wrong else "nothing"
            raise ValueError(
                f"slot {self.name!r} reads {node} and writes node {self.writes}: nodes count from 0, the input, and a "
                f"slot writes a later node than those it reads"
            )
        object.__setattr__(self, "choices", tuple(self.choices))
        object.__setattr__(self, "reads", tuple(self.reads))


@dataclass(frozen=True)
class Task:
    """A data set on which a space's architectures are measured.

    `kind` is one of `TASK_KINDS`. `guess` is the score of guessing (in percent, where scores are), which is what a
    disconnected network is worth. `num_classes`, `image_size` (pixels; 0 where there are no images) and `num_features`
    set the network's scale for costs. `split` is the one whose scores select: ``"validation"``, or ``"test"`` where
    the benchmark publishes nothing else.
    """

    kind: str
    guess: float
    num_classes: int
    image_size: int = 0
    num_features: int = 0
    split: str = "validation"

    def __post_init__(self) -> None:
        if self.kind not in TASK_KINDS:
            raise unknown("kind of task", self.kind, TASK_KINDS)
        if self.split not in ("validation", "test"):
            raise unknown("split", self.split, ("validation", "test"))
        if not math.isfinite(self.guess):
            raise ValueError(f"the score of guessing must be a finite number, got {self.guess}")
        for field in ("num_classes", "image_size", "num_features"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} of a task cannot be below 0, got {getattr(self, field)}")


def _repeated(names: Sequence[str]) -> str | None:
    """The first name that is there a second time, if any."""
    return next((name for i, name in enumerate(names) if name in names[:i]), None)


class Graph(NamedTuple):
    """How an architecture, or a part of it such as a cell, is drawn.

    Parameters
    ----------
    title
        Of the part.
    nodes
        Text and kind of each: one of `CHOICE_KINDS`, or "" for inputs, outputs and sums. The last is the output.
    edges
        Numbers of two nodes, and text and kind of the operation between them ("" if there is none); without circles.
    """

    title: str
    nodes: list[tuple[str, str]]
    edges: list[tuple[int, int, str, str]]


def _relation(a: Slot, b: Slot) -> str:
    if a is b:
        return "self"
    if a.cell != b.cell:
        return "same-place" if (a.kind, a.reads, a.writes) == (b.kind, b.reads, b.writes) else "none"
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
        Name of the choice that stands for "nothing here" (or the names, where slots differ), used to remove an
        operation when contributions are measured.

    Raises
    ------
    ValueError
        For a name that cannot be part of a file's, no slots or two of one name, a task that is not a `Task`, a null
        choice that no slot has, or names of choices that the strings of this class cannot hold.
    """

    def __init__(
        self,
        name: str,
        slots: Sequence[Slot],
        tasks: Mapping[str, Task],
        null_choice: str | Sequence[str],
    ) -> None:
        self.name = name
        self.slots = tuple(slots)
        self.tasks = dict(tasks)
        self.null_choice = (null_choice,) if isinstance(null_choice, str) else tuple(null_choice)
        self._check_parts()
        self.num_slots = len(self.slots)
        self.num_choices = max(len(slot.choices) for slot in self.slots)
        self.num_nodes = 1 + max(slot.writes for slot in self.slots)

    def _check_parts(self) -> None:
        """Raise one clear ValueError for the first part that cannot be; see the class."""
        if not self.name or set(self.name) & set("/\\"):
            raise ValueError(f"the name of a space is part of file names: not empty, no slashes; got {self.name!r}")
        if not self.slots:
            raise ValueError(f"{self.name} needs at least one slot")
        for part in self.slots:
            if not isinstance(part, Slot):
                raise ValueError(f"slots of {self.name} are Slot objects, got {part!r}")
        twice = _repeated([slot.name for slot in self.slots])
        if twice is not None:
            raise ValueError(f"{self.name} has two slots called {twice!r}; each needs a name of its own")
        for name, task in self.tasks.items():
            if not isinstance(task, Task):
                raise ValueError(f"task {name!r} of {self.name} must be a Task, got {task!r}")
        names = list(dict.fromkeys(choice.name for slot in self.slots for choice in slot.choices))
        for null in self.null_choice:
            if null not in names:
                raise unknown(f"null choice of {self.name}, which no slot has", null, names)
        if not self.null_choice:
            raise ValueError(f"{self.name} needs a null choice, which stands for nothing here; one of {names}")
        if type(self).split_string is SearchSpace.split_string:
            for name in names:
                if "|" in name:
                    raise ValueError(f"choice {name!r} of {self.name}: strings of the space put | between choices")

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
        described = torch.zeros(self.num_slots, self.num_choices, CHOICE_FEATURES - COST_FEATURES)
        for s, slot in enumerate(self.slots):
            described[s, : len(slot.choices)] = torch.tensor([choice.features for choice in slot.choices])
        return torch.cat([described, self.cost_effects], dim=-1)

    @cached_property
    def cost_effects(self) -> torch.Tensor:
        """What each choice does to the cost of a network, ``FloatTensor (slots, choices, COST_FEATURES)``.

        Mean logarithm of multiply-adds, and of parameters, of random valid networks with the choice, less that of all,
        in standard deviations; and whether the space counts costs at all (all are 0 if not).
        """
        effects = torch.zeros(self.num_slots, self.num_choices, COST_FEATURES)
        rows = self.sample(8192, torch.Generator().manual_seed(0))
        rows = rows[self.is_valid(rows)]
        one_hot = torch.nn.functional.one_hot(rows, self.num_choices).float()
        try:
            costs = [self.flops(rows), self.parameters(rows)]
        except NotImplementedError:
            return effects
        for i, cost in enumerate(costs):
            logs = cost.double().clamp(min=1).log()
            score = ((logs - logs.mean()) / logs.std().clamp(min=1e-9)).float()
            effects[..., i] = torch.einsum("bsk,b->sk", one_hot, score) / one_hot.sum(0).clamp(min=1)
        effects[..., 2] = self.choice_mask
        return effects

    @cached_property
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
                    len(slot.choices) / 10,
                    float(slot.cell),
                    len(rows) / max(1, self.num_slots - 1),
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
        found = [
            [k for k, choice in enumerate(slot.choices) if choice.name in self.null_choice] for slot in self.slots
        ]
        return torch.tensor([indices[0] if indices else -1 for indices in found])

    @cached_property
    def node_slots(self) -> list[list[int]]:
        """Slots of each one-hop subgraph: a node with everything that comes into it."""
        nodes = sorted({(slot.cell, slot.writes) for slot in self.slots})
        return [[s for s, slot in enumerate(self.slots) if (slot.cell, slot.writes) == node] for node in nodes]

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
        """Integers that are equal just for equal rows, ``LongTensor (batch,)``.

        The row's number in `all_indices`; in a space of 2^63 encodings or more a 64-bit hash; two of a
        million differing rows collide with a chance of one in thirty million.
        """
        if self.num_encodings >= 2**63:
            return hash_rows(indices)
        radix = torch.cat([self.sizes.flip(0).cumprod(0).flip(0)[1:], torch.ones(1, dtype=torch.long)])
        return (indices * radix.to(indices.device)).sum(-1)

    def keys(self, indices: torch.Tensor) -> torch.Tensor:
        """Integers that are equal just for isomorphic architectures, ``LongTensor (batch,)``."""
        return self.codes(self.canonical(indices))

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        """The representative of each architecture's isomorphism class, ``LongTensor (batch, slots)``."""
        return indices

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        """Which rows are architectures of the space that connect input and output, ``BoolTensor (batch,)``."""
        return torch.ones(len(indices), dtype=torch.bool, device=indices.device)

    def is_connected(self, indices: torch.Tensor) -> torch.Tensor:
        """Which rows connect input and output, even if the space does not hold them, ``BoolTensor (batch,)``."""
        return self.is_valid(indices)

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

    @cached_property
    def identities(self) -> np.ndarray:
        """What each choice is in the words of `Choice.identity`, object array (slots, choices)."""
        names = np.full((self.num_slots, self.num_choices), "", dtype=object)
        for s, slot in enumerate(self.slots):
            names[s, : len(slot.choices)] = [choice.identity for choice in slot.choices]
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

    # ------------------------------------------------------------------ pictures

    def graphs(self, indices: Sequence[int]) -> list[Graph]:
        """What to draw of one architecture, part by part; none where that can be seen from the slots."""
        return []

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


def mix(values: torch.Tensor) -> torch.Tensor:
    """Scramble 64-bit integers, one to one (the finaliser of SplitMix64); for hashes that sum over sets."""
    values = (values ^ (values >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
    values = (values ^ (values >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
    return values ^ (values >> 31 & 0x1FFFFFFFF)


def hash_rows(rows: torch.Tensor) -> torch.Tensor:
    """64-bit hashes of rows of integers, ``LongTensor (batch, columns)`` to ``(batch,)``; the order counts."""
    place = mix(torch.arange(1, rows.shape[1] + 1, device=rows.device))
    return mix(mix(rows + place).sum(1))


def _join(names: np.ndarray, before: Sequence[str], end: str) -> np.ndarray:
    """Join object columns of `names` with the text `before` each, and `end`."""
    text = before[0] + names[:, 0]
    for column in range(1, names.shape[1]):
        text = text + before[column] + names[:, column]
    return text + end


COST_FEATURES = 3
CHOICE_FEATURES = len(Choice("", "zero").features) + COST_FEATURES
SLOT_FEATURES = len(SLOT_KINDS) + 10
