"""Networks of layers that repeat the same decisions, such as transformers: which slots decide what of which layer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..spaces import SearchSpace, Slot
from ..spaces.protocols import ArchitectureLike
from .texts import label, short_name

MOST_BOXES = 12  # layers that can be read as a chain of boxes
_NUMBER = re.compile(r"([^\d]*)(\d+(?:\.\d+)?)([^\d]*)")


@dataclass(frozen=True)
class Decision:
    """One kind of decision, which is made for each of several layers, such as the number of heads.

    Attributes
    ----------
    name : str
    slots : dict
        The slot that decides for a layer, by the number of the layer from 0.
    texts : tuple of str
        What each distinct choice is called in a picture, by its name.
    values : dict or None
        The number that each choice stands for, by its name; None unless all are numbers.
    """

    name: str
    slots: dict[int, int]
    texts: dict[str, str]
    values: dict[str, float] | None


@dataclass(frozen=True)
class PerLayer:
    """The decisions of a space of layers.

    Attributes
    ----------
    decisions : list of Decision
    shared : list of int
        Slots that decide for the whole network, or a stage of it.
    depths : list of int
        Slots that decide of how many layers each stage is; none of a network without stages.
    stages : list of int
        The stage of each layer, from 0; all 0 where there are none.
    layer_name, stage_name : str
    """

    decisions: list[Decision]
    shared: list[int]
    depths: list[int]
    stages: list[int]
    layer_name: str
    stage_name: str

    @property
    def numbers(self) -> list[str]:
        """Of each layer, from 1, within its stage."""
        return [str(1 + k - self.stages.index(stage)) for k, stage in enumerate(self.stages)]


def per_layer(space: SearchSpace) -> PerLayer | None:
    """The decisions of a space whose layers repeat the same ones; None for any other, or if there are few layers.

    Layers form a chain, each reads the one before, and they are too many for boxes or some do not always exist.
    """
    families = _families(space)
    number = max(map(len, families), default=0)
    if number < 2 or not (space.is_conditional or number > MOST_BOXES):
        return None
    columns: dict[tuple[int, int], int] = {}
    for family in families:
        if len(family) == number and not _number_layers([space.slots[s] for s in family], columns):
            return None
    if not _is_chain(space.slots):
        return None
    rows, shared, depths = _split(space, families, columns)
    names = [_names([space.slots[s] for s in row.values()]) for row in rows]
    decisions = [_decision(space, name, row) for (name, _, _), row in zip(names, rows, strict=True)]
    return PerLayer(decisions, shared, depths, _stages(space, rows, number), *names[0][1:])


def _families(space: SearchSpace) -> list[list[int]]:
    """Slots of the same kind and of the same name but for its numbers, in one place of each node.

    Slots that never have an effect are left out.
    """
    families: dict[tuple[str, str, int], list[int]] = {}
    places: Counter[tuple[int, int, str, str]] = Counter()
    never = {slot.name for slot in space.slots if slot.active_if is not None and not slot.active_if[1]}
    for s, slot in enumerate(space.slots):
        if slot.name in never or (slot.active_if is not None and slot.active_if[0] in never):
            never.add(slot.name)
            continue
        form = re.sub(r"\d+", "#", slot.name)
        node = slot.cell, slot.writes, slot.kind, form
        families.setdefault((slot.kind, form, places[node]), []).append(s)
        places[node] += 1
    return list(families.values())


def _number_layers(slots: Sequence[Slot], columns: dict[tuple[int, int], int]) -> bool:
    """Number the nodes that a decision's slots write; False if they form no chain, or not the one of the others."""
    reads = [(slot.cell, *slot.reads) for slot in slots]
    in_order = all(a < b for a, b in zip(reads, reads[1:], strict=False))
    return in_order and all(columns.setdefault((slot.cell, slot.writes), k) == k for k, slot in enumerate(slots))


def _is_chain(slots: Sequence[Slot]) -> bool:
    """Whether no slot chooses what it reads, and all that write a node read the same one."""
    read: dict[tuple[int, int], tuple[int, ...]] = {}
    choosing = any(slot.kind == "connection" or len(slot.reads) > 1 for slot in slots)
    return not choosing and all(read.setdefault((slot.cell, slot.writes), slot.reads) == slot.reads for slot in slots)


def _split(
    space: SearchSpace, families: list[list[int]], columns: dict[tuple[int, int], int]
) -> tuple[list[dict[int, int]], list[int], list[int]]:
    """Of each decision about layers the slots by layer, the slots that decide for more, and the depths of stages."""
    controlling = set(space.controlling_slots.tolist())
    rows: list[dict[int, int]] = []
    shared: list[int] = []
    depths: list[int] = []
    for family in families:
        nodes = [(space.slots[s].cell, space.slots[s].writes) for s in family]
        is_depth = space.slots[family[0]].kind == "depth" and controlling.issuperset(family)
        layers = {columns[node]: s for node, s in zip(nodes, family, strict=True) if node in columns}
        if len(layers) == len(family) > 1 and not (is_depth and len(family) < 1 + max(columns.values())):
            rows.append(layers)
        elif is_depth and len(family) > 1:
            depths += family
        else:
            shared += family
    return rows, sorted(shared), depths


