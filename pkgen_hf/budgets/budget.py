"""The costs that a network can be held to: parameters, multiply-adds, memory, latency. `BUDGETS` lists them.

The pipeline, the command line and the app take names, units and help texts from here. A new budget is a class below
and an entry of `BUDGETS`. The module imports no torch, so that ``pkgen --help`` can read it quickly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import shortened

if TYPE_CHECKING:
    import torch

    from ..benchmarks.latencies import LatencyTable
    from ..spaces import SearchSpace, TaskLike


@dataclass(frozen=True)
class Bound:
    """An upper or a lower limit that calls can set on a budget.

    Attributes
    ----------
    budget
        What is limited.
    argument
        The argument of `PKGenPipeline` that sets the limit; with dashes, the option of the command line.
    description
        One line of help.
    is_lower
        Whether costs must not be below the limit; otherwise they must not be above it.
    """

    budget: Budget
    argument: str
    description: str
    is_lower: bool = False

    @property
    def sign(self) -> int:
        """1 or, of a lower limit, -1: the limit is obeyed where ``sign * cost <= sign * limit``."""
        return -1 if self.is_lower else 1


class Budget(ABC):
    """One kind of cost, and how it is called, shown and counted.

    Attributes
    ----------
    name
        Stable identifier; the key of the cost in JSON output.
    argument, description
        Of the upper limit, see `Bound`.
    lower_argument, lower_description
        Of the lower limit; empty if there is none.
    label
        The cost in words.
    unit
        What limits are counted in.
    display_scale, display_unit, decimals
        People see ``cost / display_scale``, with so many decimals, followed by the unit.
    options
        Further arguments of the pipeline that the cost depends on.
    required
        Those of them that have no default.
    suffixes
        Units that may follow the number on the command line, and what each stands for, e.g. ``{"MB": 1e6}``.
    extremes
        What the network of the lowest and that of the highest cost are called.
    """

    name: str
    argument: str
    label: str
    unit: str
    description: str
    lower_argument: str = ""
    lower_description: str = ""
    display_scale: float = 1.0
    display_unit: str
    decimals: int
    options: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    suffixes: Mapping[str, float] = {}
    extremes: tuple[str, str] = ("smallest", "largest")

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The limits that calls can set, the upper one first."""
        upper = Bound(self, self.argument, self.description)
        if not self.lower_argument:
            return (upper,)
        return upper, Bound(self, self.lower_argument, self.lower_description, is_lower=True)

    @abstractmethod
    def costs(
        self, space: SearchSpace, indices: torch.Tensor, task: TaskLike | None = None, **options: Any
    ) -> torch.Tensor:
        """Cost of each network at the scale of a task.

        Parameters
        ----------
        space, task
            A kind of task stands for its first data set in the space, None for the first task of the space, a `Task`
            of the user's own for its shape.
        indices
            ``LongTensor (batch, slots)``
        **options
            As returned by `prepare`. Options of other budgets are ignored.

        Returns
        -------
        DoubleTensor (batch,)
            NaN where the cost is unknown.

        Raises
        ------
        NotImplementedError
            If the space does not count this cost.
        """

    def prepare(self, space: SearchSpace, task: TaskLike | None = None, **options: Any) -> dict[str, Any]:
        """Check `options` and load what they name; ValueError for options that do not give a cost."""
        return {}

    def measured(self, space: SearchSpace, **options: Any) -> torch.Tensor | None:
        """Valid architectures with a measured cost, ``LongTensor (n, slots)``; None if costs are computed."""
        return None

    def display(self, cost: float) -> str:
        """A cost as people read it, e.g. ``0.802 M parameters``."""
        return f"{cost / self.display_scale:.{self.decimals}f} {self.display_unit}"

    @property
    def scale_in_words(self) -> str:
        """Unit of numbers that people enter, e.g. ``millions``."""
        return "millions" if self.display_scale == 1e6 else self.unit

    def number(self, text: str) -> float:
        """A number as people type it, with or without one of `suffixes`; ValueError for anything else."""
        digits, factor = text.strip(), 1.0
        for suffix, multiple in self.suffixes.items():
            if digits.lower().endswith(suffix.lower()):
                digits, factor = digits[: -len(suffix)], multiple
                break
        try:
            return float(digits) * factor
        except ValueError:
            units = f", with or without {', '.join(self.suffixes)}" if self.suffixes else ""
            raise ValueError(f"it must be a number of {self.unit}{units}, got {shortened(text)}") from None


