"""NAS-Bench-301: files of NAS-Bench-Suite-Zero, and tables of accuracies that the benchmark's surrogate predicts.

The reader of the file was run on files of the form that the authors describe, not yet on the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...spaces import Reader, SearchSpace
from .json_files import load_json, of_form
from .tables import floats, own_strings


@of_form("zc_nasbench301.json")
def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """``zc_nasbench301.json`` of NAS-Bench-Suite-Zero, from https://github.com/automl/NASLib, naslib/data/.

    The accuracies are predictions of the surrogate of NAS-Bench-301, not results of trainings. Both published forms
    are read: by task and cell, or with the benchmark's name around that and costs without times.
    """
    rows: dict[str, dict[str, Any]] = {}
    for file in files:
        content = load_json(file)
        for text, row in content.get("nasbench301", content)["cifar10"].items():
            rows[text.translate(str.maketrans("()", "[]"))] = row
    columns: dict[str, Any] = {
        "architecture": own_strings(space, list(rows), files[0]),
        "cifar10_validation_accuracy": floats([row.get("val_accuracy") for row in rows.values()]),
    }
    for name, column in [("params", "cifar10_parameters_m"), ("flops", "cifar10_flops_m")]:
        costs = [row.get(name) for row in rows.values()]
        columns[column] = floats([cost["score"] if isinstance(cost, dict) else cost for cost in costs])
    return pa.table(columns)


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
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


READER = Reader(pattern="*.json", read=read, marker="cifar10_surrogate_validation_accuracy", convert=convert)
