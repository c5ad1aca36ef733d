"""Measured latencies of a space's networks on devices, looked up by whole batches."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..errors import shortened, unknown
from ..hub.download import download
from ..spaces import Origin, SearchSpace, TaskLike, get_space, list_spaces
from .score_table import find_rows, merge_rows

SUFFIX = "_latency"  # of columns such as cifar10_edgegpu_latency, in milliseconds
PREFIX = "latency_ms_"  # of columns such as latency_ms_edgegpu, of the first task of a space


def published_latencies() -> dict[str, tuple[str, Origin]]:
    """Published data sets of latencies by their names: the space whose networks were measured, and the origin."""
    spaces = (get_space(name) for name in list_spaces())
    return {name: (space.name, origin) for space in spaces for name, origin in space.latencies.items()}


def standard_columns(space: SearchSpace, table: pa.Table) -> pa.Table:
    """The table with columns ``latency_ms_<device>``, if it has any, called as `LatencyTable` reads them.

    They are of the space's first task, as in the tables that are published in this form.
    """
    task = next(iter(space.tasks), None)
    start = "" if task is None else f"{task}_"
    names = table.column_names
    return table.rename_columns(
        [f"{start}{name.removeprefix(PREFIX)}{SUFFIX}" if name.startswith(PREFIX) else name for name in names]
    )


class LatencyTable:
    """Latencies in milliseconds, e.g. those of HW-NAS-Bench (Li et al. 2021) for NAS-Bench-201, or one's own.

    Parameters
    ----------
    space
        The search space of the strings in the table.
    table
        Column ``architecture``, the space's strings, and columns ``<task>_<device>_latency``, or ``<device>_latency``
        where it is the same for all tasks; ``latency_ms_<device>`` is of the first task. A missing value means that
        the network does not run on the device.

    Attributes
    ----------
    indices : LongTensor (rows, slots)
    devices : list of str

    Raises
    ------
    ValueError
        For a table without such columns, or a string that is not of the space.
    """

    def __init__(self, space: str | SearchSpace, table: pa.Table) -> None:
        self.space = get_space(space)
        table = standard_columns(self.space, table)
        names = [name for name in table.column_names if name.endswith(SUFFIX)]
        if "architecture" not in table.column_names or not names:
            raise ValueError(
                f"a table of latencies has columns architecture and <task>_<device>{SUFFIX}; "
                f"this one has {table.column_names}"
            )
        self.indices = self.space.from_strings(table["architecture"].to_pylist())
        self._columns = {
            name.removesuffix(SUFFIX): torch.from_numpy(table[name].to_numpy(zero_copy_only=False).astype(np.float64))
            for name in names
        }
        self.indices, self._columns = merge_rows(self.space, self.indices, self._columns)
        for name, column in self._columns.items():
            if (wrong := (column < 0) | column.isinf()).any():
                where = self.space.to_strings(self.indices[wrong][:1])[0]
                raise ValueError(
                    f"latencies are finite and not below 0, but {name}{SUFFIX} of {shortened(where)} is "
                    f"{float(column[wrong][0])}"
                )
        devices = {name: name for name in self._columns}
        for name in self._columns:
            for task in self.space.tasks:
                if name.startswith(f"{task}_"):
                    devices[name] = name.removeprefix(f"{task}_")
        self.devices = sorted(set(devices.values()))

    @classmethod
    def load(cls, space: str | SearchSpace, source: str | Path) -> LatencyTable:
        """Read a Parquet file, or the config named as the space of a folder or Hub data set.

        The latter are as ``pkgen dataset build`` writes them.

        Raises
        ------
        FileNotFoundError
            If there is no such file, folder or data set, or it has nothing of the space.
        ValueError
            If it is not a table of latencies of the space.
        """
        path, name = Path(source), get_space(space).name
        if not path.exists():
            if path.suffix == ".parquet" or str(source).startswith((".", "/", "~")) or str(source).count("/") != 1:
                raise FileNotFoundError(
                    f"no table of latencies at {source}: expected a Parquet file, a folder or a Hub id org/name"
                )
            path = download(str(source), [f"{name}/*.parquet"], "dataset")
        files = [path]
        if path.is_dir():  # of configs, or of one
            files = sorted(path.glob(f"{name}/*.parquet")) or sorted(path.glob("*.parquet"))
        if not files:
            raise FileNotFoundError(f"{source} has no latencies of {name}: expected {name}/*.parquet in it")
        try:
            return cls(space, pa.concat_tables(pq.read_table(file) for file in files))
        except pa.ArrowInvalid as error:
            raise ValueError(f"{source} is not a Parquet file, or is damaged: {error}") from error
        except ValueError as error:
            raise ValueError(f"{source} is no table of latencies of {name}: {error}") from error

    def column(self, task: TaskLike, device: str) -> torch.Tensor:
        """Milliseconds of every row, ``DoubleTensor (rows,)``, NaN where the network does not run."""
        if device not in self.devices:
            raise unknown(f"device of this table of {self.space.name}", device, self.devices)
        label = self.space.task_label(task)
        for name in (f"{label}_{device}", device):
            if name in self._columns:
                return self._columns[name]
        raise ValueError(f"this table has no latency of {label} on {device}; it has {', '.join(self._columns)}")

    @cached_property
    def _codes(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.space.codes(self.indices).sort(stable=True)

    def latencies(self, indices: torch.Tensor, task: TaskLike, device: str) -> torch.Tensor:
        """Milliseconds of a batch, ``DoubleTensor (batch,)``, NaN where not measured or it does not run."""
        indices = self.space.check(indices)
        if self.space.is_conditional:  # strings do not say what slots without effect hold
            indices = self.space.canonical(indices)
        rows = find_rows(self._codes, self.space.codes(indices).cpu())
        return torch.where(rows >= 0, self.column(task, device)[rows], torch.nan)
