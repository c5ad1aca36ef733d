"""NAS-Bench-101's own file: ``nasbench_full.tfrecord`` (1.95 GB) or ``nasbench_only108.tfrecord`` (499 MB), version 1.

From https://storage.googleapis.com/nasbench/. A record is a JSON list: the cell's hash, epochs, the adjacency matrix
row by row as a string of digits, the operations, and the metrics, a protocol buffer in base64. Run on a file of this
format with the cells of at most 4 vertices; not yet run on the original files.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from ...spaces import Reader, SearchSpace
from ...spaces.nas_bench_101 import NASBench101Space
from .progress import track
from .tables import floats
from .tfrecord import RecordFile

EPOCHS = (4, 12, 36, 108)
_CHUNK = 8_192  # records that are read at a time
_ROWS = 65_536  # rows of a table that are converted at a time
_TIME, _VALIDATION, _TEST = 2, 4, 5  # numbers of fields of an evaluation, all doubles


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _fields(data: bytes) -> list[tuple[int, Any]]:
    """Numbers and values of a message's fields: int, float (of 8 bytes), or bytes."""
    fields: list[tuple[int, Any]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value: Any
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
            case 1:
                (value,), at = struct.unpack_from("<d", data, at), at + 8
            case 2:
                length, at = _varint(data, at)
                if at + length > len(data):
                    raise IndexError
                value, at = data[at : at + length], at + length
            case 5:
                value, at = data[at : at + 4], at + 4
            case kind:
                raise ValueError(f"fields of wire type {kind} are not known")
        fields.append((tag >> 3, value))
    return fields


def _metrics(encoded: str) -> tuple[float, float, float, int]:
    """Validation and test accuracy in percent and training time in seconds at the end of a run, and parameters."""
    fields = _fields(base64.b64decode(encoded))
    evaluations = [value for number, value in fields if number == 1]
    parameters = next(value for number, value in fields if number == 2)
    last = dict(_fields(evaluations[-1]))
    return 100 * last[_VALIDATION], 100 * last[_TEST], last[_TIME], parameters


def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """The mean over a cell's runs (three in the original), at 108 epochs and, where the file has them, at fewer.

    Columns of fewer epochs are ``cifar10_<split>_accuracy_<epochs>_epochs``.

    Raises
    ------
    ValueError
        For a damaged, truncated or foreign file, and for cells that are not of the space.
    """
    cells: dict[tuple[str, str], int] = {}
    parameters: list[int] = []
    runs = []
    for file in files:
        records = RecordFile(file)
        for start in track(range(0, len(records), _CHUNK), f"reading {file.name}", quiet):
            chunk = []
            for record in records.read(start, min(start + _CHUNK, len(records))):
                try:
                    _, epochs, matrix, operations, encoded = json.loads(record)
                    validation, test, seconds, size = _metrics(encoded)
                    stage = EPOCHS.index(epochs)
                except (ValueError, TypeError, KeyError, LookupError, StopIteration, struct.error) as error:
                    raise ValueError(f"{file} holds a record that is not one of NAS-Bench-101's: {error!r}") from error
                cell = cells.setdefault((matrix, operations), len(cells))
                if cell == len(parameters):
                    parameters.append(size)
                chunk.append((cell * len(EPOCHS) + stage, validation, test, seconds))
            runs.append(np.array(chunk))
    table = np.concatenate(runs)
    group = table[:, 0].astype(np.int64)
    count = np.bincount(group, minlength=len(cells) * len(EPOCHS))
    with np.errstate(invalid="ignore"):
        means = [np.bincount(group, column, len(count)) / count for column in table.T[1:]]
    valid, tested, times = (mean.reshape(-1, len(EPOCHS)) for mean in means)
    names = [operations.split(",") for _, operations in cells]
    try:
        matrices = [np.frombuffer(matrix.encode(), np.uint8) - ord("0") for matrix, _ in cells]
        strings = space.to_strings(cast(NASBench101Space, space).from_matrices(matrices, names))
    except ValueError as error:
        raise ValueError(f"{files[0]} holds a cell that is not one of NAS-Bench-101's: {error}") from error
    columns: dict[str, Any] = {
        "architecture": strings,
        "cifar10_validation_accuracy": floats(valid[:, -1]),
        "cifar10_test_accuracy": floats(tested[:, -1]),
        "cifar10_training_time_s": floats(times[:, -1]),
        "cifar10_parameters": pa.array(parameters, pa.int64()),
    }
    for stage, epochs in enumerate(EPOCHS[:-1]):
        if count.reshape(-1, len(EPOCHS))[:, stage].any():
            columns[f"cifar10_validation_accuracy_{epochs}_epochs"] = floats(valid[:, stage])
            columns[f"cifar10_test_accuracy_{epochs}_epochs"] = floats(tested[:, stage])
    return pa.table(columns)


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
    """NAS-Bench-101 with its matrices and operations in columns."""
    strings = []
    for start in range(0, table.num_rows, _ROWS):
        part = table.slice(start, _ROWS)
        bits, names = (part[name].combine_chunks() for name in ("module_adjacency", "module_operations"))
        matrices = _pieces(bits.values.to_numpy(), bits.offsets)
        # As Python's own strings, each once: to_pylist takes many times as long.
        words = names.values if pa.types.is_dictionary(names.values.type) else names.values.dictionary_encode()
        vocabulary = np.array(words.dictionary.to_pylist(), dtype=object)
        rows = cast(NASBench101Space, space).from_matrices(
            matrices, _pieces(vocabulary[words.indices.to_numpy()].tolist(), names.offsets)
        )
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


READER = Reader(pattern="*.tfrecord", read=read, marker="module_adjacency", convert=convert)
