"""Parquet tables of known forms, brought into the standard one.

The standard table of a space has a column ``architecture`` with the space's own strings and, for each task,
``<task>_<split>_accuracy`` in percent, or ``<task>_<split>_score`` of any other measure that is to be high, as
float32 and null where not measured; the splits are ``validation`` and ``test``. Further columns are as sources have
them, with the name of their task in front: ``<task>_parameters``, ``<task>_flops_m`` (millions), ``<task>_latency_s``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...spaces import TASK_KINDS, SearchSpace
from ...spaces.nas_bench_101 import NASBench101Space

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


# ---------------------------------------------------------------------- forms


def _graphs(space: SearchSpace, table: pa.Table) -> pa.Table:
    """NAS-Bench-101 with its matrices and operations in columns."""
    space = cast(NASBench101Space, space)
    strings = []
    for start in range(0, table.num_rows, _CHUNK):
        part = table.slice(start, _CHUNK)
        bits, names = (part[name].combine_chunks() for name in ("module_adjacency", "module_operations"))
        matrices = _pieces(bits.values.to_numpy(), bits.offsets)
        # As Python's own strings, each once: to_pylist takes many times as long.
        words = names.values if pa.types.is_dictionary(names.values.type) else names.values.dictionary_encode()
        vocabulary = np.array(words.dictionary.to_pylist(), dtype=object)
        rows = space.from_matrices(matrices, _pieces(vocabulary[words.indices.to_numpy()].tolist(), names.offsets))
        strings.append(pa.array(space.to_strings(rows)))
    columns: dict[str, Any] = {"architecture": pa.chunked_array(strings, pa.string())}
    for split in ("validation", "test"):
        if f"{split}_accuracy" in table.column_names:
            columns[f"cifar10_{split}_accuracy"] = floats(table[f"{split}_accuracy"])
    if "trainable_parameters" in table.column_names:
        columns["cifar10_parameters"] = table["trainable_parameters"]
    return pa.table(columns)


def _pieces(values: Any, offsets: pa.Array) -> list[Any]:
    """The lists of an Arrow column of lists, cut from all of its values."""
    ends = offsets.to_pylist()
    return [values[a:b] for a, b in zip(ends, ends[1:], strict=False)]


def _named(rename: Mapping[str, str]) -> Callable[[SearchSpace, pa.Table], pa.Table]:
    """A form that differs by names alone."""

    def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
        return table.rename_columns([rename.get(name, name) for name in table.column_names])

    return convert


def _macro(space: SearchSpace, table: pa.Table) -> pa.Table:
    """NAS-Bench-Macro with costs that name no task."""
    table = table.append_column("cifar10_parameters", table["parameters"])
    table = table.append_column("cifar10_flops_m", floats(np.asarray(table["flops"]) / 1e6))
    return table.drop_columns(["parameters", "flops"])


def _bare(space: SearchSpace, table: pa.Table) -> pa.Table:
    """TransNAS-Bench-101: ``<task>_<split>`` without the measure."""
    rename = {
        f"{task}_{split}": score_column(space, task, split) for task in space.tasks for split in ("validation", "test")
    }
    return _named(rename)(space, table)


def _mobile(space: SearchSpace, table: pa.Table) -> pa.Table:
    """Accel-NASBench: top-1 is the accuracy; the few networks that were trained twice are one row, of the mean."""
    rename = {"imagenet1k_validation_top1": "imagenet1k_validation_accuracy", "training_time": "training_time_s"}
    columns = {}
    for name in table.column_names:
        if name != "architecture":
            name_of_task = rename.get(name, name)
            if not name_of_task.startswith("imagenet1k_"):
                name_of_task = f"imagenet1k_{name_of_task}"
            columns[name_of_task] = table[name].to_numpy()
    return merge_runs(own_strings(space, table["architecture"].to_pylist()), columns)


def _surrogate(space: SearchSpace, table: pa.Table) -> pa.Table:
    """DARTS cells with accuracies that a surrogate of NAS-Bench-301 predicts; none of them is of a training."""
    return pa.table(
        {
            "architecture": own_strings(space, table["architecture"].to_pylist(), canonical=True),
            "cifar10_validation_accuracy": floats(table["cifar10_surrogate_validation_accuracy"]),
            **{
                f"cifar10_{name}": floats(table[name])
                for name in ("parameters_m", "flops_m")
                if name in table.column_names
            },
        }
    )


def _recurrent(space: SearchSpace, table: pa.Table) -> pa.Table:
    """NAS-Bench-NLP: scores are less the mean loss, in nats per word, of a cell's runs that ended well.

    Recipes that are isomorphic are one cell.
    """
    ended = np.array([status == "OK" for status in table["status"].to_pylist()])
    columns = {
        name: np.where(ended, sign * table[column].to_numpy().astype(np.float64), np.nan)
        for name, column, sign in [
            ("wikitext2_validation_score", "wikitext2_best_validation_loss_nats", -1),
            ("wikitext2_test_score", "wikitext2_test_loss_nats", -1),
            ("wikitext2_parameters", "parameters", 1),
        ]
    }
    return merge_runs(own_strings(space, table["architecture"].to_pylist(), canonical=True), columns)


# What each form is known by, a column that no standard table has, and the spaces that it is read for.
_FORMS: list[tuple[str, str, Callable[[SearchSpace, pa.Table], pa.Table]]] = [
    ("module_adjacency", "nas-bench-101", _graphs),
    ("cifar10_surrogate_validation_accuracy", "darts", _surrogate),
    ("flops", "nas-bench-macro", _macro),
    ("class_scene_validation", "transnas-bench-101-micro", _bare),
    ("class_scene_validation", "transnas-bench-101-macro", _bare),
    ("imagenet1k_validation_top1", "mnasnet", _mobile),
    ("wikitext2_best_validation_loss_nats", "nas-bench-nlp", _recurrent),
]


def standard(space: SearchSpace, table: pa.Table) -> pa.Table:
    """`table` in the standard form, if it is of another that is known for the space; as it is if not."""
    for marker, name, convert in _FORMS:
        if space.name == name and marker in table.column_names:
            return convert(space, table)
    return table
