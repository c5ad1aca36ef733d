"""The costs that a network can be held to: parameters, multiply-adds, latency. `BUDGETS` lists them.

The pipeline, the command line and the app take names, units and help texts from here. A new budget is a class below
and an entry of `BUDGETS`. The module imports no torch, so that ``pkgen --help`` can read it quickly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import shortened

if TYPE_CHECKING:
    import torch

    from ..benchmarks.latencies import LatencyTable
    from ..spaces import SearchSpace


class Budget(ABC):
    """One kind of cost, and how it is called, shown and counted.

    Attributes
    ----------
    name
        Stable identifier; the key of the cost in JSON output.
    argument
        The argument of `PKGenPipeline` that limits the cost; with dashes, the option of the command line.
    label
        The cost in words.
    unit
        What the limit is counted in.
    description
        One line of help about the limit.
    display_scale, display_unit, decimals
        People see ``cost / display_scale``, with so many decimals, followed by the unit.
    options
        Further arguments of the pipeline that the cost depends on.
    """

    name: str
    argument: str
    label: str
    unit: str
    description: str
    display_scale: float = 1.0
    display_unit: str
    decimals: int
    options: tuple[str, ...] = ()

    @abstractmethod
    def costs(
        self, space: SearchSpace, indices: torch.Tensor, task: str | None = None, **options: Any
    ) -> torch.Tensor:
        """Cost of each network at the scale of a task.

        Parameters
        ----------
        space, task
            A kind of task stands for its first data set in the space, None for the first task of the space.
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

    def prepare(self, space: SearchSpace, task: str | None = None, **options: Any) -> dict[str, Any]:
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


class Counted(Budget):
    """A cost that spaces count by a formula, in their method of the budget's name."""

    def costs(
        self, space: SearchSpace, indices: torch.Tensor, task: str | None = None, **options: Any
    ) -> torch.Tensor:
        return getattr(space, self.name)(indices, space.data_set(task)).double()


class Parameters(Counted):
    """Trainable parameters."""

    name = "parameters"
    argument = "max_parameters"
    label = unit = "parameters"
    description = "Limit on parameters, e.g. 5e5."
    display_scale, display_unit, decimals = 1e6, "M parameters", 3


class MultiplyAdds(Counted):
    """Multiply-adds of one forward pass."""

    name = "flops"
    argument = "max_flops"
    label = unit = "multiply-adds"
    description = "Limit on multiply-adds, e.g. 1e8."
    display_scale, display_unit, decimals = 1e6, "M multiply-adds", 1


class Latency(Budget):
    """Measured milliseconds of one forward pass on a device; unknown for networks that the table lacks."""

    name = "latency_ms"
    argument = "max_latency"
    label = "latency"
    unit = display_unit = "ms"
    description = "Limit in milliseconds on --device."
    decimals = 3
    options = ("device", "latency_table")

    def costs(
        self, space: SearchSpace, indices: torch.Tensor, task: str | None = None, **options: Any
    ) -> torch.Tensor:
        table: LatencyTable = options["latency_table"]
        return table.latencies(indices, space.data_set(task) or "", options["device"])

    def prepare(self, space: SearchSpace, task: str | None = None, **options: Any) -> dict[str, Any]:
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
        table.column(space.data_set(task) or "", device)
        return {"device": device, "latency_table": table}

    def measured(self, space: SearchSpace, **options: Any) -> torch.Tensor | None:
        rows: torch.Tensor = options["latency_table"].indices
        return rows[space.is_valid(rows)]


BUDGETS: tuple[Budget, ...] = (Parameters(), MultiplyAdds(), Latency())