def _names(slots: Sequence[Slot]) -> tuple[str, str, str]:
    """What the names of a decision's slots call the decision, the layer and the stage: "stage 2 block 1 kernel"."""
    words = re.split(r"[\s_.:-]+", re.sub(r"(\d+)", " # ", slots[0].name).strip())
    places = [k for k, word in enumerate(words) if word == "#"]
    if not places:
        return short_name(slots[0].name), "layer", "stage"
    name, before = words[places[-1] + 1 :], words[: places[0]]
    if not name:
        return " ".join(before) or slots[0].kind, "layer", "stage"
    layer = words[places[-1] - 1] if places[-1] else "layer"
    return " ".join(name), layer, " ".join(before) if len(places) > 1 and before else "stage"


def _decision(space: SearchSpace, name: str, row: dict[int, int]) -> Decision:
    slots = [space.slots[s] for s in row.values()]
    choices = {choice.name: choice for slot in slots for choice in slot.choices}
    texts = {key: label(choice).replace("\n", " ") for key, choice in choices.items()}
    found = [_NUMBER.fullmatch(key) for key in choices]
    around = {(match[1], match[3]) for match in found if match}
    if slots[0].kind == "operation" or None in found or len(around) > 1:
        return Decision(name, row, texts, None)
    numbers = {key: match[2] for key, match in zip(choices, found, strict=True) if match}
    return Decision(name, row, numbers, {key: float(text) for key, text in numbers.items()})


def _stages(space: SearchSpace, rows: list[dict[int, int]], number: int) -> list[int]:
    """The stage of each layer: layers whose existence depends on one slot, and those that always exist before them."""
    controlling = space.controlling_slots.tolist()
    own = {s for row in rows for s in row.values()}
    roots: dict[int, int] = {}  # the slot on which each layer depends
    for row in rows:
        for layer, root in row.items():
            while controlling[root] >= 0:
                root = controlling[root]
            if root not in own:
                roots[layer] = root
    if len(set(roots.values())) < 2:
        return [0] * number
    following = roots[max(roots)]
    for layer in reversed(range(number)):
        following = roots.setdefault(layer, following)
    order = list(dict.fromkeys(roots[layer] for layer in range(number)))
    return [order.index(roots[layer]) for layer in range(number)]


# ---------------------------------------------------------------------- of one architecture


@dataclass(frozen=True)
class LayerChoices:
    """What an architecture has of a space of layers: only the layers that exist.

    Attributes
    ----------
    layers : list of int
        Numbers of the layers, from 0.
    rows : list of dict
        For each decision the slot and the name of its choice by the number of the layer, where it has an effect.
    shared : list of str
        Decisions for the whole network as texts, such as "embed dim 768".
    """

    layers: list[int]
    rows: list[dict[int, tuple[int, str]]]
    shared: list[str]


def layer_choices(architecture: ArchitectureLike, form: PerLayer) -> LayerChoices:
    """Sort what was chosen by decision and layer; slots without effect are left out."""
    space = architecture.space
    active = space.active_slots(torch.tensor([architecture.indices], device="cpu"))[0].tolist()
    names = [slot.choices[k].name for slot, k in zip(space.slots, architecture.indices, strict=True)]
    rows = [{layer: (s, names[s]) for layer, s in decision.slots.items() if active[s]} for decision in form.decisions]
    shared = [_shared_text(space.slots[s].name, names[s]) for s in form.shared if active[s]]
    return LayerChoices(sorted({layer for row in rows for layer in row}), rows, shared)


def _shared_text(slot: str, choice: str) -> str:
    """A slot and its choice as one text: "embed dim 768", "layers 12", "no bias"."""
    name, value = short_name(slot), short_name(choice)
    if name.lower() in value.lower():
        return value.replace("-", " ")
    if match := re.fullmatch(r"[a-z]{1,2}(\d[\d.]*)", choice):
        value = match[1]  # "d12" of a depth
    return f"{name} {value}"


def describe(architecture: ArchitectureLike) -> str:
    """An architecture in words, for those who cannot see its picture; its string, unless it is one of layers."""
    form = per_layer(architecture.space)
    if form is None:
        return str(architecture)
    chosen = layer_choices(architecture, form)
    parts = [", ".join(chosen.shared)] if chosen.shared else []
    parts.append(f"{len(chosen.layers)} {form.layer_name}s")
    for decision, row in zip(form.decisions, chosen.rows, strict=True):
        texts = [decision.texts[row[layer][1]] if layer in row else "none" for layer in chosen.layers]
        parts.append(f"{decision.name} by {form.layer_name}: {', '.join(texts)}")
    return "; ".join(parts)
