"""TransNAS-Bench-101's own file: ``transnas-bench_v10141024.pth``, of both spaces.

From https://github.com/yawen-d/TransNASBench (through VEGA). It is what ``torch.save`` made of nested dictionaries:
``data``, space, string, task, ``metrics`` by epoch and ``model_info``. Not yet run on the original file, but on files
of this form.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...spaces import Reader, SearchSpace
from .pickles import read_torch_zip
from .tables import floats, own_strings, score_column

# The measure that selects, of those that are high when good.
_MEASURES = {
    "class_scene": "top1",
    "class_object": "top1",
    "room_layout": "neg_loss",
    "jigsaw": "top1",
    "segmentsemantic": "acc",
    "normal": "ssim",
    "autoencoder": "ssim",
}
_PREFIXES = {"validation": "valid", "test": "test"}
_COSTS = {"model_params": "parameters_m", "model_FLOPs": "flops_m", "inference_time": "latency_s"}


def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """Scores after the last epoch, and costs, of the space's half of the file."""
    file = files[0]
    content = read_torch_zip(file)
    try:
        results: dict[str, dict[str, Any]] = content["data"][space.name.rsplit("-", 1)[-1]]
        columns: dict[str, Any] = {"architecture": own_strings(space, list(results), file)}
        for task, measure in _MEASURES.items():
            runs = [result.get(task) for result in results.values()]
            for split, prefix in _PREFIXES.items():
                last = [run["metrics"][f"{prefix}_{measure}"][-1] if run else np.nan for run in runs]
                columns[score_column(space, task, split)] = floats(last)
            for info, name in _COSTS.items():
                columns[f"{task}_{name}"] = floats([run["model_info"].get(info) if run else None for run in runs])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{file} is not of the form of TransNAS-Bench-101: {error!r} is missing or wrong") from error
    return pa.table(columns)


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
    """TransNAS-Bench-101: ``<task>_<split>`` without the measure."""
    rename = {
        f"{task}_{split}": score_column(space, task, split) for task in space.tasks for split in ("validation", "test")
    }
    return table.rename_columns([rename.get(name, name) for name in table.column_names])


READER = Reader(pattern="*.pth", read=read, marker="class_scene_validation", convert=convert)
