"""Parquet tables of known forms, brought into the standard one.

The standard table of a space has a column ``architecture`` with the space's own strings and, for each task,
``<task>_<split>_accuracy`` in percent, or ``<task>_<split>_score`` of any other measure that is to be high, as
float32 and null where not measured; the splits are ``validation`` and ``test``. Further columns are as sources have
them, with the name of their task in front: ``<task>_parameters``, ``<task>_flops_m`` (millions), ``<task>_latency_s``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...spaces import TASK_KINDS, SearchSpace

_CHUNK = 65_536  # rows that are converted at a time


def score_column(space: SearchSpace, task: str, split: str) -> str:
    """The standard column of a task's scores: accuracies of classifications, of images or pixels; else scores."""
    measure = "accuracy" if "classification" in TASK_KINDS[space.task(task).kind] else "score"
    return f"{task}_{split}_{measure}"


def floats(values: Any) -> pa.Array:
    """Measured numbers as float32, null where they are NaN or None."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        values = pc.cast(values, pa.float32())
        return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float32()), values)
    numbers = np.array([np.nan if v is None else v for v in values] if isinstance(values, list) else values)
    return pa.array(numbers.astype(np.float32), from_pandas=True)


def own_strings(
    space: SearchSpace, strings: Sequence[str], where: str | Path = "the table", canonical: bool = False
) -> list[str]:
    """The same architectures in the strings that the space writes; errors say `where` they were read.

    With `canonical`, those of their canonical forms, so that isomorphic ones are equal.
    """
    written: list[str] = []
    try:
        for start in range(0, len(strings), _CHUNK):
            rows = space.from_strings(strings[start : start + _CHUNK])
            written += space.to_strings(space.canonical(rows) if canonical else rows)
    except ValueError as error:
        raise ValueError(f"{where} holds an architecture that is not one of {space.name}: {error}") from error
    return written


def merge_runs(strings: Sequence[str], columns: Mapping[str, Any]) -> pa.Table:
    """One row for each string, in order of first appearance: the mean of its measured numbers, null without any.

    Parameters
    ----------
    strings
        The architecture of each run.
    columns
        Numbers of each run, ``(runs,)``, NaN where not measured.
    """
    names, group = np.unique(np.array(strings, dtype=object), return_inverse=True)
    first = np.full(len(names), len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    order = first.argsort()
    merged: dict[str, Any] = {"architecture": names[order].tolist()}
    for name, column in columns.items():
        numbers = np.asarray(column, dtype=np.float64)
        measured = ~np.isnan(numbers)
        total = np.bincount(group[measured], numbers[measured], minlength=len(names))
        count = np.bincount(group[measured], minlength=len(names))
        with np.errstate(invalid="ignore"):
            merged[name] = floats((total / count)[order])
    return pa.table(merged)


def stack(tables: Sequence[pa.Table]) -> pa.Table:
    """One standard table of several, which may have columns and architectures of their own; see `merge_runs`."""
    names = dict.fromkeys(name for table in tables for name in table.column_names if name != "architecture")
    columns = {}
    for name in names:
        missing = [np.full(table.num_rows, np.nan) for table in tables]
        parts = [
            table[name].to_numpy(zero_copy_only=False) if name in table.column_names else empty
            for table, empty in zip(tables, missing, strict=True)
        ]
        columns[name] = np.concatenate(parts)
    return merge_runs([text for table in tables for text in table["architecture"].to_pylist()], columns)