class Counted(Budget):
    """A cost that spaces count by a formula, in their method of the budget's name."""

    def costs(
        self, space: SearchSpace, indices: torch.Tensor, task: TaskLike | None = None, **options: Any
    ) -> torch.Tensor:
        return getattr(space, self.name)(indices, space.data_set(task)).double()


class Parameters(Counted):
    """Trainable parameters."""

    name = "parameters"
    argument = "max_parameters"
    label = unit = "parameters"
    description = "Limit on parameters, e.g. 5e5 or 40M."
    lower_argument = "min_parameters"
    lower_description = "Lower limit on parameters, e.g. 4.9e5."
    display_scale, display_unit, decimals = 1e6, "M parameters", 3
    suffixes: Mapping[str, float] = {"k": 1e3, "M": 1e6, "B": 1e9}


class MultiplyAdds(Counted):
    """Multiply-adds of one forward pass."""

    name = "flops"
    argument = "max_flops"
    label = unit = "multiply-adds"
    description = "Limit on multiply-adds, e.g. 1e8 or 100M."
    display_scale, display_unit, decimals = 1e6, "M multiply-adds", 1
    suffixes: Mapping[str, float] = {"k": 1e3, "M": 1e6, "G": 1e9}


class Memory(Budget):
    """Bytes of the weights and, of language models, of the KV cache; see `SearchSpace.memory`."""

    name = "memory_bytes"
    argument = "max_memory"
    label, unit = "memory", "bytes"
    description = "Limit on bytes of weights and KV cache, e.g. 5e8 or 500MB."
    display_scale, display_unit, decimals = 1e6, "MB", 1
    options = ("context", "batch_size", "memory_dtype")
    suffixes: Mapping[str, float] = {
        "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
    }  # fmt: skip

    @property
    def scale_in_words(self) -> str:
        return self.display_unit

    def costs(
        self, space: SearchSpace, indices: torch.Tensor, task: TaskLike | None = None, **options: Any
    ) -> torch.Tensor:
        cached = {name: options.get(name) for name in ("context", "batch_size")}
        dtype = options.get("memory_dtype") or "float32"
        return space.memory(indices, space.data_set(task), **cached, dtype=dtype).double()

    def prepare(self, space: SearchSpace, task: TaskLike | None = None, **options: Any) -> dict[str, Any]:
        dtype = "float32" if options.get("memory_dtype") is None else options["memory_dtype"]
        context, batch_size = options.get("context"), options.get("batch_size")
        space.check_memory(context, batch_size, dtype)
        if space.context is not None:
            context, batch_size = context or space.context, batch_size or 1
        return {"context": context, "batch_size": batch_size, "memory_dtype": dtype}


class Latency(Budget):
    """Measured milliseconds of one forward pass on a device; unknown for networks that the table lacks."""

    name = "latency_ms"
    argument = "max_latency"
    label = "latency"
    unit = display_unit = "ms"
    description = "Limit in milliseconds on --device."
    decimals = 3
    extremes = ("fastest", "slowest")
    options = required = ("device", "latency_table")

    def costs(
        self, space: SearchSpace, indices: torch.Tensor, task: TaskLike | None = None, **options: Any
    ) -> torch.Tensor:
        table: LatencyTable = options["latency_table"]
        return table.latencies(indices, space.task_label(space.data_set(task)) or "", options["device"])

    def prepare(self, space: SearchSpace, task: TaskLike | None = None, **options: Any) -> dict[str, Any]:
        from ..benchmarks.latencies import LatencyTable

        table, device = options.get("latency_table"), options.get("device")
        if table is not None and not isinstance(table, LatencyTable | str | Path):
            raise ValueError(f"latency_table must be a LatencyTable, a file or a Hub id, got {shortened(table)}")
        if isinstance(table, str | Path):
            table = LatencyTable.load(space, table)
        if table is None or device is None:
            given = (("device", device), ("latency_table", table))
            missing = " and ".join(f"{name}=" for name, value in given if value is None)
            what = "max_latency" if device is None else f"a latency on {shortened(device)}"
            raise ValueError(
                f"{what} needs {missing}; a table is a Parquet file or a Hub id of measured latencies"
                + (f"; devices of this table: {', '.join(table.devices)}" if table is not None else "")
            )
        space.check_same(table.space, "this table of latencies")
        table.column(space.task_label(space.data_set(task)) or "", device)
        return {"device": device, "latency_table": table}

    def measured(self, space: SearchSpace, **options: Any) -> torch.Tensor | None:
        rows: torch.Tensor = options["latency_table"].indices
        return rows[space.is_valid(rows)]


BUDGETS: tuple[Budget, ...] = (Parameters(), MultiplyAdds(), Memory(), Latency())
