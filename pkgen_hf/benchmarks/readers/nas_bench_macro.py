"""NAS-Bench-Macro: its authors' JSON file, and a table whose costs name no task.

The reader of the file was run on files of the form that the authors describe, not yet on the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...spaces import Reader, SearchSpace
from .json_files import load_json, of_form
from .tables import floats, own_strings


@of_form("nas-bench-macro_cifar10.json")
def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """``nas-bench-macro_cifar10.json`` from https://github.com/xiusu/NAS-Bench-Macro, data/.

    Of each string ``test_acc``, the test accuracies of three runs, their mean ``mean_acc``, ``params`` and ``flops``.
    """
    records: dict[str, Any] = {}
    for file in files:
        records |= load_json(file)
    strings, rows = list(records), list(records.values())
    return pa.table(
        {
            "architecture": own_strings(space, strings, files[0].parent),
            "cifar10_test_accuracy": floats([row["mean_acc"] for row in rows]),
            "cifar10_test_accuracy_runs": pa.array([row["test_acc"] for row in rows], pa.list_(pa.float32())),
            "cifar10_parameters": pa.array([round(row["params"]) for row in rows], pa.int64()),
            "cifar10_flops_m": floats([row["flops"] / 1e6 for row in rows]),
        }
    )


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
    """NAS-Bench-Macro with costs that name no task."""
    table = table.append_column("cifar10_parameters", table["parameters"])
    table = table.append_column("cifar10_flops_m", floats(np.asarray(table["flops"]) / 1e6))
    return table.drop_columns(["parameters", "flops"])


READER = Reader(pattern="*.json", read=read, marker="flops", convert=convert)
