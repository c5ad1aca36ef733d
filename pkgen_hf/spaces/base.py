"""What a search space is: slots, choices described by what they are, and the relations between slots.

An architecture is a row of choice indices, one for each slot; every method here takes and returns whole batches,
``LongTensor (batch, slots)``. A space knows nothing of models or benchmark tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from ..errors import shortened, unknown
from .benchmark import Origin, Package
from .built_costs import BuiltCosts
from .identity import behaviour, difference, fingerprint
from .parts import Graph, Slot, repeated
from .strings import Strings
from .tasks import TASK_KINDS, Task, TaskLike, data_of, kind_of

Build = Callable[[Sequence[str], Task], Any]
"""From names of choices, one for each slot, and a task to a ``torch.nn.Module``."""
RESERVED: dict[str, type[SearchSpace]] = {}  # names of the spaces of this package, each with the one class that has it


class SearchSpace(Strings):
    """Slots, choices and their relations; strings, canonical form, validity, sampling and costs on whole batches.

    A space made from this class directly writes its strings as choice names joined by ``|``, holds every
    architecture valid and distinct, and counts costs only with `build`. The spaces of the benchmarks override those
    parts.

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
    build
        Makes the network of an architecture at the scale of a task: ``build(choices, task)`` takes the names of the
        choices, a tuple in the order of the slots, and a `Task` (its ``num_classes``, ``in_channels``, ...), and
        returns a ``torch.nn.Module``. Costs are then counted on such networks (see `pkgen_hf.spaces.built_costs`),
        and `Architecture.build` makes them. A class may have it as a method.

    Attributes
    ----------
    summary : str
        What the space is, in a few words, for lists.
    origin : Origin or None
        Of the benchmark's measurements.
    package : Package or None
        PyPI package that contains the benchmark's table.
    latencies : mapping
        Published tables of latencies of the space's networks: their origins by the name of the data set.
    presets : mapping
        How networks of the space are trained on images: for each name of a preset the settings of
        ``recipes/presets.py`` that differ from their defaults. The first is used where none is named.
    context : int or None
        Tokens of context of language models as the benchmark evaluates them, the default length of their KV cache.
    is_built_in : bool
        Whether the space comes with the package, under its name.

    Raises
    ------
    ValueError
        For a name that cannot be part of a file's or is taken, no slots or two of one name, a task that is not a
        `Task`, a null choice that no slot has, or names of choices that the strings of this class cannot hold.
    """

    summary: str = ""
    origin: Origin | None = None
    package: Package | None = None
    latencies: Mapping[str, Origin] = {}
    presets: Mapping[str, Mapping[str, Any]] = {}
    is_built_in = False
    build: Build | None = None

    def __init__(
        self,
        name: str,
        slots: Sequence[Slot],
        tasks: Mapping[str, Task],
        null_choice: str | Sequence[str],
        build: Build | None = None,
    ) -> None:
        self.name = name
        if build is not None:
            self.build = build
        if self.build is not None and not callable(self.build):
            raise ValueError(f"build of {shortened(name)} must be a function, got {shortened(self.build)}")
        if not isinstance(slots, Sequence):
            raise ValueError(f"slots of {shortened(name)} must be a list of Slot objects, got {shortened(slots)}")
        if not isinstance(tasks, Mapping):
            raise ValueError(f"tasks of {shortened(name)} must be Task objects by name, got {shortened(tasks)}")
        if not isinstance(null_choice, Sequence):
            raise ValueError(f"null_choice of {shortened(name)} must be a name or names, got {shortened(null_choice)}")
        self.slots = tuple(slots)
        self.tasks = {task: _named(data, task) for task, data in tasks.items()}
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
        for number, slot in enumerate(self.slots):
            if slot.active_if is None:
                continue
            name, choices = slot.active_if
            earlier = {other.name: [choice.name for choice in other.choices] for other in self.slots[:number]}
            if name not in earlier:
                raise unknown(f"earlier slot of {self.name}, on which slot {slot.name!r} depends", name, earlier)
            for choice in choices:
                if choice not in earlier[name]:
                    raise unknown(
                        f"choice of slot {name!r}, on which slot {slot.name!r} depends", choice, earlier[name]
                    )
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

    # ------------------------------------------------------------------ costs of built networks

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Trainable parameters of each network at the task's scale, ``LongTensor (batch,)``.

        A space that does not override it counts those of the networks that its `build` makes, and raises
        NotImplementedError without `build`, or for more than a few networks whose costs are no sums over choices.
        """
        if self.build is None:
            return super().parameters(indices, task)
        return self._built_costs(task).counts(indices)[:, 0]

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of one forward pass at the task's scale, ``LongTensor (batch,)``, as `parameters`."""
        if self.build is None or (costs := self._built_costs(task)).reads_graphs:
            return super().flops(indices, task)
        return costs.counts(indices)[:, 1]

    def log_costs(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Logarithms of multiply-adds and of parameters, exact or not; see `Costs.log_costs`."""
        is_counted = type(self).parameters is not SearchSpace.parameters
        if is_counted or self.build is None:
            return super().log_costs(indices, task)
        return self._built_costs(task).log_costs(indices)

    def _built_costs(self, task: TaskLike | None) -> BuiltCosts:
        """Costs of built networks at the scale of a task, by default of the first data set."""
        name = next(iter(self.tasks), None) if task is None else task
        data = Task("other", 0.0) if name is None else self.task(name)
        return self._counted.setdefault(data.shape, BuiltCosts(self, data))

    @cached_property
    def _counted(self) -> dict[tuple[Any, ...], BuiltCosts]:
        """By the shape of the task."""
        return {}

    # ------------------------------------------------------------------ identity

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what makes the space what it is: class, name, slots with their choices in order, null choices."""
        return fingerprint(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        if self is other or self.fingerprint != other.fingerprint:
            return self is other
        kinds = type(self), type(other)
        return kinds[0] is kinds[1] or behaviour(kinds[0], SearchSpace) == behaviour(kinds[1], SearchSpace)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def check_same(self, other: SearchSpace, what: str, hint: str = "") -> None:
        """Raise ValueError unless `other`, the space that `what` is of, is this one; `hint` says what may help."""
        if other == self:
            return
        if other.name != self.name:
            raise ValueError(f"{what} is of {other.name}, not of {self.name}{hint}")
        raise ValueError(
            f"{what} is of another space that is called {self.name!r} too: {difference(self, other)}{hint}"
        )

    @cached_property
    def checked(self) -> SearchSpace:
        """The space itself, once its class is found to answer as methods that a class overrides must.

        Raises
        ------
        ValueError
            If `is_valid` gives no ``BoolTensor (batch,)`` or `canonical` no ``LongTensor (batch, slots)``.
        """
        if type(self) is SearchSpace or self.is_built_in:
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

    # ------------------------------------------------------------------ tasks and networks

    def task(self, task: TaskLike) -> Task:
        """The task of a name; ValueError with the nearest name if there is none.

        Of a `Task` it is the space's own, if that has the same name and shape; else the given one, of which sizes of 0
        become those of the data set that it is `like`. Data of another sort than the space's are refused.
        """
        if isinstance(task, Task):
            return self._own_task(task)
        if not isinstance(task, str) or task not in self.tasks:
            raise unknown(f"task of {self.name}", task, list(self.tasks))
        return self.tasks[task]

    def _check_data(self, kind: str) -> None:
        """Raise ValueError for a kind of task whose data are of another sort than those of all tasks of the space."""
        known = list(dict.fromkeys(task.kind for task in self.tasks.values()))
        read, given = {data_of(one) for one in known} - {""}, data_of(kind)
        if not given or not read or given in read:
            return
        allowed = sorted(
            (one for one in TASK_KINDS if data_of(one) in {*read, ""}),
            key=lambda one: (-len({*TASK_KINDS[one]} & {*TASK_KINDS[kind]}), one not in known, one == "other"),
        )
        raise ValueError(
            f"networks of {self.name} read {' and '.join(sorted(read))}, and a task of {kind} is of {given}. "
            f"Did you mean {allowed[0]!r}? Allowed: {', '.join(allowed)}."
        )

    def _own_task(self, task: Task) -> Task:
        self._check_data(task.kind)
        known = self.tasks.get(task.name)
        alike = self.tasks.get(self.like(task)) if known is None or known.kind != task.kind else known
        if alike is not None:
            sizes = ("num_classes", "image_size", "num_features")
            task = replace(task, **{size: getattr(task, size) or getattr(alike, size) for size in sizes})
        if known is not None and known.shape == task.shape:
            return known
        least, step = self.image_sizes(task)
        if task.image_size and (task.image_size < least or task.image_size % step):
            readable = f"from {least} pixels" + (f", multiples of {step}" if step > 1 else "")
            raise ValueError(f"networks of {self.name} read images {readable}, not of image_size={task.image_size}")
        return task

    def image_sizes(self, task: Task) -> tuple[int, int]:
        """The least height and width of images that networks for a task can read, and what both are multiples of."""
        return 1, 1

    def resolved(self, task: TaskLike | None) -> TaskLike | None:
        """A task as it was asked for, checked: a name, a kind or None as it is, a `Task` as `task` returns it.

        A `Task` that is a data set of the space becomes its name. ValueError for what is neither a task of the space
        nor a kind of task, and for kinds of other data than its networks read.
        """
        if isinstance(task, Task):
            own = self.task(task)
            return own.name if own is self.tasks.get(own.name) else own
        if task is None or (isinstance(task, str) and task in self.tasks):
            return task
        if isinstance(task, str) and (kind := kind_of(task)) is not None:
            self._check_data(kind)
            return task
        kinds = dict.fromkeys(known.kind for known in self.tasks.values())
        raise unknown(f"task of {self.name}", task, [*self.tasks, *kinds])

    def data_set(self, task: TaskLike | None) -> TaskLike | None:
        """The task at whose scale costs are counted: `task` itself, or of a kind the space's first data set.

        That is the first of this kind, else the first whose data are of the same sort, else the first of all. None for
        a space without tasks; ValueError as of `resolved`.
        """
        task = self.resolved(task)
        if isinstance(task, Task) or task in self.tasks:
            return task
        kind = None if task is None else kind_of(task)
        if kind is None:
            return next(iter(self.tasks), None)
        return min(
            self.tasks,
            key=lambda name: (self.tasks[name].kind != kind, data_of(self.tasks[name].kind) != data_of(kind)),
            default=None,
        )

    def like(self, task: TaskLike) -> str:
        """The data set of the space whose network is built for a task: itself, else as of `data_set`.

        Empty for a space without tasks.
        """
        if isinstance(task, Task):
            known = self.tasks.get(task.name)
            task = task.name if known is not None and known.kind == task.kind else task.kind
        found = self.data_set(task)
        return found if isinstance(found, str) else ""

    def task_label(self, task: TaskLike | None) -> str | None:
        """What names a task in files and titles: any text as it is, of a `Task` its data set or else `Task.label`."""
        named = self.resolved(task) if isinstance(task, Task) else task
        return named.label if isinstance(named, Task) else named

    def scale(self, task: TaskLike) -> dict[str, Any]:
        """Options of `pkgen_hf.networks.build` for the network whose costs are counted for a task, if not defaults."""
        return {}

    def input_shape(self, task: TaskLike, image_size: int | None = None, **scale: Any) -> tuple[int, ...]:
        """Shape of one example that networks for a task read, without the batch.

        By default an image, a vector where the task has features but no images, else a word. Of texts that are read at
        once it is the number of tokens.

        Parameters
        ----------
        task
            A data set of the space, or a `Task`.
        image_size
            Height and width in pixels; by default the task's.
        scale
            Options of the network; ``in_channels`` are by default the task's.

        Raises
        ------
        NotImplementedError
            For networks on graphs, which read a whole graph at once.
        """
        data = self.task(task)
        if "graph" in TASK_KINDS[data.kind]:
            raise NotImplementedError(f"{self.name} has no single example: its networks read a whole graph at once")
        if data.image_size:
            size = image_size or data.image_size
            return (scale.get("in_channels", data.in_channels), size, size)
        return (data.num_features,) if data.num_features else ()

    def graphs(self, indices: Sequence[int]) -> list[Graph]:
        """What to draw of one architecture, part by part; none where that can be seen from the slots."""
        return []


def _named(task: Any, name: str) -> Any:
    """The task with the name that a space has for it; anything else as it is, for `SearchSpace` to refuse."""
    return replace(task, name=name) if isinstance(task, Task) and isinstance(name, str) else task
