"""NAS-Bench-Graph: the tables in the PyPI package of its authors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ...spaces import Reader, SearchSpace
from ...spaces.nas_bench_graph import NASBenchGraphSpace
from .pickles import read_plain


def read_package(space: SearchSpace, folder: Path) -> dict[str, Any]:
    """Validation and test score (accuracy; area under the curve for proteins), latency and parameters."""
    tables = {task: read_plain(folder / "light" / f"{task}.bench") for task in space.tasks}
    keys = list(tables["cora"])
    rows = cast(NASBenchGraphSpace, space).from_benchmark_keys(torch.tensor(keys))
    columns: dict[str, Any] = {"architecture": space.to_strings(rows)}
    absent: dict[str, float] = {}
    for task, table in tables.items():
        for column, field, unit in [
            ("validation_accuracy", "valid_perf", 100),
            ("test_accuracy", "perf", 100),
            ("latency_s", "latency", 1),
            ("parameters", "para", 1e6),
        ]:
            values = [table.get(key, absent).get(field) for key in keys]
            columns[f"{task}_{column}"] = np.array([np.nan if v is None else v * unit for v in values], np.float32)
    return columns


READER = Reader(read_package=read_package)
