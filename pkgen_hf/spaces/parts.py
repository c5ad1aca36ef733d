"""What a search space is made of: choices described by what they are, slots by where they sit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, wraps
from numbers import Real
from typing import Any, NamedTuple, TypeVar

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
RELATIONS = ("none", "self", "feeds", "fed-by", "parallel", "same-target", "same-source", "same-place")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


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
        Of an inverted bottleneck, or of the MLP of a transformer layer: inner over outer width.
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
    is_drawn
        Whether the choice is among those that are sampled and generated. One that is not, such as ``none`` in DARTS
        cells, is read, counted and built; it is generated only with a prior in whose good architectures it is.
    """

    name: str
    kind: str
    kernel: int = 0
    dilation: int = 1
    stride: int = 1
    widening: int = 1
    expansion: float = 0
    separable: bool = False
    aggregation: str = ""
    activation: str = ""
    root_weight: bool = False
    level: float = 0.0
    spread: float = 0.0
    is_drawn: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in CHOICE_KINDS:
            raise unknown("kind of choice", self.kind, CHOICE_KINDS)
        if self.aggregation not in AGGREGATIONS:
            raise unknown("aggregation", self.aggregation, AGGREGATIONS[1:])
        if self.activation not in ACTIVATIONS:
            raise unknown("activation", self.activation, ACTIVATIONS[1:])
        limits = {"kernel": 0, "expansion": 0, "dilation": 1, "stride": 1, "widening": 1}
        for name, least in limits.items():
            value = getattr(self, name)
            if not _is_number(value) or value < least:
                raise ValueError(f"{name} of choice {self.name!r} must be a number from {least}, got {value!r}")
        for name, value in {"level": self.level, "spread": self.spread}.items():
            if not _is_number(value) or not 0 <= value <= 1:
                raise ValueError(f"{name} of choice {self.name!r} must be a number from 0 to 1, got {value!r}")

    @property
    def identity(self) -> str:
        """The description as text, without the name: equal choices of two spaces have equal identities."""
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
    active_if
        Name of an earlier slot, and those of its choices with which this slot has an effect, e.g.
        ``("depth", ("11", "12"))`` for a decision about the eleventh layer; with no choices it never has one. By
        default a slot always has an effect. A slot that depends on an inactive one is inactive.

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
    active_if: tuple[str, tuple[str, ...]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in SLOT_KINDS:
            raise unknown("kind of slot", self.kind, SLOT_KINDS)
        if not self.choices:
            raise ValueError(f"slot {self.name!r} needs distinct choices, at least one; got none")
        for choice in self.choices:
            if not isinstance(choice, Choice):
                raise ValueError(f"choices of slot {self.name!r} are Choice objects, got {choice!r}")
        names = [choice.name for choice in self.choices]
        twice = repeated(names)
        if twice is not None:
            raise ValueError(f"slot {self.name!r} needs distinct choices, got {names}: {twice!r} is there twice")
        drawn = [choice.is_drawn for choice in self.choices]
        if not drawn[0] or sorted(drawn, reverse=True) != drawn:
            raise ValueError(f"slot {self.name!r} needs the choices that are drawn, at least one, before the others")
        if not isinstance(self.writes, int):
            raise ValueError(f"slot {self.name!r} writes one node, a whole number, got {self.writes!r}")
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


def repeated(names: Sequence[str]) -> str | None:
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


def relation(a: Slot, b: Slot) -> str:
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


def mix(values: torch.Tensor) -> torch.Tensor:
    """Scramble 64-bit integers, one to one (the finaliser of SplitMix64); for hashes that sum over sets."""
    values = (values ^ (values >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
    values = (values ^ (values >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
    return values ^ (values >> 31 & 0x1FFFFFFFF)


def group_means(values: torch.Tensor, which: torch.Tensor, number: int) -> torch.Tensor:
    """Means over groups, in 64 bits: ``DoubleTensor (number,)``. NaN counts nowhere; a group of nothing else is NaN.

    Parameters
    ----------
    values
        ``FloatTensor (n,)``
    which
        The group of each, ``LongTensor (n,)``.
    """
    known = ~values.isnan()
    total = torch.zeros(number, dtype=torch.double).index_add_(0, which[known], values[known].double())
    return total / which[known].bincount(minlength=number)


def hash_rows(rows: torch.Tensor) -> torch.Tensor:
    """64-bit hashes of rows of integers, ``LongTensor (batch, columns)`` to ``(batch,)``; the order counts."""
    place = mix(torch.arange(1, rows.shape[1] + 1, device=rows.device))
    return mix(mix(rows + place).sum(1))


_Made = TypeVar("_Made")


def constant(make: Callable[..., _Made]) -> Callable[..., _Made]:
    """Decorator of what makes tensors that are kept: on the CPU and fit for training, wherever they are first used.

    Neither torch's default device nor inference mode at that moment shows in them.
    """

    @wraps(make)
    def made(*args: Any) -> _Made:
        with torch.device("cpu"), torch.inference_mode(False):
            return make(*args)

    return made


def device_of(generator: torch.Generator | None) -> torch.device:
    """Where a generator draws; the CPU if there is none, even where torch's default is another device."""
    return torch.device("cpu") if generator is None else generator.device


@cache
def on_device(make: Callable[[], torch.Tensor], device: torch.device) -> torch.Tensor:
    """The constant tensor that `make` returns, copied to a device once."""
    return make().to(device)


COST_FEATURES = 3  # how many numbers say what a choice does to costs
CHOICE_FEATURES = len(Choice("", "zero").features) + COST_FEATURES
SLOT_FEATURES = len(SLOT_KINDS) + 10
