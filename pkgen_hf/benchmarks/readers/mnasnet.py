"""Accel-NASBench: its authors' folder of results, and tables made of it.

The reader of the folder was run on files of the form that the authors describe, not yet on the original ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...spaces import Reader, SearchSpace
from .json_files import load_json, of_form
from .progress import track
from .tables import merge_runs, own_strings

_TRUTH = {"True": True, "False": False}


@of_form("Accel-NASBench's result files")
def read(space: SearchSpace, files: Sequence[Path], quiet: bool = True) -> pa.Table:
    """The folder of ``result_<number>.json`` in ``anb_dataset_jsons.tar.gz``.

    From https://github.com/afzalxo/Accel-NASBench, anb_dataset/. A file has an ``architecture``, ``metrics`` (top-1
    and top-5 on the validation set of ImageNet, seconds of training), and ``platform_perf`` of devices.
    """
    strings, rows = [], []
    for file in track(files, "reading results", quiet):
        content = load_json(file)
        decisions = {key: _TRUTH.get(value, value) for key, value in content["architecture"].items()}
        strings.append(json.dumps(decisions))
        metrics = content["metrics"]
        row = {
            "imagenet1k_validation_accuracy": metrics["val_top1"],
            "imagenet1k_validation_top5": metrics["val_top5"],
            "imagenet1k_training_time_s": metrics["train_time"],
        }
        for name, measured in content.get("platform_perf", {}).items():
            row[f"imagenet1k_{name}"] = measured.get(f"{name.split('_')[0]}_mean")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [np.nan if row.get(name) is None else row[name] for row in rows] for name in names}
    return merge_runs(own_strings(space, strings, files[0].parent), columns)


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
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


READER = Reader(pattern="*.json", read=read, marker="imagenet1k_validation_top1", convert=convert)
