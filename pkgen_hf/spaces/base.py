"""What a search space is: slots, choices described by what they are, and the relations between slots.

An architecture is a row of choice indices, one for each slot; every method here takes and returns whole batches,
``LongTensor (batch, slots)``. A space knows nothing of models or benchmarks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import CodeType
from typing import Any

import numpy as np
import torch

from ..errors import one_line, shortened, unknown
from .parts import (
    CHOICE_FEATURES,
    COST_FEATURES,
    RELATIONS,
    SLOT_KINDS,
    TASK_KINDS,
    Graph,
    Slot,
    Task,
    constant,
    device_of,
    hash_rows,
    relation,
    repeated,
)
from .pasted import literal, read_bare

FEW = 2**15  # encodings of a space that may be listed at every turn
RESERVED: dict[str, type[SearchSpace]] = {}  # names of the spaces of this package, each with the one class that has it


class SearchSpace:
    """Slots, choices and their relations; strings, canonical form, validity, sampling and costs on whole batches.

    A space made from this class directly writes its strings as choice names joined by ``|``, holds every
    architecture valid and distinct, and counts no costs. The spaces of the benchmarks override those parts.

    Two spaces are equal if their names, classes (by the code of their methods), slots (with all their choices, in
    order) and null choices are: a space that is defined twice in the same way is one space, and one that has changed
    is another, whatever its name.

    Parameters
    ----------
    name
        e.g. ``"residual-cell"``; those of the spaces that come with the package are taken.
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
        For a name that cannot be part of a file's or is taken, no slots or two of one name, a task that is not a
        `Task`, a null choice that no slot has, or names of choices that the strings of this class cannot hold.
    """

    def __init__(
        self,
        name: str,
        slots: Sequence[Slot],
        tasks: Mapping[str, Task],
        null_choice: str | Sequence[str],
    ) -> None:
        self.name = name
        if not isinstance(slots, Sequence):
            raise ValueError(f"slots of {shortened(name)} must be a list of Slot objects, got {shortened(slots)}")
        if not isinstance(tasks, Mapping):
            raise ValueError(f"tasks of {shortened(name)} must be Task objects by name, got {shortened(tasks)}")
        if not isinstance(null_choice, Sequence):
            raise ValueError(f"null_choice of {shortened(name)} must be a name or names, got {shortened(null_choice)}")
        self.slots = tuple(slots)
        self.tasks = dict(tasks)
        self.null_choice = (null_choice,) if isinstance(null_choice, str) else tuple(null_choice)
        self._check_parts()
        self.num_slots = len(self.slots)
        self.num_choices = max(len(slot.choices) for slot in self.slots)
        self.num_nodes = 1 + max(slot.writes for slot in self.slots)

    def _check_parts(self) -> None:
        """Raise one clear ValueError for the first part that cannot be; see the class."""
        if not isinstance(self.name, str) or not self.name.strip(".") or set(self.name) & set("/\\"):
            raise ValueError(
                f"the name of a space is part of file names: not empty, no slashes; got {shortened(self.name)}"
            )
        if RESERVED.get(self.name, type(self)) is not type(self):
            raise ValueError(f"the name {self.name!r} is taken by a space of this package; give yours another")
        if not self.slots:
            raise ValueError(f"{self.name} needs at least one slot")
        for part in self.slots:
            if not isinstance(part, Slot):
                raise ValueError(f"slots of {self.name} are Slot objects, got {part!r}")
        twice = repeated([slot.name for slot in self.slots])
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

    # ------------------------------------------------------------------ identity

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what makes the space what it is: class, name, slots with their choices in order, null choices."""
        parts = (type(self).__qualname__, self.name, self.slots, self.null_choice)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        if self is other or self.fingerprint != other.fingerprint:
            return self is other
        return type(self) is type(other) or _behaviour(type(self)) == _behaviour(type(other))

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def check_same(self, other: SearchSpace, what: str, hint: str = "") -> None:
        """Raise ValueError unless `other`, the space that `what` is of, is this one; `hint` says what may help."""
        if other == self:
            return
        if other.name != self.name:
            raise ValueError(f"{what} is of {other.name}, not of {self.name}{hint}")
        raise ValueError(
            f"{what} is of another space that is called {self.name!r} too: {self._difference(other)}{hint}"
        )

    def _difference(self, other: SearchSpace) -> str:
        """The first thing in which another space of the same name differs, in words."""
        if len(self.slots) != len(other.slots):
            return f"it has {len(other.slots)} slots, this one {len(self.slots)}"
        for number, (here, there) in enumerate(zip(self.slots, other.slots, strict=True)):
            names = [[choice.name for choice in slot.choices] for slot in (here, there)]
            if here.name != there.name:
                return f"its slot {number} is {there.name!r}, here it is {here.name!r}"
            if names[0] != names[1]:
                return f"choices of its slot {here.name!r} are {', '.join(names[1])}; here {', '.join(names[0])}"
            if here != there:
                return f"its slot {here.name!r} or one of its choices is described otherwise"
        return "its class or its null choice differs"

    @cached_property
    def checked(self) -> SearchSpace:
        """The space itself, once its class is found to answer as methods that a class overrides must.

        Raises
        ------
        ValueError
            If `is_valid` gives no ``BoolTensor (batch,)`` or `canonical` no ``LongTensor (batch, slots)``.
        """
        if type(self) is SearchSpace or self.name in RESERVED:
            return self
        rows = self.sample(3, torch.Generator().manual_seed(0))
        for method, shape, dtype in (("is_valid", (3,), torch.bool), ("canonical", tuple(rows.shape), torch.long)):
            found = getattr(self, method)(rows)
            if not isinstance(found, torch.Tensor) or (tuple(found.shape), found.dtype) != (shape, dtype):
                got = (tuple(found.shape), found.dtype) if isinstance(found, torch.Tensor) else type(found).__name__
                raise ValueError(
                    f"{method} of {type(self).__name__} must return a tensor of shape {shape} and type {dtype} for 3 "
                    f"architectures, got {got}"
                )
        return self

    # ------------------------------------------------------------------ description, as tensors

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
    def choice_descriptions(self) -> torch.Tensor:
        """What each choice is, costs aside, ``FloatTensor (slots, choices, CHOICE_FEATURES - COST_FEATURES)``."""
        shape = (self.num_slots, self.num_choices, CHOICE_FEATURES - COST_FEATURES)
        described = torch.zeros(shape, dtype=torch.float32)
        for s, slot in enumerate(self.slots):
            described[s, : len(slot.choices)] = torch.tensor([choice.features for choice in slot.choices])
        return described

    @cached_property
    @constant
    def choice_features(self) -> torch.Tensor:
        """What each choice is, ``FloatTensor (slots, choices, CHOICE_FEATURES)``, zero where there is none."""
        return torch.cat([self.choice_descriptions, self.cost_effects], dim=-1)

    @cached_property
    @constant
    def cost_effects(self) -> torch.Tensor:
        """What each choice does to the cost of a network, ``FloatTensor (slots, choices, COST_FEATURES)``.

        Mean logarithm of multiply-adds, and of parameters, of random valid networks with the choice, less that of all,
        in standard deviations; and whether the space counts costs at all (all are 0 if not).
        """
        from .cost_effects import measured_effects, shipped_effects

        shipped = shipped_effects(self)
        return measured_effects(self) if shipped is None else shipped

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
                    len(slot.choices) / 10,
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
        """Number of distinct valid architectures; of more than `FEW` encodings, unless the class counts, theirs."""
        if self.valid_rows is None:
            return self.num_encodings
        return len(self.keys(self.valid_rows).unique())

    # ------------------------------------------------------------------ indices

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
            if array.dtype.kind not in "iuf" and array.size:
                raise ValueError(f"they are of the type {array.dtype}")
            return torch.from_numpy(np.array(array, np.float64 if array.dtype.kind == "f" else np.int64))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{self.name} takes rows of {self.num_slots} whole numbers as indices, got {shortened(indices)}: "
                f"{one_line(error)}"
            ) from None

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

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        """The representative of each architecture's isomorphism class, ``LongTensor (batch, slots)``."""
        return indices

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        """What a regression of scores on architectures looks at, ``FloatTensor (batch, features)``.

        Equal for isomorphic architectures: the choices of the canonical form, one-hot.
        """
        one_hot = torch.nn.functional.one_hot(self.canonical(indices), self.num_choices)
        return one_hot[:, self.choice_mask.to(indices.device)].float()

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        """Which rows are architectures of the space that connect input and output, ``BoolTensor (batch,)``."""
        return torch.ones(len(indices), dtype=torch.bool, device=indices.device)

    def is_connected(self, indices: torch.Tensor) -> torch.Tensor:
        """Which rows connect input and output, even if the space does not hold them, ``BoolTensor (batch,)``."""
        return self.is_valid(indices)

    def sample(self, num: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw every slot uniformly, ``LongTensor (num, slots)`` on the generator's device, the CPU without one."""
        device = device_of(generator)
        chance = torch.rand(num, self.num_slots, generator=generator, dtype=torch.float32, device=device)
        return (chance * self.sizes.to(device)).long()

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
        """Read the benchmark's own strings, also with white space or quotes around them.

        Returns
        -------
        LongTensor (batch, slots)

        Raises
        ------
        ValueError
            For what is no text, or a string that is none of this space; it says which part is wrong and what is
            allowed.
        """
        rows = [read_bare(text, self._row) for text in self._as_texts(strings)]
        return torch.tensor(rows, dtype=torch.long, device="cpu").reshape(len(rows), self.num_slots)

    def _as_texts(self, strings: Sequence[str]) -> list[str]:
        """`strings` as a list; ValueError if they are not texts."""
        if isinstance(strings, (str, bytes)) or not isinstance(strings, Iterable):
            raise ValueError(f"{self.name} strings are read from a list of them, got {shortened(strings)}")
        texts = list(strings)
        for text in texts:
            if not isinstance(text, str):
                kind = type(text).__name__
                raise ValueError(f"a {self.name} string is text (str), got {shortened(text)} of type {kind}")
        return texts

    def _row(self, text: str) -> list[int]:
        """Choices of one string."""
        row = []
        for slot, index, name in zip(self.slots, self.choice_index, self.split_string(text), strict=True):
            known = name if name in index else name.strip()
            if known not in index:
                raise unknown(f"choice in slot {slot.name!r} of {self.name}", name, index, text)
            row.append(index[known])
        return row

    def to_strings(self, indices: torch.Tensor) -> list[str]:
        """Write the benchmark's own strings for ``LongTensor (batch, slots)``."""
        names = self.choice_names[np.arange(self.num_slots)[None, :], indices.cpu().numpy()]
        return self.join_names(names).tolist()

    def split_string(self, text: str) -> list[str]:
        """Choice names, one for each slot, of one string."""
        names = text.split("|")
        if len(names) != self.num_slots:
            raise self.malformed(text, f"{len(names)} choices between |, not {self.num_slots}")
        return names

    def join_names(self, names: np.ndarray) -> np.ndarray:
        """Strings, object array (batch,), from choice names (batch, slots)."""
        return join_columns(names, ["", *["|"] * (self.num_slots - 1)], "")

    @property
    def example(self) -> str:
        """A well-formed string, shown in error messages."""
        return self.to_strings(self.sizes[None] - 1)[0]

    def malformed(self, text: str, reason: str = "") -> ValueError:
        """The error for a string that is not of this space's form, with the reason first."""
        start = f"{reason}: " if reason else ""
        return ValueError(
            f"{start}{shortened(text)} is not a {self.name} string; one looks like {shortened(self.example, 120)}"
        )

    def _literal(self, text: str) -> Any:
        """The value that `text` writes, in JSON or as Python does; the error of `malformed` if it writes none."""
        try:
            return literal(text)
        except ValueError as error:
            raise self.malformed(text, str(error)) from error

    def _numbers(self, text: str) -> list[str]:
        """Decimals of a list of whole numbers."""
        value = self._literal(text)
        if not (isinstance(value, list) and all(type(number) is int for number in value)):
            raise self.malformed(text, "it is no list of whole numbers")
        return [str(number) for number in value]

    # ------------------------------------------------------------------ pictures

    def graphs(self, indices: Sequence[int]) -> list[Graph]:
        """What to draw of one architecture, part by part; none where that can be seen from the slots."""
        return []

    # ------------------------------------------------------------------ tasks and costs

    def task(self, name: str) -> Task:
        """The task called `name`; raises ValueError with the nearest name otherwise."""
        if not isinstance(name, str) or name not in self.tasks:
            raise unknown(f"task of {self.name}", name, list(self.tasks))
        return self.tasks[name]

    def data_set(self, task: str | None) -> str | None:
        """The task at whose scale costs are counted: `task` itself, of a kind the first of it, else the first of all.

        None for a space without tasks; ValueError for what is neither a task of the space nor a kind of task.
        """
        if task is None or (isinstance(task, str) and task in self.tasks):
            return task or next(iter(self.tasks), None)
        if not isinstance(task, str) or task not in TASK_KINDS:
            self.task(task)
        alike = (name for name, known in self.tasks.items() if known.kind == task)
        return next(alike, next(iter(self.tasks), None))

    def scale(self, task: str) -> dict[str, Any]:
        """Options of `pkgen_hf.networks.build` for the network whose costs are counted for a task, if not defaults."""
        return {}

    def parameters(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        """Trainable parameters of each network at the task's scale, ``LongTensor (batch,)``."""
        raise NotImplementedError(f"{self.name} has no count of parameters")

    def flops(self, indices: torch.Tensor, task: str | None = None) -> torch.Tensor:
        """Multiply-adds of one forward pass at the task's scale, ``LongTensor (batch,)``."""
        raise NotImplementedError(f"{self.name} has no count of multiply-adds")


def _behaviour(kind: type[SearchSpace]) -> tuple[Any, ...]:
    """What a class does beyond `SearchSpace`, as the code of its methods; equal for a class that is defined twice."""
    own = kind.__mro__[: kind.__mro__.index(SearchSpace)]
    found = [(name, getattr(method, "func", method)) for each in own for name, method in vars(each).items()]
    return tuple((name, _plain(method.__code__)) for name, method in found if hasattr(method, "__code__"))


def _plain(code: CodeType) -> tuple[Any, ...]:
    constants = [_plain(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return code.co_code, code.co_names, tuple(constants)


def join_columns(names: np.ndarray, before: Sequence[str], end: str) -> np.ndarray:
    """Join object columns of `names` with the text `before` each, and `end`."""
    text = before[0] + names[:, 0]
    for column in range(1, names.shape[1]):
        text = text + before[column] + names[:, column]
    return text + end
